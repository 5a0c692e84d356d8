"""TFRecord files become arrays, without TensorFlow; what is wrong with one is one line."""

from __future__ import annotations

import contextlib
import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import block, example, features, make, record, records, varint
from hypothesis import given, settings
from hypothesis import strategies as st

from tflbuild.datasets import records as record_module
from tflbuild.datasets.choose import choose
from tflbuild.datasets.crc32c import SHORT, _bytewise, crc32c
from tflbuild.datasets.example import WrongExample, parse_example
from tflbuild.datasets.records import read_records
from tflbuild.errors import TaskError
from tflbuild.manifest.model import RecordData

X = {"x": {"shape": (2,)}}


def refused(says: str) -> Any:
    return pytest.raises(TaskError, match=says)


@pytest.mark.parametrize("size", [0, 1, 3, 8, SHORT - 1, SHORT, SHORT + 1, 5000, 70_001])
def test_crc_of_lanes_is_that_of_bytes(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == _bytewise(0xFFFFFFFF, data) ^ 0xFFFFFFFF


def test_crc_of_the_standards() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(bytes(32) * 1000) == _bytewise(0xFFFFFFFF, bytes(32_000)) ^ 0xFFFFFFFF


floats = st.floats(width=32, allow_nan=False)
integers = st.integers(-(1 << 63), (1 << 63) - 1)
lists = st.one_of(st.lists(st.binary(), min_size=1), st.lists(floats, min_size=1),
                  st.lists(integers, min_size=1))  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), lists, max_size=5), st.booleans())
def test_examples_come_back(content: dict[str, list[Any]], packed: bool) -> None:
    parsed = parse_example(example(content, packed), content)
    assert parsed.keys() == content.keys()
    for name, values in content.items():
        found = parsed[name]
        if isinstance(values[0], bytes):
            assert (found.kind, found.values) == ("bytes", values)
        else:
            dtype = np.float32 if isinstance(values[0], float) else np.int64
            assert found.array().tobytes() == np.array(values, dtype).tobytes()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.data())
def test_random_bytes_are_an_example_or_are_refused(noise: bytes, data: st.DataObject) -> None:
    whole = bytearray(example({"x": [1.0, 2.0], "n": [3, -1], "b": [b"abc"]}))
    at = data.draw(st.integers(0, len(whole)))
    for content in (noise, bytes(whole[:at] + noise), bytes(whole[:at] + noise + whole[at:])):
        with contextlib.suppress(WrongExample):
            for feature in parse_example(content, {"x", "n", "b", ""}).values():
                feature.array()


def test_repeated_parts_merge_as_the_specification_says() -> None:
    def entry(name: str, *values: bytes) -> bytes:
        return block(1, block(1, name.encode()) + b"".join(block(2, value) for value in values))

    ints = block(3, block(1, varint(7)) + b"\x08" + varint(8))
    others = block(2, b"\x0d" + struct.pack("<f", 0.5))
    twice = entry("a", ints, ints) + entry("b", ints, others) + entry("c", others)
    parsed = parse_example(block(1, twice + entry("c", ints)) + block(1, entry("d", b"")), "abcd")
    assert parsed["a"].array().tolist() == [7, 8, 7, 8]  # a list goes on
    assert (parsed["b"].kind, parsed["b"].array().tolist()) == ("float", [0.5])  # the last kind
    assert parsed["c"].kind == "int64"  # the last entry of a name
    assert parsed["d"].kind == ""


def test_features_that_are_not_wanted_are_not_read() -> None:
    broken = block(1, block(1, block(1, b"bad") + block(2, block(3, block(1, b"\xff" * 11)))))
    assert parse_example(broken, {"x"})["bad"].kind == ""
    with pytest.raises(WrongExample, match="integer"):
        parse_example(broken, {"bad"})


@pytest.mark.parametrize("compression", ["none", "gzip", "zlib"])
@pytest.mark.parametrize("declared", [True, False])
def test_files_of_each_compression(tmp_path: Path, compression: str, declared: bool) -> None:
    contents = [example({"x": [float(i), 1.0]}) for i in range(5)]
    (tmp_path / "a.tfrecord").write_bytes(records(contents[:3], compression))
    (tmp_path / "b.tfrecord").write_bytes(records(contents[3:], compression))
    made = make(
        tmp_path,
        RecordData(("*.tfrecord",), features(**X), compression if declared else None),
    )
    assert made["x"].tolist() == [[i, 1] for i in range(5)]
    assert made["x"].dtype == np.float32
    assert made["told"] == {
        "kind": "tfrecord", "samples": 5, "files": 2, "records": 5,
        "inputs": {"x": {"dtype": "float32", "shape": [5, 2]}},
    }  # fmt: skip


