"""docs/MATRIX.md is what one build of every format with every optimization gives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matrix_page
import pytest
from matrix_page import COLUMNS, PAGE, ROWS, Cell, Cells
from workspace_folder import WorkspaceFolder

from tflbuild.optimizations import QUANTIZATIONS
from tflbuild.sources import FORMATS

RENEW = "TFLBUILD_RENEW"
# What no refusal may be, and what each must hold: what to do.
FAULT = r"crashed|\bfault\b|Traceback|Error:|interpreter failed|failed: |no reason given|refused:"
REMEDY = r"\b(use|write|remove|unroll it|release it|it needs|pin)\b|below the limit"


@pytest.fixture(scope="module")
def page() -> Cells:
    return matrix_page.read(PAGE.read_text("utf-8"))


def test_no_cell_is_blank(page: Cells) -> None:
    assert set(page) == {(row, column) for row in ROWS for column in COLUMNS}
    shown = {row.source.partition("format: ")[2].partition(",")[0] for row in ROWS.values()}
    assert shown == set(FORMATS)
    asked = " ".join(column.asked for column in COLUMNS.values())
    for name in QUANTIZATIONS:
        assert name == "none" or f"quantize: {name}" in asked or f"{name}: [" in asked


def test_every_refusal_is_ours_and_says_what_to_do(page: Cells) -> None:
    for cell, found in page.items():
        if found.reason:
            assert not re.search(FAULT, found.reason), (cell, found.reason)
            assert re.search(REMEDY, found.reason), (cell, found.reason)
        else:
            assert found.decibel is not None, cell


def test_a_page_reads_as_it_was_written(page: Cells) -> None:
    assert matrix_page.read(matrix_page.page(page)) == page
    some = next(iter(page))
    near, far = (Cell((page[some].decibel or 0) - by, page[some].reason) for by in (2, 3))
    assert matrix_page.differences(page, {some: near}) == []
    for other in (far, Cell(None, "another"), Cell(page[some].decibel, "not released")):
        assert len(matrix_page.differences(page, {some: other})) == 1
    assert len(matrix_page.differences({}, {some: near})) == 1


@pytest.mark.convert
def test_the_page_is_what_a_build_gives(workspace: WorkspaceFolder, tmp_path: Path) -> None:
    script = Path(__file__).with_name("make_matrix_models.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "models")],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "-1",
             "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = matrix_page.run(workspace, tmp_path / "models")
    assert found
    if os.environ.get(RENEW):
        before = matrix_page.read(PAGE.read_text("utf-8")) if PAGE.exists() else {}
        PAGE.write_text(matrix_page.page({**before, **found}), "utf-8")
    page = matrix_page.read(PAGE.read_text("utf-8"))
    wrong = matrix_page.differences(page, found)
    assert not wrong, f"run this with {RENEW}=1 to write the page anew:\n" + "\n".join(wrong)
