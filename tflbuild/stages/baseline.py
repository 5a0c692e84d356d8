"""baseline: the outputs of the float file, once for all quantized files of a model.

Outputs: `baseline.json` and `output.<n>.npy`, as of `reference`, from evaluate's `float.tflite`.
validate tells with them what the conversion to float did to an output and what quantization did.
Where the float file cannot be run, `problem` says why, and nothing else fails by it: it is not
what is released.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tflbuild import data
from tflbuild.data_errors import declared, found_in
from tflbuild.errors import TaskError, one_line
from tflbuild.kernels import Kernels
from tflbuild.limits import limit_action
from tflbuild.stages.base import Request
from tflbuild.validation.comparing import file_chunks, opener, save_outputs, unit_of
from tflbuild.validation.file import File
from tflbuild.validation.running import Chunk, Crew, Evidence, Phase, cut, die_like, die_with

VERSION = 1
MODULES: tuple[str, ...] = ("numpy", "ai_edge_litert")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.stages.guard import guarded_group
    from tflbuild.tflite.read import read_model

    limit_action(request.inputs.values())
    signatures = request.read_json("interface.json")["signatures"]
    kernels = Kernels.of(request)
    model = read_model(request.inputs["float.tflite"].read_bytes())
    if problem := kernels.missing(model):
        _problem(request, problem)
        return
    samples = []
    for index, own in enumerate(signatures):
        several = own["signature"] if len(signatures) > 1 else None
        with declared("test", found_in(request.params, index), several):
            files = request.files(f"test.{index}")
            samples.append(data.load(request.params["test"][index], files, own["inputs"], "test"))
    limit_action(request.inputs.values())  # of which the data are mapped by now
    if kernels.elsewhere(model):
        guarded_group()
    sys.stdout.flush()
    own = os.getpid()
    pid = os.fork()  # the file may crash its process
    if pid == 0:
        try:
            die_with(own)
            _run(request, signatures, samples, kernels)
        finally:
            os._exit(70)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code in (-signal.SIGKILL, -signal.SIGTERM, 70):  # somebody ended it, or a fault of ours
        die_like(code)
    if code:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        _problem(request, f"the float file crashes the interpreter ({how})")


def _problem(request: Request, said: str) -> None:
    for path in request.out.iterdir():
        path.unlink()
    request.write_json("baseline.json", {"problem": said, "signatures": []})


def _run(
    request: Request,
    signatures: Sequence[Mapping[str, Any]],
    samples: Sequence[data.Samples],
    kernels: Kernels,
) -> None:
    """In a process of its own; it ends with 0 where baseline.json is written."""
    import traceback

    try:
        try:
            described = _measured(request, signatures, samples, kernels)
            request.write_json("baseline.json", {"problem": "", "signatures": described})
        except (TaskError, MemoryError) as error:
            _problem(request, one_line(error) if isinstance(error, TaskError) else "out of memory")
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return
    sys.stdout.flush()
    os._exit(0)


def _measured(
    request: Request,
    signatures: Sequence[Mapping[str, Any]],
    samples: Sequence[data.Samples],
    kernels: Kernels,
) -> list[dict[str, Any]]:
    sequences = request.params["sequences"]
    openers = [
        opener(request.inputs["float.tflite"], own, sequences[index], kernels,
               request.out.parent / f"elsewhere.{index}")
        for index, own in enumerate(signatures)
    ]  # fmt: skip

    def opened(number: int) -> Phase:
        return _phase(openers[number](), number, samples[number], signatures[number], sequences)

    described, count = [], 0
    most = max(len(cut(own.count, own.sample_bytes())) for own in samples)
    with Crew(request) as crew:
        crew.fork(most, opened)
        for index, own in enumerate(signatures):
            chunks = crew.run(opened(index))
            assert chunks is not None
            scratch = request.out.parent / f"outputs.{index}"
            arrays = (chunk.arrays for chunk in chunks)
            entries = save_outputs(request.out, scratch, arrays, count)
            count += len(entries)
            described.append({"signature": own["signature"], "outputs": entries})
    return described


def _phase(
    file: File,
    number: int,
    samples: data.Samples,
    interface: Mapping[str, Any],
    sequences: Sequence[Mapping[str, Any] | None],
) -> Phase:
    step, unit = unit_of(samples, interface["inputs"], sequences[number])

    def work(chunk: Chunk) -> Evidence:
        outputs = file.run(samples.part(chunk.start, chunk.stop), chunk.start // step)
        samples.release()
        return Evidence(None, outputs)

    shown = file.output_bytes() / step * samples.count
    chunks = file_chunks(file, samples, shown, unit)
    return Phase(number, chunks, work, resumable=file.cuttable)
