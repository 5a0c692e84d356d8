from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tflbuild.micro.c_array import c_array, identifier

DATA = bytes(range(256)) * 3 + b"TFL3"


def test_the_bytes_come_back() -> None:
    source = c_array(DATA, "kws-int8")["kws-int8.cc"]
    body = source[source.index("{") : source.index("}")]
    assert bytes(int(n, 16) for n in re.findall(r"0x(..),", body)) == DATA
    assert f"const std::size_t g_kws_int8_model_data_len = {len(DATA)};" in source
    assert "alignas(16) const unsigned char g_kws_int8_model_data[] = {" in source


def test_the_header() -> None:
    header = c_array(DATA, "kws-int8")["kws-int8.h"]
    guard = "TFLBUILD_kws_int8_MODEL_DATA_H_".upper()
    assert header.startswith(f"#ifndef {guard}\n#define {guard}\n")
    assert "extern const unsigned char g_kws_int8_model_data[];" in header
    assert header.endswith(f"#endif  // {guard}\n")


def test_the_same_text_for_the_same_bytes() -> None:
    assert c_array(DATA, "a-b") == c_array(bytearray(DATA), "a-b")


_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(_NAMES, _NAMES)
def test_each_name_has_an_identifier_of_its_own(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", identifier(one))
    assert (identifier(one) == identifier(other)) == (one == other)


@pytest.mark.parametrize(
    "names", [("a_b-c", "a-b-c"), ("a.b", "a-b"), ("a--b", "a-b"), ("a-", "a")]
)
def test_names_that_look_alike(names: tuple[str, str]) -> None:
    assert identifier(names[0]) != identifier(names[1])


def test_any_text_is_a_name() -> None:
    assert re.fullmatch(r"\w+", identifier("é?*/\n"), re.ASCII)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_it_compiles(tmp_path: Path) -> None:
    for name, text in c_array(DATA, "9.kws-int8").items():
        (tmp_path / name).write_text(text)
    part = identifier("9.kws-int8")
    (tmp_path / "main.cc").write_text(
        '#include "9.kws-int8.h"\n#include "9.kws-int8.h"\n#include <cstdint>\nint main() {\n'
        f"  const auto at = reinterpret_cast<std::uintptr_t>(g_{part}_model_data);\n"
        f"  if (at % 16 || g_{part}_model_data_len != {len(DATA)}) return 1;\n"
        f"  return g_{part}_model_data[255] == 255 ? 0 : 1;\n}}\n"
    )
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-o", "main", "main.cc"]
    subprocess.run([*command, "9.kws-int8.cc"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0
