"""The operators that the files of one target need together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tflbuild.tflite.model import Kind as OpKind

FORMAT = 1  # of ops.json


@dataclass(frozen=True)
class OpUse:
    """One operator in one version, and who needs it.

    `op`: the builtin's name in the schema, or the custom code; `kind`: builtin, select (a custom
    code that begins with "Flex") or custom; `files`: names in `dist/<target>/`, sorted.
    """

    op: str
    version: int
    kind: OpKind
    files: tuple[str, ...]


@dataclass(frozen=True)
class Environment:
    """What one target's runtime is built for. `files` and `ops` are sorted."""

    target: str
    runtime: str  # a key of KINDS
    files: tuple[str, ...]
    ops: tuple[OpUse, ...]
    custom: Mapping[str, str] = field(default_factory=dict)  # declared op → what registers it

    @classmethod
    def of(
        cls, params: Mapping[str, Any], needs: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> Environment:
        """The union of what each file needs (`tflite.oplist.op_list`)."""
        users: dict[tuple[OpKind, str, int], set[str]] = {}
        for file, ops in needs.items():
            for op in ops:
                users.setdefault((op["kind"], op["op"], op["version"]), set()).add(file)
        return cls(
            params["target"],
            params["runtime"],
            tuple(sorted(needs)),
            tuple(
                OpUse(name, version, kind, tuple(sorted(files)))
                for (kind, name, version), files in sorted(users.items())
            ),
            dict(params.get("ops", {})),
        )

    def names(self, kind: str) -> list[str]:
        """The operators of one kind, whatever their versions."""
        return sorted({use.op for use in self.ops if use.kind == kind})

    def ops_json(self) -> str:
        """`ops.json` (schemas/ops.schema.json)."""
        listed = [
            {"op": use.op, "version": use.version, "kind": use.kind, "files": list(use.files)}
            for use in self.ops
        ]
        content = {
            "version": FORMAT,
            "target": self.target,
            "runtime": self.runtime,
            "files": list(self.files),
            "ops": listed,
        }
        return json.dumps(content, indent=1) + "\n"


class Kind(Protocol):
    """One kind of runtime: a module of this package."""

    def files(self, environment: Environment) -> dict[str, str]:
        """What this runtime is built with, text by file name."""
        ...
