"""Golden tests: how an archive is bound to a file, what is compared, and what is refused."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s

sys.path.insert(0, str(Path(__file__).parents[1] / "tflite"))
import tflite_models as make

from tflbuild.errors import Position, TaskError
from tflbuild.found import Findings
from tflbuild.golden_gate import judge
from tflbuild.kernels import Kernels
from tflbuild.manifest.model import Golden, GoldenLimits, Model, Optimization, Source
from tflbuild.stages.base import Request
from tflbuild.validation import arrays, golden
from tflbuild.verdict import Verdict


def interface(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """One signature; of each name shape, or dtype and shape."""

    def specs(named: Mapping[str, Any]) -> list[dict[str, Any]]:
        full = {n: v if isinstance(v, tuple) else ("float32", v) for n, v in named.items()}
        return [{"name": n, "dtype": dtype, "shape": shape} for n, (dtype, shape) in full.items()]

    return {"signature": "serve", "inputs": specs(inputs), "outputs": specs(outputs)}


def quantized() -> tuple[bytes, dict[str, Any]]:
    """y = relu(x), both int8 with a scale of 0.5."""
    maker = make.Maker()
    graph = maker.graph()
    x = graph.tensor("x", (1, 4), make.TYPE.INT8, scale=0.5)
    y = graph.tensor("y", (1, 4), make.TYPE.INT8, scale=0.5)
    graph.op(make.OP.RELU, [x], [y])
    graph.io([x], [y])
    maker.signature("serve", {"x": x}, {"y": y})
    return maker.pack(), interface({"x": [None, 4]}, {"y": [None, 4]})


def both() -> tuple[bytes, dict[str, Any]]:
    """Two inputs, of which one is an output too: a = a + b, and n = a * b."""
    maker = make.Maker()
    graph = maker.graph()
    a, b = graph.tensor("a", (1, 2)), graph.tensor("b", (1, 2))
    total, product = graph.tensor("t", (1, 2)), graph.tensor("p", (1, 2))
    graph.op(make.OP.ADD, [a, b], [total], s.AddOptionsT())
    graph.op(make.OP.MUL, [a, b], [product], s.MulOptionsT())
    graph.io([a, b], [total, product])
    maker.signature("serve", {"a": a, "b": b}, {"a": total, "n": product})
    return maker.pack(), interface({"a": [1, 2], "b": [1, 2]}, {"a": [1, 2], "n": [1, 2]})


def counter() -> tuple[bytes, dict[str, Any]]:
    """y = v + x, and v = y: a variable that begins with 0, -1, 2 …"""
    maker = make.variables(initialized=True)
    main = make.Graph(maker, maker.model.subgraphs[0], 0)
    x, y = main.t.inputs[0], main.t.outputs[0]
    main.op(make.OP.ASSIGN_VARIABLE, [0, y], [], s.AssignVariableOptionsT())
    maker.signature("serve", {"x": x}, {"y": y})
    return maker.pack(), interface({"x": [4]}, {"y": [4]})


def measure(
    tmp_path: Path,
    made: tuple[bytes, dict[str, Any]],
    archive: Mapping[str, Any] | bytes,
    sequence: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    data, signature = made
    (tmp_path / "model.tflite").write_bytes(data)
    path = tmp_path / "golden.npz"
    if isinstance(archive, bytes):
        path.write_bytes(archive)
    else:
        np.savez(path, **{name: np.asarray(array) for name, array in archive.items()})
    request = Request(
        {"golden": [{"name": "first", "signature": 0}], "sequences": [sequence]},
        {"model.tflite": tmp_path / "model.tflite", "golden.0.npz": path},
        tmp_path / "out",
    )
    return golden.measure(request, {"signatures": [signature]}, Kernels())


REAL = np.float32([[-1, 0.5, 2, 3.5], [1, -2, 0, 60]])


def test_real_values_are_quantized_and_dequantized(tmp_path: Path) -> None:
    (entry,) = measure(tmp_path, quantized(), {"x": REAL, "y": np.maximum(REAL, 0)})
    assert {k: entry[k] for k in ("name", "signature", "output", "unit", "samples", "equal")} == {
        "name": "first", "signature": "serve", "output": "y", "unit": "real", "samples": 2,
        "equal": True,
    }  # fmt: skip
    off = np.maximum(REAL, 0) + np.float32([[0, 0, 0, 0], [0, 0, 0.25, 0]])
    (entry,) = measure(tmp_path, quantized(), {"x": REAL, "y": off})
    assert entry["max_abs_error"] == 0.25
    assert entry["worst_sample"] == 1


def test_steps_are_compared_as_steps(tmp_path: Path) -> None:
    steps = np.int8([[-128, -1, 0, 127], [1, 2, 3, 4]])
    (entry,) = measure(tmp_path, quantized(), {"x": steps, "y": np.maximum(steps, 0)})
    assert (entry["unit"], entry["kind"], entry["equal"]) == ("steps", "integer", True)
    off = np.maximum(steps, 0)
    off[1, 0] += 3
    (entry,) = measure(tmp_path, quantized(), {"x": np.float32(steps) / 2, "y": off})
    assert entry["max_abs_error"] == 3  # of real inputs, too


ONE = np.float32([[1, 2]])


def test_a_name_that_is_an_input_and_an_output(tmp_path: Path) -> None:
    archive = {"inputs/a": ONE, "b": ONE * 10, "outputs/a": ONE * 11, "outputs/n": ONE**2 * 10}
    first, second = measure(tmp_path, both(), archive)
    assert [first["output"], second["output"]] == ["a", "n"]
    assert [first["equal"], second["equal"]] == [True, True]
    # What is not recorded is not compared.
    (only,) = measure(tmp_path, both(), {"inputs/a": ONE, "inputs/b": ONE, "n": ONE**2})
    assert only["output"] == "n"


def test_each_sample_begins_anew_unless_it_is_a_step(tmp_path: Path) -> None:
    begin = np.float32([-3, -2, -1, 0]) * 0.0 + make_value()
    x = np.ones((3, 4), np.float32)
    anew = np.stack([begin + 1] * 3)
    steps = np.stack([begin + 1, begin + 2, begin + 3])
    assert measure(tmp_path, counter(), {"x": x, "y": anew})[0]["equal"]
    never, pairs = {"reset": "never"}, {"reset": "each", "length": 2}
    assert measure(tmp_path, counter(), {"x": x, "y": steps}, never)[0]["equal"]
    two = np.stack([begin + 1, begin + 2, begin + 1])
    assert measure(tmp_path, counter(), {"x": x, "y": two}, pairs)[0]["equal"]


def make_value() -> Any:
    """What the variable of `counter` begins with."""
    return (np.arange(4) % 7 - 3).astype(np.float32)


WRONG: dict[str, tuple[Mapping[str, Any], str]] = {
    "misspelt": ({"inputs/a": ONE, "b": ONE, "outputs/m": ONE},
                 "no input or output is called 'outputs/m'; did you mean 'outputs/n'?"),
    "unknown": ({"inputs/a": ONE, "b": ONE, "labels": ONE},
                "no input or output is called 'labels'; inputs are ['a', 'b'], outputs are"),
    "both": ({"a": ONE, "b": ONE, "n": ONE},
             "'a' is an input and an output; call the array 'inputs/a' or 'outputs/a'"),
    "twice": ({"inputs/a": ONE, "b": ONE, "inputs/b": ONE, "n": ONE},
              "input 'b' is there twice: with `inputs/` too"),
    "no input": ({"inputs/a": ONE, "n": ONE}, "input 'b' is not there"),
    "no output": ({"inputs/a": ONE, "b": ONE}, "no expected output is there; record one of"),
    "counts": ({"inputs/a": ONE, "b": np.float32([[1, 2]] * 2), "n": ONE},
               "inputs differ in their number of samples: {'a': 1, 'b': 2}"),
    "empty": ({"inputs/a": ONE[:0], "b": ONE[:0], "n": ONE[:0]}, "it holds no sample"),
    "input type": ({"inputs/a": np.float64(ONE), "b": ONE, "n": ONE},
                   "input 'a' is float64; expected float32"),
    "input shape": ({"inputs/a": np.float32([1, 2]), "b": ONE, "n": ONE},
                    "input 'a' has shape [2]; the model takes [1, 2], samples along the first"),
    "output type": ({"inputs/a": ONE, "b": ONE, "n": np.float64(ONE)},
                    "expected output 'n' is float64; the model has float32; save it with"),
    "steps of a float file": (
        {"inputs/a": ONE, "b": ONE, "n": np.int8(ONE)},
        "expected output 'n' is int8; the model has float32 (this file has float32, without"
        " steps); say which files it is for: `optimizations`"),
    "output shape": ({"inputs/a": ONE, "b": ONE, "n": np.float32([[1, 2, 3]])},
                     "expected output 'n' has shape [1, 3]; the file gives [1, 2] for 1 samples"),
    "NaN recorded": ({"inputs/a": ONE, "b": ONE, "n": ONE * np.nan},
                     "expected output 'n' has NaN or infinity, which nothing can equal"),
    "NaN put in": ({"inputs/a": ONE * np.inf, "b": ONE, "n": ONE},
                   "input 'a' has NaN or infinity"),
    "structured": ({"inputs/a": np.zeros(1, "f4,f4"), "b": ONE, "n": ONE}, "is of type"),
}  # fmt: skip


@pytest.mark.parametrize(("archive", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_meant_is_one_line(
    archive: Mapping[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(TaskError) as caught:
        measure(tmp_path, both(), archive)
    text = str(caught.value)
    assert text.startswith("golden 'first': ")
    assert said in text
    assert "\n" not in text
    assert caught.value.key == "validate.golden.first.npz"


def member(content: bytes, name: str = "x.npy", **info: Any) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return whole.getvalue()


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin1").ljust(118) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


HUGE = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000000,), }")
NEGATIVE = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }", bytes(16))
OBJECTS = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n.")
SHORT = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", bytes(15))
EMPTY = npy("{'descr': '|S0', 'fortran_order': False, 'shape': (4000000000000,), }")
ODD = npy("{'descr': __import__('os'), 'shape': (1,)}")


def encrypted() -> bytes:
    """The flag of an encrypted member, in both places where it stands."""
    data = bytearray(member(SHORT))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def lzma(content: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", content)
    return whole.getvalue()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is no .npz archive"),
    "text": (b"hello, world", "it is no .npz archive; write it with numpy.savez"),
    "one array": (SHORT, "it is one array (.npy)"),
    "cut": (member(SHORT)[:60], "it is damaged"),
    "pickle": (member(OBJECTS), "array 'x' holds Python objects; save plain numbers"),
    "a lie": (member(HUGE), "array 'x' is damaged: 16,000,000,000,000 bytes are named, 0 there"),
    "short": (member(SHORT), "array 'x' is damaged: 16 bytes are named, 15 there"),
    "negative": (member(NEGATIVE), "array 'x' has a negative size"),
    "no size": (member(EMPTY), "array 'x' has values of no size"),
    "lzma": (lzma(SHORT), "array 'x' is not compressed as numpy does it"),
    "code": (member(ODD), "array 'x' is damaged"),
    "not an array": (member(b"hello", "x.npy"), "array 'x' is damaged"),
    "another file": (member(b"hello", "x.txt"), "'x.txt' in it is no array"),
    "control": (member(b"hello", "\x1b[31m"), "in it is no array"),
    "encrypted": (encrypted(), "array 'x' is damaged"),
    "version": (member(npy("{}", version=b"\x07\x07")), "array 'x' is"),
}


@pytest.mark.parametrize(("data", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_archives(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as caught:
        measure(tmp_path, both(), data)
    text = str(caught.value)
    assert said in text
    assert text.isprintable()
    assert len(text) < 400


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"{number}.npy", bytes(1 << 20))
    path = tmp_path / "bomb.npz"
    path.write_bytes(whole.getvalue())
    with pytest.raises(TaskError, match="its arrays take 5 MiB, and 4 MiB are the most"):
        arrays.read_npz(path, 4 << 20)


def test_too_many_arrays(tmp_path: Path) -> None:
    path = tmp_path / "many.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(arrays.MAX_ARRAYS + 1):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(TaskError, match="1001 files"):
        arrays.read_npz(path)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i8", "|b1", "<U3", "|S2", "<c8"])
def test_arrays_are_what_numpy_reads(dtype: str, order: Any, tmp_path: Path) -> None:
    given = np.array(np.arange(6).reshape(2, 3).astype(dtype), order=order)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=given, empty=np.zeros((0, 3), dtype), scalar=given[0, 0])
    found = arrays.read_npz(path)
    assert np.array_equal(found["x"], given)
    assert found["x"].dtype == given.dtype.newbyteorder("=")
    assert found["empty"].shape == (0, 3)
    assert found["scalar"].shape == ()


# the gate


ENTRY: dict[str, Any] = {
    "name": "first", "signature": "serve", "output": "y", "unit": "real", "samples": 4,
    "kind": "float", "finite": True, "equal": False, "sqnr": 30.0, "cosine": 0.999,
    "max_abs_error": 0.02, "max_range_error": 0.01,
}  # fmt: skip


def limit(**numbers: Any) -> GoldenLimits:
    """Limits by name: a number, or a number by optimization."""
    pairs = {n: v if isinstance(v, dict) else {"": v} for n, v in numbers.items()}
    exact = bool(pairs.pop("exact", None))
    return GoldenLimits(exact, tuple((n, tuple(v.items())) for n, v in pairs.items()))


def verdict(
    limits: GoldenLimits,
    outputs: Mapping[str, GoldenLimits] | None = None,
    tested: tuple[str, ...] = ("int8", "float32"),
    **numbers: Any,
) -> Verdict:
    test = Golden("first", "g.npz", 0, tested, limits, tuple((outputs or {}).items()))
    model = Model(
        "m", Source("keras", "m.keras"), (), (), golden=(test,), position=Position("t.yaml", 9, 3),
        positions={"validate.golden.first": Position("t.yaml", 12, 7)},
    )  # fmt: skip
    found = Findings()
    judge(found, {"golden": [{**ENTRY, **numbers}]}, model, Optimization("int8", "int8"))
    return found.verdict()


@pytest.mark.parametrize(
    ("limits", "outputs", "failed"),
    [
        (limit(max_abs_error=0.02), {}, []),
        (limit(max_abs_error=0.019), {}, ["golden.max_abs_error"]),
        (limit(max_abs_error={"float32": 1e-5, "int8": 0.05}), {}, []),
        (limit(max_abs_error={"float32": 1e-5, "int8": 0.01}), {}, ["golden.max_abs_error"]),
        (limit(sqnr=31, max_range_error=0.02), {}, ["golden.sqnr"]),
        (limit(cosine=0.9999), {}, ["golden.cosine"]),
        (limit(max_abs_error=0.01), {"y": limit(max_abs_error=0.1)}, []),
        (limit(exact=True), {}, ["golden.exact"]),
        (limit(exact=True), {"y": limit(max_abs_error=0.1)}, []),
        (limit(max_abs_error=0.1), {"y": limit(exact=True)}, ["golden.exact"]),
        (limit(max_abs_error={"float32": 1e-5}), {}, ["golden.limits"]),  # none for int8
        (limit(), {}, ["golden.limits"]),
    ],
)
def test_limits_of_a_golden_test(
    limits: GoldenLimits, outputs: dict[str, GoldenLimits], failed: list[str]
) -> None:
    told = verdict(limits, outputs)
    assert [f.check for f in told.failures] == failed
    assert [f.of for f in told.failures] == ["first/y"] * len(failed)
    assert len(told.checks) >= 1


def test_a_golden_without_limit_proposes_one() -> None:
    (failure,) = verdict(limit()).failures
    assert failure.message == (
        "t.yaml:12:7: golden 'first' has no limit for output 'y' of int8, which is off by 0.02:"
        " write max_abs_error: {int8: 0.04}"
    )
    (alone,) = verdict(limit(), tested=("int8",), max_abs_error=0.0, equal=True).failures
    assert alone.message.endswith("off by 0: write max_abs_error: 1e-6, or exact: true")
    # Not below what the last bits of a float32 do: here the output reaches over 0.5.
    (luck,) = verdict(limit(), max_abs_error=4e-13, max_range_error=8e-13).failures
    assert luck.message.endswith("off by 4e-13: write max_abs_error: {int8: 5e-07}")


def test_integers_and_text_are_exact_without_a_limit() -> None:
    steps = {"kind": "integer", "unit": "steps", "max_abs_error": 2.0}
    (failure,) = verdict(limit(), **steps).failures
    assert failure.message == (
        "output 'y' of golden 'first' differs from what was recorded by up to 2 steps"
    )
    assert verdict(limit(), kind="exact", equal=True).passed
    assert not verdict(limit(), kind="exact").passed
    assert verdict(limit(max_abs_error=2), **steps).passed
    (failure,) = verdict(limit(max_abs_error=1), **steps).failures
    assert "is 2 steps, above the limit 1 step" in failure.message


def test_limits_that_cannot_be_judged_are_errors() -> None:
    (text,) = verdict(limit(sqnr=3), kind="exact", equal=True).failures
    assert "`sqnr` has no effect: output 'y' is text" in text.message
    (constant,) = verdict(limit(max_range_error=1), max_range_error=None).failures
    assert "is not defined: what was recorded is constant; write max_abs_error" in constant.message
    (unknown,) = verdict(limit(max_abs_error=1), {"z": limit(exact=True)}).failures
    assert unknown.message.endswith("golden 'first' records no output 'z'; it has y")
    (nan,) = verdict(limit(max_abs_error=1), finite=False).failures
    assert nan.check == "golden.finite"


def test_a_file_that_was_not_run_skips_its_golden_tests() -> None:
    test = Golden("first", "g.npz", 0, ("int8",))
    model = Model("m", Source("keras", "m.keras"), (), (), golden=(test,))
    for name, skipped in (("int8", [None]), ("float32", [])):
        found = Findings()
        judge(found, {"golden": []}, model, Optimization(name))
        assert [check.passed for check in found.verdict().checks] == skipped
        assert found.verdict().passed


def test_a_miss_names_the_worst_samples() -> None:
    worst = [{"sample": 3, "max_abs_error": 0.02, "sqnr": 5.0}]
    (failure,) = verdict(limit(max_abs_error=0.01), worst_samples=worst).failures
    assert failure.message == (
        "max_abs_error of output 'y' of golden 'first' is 0.02, above the limit 0.01;"
        " worst: sample 3, off by 0.02"
    )
