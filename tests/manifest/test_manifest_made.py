"""`fetch`, `generate`, `extends`, and pointers of Git LFS and DVC, as manifests say them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifest_fixtures import Load, Write

from tflbuild.errors import EXIT_USAGE, ManifestErrors
from tflbuild.manifest.load import load_workspace, section_digest
from tflbuild.manifest.made import url_problem
from tflbuild.manifest.model import Fetch, Generate

HEAD = "version: 1\nmodels:\n"
URL = "https://models.example/a/m.keras"
SHA = "0123456789abcdef" * 4


def source(text: str, more: str = "optimizations: {a: {}}") -> str:
    return f"{HEAD}  m:\n    source: {{{text}}}\n    {more}\n"


def wrong(load: Load, root: str, **others: str) -> list[str]:
    with pytest.raises(ManifestErrors) as caught:
        load(root, **others)
    assert caught.value.exit_code == EXIT_USAGE
    lines = str(caught.value).split("\n")
    assert all(line.startswith("tflbuild.yaml:") for line in lines if not others)
    return lines


def test_fetch(load: Load) -> None:
    text = f"format: keras, fetch: '{URL}', sha256: {SHA.upper()}, max_size: 10MB"
    model = load(source(text)).models[0]
    assert model.source.fetch == Fetch(URL, SHA, 10_000_000)
    assert (model.source.path, model.source.made) == ("", "fetch")
    archive = f"format: saved_model, fetch: '{URL}', sha256: {SHA}, path: a//b/"
    assert load(source(archive)).models[0].source.path == "a/b"


GENERATE = "command: python data/x.npy, inputs: [data/*.npy], outputs: [out.keras, logs]"


def test_generate(load: Load) -> None:
    text = f"format: keras, path: ./out.keras, generate: {{{GENERATE}, env: [SEED]}}"
    model = load(source(text)).models[0]
    assert model.source.generate == Generate(
        "python data/x.npy", ".", ((".", "data/*.npy"),), ("build", "dist"),
        ("out.keras", "logs"), ("SEED",),
    )  # fmt: skip
    assert (model.source.path, model.source.made) == ("out.keras", "generate")


def test_paths_of_generate_are_those_of_its_manifest(load: Load) -> None:
    inner = "models:\n  m:\n    source: {format: keras, generate: {command: [touch, out.keras], "
    inner += "inputs: [../data/x.npy], outputs: [out.keras]}}\n    optimizations: {a: {}}\n"
    root = "version: 1\ninclude: [models/tflbuild.yaml]\n"
    model = load(root, **{"models/tflbuild.yaml": inner}).models[0]
    generate = model.source.generate
    assert generate is not None
    assert (generate.folder, generate.inputs) == ("models", (("models", "../data/x.npy"),))
    assert generate.command == ("touch", "out.keras")


G = "format: keras, generate: "
F = f"format: keras, fetch: '{URL}'"
WRONG: dict[str, tuple[str, str, str]] = {
    "no digest": (F, "4:29", "`curl -L https://models.example/a/m.keras | sha256sum` prints it"),
    "short digest": (f"{F}, sha256: abc", "4:80", "64 hexadecimal digits"),
    "digest alone": (f"format: keras, path: models/digits.keras, sha256: {SHA}", "4:56",
                     "'sha256' has no effect without `fetch`"),
    "size alone": ("format: keras, path: models/digits.keras, max_size: 1MB", "4:56",
                   "'max_size' has no effect without `fetch`"),
    "both": (f"{F}, sha256: {SHA}, generate: {{{GENERATE}}}", "4:146", "not both; remove one"),
    "file URL": (f"format: keras, fetch: 'file:///x.keras', sha256: {SHA}", "4:36",
                 "begins with https:// or http://"),
    "ftp": (f"format: keras, fetch: 'ftp://x/y', sha256: {SHA}", "4:36", "begins with https://"),
    "password": (f"format: keras, fetch: 'https://u:p@h/m.keras', sha256: {SHA}", "4:36",
                 "user or password"),
    "port": (f"format: keras, fetch: 'https://h:x/m.keras', sha256: {SHA}", "4:36", "is no URL"),
    "fragment": (f"format: keras, fetch: '{URL}#x', sha256: {SHA}", "4:36", "has no effect"),
    "space": (f"format: keras, fetch: 'https://h/a b', sha256: {SHA}", "4:36", "a URL"),
    "archive of a file": (f"format: keras, fetch: 'https://h/a.tar.gz', sha256: {SHA}", "4:29",
                          "'a.tar.gz' is an archive; name the member"),
    "member outside": (f"format: keras, fetch: 'https://h/a.zip', sha256: {SHA}, path: ../x",
                       "4:135", "leads out of what is fetched"),
    "no command": (G + "{outputs: [o.keras]}", "4:29", "`generate` has no `command`"),
    "no outputs": (G + "{command: x}", "4:29", "`generate` has no `outputs`"),
    "blank command": (G + "{command: ' ', outputs: [o.keras]}", "4:49", "the command is empty"),
    "empty program": (G + "{command: [''], outputs: [o.keras]}", "4:49", "the command is empty"),
    "missing input": (G + "{command: x, inputs: [nope.py], outputs: [o.keras]}", "4:61",
                      "no such file: 'nope.py'"),
    "empty glob": (G + "{command: x, inputs: ['*.py'], outputs: [o.keras]}", "4:61",
                   "'*.py' matches no file"),
    "folder": (G + "{command: x, inputs: [data], outputs: [o.keras]}", "4:61", "write 'data/**'"),
    "input outside": (G + "{command: x, inputs: [../x], outputs: [o.keras]}", "4:61", "leaves"),
    "output outside": (G + "{command: x, outputs: [../o.keras]}", "4:62", "leaves the workspace"),
    "output is all": (G + "{command: x, outputs: [.]}", "4:62", "must lie below the folder"),
    "output is input": (
        G + "{command: x, inputs: [data/x.npy], outputs: [data/x.npy]}", "4:84", "an input too",
    ),
    "output holds input": (
        G + "{command: x, inputs: [data/x.npy], outputs: [data]}", "4:84", "an input too",
    ),
    "outputs overlap": (G + "{command: x, outputs: [a, a/b]}", "4:65", "overlap; keep one"),
    "which output": (G + "{command: x, outputs: [a, b]}", "4:29", "name the one to load"),
    "other output": (
        "format: keras, path: out.kera, generate: {command: x, outputs: [out.keras]}", "4:35",
        "not among the outputs (out.keras); did you mean 'out.keras'?",
    ),
    "undeclared": (G + "{command: python data/x.npy, outputs: [o.keras]}", "4:49",
                   "the command names 'data/x.npy', which is not among `inputs`"),
    "undeclared flag": (G + "{command: [x, --d=data/x.npy], outputs: [o.keras]}", "4:49",
                        "'data/x.npy', which is not among `inputs`"),
    "variable": (G + "{command: x, outputs: [o.keras], env: ['A=1']}", "4:78", "name of a var"),
    "made and python": (
        f"format: pytorch, fetch: 'https://h/m.pt2', sha256: {SHA}, python: 'm:f'", "4:131",
        "a source that is fetched is read from a file, not made by `python`",
    ),
    "unknown key": (G + "{comand: x, outputs: [o.keras]}", "4:40", "did you mean 'command'?"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message"), WRONG.values(), ids=WRONG)
def test_wrong(text: str, place: str, message: str, load: Load) -> None:
    (line,) = wrong(load, source(text))
    assert message in line
    assert line.startswith(f"tflbuild.yaml:{place}: ")


@given(
    st.text(max_size=30), st.sampled_from(["https://", "http://", "https://h:1/", "http://[::1]"])
)
def test_urls_never_raise(rest: str, head: str) -> None:
    assert isinstance(url_problem(head + rest), str)


# extends

BASE = """version: 1
defaults:
  optimizations: {a: {}, half: {quantize: float16}}
  timeout: 1m