def test_the_array_is_what_numpy_saves(tmp_path: Path) -> None:
    contents = [example({"x": [float(i), 1.0]}) for i in range(12)]
    (tmp_path / "a").write_bytes(records(contents))
    made = make(tmp_path, RecordData(("a",), features(**X)))
    np.save(tmp_path / "same.npy", made["x"])
    assert (made["out"] / "array.0.npy").read_bytes() == (tmp_path / "same.npy").read_bytes()


def test_each_type_of_feature(tmp_path: Path) -> None:
    raw = np.arange(6, dtype="<i2")
    content = {
        "i": [1, -2], "b": [0, 1], "f": [0.5], "s": [b"one", b"\xff"], "r": [raw.tobytes()],
        "p": [0, 128, 255], "label": [4],
    }  # fmt: skip
    (tmp_path / "a").write_bytes(records([example(content)] * 2))
    declared = features(
        i={"shape": (2,), "dtype": "int32", "input": "ids"},
        b={"shape": (2,), "dtype": "bool"},
        f={"shape": (), "dtype": "float64"},
        s={"shape": (2,), "dtype": "string"},
        r={"shape": (3, 2), "raw": "int16", "scale": 0.5, "mean": (1.0, 2.0), "std": (2.0,)},
        p={"shape": (3,), "scale": 1 / 255},
    )
    made = make(tmp_path, RecordData(("a",), declared, labels="label"))
    assert made["ids"].dtype == np.int32
    assert made["ids"].tolist() == [[1, -2]] * 2
    assert made["b"].tolist() == [[False, True]] * 2
    assert (made["f"].shape, made["f"].dtype) == ((2,), np.float64)
    assert made["s"].tolist() == [[b"one", b"\xff"]] * 2
    expected = (raw.reshape(3, 2) * 0.5 - np.array([1, 2])) / 2
    assert made["r"].tolist() == [expected.tolist()] * 2
    assert made["p"].tolist() == [(np.array([0, 128, 255]) / 255).astype("f").tolist()] * 2
    assert made["labels"] == [4, 4]


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"y": [1.0, 2.0]}, {}, r"record 1 of a has no feature 'x' \(it has \['y'\]\)"),
    ({"xx": [1.0]}, {}, "did you mean 'xx'"),
    ({"x": []}, {}, "holds 0 numbers"),
    ({"x": [1.0, 2.0, 3.0]}, {}, r"record 1 of a: feature 'x' holds 3 numbers, .*\[2\] takes 2"),
    ({"x": [b"ab"]}, {}, "'x' is a list of 1 bytes, expected numbers; bytes need raw: or image:"),
    ({"x": [1.5, 2.0]}, {"dtype": "int32"}, "numbers that int32 cannot"),
    ({"x": [float("nan"), 2.0]}, {"dtype": "int32"}, "numbers that int32 cannot"),
    ({"x": [1, 300]}, {"dtype": "uint8"}, "numbers that uint8 cannot"),
    ({"x": [-1, 0]}, {"dtype": "uint64"}, "numbers that uint64 cannot"),
    ({"x": [0, 2]}, {"dtype": "bool"}, "numbers that bool cannot"),
    ({"x": [1.0, 2.0]}, {"raw": "uint8"}, "expected one value of bytes, for raw"),
    ({"x": [b"abc"]}, {"raw": "int16"}, "holds 3 bytes, no whole number of int16"),
    ({"x": [1.0, 2.0]}, {"dtype": "string"}, "expected bytes, for dtype: string"),
    ({"x": [b"a\0", b"b"]}, {"dtype": "string"}, "ends with a zero byte"),
    ({"x": [1.0, 2.0]}, {"mean": (1.0, 2.0, 3.0)}, "one for each of the last axis"),
]


