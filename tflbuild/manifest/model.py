"""What a manifest says, as frozen values: the one vocabulary of the rest of the house.

Paths are POSIX strings relative to the workspace root. Sizes are bytes, counts are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tflbuild.errors import Position

Shape = tuple[int | None, ...]  # None: a dynamic dimension
LabelNames = tuple[tuple[str, str], ...]  # several labels: name → where each is

_OF_SIGNATURES = ("source.signatures.", "data.signatures.", "validate.signatures.")


@dataclass(frozen=True)
class Code:
    """A function of the user's: `package.module:function` or `path/to/file.py:function`."""

    spec: str
    base: str  # the folder of the manifest that says it, relative to the root ("." for the root)


@dataclass(frozen=True)
class ParamsRef:
    """Where the parameters of a function come from: exactly one of a file and a function."""

    npz: str = ""
    python: Code | None = None
    args: str = ""  # of `python`, as JSON


@dataclass(frozen=True)
class Fetch:
    """A source that is downloaded. `sha256` says what; the rest only how."""

    url: str
    sha256: str  # lower case
    max_size: int  # bytes, of the download and of what an archive holds


@dataclass(frozen=True)
class Generate:
    """A source that a command makes."""

    command: str | tuple[str, ...]  # a line for the shell, or a program and its arguments
    folder: str  # where it runs: that of its manifest
    inputs: tuple[tuple[str, str], ...]  # (folder, path or glob in it)
    skip: tuple[str, ...]  # folders that no glob enters
    outputs: tuple[str, ...]  # relative to `folder`
    env: tuple[str, ...] = ()  # variables of the user's that are passed on


@dataclass(frozen=True)
class Source:
    """Where a model comes from. Which keys a format takes, its module in `sources` says.

    `path`: of a source that is made, the name within what is made: a member of the archive ("":
    all of it, or the one file), or the output to load, relative to `generate.folder`.
    """

    format: str
    path: str = ""
    signatures: tuple[str, ...] = ()  # those to ship; empty: the format's default
    tags: tuple[str, ...] = ()
    python: Code | None = None
    args: str = ""  # of `python`, as JSON
    params: ParamsRef | None = None
    fetch: Fetch | None = None
    generate: Generate | None = None

    @property
    def made(self) -> str:
        """The stage that makes it before it is read; "" when it lies in the workspace."""
        return "fetch" if self.fetch else "generate" if self.generate else ""


@dataclass(frozen=True)
class InputPin:
    """A pinned input: its full shape and/or its dtype, as the manifest's `inputs` gives them."""

    name: str
    shape: Shape | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class RandomData:
    """Declared synthetic data: uniform in [low, high), seeded. Not representative."""

    seed: int = 0
    samples: int = 100
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class ArrayRef:
    """One array in a file: `key` is the name inside an .npz, None for an .npy."""

    path: str
    key: str | None = None


@dataclass(frozen=True)
class FileData:
    """Real data. `npz`: one archive holding inputs by name. `npy`: a file for each input.

    Exactly one of `npz` and `npy` is given. `npy` maps input name to path; the name "" stands
    for the only input of a model with one input (`npy: data/x.npy`).
    `labels`: a key of the .npz, or (with npy) a path; or several of them by name.
    """

    npz: str | None = None
    npy: tuple[tuple[str, str], ...] = ()
    samples: int | None = None  # take N samples; None: all
    seed: int | None = None  # choose them by it; None: the first ones
    labels: ArrayRef | tuple[tuple[str, ArrayRef], ...] | None = None


@dataclass(frozen=True)
class Pixels:
    """How an encoded image becomes an array, in this order (see datasets/pixels.py)."""

    color: str = "rgb"  # or bgr, gray
    resize: int | tuple[int, int] | None = None  # (height, width), or the shorter side
    resize_method: str = "bilinear"
    fit: str = "stretch"  # or crop: what of the image fills `resize`
    crop: tuple[int, int] | None = None  # (height, width) in the middle, after `resize`
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)  # one, or one for each channel
    std: tuple[float, ...] = (1.0,)
    dtype: str = "float32"
    layout: str = "nhwc"  # or nchw, nhw


