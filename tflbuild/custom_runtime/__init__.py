"""What a runtime is built from that has the operators of some files and no others.

One module for each kind of runtime, in one literal table; a target whose runtime is in it has the
task `runtime:<target>`, and a folder `dist/<target>/runtime/`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tflbuild.custom_runtime import bazel, micro
from tflbuild.custom_runtime.base import Environment, Kind

FOLDER = "runtime"  # in a target's own

KINDS: Mapping[str, Kind] = {
    "custom-ops": bazel,
    "select-tf-ops": bazel,
    "micro": micro,
}


def files_of(environment: Environment) -> dict[str, str]:
    """The files of `dist/<target>/runtime/`, by name: the list of operators, and what the kind
    of runtime is built with."""
    return {"ops.json": environment.ops_json(), **KINDS[environment.runtime].files(environment)}
