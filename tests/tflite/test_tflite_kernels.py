"""Kernels out of a shared library, given to LiteRT's interpreter by a delegate of no nodes."""

from __future__ import annotations

import ctypes
import gc
import struct
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from foreign_models import compile_library
from tflite_models import Maker

from tflbuild import inspection
from tflbuild.errors import TaskError
from tflbuild.foreign.custom_ops import CustomOps, LibraryError, registrations
from tflbuild.kernels import Kernels, load_flex
from tflbuild.tflite.read import read_model

HEADER = Path(__file__).resolve().parents[2] / "examples/custom_op/tflite_kernel.h"
# y = x * factor, with the factor in the op's options.
SOURCE = f"""
#include "{HEADER}"
#include <stdlib.h>
#include <string.h>
static int alive = 0;
static void* Init(TfLiteContext*, const char* buffer, size_t length) {{
  void* factor = malloc(length);
  memcpy(factor, buffer, length);
  ++alive;
  return factor;
}}
static void Free(TfLiteContext*, void* data) {{ free(data); --alive; }}
static TfLiteStatus Prepare(TfLiteContext* c, TfLiteNode* node) {{
  if (*static_cast<float*>(node->user_data) == 0) {{
    c->ReportError(c, "Scale by zero");
    return kTfLiteError;
  }}
  return kTfLiteOk;
}}
static TfLiteStatus Invoke(TfLiteContext* c, TfLiteNode* node) {{
  const TfLiteTensor& x = c->tensors[node->inputs->data[0]];
  float* y = c->tensors[node->outputs->data[0]].data.f;
  for (size_t i = 0; i < x.bytes / 4; ++i)
    y[i] = x.data.f[i] * *static_cast<float*>(node->user_data);
  return kTfLiteOk;
}}
extern "C" TfLiteRegistration* Register_SCALE() {{
  static TfLiteRegistration r = {{Init, Free, Prepare, Invoke}};
  return &r;
}}
extern "C" int Alive() {{ return alive; }}
extern "C" TfLiteRegistration* Register_NOTHING() {{
  static TfLiteRegistration r = {{}};
  return &r;
}}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "scale.cc").write_text(SOURCE)
    compile_library(folder / "scale.cc", folder / "libscale.so")
    return folder / "libscale.so"


def scaled(*factors: float) -> bytes:
    """A file that scales x of [1, 4] by one factor after the other, with an ADD at the end."""
    maker = Maker()
    graph = maker.graph()
    x = start = graph.tensor("x", (1, 4))
    for index, factor in enumerate(factors):
        out = graph.tensor(f"scaled{index}", (1, 4))
        options = np.frombuffer(struct.pack("<f", factor), np.uint8)
        graph.op(32, [x], [out], custom="Scale", customOptions=options)
        x = out
    y = graph.tensor("y", (1, 4))
    graph.op(0, [x, start], [y])
    graph.io([start], [y])
    return maker.pack()


def kernels(library: Path | None, register: str = "Register_SCALE") -> Kernels:
    return Kernels({"Scale": register}, library)


def test_each_node_has_its_own_state(library: Path) -> None:
    data = scaled(2.0, 3.0, 0.5)
    given = kernels(library).delegates(read_model(data))
    interpreter = Interpreter(model_content=data, num_threads=1, experimental_delegates=given)
    interpreter.allocate_tensors()
    alive = ctypes.CDLL(str(library)).Alive
    assert alive() == 3
    for value in (1.0, -4.0):
        interpreter.set_tensor(0, np.full((1, 4), value, np.float32))
        interpreter.invoke()
        y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_array_equal(y, np.full((1, 4), 4 * value, np.float32))
    del interpreter, y
    gc.collect()
    assert alive() == 0


def test_what_compat_says(library: Path) -> None:
    data = scaled(2.0)
    model = read_model(data)
    assert inspection.loading(data, model, kernels(library)) == {
        "loads": True, "problem": "", "not_loaded": "", "loaded_at": None,
    }  # fmt: skip
    told = inspection.loading(data, model, kernels(None))
    assert told["not_loaded"] == "its custom ops Scale have no kernels here"
    assert not told["loads"]
    assert not told["problem"]
    refused = scaled(0.0)
    told = inspection.loading(refused, read_model(refused), kernels(library))
    assert "Scale by zero" in told["problem"]


def test_other_ops_stay_unresolved(library: Path) -> None:
    addresses = registrations(str(library), {"Other": "Register_SCALE"})
    interpreter = Interpreter(
        model_content=scaled(2.0), experimental_delegates=[CustomOps(addresses)]
    )
    with pytest.raises(RuntimeError, match="unresolved custom op: Scale"):
        interpreter.allocate_tensors()


def test_functions_that_are_none(library: Path, tmp_path: Path) -> None:
    with pytest.raises(
        LibraryError, match=r'has no function Missing for the op Scale: .*extern "C"'
    ):
        registrations(str(library), {"Scale": "Missing"})
    with pytest.raises(LibraryError, match="whose invoke is set"):
        registrations(str(library), {"Scale": "Register_NOTHING"})
    text = tmp_path / "libtext.so"
    text.write_text("no library")
    with pytest.raises(TaskError, match=r"library .*libtext\.so: cannot be loaded: .*too short"):
        kernels(text).delegates(read_model(scaled(1.0)))


def test_flex_libraries_that_are_none(library: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="holds no Flex delegate: it exports neither"):
        load_flex(library)
    text = tmp_path / "libflex.so"
    text.write_text("no library")
    with pytest.raises(TaskError, match="flex_library cannot be loaded"):
        load_flex(text)


def test_what_runs_a_file(library: Path) -> None:
    maker = Maker()
    graph = maker.graph()
    x, y, z = (graph.tensor(name, (1, 4)) for name in "xyz")
    graph.op(32, [x], [y], custom="FlexErf")
    graph.op(32, [y], [z], custom="Scale")
    graph.io([x], [z])
    model = read_model(maker.pack())
    builtin = read_model(scaled())
    assert Kernels().runner(builtin) == "LiteRT"
    assert kernels(library).runner(model) == "nothing"
    assert "select TF ops FlexErf need the Flex delegate" in kernels(library).missing(model)
    python = Kernels({"Scale": "R"}, library, python="/p", validator={"tensorflow": "2.18.1"})
    assert python.elsewhere(model)
    assert not python.elsewhere(builtin)
    assert python.runner(model) == "TensorFlow 2.18.1 (validator), library"
    flex = Kernels({"Scale": "R"}, library, flex_library=library)
    assert flex.runner(model) == "LiteRT, flex_library, library"
    assert Kernels(python="/p").missing(model) == "its custom ops Scale have no kernels here"
