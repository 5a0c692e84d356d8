"""The end of a log for people: what a stage said, without what TensorFlow says of the machine."""

from __future__ import annotations

import re
from pathlib import Path

READ = 64 * 1024  # bytes of the file that are looked at
TAIL = 4000  # letters that are shown

# What absl's log and TensorFlow's put before a line. A fatal one (F) is why a process ended.
_NOISE = re.compile(
    r"[IWE]\d{4} \d\d:\d\d:\d+\.\d+ +\d+ \S+:\d+\]"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] \S+:\d+\]"
    r"|WARNING: All log messages before absl::InitializeLog\(\)"
    r"|To enable the following instructions: .*rebuild TensorFlow"
    r"|INFO: Created TensorFlow Lite XNNPACK delegate"
)


def tail(path: Path) -> str:
    """ "" where there is no log any more; all of its end where it holds nothing else."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - READ))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    own = "".join(line for line in text.splitlines(keepends=True) if not _NOISE.match(line))
    return (own if own.strip() else text)[-TAIL:]
