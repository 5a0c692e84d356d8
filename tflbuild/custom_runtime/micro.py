"""`micro`: a header with the resolver that has these operators and no others."""

from __future__ import annotations

from tflbuild.custom_runtime.base import Environment

HEADER = "micro_op_resolver.h"


def files(environment: Environment) -> dict[str, str]:
    from tflbuild.micro.resolver import resolver_header

    names = [*environment.names("builtin"), *environment.names("custom")]
    return {HEADER: resolver_header(names, environment.target)}
