"""A user's Python code, run in a child: only what its key holds is there to be read.

`enter` makes a mirror of the workspace in the child's scratch folder, with the keyed files alone,
and puts it on the module path: what is not declared is not found, neither by Python nor by the
C++ of TensorFlow. The workspace itself is closed to this process (`confine`), where the kernel can
do that. An audit hook notes what the code wanted beyond that, by the mirror's paths or by absolute
ones, and `check` fails with the `depends` line to add, also when the code itself went on without
the file.

A child runs one action, so there is one mirror: it is module state.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import FrameType
from typing import Any

from tflbuild.confine import confine
from tflbuild.errors import TaskError, TflbuildError, one_line
from tflbuild.outside import Lister, Outside
from tflbuild.pycode import PREFIX

SHOWN = 5  # undeclared files that one message names
_STDLIB = str(Path(os.__file__).parent) + os.sep
_OURS = frozenset({".tflbuild", ".git"})
# What others shall open or run: the text of the first arguments names it.
_SPOKEN = frozenset(
    {"sqlite3.connect", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
)
_EVENTS = frozenset({"open", "os.listdir", "os.scandir", "ctypes.dlopen"}) | _SPOKEN
_SUFFIXES = (".py", *EXTENSION_SUFFIXES)


@dataclass
class Mirror:
    root: str  # the workspace
    folder: str  # the mirror of it
    base: str  # folder of the manifest, under the root: `depends` is relative to it
    path: tuple[str, ...]  # folders that modules are looked for in, under the root
    keyed: frozenset[str]
    undeclared: dict[str, None] = field(default_factory=dict)  # patterns under the root
    installed: tuple[str, ...] = ()  # prefixes of what is no part of the workspace
    list: Callable[[str], Sequence[str]] = os.listdir  # of a folder of the workspace
    outside: Outside = field(default_factory=Outside)

    def relative(self, path: str) -> str | None:
        """What a path of the mirror or of the workspace is under the root; None for others."""
        for folder in (self.folder, self.root):
            if path.startswith(folder + os.sep):
                inner = path[len(folder) + 1 :]
                outside = folder == self.root and (
                    inner.split(os.sep)[0] in _OURS or path.startswith(self.installed)
                )
                return None if outside else inner
        return "" if path in (self.folder, self.root) else None

    def wanted(self, path: Any) -> None:
        """A file is opened or imported: note it when it is there and not keyed."""
        if not isinstance(path, str | bytes | os.PathLike):
            return  # an open descriptor
        full = os.path.abspath(os.fsdecode(path))
        inner = self.relative(full)
        if inner is None and not full.startswith(self.installed):
            real = os.path.realpath(full)
            inner = None if real == full else self.relative(real)
        if not inner or inner in self.keyed or inner.endswith(".pyc"):
            return
        if os.path.isfile(os.path.join(self.root, inner)):
            self.undeclared[inner] = None

    def listed(self, path: Any) -> None:
        """A folder is listed: note it when it holds files that are not keyed."""
        if not isinstance(path, str | bytes | os.PathLike):
            return
        inner = self.relative(os.path.abspath(os.fsdecode(path)))
        if inner is None:
            return
        try:
            names = self.list(os.path.join(self.root, inner))
        except OSError:
            return
        for name in names:
            below = f"{inner}/{name}" if inner else name
            hidden = name.startswith(".") or below in self.keyed
            if not hidden and os.path.isfile(os.path.join(self.root, below)):
                self.undeclared[f"{inner}/*" if inner else "*"] = None
                return

    def spoken(self, text: str) -> None:
        """Words of others (a message, a command) name files of the workspace: note those."""
        for folder in (self.folder, self.root):
            start = re.escape(folder)
            ways = re.findall(start + r"(?:/[^\s'\"?]*)?", text)
            ways += re.findall(rf"['\"]({start}/[^'\"\n]*)['\"]", text)
            for way in ways:
                for path in {way, way.rstrip(".,:;)]}>")}:
                    if os.path.isdir(path) and path != folder:
                        self.listed(path)
                    else:
                        self.wanted(path)

    def problem(self) -> TaskError | None:
        """What the code read beyond its key."""
        if not self.undeclared:
            return self.outside.problem()
        names = sorted(self.undeclared)
        shown = [os.path.relpath(name, self.base) for name in names[:SHOWN]]
        more = f" (and {len(names) - SHOWN} more)" if len(names) > SHOWN else ""
        line = "depends: [" + ", ".join(_yaml(name) for name in shown) + "]"
        return TaskError(
            f"the model's code reads {', '.join(names[:SHOWN])}{more}, which nothing declares, so"
            f" that a change of it would not rebuild the model: add `{line}` to the model"
        )


def _yaml(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./ -]*", text)
    return text if plain else "'" + text.replace("'", "''") + "'"


_mirror: Mirror | None = None
_inputs: dict[str, Path] = {}
_own: list[str] = []  # what an action itself reads, and its code may as well


def allow(*paths: Path) -> None:
    """Files and folders (that are there) of an action's own; before `enter`."""
    _own.extend(str(path) for path in paths)


