"""`micro`: a header with the resolver that has these operators and no others."""

from __future__ import annotations

from tflbuild.custom_runtime.base import Environment
from tflbuild.errors import TaskError

HEADER = "micro_op_resolver.h"


def files(environment: Environment) -> dict[str, str]:
    """Raises TaskError for an operator that tflite-micro has no kernel for."""
    from tflbuild.micro.resolver import OpUse, resolver_header

    ops = {OpUse(use.op, use.kind) for use in environment.ops}
    try:
        text = resolver_header(ops, environment.target, environment.custom)
    except ValueError as error:
        raise TaskError(f"no resolver for target {environment.target}: {error}") from error
    return {HEADER: text}
