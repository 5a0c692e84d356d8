"""Where each sample comes from is kept for people, and asked when a message names a sample."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from data_files import make
from PIL import Image

from tflbuild.engine.judge import Judge, _Origins
from tflbuild.manifest.model import ImageData
from tflbuild.step import Port, Step


def test_the_images_of_a_folder(tmp_path: Path) -> None:
    for name in ("dog/b.png", "cat/0017.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((2, 2), len(name), np.uint8)).save(path)
    out = make(tmp_path, ImageData("images", labels="folders"))["out"]
    assert json.loads((out / "names.json").read_text()) == ["image cat/0017.png", "image dog/b.png"]


def test_a_message_asks_the_task_that_made_the_samples() -> None:
    asked = []

    def names_of(task: str) -> list[str]:
        asked.append(task)
        return ["record 0 of a", "record 1 of a"]

    ports = (
        Port("convert:m:o", ("model.tflite",)),
        Port("data:m:test", ("array.*.npy",), prefix="test.1."),
    )
    step = Step("validate:m:o", "validate", None, ports=ports)
    origin = _Origins(cast(Judge, SimpleNamespace(names_of=names_of)), step)
    assert asked == []
    assert [origin(1, 1), origin(1, 0), origin(1, 2), origin(0, 0)] == [
        "record 1 of a", "record 0 of a", "", "",
    ]  # fmt: skip
    assert asked == ["data:m:test"]


def test_a_task_that_kept_none() -> None:
    row: Any = SimpleNamespace(outputs={"data.json": ("0", 1)})
    judge: Any = SimpleNamespace(decider=SimpleNamespace(rows={"data:m:test": row}))
    assert Judge.names_of(judge, "data:m:test") == []
