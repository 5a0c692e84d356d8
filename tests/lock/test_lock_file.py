"""`tflbuild.lock`: what is written is read, and nothing else is."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tflbuild import lockfile
from tflbuild.errors import EXIT_USAGE, UsageError
from tflbuild.lockfile import LOCK, Locked, metric_key, parse, read, rounded, text

TENSOR = {"name": "x", "shape": [-1, 28], "dtype": "int8", "scale": [0.1], "zero_point": [3]}
INTERFACE = {
    "signatures": [{"name": "serve", "main": True, "inputs": [TENSOR], "outputs": []}],
}


def locked(artifact: str = "kws:int8@litert", **changed: Any) -> Locked:
    made = Locked(
        artifact=artifact,
        recipe="a1" * 32,
        toolchain={"tensorflow": "2.21.0", "python": "3.11"},
        sha256="b2" * 32,
        size=1234,
        min_runtime={"tensorflow": "2.3.0"},
        interface=INTERFACE,
        metrics={"accuracy": 0.9123},
        parity={"y": 31.41},
    )
    return replace(made, **changed)


def several(*artifacts: str) -> dict[str, Locked]:
    return {name: locked(name) for name in artifacts}


MANY = several("a:int8@litert", "a:float32@litert", "a-b:int8@litert", "b:int8@phone", "b:int8@p.q")


def message(data: bytes) -> str:
    with pytest.raises(UsageError) as caught:
        parse(data)
    assert caught.value.exit_code == EXIT_USAGE
    (line,) = str(caught.value).splitlines()
    return line


def test_what_is_written_is_read() -> None:
    assert parse(text(MANY).encode()) == MANY
    assert list(parse(text(MANY).encode())) == sorted(MANY)
    assert parse(text({}).encode()) == {}


def test_random_values_are_read_as_written() -> None:
    chosen = random.Random(0)

    def name(length: int = 9) -> str:
        return chosen.choice("abcXYZ09") + "".join(
            chosen.choice("abz09_.") for _ in range(chosen.randrange(length))
        ).replace(".", "_")

    for _ in range(200):
        values = {}
        for _ in range(chosen.randrange(6)):
            artifact = f"{name()}:{name()}@{name()}"
            tensor = {
                "name": chosen.choice(["", "x", "\n", "é", '"', "\ud800", "<<<<<<<", "y" * 500]),
                "shape": [chosen.randrange(-1, 9) for _ in range(chosen.randrange(5))],
                "dtype": "float32",
                "scale": [chosen.uniform(0, 1), "nan"],
                "zero_point": [chosen.randrange(-128, 128)] * 2,
                "axis": 1,
            }
            side = [tensor] * chosen.randrange(4)
            entry = {"name": name(), "main": True, "inputs": side, "outputs": side}
            numbers = {name(): rounded(chosen.uniform(-1e9, 1e9)) for _ in range(3)}
            values[artifact] = locked(
                artifact, interface={"signatures": [entry]}, metrics=numbers, parity=numbers
            )
        data = text(values).encode("ascii")
        assert parse(data) == values
        assert text(parse(data)).encode() == data


def test_lines_are_sorted_one_for_each_artifact_and_models_stand_apart() -> None:
    lines = text(MANY).split("\n")
    assert lines[0] == '{"tflbuild.lock":1}'
    assert lines[-1] == ""
    own = [line for line in lines[1:-1] if line]
    assert own == sorted(own)
    assert [parse("\n".join([lines[0], line]).encode()) for line in own] == [
        {name: MANY[name]} for name in sorted(MANY)
    ]
    assert lines.count("") == 3  # between three models, and the final newline
    assert all(line.isascii() for line in own)


def test_the_order_of_lines_and_empty_ones_do_not_matter() -> None:
    lines = text(MANY).split("\n")
    assert parse("\n".join([lines[0], "", *reversed(lines[1:])]).encode()) == MANY
    assert parse(text(MANY).replace("\n", "\r\n").encode()) == MANY  # autocrlf of git


def test_any_changed_byte_is_noticed_or_changes_nothing() -> None:
    values = several("a:int8@litert", "b:int8@litert")
    data = text(values).encode()
    chosen = random.Random(1)
    unnoticed, said = 0, []
    for index in range(len(data)):
        for byte in {0, 10, 32, 255, data[index] ^ 1, chosen.randrange(256)} - {data[index]}:
            other = bytearray(data)
            other[index] = byte
            try:
                assert parse(bytes(other)) == values, (index, byte)
                unnoticed += 1
            except UsageError as error:
                said.append(str(error))
    assert all(one.startswith(f"{LOCK}:") and len(one.splitlines()) == 1 for one in said)
    assert unnoticed < len(data) // 10


def test_any_cut_is_noticed_or_leaves_whole_lines() -> None:
    values = several("a:int8@litert", "b:int8@litert")
    data = text(values).encode()
    for end in range(len(data)):
        try:
            found = parse(data[:end])
        except UsageError:
            continue
        assert found in ({}, {"a:int8@litert": values["a:int8@litert"]}, values)


def test_an_edited_number_is_noticed() -> None:
    data = text({"kws:int8@litert": locked()}).replace('"accuracy":0.9123', '"accuracy":0.5123')
    assert message(data.encode()) == (
        "tflbuild.lock:2: not as `tflbuild lock --update` wrote it (its digest is another):"
        " restore the line from git, or remove it and build, and run `tflbuild lock --update`"
    )


def test_a_number_that_no_float_holds() -> None:
    data = text({"kws:int8@litert": locked()})
    large = data.replace('"accuracy":0.9123', '"accuracy":1' + "0" * 400)
    assert large != data
    assert message(large.encode()).startswith("tflbuild.lock:2: not as")


def test_a_conflict_of_a_merge() -> None:
    lines = text({"kws:int8@litert": locked()}).splitlines()
    mark = [lines[0], "<<<<<<< HEAD", lines[1], "=======", lines[1], ">>>>>>> branch", ""]
    said = message("\n".join(mark).encode())
    assert said.startswith("tflbuild.lock:2: a conflict of a merge: take one side")
    assert "tflbuild lock --update" in said


def test_both_sides_of_a_union_merge() -> None:
    one, two = (text({"kws:int8@litert": locked(size=size)}).splitlines() for size in (1, 2))
    said = message("\n".join([*one, two[1], ""]).encode())
    assert said.startswith("tflbuild.lock:3: kws:int8@litert stands in line 2 already; remove one")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", ":1: damaged"),
        (b"hello\n", ":1: damaged"),
        (b"{}\n", ':1: expected {"tflbuild.lock":1}'),
        (b"[1]\n", ":1: expected"),
        (b'{"tflbuild.lock":true}\n', ":1: expected"),
        (b'{"tflbuild.lock":2}\n', ":1: format 2, and this tflbuild knows 1"),
        (b'{"tflbuild.lock":1}\n[]\n', ":2: not as"),
        (b'{"tflbuild.lock":1}\n{}\n', ":2: not as"),
        (b'{"tflbuild.lock":1}\n\xff\n', ":2: damaged"),
        (b'{"tflbuild.lock":1}\n' + b"[" * 200_000 + b"\n", ":2: damaged"),
        (b'{"tflbuild.lock":1}\n' + b"9" * 9000 + b"\n", ":2: damaged"),
        (b"\xef\xbb\xbf" + b'{"tflbuild.lock":1}\n', ":1: damaged"),
    ],
)
def test_other_files(data: bytes, said: str) -> None:
    assert said in message(data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"artifact": "kws"}, {"recipe": "a"}, {"sha256": 3}, {"size": -1}, {"size": True},
        {"toolchain": {"a": 1}}, {"toolchain": []}, {"min_runtime": {"litert": None}},
        {"metrics": {"a": "b"}}, {"parity": [1]}, {"interface": {}}, {"interface": None},
        {"interface": {"signatures": [{**INTERFACE["signatures"][0], "inputs": [{"name": 1}]}]}},
        {"interface": {"signatures": [{**INTERFACE["signatures"][0], "main": 1}]}},
        {"interface": {"signatures": [{**INTERFACE["signatures"][0], "inputs": [
            {**TENSOR, "shape": "x"}]}]}},
    ],
)  # fmt: skip
def test_values_of_another_kind_with_a_digest_that_fits(wrong: dict[str, Any]) -> None:
    value = locked(**wrong)
    data = f"{text({})}{lockfile.line(value)}\n"
    assert ":2: not as `tflbuild lock --update` wrote it" in message(data.encode())


def test_no_number_that_json_has_not() -> None:
    with pytest.raises(ValueError, match="JSON"):
        text({"a:b@c": locked("a:b@c", metrics={"accuracy": float("nan")})})


def test_files(tmp_path: Path) -> None:
    assert read(tmp_path) == {}
    (tmp_path / LOCK).write_text(text(MANY))
    assert read(tmp_path) == MANY
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).symlink_to("nowhere")
    with pytest.raises(UsageError, match="symbolic link"):
        read(tmp_path)
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path)


def test_what_a_metric_is_called() -> None:
    assert metric_key("serve", "accuracy", several=False) == "accuracy"
    assert metric_key("serve", "accuracy", several=True) == "serve/accuracy"
    assert [rounded(x) for x in (0.912345, 31.4159, 123456.0, 0.0)] == [0.9123, 31.42, 123500, 0]


def test_git_merges_changes_of_different_models(tmp_path: Path) -> None:
    names = [f"{m}:{o}@litert" for m in ("a", "b", "c") for o in ("float32", "int8")]
    base = several(*names)
    ours = {**base, "a:int8@litert": locked("a:int8@litert", size=7)}
    theirs = {**base, "b:float32@litert": locked("b:float32@litert", size=9)}
    theirs["b:new@litert"] = locked("b:new@litert")
    for name, value in (("base", base), ("ours", ours), ("theirs", theirs)):
        (tmp_path / name).write_text(text(value))
    done = subprocess.run(
        ["git", "merge-file", "-p", "ours", "base", "theirs"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert parse(done.stdout) == {**theirs, "a:int8@litert": ours["a:int8@litert"]}


def test_is_cheap_for_the_parent() -> None:
    heavy = "('numpy', 'flatbuffers', 'jsonschema', 'yaml')"
    code = f"import sys, tflbuild.lockfile; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
