"""What a forked child does: one action, from files to files."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import traceback
from pathlib import Path
from typing import Any

from tflbuild import pyrun
from tflbuild.errors import TflbuildError
from tflbuild.store.digest import file_digest


class CorruptInput(Exception):
    """An input from the store is not what its digest says (or is gone)."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"blob {digest} is damaged or missing")
        self.digest = digest


def run_request(request: dict[str, Any]) -> None:
    """Run one action and write `result.json` into its scratch folder.

    The result holds either `outputs` (name → [digest, bytes]) or `error`. A child that ends
    without a result has crashed, and its parent says so from the exit status.
    """
    scratch = Path(request["scratch"])
    os.environ.update(request.get("env", {}))
    os.environ["TMPDIR"] = str(scratch / "tmp")
    (scratch / "tmp").mkdir()
    tempfile.tempdir = None
    os.chdir(scratch)
    result: dict[str, Any]
    try:
        result = {"outputs": _run(request, scratch)}
    except CorruptInput as error:
        result = {"error": {"kind": "corrupt", "digest": error.digest, "message": str(error)}}
    except TflbuildError as error:
        if error.__cause__ is not None:  # the whole story, for the log
            traceback.print_exception(error.__cause__)
        result = {"error": {"kind": getattr(error, "kind", "task"), "message": str(error)}}
        result["error"]["key"] = getattr(error, "key", "")
    except SystemExit as error:  # of a user's code, while it is traced
        traceback.print_exc()
        message = f"the model's code ended its process (sys.exit({error.code!r}))"
        result = {"error": {"kind": "task", "message": message}}
    except MemoryError:
        result = {"error": {"kind": "task", "message": "out of memory"}}
    except Exception as error:
        traceback.print_exc()
        text = " ".join(str(error).split())[:500]
        result = {"error": {"kind": "fault", "message": f"{type(error).__name__}: {text}"}}
    (scratch / "result.json").write_text(json.dumps(result))


def _run(request: dict[str, Any], scratch: Path) -> dict[str, tuple[str, int]]:
    from tflbuild.stages.base import Request

    inputs: dict[str, Path] = {}
    for name, (path, digest) in request["inputs"].items():
        inputs[name] = Path(path)
        if digest is not None:  # from the store: its digest is checked at every read
            try:
                sound = file_digest(Path(path)) == digest
            except OSError:
                sound = False
            if not sound:
                raise CorruptInput(digest)
    out = scratch / "out"
    out.mkdir()
    module = importlib.import_module(f"tflbuild.stages.{request['stage']}")
    with pyrun.checked():
        retry, progress = request.get("retry", False), request.get("progress", {})
        last = request.get("last", ())
        module.run(Request(request["params"], inputs, out, retry, progress, last))
    return {path.name: (file_digest(path), path.stat().st_size) for path in sorted(out.iterdir())}
