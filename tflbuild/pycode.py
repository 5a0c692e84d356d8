"""A user's Python code, as files: the static import closure of a function inside the workspace.

The parent never imports a user's module. It reads which modules the code could import (`ast`:
absolute, relative, in functions, in branches never taken) and follows those that lie in the
workspace; their contents enter the key. What is installed is not followed: the versions of its
distributions enter the toolchain. What the code reads beyond that must be declared in `depends`;
`pyrun` sees to that in the child.
"""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from tflbuild.environment import worker_path
from tflbuild.errors import ManifestError
from tflbuild.manifest.includes import expand, is_glob
from tflbuild.manifest.model import Code
from tflbuild.manifest.problems import nearest
from tflbuild.pointers import lfs_problem

MAX_SOURCE = 4_000_000  # bytes of one Python file
MAX_PATH = 4096  # characters of a text that is taken for a path
PREFIX = "python/"  # of keyed input names
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_OURS = (".tflbuild", ".git")


@dataclass(frozen=True)
class Entry:
    """A function of the user's, as the child finds it."""

    module: str  # dotted
    function: str
    file: str  # path under the root

    def as_json(self) -> dict[str, str]:
        return {"module": self.module, "function": self.function}


@dataclass(frozen=True)
class Closure:
    """What decides what some functions do, beyond installed packages."""

    entries: tuple[Entry, ...]  # one for each `Code`, in their order
    files: dict[str, str]  # keyed input name (`python/<path>`) → path under the root
    folders: tuple[str, ...]  # whose listing, and paths whose absence, made `files`
    modules: tuple[str, ...]  # top-level names of what is imported and not in the workspace
    path: tuple[str, ...]  # folders that modules are looked for in, under the root


def split_spec(spec: str) -> tuple[str, str, bool]:
    """Module (or file), function, and whether it is a file. Raises ManifestError."""
    place, colon, function = spec.rpartition(":")
    is_file = place.endswith(".py") or "/" in place
    good = bool(colon and place) and function.isidentifier()
    if is_file:
        good = good and place.endswith(".py") and "." not in os.path.basename(place)[:-3]
    else:
        good = good and all(part.isidentifier() for part in place.split("."))
    if not good:
        raise ManifestError(
            f"expected package.module:function or path/to/file.py:function, got {spec[:200]!r}"
        )
    return place, function, is_file


def closure(root: Path, codes: Sequence[Code], depends: Iterable[str] = ()) -> Closure:
    """All files in the workspace that `codes` could import, and those that `depends` names.

    `depends`: patterns relative to the root. Raises ManifestError, without a position, for a
    module or function that is not there, code that cannot be read, and a pattern without files.
    """
    search: dict[str, None] = {}
    places = [_place(root, code, search) for code in codes]
    for code in codes:
        search[code.base] = None
    search["."] = None
    path = tuple(worker_path())
    for folder in _from_sys_path(root, path):
        search[folder] = None
    finder = _Finder(str(root), tuple(search), path)
    entries = []
    for code, (module, function) in zip(codes, places, strict=True):
        file = finder.entry(module, code.spec)
        entries.append(Entry(module, function, file))
    finder.follow()
    for code, entry in zip(codes, entries, strict=True):
        names = finder.parsed(entry.file).names
        if "*" not in names and entry.function not in names:
            raise ManifestError(
                f"{entry.file} has no function {entry.function!r}"
                f"{nearest(entry.function, finder.parsed(entry.file).defined)}"
                f" (asked for by {code.spec!r})"
            )
    extra, listed = depended(root, depends)
    files = {*finder.files, *extra}
    return Closure(
        tuple(entries),
        {PREFIX + path: path for path in sorted(files)},
        tuple(sorted({*finder.watched, *listed} - files)),
        tuple(sorted(finder.external)),
        tuple(search),
    )