def enter(inputs: Mapping[str, Path], code: Mapping[str, Any], scratch: Path) -> None:
    """Prepare this process for a user's code; again, for more of it. `inputs`: those of the
    request, with `workspace`; `code`: `path` and `base`, as `pycode.Closure` has them. Raises
    TaskError."""
    global _mirror
    _inputs.update(inputs)
    files = {n.removeprefix(PREFIX): p for n, p in inputs.items() if n.startswith(PREFIX)}
    folder = Path(os.path.realpath(scratch)) / "code"
    for name in code["path"]:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, real in files.items():
        copy = folder / name
        if copy.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".py"):  # a copy: `__file__` shall stay in the mirror when resolved
            shutil.copyfile(real, copy)
        else:
            copy.symlink_to(os.path.abspath(real))
    before, root = _mirror, os.path.realpath(inputs["workspace"])
    path = tuple(dict.fromkeys((*(before.path if before else ()), *code["path"])))
    listing = before.list if before else None
    if listing is None:
        lister = Lister()
        listing = lister.list
        allowed = [
            str(scratch), *map(str, inputs.values()), *_own, *_private(root), *_installed(root)
        ]  # fmt: skip
        if not confine(root, [p for p in allowed if os.path.realpath(p) != root]):
            lister.end()  # and then it lists as anybody
    _mirror = Mirror(
        root=root,
        folder=str(folder),
        base=code["base"],
        path=path,
        keyed=frozenset({*files, *_under(root, inputs.values())}),
        undeclared=before.undeclared if before else {},
        installed=_installed(root),
        list=listing,
        outside=before.outside if before else Outside(),
    )
    _mirror.outside.allow(root, str(folder), str(scratch), *map(str, inputs.values()), *_own)
    _refuse_names_in_use(_mirror)
    libraries = (os.path.realpath(entry) for entry in sys.path if entry)
    beside = (entry for entry in libraries if not root.startswith(entry.rstrip(os.sep) + os.sep))
    _mirror.outside.allow(*_mirror.installed, *beside)
    sys.path[:] = [
        *(str(folder / name) for name in path),
        *(entry for entry in sys.path if not entry.startswith(str(folder))),
    ]
    importlib.invalidate_caches()
    if before is None:
        sys.dont_write_bytecode = True
        sys.meta_path.append(_LastFinder())
        sys.addaudithook(_audit)


def _under(root: str, paths: Iterable[Path]) -> Iterator[str]:
    """Inputs that are not code (arrays, a file of weights) lie in the workspace too."""
    for path in map(str, paths):
        if path.startswith(root + os.sep):
            yield path[len(root) + 1 :]


def _private(root: str) -> Iterator[str]:
    """Folders that the environment gives to this process, in our part of the workspace."""
    for name in ("HOME", "TMPDIR", "KERAS_HOME"):
        path = os.path.realpath(os.environ.get(name) or root)
        if path.startswith(os.path.join(root, ".tflbuild") + os.sep):
            yield path


