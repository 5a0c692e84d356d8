"""Selectors: from what a person writes to tasks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_workspace import Fake

from tflbuild.errors import UsageError
from tflbuild.manifest.load import load_workspace
from tflbuild.manifest.model import Workspace
from tflbuild.selectors import select

MANIFEST = """
version: 1
project: {name: s}
targets: {phone: {runtime: litert}, phone-2: {runtime: litert}}
defaults:
  data: {calibration: {npz: data/c.npz}}
  optimizations: {float32: {}, int8: {quantize: int8, targets: [litert, phone]}}
models:
  kws: {source: {format: keras, path: models/kws.keras}}
  kws-2: {source: {format: keras, path: models/more/kws2.keras}}
  lower: {source: {format: saved_model, path: models/tree}, targets: [phone-2]}
"""


@pytest.fixture
def loaded(empty: Fake) -> Workspace:
    files = {"models/kws.keras": "", "models/more/kws2.keras": "", "models/tree/saved_model.pb": "",
             "models/tree/variables/variables.index": "", "data/c.npz": ""}  # fmt: skip
    empty.write(MANIFEST, files)
    return load_workspace(empty.root / "tflbuild.yaml", empty.root)


def tasks(loaded: Workspace, *selectors: str, until: str = "release", cwd: str = ".") -> list[str]:
    found = select(loaded, selectors, until, loaded.root / cwd)
    return sorted(task.removeprefix("release:") for task in found.tasks)


KWS = ["kws:float32@litert", "kws:int8@litert", "kws:int8@phone"]
KWS2 = [name.replace("kws", "kws-2") for name in KWS]
LOWER = ["lower:float32@phone-2", "lower:int8@litert", "lower:int8@phone"]


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ([], KWS2 + KWS + LOWER),
        (["kws"], KWS),
        (["kws", "kws"], KWS),
        (["kws*"], KWS2 + KWS),
        (["kws?2"], KWS2),
        (["k[vw]s"], KWS),
        (["kws:int8"], KWS[1:]),
        (["kws:*"], KWS),
        (["*:float32"], ["kws-2:float32@litert", "kws:float32@litert", "lower:float32@phone-2"]),
        (["kws:int8@phone"], ["kws:int8@phone"]),
        (["kws@phone"], ["kws:int8@phone"]),
        (["@phone"], ["kws-2:int8@phone", "kws:int8@phone", "lower:int8@phone"]),
        (["@phone*"], ["kws-2:int8@phone", "kws:int8@phone", "lower:float32@phone-2",
                       "lower:int8@phone"]),
        (["convert:kws:int8"], ["convert:kws:int8"]),
        (["lower:kws"], ["lower:kws"]),
        (["lower:int8"], LOWER[1:]),  # a model may be called like a stage
        (["lower"], LOWER),
        (["release:kws:int8@phone"], ["kws:int8@phone"]),
        (["models/kws.keras"], KWS),
        (["models/more"], KWS2),
        (["models"], KWS2 + KWS + LOWER),
        (["models/tree/variables/variables.index"], LOWER),
        (["data/c.npz"], KWS2 + KWS + LOWER),
        (["dist/phone/kws-int8.tflite"], ["kws:int8@phone"]),
        (["."], KWS2 + KWS + LOWER),
    ],
)  # fmt: skip
def test_selectors(loaded: Workspace, selectors: Sequence[str], expected: list[str]) -> None:
    assert tasks(loaded, *selectors) == expected


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("kvs", "did you mean kws"),
        ("kws:int9", "did you mean kws:int8"),
        ("kws:int8@phon", "did you mean kws:int8@phone"),
        ("kw", "did you mean kws"),  # whole names
        ("KWS", "the models are kws, kws-2, lower"),
        ("*:int8:x", "nothing matches"),
        ("kws*int8", "nothing matches"),  # globs do not cross : or @
        ("*litert", "nothing matches"),
        ("kws:*litert", "nothing matches"),
        ("convert:kws", "nothing matches"),
        ("convert:*:int8", "nothing matches"),
        ("", "nothing matches ''"),
        ("@", "nothing matches '@'"),
        (":", "nothing matches ':'"),
        ("kws:", "nothing matches 'kws:'"),
        (":int8", "nothing matches ':int8'"),
        ("kws:int8@", "nothing matches 'kws:int8@'"),
        ("kws:@phone", "nothing matches"),
        ("/etc/passwd", "nothing matches"),
        ("../elsewhere", "nothing matches"),
        ("models/none.keras", "nothing matches"),
        ("dist/phone/kws-float32.tflite", "nothing matches"),
        ("\0", "nothing matches"),
        ("a" * 5000, "nothing matches"),
    ],
)
def test_nothing_matches(loaded: Workspace, selector: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        tasks(loaded, selector)
    assert said in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_path_is_relative_to_where_one_stands(loaded: Workspace) -> None:
    assert tasks(loaded, "kws.keras", cwd="models") == KWS
    assert tasks(loaded, str(Path(loaded.root) / "models/kws.keras"), cwd="data") == KWS


def test_until(loaded: Workspace) -> None:
    assert tasks(loaded, "kws", until="evaluate") == ["evaluate:kws"]
    assert tasks(loaded, "kws:int8", until="validate") == ["validate:kws:int8"]
    assert tasks(loaded, "@phone", until="validate") == [
        "validate:kws-2:int8", "validate:kws:int8", "validate:lower:int8",
    ]  # fmt: skip
    with pytest.raises(UsageError):
        tasks(loaded, "kws:float32@phone", until="evaluate")


def test_one_that_matches_nothing_spoils_the_rest(loaded: Workspace) -> None:
    with pytest.raises(UsageError, match="nothing matches 'nope'"):
        tasks(loaded, "kws", "nope")


def test_a_manifest_selects_the_models_that_it_declares(empty: Fake) -> None:
    more = "models: {extra: {source: {format: keras, path: kws2.keras}}}"
    empty.write(
        MANIFEST + "include: [models/more/tflbuild.yaml]\n",
        {
            "models/kws.keras": "",
            "models/more/kws2.keras": "",
            "models/tree/saved_model.pb": "",
            "data/c.npz": "",
            "models/more/tflbuild.yaml": more,
        },
    )
    for cwd in (".", "models"):
        loaded = load_workspace(empty.root / "tflbuild.yaml", empty.root / cwd)
        own = os.path.relpath(empty.root / "models/more/tflbuild.yaml", empty.root / cwd)
        found = select(loaded, (own,), "release", empty.root / cwd)
        assert found.models == ("extra",)


@pytest.mark.parametrize(
    ("selector", "near"),
    [
        ("@litrt", "@litert"),
        ("@phome", "@phone"),
        ("convrt:kws:int8", "convert:kws:int8"),
        ("convert:kws:imt8", "convert:kws:int8"),
        ("kws:imt8", "kws:int8"),
    ],
)
def test_what_was_meant(loaded: Workspace, selector: str, near: str) -> None:
    with pytest.raises(UsageError, match="did you mean ") as raised:
        tasks(loaded, selector)
    assert str(raised.value).partition("did you mean ")[2].split(" or ")[0].rstrip("?") == near
