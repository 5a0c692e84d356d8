"""TFLite Metadata, read back with nothing but zipfile and the flatbuffers runtime."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import number_types as N
from flatbuffers.table import Table
from hostile import labelled
from tflite_models import two_in_two_out
from workspace_folder import WorkspaceFolder

from tflbuild.tflite import metadata
from tflbuild.tflite.metadata import ModelNotes, TensorNotes
from tflbuild.tflite.read import buffer_alignment_problems, read_metadata, read_model

MANIFEST = """
version: 1
defaults:
  metadata: {license: Apache-2.0, author: Somebody}
models:
  m:
    source: {format: tflite, path: m.tflite}
    metadata:
      name: Sums
      version: "1.2"
      description: y = (a + b) W
      inputs:
        left: {description: the one, normalization: {mean: [1, 2, 3, 4], std: 2}}
      outputs:
        score: {labels: labels.txt, range: {min: -1, max: 1}}
    optimizations: {asis: {}}
"""
LABELS = "cat\r\ndog\r\nzebra\r\n"


class Reader:
    """A table of the metadata flatbuffer, by slot; nothing of tflbuild reads here."""

    def __init__(self, data: bytes, pos: int | None = None) -> None:
        if pos is None:
            pos = int.from_bytes(data[:4], "little")
        self.data, self.table = data, Table(data, pos)

    def _at(self, slot: int) -> int:
        return int(self.table.Offset(4 + 2 * slot))

    def text(self, slot: int) -> str:
        at = self._at(slot)
        return self.table.String(at + self.table.Pos).decode() if at else ""

    def byte(self, slot: int) -> int:
        at = self._at(slot)
        return int(self.table.Get(N.Int8Flags, at + self.table.Pos)) if at else 0

    def child(self, slot: int) -> Reader:
        return Reader(self.data, self.table.Indirect(self._at(slot) + self.table.Pos))

    def children(self, slot: int) -> list[Reader]:
        at = self._at(slot)
        if not at:
            return []
        start = self.table.Vector(at)
        count = self.table.VectorLen(at)
        return [Reader(self.data, self.table.Indirect(start + 4 * i)) for i in range(count)]

    def floats(self, slot: int) -> list[float]:
        at = self._at(slot)
        if not at:
            return []
        start, count = self.table.Vector(at), self.table.VectorLen(at)
        return [float(v) for v in np.frombuffer(self.data, "<f4", count, start)]


def released(workspace: WorkspaceFolder, **more: Any) -> bytes:
    workspace.write(MANIFEST, {"m.tflite": two_in_two_out().pack(), "labels.txt": LABELS, **more})
    result = workspace.build()
    assert result.ok, result
    return workspace.dist()["litert/m-asis.tflite"]


def test_what_is_released_says_what_the_manifest_says(workspace: WorkspaceFolder) -> None:
    data = released(workspace)
    entry = read_metadata(data)["TFLITE_METADATA"]
    assert entry[4:8] == b"M001"
    root = Reader(entry)
    assert [root.text(slot) for slot in (0, 1, 2, 4, 5, 7)] == [
        "Sums", "y = (a + b) W", "1.2", "Somebody", "Apache-2.0", "1.0.0",
    ]  # fmt: skip
    (main,) = root.children(3)
    left, right = main.children(2)  # every input has an entry, in the order of the file
    assert [left.text(0), left.text(1), right.text(0)] == ["left", "the one", "right"]
    assert left.child(3).byte(0) == 1  # FeatureProperties
    (unit,) = left.children(4)
    assert unit.byte(0) == 1  # NormalizationOptions
    assert (unit.child(1).floats(0), unit.child(1).floats(1)) == ([1, 2, 3, 4], [2])
    score, total = main.children(3)
    assert [score.text(0), total.text(0)] == ["score", "sum"]
    assert (score.child(5).floats(0), score.child(5).floats(1)) == ([1], [-1])  # max before min
    (file,) = score.children(6)
    assert (file.text(0), file.byte(2)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (info,) = archive.infolist()
        assert archive.read("labels.txt") == b"cat\ndog\nzebra\n"
        assert info.compress_type == zipfile.ZIP_STORED
        assert archive.testzip() is None
    # What validate and compat saw is what is released.
    assert workspace.report("m/asis@litert/compat.json")["measured"]["size"] == len(data)


def test_nothing_else_of_the_file_is_another(workspace: WorkspaceFolder) -> None:
    data = released(workspace)
    assert buffer_alignment_problems(data) == []
    model = read_model(data)
    assert "TFLITE_METADATA" in model.metadata
    assert "min_runtime_version" in model.metadata
    x = np.ones((1, 4), np.float32)
    outputs = []
    for content in (two_in_two_out().pack(), data):
        runner = Interpreter(model_content=content).get_signature_runner()
        outputs.append(runner(left=x, right=x)["score"])
    assert (outputs[0] == outputs[1]).all()


def test_the_same_manifest_gives_the_same_bytes(workspace: WorkspaceFolder) -> None:
    first = released(workspace)
    shutil.rmtree(workspace.root / ".tflbuild")
    os.utime(workspace.root / "labels.txt", (10**9, 10**9))  # no clock is in the file
    result = workspace.build()
    assert "convert:m:asis" in result.ran()
    assert workspace.dist()["litert/m-asis.tflite"] == first
    assert metadata.with_files(b"x", {"b": b"1", "a": b"2"}) == metadata.with_files(
        b"x", {"a": b"2", "b": b"1"}
    )


def test_labels_are_an_input_and_the_manifest_a_parameter(workspace: WorkspaceFolder) -> None:
    released(workspace)
    workspace.write(files={"labels.txt": "cat\ndog\nyak\n"})
    result = workspace.build()
    assert result.ok
    assert "convert:m:asis" in result.ran()
    assert "reference:m" not in result.ran()
    assert b"yak" in workspace.dist()["litert/m-asis.tflite"]
    workspace.write(MANIFEST.replace("Sums", "Totals"))
    assert workspace.build().ok
    said = metadata.read(read_metadata(workspace.dist()["litert/m-asis.tflite"])[metadata.ENTRY])
    assert said["name"] == "Totals"


def test_a_file_keeps_its_own_where_the_manifest_says_nothing(workspace: WorkspaceFolder) -> None:
    manifest = "version: 1\nmodels: {m: {source: {format: tflite, path: m.tflite}, "
    workspace.write(manifest + "optimizations: {asis: {}}}}\n", {"m.tflite": labelled()})
    assert workspace.build().ok
    data = workspace.dist()["litert/m-asis.tflite"]
    assert metadata.read(read_metadata(data)[metadata.ENTRY])["name"] == "hand made"
    assert metadata.packed_files(data) == {"labels.txt": b"a\nb\nc\n"}


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("left:", "lefd:", "13:9", "there is no input 'lefd'; the model has 'left', 'right'"),
        ("score:", "total:", "15:9", "there is no output 'total'"),
        ("[1, 2, 3, 4]", "[1, 2]", "13:54", "mean has 2 numbers, 'left' has 4 channels"),
        ("labels.txt", "few.txt", "15:17", "few.txt has 2 labels, output 'score' has 3"),
        ("labels.txt", "gap.txt", "15:17", "gap.txt is no list of labels: line 2 is empty"),
        ("labels.txt", "odd.txt", "15:17", "odd.txt is no list of labels: it is not UTF-8"),
        ("description: the one", "image: rgb", "13:16", "needs [batch, height, width, 3]"),
    ],
)
def test_what_does_not_go_with_the_model(
    old: str, new: str, place: str, says: str, workspace: WorkspaceFolder
) -> None:
    workspace.write(
        MANIFEST.replace(old, new),
        {
            "m.tflite": two_in_two_out().pack(),
            "labels.txt": LABELS,
            "few.txt": "cat\ndog\n",
            "gap.txt": "cat\n\ndog\n",
            "odd.txt": b"\xff\xfe",
        },
    )
    result = workspace.build()
    (reason,) = [t.reason for t in result.tasks if t.task == "convert:m:asis"]
    assert says in reason
    assert reason.startswith(f"tflbuild.yaml:{place}: "), reason


def test_reads_back_what_it_packs() -> None:
    notes = ModelNotes(
        [TensorNotes("x", "a picture", (127.5,), (0.1,), (0, -1.5), (255, 1e30), "rgb")],
        [TensorNotes("y", labels="l.txt"), TensorNotes("z")],
        "Naïve — 模型",
    )
    assert metadata.pack(notes) == metadata.pack(notes)
    assert metadata.read(metadata.pack(notes)) == {
        "name": "Naïve — 模型",
        "min_parser_version": "1.0.0",
        "inputs": [
            {
                "name": "x",
                "description": "a picture",
                "content": "image",
                "color": "rgb",
                "mean": [127.5],
                "std": [0.1],
                "min": [0, -1.5],
                "max": [255, 1e30],
            }
        ],
        "outputs": [
            {
                "name": "y",
                "content": "feature",
                "files": [{"name": "l.txt", "type": "axis_labels"}],
            },
            {"name": "z", "content": "feature"},
        ],
    }


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (b"a\nb", ["a", "b"]),
        (b"\xef\xbb\xbfa\r\nb\r\n", ["a", "b"]),
        ("é\n".encode(), ["é"]),
        (b"one two\x0bthree\n", ["one two\x0bthree"]),
    ],
)
def test_labels(content: bytes, labels: list[str]) -> None:
    packed, found = metadata.read_labels(content)
    assert found == labels
    assert packed == "".join(f"{label}\n" for label in labels).encode()


@pytest.mark.parametrize("content", [b"", b"\n", b"a\n \nb\n", b"a\n\n", b"\xc3("])
def test_what_is_no_list_of_labels(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"empty|UTF-8"):
        metadata.read_labels(content)