def _installed(root: str) -> tuple[str, ...]:
    """Prefixes of files that are no part of a workspace, wherever its root is."""
    package = str(Path(__file__).resolve().parent)
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, package}
    prefixes |= {p for p in sys.path if "site-packages" in p or "dist-packages" in p}
    found = (os.path.realpath(prefix) + os.sep for prefix in sorted(prefixes))
    return tuple(prefix for prefix in found if not (root + os.sep).startswith(prefix))


def _refuse_names_in_use(mirror: Mirror) -> None:
    """A module that this process has already would be taken for the user's, quietly."""
    for name in sorted(mirror.keyed):
        for folder in mirror.path:
            inner = os.path.relpath(name, folder).split(os.sep)
            if inner[0] == ".." or not name.endswith(".py"):
                continue
            top = inner[0].removesuffix(".py")
            regular = len(inner) == 1 or f"{_below(folder, top)}/__init__.py" in mirror.keyed
            if regular and top in sys.modules and top not in sys.stdlib_module_names:
                raise TaskError(f"{name}: {top!r} is the name of an installed package; rename it")


def _below(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


# Python's own finders, of modules and of packages' metadata, list the folders of the module path.
_FINDERS = (
    "<frozen importlib",
    os.path.join(os.path.dirname(os.__file__), "importlib", "metadata"),
)
_looking = False  # the hook's own looks at folders are no affair of the user's code


def _audit(event: str, args: tuple[Any, ...]) -> None:
    global _looking
    if _mirror is None or _looking or event not in _EVENTS:
        return
    _looking = True
    try:
        if event == "open":
            if (args[2] or 0) & os.O_ACCMODE != os.O_WRONLY:
                _mirror.wanted(args[0])
            if _by_user(_mirror):
                _mirror.outside.opened(args[0], args[2] or 0)
        elif event in _SPOKEN:
            _mirror.spoken(" ".join(_words(args[:2])))
        elif event == "ctypes.dlopen":
            _mirror.wanted(args[0])
        # A folder that is open has a number: who removes a folder of its own lists it so.
        elif isinstance(args[0], int):
            pass
        # Folders of the module path are listed by whoever looks for modules and plugins.
        elif not sys._getframe(1).f_code.co_filename.startswith(_FINDERS) and (
            os.fspath(args[0] or ".") not in sys.path or _asked_by_user(_mirror)
        ):
            _mirror.listed(args[0])
    finally:
        _looking = False


def _asked_by_user(mirror: Mirror) -> bool:
    """The innermost code that is not Python's own library is the user's."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(mirror.folder + os.sep):
            return True
        if not name.startswith("<") and not _of_python(name):
            return False
        frame = frame.f_back
    return False


def _by_user(mirror: Mirror) -> bool:
    """The user's code asked for it, itself or by a library; no library that is being imported."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return False
        if name.startswith(mirror.folder + os.sep):
            return True
        frame = frame.f_back
    return False


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str | bytes | os.PathLike):
        yield f"'{os.fsdecode(value)}'"
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)


def _of_python(file: str) -> bool:
    return file.startswith(_STDLIB) and "-packages" not in file[len(_STDLIB) :]


class _LastFinder:
    """Asked for modules that nothing else finds: is it in the workspace, undeclared?"""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> None:
        mirror = _mirror
        assert mirror is not None
        last = name.rpartition(".")[2]
        folders = mirror.path if path is None else [mirror.relative(p) for p in path]
        for folder in folders:
            if folder is None:
                continue
            for found in [f"{last}/__init__.py", *(last + suffix for suffix in _SUFFIXES)]:
                mirror.wanted(os.path.join(mirror.root, folder, found))


def input_file(name: str) -> Path:
    """A keyed input that is no part of the mirror."""
    return _inputs[name]


def check() -> None:
    """Raises TaskError when the code read what nothing declares."""
    problem = None if _mirror is None else _mirror.problem()
    if problem is not None:
        raise problem


