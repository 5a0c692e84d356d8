"""A file as a C++ array, to be linked into firmware."""

from __future__ import annotations

import hashlib
import re

_COLUMNS = 12
_CLEAR = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


def identifier(name: str) -> str:
    """Part of a C++ identifier from any name, another one for each name.

    `-` becomes `_`. A name with other characters could then be taken for another one's, or hold
    what C++ reserves (`__`): it gets the start of its SHA-256 behind.
    """
    if _CLEAR.fullmatch(name):
        return name.replace("-", "_")
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    return f"{plain or 'model'}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def c_array(data: bytes, name: str) -> dict[str, str]:
    """{"<name>.h": …, "<name>.cc": …}: the file as `g_<identifier>_model_data`, aligned to 16
    bytes as the runtime asks, and its length `g_<identifier>_model_data_len`. The same bytes and
    name give the same text.

    Args:
        data: a `.tflite` file.
        name: of the files without ending, as it shall be found by `#include`.
    """
    part = identifier(name)
    symbol, guard = f"g_{part}_model_data", f"TFLBUILD_{part.upper()}_MODEL_DATA_H_"
    header = (
        f"#ifndef {guard}\n#define {guard}\n\n"
        "// A TensorFlow Lite model, made by tflbuild. Do not edit.\n\n"
        "#include <cstddef>\n\n"
        f"extern const unsigned char {symbol}[];\n"
        f"extern const std::size_t {symbol}_len;  // bytes\n\n"
        f"#endif  // {guard}\n"
    )
    # An empty array is no C++; a model is never empty.
    lines = (_line(data[i : i + _COLUMNS]) for i in range(0, len(data) or 1, _COLUMNS))
    source = (
        f'#include "{name}.h"\n\n'
        f"alignas(16) const unsigned char {symbol}[] = {{\n" + "".join(lines) + "};\n\n"
        f"const std::size_t {symbol}_len = {len(data)};\n"
    )
    return {f"{name}.h": header, f"{name}.cc": source}


def _line(data: bytes) -> str:
    return "    " + " ".join(f"0x{byte:02x}," for byte in data or b"\0") + "\n"
