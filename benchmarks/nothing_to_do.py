"""How long does a build take that has nothing to do?

    python benchmarks/nothing_to_do.py [--models 1000] [--distinct 10] [--manifests one|many]
                                       [--runs 9] [--folder FOLDER]

Makes a workspace (see make_models.py), builds it, and times `tflbuild build` on it. With
`--folder` the workspace stays, and is used again when it is already there. Beside the median
stands the number of tasks that reached doit: 0 when the record alone decided.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from make_models import arguments, make_workspace

TFLBUILD = [sys.executable, "-m", "tflbuild", "build", "--format", "json"]


def run(command: list[str], folder: Path) -> tuple[float, Any]:
    """Seconds on the wall, and the last line of output as JSON."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    lines = done.stdout.splitlines()
    return seconds, json.loads(lines[-1]) if lines else None


def measure(folder: Path, distinct: int, runs: int) -> None:
    # The models with contents of their own first: the others then find every action in the store.
    names = sorted(path.name for path in (folder / "models").iterdir())[:distinct]
    for what, selectors in ((f"{len(names)} models", names), ("all models", [])):
        seconds, done = run([*TFLBUILD, *selectors], folder)
        print(
            f"build          {seconds:8.2f} s   {what}: {done['ran']} ran,"
            f" {done['restored']} restored, {done['up_to_date']} up to date",
            flush=True,
        )
    time.sleep(2.5)  # younger entries of the record are hashed, older ones only looked at
    run(TFLBUILD, folder)
    results = [run(TFLBUILD, folder) for _ in range(runs)]
    times = sorted(seconds for seconds, _ in results)
    start = [run([sys.executable, "-c", ""], folder)[0] for _ in range(runs)]
    last = results[-1][1]
    print(
        f"nothing to do  {statistics.median(times):8.3f} s   median of {runs}"
        f" ({times[0]:.3f} to {times[-1]:.3f}); ran {max(r['ran'] for _, r in results)},"
        f" reached_graph {max(r['reached_graph'] for _, r in results)},"
        f" up_to_date {last['up_to_date']}"
    )
    print(f"python -c ''   {statistics.median(start):8.3f} s   (the interpreter alone)")


def main() -> None:
    parser = arguments()
    parser.set_defaults(distinct=10)
    parser.add_argument("--runs", type=int, default=9, metavar="N")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tflbuild-benchmark-") as scratch:
        folder = given.folder or Path(scratch)
        if not (folder / "tflbuild.yaml").is_file():
            make_workspace(folder, given.models, given.distinct, given.manifests)
        print(f"{given.models} models, {given.distinct} contents, {given.manifests} manifest(s)")
        measure(folder.resolve(), given.distinct, given.runs)


if __name__ == "__main__":
    main()
