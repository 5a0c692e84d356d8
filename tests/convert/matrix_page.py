"""The table of docs/MATRIX.md: its rows and columns, one build of all, and the page.

A cell is `28 dB` (released; the worst output's SQNR), `12 dB, not released [3]` (converted, and a
gate did not pass) or `refused [3]`, where the number leads to the reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from workspace_folder import WorkspaceFolder

import tflbuild
from tflbuild.api import BuildResult
from tflbuild.errors import ManifestErrors
from tflbuild.sources import FORMATS
from tflbuild.sources.base import TFLITE

PAGE = Path(__file__).resolve().parents[2] / "docs/MATRIX.md"
NO_NOISE = 100  # dB: what is above is rounding alone, and its digits differ by machine
JITTER = 2  # dB between machines


@dataclass(frozen=True)
class Row:
    """One kind of source. `needs`: packages beyond the test extra that it cannot do without."""

    title: str
    source: str
    more: str = ""  # of the model's section
    data: str = "image"  # of DATA
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """One optimization."""

    title: str
    asked: str

    @property
    def ai_edge(self) -> bool:
        return "ai-edge" in self.asked


IMAGE = "inputs: {x: {shape: [1, 8, 8, 1], dtype: float32}}"
STEPS = "inputs: {x: {shape: [1, 7, 3], dtype: float32}}"
DATA = {
    "image": (8, 8, 1),
    "channels_first": (1, 8, 8),
    "steps": (7, 3),
    "row": (48,),
}
TORCH = ("torch", "litert_torch")
ROWS = {
    "saved_model": Row("`saved_model`", "format: saved_model, path: models/plain"),
    "signatures": Row(
        "`saved_model`, two signatures",
        "format: saved_model, path: models/two, signatures: {encode: {}, decode: {}}",
        data="row",
    ),
    "trained": Row(
        "`saved_model`, quantization-aware", "format: saved_model, path: models/trained"
    ),
    "keras3": Row("`keras`: `.keras` of Keras 3", "format: keras, path: models/keras3.keras"),
    "keras3_h5": Row("`keras`: `.h5` of Keras 3", "format: keras, path: models/keras3.h5"),
    "keras2": Row("`keras`: `.keras` of Keras 2", "format: keras, path: models/keras2.keras"),
    "keras2_h5": Row("`keras`: `.h5` of Keras 2", "format: keras, path: models/keras2.h5"),
    "lstm3": Row(
        "`keras`: LSTM of Keras 3, pinned", "format: keras, path: models/lstm3.keras", STEPS,
        data="steps",
    ),
    "lstm2": Row(
        "`keras`: LSTM of Keras 2, pinned", "format: keras, path: models/lstm2.h5", STEPS,
        data="steps",
    ),
    "concrete": Row("`concrete_function`", "format: concrete_function, python: 'nets:concrete'"),
    "jax": Row(
        "`jax`", "format: jax, python: 'nets:jax_net', params: {python: 'nets:jax_params'}", IMAGE,
        needs=("jax",),
    ),
    "scan": Row(
        "`jax`, an RNN by `lax.scan`",
        "format: jax, python: 'nets:jax_scan', params: {python: 'nets:scan_params'}", STEPS,
        data="steps", needs=("jax",),
    ),
    "frozen": Row("`frozen_graph`", "format: frozen_graph, path: models/frozen.pb"),
    "tflite": Row("`tflite`, float", "format: tflite, path: models/float.tflite"),
    "tflite_int8": Row("`tflite`, int8 already", "format: tflite, path: models/int8.tflite"),
    "torch": Row(
        "`pytorch`", "format: pytorch, python: 'nets:torch_net'",
        data="channels_first", needs=TORCH,
    ),
    "torch_lstm": Row(
        "`pytorch`, LSTM", "format: pytorch, python: 'nets:torch_lstm'", data="steps", needs=TORCH
    ),
    "onnx": Row(
        "`onnx`", "format: onnx, path: models/net.onnx",
        data="channels_first", needs=("onnx", "onnx2tf"),
    ),
}  # fmt: skip
COLUMNS = {
    "none": Column("`none`", "{}"),
    "dynamic": Column("`dynamic_range`", "{quantize: dynamic_range}"),
    "half": Column("`float16`", "{quantize: float16}"),
    "int8": Column("`int8`", "{quantize: int8}"),
    "int8_int8": Column("`int8`, `io: int8`", "{quantize: int8, io: int8}"),
    "int16": Column("`int16x8`", "{quantize: int16x8}"),
    "qat": Column("`qat`", "{quantize: qat}"),
    "e_weight": Column("`weight_only`", "{quantizer: ai-edge, quantize: weight_only}"),
    "e_dynamic": Column("`dynamic_range`", "{quantizer: ai-edge, quantize: dynamic_range}"),
    "e_int4": Column(
        "`dynamic_range`, `weights: int4`",
        "{quantizer: ai-edge, quantize: dynamic_range, weights: int4}",
    ),
    "e_half": Column("`float16`", "{quantizer: ai-edge, quantize: float16}"),
    "e_int8": Column("`int8`", "{quantizer: ai-edge, quantize: int8}"),
    "e_int16": Column("`int16x8`", "{quantizer: ai-edge, quantize: int16x8}"),
    "e_recipe": Column(
        "`recipe`: int8, dense layers `weight_only`",
        "{quantizer: ai-edge, recipe: [{quantize: int8}, {op: FULLY_CONNECTED, quantize:"
        " weight_only}]}",
    ),
}
INTRODUCTION = f"""\
# What converts: formats and optimizations

