"""What a manifest says, as frozen values: the one vocabulary of the rest of the house.

Paths are POSIX strings relative to the workspace root. Sizes are bytes, counts are numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tflbuild.errors import Position

Shape = tuple[int | None, ...]  # None: a dynamic dimension


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
    signature: str | None = None  # None: the format's default
    tags: tuple[str, ...] = ()
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
    `labels`: a key of the .npz, or (with npy) a path.
    """

    npz: str | None = None
    npy: tuple[tuple[str, str], ...] = ()
    samples: int | None = None  # take the first N samples; None: all
    labels: ArrayRef | None = None


Data = RandomData | FileData


@dataclass(frozen=True)
class Optimization:
    """One converted file of a model. `targets` is resolved: the model's where it has none."""

    name: str
    quantize: str = "none"
    io: str = "float32"
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A named (perhaps narrowed) form of a built-in runtime."""

    name: str
    runtime: str
    max_size: int | None = None


@dataclass(frozen=True)
class EvaluateLimits:
    max_params: int | None = None
    max_macs: int | None = None


@dataclass(frozen=True)
class ParityLimits:
    """Limits set by the manifest; None means the default table of DESIGN (by quantize)."""

    sqnr: float | None = None  # dB, at least
    cosine: float | None = None  # at least
    max_range_error: float | None = None  # fraction of the output's range, at most
    max_abs_error: float | None = None  # output units, at most


@dataclass(frozen=True)
class MetricLimits:
    """Limits on one metric (today: accuracy). `output` names the output where there are several."""

    name: str
    min: float | None = None
    max_drop: float | None = None  # against the source's own metric, on the same data
    output: str | None = None


@dataclass(frozen=True)
class Model:
    name: str
    source: Source
    optimizations: tuple[Optimization, ...]  # in the manifest's order
    targets: tuple[str, ...]
    inputs: tuple[InputPin, ...] = ()
    outputs: tuple[str, ...] = ()  # the positional order asked for; empty: the source's
    calibration: Data | None = None
    test: Data | None = None
    evaluate: EvaluateLimits = field(default_factory=EvaluateLimits)
    parity: ParityLimits = field(default_factory=ParityLimits)
    metrics: tuple[MetricLimits, ...] = ()
    timeout: float = 1800.0  # seconds an action of this model may take
    # Where the manifest says it; not part of what it says, so not compared.
    position: Position = field(default=Position("", 0, 0), compare=False)
    positions: dict[str, Position] = field(default_factory=dict, compare=False, hash=False)

    def position_of(self, key: str) -> Position:
        """The place of a dotted key of this model ("source.path"), else the model's own."""
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