@dataclass(frozen=True)
class ImageData:
    """A folder of images. `labels`: "folders" (the class is the subfolder), or a CSV file."""

    folder: str
    files: tuple[str, ...] = ()  # patterns below the folder; empty: by suffix
    input: str = ""  # "": the only one
    pixels: Pixels = field(default_factory=Pixels)
    samples: int | None = None
    seed: int | None = None
    labels: str | None = None
    classes: tuple[str, ...] = ()  # in the order of their numbers; empty: the sorted folders


@dataclass(frozen=True)
class Feature:
    """One feature of a record, and the input that it becomes."""

    name: str
    input: str
    shape: tuple[int, ...] | None = None  # None: an image's own
    dtype: str = "float32"
    raw: str | None = None  # bytes that hold numbers of this type
    image: Pixels | None = None  # bytes that hold an encoded image
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)  # one, or one for each of the last axis
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class RecordData:
    """TFRecord files of tf.train.Example. `labels`: the feature that holds them, or several by
    name."""

    files: tuple[str, ...]  # patterns, relative to the root
    features: tuple[Feature, ...]
    compression: str | None = None  # none, gzip, zlib; None: look
    samples: int | None = None
    seed: int | None = None
    labels: str | LabelNames | None = None


@dataclass(frozen=True)
class PythonData:
    """Samples that a function of the user's gives. `labels`: a key of each sample, or "pair"; or
    several keys by name."""

    python: Code
    args: str = ""  # of the function, as JSON
    samples: int | None = None
    labels: str | LabelNames | None = None


MadeData = ImageData | RecordData | PythonData  # which a task of the graph makes arrays of
Data = RandomData | FileData | ImageData | RecordData | PythonData


@dataclass(frozen=True)
class Optimization:
    """One converted file of a model. `targets` is resolved: the model's where it has none.

    `quantize` is "recipe" where a recipe says it by operator: in `rules`, or in the file
    `recipe_file`. `settings`: the further keys that the manifest gives, in the form that the
    conversion takes them.
    """

    name: str
    quantize: str = "none"
    io: str = "float32"
    targets: tuple[str, ...] = ()
    quantizer: str = "tensorflow"
    io_output: str | None = None  # the type of outputs, where it is not `io`
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rules: tuple[Mapping[str, str], ...] = field(default=(), hash=False)  # of ai-edge
    recipe_file: str | None = None
    calibrates: bool = False  # reads the calibration data
    parity_limits: ParityLimits | None = None  # over the model's, for this file alone
    metric_limits: tuple[tuple[str, MetricOverride], ...] = ()  # the same, by name of the number

    @property
    def parity(self) -> str:
        """Which row of the default limits of parity is meant (`parity_gate.PARITY`)."""
        if self.quantize in ("weight_only", "dynamic_range", "int8"):
            return self.quantize + ("_int4" if self.settings.get("weights") == "int4" else "")
        return self.quantize


@dataclass(frozen=True)
class Budgets:
    """Upper limits, each None where there is none: of a file, or of a model before conversion."""

    max_size: int | None = None  # bytes of the file
    max_params: int | None = None
    max_macs: int | None = None
    max_weights: int | None = None  # bytes
    max_activations: int | None = None  # bytes: the largest sum of tensors that live at one op
    max_io: int | None = None  # bytes of inputs and outputs
    max_traffic: int | None = None  # bytes that the ops of one inference read and write
    max_arena: int | None = None  # bytes


@dataclass(frozen=True)
class Accelerator:
    """A delegate whose rules a target's files must meet. No limit at all: it must take all."""

    name: str  # of DELEGATES
    min_ops: float | None = None  # share, 0 to 1
    min_macs: float | None = None  # share, 0 to 1
    max_partitions: int | None = None


@dataclass(frozen=True)
class CustomOp:
    """A custom operator that a target's runtime has a kernel for."""

    name: str
    register: str = ""  # the function of the target's library that registers it; "": none given


