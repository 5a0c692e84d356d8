"""Sources that are made before they are read: what their task reads, and what is in its key.

`fetch` is keyed by the digest that the manifest asks for, wherever it comes from. `generate` is
keyed by its command, its inputs, the variables that it is given, and the distributions that its
Python files import.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tflbuild.environment import variable_digest
from tflbuild.errors import ManifestError
from tflbuild.manifest.includes import expand, is_glob
from tflbuild.manifest.made import url_name
from tflbuild.manifest.model import Fetch, Generate, Model
from tflbuild.sources import FORMATS
from tflbuild.stages.fetch import VARIABLES
from tflbuild.stages.generate import INPUT
from tflbuild.store.toolchain import loose_files

MAX_CODE = 1 << 20  # bytes of a Python file whose imports are looked at


@dataclass(frozen=True)
class Making:
    """What the task that makes a source is made of."""

    params: Mapping[str, Any]  # in the key
    files: Mapping[str, str] = field(default_factory=dict)  # keyed input name → path under root
    folders: tuple[str, ...] = ()  # whose listing made `files`
    modules: tuple[str, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict)  # for the child alone


def making(root: Path, model: Model) -> Making:
    """Raises ManifestError for inputs that lead out of the workspace, OSError."""
    source = model.source
    if source.fetch is not None:
        return _fetching(source.fetch, source.format, unpacks(model), member_of(model))
    assert source.generate is not None
    return _generating(root, model, source.generate)


def unpacks(model: Model) -> bool:
    """Whether what is fetched is an archive: a folder must be, a file when a member is named."""
    return bool(model.source.path) or FORMATS[model.source.format].FOLDER


def member_of(model: Model) -> str:
    """The name of the source in what the task hands on."""
    source = model.source
    if source.fetch is None or unpacks(model):
        return source.path or "."
    # The suffix decides how a file is read; another mirror may have another name.
    return "source" + posixpath.splitext(url_name(source.fetch.url))[1]


def _fetching(fetch: Fetch, form: str, unpack: bool, member: str) -> Making:
    variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return Making(
        params={"sha256": fetch.sha256, "unpack": unpack, "name": "" if unpack else member},
        request={
            "params": {"url": fetch.url, "max_size": fetch.max_size, "format": form},
            "env": variables,
        },
    )


def _generating(root: Path, model: Model, generate: Generate) -> Making:
    files, folders = generate_files(root, generate)
    for path in (*files, *folders):
        if not Path(os.path.realpath(root / path)).is_relative_to(root):
            raise ManifestError(
                f"{path} is a symbolic link that leaves the workspace",
                model.position_of("source.generate.inputs"),
            )
    command = generate.command
    modules = imported(root, files, command, generate.folder)
    values = {name: os.environ[name] for name in generate.env if name in os.environ}
    return Making(
        params={
            "command": command if isinstance(command, str) else list(command),
            "folder": generate.folder,
            "outputs": list(generate.outputs),
            "env": {name: variable_digest(os.environ.get(name)) for name in sorted(generate.env)},
        },
        files={INPUT + path: path for path in files},
        folders=(*folders, *loose_files(root, modules)),
        modules=modules,
        request={"params": {"values": values, "root": str(root)}},
    )


def generate_files(root: Path, generate: Generate) -> tuple[list[str], tuple[str, ...]]:
    """The files that a command's inputs name now, and the folders whose listing said so."""
    skip = frozenset(str(root / folder) for folder in generate.skip)
    found: set[str] = set()
    listed: set[str] = set()
    for folder, pattern in generate.inputs:
        if is_glob(pattern):
            files, folders = expand(pattern, str(root / folder), skip)
            found.update(files)
            listed |= folders
        else:
            found.add(os.path.normpath(root / folder / pattern))
    return (
        [os.path.relpath(path, root) for path in sorted(found)],
        tuple(os.path.relpath(folder, root) for folder in sorted(listed)),
    )


def imported(
    root: Path, files: Iterable[str], command: str | Sequence[str] = (), folder: str = "."
) -> tuple[str, ...]:
    """The modules that a command and its Python files import from elsewhere: not from Python's own
    library, and not from among the files, where Python would find them before all others."""
    names: set[str] = set()
    own: set[str] = set()
    given = [file for file in files if file.endswith(".py")]
    # Python looks beside the script that it runs, or where it is run.
    places = {os.path.normpath(folder), *(os.path.dirname(file) or "." for file in given)}
    for file in given:
        names |= _imports(root / file)
        base, name = os.path.split(file)
        if name != "__init__.py":
            own |= {name.removesuffix(".py")} if (base or ".") in places else set()
        elif (os.path.dirname(base) or ".") in places:
            own.add(os.path.basename(base))
    for code, module in _of_command(command):
        names |= _read_imports(code) if code else {module.partition(".")[0]}
    return tuple(sorted(names - own - sys.stdlib_module_names))


def _of_command(command: str | Sequence[str]) -> list[tuple[str, str]]:
    """Code that stands in a command (`python -c CODE`), and modules (`python -m MODULE`)."""
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError:  # the shell will say what is wrong
        words = command.split() if isinstance(command, str) else list(command)
    if len(words) == 3 and os.path.basename(words[0]) in ("sh", "bash") and words[1] == "-c":
        return _of_command(words[2])
    found, python = [], False
    for index, word in enumerate(words):
        if re.fullmatch(r"python[0-9.]*", os.path.basename(word)):
            python = True
        elif python and word in ("-c", "-m"):
            after = words[index + 1] if index + 1 < len(words) else ""
            found.append((after, "") if word == "-c" else ("", after))
            python = False
        elif not word.startswith("-"):
            python = False  # its script; options of the interpreter that take a word are rare
    return [(code, module) for code, module in found if code or module]


def _imports(path: Path) -> set[str]:
    try:
        return set() if path.stat().st_size > MAX_CODE else _read_imports(path.read_bytes())
    except OSError:
        return set()  # the command will say what is wrong


def _read_imports(code: str | bytes) -> set[str]:
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
