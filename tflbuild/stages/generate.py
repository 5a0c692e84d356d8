"""generate: run a command that makes the source: training, or an export.

It runs in a copy of the workspace that holds its declared inputs alone, so that a file which it
reads and the manifest does not name is missing at once, and not stale some day. Output:
`source.tar`, its outputs in canonical form. This keeps honest commands honest; it is no prison for
others: absolute paths and the network are open to them.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tflbuild import archive
from tflbuild.errors import TaskError, one_line
from tflbuild.sources.made import OUTPUT
from tflbuild.stages.base import Request
from tflbuild.stages.guard import guarded_group

VERSION = 1
MODULES: tuple[str, ...] = ()  # what the command imports, graph.py finds in its inputs
ZYGOTE = "lite"

INPUT = "input/"  # before the names of inputs: paths relative to the root
_TAIL = 1 << 16  # bytes of standard error that are looked at

# What the worker's environment holds for the sake of TensorFlow in a worker: a training may use
# all cores, and the GPU.
WORKERS_ALONE = (
    "CUDA_VISIBLE_DEVICES", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL", "KERAS_HOME",
)  # fmt: skip


def run(request: Request) -> None:
    params, scratch = request.params, request.out.parent
    sandbox = scratch / "sandbox"
    folder = sandbox / params["folder"]
    folder.mkdir(parents=True)
    for name, path in request.inputs.items():
        copy = sandbox / name.removeprefix(INPUT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)  # a copy: a link would lead Python to the folder it comes from
    for output in params["outputs"]:
        (folder / output).parent.mkdir(parents=True, exist_ok=True)
    command = params["command"]
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    code, tail = execute(argv, folder, environment(scratch, params["values"]))
    if code:
        raise TaskError(_failure(code, tail, sandbox, folder, Path(params["root"])))
    missing = [name for name in params["outputs"] if not os.path.lexists(folder / name)]
    if missing:
        raise TaskError(
            f"the command ended well, but did not write {missing[0]!r}; it wrote"
            f" {_written(folder, sandbox, request)}",
            key="source.generate.outputs",
        )
    try:
        archive.pack(folder, params["outputs"], request.out / OUTPUT)
    except archive.ArchiveError as error:
        raise TaskError(f"output {error}", key="source.generate.outputs") from error


def environment(scratch: Path, values: Mapping[str, str]) -> dict[str, str]:
    """All variables of the command. `values`: those of the user's that the manifest names."""
    home, programs = scratch / "home", scratch / "bin"
    home.mkdir()
    programs.mkdir()
    for name in ("python", "python3"):
        # Not a link, which would not find the packages of a virtual environment.
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        program.chmod(0o755)
    made = {k: v for k, v in os.environ.items() if k not in WORKERS_ALONE}
    made |= {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    made |= values
    return made | {"PATH": f"{programs}:{made['PATH']}"}


def execute(argv: Sequence[str], folder: Path, variables: Mapping[str, str]) -> tuple[int, str]:
    """Run a program to its end: its exit code, and the end of what it said on standard error.
    Whatever it starts ends with this action."""
    guarded_group()
    try:
        process = subprocess.Popen(
            argv, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise TaskError(
            f"the command cannot be started: {argv[0]}: {error.strerror}",
            key="source.generate.command",
        ) from error
    assert process.stderr is not None
    pipe, tail = process.stderr.fileno(), b""
    while True:  # what it left running may hold the pipe open
        ready, _, _ = select.select([pipe], [], [], 0.1)
        if ready:
            if not (said := os.read(pipe, _TAIL)):
                break
            os.write(2, said)  # standard error is the log
            tail = (tail + said)[-_TAIL:]
        elif process.poll() is not None:
            break
    return process.wait(), tail.decode(errors="replace")


def _failure(code: int, tail: str, sandbox: Path, folder: Path, root: Path) -> str:
    """Why the command failed, on one line."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    said = f": {one_line(lines[-1], 300)}" if lines else ""
    how = f"ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
    return f"the command {how}{said}{_undeclared(lines[-40:], sandbox, folder, root)}"


def _undeclared(lines: Sequence[str], sandbox: Path, folder: Path, root: Path) -> str:
    """A hint, when the last words name a file of the workspace that the command was not given."""
    where = root / folder.relative_to(sandbox)
    for line in reversed(lines):
        names = []
        for module in re.findall(r"No module named ['\"]?([\w.]+)", line):
            path = module.rstrip(".").replace(".", "/")
            names += [f"{path}.py", f"{path}/__init__.py"]
        names += re.findall(r"""['"]([^'"\n]{1,300})['"]""", line)
        names += [word.strip(":,;'\"()") for word in line.split()]
        for name in names:
            real = Path(os.path.normpath(where / name.replace(str(sandbox), str(root))))
            if "\0" in name or not real.is_relative_to(root) or _is_installed(real, root):
                continue
            there = sandbox / real.relative_to(root)
            if os.path.isfile(real) and not os.path.exists(there):
                shown = os.path.relpath(real, where)
                return f"; {shown!r} is in the workspace, but not among generate.inputs: add it"
    return ""


def _is_installed(path: Path, root: Path) -> bool:
    """Whether a file belongs to a Python that lies in the workspace: its program (which begins
    most of what it says), or an installed package."""
    if any(path.is_relative_to(prefix) for prefix in {sys.prefix, sys.base_prefix}):
        return True
    above = (folder for folder in path.parents if folder != root and folder.is_relative_to(root))
    return any(
        folder.name in ("site-packages", "dist-packages") or (folder / "pyvenv.cfg").is_file()
        for folder in above
    )


def _written(folder: Path, sandbox: Path, request: Request) -> str:
    """What the command wrote, in a few words."""
    given = {name.removeprefix(INPUT) for name in request.inputs}
    found = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(sandbox).as_posix() not in given
    ]
    return ", ".join(found[:5]) + (", …" if len(found) > 5 else "") or "nothing"