@dataclass(frozen=True)
class Target:
    """A named (perhaps narrowed) form of a built-in runtime."""

    name: str
    runtime: str
    budgets: Budgets = field(default_factory=Budgets)
    min_runtime: tuple[str, str] | None = None  # numbering ("tensorflow", "litert") and version
    accelerators: tuple[Accelerator, ...] = ()
    allow_ops: tuple[str, ...] = ()
    deny_ops: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()  # the only ones of tensors; empty: any
    static_shapes: bool = False
    ops: tuple[CustomOp, ...] = ()  # of the runtime custom-ops, sorted by name
    library: str = ""  # a shared library with their kernels
    select_ops: bool = False  # the runtime custom-ops with the Flex delegate beside
    flex_library: str = ""  # the Flex delegate, to validate with
    validator: str = ""  # a Python interpreter that can run select TF ops; perhaps not in the root
    unvalidated: bool = False  # release what nothing here can run
    emit: tuple[str, ...] = ()
    position: Position = field(default=Position("", 0, 0), compare=False)


@dataclass(frozen=True)
class TopK:
    """The k largest values of an output: so many of the source's are among the file's."""

    k: int
    min: float  # share, 0 to 1


@dataclass(frozen=True)
class ParityLimits:
    """Limits set by the manifest; None means the default table of DESIGN (by quantize)."""

    sqnr: float | None = None  # dB, at least
    cosine: float | None = None  # at least
    max_range_error: float | None = None  # fraction of the output's range, at most
    max_abs_error: float | None = None  # output units, at most
    top_k: tuple[TopK, ...] = ()
    outputs: tuple[tuple[str, ParityLimits], ...] = ()  # by output, over those of all


@dataclass(frozen=True)
class GoldenLimits:
    """What an output of a golden test may differ by. A limit is one for every optimization
    (name "") or one for each: pairs of an optimization's name and the limit."""

    exact: bool = False
    limits: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()  # by name of the number


@dataclass(frozen=True)
class Golden:
    """Recorded inputs and expected outputs of one signature."""

    name: str
    npz: str
    signature: int = 0  # its place in `Model.signatures`
    optimizations: tuple[str, ...] = ()  # those that it tests
    limits: GoldenLimits = field(default_factory=GoldenLimits)
    outputs: tuple[tuple[str, GoldenLimits], ...] = ()  # by output, over those of all


@dataclass(frozen=True)
class MetricLimits:
    """Limits on one number, by the name under which it is measured; None: no limit.

    A drop is how much worse it got, whichever way is worse.
    """

    name: str
    min: float | None = None
    max_drop: float | None = None  # against the source's own, on the same data
    max: float | None = None
    max_drop_from_last: float | None = None  # against the last release's (tflbuild.lock)
    higher_is_better: bool = True


@dataclass(frozen=True)
class MetricOverride:
    """Limits of one file over those of `MetricLimits`; None: as there."""

    min: float | None = None
    max: float | None = None
    max_drop: float | None = None
    max_drop_from_last: float | None = None

    def over(self, limits: MetricLimits) -> MetricLimits:
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(limits, **{name: n for name, n in said.items() if n is not None})


@dataclass(frozen=True)
class Metric:
    """One metric to measure on the test data. Which settings it takes, `manifest/metrics.py` says.

    `limits`: of its one number, or of those that a function of the user's gives; perhaps none.
    """

    name: str  # of tflbuild.metrics.METRICS, or python
    limits: tuple[MetricLimits, ...] = ()
    output: str | None = None  # where there are several
    labels: str | None = None  # where the labels are several arrays
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    vocabulary: str = ""  # a file
    python: Code | None = None
    args: str = ""  # of `python`, as JSON


@dataclass(frozen=True)
class Sequence:
    """Samples in order are steps of sequences, between which a stateful model goes on.

    `reset` "each": all state begins anew with every sequence of `length` samples, in source and
    file; "never": all samples are one sequence.
    """

    reset: str = "each"
    length: int = 1


@dataclass(frozen=True)
class Shipped:
    """One signature to ship, and what the manifest says of it. `name` None: the source's own."""

    name: str | None = None
    inputs: tuple[InputPin, ...] = ()
    outputs: tuple[str, ...] = ()  # the positional order asked for; empty: the source's
    calibration: Data | None = None
    test: Data | None = None
    parity: ParityLimits = field(default_factory=ParityLimits)
    metrics: tuple[Metric, ...] = ()
    sequence: Sequence | None = None  # None: the file's own state begins anew with each call


@dataclass(frozen=True)
class TensorMetadata:
    """What is said of one input or output; numbers as `tflite.metadata.TensorNotes` has them."""

    name: str
    description: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    image: str = ""  # rgb or gray: it holds images
    labels: str = ""  # a file


