"""Right manifests: what they come to, and where they say it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_fixtures import Load, Write

from tflbuild.errors import TflbuildError, UsageError
from tflbuild.interface import KINDS
from tflbuild.manifest.load import load_workspace, section_digest
from tflbuild.manifest.model import (
    ArrayRef,
    Budgets,
    FileData,
    InputPin,
    Metric,
    MetricLimits,
    Optimization,
    ParityLimits,
    RandomData,
    Source,
    Target,
)
from tflbuild.manifest.root import find_root_manifest
from tflbuild.manifest.schema import load_schema
from tflbuild.manifest.targets import RUNTIME_NAMES
from tflbuild.store.digest import file_digest

FULL = """\
version: 1
project: {name: edge-models}
targets: {phone: {runtime: litert, max_size: 8MB}}
models:
  kws:
    source: {format: saved_model, path: models/kws}
    inputs: {b: {shape: [1, null, 10], dtype: float32}, a: {dtype: int8}}
    outputs: [y, x]
    data:
      calibration: {npz: data/cal.npz, samples: 100}
      test: {npz: data/test.npz, labels: labels}
    optimizations:
      float32: {}
      int8: {quantize: int8, io: int8, targets: [litert, phone]}
    evaluate: {max_params: 1M, max_macs: 20M}
    validate:
      parity: {sqnr: 20}
      metrics: {accuracy: {min: 0.90, max_drop: 0.01}}
    timeout: 10m
"""


def test_everything_that_is_supported(load: Load) -> None:
    workspace = load(FULL)
    (model,) = workspace.models
    assert workspace.name == "edge-models"
    assert (workspace.build_dir, workspace.dist_dir) == ("build", "dist")
    assert workspace.manifests == ("tflbuild.yaml",)
    assert workspace.targets == {
        **{name: Target(name, name) for name in RUNTIME_NAMES},
        "phone": Target("phone", "litert", Budgets(max_size=8_000_000)),
    }
    assert model.source == Source("saved_model", "models/kws")
    (shipped,) = model.signatures
    assert shipped.inputs == (InputPin("b", (1, None, 10), "float32"), InputPin("a", None, "int8"))
    assert shipped.outputs == ("y", "x")
    assert shipped.calibration == FileData("data/cal.npz", samples=100)
    assert shipped.test == FileData("data/test.npz", labels=ArrayRef("data/test.npz", "labels"))
    assert model.optimizations == (
        Optimization("float32", "none", "float32", ("litert",)),
        Optimization("int8", "int8", "int8", ("litert", "phone"), calibrates=True),
    )
    assert model.evaluate == Budgets(max_params=1_000_000, max_macs=20_000_000)
    assert shipped.parity == ParityLimits(sqnr=20.0)
    assert shipped.metrics == (Metric("accuracy", (MetricLimits("accuracy", 0.9, 0.01),)),)
    assert model.timeout == 600.0
    assert str(model.position) == "tflbuild.yaml:5:3"
    places = {key: str(place).partition(":")[2] for key, place in model.positions.items()}
    assert places["source.path"] == "6:35"
    assert places["inputs.a"] == "7:57"
    assert places["data.test.labels"] == "11:34"
    assert places["optimizations.int8.io"] == "14:30"
    assert places["validate.metrics.accuracy.min"] == "18:28"
    assert model.position_of("nothing") == model.position


def test_keras_npy_and_random(load: Load) -> None:
    workspace = load(
        "version: 1\nmodels:\n"
        "  a:\n    source: {format: keras, path: models/old.h5}\n    optimizations: {o: {}}\n"
        "    data: {test: {npy: {z: data/y.npy, b: data/x.npy}, labels: data/y.npy}}\n"
        "  b:\n    source: {format: keras, path: models/digits.keras}\n"
        "    optimizations: {o: {quantize: qat, io: uint8}}\n"
        "    data: {test: {random: {low: -1, samples: 5}}}\n"
        "  c:\n    source: {format: keras, path: models/digits.keras}\n    optimizations: {o: {}}\n"
        "    data: {test: {npy: data/x.npy}}\n"
    )
    a, b, c = workspace.models
    assert a.source == Source("keras", "models/old.h5")
    assert a.signatures[0].test == FileData(
        npy=(("b", "data/x.npy"), ("z", "data/y.npy")), labels=ArrayRef("data/y.npy")
    )
    assert b.signatures[0].test == RandomData(0, 5, -1.0, 1.0)
    assert c.signatures[0].test == FileData(npy=(("", "data/x.npy"),))
    assert c.timeout == 1800.0


INCLUDED = """\
defaults: {optimizations: {half: null, small: {quantize: float16}}}
models:
  inner: {source: {path: own.keras}}
  other: {source: {path: ../models/digits.keras}, optimizations: {small: {quantize: none}}}