def depended(root: Path, patterns: Iterable[str]) -> tuple[list[str], set[str]]:
    """The files that patterns match, and the folders whose listing decided it. Raises
    ManifestError for a pattern that matches no file, or leaves the workspace."""
    files: dict[str, None] = {}
    folders: set[str] = set()
    skip = frozenset(str(root / name) for name in _OURS)
    for pattern in patterns:
        if not is_glob(pattern) and (root / pattern).is_dir():
            raise ManifestError(
                f"depends: {pattern!r} is a folder; write {pattern.rstrip('/') + '/**'!r}"
            )
        found, listed = expand(pattern, str(root), skip)
        if not found:
            hint = "" if is_glob(pattern) else _near_file(root / pattern)
            raise ManifestError(f"depends: {pattern!r} matches no file{hint}; correct or remove it")
        for path in found:
            if _outside(str(root), path):
                raise ManifestError(f"depends: {_under(root, path)} leaves the workspace")
            files[_under(root, path)] = None
        folders.update(_under(root, folder) for folder in listed)
    return list(files), folders


def _near_file(path: Path) -> str:
    try:
        return nearest(path.name, os.listdir(path.parent))
    except OSError:
        return ""


def _under(root: Path | str, path: str) -> str:
    relative = path.removeprefix(str(root)).lstrip(os.sep)
    return relative or "."


def _outside(root: str, path: str) -> bool:
    real = os.path.realpath(path)
    return not real.startswith(root + os.sep)


def _place(root: Path, code: Code, search: dict[str, None]) -> tuple[str, str]:
    """Module and function. A file's own folder is searched too, as for a script that is run."""
    place, function, is_file = split_spec(code.spec)
    if not is_file:
        return place, function
    path = os.path.normpath(os.path.join(code.base, place))
    if path.startswith(("..", "/")) or _outside(str(root), str(root / path)):
        raise ManifestError(f"{code.spec!r} leaves the workspace")
    if not (root / path).is_file():
        raise ManifestError(f"no such file: {place!r}{_near_file(root / path)}")
    folder, name = os.path.split(path)
    parts = [name[:-3]]
    while folder and (root / folder / "__init__.py").is_file():  # it is in a package
        folder, package = os.path.split(folder)
        parts.append(package)
    if parts[0] == "__init__":
        parts = parts[1:]
    search[folder or "."] = None
    return ".".join(reversed(parts)), function


@lru_cache(maxsize=16)
def _from_sys_path(root: Path, path: tuple[str, ...]) -> tuple[str, ...]:
    """Folders of the workspace that are on the module path: of packages installed editable."""
    package = str(Path(__file__).resolve().parents[1])
    prefixes = tuple(os.path.realpath(p) + os.sep for p in {sys.prefix, sys.base_prefix})
    found = []
    for folder in path:
        real = os.path.realpath(folder)
        if not real.startswith(str(root) + os.sep) or real == package:
            continue
        if real.startswith(prefixes) or _INSTALLED & set(real.split(os.sep)):
            continue
        if os.path.isdir(real):
            found.append(_under(root, real))
    return tuple(found)