@pytest.mark.parametrize(("content", "spec", "says"), WRONG, ids=[w[2] for w in WRONG])
def test_wrong_features(
    tmp_path: Path, content: dict[str, Any], spec: dict[str, Any], says: str
) -> None:
    first: list[Any] = [b"ab"] if spec.get("raw") == "uint8" else [0, 1]
    if spec.get("raw") == "int16":
        first = [b"1234"]
    if spec.get("dtype") == "string":
        first = [b"a", b"b"]
    (tmp_path / "a").write_bytes(records([example({"x": first}), example(content)]))
    with refused(says) as caught:
        make(tmp_path, RecordData(("a",), features(x={"shape": (2,), **spec})))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ([3], 3),
        ([1.5], 1.5),
        ([b"a cat"], b"a cat"),
        ([1, 2], [1, 2]),
        ([b"a", b"bc"], [b"a", b"bc"]),
    ],
)
def test_labels_of_any_kind(tmp_path: Path, label: list[Any], kept: Any) -> None:
    (tmp_path / "a").write_bytes(records([example({"x": [1.0, 2.0], "y": label})] * 2))
    made = make(tmp_path, RecordData(("a",), features(**X), labels="y"))
    assert made["labels"] == [kept, kept]
    named = make(tmp_path, RecordData(("a",), features(**X), labels=(("one", "y"), ("two", "x"))))
    assert named["labels"] == {"one": [kept, kept], "two": [[1.0, 2.0]] * 2}


def test_wrong_labels(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(records([example({"x": [1.0, 2.0], "y": []})]))
    with refused("record 0 of a: the label 'y' is empty"):
        make(tmp_path, RecordData(("a",), features(**X), labels="y"))
    wrong = [example({"x": [1.0, 2.0], "y": y}) for y in ([1], [1, 2])]
    (tmp_path / "a").write_bytes(records(wrong))
    with refused("record 1 of a: the label is int64 of shape \\[2\\], in the samples before"):
        make(tmp_path, RecordData(("a",), features(**X), labels="y"))


def cut(whole: bytes, at: int) -> bytes:
    return whole[:at]


def flipped(whole: bytes, at: int) -> bytes:
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


ONE = example({"x": [1.0, 2.0]})
HUGE = struct.pack("<Q", 1 << 62)
DAMAGED: list[tuple[bytes, str]] = [
    (b"", "the data holds no sample"),
    (b"x", "is no TFRecord file"),
    (b"PK\x03\x04 something else", "is no TFRecord file"),
    (gzip.compress(b"a text that was packed"), "is no TFRecord file"),
    (cut(records([ONE] * 2), len(record(ONE)) + 5), "record 1 of a is cut short: the file ends"),
    (cut(records([ONE] * 2), len(record(ONE)) + 20), "record 1 of a is cut short: it should hold"),
    (cut(records([ONE]), len(record(ONE)) - 2), "record 0 of a is cut short: it should hold"),
    (flipped(records([ONE] * 2), len(record(ONE)) + 2), "record 1 of a is damaged: the checksum of"
     " its length"),
    (flipped(records([ONE]), 20), "record 0 of a is damaged: the checksum of its data"),
    (records([b"\x07nonsense"]), "record 0 of a is no tf.train.Example"),
    (records([b""]), "record 0 of a has no feature 'x'"),
    (struct.pack("<QI", 1 << 62, record_module.masked(HUGE)), "more than the file has left"),
    (gzip.compress(struct.pack("<QI", 1 << 62, record_module.masked(HUGE))), "can be read"),
    (cut(records([ONE] * 9, "gzip"), 45), "a is damaged: gzip data"),
    (cut(records([ONE] * 9, "zlib"), 35), "a is damaged: zlib data"),
    (flipped(records([ONE] * 9, "gzip"), 40), "a is damaged: gzip data|checksum"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "says"), DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("seed", [None, 3])
def test_damaged_files(tmp_path: Path, content: bytes, says: str, seed: int | None) -> None:
    (tmp_path / "a").write_bytes(content)
    samples = 1 if seed is not None else None
    if seed is not None and "cut short" in says and content.count(ONE) == 2:
        samples = 2  # all of them
    with refused(says) as caught:
        make(tmp_path, RecordData(("a",), features(**X), samples=samples, seed=seed))
    assert "\n" not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["none", "gzip", "zlib", None]))
def test_random_bytes_are_records_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, compression: str | None
) -> None:
    path = tmp_path_factory.mktemp("noise") / "a"
    path.write_bytes(noise)
    with contextlib.suppress(TaskError):
        list(read_records(path, "a", compression))


def test_a_wrong_compression_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(records([ONE], "gzip"))
    with refused("a is compressed by gzip, not compressed by zlib") as caught:
        make(tmp_path, RecordData(("a",), features(**X), "zlib"))
    assert caught.value.key == "tfrecord.compression"


