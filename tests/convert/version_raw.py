"""What the converter writes, before tflbuild puts anything right: `version_raw.py CASES.json OUT`.

CASES: {name: {params, inputs: {role: path}, quantize: [...]}}. For each `quantize`,
OUT/<name>-<quantize>.raw.tflite is the converter's file and OUT/<name>-<quantize>.tflite the one
that is released. Lowered and converted by tflbuild's own way, calibrated with noise.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Imported before the fork, as the zygote does; nothing here runs an op.
import keras  # noqa: F401
import numpy as np
import tensorflow as tf  # noqa: F401
import tf_keras  # noqa: F401

from tflbuild import quantizing
from tflbuild.conversion import Lowered, make_converter
from tflbuild.optimizations import QUANTIZATIONS
from tflbuild.optimizations.base import Settings
from tflbuild.stages import convert, lower
from tflbuild.stages.base import Request


def files(name: str, case: dict[str, Any], out: Path) -> None:
    low = out / name
    low.mkdir()
    inputs = {role: Path(path) for role, path in case["inputs"].items()}
    loaded = lower.load_source(Request(case["params"], inputs, low))
    interface, route, _ = lower.lower(loaded, case["params"], low)
    form = low / ("lowered.pb" if route == lower.FROZEN else "saved_model")
    lowered = Lowered(form, interface)
    (signature,) = interface["signatures"]

    def samples() -> Iterator[list[Any]]:
        rng = np.random.default_rng(0)
        for _ in range(2):
            yield [
                rng.random([size or 1 for size in entry["shape"]]).astype(entry["dtype"])
                for entry in signature["inputs"]
            ]

    for quantize in case["quantize"]:
        quantization = QUANTIZATIONS[quantize]
        generator = samples if quantization.CALIBRATES else None
        settings = Settings.of({"io": quantization.IO[0], **case.get("settings", {})})
        raw = quantizing.convert(
            lambda: make_converter(lowered), quantization, settings, generator, []
        ).data
        (out / f"{name}-{quantize}.raw.tflite").write_bytes(raw)
        (out / f"{name}-{quantize}.tflite").write_bytes(convert.finish(lowered, raw))


def main() -> None:
    cases, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for name, case in cases.items():
        pid = os.fork()
        if pid == 0:
            files(name, case, out)
            os._exit(0)
        os.waitpid(pid, 0)  # a child that died leaves files out: the test misses them


if __name__ == "__main__":
    main()
