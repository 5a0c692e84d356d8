"""A large test set: time and peak memory of reference and validate, by number of processes.

python benchmarks/large_test_set.py FILE.tflite [--samples 10000] [--jobs 1 2] [--rounds 3]

Makes random samples for the inputs of a `.tflite` file, builds it in a new folder, from nothing and
in turns (1, 2, 1, 2, …), and prints for each task and `-j` the least seconds of all rounds, the
ratio to the first `-j`, and the peak memory of the largest process. Nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MANIFEST = """
version: 1
models:
  m:
    source: {format: tflite, path: m.tflite}
    data: {test: {npy: {%s}}}
    optimizations: {same: {}}
    targets: [litert]
"""
PART = 256  # samples made at once


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = write(root, given.file, given.samples)
        print(f"{given.samples} samples, {size / 1e6:.0f} MB")
        seconds: dict[tuple[str, int], list[float]] = {}
        peaks: dict[tuple[str, int], int] = {}
        for _ in range(given.rounds):
            for jobs in given.jobs:
                for event in build(root, jobs):
                    key = (event["task"].partition(":")[0], jobs)
                    seconds.setdefault(key, []).append(event["seconds"])
                    peaks[key] = max(peaks.get(key, 0), event.get("max_rss", 0))
        for task in ("reference", "validate"):
            first = min(seconds[task, given.jobs[0]])
            for jobs in given.jobs:
                least = min(seconds[task, jobs])
                print(
                    f"{task:10} -j {jobs}: {least:7.2f} s, {least / first:.2f} of -j"
                    f" {given.jobs[0]}, {peaks[task, jobs] / 1e6:.0f} MB"
                )


def write(root: Path, file: Path, count: int) -> int:
    """The workspace; bytes of its samples."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    shutil.copyfile(file, root / "m.tflite")
    interpreter = Interpreter(model_path=str(file))
    signatures = interpreter.get_signature_list()
    if len(signatures) != 1:
        sys.exit(f"{file} has {len(signatures)} signatures; one is needed")
    details = interpreter.get_signature_runner(next(iter(signatures))).get_input_details()
    random = np.random.default_rng(0)
    names = []
    for index, (name, found) in enumerate(sorted(details.items())):
        plain = found["dtype"] == np.float32 or found["quantization"][0] != 0
        shape = (count, *map(int, found["shape"][1:]))
        dtype = np.float32 if plain else found["dtype"]
        array = np.lib.format.open_memmap(root / f"{index}.npy", "w+", dtype, shape)
        for start in range(0, count, PART):
            part = array[start : start + PART]
            part[:] = random.uniform(0, 255 if dtype != np.float32 else 1, part.shape)
        array.flush()
        names.append(f"{json.dumps(name)}: {index}.npy")
    (root / "tflbuild.yaml").write_text(MANIFEST % ", ".join(names))
    return sum(path.stat().st_size for path in root.glob("*.npy"))


def build(root: Path, jobs: int) -> list[dict[str, Any]]:
    """From nothing; the events of reference and validate."""
    for name in (".tflbuild", "build", "dist"):
        shutil.rmtree(root / name, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "tflbuild", "build", "-j", str(jobs), "--format", "json"],
        cwd=root, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        sys.exit("\n".join(e["reason"] for e in events if e.get("reason")) or "the build failed")
    return [
        e for e in events if e["event"] == "task" and e["task"].startswith(("reference", "valid"))
    ]


if __name__ == "__main__":
    main()
