"""Code of the user's: what rebuilds, what does not, what fails, and where it runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fake_workspace import Fake

from tflbuild.api import BuildResult
from tflbuild.errors import ManifestErrors

MODEL = """
version: 1
include: [nets/tflbuild.yaml]
"""
NETS = """
models:
  net:
    source: {format: concrete_function, python: "net:make", args: {units: 3}}
    optimizations: {float32: {}}
"""
CODE = {
    "nets/net.py": (
        "import os\nfrom pathlib import Path\nfrom inner.layers import width\n"
        "def make(units):\n    return {'value': units * width()}\n"
    ),
    "nets/inner/layers.py": "import shared\ndef width():\n    return shared.BASE\n",
    "shared.py": "BASE = 7\n",
    "nets/unrelated.py": "x = 1\n",
}
RUN_AGAIN = ["lower:net", "reference:net"]


@pytest.fixture
def code(empty: Fake) -> Fake:
    empty.write(MODEL, {"nets/tflbuild.yaml": NETS, **CODE})
    return empty


@pytest.fixture
def built(code: Fake) -> Fake:
    assert code.build().ok
    return code


def add(workspace: Fake, line: str) -> None:
    workspace.write(files={"nets/tflbuild.yaml": f"{NETS}    {line}\n"})


def make(workspace: Fake, body: str) -> None:
    text = "import os\nfrom pathlib import Path\nHERE = Path(__file__).parent\ndef make(units):\n"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    workspace.write(files={"nets/net.py": text + lines})


def failure(result: BuildResult) -> str:
    (failed,) = [t for t in result.tasks if t.outcome == "failed" and t.task == "lower:net"]
    assert "\n" not in failed.reason
    assert "Traceback" not in failed.reason
    return failed.reason


def test_nothing_to_do_reaches_no_graph(built: Fake) -> None:
    result = built.build()
    assert (result.ok, result.ran(), result.done.reached_graph) == (True, [], 0)


def test_helper_two_imports_away_rebuilds(built: Fake) -> None:
    built.write(files={"shared.py": "BASE = 8\n"})
    result = built.build()
    assert result.ran()[:1] == ["compat:net:float32@litert"]
    assert next(t.why for t in result.tasks if t.task == "lower:net") == ("shared.py changed",)


def test_same_graph_from_other_code_converts_nothing(built: Fake) -> None:
    built.write(files={"shared.py": "BASE = 3 + 4  # the same\n"})
    assert built.build().ran() == RUN_AGAIN


def test_change_elsewhere_rebuilds_nothing(built: Fake) -> None:
    built.write(files={"nets/unrelated.py": "x = 2\n", "other.py": "", "nets/notes.txt": "hm"})
    result = built.build()
    assert (result.ran(), result.done.reached_graph) == ([], 0)


def test_args_are_in_the_key(built: Fake) -> None:
    built.write(files={"nets/tflbuild.yaml": NETS.replace("units: 3", "units: 4")})
    why = {t.task: t.why for t in built.build().tasks}
    assert why["lower:net"] == ("params.source.args.units: 3 → 4",)


def test_module_that_appears_before_the_one_in_use_is_noticed(built: Fake) -> None:
    built.write(files={"nets/shared.py": "BASE = 9\n"})  # the manifest's folder comes first
    result = built.build()
    assert "lower:net" in result.ran()
    why = next(t.why for t in result.tasks if t.task == "lower:net")
    assert set(why) == {"new input nets/shared.py", "input shared.py is gone"}


def test_module_that_goes_is_an_error_with_its_place(built: Fake) -> None:
    (built.root / "nets/net.py").unlink()
    with pytest.raises(ManifestErrors, match=r"nets/tflbuild\.yaml:4:\d+: .*no module 'net'"):
        built.build()


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("return {'value': (HERE / 'w.txt').read_text()}", "depends: [w.txt]"),
        ("return {'value': open(str(HERE.parent / 'top.txt')).read()}", "depends: [../top.txt]"),
        ("try:\n    open(HERE / 'w.txt')\nexcept OSError:\n    pass\nreturn {'value': 1}",
         "depends: [w.txt]"),
        ("import importlib\nname = 'unrelated'\nimportlib.import_module(name)\nreturn {'value': 1}",
         "depends: [unrelated.py]"),
        ("try:\n    __import__('unrel' + 'ated')\nexcept ImportError:\n    pass\n"
         "return {'value': 1}", "depends: [unrelated.py]"),
        ("return {'value': len(list(HERE.glob('*.txt')))}", "depends: ['*']"),
        ("return {'value': len(os.listdir(HERE / 'more'))}", "depends: ['more/*']"),
        ("raise ValueError(open(HERE / 'w.txt'))", "depends: [w.txt]"),
    ],
)  # fmt: skip
def test_file_beyond_the_key_fails_with_the_line_to_add(code: Fake, body: str, line: str) -> None:
    code.write(files={"nets/w.txt": "5", "top.txt": "6", "nets/more/a.txt": ""})
    make(code, body)
    assert f"add `{line}`" in failure(code.build(keep_going=True))

    add(code, line)
    result = code.build()
    if body.startswith("raise"):
        assert "ValueError" in failure(result)
    elif "except OSError" not in body:
        assert result.ok, [t.reason for t in result.tasks]


def test_absolute_path_into_the_workspace_is_refused(code: Fake) -> None:
    real = f'"{code.root}/nets/w.txt"'
    code.write(files={"nets/tflbuild.yaml": NETS.replace("units: 3", f"units: {real}")})
    with pytest.raises(ManifestErrors, match=r"nets/tflbuild\.yaml:4:\d+: args name 'nets/w.txt'"):
        code.build()
    code.write(files={"nets/tflbuild.yaml": NETS})
    make(code, f"return {{'value': os.path.exists('{code.root}' + '/nets/flag')}}")
    with pytest.raises(
        ManifestErrors, match=r"nets/net.py:5: names '.' of the workspace by an abs"
    ):
        code.build()
    for harmless in (
        f'"""{code.root}"""', "x = '/usr/share/x'", f"x = str(units) + '{code.root}/nets'",
        f"if __name__ == '__main__': open('{code.root}/nets/w.txt')",
    ):  # fmt: skip
        make(code, f"{harmless}\nreturn {{'value': 1}}")
        assert code.build().ok


def test_module_that_is_a_pointer_is_told(code: Fake) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    code.write(files={"shared.py": pointer})
    with pytest.raises(ManifestErrors, match=r"shared\.py is a Git LFS pointer.*git lfs pull"):
        code.build()


def test_a_folder_of_its_own_is_removed_like_anywhere(code: Fake) -> None:
    """Python lists a folder that it removes by a number, not by a path."""
    make(
        code,
        "import tempfile\nwith tempfile.TemporaryDirectory() as own:\n"
        "    os.mkdir(os.path.join(own, 'inner'))\nreturn {'value': os.path.exists(own)}",
    )
    result = code.build()
    assert result.ok, [t.reason for t in result.tasks]


def test_declared_file_rebuilds_when_it_changes(code: Fake) -> None:
    code.write(files={"nets/w/a.txt": "5"})
    make(code, "return {'value': [p.read_text() for p in sorted((HERE / 'w').glob('*'))]}")
    add(code, "depends: [w/*.txt]")
    assert code.build().ok
    assert code.build().done.reached_graph == 0
    code.write(files={"nets/w/a.txt": "6"})
    assert "lower:net" in code.build().ran()
    code.write(files={"nets/w/b.txt": "7"})  # a file that comes to the glob
    result = code.build()
    assert next(t.why for t in result.tasks if t.task == "lower:net") == ("new input nets/w/b.txt",)
    (code.root / "nets/w/b.txt").unlink()
    assert code.build().ok
    (code.root / "nets/w/a.txt").unlink()
    with pytest.raises(ManifestErrors, match="matches no file"):
        code.build()


def test_code_never_runs_in_the_parent(code: Fake, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    for name in ("nets/net.py", "shared.py"):
        text = (code.root / name).read_text()
        told = f"import os, sys\nopen({str(mark)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        code.write(files={name: told + text})
    assert code.build().ok
    code.write(files={"shared.py": "BASE = 1\n" + (code.root / "shared.py").read_text()})
    assert code.build().ok
    pids = mark.read_text().split()
    assert len(pids) == 8  # two modules in two tasks, twice
    assert str(os.getpid()) not in pids
    assert len(set(pids)) == 4  # each task in a process of its own


def test_undeclared_variables_do_not_reach_the_code(
    code: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIDTH", "5")
    monkeypatch.setenv("SECRET", "s3cret")
    make(code, "return {'value': [os.environ.get('WIDTH'), os.environ.get('SECRET')]}")
    add(code, "env: [WIDTH]")
    assert code.build().ok
    assert code.dist()["litert/net-float32.tflite"].startswith(b"['5', None] ")
    assert code.build().done.reached_graph == 0

    monkeypatch.setenv("SECRET", "other")
    assert code.build().done.reached_graph == 0
    monkeypatch.setenv("WIDTH", "6")
    result = code.build()
    assert "lower:net" in result.ran()
    assert code.dist()["litert/net-float32.tflite"].startswith(b"['6', None] ")
    monkeypatch.delenv("WIDTH")
    result = code.build()
    assert code.dist()["litert/net-float32.tflite"].startswith(b"[None, None] ")
    (why,) = next(t.why for t in result.tasks if t.task == "lower:net")
    assert why.startswith("params.env.WIDTH: sha256:")
    assert why.endswith("→ (none)")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('no such\\nlayer')", "nets/net.py:5: KeyError: 'no such"),
        ("import sys\nsys.exit(3)", "nets/net.py:6: it ended the process (sys.exit(3))"),
        ("return make(units)", "nets/net.py:5: RecursionError: "),
        ("import nowhere", "nets/net.py:5: ModuleNotFoundError: No module named 'nowhere'"),
        ("raise KeyboardInterrupt", "nets/net.py:5: KeyboardInterrupt"),
        ("class E(Exception):\n    def __str__(self): raise self\nraise E",
         "nets/net.py:7: E: (its message cannot be shown)"),
        ("os._exit(0)", "the worker ended with status 0 and no result"),
        ("return open('w.txt')", "open Path(__file__).parent / NAME"),
    ],
)  # fmt: skip
def test_what_code_raises_is_one_line(code: Fake, body: str, said: str) -> None:
    code.write(files={"nets/w.txt": "5"})
    make(code, body)
    reason = failure(code.build(keep_going=True))
    assert said in reason
    assert ".tflbuild/work" not in reason
    if "nets/net.py:" in said:
        assert reason.startswith("nets/tflbuild.yaml:4:")
        assert "Traceback" in (code.root / "build/logs/lower:net.log").read_text()


def test_wrong_arguments_are_one_line(code: Fake) -> None:
    code.write(files={"nets/tflbuild.yaml": NETS.replace("units: 3", "width: 3")})
    assert "unexpected keyword argument 'width'" in failure(code.build(keep_going=True))


def test_print_goes_to_the_log(code: Fake) -> None:
    make(code, "print('made by', units)\nreturn {'value': 1}")
    assert code.build().ok
    assert "made by 3" in (code.root / "build/logs/lower:net.log").read_text()


def test_code_edited_while_it_runs_is_run_again(code: Fake) -> None:
    shared = code.root / "shared.py"
    make(code, f"import shared\np = Path('/', {str(shared)[1:]!r})\n"
               "if shared.BASE == 7: p.write_text('BASE = 8')\n"
               "return {'value': shared.BASE}")  # fmt: skip
    result = code.build()
    # reference and lower may have seen different contents: then nothing is released yet.
    if not result.ok:
        assert code.build().ok
    assert code.dist()["litert/net-float32.tflite"].startswith(b"8 ")


def test_many_models_share_one_parsed_module(empty: Fake) -> None:
    models = "".join(
        f"  m{i}: {{source: {{format: concrete_function, python: 'net:make', args: [{i % 2}]}}}}\n"
        for i in range(30)
    )
    from tflbuild import pycode

    empty.write(
        f"version: 1\ndefaults:\n  optimizations: {{float32: {{}}}}\nmodels:\n{models}",
        {"net.py": "import helper\ndef make(n): return {'value': n}\n", "helper.py": ""},
    )
    pycode.parse.cache_clear()
    result = empty.build()
    assert result.ok
    assert pycode.parse.cache_info().misses == 2
    assert len([t for t in result.ran() if t.startswith("lower:")]) == 2  # equal actions run once
    empty.build()  # the manifest was younger than its reading
    before = pycode.parse.cache_info()
    assert empty.build().done.reached_graph == 0
    assert pycode.parse.cache_info() == before  # a build with nothing to do parses nothing


def test_record_of_an_earlier_format_is_not_believed(built: Fake) -> None:
    path = built.root / ".tflbuild/record.json"
    record = json.loads(path.read_text())
    record["models"]["net"] = [*record["models"]["net"][:3], ["not", "a", "mapping"]]
    path.write_text(json.dumps(record))
    result = built.build()
    assert (result.ok, result.ran()) == (True, [])
    assert built.build().done.reached_graph == 0
