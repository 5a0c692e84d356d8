"""The environment that workers run in: made by us, so that the user's cannot change bytes."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def worker_path() -> list[str]:
    """The module path for workers: the parent's, without the script's or the current folder.

    Entry 0 of `sys.path` depends on how tflbuild was started and would let a stray `numpy.py`
    beside the manifest take part in a build.
    """
    stray = {"", str(Path.cwd()), str(Path(sys.argv[0] or ".").resolve().parent)}
    package_home = str(Path(__file__).resolve().parents[1])
    path = [p for p in sys.path if p not in stray or p == package_home]
    if package_home not in path:
        path.append(package_home)
    return list(dict.fromkeys(path))


def worker_environment(home: Path) -> dict[str, str]:
    """All variables of a worker. `home` is a scratch folder that stands for the user's."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "KERAS_HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "1",
        # One thread each: no pool is alive when the zygote forks, and last bits do not depend
        # on how many cores a machine has.
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    if "LD_LIBRARY_PATH" in os.environ:  # the interpreter itself may need it to start
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment


def variable_digest(value: str | None) -> str | None:
    """What a key holds of a variable: not its value, which may be nobody's business."""
    import hashlib  # a build with nothing to do needs it only for declared variables

    if value is None:
        return None
    return "sha256:" + hashlib.sha256(os.fsencode(value)).hexdigest()[:16]