models:
  base:
    source: {format: keras, path: models/digits.keras}
    optimizations: {half: null, dyn: {quantize: dynamic_range}}
    timeout: 2m
"""


def names(model: Any) -> list[str]:
    return [o.name for o in model.optimizations]


def test_extends_lies_between_defaults_and_own(load: Load) -> None:
    more = """  v:
    extends: base
    source: {path: models/old.h5}
    optimizations: {dyn: null, c: {}}
  w: {extends: v, timeout: 3m}
"""
    base, v, w = load(BASE + more).models
    assert (names(base), base.timeout) == (["a", "dyn"], 120)
    assert (names(v), v.timeout, v.source.path) == (["a", "c"], 120, "models/old.h5")
    assert (names(w), w.timeout, w.source.path) == (["a", "c"], 180, "models/old.h5")
    assert v.position.line == 10
    assert v.position_of("source.path").line == 12
    assert v.position_of("timeout").line == 9


def test_extends_over_manifests(load: Load) -> None:
    inner = """defaults: {optimizations: {inner: {}}}
models:
  there:
    source: {format: keras, path: digits.keras}
"""
    root = """version: 1
include: [models/tflbuild.yaml]
models: {here: {extends: there, optimizations: {own: {}}}}
"""
    here, there = load(root, **{"models/tflbuild.yaml": inner}).models
    assert here.source.path == there.source.path == "models/digits.keras"
    assert names(here) == ["inner", "own"]


def test_extends_says_the_same_as_writing_it_out(load: Load) -> None:
    plain = """  base: {source: {format: keras, path: models/digits.keras}, optimizations: {a: {}}}
  m: {source: {format: keras, path: models/digits.keras}, optimizations: {a: {}, b: {}}}
