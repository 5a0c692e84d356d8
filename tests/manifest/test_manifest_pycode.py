"""The import closure of a user's function: what enters a key, found without importing anything."""

from __future__ import annotations

import ast
import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflbuild import pycode
from tflbuild.errors import ManifestError
from tflbuild.manifest.model import Code
from tflbuild.pycode import closure, parse, split_spec


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path(os.path.realpath(root))


def files_of(root: Path, spec: str, base: str = ".", depends: tuple[str, ...] = ()) -> list[str]:
    return list(closure(root, [Code(spec, base)], depends).files.values())


def refused(root: Path, spec: str, base: str = ".", depends: tuple[str, ...] = ()) -> str:
    with pytest.raises(ManifestError) as caught:
        closure(root, [Code(spec, base)], depends)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_closure_follows_every_kind_of_import(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "net/__init__.py": "from . import first",
        "net/first.py": "",
        "net/model.py": "def make():\n from .deep import layers\n import helpers as h, numpy\n",
        "net/deep/layers.py": "from ..second import thing\nfrom ... import nothing",
        "net/second.py": "if False:\n  import late.one.two\nthing = 1",
        "late/one/two.py": "import importlib\nimportlib.import_module('called')",
        "called.py": "__import__('also')",
        "also.py": "from space import inner",
        "space/inner.py": "import tensorflow.lite, json, os.path",
        "helpers/__init__.py": "from .a import *",
        "helpers/a.py": "x = 1",
        "unused.py": "", "net/unused.py": "", "helpers/unused.py": "", "late/one/three.py": "",
    })  # fmt: skip
    found = closure(root, [Code("net.model:make", ".")])
    assert sorted(found.files.values()) == [
        "also.py", "called.py", "helpers/__init__.py", "helpers/a.py", "late/one/two.py",
        "net/__init__.py", "net/deep/layers.py", "net/first.py", "net/model.py",
        "net/second.py", "space/inner.py",
    ]  # fmt: skip
    assert set(found.files) == {"python/" + path for path in found.files.values()}
    assert found.modules == ("numpy", "tensorflow")
    assert found.entries[0].as_json() == {"module": "net.model", "function": "make"}
    # A file that would stand before an installed module is looked for by the record.
    assert {"numpy.py", "numpy/__init__.py", "helpers.py"} - set(found.folders) == {"helpers.py"}


def test_manifests_folder_comes_before_the_root(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "m/net.py": "import util\nimport other\ndef f(): ...",
        "m/util.py": "", "util.py": "", "other.py": "",
    })  # fmt: skip
    assert files_of(root, "net:f", "m") == ["m/net.py", "m/util.py", "other.py"]
    assert closure(root, [Code("net:f", "m")]).path == ("m", ".")
    (root / "m/other.py").write_text("")  # what was watched as absent appears
    assert files_of(root, "net:f", "m") == ["m/net.py", "m/other.py", "m/util.py"]


def test_file_form_searches_its_own_folder_and_knows_its_package(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "m/train/net.py": "import layers\ndef f(): ...", "m/train/layers.py": "",
        "m/pack/__init__.py": "", "m/pack/sub/__init__.py": "",
        "m/pack/sub/net.py": "from .. import other\ndef f(): ...", "m/pack/other.py": "",
    })  # fmt: skip
    assert files_of(root, "train/net.py:f", "m") == ["m/train/layers.py", "m/train/net.py"]
    found = closure(root, [Code("pack/sub/net.py:f", "m")])
    assert found.entries[0].module == "pack.sub.net"
    assert "m/pack/other.py" in found.files.values()


@pytest.mark.parametrize(
    ("text", "defined"),
    [
        ("def f(): ...", True), ("async def f(): ...", True), ("class f: ...", True),
        ("f = 1", True), ("a, (f, *b) = x", True), ("f: int = 1", True), ("f += 1", True),
        ("from x import g as f", True), ("import f.g", True), ("from x import *", True),
        ("try:\n  import q\nexcept E:\n  f = 1", True), ("with a as f: ...", True),
        ("def __getattr__(n): ...", True), ("if a:\n  def f(): ...", True),
        ("def g():\n  f = 1", False), ("class G:\n  def f(self): ...", False),
        ("g = f", False), ("import g as q, h.f", False), ("lambda f: f", False), ("", False),
    ],
)  # fmt: skip
def test_function_must_be_there_statically(tmp_path: Path, text: str, defined: bool) -> None:
    root = write(tmp_path, {"net.py": text})
    if defined:
        assert files_of(root, "net:f") == ["net.py"]
    else:
        assert "net.py has no function 'f'" in refused(root, "net:f")


def test_a_hint_is_a_function_of_the_file_itself(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "score.py": "import numpy as np\nfrom x import nop\nnope_ = 1\ndef other(): ...\n",
        "near.py": "import numpy as np\nif np:\n  class nopes: ...\n",
    })  # fmt: skip
    assert "did you mean" not in refused(root, "score:nope")
    assert "did you mean 'nopes'?" in refused(root, "near:nope")


