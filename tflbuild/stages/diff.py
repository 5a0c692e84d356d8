"""diff: two files against each other; no task of a graph.

`params["do"]`: "compare" reads both (`old`, `new`: paths) and writes `compare.json` and, where
both can be run, the inputs (`plan.json`, `K.I.npy`); `data`: an .npz file or None, `size`: of
dynamic dimensions. "run" runs the file `path` as `side` of `plan` on the inputs in `inputs`.
"agree" holds the outputs in `old` and `new` against each other and writes `agree.json`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.errors import TaskError, TflbuildError, one_line
from tflbuild.limits import GIB, limit_memory
from tflbuild.stages.base import Request
from tflbuild.stages.inspect import read_file

if TYPE_CHECKING:
    from tflbuild.comparison import File

VERSION = 2
MODULES: tuple[str, ...] = ("flatbuffers", "ai_edge_litert", "numpy")
ZYGOTE = "lite"


def run(request: Request) -> None:
    {"compare": _compare, "run": _run, "agree": _agree}[request.params["do"]](request)


def _compare(request: Request) -> None:
    from tflbuild import trial
    from tflbuild.comparison import compare

    params = request.params
    old, new = (_read(params, side) for side in ("old", "new"))
    report: dict[str, Any] = compare(old, new)
    for side, file in (("old", old), ("new", new)):
        report[side] = {"sha256": hashlib.sha256(file.data).hexdigest(), "size": len(file.data)}
    interfaces = report["interface"]["old"], report["interface"]["new"]
    report["open"] = any(map(trial.is_open, interfaces))
    report["incomparable"] = ""
    given = None if params["data"] is None else _data(params["data"])
    limit_memory(4 * GIB)
    try:
        plan = trial.prepare(*interfaces, given, params["size"], request.out)
        request.write_json("plan.json", plan)
    except trial.Incomparable as error:
        report["incomparable"] = one_line(str(error))
    request.write_json("compare.json", report)


def _read(params: Mapping[str, Any], side: str) -> File:
    """Raises TaskError that begins with the file's own name."""
    from tflbuild.comparison import File
    from tflbuild.tflite.read import read_model

    try:
        data = read_file(params[side])
        limit_memory(GIB + 40 * len(data))  # weights are compared as float64
        return File(data, read_model(data))
    except (TflbuildError, MemoryError) as error:
        told = one_line(error) if isinstance(error, TflbuildError) else "is too large to be read"
        raise TaskError(f"{params['names'][side]}: {told}") from error


def _data(path: str) -> dict[str, Any]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise ValueError("it is one array, not an .npz file")
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive raises whatever zipfile and zlib have
        raise TaskError(f"--data: {path}: cannot be read: {one_line(error, 200)}") from error


def _run(request: Request) -> None:
    from tflbuild import trial

    params = request.params
    size = Path(params["path"]).stat().st_size
    limit_memory(8 * GIB + 8 * size)
    trial.execute(params["path"], params["side"], params["plan"]["runs"], Path(params["inputs"]),
                  request.out)  # fmt: skip


def _agree(request: Request) -> None:
    import numpy as np

    from tflbuild.comparison import agreement

    found = []
    for index, run in enumerate(request.params["plan"]["runs"]):
        for number, names in enumerate(run["outputs"]):
            arrays = [np.load(Path(request.params[side]) / f"{index}.{number}.npy",
                              allow_pickle=False) for side in ("old", "new")]  # fmt: skip
            told: dict[str, Any] = {"signature": run["signature"], "output": names}
            if arrays[0].shape != arrays[1].shape:
                shapes = " and ".join(str(list(array.shape[1:])) for array in arrays)
                told |= {"equal": False, "sqnr": None, "max_abs_error": None, "finite": True,
                         "problem": f"shapes {shapes}"}  # fmt: skip
            else:
                told |= {**agreement(*arrays), "problem": ""}
            found.append(told)
    request.write_json("agree.json", found)
