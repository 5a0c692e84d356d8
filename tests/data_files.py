"""TFRecord files made by hand, and the stage `data` run in this process."""

from __future__ import annotations

import dataclasses
import gzip
import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tflbuild.datasets import KINDS
from tflbuild.datasets.crc32c import masked
from tflbuild.manifest.model import Feature, ImageData, Model, Pixels, RecordData, Source
from tflbuild.stages import data
from tflbuild.stages.base import Request

MODEL = Model("m", Source("keras"), (), ())


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def block(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(features: Mapping[str, Any], packed: bool = True) -> bytes:
    """A tf.train.Example: lists of bytes, of float or of int by name."""
    entries = b""
    for name, values in features.items():
        listed = list(values)
        if listed and isinstance(listed[0], bytes):
            kind, content = 1, b"".join(block(1, value) for value in listed)
        elif listed and isinstance(listed[0], float):
            pieces = [struct.pack("<f", value) for value in listed]
            one = b"".join(b"\x0d" + piece for piece in pieces)
            kind, content = 2, block(1, b"".join(pieces)) if packed else one
        else:
            pieces = [varint(value) for value in listed]
            one = b"".join(b"\x08" + piece for piece in pieces)
            kind, content = 3, block(1, b"".join(pieces)) if packed else one
        entries += block(1, block(1, name.encode()) + block(2, block(kind, content)))
    return block(1, entries)


def record(content: bytes) -> bytes:
    head = struct.pack("<Q", len(content))
    return b"".join([
        head, struct.pack("<I", masked(head)), content, struct.pack("<I", masked(content)),
    ])  # fmt: skip


def records(contents: Iterable[bytes], compression: str = "none") -> bytes:
    whole = b"".join(map(record, contents))
    return {"none": bytes, "gzip": gzip.compress, "zlib": zlib.compress}[compression](whole)


def features(**specs: Mapping[str, Any]) -> tuple[Feature, ...]:
    return tuple(Feature(name, **{"input": name, **spec}) for name, spec in specs.items())


def make(root: Path, declared: RecordData | ImageData) -> dict[str, Any]:
    """Run the stage as a child does. Arrays by input, `labels`, and `told`, which is data.json."""
    kind = "images" if isinstance(declared, ImageData) else "tfrecord"
    listing = KINDS[kind].listing(root, MODEL, declared)
    json.dumps(listing.params)  # part of a key
    out = root / f"out{len(list(root.glob('out*')))}"
    out.mkdir()
    files = {name: root / path for name, path in listing.files.items()}
    data.run(Request({"kind": kind, **listing.params}, files, out))
    names = json.loads((out / "arrays.json").read_text())["inputs"]
    made: dict[str, Any] = {n: np.load(out / f"array.{i}.npy") for i, n in enumerate(names)}
    if (out / "labels.npy").exists():
        made["labels"] = np.load(out / "labels.npy").tolist()
    several = json.loads((out / "arrays.json").read_text()).get("labels", [])
    if several:
        files = {name: out / f"label.{i}.npy" for i, name in enumerate(several)}
        made["labels"] = {name: np.load(file).tolist() for name, file in files.items()}
    return {**made, "told": json.loads((out / "data.json").read_text()), "out": out}


def pixels(**given: Any) -> Pixels:
    return dataclasses.replace(Pixels(), **given)