What became of one build of a small model of each kind: a convolution, a ReLU and a dense layer; the
recurrent ones have 32 units and 7 steps. The build is a test,
`tests/convert/test_convert_matrix.py`, which fails when it finds something else than this page. To
write the page anew:

```sh
TFLBUILD_RENEW=1 python -m pytest tests/convert/test_convert_matrix.py
```

Cells whose packages are not installed are not compared and stay as they are: `.ci/optional` runs
the test with the extras, once with `pytorch` (which brings ai-edge-quantizer), once with `onnx`.

- **28 dB**: converted, validated and released. The number is the SQNR of the worst output against
  the source, on noise; what a trained model loses is another number. {NO_NOISE} dB and more is
  rounding.
- **12 dB, not released**: converted, and a gate did not pass.
- **refused**: not converted. The number in brackets leads to the reason, as tflbuild says it.
"""
NOTES = {
    "TensorFlow's converter": (
        "The default. It takes no file, so that rows `tflite` and `pytorch` are ai-edge-quantizer's"
        " here too, except `none`."
    ),
    "ai-edge-quantizer": "`quantizer: ai-edge`, of the extra `ai-edge`.",
}


@dataclass(frozen=True)
class Cell:
    """What became of a row and a column. `decibel`: None where nothing was validated."""

    decibel: int | None
    reason: str = ""


Cells = dict[tuple[str, str], Cell]


def here() -> list[tuple[str, str]]:
    """The cells that can be made where this runs."""
    return [
        (row, column)
        for row, of in ROWS.items()
        if all(find_spec(package) for package in of.needs)
        for column, asked in COLUMNS.items()
        if find_spec("ai_edge_quantizer") or not needs_quantizer(row, asked)
    ]


def needs_quantizer(row: str, asked: Column) -> bool:
    """By ai-edge-quantizer, whether the manifest says so or not."""
    name = ROWS[row].source.partition("format: ")[2].partition(",")[0]
    return asked.ai_edge or (FORMATS[name].LOWERED == TFLITE and asked.asked != "{}")


def manifest(cells: list[tuple[str, str]]) -> tuple[str, dict[int, tuple[str, str]]]:
    """The manifest of cells, and the line that each is on. Not all can be asked for."""
    lines = [
        "version: 1",
        "defaults:",
        "  timeout: 5m",
        "models:",
    ]
    places = {}
    for name, row in ROWS.items():
        columns = [column for other, column in cells if other == name]
        if columns:
            lines += [f"  {name}:", f"    source: {{{row.source}}}", f"    {row.more}"]
            lines += [f"    data: {{calibration: {{npz: {row.data}.npz}},"
                      f" test: {{npz: {row.data}_test.npz}}}}", "    optimizations:"]  # fmt: skip
        for column in columns:
            lines.append(f"      {column}: {COLUMNS[column].asked}")
            places[len(lines)] = (name, column)
    return "\n".join(lines) + "\n", places


def run(folder: WorkspaceFolder, models: Path) -> Cells:
    """Build every cell that can be made here; those that the manifest refuses first."""
    folder.write(files={"models": models, "nets.py": Path(__file__).with_name("matrix_nets.py")})
    rng = np.random.default_rng(0)
    for name, shape in DATA.items():
        arrays = rng.uniform(-1, 1, (2, 100, *shape)).astype(np.float32)
        folder.write(files={f"{name}.npz": {"x": arrays[0]}, f"{name}_test.npz": {"x": arrays[1]}})
    cells = here()
    found: Cells = {}
    while True:
        text, places = manifest(cells)
        folder.write(text)
        try:
            tflbuild.load(folder.root)
            break
        except ManifestErrors as errors:
            for error in errors.errors:
                assert error.position is not None, error
                assert error.position.line in places, error
                found[places[error.position.line]] = Cell(None, normal(error.message))
        cells = [cell for cell in cells if cell not in found]
    result = folder.build(keep_going=True)
    return found | {cell: outcome(folder, result, *cell) for cell in cells}


def outcome(folder: WorkspaceFolder, result: BuildResult, model: str, asked: str) -> Cell:
    """What a build came to in one cell."""
    if f"{model}:{asked}@litert" in result.released:
        return Cell(decibel(folder, model, asked))
    reasons = {task.task: task.reason for task in result.tasks if task.outcome == "failed"}
    pair = f"{model}:{asked}"
    for task in (f"lower:{model}", f"reference:{model}", f"evaluate:{model}", f"convert:{pair}"):
        if task in reasons:
            return Cell(None, normal(reasons[task]))
    if f"evaluate:{model}" in result.gates and not result.gates[f"evaluate:{model}"].passed:
        return Cell(None, normal(result.gates[f"evaluate:{model}"].failures[0].message))
    if f"validate:{pair}" in reasons:
        return Cell(None, normal(reasons[f"validate:{pair}"]))
    for task in (f"validate:{pair}", f"compat:{pair}@litert"):
        if task in result.gates and not result.gates[task].passed:
            said = result.gates[task].failures[0].message
            return Cell(decibel(folder, model, asked), normal(said))
    raise AssertionError(f"{pair} was neither released nor refused")


def decibel(folder: WorkspaceFolder, model: str, asked: str) -> int:
    """SQNR of the worst output in whole dB, at most NO_NOISE."""
    parity = folder.report(f"{model}/{asked}/validate.json")["measured"]["parity"]
    exact = [math.inf if entry["sqnr"] is None else entry["sqnr"] for entry in parity]
    return round(min([*exact, NO_NOISE]))


def normal(message: str) -> str:
    """A message without its place and without what another model would have in it."""
    message = re.sub(r"^\S*tflbuild\.yaml:\d+:\d+: ", "", message)
    message = re.sub(r"\b(at|weight) '[^']*'", r"\1 '…'", message)
    message = re.sub(r" \(float conversion alone .*", "", message)  # and of one of its samples
    return re.sub(r" is -?\d[\d.e-]*\b", " is …", message)  # what was measured is in the cell


def page(cells: Mapping[tuple[str, str], Cell]) -> str:
    """The text of the page."""
    order = [(row, column) for columns in halves() for row in ROWS for column in columns]
    said = [cells[cell].reason for cell in order if cell in cells]
    reasons = list(dict.fromkeys(reason for reason in said if reason))
    text = INTRODUCTION
    for title, columns in zip(NOTES, halves(), strict=True):
        text += f"\n## {title}\n\n{NOTES[title]}\n\n"
        heads = [COLUMNS[column].title for column in columns]
        text += f"| source | {' | '.join(heads)} |\n|{' --- |' * (len(heads) + 1)}\n"
        for row, of in ROWS.items():
            shown = [show(cells.get((row, column)), reasons) for column in columns]
            text += f"| {of.title} | {' | '.join(shown)} |\n"
    text += "\n## Reasons\n\n'…' stands for a name in the model.\n\n"
    return text + "".join(f"{n}. {reason}\n" for n, reason in enumerate(reasons, 1))


def halves() -> tuple[list[str], list[str]]:
    return (
        [name for name, column in COLUMNS.items() if not column.ai_edge],
        [name for name, column in COLUMNS.items() if column.ai_edge],
    )


def show(cell: Cell | None, reasons: list[str]) -> str:
    if cell is None:
        return "not run yet"
    number = f"[{reasons.index(cell.reason) + 1}]" if cell.reason else ""
    if cell.decibel is None:
        return f"refused {number}"
    least = "≥ " if cell.decibel >= NO_NOISE else ""
    return f"{least}{cell.decibel} dB" + (f", not released {number}" if number else "")


def read(text: str) -> Cells:
    """The cells of a page; those that are blank are not among them."""
    reasons = dict(re.findall(r"^(\d+)\. (.+)$", text, re.MULTILINE))
    titles = {row.title: name for name, row in ROWS.items()}
    found: Cells = {}
    tables = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    for table, columns in zip(tables, halves(), strict=False):
        for line in table.splitlines():
            first, *shown = (part.strip() for part in line.strip("| ").split(" | "))
            if first in titles:
                for column, cell in zip(columns, shown, strict=True):
                    found.update(_read(titles[first], column, cell, reasons))
    return found


def _read(
    row: str, column: str, shown: str, reasons: Mapping[str, str]
) -> Iterator[tuple[tuple[str, str], Cell]]:
    match = re.fullmatch(r"(?:refused|(?:≥ )?(-?\d+) dB(?:, not released)?)(?: \[(\d+)\])?", shown)
    if match:
        decibel = None if match[1] is None else int(match[1])
        yield (row, column), Cell(decibel, reasons[match[2]] if match[2] else "")


def differences(
    page: Mapping[tuple[str, str], Cell], run: Mapping[tuple[str, str], Cell]
) -> list[str]:
    """Where a run differs from the page, a line each."""
    result = []
    for cell, now in run.items():
        then = page.get(cell)
        if then is None or then.reason != now.reason or not _near(then.decibel, now.decibel):
            result.append(f"{'/'.join(cell)}: the page has {then}, the run gave {now}")
    return result


def _near(one: int | None, other: int | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= JITTER