def test_packed_data_is_unpacked_by_the_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_module, "CHUNK", 7)
    contents = [example({"x": [float(i), 1.0]}) for i in range(50)]
    two = gzip.compress(records(contents[:20])) + gzip.compress(records(contents[20:]))
    for packed in (two, zlib.compress(records(contents))):
        (tmp_path / "a").write_bytes(packed)
        monkeypatch.setattr(record_module, "_compression", lambda raw: None)
        kind = "gzip" if packed is two else "zlib"
        made = make(tmp_path, RecordData(("a",), features(**X), kind))
        assert made["x"][:, 0].tolist() == list(range(50))


def test_samples_are_the_first_or_chosen_by_seed(tmp_path: Path) -> None:
    contents = [example({"x": [float(i), 1.0], "y": [i]}) for i in range(30)]
    (tmp_path / "a1").write_bytes(records(contents[:11], "gzip"))
    (tmp_path / "a2").write_bytes(records(contents[11:]))
    first = make(tmp_path, RecordData(("a*",), features(**X), samples=12, labels="y"))
    assert first["labels"] == first["x"][:, 0].tolist() == list(range(12))
    places = choose(map(str, range(30)), 12, 5)
    some = make(tmp_path, RecordData(("a*",), features(**X), samples=12, seed=5, labels="y"))
    assert some["labels"] == some["x"][:, 0].tolist() == places
    assert some["told"]["records"] == 30
    assert places == sorted(places) != list(range(12))
    for seed in (None, 5):
        with refused("the data holds 30 samples, fewer than samples: 31"):
            make(tmp_path, RecordData(("a*",), features(**X), samples=31, seed=seed))


def test_records_that_are_not_chosen_are_not_read(tmp_path: Path) -> None:
    places = choose(map(str, range(10)), 3, 1)
    contents = [ONE if i in places else b"\x07nonsense" for i in range(10)]
    (tmp_path / "a").write_bytes(records(contents))
    made = make(tmp_path, RecordData(("a",), features(**X), samples=3, seed=1))
    assert made["x"].tolist() == [[1, 2]] * 3


def test_samples_of_strings_may_differ_in_length(tmp_path: Path) -> None:
    contents = [example({"x": [word, b"b"]}) for word in (b"a", b"longer", b"")]
    (tmp_path / "a").write_bytes(records(contents))
    made = make(tmp_path, RecordData(("a",), features(x={"shape": (2,), "dtype": "string"})))
    assert made["x"].dtype == np.dtype("S6")
    assert made["x"][:, 0].tolist() == [b"a", b"longer", b""]


@pytest.mark.convert
def test_tensorflow_agrees(tmp_path: Path) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(0)
    expected: dict[str, list[Any]] = {"f": [], "i": [], "b": []}
    for compression, name in (("", "a"), ("GZIP", "b"), ("ZLIB", "c")):
        with tf.io.TFRecordWriter(str(tmp_path / name), compression) as writer:
            for _ in range(4):
                f = rng.normal(size=1500).astype(np.float32)
                i = rng.integers(-(1 << 63), (1 << 63) - 1, 7)
                b = rng.bytes(3000)
                one = tf.train.Example(features=tf.train.Features(feature={
                    "f": tf.train.Feature(float_list=tf.train.FloatList(value=f)),
                    "i": tf.train.Feature(int64_list=tf.train.Int64List(value=i)),
                    "b": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b])),
                }))  # fmt: skip
                writer.write(one.SerializeToString())
                theirs = tf.io.parse_single_example(one.SerializeToString(), {
                    "f": tf.io.FixedLenFeature([1500], tf.float32),
                    "i": tf.io.FixedLenFeature([7], tf.int64),
                    "b": tf.io.FixedLenFeature([], tf.string),
                })  # fmt: skip
                expected["f"].append(theirs["f"].numpy())
                expected["i"].append(theirs["i"].numpy())
                expected["b"].append(tf.io.decode_raw(theirs["b"], tf.uint8).numpy())
    declared = features(
        f={"shape": (1500,)},
        i={"shape": (7,), "dtype": "int64"},
        b={"shape": (3000,), "raw": "uint8", "dtype": "uint8"},
    )
    made = make(tmp_path, RecordData(("[abc]",), declared))
    for name, arrays in expected.items():
        assert made[name].tobytes() == np.stack(arrays).tobytes()
    # and what this project's tests write, TensorFlow reads
    (tmp_path / "ours").write_bytes(records([example({"f": [0.5], "i": [-3]}, packed=False)]))
    (read,) = tf.data.TFRecordDataset(str(tmp_path / "ours"))
    parsed = tf.train.Example.FromString(read.numpy())
    assert parsed.features.feature["i"].int64_list.value == [-3]
