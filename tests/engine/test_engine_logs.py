"""Logs: which tasks have one, and that `clean` leaves none of tflbuild's behind."""

from __future__ import annotations

import pytest
from fake_workspace import Fake
from PIL import Image

from tflbuild import cli

MANIFEST = """version: 1
models:
  m:
    source: {format: keras, path: models/m.keras}
    data: {test: {images: {folder: pics}}}
    optimizations: {float32: {}}
"""


@pytest.fixture
def built(empty: Fake) -> Fake:
    empty.write(MANIFEST)
    empty.model("m", 1)
    (empty.root / "pics").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (2, 2)).save(empty.root / "pics" / name)
    assert empty.build().ok
    return empty


def test_log_suggests_tasks_that_have_one(built: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["-C", str(built.root), "log", "m"]) == 2
    names = capsys.readouterr().err.strip().partition("named like ")[2].split(" or ")
    assert len(names) == 2
    for name in names:
        assert cli.run(["-C", str(built.root), "log", name]) == 0


def test_clean_takes_logs_that_no_manifest_knows(built: Fake) -> None:
    logs = built.root / "build/logs"
    for name in ("convert:gone:int8.log", "mine.log", "mine:own.log", "lower:m.txt"):
        (logs / name).write_text("x")
    assert cli.run(["-C", str(built.root), "clean"]) == 0
    assert sorted(path.name for path in logs.iterdir()) == [
        "lower:m.txt", "mine.log", "mine:own.log"
    ]  # fmt: skip


def test_reasons_show_images_that_came_and_went_alike(
    built: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    (built.root / "pics/a.png").rename(built.root / "pics/c.png")
    assert cli.run(["-C", str(built.root), "plan"]) == 0
    said = capsys.readouterr().out
    assert "new input pics/c.png" in said
    assert "input pics/a.png is gone" in said
