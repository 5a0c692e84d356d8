"""TFLite Metadata: what a model is called, what its inputs and outputs mean, whose licence it has.

A flatbuffer of its own, kept in the metadata entry `TFLITE_METADATA`; files that it names (labels)
stand as a zip behind the model, where a runtime does not look. Readers: TFLite Support, the Task
library, MediaPipe and Android Studio.

Field numbers: `tensorflow_lite_support/metadata/metadata_schema.fbs` (tflite-support 0.4.4, schema
1.1.0). All that is written here is of schema 1.0.0.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers

from .flat import Flat, InvalidModel, Table
from .model import TfliteModel

ENTRY = "TFLITE_METADATA"
IDENTIFIER = b"M001"
PARSER = "1.0.0"  # the oldest parser that knows every field written here
COLORS = {"rgb": 1, "gray": 2}  # ColorSpaceType
_FEATURE, _IMAGE, _BOX = 1, 2, 3  # ContentProperties
_NORMALIZATION = 1  # ProcessUnitOptions
_FILE_TYPES = ("unknown", "descriptions", "axis_labels", "value_labels", "score_calibration",
               "vocabulary")  # fmt: skip
_AXIS_LABELS = _FILE_TYPES.index("axis_labels")
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_MAX_FILES = 64 * 1024 * 1024  # bytes that the files behind a model may unfold to


@dataclass(frozen=True)
class TensorNotes:
    """What is said of one input or output. Numbers: one, or one for each channel.

    `mean`, `std`: (x - mean) / std makes the tensor's real values of what a caller has. `low`,
    `high`: the least and the greatest value. `labels`: a file among those behind the model, with
    a line for each element of the last axis.
    """

    name: str
    description: str = ""
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    image: str = ""  # a key of COLORS: the tensor holds images
    labels: str = ""


@dataclass(frozen=True)
class ModelNotes:
    """What is said of a model; `inputs` and `outputs` in the order of the main subgraph."""

    inputs: Sequence[TensorNotes]
    outputs: Sequence[TensorNotes]
    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""


def pack(notes: ModelNotes) -> bytes:
    """The metadata flatbuffer. The same notes give the same bytes."""
    b = flatbuffers.Builder(1024)
    sides = [_vector(b, [_tensor(b, t) for t in side]) for side in (notes.inputs, notes.outputs)]
    main = _table(b, 7, {2: _ref(sides[0]), 3: _ref(sides[1])})
    graphs = _vector(b, [main])
    root = _table(
        b,
        8,
        {
            0: _text(b, notes.name),
            1: _text(b, notes.description),
            2: _text(b, notes.version),
            3: _ref(graphs),
            4: _text(b, notes.author),
            5: _text(b, notes.license),
            7: _text(b, PARSER),
        },
    )
    b.Finish(root, IDENTIFIER)
    return bytes(b.Output())


def _table(b: Any, slots: int, fields: Mapping[int, tuple[str, int] | None]) -> int:
    """A table; a field is what `_ref`, `_text` or `_byte` gave, None where it is absent."""
    b.StartObject(slots)
    for slot, field in fields.items():
        if field is not None and field[0] == "ref":
            b.PrependUOffsetTRelativeSlot(slot, field[1], 0)
        elif field is not None:
            b.PrependInt8Slot(slot, field[1], 0)
    return int(b.EndObject())


def _ref(offset: int) -> tuple[str, int]:
    return "ref", offset


def _byte(value: int) -> tuple[str, int]:
    return "byte", value


def _text(b: Any, text: str) -> tuple[str, int] | None:
    return _ref(b.CreateString(text)) if text else None


def _vector(b: Any, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _floats(b: Any, values: Sequence[float]) -> tuple[str, int] | None:
    if not values:
        return None
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependFloat32(value)
    return _ref(int(b.EndVector()))


def _tensor(b: Any, notes: TensorNotes) -> int:
    if notes.image:
        properties = _table(b, 2, {0: _byte(COLORS[notes.image])})
        kind = _IMAGE
    else:
        properties, kind = _table(b, 0, {}), _FEATURE
    content = _table(b, 3, {0: _byte(kind), 1: _ref(properties)})
    units = stats = files = None
    if notes.mean or notes.std:
        means, deviations = _floats(b, notes.mean), _floats(b, notes.std)
        options = _table(b, 2, {0: means, 1: deviations})
        unit = _table(b, 2, {0: _byte(_NORMALIZATION), 1: _ref(options)})
        units = _ref(_vector(b, [unit]))
    if notes.low or notes.high:
        high, low = _floats(b, notes.high), _floats(b, notes.low)
        stats = _ref(_table(b, 2, {0: high, 1: low}))
    if notes.labels:
        name = _text(b, notes.labels)
        files = _ref(_vector(b, [_table(b, 4, {0: name, 2: _byte(_AXIS_LABELS)})]))
    return _table(
        b,
        7,
        {
            0: _text(b, notes.name),
            1: _text(b, notes.description),
            3: _ref(content),
            4: units,
            5: stats,
            6: files,
        },
    )


class _Behind(io.BytesIO):
    """What is written behind `start` bytes that stand elsewhere: zip offsets count from them."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self._start = start

    def tell(self) -> int:
        return super().tell() + self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return super().seek(offset - (0 if whence else self._start), whence) + self._start