@dataclass(frozen=True)
class Metadata:
    """TFLite Metadata of every file of a model."""

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    inputs: tuple[TensorMetadata, ...] = ()
    outputs: tuple[TensorMetadata, ...] = ()


@dataclass(frozen=True)
class RatioLimit:
    """What an optimization may need at most, as a part of what another one of the model needs in
    the same run."""

    optimization: str
    against: str
    time: float | None = None
    memory: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """Speed and memory on the machine that builds."""

    threads: int = 1
    delegate: str = "xnnpack"  # or none
    warmup: int = 5  # inferences
    repeats: int = 50  # rounds
    per_op: bool = True
    optimizations: tuple[str, ...] = ()  # that are measured
    max_ratio: tuple[RatioLimit, ...] = ()


@dataclass(frozen=True)
class Model:
    name: str
    source: Source
    optimizations: tuple[Optimization, ...]  # in the manifest's order
    targets: tuple[str, ...]
    signatures: tuple[Shipped, ...] = (Shipped(),)  # in the manifest's order
    evaluate: Budgets = field(default_factory=Budgets)  # before conversion
    compat: Budgets = field(default_factory=Budgets)  # of each converted file
    golden: tuple[Golden, ...] = ()  # sorted by name
    metadata: Metadata | None = None
    benchmark: Benchmark | None = None
    # Kinds of `interface.KINDS` that may differ from the last release.
    allow_interface_change: tuple[str, ...] = ()
    custom_objects: Code | None = None
    depends: tuple[str, ...] = ()  # patterns of further files that code reads, under the root
    env: tuple[str, ...] = ()  # variables that code may read
    timeout: float = 1800.0  # seconds an action of this model may take
    # Where the manifest says it; not part of what it says, so not compared.
    position: Position = field(default=Position("", 0, 0), compare=False)
    positions: dict[str, Position] = field(default_factory=dict, compare=False, hash=False)
    # Keys of limits that the model says itself: one of `defaults` may concern other models.
    said: frozenset[str] = field(default=frozenset(), compare=False)
    # Names of optimizations of which it says at least a part itself.
    own: frozenset[str] = field(default=frozenset(), compare=False)
    # Its optimizations as they are written, with what lies beneath them.
    written: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False, hash=False)

    @property
    def variables(self) -> tuple[str, ...]:
        """The user's variables that have a say in what is built."""
        made = self.source.generate.env if self.source.generate is not None else ()
        return (*self.env, *made)

    def limits_ratio(self, optimization: Optimization) -> bool:
        """Whether an optimization has to be faster or smaller than another one."""
        limits = self.benchmark.max_ratio if self.benchmark is not None else ()
        return any(limit.optimization == optimization.name for limit in limits)

    def position_of(self, key: str) -> Position:
        """The place of a dotted key of this model ("source.path"), else the model's own.

        What is not said of a signature (`source.signatures.NAME.inputs`) may be said of the
        model (`inputs`).
        """
        if key not in self.positions and key.startswith(_OF_SIGNATURES):
            for shipped in self.signatures:
                for where in _OF_SIGNATURES:
                    if key.startswith(f"{where}{shipped.name}."):
                        # What the model itself says of its source's interface has no `source.`.
                        above = "" if where == "source.signatures." else where.split(".")[0] + "."
                        key = above + key.removeprefix(f"{where}{shipped.name}.")
        if key not in self.positions and key.startswith("data."):  # or the other way round
            rest = key.removeprefix("data.")
            for shipped in self.signatures:
                if (own := f"data.signatures.{shipped.name}.{rest}") in self.positions:
                    return self.positions[own]
        if key not in self.positions and key.startswith("source.signatures."):
            key = "source.signature"
        return self.positions.get(key, self.position)


@dataclass(frozen=True)
class Workspace:
    """Everything the manifests of one workspace say."""

    root: Path  # absolute, resolved
    name: str
    build_dir: str
    dist_dir: str
    targets: dict[str, Target]  # the built-in runtimes too, by their own name
    models: tuple[Model, ...]  # sorted by name
    manifests: tuple[str, ...]  # every manifest read, the root manifest first
    listed: tuple[str, ...] = ()  # folders whose listing decided which manifests are included