@contextlib.contextmanager
def checked() -> Iterator[None]:
    """Around an action: what the code read undeclared goes before whatever came of it."""
    try:
        yield
    except Exception as error:
        if _mirror is not None:
            _mirror.spoken(_said(error))
        problem = None if _mirror is None else _mirror.problem()
        if problem is None:
            raise
        raise problem from error
    check()


def function(entry: Mapping[str, str], key: str = "source.python") -> Callable[..., Any]:
    """Import a user's module, in this child alone, and give its function. Raises TaskError."""
    assert _mirror is not None
    module = call(importlib.import_module, entry["module"], key=key)
    place = os.path.realpath(getattr(module, "__file__", None) or "")
    if not place.startswith(_mirror.folder + os.sep):
        raise TaskError(f"{entry['module']!r} names an installed module, {place}", key=key)
    found = getattr(module, entry["function"], None)
    if not callable(found):
        what = "no" if found is None else f"a {type(found).__name__}, not a function, as"
        raise TaskError(f"{_mirror.relative(place)} has {what} {entry['function']!r}", key=key)
    wanted: Callable[..., Any] = found
    return wanted


def call(code: Callable[..., Any], *args: Any, key: str = "source.python", **named: Any) -> Any:
    """Run a user's code. What it raises becomes one line that names its own file and line."""
    try:
        return code(*args, **named)
    except (TflbuildError, MemoryError):
        raise
    except BaseException as error:
        raise explain(error, key) from error


def call_with(code: Callable[..., Any], args: Any, key: str = "source.python") -> Any:
    """Run a user's code with arguments of a manifest: a mapping, a list, or None."""
    if isinstance(args, Mapping):
        return call(lambda: code(**args), key=key)
    return call(code, *(args or ()), key=key)


def explain(error: BaseException, key: str = "source.python") -> TaskError:
    """A user's exception in one line: file, line, type, message. The rest is for the log."""
    if isinstance(error, SystemExit):
        said = f"it ended the process (sys.exit({error.code!r})); remove that"
    else:
        said = f"{type(error).__name__}: {_said(error)}".removesuffix(": ")
    mirror = _mirror
    place = ""
    if mirror is not None:
        mirror.spoken(said)  # of libraries that no audit hook sees, HDF5's for one
        said = said.replace(mirror.folder + os.sep, "")
        place = where(error, mirror)
        missing = getattr(error, "filename", None)
        if isinstance(error, FileNotFoundError) and isinstance(missing, str):
            if not os.path.isabs(missing) and any(
                os.path.exists(os.path.join(mirror.root, folder, missing)) for folder in mirror.path
            ):
                said += "; code runs in a scratch folder: open Path(__file__).parent / NAME"
        if isinstance(error, PermissionError) and isinstance(missing, str):
            if mirror.root.startswith(os.path.dirname(os.path.abspath(missing)) + os.sep):
                # No rule of `confine` covers what came to a folder above the workspace later.
                said += "; write what you read again below tempfile.gettempdir()"
    return TaskError(f"{place}{one_line(said)}", key=key)


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


def where(error: BaseException, mirror: Mirror | None = None) -> str:
    """`file:line: ` of the innermost line of the user's own in a traceback, or nothing."""
    mirror = mirror or _mirror
    if mirror is None:
        return ""
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    written = getattr(error, "ag_error_metadata", None)  # of code that autograph rewrote
    for frame in getattr(written, "translated_stack", ()):
        frames.append((frame.filename, frame.lineno))
    own = [(f, line) for f, line in frames if f.startswith(mirror.folder + os.sep)]
    if isinstance(error, SyntaxError) and str(error.filename).startswith(mirror.folder):
        own.append((str(error.filename), error.lineno))
    return f"{mirror.relative(own[-1][0])}:{own[-1][1]}: " if own else ""


def set_seeds() -> None:
    """The source is made twice, to be lowered and to be the reference: weights that are drawn
    at random must be drawn alike."""
    import keras
    import numpy as np
    import tensorflow as tf

    random.seed(0)
    np.random.seed(0)
    tf.random.set_seed(0)
    keras.utils.set_random_seed(0)
