"""emit: a released file in other forms, for those who cannot read a `.tflite` file.

Outputs: for `c_array`, a header and a source file that hold the model's bytes. They lie beside
the `.tflite` file in `dist/`, under its name.
"""

from __future__ import annotations

from tflbuild.stages.base import Request

VERSION = 1
MODULES: tuple[str, ...] = ()
ZYGOTE = "lite"


def run(request: Request) -> None:
    data = request.inputs["model.tflite"].read_bytes()
    for form in request.params["formats"]:
        for name, text in FORMATS[form](data, request.params["name"]).items():
            (request.out / name).write_text(text)


def c_array(data: bytes, name: str) -> dict[str, str]:
    from tflbuild.micro import c_array

    return c_array.c_array(data, name)


FORMATS = {"c_array": c_array}
