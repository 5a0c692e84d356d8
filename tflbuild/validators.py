"""`validator`: another Python, whose TensorFlow still has the kernels of select TF ops.

TensorFlow's wheels hold them up to 2.19; LiteRT's never did. What is installed there is read from
the names of its `.dist-info` folders, without starting it: the build with nothing to do must not
wait for an interpreter.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError, one_line
from tflbuild.foreign import run_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

OLDEST, NEWEST = (2, 4), (2, 19)  # TensorFlow with signatures in files; with Flex kernels
SCRIPT = Path(run_file.__file__)
_TENSORFLOW = re.compile(r"(tensorflow(?:_cpu|_intel|_rocm|_aarch64)?)-([^-]+)\.dist-info")
_NUMPY = re.compile(r"(numpy)-([^-]+)\.dist-info")


class NoValidator(Exception):
    """Why a path is no validator; one line."""


@dataclass(frozen=True)
class Validator:
    """An interpreter with what decides about its results.

    `files`: metadata of its packages, whose digests enter keys: another version is another file.
    """

    python: Path
    versions: Mapping[str, str]  # "python": "3.11", "tensorflow": "2.18.1", "numpy": "1.26.4"
    files: Mapping[str, Path]


def find(path: Path) -> Validator:
    """The validator that `path` names: an interpreter, or the folder of a virtual environment.

    Raises NoValidator.
    """
    python = path / "bin" / "python" if path.is_dir() else path
    if not python.is_file():
        raise NoValidator("there is no Python interpreter")
    if not os.access(python, os.X_OK):
        raise NoValidator("the file cannot be executed")
    found: dict[str, tuple[str, Path]] = {}
    minor = ""
    for folder in _package_folders(python):
        for name, (version, place) in _packages(folder).items():
            if name not in found:
                found[name] = (version, place)
                minor = minor or folder.parent.name.removeprefix("python")
    if "tensorflow" not in found:
        raise NoValidator(
            "no TensorFlow is installed there (name the interpreter of the environment itself, not"
            " a link or script that chooses one)"
        )
    version, _ = found["tensorflow"]
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not OLDEST <= numbers <= NEWEST:
        raise NoValidator(
            f"TensorFlow {version} is installed there; its interpreter runs select TF ops from"
            " 2.4 to 2.19: pip install 'tensorflow<2.19'"
        )
    return Validator(
        python,
        {"python": minor, **{name: version for name, (version, _) in sorted(found.items())}},
        {
            f"validator/{name}/{part}": place / part
            for name, (_, place) in sorted(found.items())
            for part in ("METADATA", "WHEEL")
            if (place / part).is_file()
        },
    )


def _package_folders(python: Path) -> list[Path]:
    """Where an interpreter's packages lie. Its own path counts, not what it links to: that is how
    it finds its virtual environment itself."""
    prefix = Path(os.path.abspath(python)).parent.parent
    prefixes = [prefix]
    try:
        config = (prefix / "pyvenv.cfg").read_text()
    except (OSError, UnicodeDecodeError):
        prefixes.append(prefix / "local")
    else:
        settings = dict(re.findall(r"(?m)^\s*([\w-]+)\s*=\s*(.*?)\s*$", config))
        if settings.get("include-system-site-packages", "").lower() == "true":
            prefixes.append(Path(settings.get("home", "/usr/bin")).parent)
    minor = re.search(r"python(\d\.\d+)$", os.path.realpath(python))
    version = minor.group(1) if minor else "3*"
    return [
        folder
        for base in prefixes
        for library in ("lib", "lib64")
        for pattern in (f"python{version}", "python3")
        for packages in ("site-packages", "dist-packages")
        for folder in sorted((base / library).glob(f"{pattern}/{packages}"))
    ]


def _packages(folder: Path) -> dict[str, tuple[str, Path]]:
    found = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            for name, pattern in (("tensorflow", _TENSORFLOW), ("numpy", _NUMPY)):
                if match := pattern.fullmatch(entry.name):
                    found[name] = (match.group(2), Path(entry.path))
    return found


# ---- in a child --------------------------------------------------------------------------------

Feed = Mapping[str, "NDArray[Any]"]


@dataclass(frozen=True)
class Elsewhere:
    """One signature of a file, run by a validator.

    `plan`: what `foreign/run_file.py` is told, but for the steps; `scratch`: a new folder, which
    is there while it runs.
    """

    python: str
    plan: Mapping[str, Any]
    scratch: Path

    def run(self, steps: Iterable[tuple[str, Feed]]) -> Iterator[dict[str, NDArray[Any]]]:
        """The outputs of each call. `steps`: what begins anew before it, and its inputs.

        Raises TaskError.
        """
        import numpy as np

        self.scratch.mkdir(parents=True)
        begins = []
        for step, (begin, feed) in enumerate(steps):
            begins.append(begin)
            for position, name in enumerate(sorted(self.plan["tensors"]["inputs"])):
                np.save(self.scratch / f"{step}.in.{position}.npy", feed[name])
        (self.scratch / "plan.json").write_text(json.dumps({**self.plan, "steps": begins}))
        self._start()
        for step in range(len(begins)):
            yield {
                name: np.load(self.scratch / f"{step}.out.{position}.npy", allow_pickle=False)
                for position, name in enumerate(sorted(self.plan["tensors"]["outputs"]))
            }
        shutil.rmtree(self.scratch)  # room for the next chunk

    def _start(self) -> None:
        from tflbuild.stages.guard import guarded_group

        guarded_group()
        # Ours is for our own Python.
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        command = [self.python, "-I", str(SCRIPT), str(self.scratch)]
        try:
            done = subprocess.run(
                command, env=variables, cwd=self.scratch, stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE, check=False,
            )  # fmt: skip
        except OSError as error:
            raise self._failed(f"cannot be started: {error.strerror}") from error
        os.write(2, done.stderr)  # the log
        try:
            result = json.loads((self.scratch / "result.json").read_text())
        except (OSError, ValueError):
            code = done.returncode
            how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            said = f": {one_line(lines[-1], 300)}" if lines else ""
            raise self._failed(f"{how}{said}") from None
        if "error" in result:
            raise self._failed(f"says: {one_line(result['error'], 300)}")

    def _failed(self, how: str) -> TaskError:
        return TaskError(f"the validator ({self.python}) {how}")
