"""Are the default limits of parity right for the models at hand?

    python benchmarks/parity_table.py [--folder FOLDER] [--catalog] [--mlperf FOLDER]

Builds every model at hand with every row of the table (`tflbuild/parity_gate.py`), and prints the
measured numbers of each row beside its limits; then files that are broken on purpose, and whether
the limits catch them. What is at hand: the digits example (real data), the MLPerf Tiny models where
`../shared/models/mlperf-tiny` is (photographs for the two that see, made-up data of the usual range
for the two that hear), and with `--catalog` the models of the tests (random data).

Broken on purpose: calibrated on data that are scaled by 0.1 and by 10, and one layer's weights in
another order, as a wrong conversion would leave them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tflbuild import parity_gate
from tflbuild.data import Samples
from tflbuild.stages.lower_file import describe
from tflbuild.tflite.read import read_model
from tflbuild.tflite.signature import interface_of
from tflbuild.validation.file import File
from tflbuild.validation.parity import parity_numbers

ROOT = Path(__file__).resolve().parents[1]
MLPERF = ROOT.parent / "shared/models/mlperf-tiny"
DIGITS = ROOT / "examples/digits"

# The optimization that makes each row; the last ones need ai-edge-quantizer.
ROWS = {
    "none": "{}",
    "float16": "{quantize: float16}",
    "dynamic_range": "{quantize: dynamic_range}",
    "int16x8": "{quantize: int16x8}",
    "int8": "{quantize: int8}",
}
AI_EDGE = {
    "weight_only": "{quantizer: ai-edge, quantize: weight_only}",
    "weight_only_int4": "{quantizer: ai-edge, quantize: weight_only, weights: int4}",
    "dynamic_range_int4": "{quantizer: ai-edge, quantize: dynamic_range, weights: int4}",
    "int8_int4": "{quantizer: ai-edge, quantize: int8, weights: int4}",
    # The same rows by the other quantizer.
    "float16 (ai-edge)": "{quantizer: ai-edge, quantize: float16}",
    "dynamic_range (ai-edge)": "{quantizer: ai-edge, quantize: dynamic_range}",
    "int16x8 (ai-edge)": "{quantizer: ai-edge, quantize: int16x8}",
    "int8 (ai-edge)": "{quantizer: ai-edge, quantize: int8}",
}
SCALES = {"a tenth": 0.1, "ten times": 10.0}
SHUFFLED = ("none", "float16", "dynamic_range", "int16x8", "int8")


@dataclass(frozen=True)
class Subject:
    """A model at hand. `data`: "real", "made" (of the usual range), or "random"."""

    name: str
    source: str
    data: str
    more: str = ""
    rows: tuple[str, ...] = ()  # empty: all


@dataclass(frozen=True)
class Number:
    """The numbers of one output of one file."""

    subject: str
    row: str
    broken: str  # "": a good file
    sqnr: float | None  # None: no error
    cosine: float | None
    range_error: float | None
    constant: bool
    finite: bool

    @property
    def limits(self) -> parity_gate.ParityDefaults:
        return parity_gate.PARITY[self.row.partition(" ")[0]]

    @property
    def verdict(self) -> str:
        """What the defaults say: "fail", "warn" or ""."""
        limits = self.limits
        if not self.finite or self.constant:
            return "fail"
        if self.sqnr is None:
            return ""
        least, most = limits.fail_cosine, limits.fail_range_error
        if self.sqnr < limits.fail_sqnr:
            return "fail"
        if least is not None and self.cosine is not None and self.cosine < least:
            return "fail"
        if most is not None and self.range_error is not None and self.range_error > most:
            return "fail"
        return "warn" if self.sqnr < limits.warn_sqnr else ""


def photographs(count: int, size: int, seed: int) -> Any:
    """Pieces of two photographs (scikit-learn's), scaled to `size` pixels, 0 to 255."""
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images
    generator = np.random.default_rng(seed)
    found = np.empty((count, size, size, 3), np.float32)
    for index in range(count):
        image = images[int(generator.integers(len(images)))]
        factor = int(generator.integers(1, min(image.shape[:2]) // size + 1))
        side = factor * size
        top = int(generator.integers(image.shape[0] - side + 1))
        left = int(generator.integers(image.shape[1] - side + 1))
        piece = image[top : top + side, left : left + side].astype(np.float32)
        found[index] = piece.reshape(size, factor, size, factor, 3).mean(axis=(1, 3))
    return found


def cepstra(count: int, seed: int) -> Any:
    """49 frames of 10 coefficients that go on from frame to frame, the first ones the largest."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(size=(count, 49, 10)).cumsum(axis=1) / 3
    values = (steps + generator.normal(size=(count, 1, 10))) * np.geomspace(12, 1, 10)
    return values[..., None].astype(np.float32)


def spectra(count: int, seed: int) -> Any:
    """5 frames of 128 bands in dB, which fall with the frequency."""
    generator = np.random.default_rng(seed)
    bands = -np.linspace(10, 45, 128) + generator.normal(0, 6, (count, 1, 128))
    frames = bands + generator.normal(0, 3, (count, 5, 128))
    return frames.reshape(count, 640).astype(np.float32)


def mlperf(folder: Path, at: Path) -> list[Subject]:
    """The four models, with data under `folder`."""
    sets = {
        "kws": ("saved_model", "kws", lambda n, s: cepstra(n, s), "made"),
        "resnet8": ("keras", "resnet8.h5", lambda n, s: photographs(n, 32, s), "real"),
        "vww96": ("keras", "vww96.h5", lambda n, s: photographs(n, 96, s) / 255, "real"),
        "ad01": ("keras", "ad01.h5", lambda n, s: spectra(n, s), "made"),
    }
    found = []
    for name, (form, path, make, kind) in sets.items():
        copy = shutil.copytree if (at / path).is_dir() else shutil.copyfile
        copy(at / path, folder / path)
        arrays(folder, name, {"input_1": make(100, 0)}, {"input_1": make(100, 1)})
        found.append(Subject(name, f"{{format: {form}, path: {path}}}", kind))
    return found


def arrays(
    folder: Path, name: str, calibration: Mapping[str, Any], test: Mapping[str, Any]
) -> None:
    """The data of a model, with calibration data that are scaled wrongly beside it."""
    np.savez(folder / f"{name}.calibration.npz", **calibration)
    np.savez(folder / f"{name}.test.npz", **test)
    for scale in SCALES.values():
        wrong = {key: (array * scale).astype(array.dtype) for key, array in calibration.items()}
        np.savez(folder / f"{name}.calibration.{scale:g}.npz", **wrong)


def digits(folder: Path) -> list[Subject]:
    """The example in the formats that need no extra, and the trained ranges of its own."""
    shutil.copytree(DIGITS / "models", folder / "digits/models")
    shutil.copytree(ROOT / "examples/digits_function", folder / "digits_function")
    network = folder / "digits_function/network.py"
    assert network.exists()
    with np.load(DIGITS / "data/calibration.npz") as data:
        calibration = {"image": data["image"]}
    with np.load(DIGITS / "data/test.npz") as data:
        test = {"image": data["image"]}
    pin = "inputs: {image: {shape: [1, 8, 8, 1], dtype: float32}}"
    code = "depends: [digits/models/weights.npz]"
    sources = {
        "digits-saved-model": "{format: saved_model, path: digits/models/saved_model}",
        "digits-keras": "{format: keras, path: digits/models/digits.keras}",
        "digits-h5": "{format: keras, path: digits/models/digits.h5}",
    }
    for name in (*sources, "digits-trained"):
        arrays(folder, name, calibration, test)
    return [
        *(Subject(name, source, "real", pin) for name, source in sources.items()),
        Subject(
            "digits-trained",
            "{format: concrete_function, python: 'digits_function/network.py:digits_trained'}",
            "real", f"{pin}\n    {code}", ("qat",),
        ),
    ]  # fmt: skip


def catalog(folder: Path) -> list[Subject]:
    """The models of the tests, on random data; text and tables in float alone."""
    sys.path.insert(0, str(ROOT / "tests/convert"))
    from convert_catalog import CATALOG

    script = ROOT / "tests/convert/make_models.py"
    made = folder / "models"
    made.mkdir()
    subprocess.run([sys.executable, str(script), str(made)], check=True, capture_output=True)
    found = []
    for name, case in CATALOG.items():
        form = "keras" if case.path.endswith((".keras", ".h5")) else "saved_model"
        source = f"{{format: {form}, path: models/{case.path}{case.source}}}"
        rows = ("none", "float16", "dynamic_range", "int8")
        if case.quantize == "qat":
            rows = ("qat",)
        elif case.feed or case.route != "frozen":
            rows = ("none", "float16", "dynamic_range")
        found.append(
            Subject(f"c-{name}", source, "random", case.more.replace("random: null, ", ""), rows)
        )
    return found


def manifest(subjects: Iterable[Subject], rows: Mapping[str, str]) -> str:
    """One model for each, and one more for each wrong scale of its calibration."""
    text = "version: 1\nmodels:\n"
    for subject in subjects:
        asked = {row: rows[row] for row in subject.rows if row in rows} or dict(rows)
        if subject.rows == ("qat",):
            asked = {"qat": "{quantize: qat}"}
        text += _model(subject, subject.name, asked, f"{subject.name}.calibration.npz")
        scaled = [r for r in asked if r in ("int8", "int16x8", "int8 (ai-edge)")]
        if subject.data == "random":
            continue
        for scale in SCALES.values() if scaled else ():
            wrong = f"{subject.name}.calibration.{scale:g}.npz"
            name = f"{subject.name}-by-{scale:g}"
            text += _model(subject, name, {row: asked[row] for row in scaled}, wrong)
    return text


def _model(subject: Subject, name: str, rows: Mapping[str, str], calibration: str) -> str:
    text = f"  {name}:\n    source: {subject.source}\n"
    if subject.more:
        text += f"    {subject.more}\n"
    if subject.data != "random":
        test = f"test: {{npz: {subject.name}.test.npz}}"
        if any("int8" in row or "int16" in row for row in rows):
            test += f", calibration: {{npz: {calibration}}}"
        text += f"    data: {{{test}}}\n"
    elif "data:" not in subject.more:
        own = ", calibration: {random: {samples: 32}}" if "int8" in rows else ""
        text += f"    data: {{test: {{random: {{samples: 32, seed: 1}}}}{own}}}\n"
    elif "int8" in rows:
        rows = {row: how for row, how in rows.items() if row != "int8"}
    text += "    optimizations:\n"
    for row, how in rows.items():
        text += f"      {_name(row)}: {how}\n"
    return text


def _name(row: str) -> str:
    return row.replace(" (ai-edge)", "_by_ai_edge")


def _row(name: str) -> str:
    return name.replace("_by_ai_edge", " (ai-edge)")


def measured(folder: Path) -> Iterator[Number]:
    """What the reports say, an entry for each output with numbers."""
    for path in sorted((folder / "build/reports").glob("*/*/validate.json")):
        report = json.loads(path.read_text())
        model, row = path.parts[-3], _row(path.parts[-2])
        model, _, scale = model.partition("-by-")
        how = {f"{value:g}": f"calibrated on {words}" for words, value in SCALES.items()}
        for entry in report["measured"]["parity"]:
            if entry["kind"] == "float":
                yield _number(model, row, how.get(scale, ""), entry)


def _number(subject: str, row: str, broken: str, entry: Mapping[str, Any]) -> Number:
    return Number(
        subject, row, broken, entry["sqnr"], entry["cosine"], entry["max_range_error"],
        entry["constant"], entry["finite"],
    )  # fmt: skip


def shuffled(folder: Path, subjects: Iterable[Subject]) -> Iterator[Number]:
    """Released files with one layer's weights in another order, against the float file."""
    for subject in subjects:
        whole = folder / f"dist/litert/{subject.name}-none.tflite"
        if subject.data == "random" or not whole.exists():
            continue
        expected = outputs(folder, subject, whole)
        for row in SHUFFLED:
            path = folder / f"dist/litert/{subject.name}-{row}.tflite"
            if not path.exists():
                continue
            wrong = folder / "shuffled.tflite"
            wrong.write_bytes(shuffle(path.read_bytes()))
            given = outputs(folder, subject, wrong)
            for name, array in expected.items():
                entry = parity_numbers(array, given[name])
                yield _number(subject.name, row, "one layer shuffled", entry)


def outputs(folder: Path, subject: Subject, path: Path) -> dict[str, Any]:
    """What a file gives for the model's test data."""
    model = read_model(path.read_bytes())
    interface = interface_of(model)
    with np.load(folder / f"{subject.name}.test.npz") as data:
        inputs = {name: data[name] for name in data.files}
    dtypes = {name: str(array.dtype) for name, array in inputs.items()}
    specs = [_Spec(name, dtype) for name, dtype in dtypes.items()]
    samples = Samples(inputs, len(next(iter(inputs.values()))), True)
    return dict(File(path, describe(model, interface, specs)).run(samples))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Spec:
    name: str
    dtype: str


def shuffle(data: bytes) -> bytes:
    """The output channels of the middle layer's weights in another order."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    layers = []
    for tensor in graph.tensors:
        content = model.buffers[tensor.buffer].data
        shape = [] if tensor.shape is None else list(tensor.shape)
        if content is not None and len(shape) in (2, 4) and len(content) >= 64 and shape[0] > 1:
            layers.append((tensor, shape))
    tensor, shape = layers[len(layers) // 2]
    buffer = model.buffers[tensor.buffer]
    rows = np.frombuffer(bytes(buffer.data), np.uint8).reshape(shape[0], -1)
    order = np.random.default_rng(0).permutation(len(rows))
    buffer.data = rows[order].ravel()
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def table(numbers: list[Number], kinds: Mapping[str, str]) -> Iterator[str]:
    """The measured range of each number by row and kind of data, beside the limits."""
    yield (
        "| row | data | models | outputs | SQNR, dB | fails below | warns below | least cosine |"
        " fails below | largest range error | fails above | false alarms |"
    )
    yield "| --- " * 12 + "|"
    good = [number for number in numbers if not number.broken]
    for row in dict.fromkeys([*ROWS, "qat", *AI_EDGE]):
        for kind in ("real", "made", "random"):
            own = [n for n in good if n.row == row and kinds[n.subject] == kind]
            if not own:
                continue
            limits = own[0].limits
            found = sorted(n.sqnr for n in own if n.sqnr is not None)
            exact = len(own) - len(found)
            cosines = [n.cosine for n in own if n.cosine is not None]
            errors = [n.range_error for n in own if n.range_error is not None]
            fails = sum(n.verdict == "fail" for n in own)
            warns = sum(n.verdict == "warn" for n in own)
            span = f"{found[0]:.1f} to {found[-1]:.1f}" if found else "no error"
            span += f" ({exact} without error)" if exact and found else ""
            alarms = ", ".join(
                f"{count} {word}" for count, word in ((fails, "fail"), (warns, "warn")) if count
            )
            cells = (
                row, kind, str(len({n.subject for n in own})), str(len(own)), span,
                f"{limits.fail_sqnr:g}", f"{limits.warn_sqnr:g}",
                f"{min(cosines):.5f}" if cosines else "", _given(limits.fail_cosine),
                f"{max(errors):.2g}" if errors else "", _given(limits.fail_range_error),
                alarms or "none",
            )  # fmt: skip
            yield f"| {' | '.join(cells)} |"


def alarms(numbers: list[Number], kinds: Mapping[str, str]) -> Iterator[str]:
    """The good files that the defaults stop, or warn of."""
    for n in numbers:
        if not n.broken and n.verdict:
            cosine = "" if n.cosine is None else f", cosine {n.cosine:.5f}"
            error = "" if n.range_error is None else f", range error {n.range_error:.2g}"
            what = "constant" if n.constant else f"{n.sqnr or 0:.1f} dB"
            yield f"- {n.subject} ({kinds[n.subject]}), {n.row}: {n.verdict}, {what}{cosine}{error}"


def broken(numbers: list[Number]) -> Iterator[str]:
    """What the defaults say of files that are broken on purpose."""
    yield "| broken | row | files | SQNR, dB | fail | warn | pass |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    ways = dict.fromkeys(n.broken for n in numbers if n.broken)
    for how in ways:
        for row in dict.fromkeys(n.row for n in numbers if n.broken == how):
            own = [n for n in numbers if n.broken == how and n.row == row]
            found = sorted(n.sqnr for n in own if n.sqnr is not None)
            said = [n.verdict for n in own]
            span = f"{found[0]:.1f} to {found[-1]:.1f}" if found else ""
            passed = [n.subject for n in own if not n.verdict]
            cells = (
                how, row, str(len(own)), span, str(said.count("fail")), str(said.count("warn")),
                f"{len(passed)}: {', '.join(passed)}" if passed else "0",
            )  # fmt: skip
            yield f"| {' | '.join(cells)} |"


def _given(limit: float | None) -> str:
    return "" if limit is None else f"{limit:g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="stays, and is used again")
    parser.add_argument("--catalog", action="store_true", help="the models of the tests too")
    parser.add_argument("--mlperf", type=Path, default=MLPERF)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        run(folder, given.mlperf, given.catalog)


def run(folder: Path, at: Path, more: bool) -> None:
    kept = folder / "subjects.json"
    if kept.exists():
        subjects = [
            Subject(**{**s, "rows": tuple(s["rows"])}) for s in json.loads(kept.read_text())
        ]
    else:
        subjects = digits(folder)
        subjects += mlperf(folder, at) if at.is_dir() else []
        subjects += catalog(folder) if more else []
        kept.write_text(json.dumps([s.__dict__ for s in subjects]))
    rows = dict(ROWS)
    if importlib.util.find_spec("ai_edge_quantizer"):
        rows |= AI_EDGE
    (folder / "tflbuild.yaml").write_text(manifest(subjects, rows))
    # A gate that does not pass is what is looked for here.
    done = subprocess.run(
        [sys.executable, "-m", "tflbuild", "-C", str(folder), "build", "-k"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        sys.exit(done.stderr[-3000:])
    (folder / "build.txt").write_text(done.stdout + done.stderr)
    kinds = {subject.name: subject.data for subject in subjects}
    numbers = [*measured(folder), *shuffled(folder, subjects)]
    print(f"Default limits of parity, version {parity_gate.PARITY_VERSION}\n")
    print("\n".join(table(numbers, kinds)), "\n")
    print("\n".join([*alarms(numbers, kinds)] or ["No false alarm."]), "\n")
    print("\n".join(broken(numbers)))


if __name__ == "__main__":
    main()
