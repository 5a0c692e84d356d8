"""Manifests that name code of the user's: what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from manifest_fixtures import Load, Write

from tflbuild.environment import variable_digest
from tflbuild.errors import ManifestErrors
from tflbuild.graph import lowering_inputs
from tflbuild.manifest.digest import section_digest
from tflbuild.manifest.model import Code, Model, ParamsRef, Workspace

FILES = {
    "net.py": "import helper, numpy\ndef make(): ...\ndef init(): ...\n",
    "helper.py": "",
    "w/a.txt": "a",
    "sub/net.py": "def make(): ...\n",
}


def text(source: str, *lines: str) -> str:
    """A manifest of one model: its source on line 4, further keys from line 5 on."""
    more = "".join(f"    {line}\n" for line in ("optimizations: {a: {}}", *lines))
    return f"version: 1\nmodels:\n  m:\n    source: {source}\n{more}"


MAKE = "{format: concrete_function, python: 'net:make'}"
JAX = "{format: jax, python: 'net:make'}"
KERAS = "{format: keras, path: models/digits.keras}"


def model_of(load: Load, source: str, *lines: str, **others: str) -> tuple[Workspace, Model]:
    workspace = load(text(source, *lines), **{**FILES, **others})
    return workspace, workspace.models[0]


def test_what_a_source_of_code_says(load: Load) -> None:
    _, model = model_of(
        load, MAKE.replace("}", ", args: {b: 2, a: [1, x]}, signature: s}"),
        "env: [B, A]", "depends: [w/*.txt, helper.py]",
    )  # fmt: skip
    assert model.source.python == Code("net:make", ".")
    assert model.source.args == '{"a": [1, "x"], "b": 2}'
    assert model.source.signatures == ("s",)
    assert model.env == ("A", "B")
    assert model.depends == ("helper.py", "w/*.txt")


def test_params_of_a_jax_source(load: Load) -> None:
    _, model = model_of(
        load, JAX.replace("}", ", params: {npz: data/x.npz}}"), **{"data/x.npz": ""}
    )
    assert model.source.params == ParamsRef(npz="data/x.npz")
    _, model = model_of(load, JAX.replace("}", ", params: {python: 'net.py:init', args: [1]}}"))
    assert model.source.params == ParamsRef(python=Code("net.py:init", "."), args="[1]")


def test_inputs_of_the_actions(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "secret")
    monkeypatch.delenv("B", raising=False)
    workspace, model = model_of(load, MAKE, "env: [A, B]", "depends: [w/*.txt]")
    found = lowering_inputs(workspace.root, model)
    assert found.files == {f"python/{path}": path for path in ("helper.py", "net.py", "w/a.txt")}
    assert found.params["source"]["python"] == {"module": "net", "function": "make"}
    assert found.params["env"] == {"A": variable_digest("secret"), "B": None}
    assert "secret" not in str(found.params)
    assert found.request["env"] == {"A": "secret"}
    assert "numpy" in found.modules
    assert {"w", "numpy.py"} <= set(found.folders)


def test_paths_are_of_the_manifest_that_says_them(load: Load) -> None:
    workspace = load(
        "version: 1\ninclude: [sub/tflbuild.yaml]\ndefaults: {depends: [w/a.txt]}\n",
        **{**FILES, "sub/tflbuild.yaml": text(MAKE).partition("\n")[2]},
    )
    found = lowering_inputs(workspace.root, workspace.models[0])
    assert sorted(found.files.values()) == ["sub/net.py", "w/a.txt"]
    assert found.params["code"] == {"path": ["sub", "."], "base": "sub"}


@pytest.mark.parametrize(
    ("source", "lines", "place", "said"),
    [
        ("{format: concrete_function}", (), "4:5", "has no `source.python`; write"),
        (MAKE.replace("net:", "nit:"), (), "4:49", "no module 'nit' in '.'"),
        (MAKE.replace(":make", ":mace"), (), "4:49", "did you mean 'make'?"),
        (MAKE.replace("net:make", "net"), (), "4:49", "expected package.module:function"),
        (MAKE.replace("net:make", "../x.py:f"), (), "4:49", "leaves the workspace"),
        (MAKE.replace("}", ", path: x}"), (), "4:61", "'path' has no effect"),
        (MAKE.replace("}", ", params: {npz: x}}"), (), "4:61", "'params' has no effect"),
        (MAKE.replace("}", ", args: {a: .nan}}"), (), "4:67", "finite"),
        (MAKE.replace("}", ", args: 5}"), (), "4:67", "a mapping of keyword arguments, or a list"),
        (JAX.replace("}", ", signature: s}"), (), "4:47", "'signature' has no effect"),
        (JAX.replace("}", ", params: {}}"), (), "4:55", "one of `npz: FILE` and `python:"),
        (JAX.replace("}", ", params: {npz: x.npz}}"), (), "4:61", "no such file: 'x.npz'"),
        (JAX.replace("}", ", params: {npz: data/x.npz, args: [1]}}"), (), "4:73", "no effect"),
        (JAX.replace("}", ", params: {npz: data/x.npz, python: 'net:init'}}"), (), "4:55",
         "one of"),
        (JAX.replace("}", ", params: {python: 'net:init'}, args: [1]}"), (), "4:83", "a mapping"),
        (MAKE, ("depends: [nothing/*]",), "6:15", "'nothing/*' matches no file"),
        (MAKE, ("depends: [w]",), "6:15", "is a folder; write 'w/**'"),
        (MAKE, ("depends: [../x]",), "6:15", "no part of the workspace"),
        (MAKE, ("depends: [/etc/hosts]",), "6:15", "no part of the workspace"),
        (MAKE, ("depends: [.tflbuild/x]",), "6:15", "no part of the workspace"),
        (MAKE, ("env: [A-B]",), "6:11", "the name of a variable"),
        (MAKE, ("env: [TF_USE_LEGACY_KERAS]",), "6:11", "has no effect: workers set it"),
        (MAKE, ("custom_objects: 'net:make'",), "6:5", "no effect with format concrete_function"),
        (KERAS, ("depends: [w/*]",), "6:5", "no code runs for this model"),
        (KERAS, ("env: [A]",), "6:5", "no code runs for this model"),
        (KERAS, ("custom_objects: 'net:nothing'",), "6:21", "has no function 'nothing'"),
    ],
)  # fmt: skip
def test_one_line_with_place(
    load: Load, source: str, lines: tuple[str, ...], place: str, said: str
) -> None:
    with pytest.raises(ManifestErrors) as caught:
        load(text(source, *lines), **{**FILES, "data/x.npz": ""})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"tflbuild.yaml:{place}: "), line
    assert said in line


def test_defaults_do_no_harm_to_models_without_code(load: Load) -> None:
    workspace = load(
        text(KERAS).replace("models:", "defaults: {env: [A], depends: [w/*]}\nmodels:"), **FILES
    )
    assert (workspace.models[0].env, workspace.models[0].depends) == ((), ())


def test_broken_helper_is_found_by_check(load: Load, write: Write) -> None:
    with pytest.raises(ManifestErrors, match=r"yaml:4:49: helper\.py:2: "):
        load(text(MAKE), **{**FILES, "helper.py": "x = 1\ndef (:\n"})


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("net:make", "net:init"),
        lambda t: t.replace("a: 1", "a: 2"),
        lambda t: t + "    env: [A]\n",
        lambda t: t + "    depends: [w/*]\n",
    ],
)
def test_section_says_what_code_is_asked_for(load: Load, change: Any) -> None:
    before = text(MAKE.replace("}", ", args: {a: 1}}"))
    first, second = load(before, **FILES), load(change(before), **FILES)
    assert section_digest(first.models[0], first) != section_digest(second.models[0], second)


def test_link_in_depends_out_of_the_workspace(write: Write, tmp_path: Path) -> None:
    from tflbuild.manifest.load import load_workspace

    path = write(text(MAKE, "depends: [w/*]"), **FILES)
    (tmp_path / "w/link").symlink_to("/etc/hostname")
    with pytest.raises(ManifestErrors, match=r"w/link leaves the workspace"):
        load_workspace(path)