def with_files(data: bytes, files: Mapping[str, bytes]) -> bytes:
    """A model with files behind it, as an uncompressed zip without clocks; as it is, if none."""
    if not files:
        return data
    behind = _Behind(len(data))
    with zipfile.ZipFile(behind, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content)
    return data + behind.getvalue()


def packed_files(data: bytes) -> dict[str, bytes]:
    """The files behind a model, by name. Raises InvalidModel when they cannot be read."""
    left, found = _MAX_FILES, {}
    try:
        if not zipfile.is_zipfile(io.BytesIO(data)):
            return {}
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as stream:
                    found[entry.filename] = content = stream.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise InvalidModel(
                        f"the files behind the model are larger than {_MAX_FILES:,} bytes"
                    )
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, OSError, EOFError,
            RuntimeError, IndexError, KeyError, OverflowError, MemoryError) as error:  # fmt: skip
        text = " ".join(str(error).split())[:200]
        raise InvalidModel(f"the zip behind the model cannot be read: {text}") from error
    return found


def files_of(model: TfliteModel, data: bytes) -> dict[str, bytes]:
    """The files behind a model that has metadata to name them; a zip behind another is nothing of
    it. Raises InvalidModel."""
    return packed_files(data) if ENTRY in model.metadata else {}


def read(content: bytes) -> dict[str, Any]:
    """What a metadata entry says, as `json.dumps` takes it; what it leaves out is left out.

    Keys: `name`, `description`, `version`, `author`, `license`, `min_parser_version`; `files`
    (of the model); `inputs` and `outputs` (of the main subgraph), each with `name`,
    `description`, `content` (feature, image, box), `color`, `mean`, `std`, `min`, `max` and
    `files`. A file has `name`, `description`, `type`. Raises InvalidModel.
    """
    root = Flat(content, IDENTIFIER).root()
    graphs = root.tables(3)
    return _told(
        name=root.string(0),
        description=root.string(1),
        version=root.string(2),
        author=root.string(4),
        license=root.string(5),
        min_parser_version=root.string(7),
        files=_files(root, 6),
        inputs=[_read_tensor(t) for t in graphs[0].tables(2)] if graphs else [],
        outputs=[_read_tensor(t) for t in graphs[0].tables(3)] if graphs else [],
    )


def _told(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, "", [], ())}


def _files(table: Table, slot: int) -> list[dict[str, Any]]:
    found = []
    for file in table.tables(slot):
        kind = file.number(2, "b")
        known = _FILE_TYPES[kind] if 0 <= kind < len(_FILE_TYPES) else str(kind)
        found.append(_told(name=file.string(0), description=file.string(1), type=known))
    return found


def _read_tensor(table: Table) -> dict[str, Any]:
    content, kind, color = table.table(3), 0, ""
    if content is not None:
        kind = content.number(0, "B")
        properties = content.table(1)
        if kind == _IMAGE and properties is not None:
            code = properties.number(0, "b")
            color = next((name for name, value in COLORS.items() if value == code), "")
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    for unit in table.tables(4):
        options = unit.table(1)
        if unit.number(0, "B") == _NORMALIZATION and options is not None:
            mean, std = options.numbers(0, "f"), options.numbers(1, "f")
    stats = table.table(5)
    return _told(
        name=table.string(0),
        description=table.string(1),
        content={_FEATURE: "feature", _IMAGE: "image", _BOX: "box"}.get(kind),
        color=color,
        mean=_plain(mean),
        std=_plain(std),
        min=_plain(stats.numbers(1, "f") if stats is not None else None),
        max=_plain(stats.numbers(0, "f") if stats is not None else None),
        files=_files(table, 6),
    )


def _plain(values: Sequence[float] | None) -> list[float | None] | None:
    """As JSON has it: neither NaN nor infinity, and the digits that float32 holds."""
    if values is None:
        return None
    return [float(f"{v:.7g}") if abs(v) <= 3.5e38 else None for v in values]


def read_labels(content: bytes) -> tuple[bytes, list[str]]:
    """A label file as it is packed (lines end with `\\n`), and its labels. ValueError when it is
    not text with a label on each line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from error
    lines = re.split("\r\n|\r|\n", text)
    if lines and not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise ValueError(f"line {number} is empty, and there must be a label on each line")
    if not lines:
        raise ValueError("it is empty")
    return "".join(f"{line}\n" for line in lines).encode(), lines