@lru_cache(maxsize=1024)
def _installed(name: str, root: str, search: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether a module or package is found beyond the folders of the workspace."""
    elsewhere = [p for p in path if _under(root, os.path.realpath(p)) not in search]
    spec = PathFinder.find_spec(name, elsewhere)
    return spec is not None and spec.origin is not None


@dataclass(frozen=True)
class Parsed:
    """What matters of a Python file."""

    imports: tuple[tuple[int, str, tuple[str, ...]], ...]  # level, module, names taken from it
    names: frozenset[str]  # that it defines at top level; "*" when nobody can tell
    places: tuple[tuple[int, str], ...] = ()  # line, text that could be an absolute path
    defined: frozenset[str] = frozenset()  # those of `names` that are functions and classes


@dataclass
class _Finder:
    """Follows imports as Python's path finder resolves them, in folders of the workspace."""

    root: str
    search: tuple[str, ...]
    path: tuple[str, ...]  # the module path of workers
    files: set[str] = field(default_factory=set)
    watched: set[str] = field(default_factory=set)  # paths looked for and absent
    external: set[str] = field(default_factory=set)
    found: dict[str, _Module | None] = field(default_factory=dict)  # by dotted name
    todo: list[_Module] = field(default_factory=list)
    real: dict[str, str] = field(default_factory=dict)  # folders, with links resolved

    def entry(self, module: str, spec: str) -> str:
        """The file of a module that must be there."""
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top == "tflbuild":
            raise ManifestError(
                f"{spec!r}: {top!r} is a module of {'Python' if top != 'tflbuild' else 'tflbuild'}"
                " itself; give yours another name"
            )
        resolved = self.module(module)
        if resolved is None:
            where = " or ".join(repr(folder) for folder in self.search)
            raise ManifestError(f"{spec!r}: no module {module!r} in {where}")
        if resolved.file is None:
            raise ManifestError(f"{spec!r}: {resolved.folders[0]} has no __init__.py to hold it")
        return resolved.file

    def follow(self) -> None:
        while self.todo:
            module = self.todo.pop()
            assert module.file is not None
            parsed = self.parsed(module.file)
            for line, text in parsed.places:
                if (path := in_workspace(self.root, text)) is not None:
                    raise ManifestError(
                        f"{module.file}:{line}: names {path!r} of the workspace by an absolute"
                        " path: use Path(__file__).parent and `depends`"
                    )
            for level, name, taken in parsed.imports:
                target = self._absolute(module, level, name)
                if target is None:
                    continue
                self.module(target)
                for attribute in taken:  # a module of a package, or a name in a module
                    if attribute != "*" and self.found.get(target) is not None:
                        self.module(f"{target}.{attribute}")

    def _absolute(self, module: _Module, level: int, name: str) -> str | None:
        if not level:
            return name
        parts = module.name.split(".")
        if not module.is_package:
            parts.pop()
        if level > 1:
            parts = parts[: 1 - level] if level - 1 < len(parts) else []
        return ".".join([*parts, name] if name else parts) or None

    def module(self, name: str) -> _Module | None:
        """Resolve a module with its parents; None for one that is not in the workspace."""
        if name in self.found:
            return self.found[name]
        parent, _, last = name.rpartition(".")
        resolved: _Module | None = None
        if not parent:
            if last in sys.stdlib_module_names:  # nothing in a workspace stands in for it
                pass
            elif last == "tflbuild":
                self.external.add(last)
            else:
                resolved = self._top(last)
        elif (package := self.module(parent)) is not None and package.folders:
            resolved = self._look(name, last, package.folders)
        self.found[name] = resolved
        if resolved is not None and resolved.file is not None and resolved.file not in self.files:
            if self._leaves(resolved.file):
                raise ManifestError(f"{resolved.file} is a symbolic link that leaves the workspace")
            self.files.add(resolved.file)
        if resolved is not None and resolved.file is not None:
            self.todo.append(resolved)
        return resolved

    def _leaves(self, file: str) -> bool:
        """The file, or a folder on the way to it, is a link that leads out of the workspace."""
        folder, _, _ = file.rpartition("/")
        if folder not in self.real:
            self.real[folder] = os.path.realpath(os.path.join(self.root, folder))
        real, full = self.real[folder], os.path.join(self.root, file)
        inside = real == self.root or real.startswith(self.root + os.sep)
        return not inside or (os.path.islink(full) and _outside(self.root, full))

    def _top(self, name: str) -> _Module | None:
        resolved = self._look(name, name, self.search)
        if resolved is not None and resolved.file is not None:
            return resolved
        # A folder without __init__.py stands behind everything that is installed.
        if _installed(name, self.root, self.search, self.path):
            self.external.add(name)
            return None
        if resolved is None:
            self.external.add(name)
            self.watched.update(_join(folder, name) for folder in self.search)
        return resolved

    def _look(self, name: str, last: str, folders: Sequence[str]) -> _Module | None:
        """As Python looks: a package, else a module, in each folder; else all that are folders."""
        portions = []
        for folder in folders:
            inner = _join(folder, last)
            for path, package in ((f"{inner}/__init__.py", True), (f"{inner}.py", False)):
                if os.path.isfile(os.path.join(self.root, path)):
                    return _Module(name, path, (inner,) if package else (), package)
                self.watched.add(path)
            if os.path.isdir(os.path.join(self.root, inner)):
                portions.append(inner)
        return _Module(name, None, tuple(portions), True) if portions else None

    def parsed(self, file: str) -> Parsed:
        try:
            full = os.path.join(self.root, file)
            if os.path.getsize(full) > MAX_SOURCE:
                raise ManifestError(f"{file} is larger than {MAX_SOURCE:,} bytes of Python code")
            content = Path(full).read_bytes()
        except OSError as error:
            raise ManifestError(f"{file} cannot be read: {error.strerror}") from error
        try:
            return parse(content)
        except SyntaxError as error:
            if pointer := lfs_problem(full, file):
                raise ManifestError(pointer) from error
            raise ManifestError(f"{file}:{error.lineno or 1}: {error.msg}") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise ManifestError(
                f"{file} is not Python code: {error or 'nested too deep'}"
            ) from None


@dataclass(frozen=True)
class _Module:
    name: str  # dotted
    file: str | None  # None: a namespace package
    folders: tuple[str, ...]  # where its own modules lie; none for a module
    is_package: bool


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


@lru_cache(maxsize=4096)  # by content: a thousand models may share one module
def parse(content: bytes) -> Parsed:
    """The imports and top-level names of Python code. Raises SyntaxError, ValueError,
    RecursionError, MemoryError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that Python takes as they are
        tree = ast.parse(content)
    imports: dict[tuple[int, str, tuple[str, ...]], None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports[0, alias.name, ()] = None
        elif isinstance(node, ast.ImportFrom):
            taken = tuple(alias.name for alias in node.names)
            imports[node.level, node.module or "", taken] = None
        elif isinstance(node, ast.Call) and (name := _imported_by_call(node)):
            imports[0, name, ()] = None
    names, own = frozenset(_names(tree.body)), frozenset(_defined(tree.body))
    return Parsed(tuple(imports), names, tuple(_places(tree)), own)


def _places(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Text that could be an absolute path, where it is not the end of another, nor in a docstring
    or in what runs for scripts alone."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value.startswith("/") and "\n" not in node.value and "\0" not in node.value:
                yield node.lineno, node.value
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            pass
        elif isinstance(node, ast.If) and "__name__" in _read(node.test):
            stack += node.orelse
        elif isinstance(node, ast.JoinedStr):
            stack += [part for part in node.values if not isinstance(part, ast.Constant)]
            stack += node.values[:1]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            stack.append(node.left)
            if not isinstance(node.right, ast.Constant):
                stack.append(node.right)
        else:
            stack += ast.iter_child_nodes(node)


def _read(test: ast.expr) -> set[str]:
    parts = [test, *getattr(test, "comparators", ()), getattr(test, "left", None)]
    return {part.id for part in parts if isinstance(part, ast.Name)}


def in_workspace(root: str, text: str) -> str | None:
    """What a text names under the root by an absolute path: a place that is there, or could be;
    None for any other text."""
    if not text.startswith("/") or len(text) > MAX_PATH or root == "/":
        return None
    path = os.path.normpath("/" + text.lstrip("/"))
    if not (path + "/").startswith(root + "/"):
        path = os.path.realpath(path)  # the workspace may have another way to it
    if not (path + "/").startswith(root + "/") or not os.path.isdir(os.path.dirname(path)):
        return None
    return _under(root, path)


def _imported_by_call(node: ast.Call) -> str:
    """The module of `importlib.import_module("…")` or `__import__("…")`."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    called = node.func.id if isinstance(node.func, ast.Name) else called
    if called not in ("import_module", "__import__") or not node.args:
        return ""
    first = node.args[0]
    name = first.value if isinstance(first, ast.Constant) else None
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        return ""
    return name


def _defined(body: Iterable[ast.AST]) -> Iterator[str]:
    """The functions and classes that statements outside functions and classes define: what a
    person can have meant by the name of a function."""
    stack = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            stack += ast.iter_child_nodes(node)


def _names(body: Iterable[ast.AST]) -> Iterator[str]:
    """What statements outside functions and classes bind."""
    stack = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield "*" if node.name == "__getattr__" else node.name
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        stack += ast.iter_child_nodes(node)
