from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tflite_models import two_in_two_out, variables

from tflbuild.micro.ops import BUILTIN, CUSTOM
from tflbuild.micro.resolver import OpUse, ops_of, resolver_header
from tflbuild.tflite.read import read_model

# The class as tflite-micro has it, with every method and nothing in it.
_STUB = """#pragma once
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
struct TFLMRegistration {};
#define TF_LITE_ENSURE_STATUS(a) \\
  do { const TfLiteStatus s = (a); if (s != kTfLiteOk) return s; } while (0)
namespace tflite {
template <unsigned N>
struct MicroMutableOpResolver {
  unsigned used = 0;
  TfLiteStatus Add() { return used++ < N ? kTfLiteOk : kTfLiteError; }
  TfLiteStatus AddCustom(const char*, const TFLMRegistration*) { return Add(); }
"""


def test_the_union_of_two_models() -> None:
    one, other = (read_model(m.pack()) for m in (two_in_two_out(), variables(initialized=True)))
    header = resolver_header([*ops_of(one), *ops_of(other)], "sensor")
    assert re.findall(r"resolver\.(\w+)\(", header) == [
        "AddAdd",
        "AddAssignVariable",
        "AddCallOnce",
        "AddFullyConnected",
        "AddReadVariable",
        "AddVarHandle",
    ]
    assert "using SensorOpResolver = tflite::MicroMutableOpResolver<6>;" in header
    assert "inline TfLiteStatus RegisterSensorOps(SensorOpResolver& resolver) {" in header
    assert header.count("TF_LITE_ENSURE_STATUS(") == 6


def test_the_order_and_number_of_uses_do_not_matter() -> None:
    ops = [OpUse("ADD"), OpUse("MUL"), OpUse("SignalRfft", "custom")]
    assert resolver_header(ops, "t") == resolver_header([*reversed(ops), *ops], "t")


def test_custom_operators_need_a_registration() -> None:
    with pytest.raises(ValueError, match="no kernel for Mine"):
        resolver_header([OpUse("Mine", "custom")], "t")
    with pytest.raises(ValueError, match="no C\\+\\+ function name"):
        resolver_header([OpUse("Mine", "custom")], "t", {"Mine": "f(); evil"})
    header = resolver_header([OpUse("Mine", "custom")], "t", {"Mine": "acme::Register_MINE"})
    assert "namespace acme { const TFLMRegistration* Register_MINE(); }" in header
    assert 'resolver.AddCustom("Mine", acme::Register_MINE())' in header


@pytest.mark.parametrize("op", [OpUse("POW"), OpUse("FlexErf", "select")])
def test_what_cannot_be_registered(op: OpUse) -> None:
    with pytest.raises(ValueError, match=op.name):
        resolver_header([op], "t", {op.name: "Register"})


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_it_compiles_and_registers_all(tmp_path: Path) -> None:
    odd = 'A"\\??/\x01' + "1é"
    ops = [OpUse(name) for name in BUILTIN] + [OpUse(name, "custom") for name in (*CUSTOM, odd)]
    (tmp_path / "r.h").write_text(resolver_header(ops, "9.sensor", {odd: "a::b::Register"}))
    methods = [k.add for k in (*BUILTIN.values(), *CUSTOM.values())]
    lines = "".join(f"  TfLiteStatus {m}() {{ return Add(); }}\n" for m in methods)
    for name, text in {
        "c/common.h": "#pragma once\n",
        "micro/micro_mutable_op_resolver.h": f"{_STUB}{lines}}};\n}}\n",
    }.items():
        path = tmp_path / "tensorflow/lite" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    header = (tmp_path / "r.h").read_text()
    kind = re.findall(r"using (\w+) =", header)[0]
    register = re.findall(r"TfLiteStatus (Register\w+)\(", header)[0]
    (tmp_path / "main.cc").write_text(
        '#include "r.h"\n#include "r.h"\n'
        "namespace a { namespace b { const TFLMRegistration* Register() { return nullptr; } } }\n"
        f"int main() {{ {kind} r; return {register}(r) == kTfLiteOk && r.used == {len(ops)}"
        " ? 0 : 1; }\n"
    )
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I.", "-o", "main", "main.cc"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0
