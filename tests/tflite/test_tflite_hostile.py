"""Whatever a file holds, asking what it is ends in an answer or in one line."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_models as make
from ai_edge_litert import schema_py_generated as s
from hostile import SOUND, crashing, labelled, mutated

from tflbuild.engine.inspect import Inspected
from tflbuild.errors import TflbuildError
from tflbuild.gates import compat_gate
from tflbuild.inspection import PARTS, loading
from tflbuild.kernels import Kernels
from tflbuild.loading import crashes, load_problem
from tflbuild.manifest.load import BUILT_IN
from tflbuild.reporting.inspected import print_inspected
from tflbuild.tflite.digest import describe
from tflbuild.tflite.read import InvalidModel, read_model
from tflbuild.tflite.signature import interfaces_of
from tflbuild.tflite.write import rewrite

ESCAPE = "\x1b]0;title\x07\x1b[31m[red]"


def measured(data: bytes, runtime: str | None = None) -> dict[str, Any]:
    """As `inspection.measure`, without the interpreter."""
    model = read_model(data)
    report = {**describe(model), "runtime": runtime, "problem": "", "loads": True}
    for part in PARTS:
        if not part.runtimes or runtime in part.runtimes:
            report[part.key] = part.measure(model, data)
    rewrite(data, interfaces=interfaces_of(model))
    return report


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_damaged_files(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    sound: list[Inspected] = []
    damages, said = set(), []
    for damage, data in mutated(seed, 700):
        try:
            report = measured(data)
        except TflbuildError as error:
            said.append(str(error))
            damages.add(damage)
            continue
        json.dumps(report, allow_nan=False)
        sound.append(Inspected(damage, report, compat_gate(report, BUILT_IN["litert"], None)))
    assert all(line.isprintable() and len(line) < 2000 for line in said)
    assert len(damages) == 9  # each kind was found out at times
    assert 100 < len(sound) < 600
    print_inspected(sound[::8], BUILT_IN["litert"], full=True)
    print_inspected(sound[::4], None)
    assert capsys.readouterr().out.replace("\n", "").isprintable()


@pytest.mark.parametrize("data", SOUND)
def test_the_files_that_the_damaged_ones_are_made_from_are_sound(data: bytes) -> None:
    model = read_model(data)
    assert describe(model)["ops"]
    for part in PARTS:
        part.measure(model, data)


def test_a_strangers_text_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    maker = make.two_in_two_out()
    maker.model.description = ESCAPE.encode()
    maker.model.signatureDefs[0].inputs[0].name = (ESCAPE + "é" * 10_000).encode()
    report = measured(make.pack(maker.model))
    print_inspected([Inspected(f"a{ESCAPE}.tflite", report)], None)
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "[red]" in out  # as text
    assert len(out) < 10_000


def huge(shape: tuple[int, ...]) -> bytes:
    maker = make.Maker()
    graph = maker.graph()
    x, y = graph.tensor("x", shape), graph.tensor("y", shape)
    graph.op(make.OP.ABS, [x], [y], s.AbsOptionsT())
    graph.io([x], [y])
    return maker.pack()


def test_a_file_that_crashes_the_runtime_is_one_line() -> None:
    data = crashing()
    problem = load_problem(data, read_model(data))
    assert problem == "it crashes the runtime (signal 11, SIGSEGV)"
    assert crashes(problem)
    assert not crashes(load_problem(SOUND[0], read_model(SOUND[0])))


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (lambda: os.abort(), "it crashes the runtime (signal 6, SIGABRT)"),
        (lambda: os._exit(3), "it crashes the runtime (it ended with status 3)"),
        (lambda: os.kill(os.getpid(), signal.SIGXCPU), "the runtime takes longer than 120 s"),
        (lambda: os.kill(os.getpid(), 50), "it crashes the runtime (signal 50)"),
        (lambda: bytes(1 << 40), "out of memory"),
        (lambda: [][1], "the runtime fails: IndexError"),
    ],
)
def test_however_it_ends(
    end: Callable[[], object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interpreter:
        def __init__(self, **_: object) -> None:
            end()

    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter", Interpreter)
    assert load_problem(SOUND[0], read_model(SOUND[0])).startswith(says)


@pytest.mark.parametrize("shape", [(2**31 - 1, 2**6), (2**20, 2**14), (2**31 - 1,) * 3])
def test_claimed_memory_is_not_taken(shape: tuple[int, ...]) -> None:
    data = huge(shape)
    problem = load_problem(data, read_model(data))
    assert "its tensors take" in problem or "overflowed" in problem


def test_it_is_refused_for_what_it_is_not_for_what_it_claims() -> None:
    assert load_problem(huge((2**20, 2**6)), read_model(huge((2**20, 2**6)))) == ""  # 512 MB


def sized(shape: tuple[int, ...], signature: tuple[int, ...], kernel: int = 3) -> bytes:
    """A convolution without padding, which takes nothing smaller than its kernel."""
    maker = make.Maker()
    graph = maker.graph()
    x = graph.tensor("x", shape, shapeSignature=np.array(signature, "<i4"))
    w = graph.weight("w", (2, kernel, kernel, 3))
    b = graph.weight("b", (2,))
    y = graph.tensor("y", (1, 1, 1, 2), shapeSignature=np.array((1, -1, -1, 2), "<i4"))
    options = s.Conv2DOptionsT()
    options.padding, options.strideW, options.strideH = s.Padding.VALID, 1, 1
    graph.op(make.OP.CONV_2D, [x, w, b], [y], options)
    graph.io([x], [y])
    return maker.pack()


def asked(data: bytes) -> dict[str, Any]:
    return loading(data, read_model(data), Kernels())


def test_shapes_that_the_app_sets_are_tried() -> None:
    told = asked(sized((1, 1, 1, 3), (-1, -1, -1, 3)))
    assert told == {
        "loads": True, "problem": "", "not_loaded": "", "loaded_at": {"x": [1, 8, 8, 3]},
    }  # fmt: skip
    assert asked(sized((1, 1, 1, 3), (1, -1, -1, 3), 40))["loaded_at"] == {"x": [1, 224, 224, 3]}
    assert asked(sized((1, 9, 9, 3), (1, 9, -1, 3)))["loaded_at"] is None  # as the file has it


def test_where_no_size_can_be_allocated_the_app_may_know_one() -> None:
    told = asked(sized((1, 1, 1, 3), (1, -1, -1, 3), 300))
    assert (told["loads"], told["problem"], told["loaded_at"]) == (False, "", None)
    assert told["not_loaded"].startswith(
        "its shapes are set by the app, and no size that was tried (1, 8, 32, 224) can be allocated"
    )
    for signature in ((1, 1, 1, 3), (-1, 1, 1, 3)):  # nothing is open but the batch
        refused = asked(sized((1, 1, 1, 3), signature))
        assert refused["problem"]
        assert not refused["not_loaded"]


def zipped(central: bytes = b"", end: bytes = b"") -> bytes:
    """The labelled file with other bytes at the place of its zip's end."""
    data = labelled()
    cut = data.rindex(b"PK\x05\x06")
    return data[:cut] + central + (end or data[cut:])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (zipped(end=b"PK\x05\x06" + struct.pack("<4H2LH", 1, 1, 9, 9, 46, 10, 0)), ""),
        (zipped(end=b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 9, 9, 2**31, 10, 0)), "zip"),
        (zipped(central=b"PK\x01\x02" + b"\xff" * 42), "zip"),
    ],
)
def test_a_damaged_zip_is_told(data: bytes, problem: str) -> None:
    notes = measured(data)["notes"]
    assert notes["name"] == "hand made"
    if problem:
        assert problem in notes["problem"]


def test_a_zip_that_unfolds_without_end_is_not_unfolded() -> None:
    import io
    import zipfile

    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(80 * 1024 * 1024))
    plain = labelled()[: labelled().index(b"PK\x03\x04")]
    assert "larger than" in measured(plain + bomb.getvalue())["notes"]["problem"]


def test_random_bytes_as_metadata() -> None:
    from tflbuild.tflite import metadata

    r = random.Random(0)
    good = bytearray(metadata.pack(metadata.ModelNotes([metadata.TensorNotes("x")], [], "n")))
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(r.randint(1, 4)):
            data[r.randrange(len(data))] = r.randrange(256)
        try:
            json.dumps(metadata.read(bytes(data)), allow_nan=False)
        except InvalidModel as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_an_action_gets_half_of_the_machine_and_room_for_its_data(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(1 << 20))
    program = """
import os, resource, sys
from pathlib import Path
from tflbuild.limits import limit_action, limit_memory
limit_action([Path(sys.argv[1])])
half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
assert half < soft < 2 * half + (1 << 30), (half, soft)
limit_memory(1 << 26)  # a second one counts from now
bytearray(1 << 24)
try:
    bytearray(1 << 27)
except MemoryError:
    print("bounded")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("bounded\n", "")
