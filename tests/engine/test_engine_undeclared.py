"""The hint at what a generating command was not given: never at the Python that lies beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tflbuild.stages.generate import _undeclared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with an own Python, as `python -m venv .venv` in the root makes it."""
    for name in (
        "h/trainmod.py", "h/tr.py", ".venv/pyvenv.cfg", ".venv/bin/python",
        ".venv/lib/python3.11/site-packages/nets/__init__.py", "vendor/site-packages/nets/a.py",
    ):  # fmt: skip
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "sandbox/h").mkdir(parents=True)
    return tmp_path


def hint(folder: Path, *lines: str) -> str:
    sandbox = folder / "sandbox"
    return _undeclared(lines, sandbox, sandbox / "h", folder / "root")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{root}/.venv/bin/python: No module named trainmod", "trainmod.py"),
        ("{root}/.venv/bin/python: can't open file '{sandbox}/h/tr.py': [Errno 2]", "tr.py"),
        ("../.venv/bin/python: Error while finding module specification for 'tr.py'", "tr.py"),
        ("ModuleNotFoundError: No module named 'trainmod'", "trainmod.py"),
    ],
)
def test_the_missing_input_is_named(folder: Path, line: str, named: str) -> None:
    said = hint(folder, line.format(root=folder / "root", sandbox=folder / "sandbox"))
    assert f"; {named!r} is in the workspace" in said


def test_a_python_is_no_input(folder: Path) -> None:
    root = folder / "root"
    site = root / ".venv/lib/python3.11/site-packages/nets/__init__.py"
    beside = root / "vendor/site-packages/nets/a.py"
    assert hint(folder, f"{root}/.venv/bin/python: no", f'File "{site}", line 1', f"{beside}") == ""