def test_wrong_code_is_one_line_that_says_where(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "net.py": "import helper\ndef make(): ...", "helper.py": "x = 1\ndef broken(:\n",
        "null.py": "a\0b",
        "deep.py": "f = " + "(" * 5000 + ")" * 5000, "ns/readme.txt": "",
        "json.py": "def f(): ...", "big.py": "#" * (pycode.MAX_SOURCE + 1),
    })  # fmt: skip
    (root / "bytes.py").write_bytes(b"x = '\xff'\ndef f(): ...")
    assert refused(root, "net:make").startswith("helper.py:2: ")
    (root / "helper.py").write_text("")
    assert "did you mean 'make'" in refused(root, "net:mak")
    assert "no module 'nothing' in '.'" in refused(root, "nothing:f")
    assert "no module 'net.inner'" in refused(root, "net.inner:f")
    assert "ns has no __init__.py" in refused(root, "ns:f")
    assert "no such file: 'nte.py'; did you mean 'net.py'" in refused(root, "nte.py:f")
    assert "leaves the workspace" in refused(root, "../x.py:f")
    assert "leaves the workspace" in refused(root, "/etc/x.py:f")
    assert "null.py" in refused(root, "null:f")
    assert "bytes.py" in refused(root, "bytes:f")
    assert "deep.py" in refused(root, "deep:f")
    assert "big.py is larger" in refused(root, "big:f")
    assert "module of Python itself" in refused(root, "json:f")
    (root / "out.py").symlink_to(tmp_path.parent / "elsewhere.py")
    (tmp_path.parent / "elsewhere.py").write_text("def f(): ...")
    assert "leaves the workspace" in refused(root, "out:f")


@pytest.mark.parametrize(
    "spec",
    ["", ":", "f", "net:", ":f", "net:f:g", "a-b:f", "net:1f", "a..b:f", "x.y.py:f", "d/x:f",
     "a b:f", "net:f()", "net.py/:f"],
)  # fmt: skip
def test_malformed_specs(spec: str) -> None:
    with pytest.raises(ManifestError, match=r"expected package\.module:function"):
        split_spec(spec)


def test_depends(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "net.py": "def f(): ...", "data/a.npz": "", "data/b/c.npz": "", "data/.hidden.npz": "",
    })  # fmt: skip
    assert files_of(root, "net:f", depends=("data/**/*.npz",)) == [
        "data/a.npz", "data/b/c.npz", "net.py",
    ]  # fmt: skip
    folders = closure(root, [Code("net:f", ".")], ["data/**/*.npz"]).folders
    assert {"data", "data/b"} <= set(folders)
    assert "'data/*.bin' matches no file" in refused(root, "net:f", depends=("data/*.bin",))
    assert "did you mean 'a.npz'" in refused(root, "net:f", depends=("data/aa.npz",))
    assert "is a folder; write 'data/**'" in refused(root, "net:f", depends=("data",))
    (root / "data/out.npz").symlink_to("/etc/hostname")
    assert "leaves the workspace" in refused(root, "net:f", depends=("data/*",))


def test_folder_named_like_an_installed_package_does_not_stand_before_it(tmp_path: Path) -> None:
    root = write(tmp_path, {"net.py": "import numpy.linalg\ndef f(): ...", "numpy/linalg.py": ""})
    assert files_of(root, "net:f") == ["net.py"]
    (root / "numpy/__init__.py").write_text("")  # but a package does
    assert "numpy/__init__.py" in files_of(root, "net:f")


def test_circles_end(tmp_path: Path) -> None:
    root = write(tmp_path, {"a.py": "import b", "b.py": "import c, b", "c.py": "from a import f"})
    assert "has no function 'f'" in refused(root, "a:f")
    assert files_of(root, "c:f") == ["a.py", "b.py", "c.py"]


NAMES = st.from_regex(r"[a-c]{1,2}", fullmatch=True)
DOTTED = st.lists(NAMES, min_size=1, max_size=3).map(".".join)


@given(st.binary(max_size=200))
def test_parse_never_raises_anything_else(content: bytes) -> None:
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        parse(content)


@given(st.lists(DOTTED, max_size=5), st.integers(0, 3))
def test_parse_finds_imports_wherever_they_stand(modules: list[str], depth: int) -> None:
    lines = [f"import {module}" for module in modules] or ["pass"]
    text = ""
    for level in range(depth):
        text += "  " * level + f"def f{level}():\n"
    text += "".join("  " * depth + line + "\n" for line in lines)
    ast.parse(text)
    assert [name for _, name, _ in parse(text.encode()).imports] == list(dict.fromkeys(modules))


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=3), min_size=1, max_size=5))
def test_closure_is_what_can_be_reached(
    tmp_path_factory: pytest.TempPathFactory, graph: dict[str, list[str]]
) -> None:
    root = write(tmp_path_factory.mktemp("g"), {
        f"m_{name}.py": "".join(f"import m_{other}\n" for other in others) + "f = 1"
        for name, others in graph.items()
    })  # fmt: skip
    start = next(iter(graph))
    reached, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name in graph and name not in reached:
            reached.add(name)
            todo += graph[name]
    found = closure(root, [Code(f"m_{start}:f", ".")])
    assert set(found.files.values()) == {f"m_{name}.py" for name in reached}
    assert set(found.modules) == {f"m_{o}" for n in reached for o in graph[n] if o not in graph}