"""


def test_defaults_merge_and_paths_belong_to_their_manifest(load: Load) -> None:
    workspace = load(
        "version: 1\ninclude: ['**/tflbuild.yaml', more/tflbuild.yaml]\ndefaults:\n"
        "  source: {format: keras, path: models/old.h5}\n"
        "  optimizations: {float32: {}, half: {quantize: float16}}\n"
        "models: {outer: {}}\n",
        **{"more/tflbuild.yaml": INCLUDED, "more/own.keras": "", "build/tflbuild.yaml": "["},
    )  # fmt: skip
    inner, other, outer = workspace.models
    assert [m.source.path for m in workspace.models] == [
        "more/own.keras", "models/digits.keras", "models/old.h5",
    ]  # fmt: skip
    assert [o.name for o in outer.optimizations] == ["float32", "half"]
    assert [(o.name, o.quantize) for o in inner.optimizations] == [
        ("float32", "none"), ("small", "float16"),
    ]  # fmt: skip
    assert [(o.name, o.quantize) for o in other.optimizations][1] == ("small", "none")
    assert str(inner.positions["source.format"]) == "tflbuild.yaml:4:12"
    assert str(inner.positions["source.path"]) == "more/tflbuild.yaml:3:20"
    assert workspace.manifests == ("tflbuild.yaml", "more/tflbuild.yaml")
    assert workspace.listed == (".", "data", "models", "models/empty", "models/kws", "more")


def test_calibration_from_defaults_harms_no_model(load: Load) -> None:
    (model,) = load(
        "version: 1\ndefaults: {data: {calibration: {npz: data/cal.npz}}}\n"
        "models: {m: {source: {format: keras, path: models/old.h5}, optimizations: {a: {}}}}\n"
    ).models
    assert model.signatures[0].calibration is not None


def test_reached_twice_is_read_once(load: Load) -> None:
    workspace = load(
        "version: 1\nmodels: {}\ninclude: [a.yaml, b.yaml]\n",
        **{"a.yaml": "include: [c.yaml]", "b.yaml": "include: [c.yaml]", "c.yaml": "targets: {}"},
    )
    assert workspace.manifests == ("tflbuild.yaml", "a.yaml", "c.yaml", "b.yaml")


def test_globs_tell_which_listings_they_depend_on(load: Load) -> None:
    others = {"x/a/t.yaml": "models: {}", "x/b/other": "", "x/.hidden/t.yaml": "bad: ["}
    workspace = load("version: 1\ninclude: ['x/*/t.yaml']\n", **others)
    assert workspace.manifests == ("tflbuild.yaml", "x/a/t.yaml")
    assert workspace.listed == ("x", "x/a", "x/b")


def test_places_from_a_subfolder(write: Write, tmp_path: Path) -> None:
    path = write(FULL)
    for cwd, place in ((tmp_path, "tflbuild.yaml:5:3"), (tmp_path / "data", "../tflbuild.yaml:5:3"),
                       (tmp_path.parent, f"{tmp_path.name}/tflbuild.yaml:5:3"),
                       (Path("/usr"), "tflbuild.yaml:5:3")):  # fmt: skip
        assert str(load_workspace(path, cwd).models[0].position) == place


def test_root_is_the_outermost_below_git(tmp_path: Path) -> None:
    for name in ("tflbuild.yaml", "repo/tflbuild.yaml", "repo/a/b/tflbuild.yaml", "repo/.git"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_root_manifest(tmp_path / "repo/a/b") == tmp_path / "repo/tflbuild.yaml"
    (tmp_path / "repo/tflbuild.yaml").unlink()
    assert find_root_manifest(tmp_path / "repo/a/b") == tmp_path / "repo/a/b/tflbuild.yaml"
    with pytest.raises(UsageError, match=r"no tflbuild\.yaml"):
        find_root_manifest(tmp_path / "repo/a")


def digest(load: Load, text: str) -> str:
    workspace = load(text)
    return section_digest(workspace.models[0], workspace)


SECTION = {
    "source": {"format": "saved_model", "path": "models/kws"},
    "data": {
        "calibration": {"npz": "data/cal.npz"},
        "test": {"npz": "data/test.npz", "labels": "y"},
    },
    "optimizations": {
        "a": {},
        "b": {"quantize": "int8", "io": "int8"},
        "c": {"quantize": "float16"},
    },
    "evaluate": {"max_params": 1000000, "max_macs": "20M"},
    "validate": {"parity": {"sqnr": 20, "cosine": 1}, "metrics": {"accuracy": {"min": 0.5}}},
}


def shuffled(draw: st.DrawFn, tree: object) -> object:
    if not isinstance(tree, dict):
        return tree
    keys = draw(st.permutations(list(tree)))
    return {key: shuffled(draw, tree[key]) for key in keys}


@st.composite
def other_words(draw: st.DrawFn) -> str:
    """The same section: other key order, other layout, comments between the lines."""
    text = json.dumps({"m": shuffled(draw, SECTION)}, indent=draw(st.integers(1, 4)))
    lines = [line + draw(st.sampled_from(["", "  # why", "\n# so\n"])) for line in text.split("\n")]
    return "version: 1\nmodels:\n" + "\n".join("  " + line for line in "\n".join(lines).split("\n"))


def test_digest_sees_what_is_said_and_not_how(load: Load, write: Write, tmp_path: Path) -> None:
    plain = digest(load, "version: 1\nmodels: " + json.dumps({"m": SECTION}))

    @given(other_words())
    def same(text: str) -> None:
        (tmp_path / "tflbuild.yaml").write_text(text)
        workspace = load_workspace(tmp_path / "tflbuild.yaml")
        assert section_digest(workspace.models[0], workspace) == plain

    same()


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("max_size: 8MB", "max_size: 9MB", True),
        ("outputs: [y, x]", "outputs: [x, y]", True),
        ("10m", "600", False),
        ("1M", "1000000", False),
        ("min: 0.90", "min: 0.9", False),
        ("sqnr: 20", "sqnr: 21", True),
        ("project: {name: edge-models}", "project: {name: other}", False),
        ("quantize: int8, io: int8", "quantize: int8", True),
    ],
)
def test_digest_of_a_change(load: Load, old: str, new: str, differs: bool) -> None:
    assert old in FULL
    assert (digest(load, FULL) != digest(load, FULL.replace(old, new))) is differs


def test_digest_keeps_the_order_of_inputs(load: Load) -> None:
    swapped = FULL.replace(
        "{b: {shape: [1, null, 10], dtype: float32}, a: {dtype: int8}}",
        "{a: {dtype: int8}, b: {shape: [1, null, 10], dtype: float32}}",
    )
    assert digest(load, FULL) != digest(load, swapped)


def test_what_runs_select_ops_may_lie_elsewhere(load: Load, tmp_path: Path) -> None:
    """Environments are installed anywhere; the paths of files in keys are relative to the root."""
    away = tmp_path.parent / f"{tmp_path.name}-away"
    away.mkdir()
    (away / "flex.so").touch()
    workspace = load(
        "version: 1\n"
        "models: {m: {source: {format: keras, path: models/digits.keras},"
        " optimizations: {float32: {}}}}\n"
        f"targets: {{here: {{runtime: select-tf-ops, flex_library: data/x.npy}},\n"
        f"  away: {{runtime: select-tf-ops, flex_library: {away}/flex.so}}}}\n"
    )
    assert workspace.targets["here"].flex_library == "data/x.npy"
    assert workspace.targets["away"].flex_library == f"../{away.name}/flex.so"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "{source: {format: tflite, path: models/pipe.tflite}}",
            "is not a regular file or a folder",
        ),
        ("{source: {format: saved_model, path: models/piped}}", "no saved_model.pb in the"),
        (
            "{source: {format: keras, path: models/digits.keras}, data: {test: {npz: data/p.npz}}}",
            "'data/p.npz' is not a regular file",
        ),
    ],
)
def test_a_pipe_is_no_file(model: str, said: str, write: Write) -> None:
    """Nobody may ever write to it: opening it would hang."""
    text = f"version: 1\ndefaults: {{optimizations: {{f: {{}}}}}}\nmodels:\n  m: {model}\n"
    root = write(text)
    (root.parent / "models/piped").mkdir()
    for name in ("models/pipe.tflite", "models/piped/saved_model.pb", "data/p.npz"):
        os.mkfifo(root.parent / name)
    with pytest.raises(TflbuildError, match=said):
        load_workspace(root)
    with pytest.raises(OSError, match="is not a regular file"):
        file_digest(root.parent / "data/p.npz")


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ("", ()),
        ("allow_interface_change: false", ()),
        ("allow_interface_change: true", KINDS),
        ("allow_interface_change: [quantization, names]", ("names", "quantization")),
    ],
)
def test_allowed_interface_changes(load: Load, said: str, allowed: tuple[str, ...]) -> None:
    source = "source: {format: keras, path: models/digits.keras}"
    (model,) = load(
        f"version: 1\nmodels:\n  m:\n    {source}\n    optimizations: {{a: {{}}}}\n    {said}\n"
    ).models
    assert model.allow_interface_change == allowed


def test_allowed_interface_changes_come_from_defaults_and_a_model_takes_them_back(
    load: Load,
) -> None:
    source = "source: {format: keras, path: models/digits.keras}, optimizations: {a: {}}"
    found = load(
        "version: 1\ndefaults: {allow_interface_change: [quantization]}\nmodels:\n"
        f"  m: {{{source}}}\n  n: {{{source}, allow_interface_change: false}}\n"
    ).models
    assert [model.allow_interface_change for model in found] == [("quantization",), ()]


def test_the_schema_knows_all_kinds_of_interface_changes() -> None:
    key = load_schema()["properties"]["models"]["additionalProperties"]["properties"]
    assert tuple(key["allow_interface_change"]["items"]["enum"]) == KINDS
