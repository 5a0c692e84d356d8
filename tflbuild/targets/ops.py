"""What the runtimes share: which classes of operators one takes, in a model and in a file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from tflbuild.evaluation import runtimes
from tflbuild.tflite.kinds import FLEX
from tflbuild.verdict import FAIL, Finding


def model_findings(
    measured: Mapping[str, Any],
    runtime: str,
    select: bool = False,
    custom: Collection[str] = (),
) -> Iterator[Finding]:
    """What of a model before conversion a runtime cannot take, that has `custom` kernels and
    perhaps the Flex delegate."""
    return runtimes.findings(measured, runtime, custom_ops=custom, select_ops=select)


def file_findings(
    measured: Mapping[str, Any], select: bool = False, custom: Collection[str] = ()
) -> Iterator[Finding]:
    """What of a file a runtime cannot take."""
    taken = "builtin ones" + (", select ones" if select else "")
    if custom:
        taken += f" and {', '.join(sorted(custom))}"
    for kind, ops in foreign(measured, select, custom).items():
        yield Finding(
            FAIL, f"ops.{kind}", f"the file holds {kind} ops {sorted(ops)}, not {taken} alone"
        )
    if measured["problem"]:
        yield Finding(FAIL, "loads", f"the runtime refuses it: {measured['problem']}")


def foreign(
    measured: Mapping[str, Any], select: bool, custom: Collection[str]
) -> dict[str, dict[str, int]]:
    """The operators by class that are not taken, with their counts. What could be a select op
    becomes a custom one where a target has no Flex delegate, but a kernel of its own."""
    found = {
        "select": {
            name: count
            for name, count in measured["ops"].get("select", {}).items()
            if not select and name.removeprefix(FLEX) not in custom
        },
        "custom": {n: c for n, c in measured["ops"].get("custom", {}).items() if n not in custom},
    }
    return {kind: ops for kind, ops in found.items() if ops}
