"""The C++ header that registers exactly the operators of some files, and nothing else.

Each kernel that is registered is linked into the firmware, so fewer operators save flash.
`AllOpsResolver` no longer exists in tensorflow/tflite-micro.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..tflite.read import Kind, TfliteModel
from .c_array import identifier
from .ops import kernel

_FUNCTION = re.compile(r"[A-Za-z_]\w*(::[A-Za-z_]\w*)*")


@dataclass(frozen=True, order=True)
class OpUse:
    """An operator of a file: its name (of the builtin, or the custom name) and its kind."""

    name: str
    kind: Kind = "builtin"


def ops_of(model: TfliteModel) -> set[OpUse]:
    """The operators that a file has, in all its subgraphs."""
    return {OpUse(op.name, op.kind) for graph in model.subgraphs for op in graph.ops}


def resolver_header(
    ops: Iterable[OpUse], name: str, registrations: Mapping[str, str] | None = None
) -> str:
    """A header with the type `<Name>OpResolver`, a `MicroMutableOpResolver<N>`, and the function
    `Register<Name>Ops(resolver)`, which adds the N operators in the order of their names and gives
    back the first status that is not kTfLiteOk.

    Args:
        ops: the union over the files; of the same operator one counts.
        name: of the target; names the guard, the type and the function.
        registrations: for custom operators that the resolver has no method for: {custom name: C++
            function that gives the `const TFLMRegistration*`}.

    Raises:
        ValueError: an operator without a kernel and without a registration, or a registration
            that is no C++ function name.
    """
    union = sorted(set(ops))
    declared = dict(registrations or {})
    lines = [_line(op, declared) for op in union]
    own = sorted({declared[op.name] for op in union if _is_own(op)})
    part = identifier(name)
    words = "".join(word[:1].upper() + word[1:] for word in part.split("_"))
    type_name = f"{'Target' if words[0].isdigit() else ''}{words}OpResolver"
    guard = f"TFLBUILD_{part.upper()}_OP_RESOLVER_H_"
    body = "".join(f"  TF_LITE_ENSURE_STATUS({line});\n" for line in lines)
    return (
        f"#ifndef {guard}\n#define {guard}\n\n"
        "// The operators of the released models, made by tflbuild. Do not edit.\n\n"
        '#include "tensorflow/lite/c/common.h"\n'
        '#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"\n\n'
        + "".join(_declaration(function) for function in own)
        + ("\n" if own else "")
        + f"using {type_name} = tflite::MicroMutableOpResolver<{max(len(union), 1)}>;\n\n"
        f"inline TfLiteStatus Register{words}Ops({type_name}& resolver) {{\n"
        + (body or "  (void)resolver;\n")
        + "  return kTfLiteOk;\n}\n\n"
        f"#endif  // {guard}\n"
    )


def _is_own(op: OpUse) -> bool:
    return kernel(op.name, op.kind) is None


def _line(op: OpUse, declared: Mapping[str, str]) -> str:
    found = kernel(op.name, op.kind)
    if found is not None:
        return f"resolver.{found.add}()"
    function = declared.get(op.name)
    if op.kind != "custom" or function is None:
        raise ValueError(f"tflite-micro has no kernel for {op.name}, and none is registered")
    if not _FUNCTION.fullmatch(function):
        raise ValueError(f"'{function}', the registration of {op.name}, is no C++ function name")
    return f"resolver.AddCustom({_quoted(op.name)}, {function}())"


def _declaration(function: str) -> str:
    *spaces, plain = function.split("::")
    line = f"const TFLMRegistration* {plain}();"
    return (f"namespace {'::'.join(spaces)} {{ {line} }}" if spaces else line) + "\n"


def _quoted(text: str) -> str:
    """A C++ string literal. Octal escapes end after three digits, hexadecimal ones do not."""
    return (
        '"'
        + "".join(
            chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}"
            for b in text.encode()
        )
        + '"'
    )