"""
    short = plain.replace("{source: {format: keras, path: models/digits.keras}, optimizations: "
                          "{a: {}, b: {}}}", "{extends: base, optimizations: {b: {}}}")  # fmt: skip
    one, two = load(HEAD + plain), load(HEAD + short)
    assert section_digest(one.models[1], one) == section_digest(two.models[1], two)


@pytest.mark.parametrize(
    ("more", "place", "message"),
    [
        (
            "  m: {extends: bas}\n",
            "10:16",
            "'m' extends 'bas', and no model has that name; did you",
        ),
        ("  m: {extends: m}\n", "10:16", "in a circle: m → m; remove one"),
        ("  z: {extends: y}\n  y: {extends: x}\n  x: {extends: y}\n", "12:16", "x → y → x"),
        ("  m: {extends: null}\n", "10:7", "no default to remove"),
        ("  m: {extends: 3}\n", "10:16", "put it in quotes"),
        ("  m: {extends: base, optimizations: {dyn: {io: int8}}}\n", "10:48", "io"),
        ("  m: {extends: base, optimizations: {half: null}}\n", "10:38", "no default to remove"),
    ],
)
def test_wrong_extends(more: str, place: str, message: str, load: Load) -> None:
    (line,) = wrong(load, BASE + more)
    assert message in line
    assert line.startswith(f"tflbuild.yaml:{place}: ")


def test_what_is_wrong_below_is_said_once(load: Load) -> None:
    text = BASE.replace("digits.keras", "nope.keras") + "  m: {extends: base}\n"
    (line,) = wrong(load, text)
    assert "no such file" in line


def test_extends_in_defaults(load: Load) -> None:
    (line,) = wrong(load, BASE.replace("  timeout: 1m", "  extends: base"))
    assert "`extends` belongs to a model" in line


def test_endless_extends(load: Load) -> None:
    chain = "".join(f"  m{n}: {{extends: m{n + 1}}}\n" for n in range(80))
    lines = wrong(load, BASE + chain + "  m80: {extends: base}\n")
    assert "more than 64 models extend one another" in lines[0]


@given(web=st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdefg")))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_web_of_extends_ends(web: dict[str, str], write: Write) -> None:
    body = "  g: {source: {format: keras, path: models/old.h5}, optimizations: {a: {}}}\n"
    body += "".join(f"  {n}: {{extends: {other}}}\n" for n, other in web.items() if n != other)
    path = write(HEAD + body)
    try:
        models = {model.name: model for model in load_workspace(path).models}
    except ManifestErrors as errors:
        said = str(errors)
        assert "circle" in said or "no model has that name" in said
        return
    assert all(model.source.path == "models/old.h5" for model in models.values())


# pointers

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{SHA}\nsize 123456\n"
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("models/digits.keras", "format: keras, path: models/digits.keras"),
        ("models/kws/saved_model.pb", "format: saved_model, path: models/kws"),
        ("data/x.npy", G + "{command: x, inputs: [data/x.npy], outputs: [o.keras]}"),
    ],
)
def test_lfs_pointer(path: str, text: str, load: Load, tmp_path: Path) -> None:
    load(source("format: keras, path: models/old.h5"))
    (tmp_path / ".git").mkdir()
    with pytest.raises(ManifestErrors) as caught:
        load(source(text), **{path: POINTER})
    (line,) = str(caught.value).split("\n")
    assert f"{path} is a Git LFS pointer, not the file itself" in line
    assert line.endswith(f"run: git lfs pull --include {path}")


@pytest.mark.parametrize("kind", ["npz: data/test.npz", "npy: data/x.npy"])
def test_lfs_pointer_as_data(kind: str, load: Load) -> None:
    more = f"optimizations: {{a: {{}}}}\n    data: {{test: {{{kind}}}}}"
    file = kind.split()[1]
    with pytest.raises(ManifestErrors, match=f"git lfs pull --include {file}"):
        load(source("format: keras, path: models/old.h5", more), **{file: POINTER})


def test_no_pointer(load: Load) -> None:
    for text in (POINTER + "x" * 1024, "version https://git-lfs.github.com/spec/v2\n", "", "v"):
        load(source("format: keras, path: models/old.h5"), **{"models/old.h5": text})


@pytest.mark.parametrize(
    ("dvc", "path"),
    [
        ("models/big.keras.dvc", "models/big.keras"),
        ("far.dvc", "far/big.keras"),
        ("far/off.dvc", "far/off/in/big.keras"),
    ],
)
def test_dvc(dvc: str, path: str, load: Load) -> None:
    with pytest.raises(ManifestErrors) as caught:
        load(source(f"format: keras, path: {path}"), **{dvc: "outs: []\n"})
    assert str(caught.value).endswith(f"DVC keeps it: run: dvc pull {dvc}")


def test_calibration_taken_from_an_extended_model(load: Load) -> None:
    """The model that takes it away is named and pointed at, not the one that is right."""
    other = """
models:
  mine:
    extends: m
    data: null
"""
    root = """version: 1
include: [more.yaml]
models:
  m:
    source: {format: keras, path: models/digits.keras}
    optimizations: {small: {quantize: int8}}
    data: {calibration: {npz: data/cal.npz}}
"""
    with pytest.raises(ManifestErrors) as caught:
        load(root, **{"more.yaml": other})
    assert str(caught.value) == (
        "more.yaml:4:5: model 'mine', which extends 'm': optimization 'small' has quantize: int8,"
        " which needs `data.calibration`, such as {npz: FILE}"
    )
