"""`targets`, and the budgets that targets and models share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from tflbuild.errors import ManifestError
from tflbuild.manifest.model import Accelerator, Budgets, CustomOp, Target
from tflbuild.manifest.nodes import entries, get, strings, text
from tflbuild.manifest.paths import Paths
from tflbuild.manifest.problems import Problems, nearest
from tflbuild.manifest.quantity import parse_count, parse_size
from tflbuild.manifest.yamlfile import Node, describe

RUNTIME_NAMES = ("litert", "play-services", "select-tf-ops", "custom-ops", "micro")
_COUNTS = ("max_params", "max_macs")  # the other budgets are bytes
# Keys that mean something on some runtimes alone, and why not on the others.
_ONLY = {
    "ops": (("custom-ops",), "only the runtime custom-ops has kernels of its own"),
    "library": (("custom-ops",), "only the runtime custom-ops has kernels of its own"),
    "select_ops": (("custom-ops",), "write `runtime: select-tf-ops` for select TensorFlow ops"),
    "flex_library": (("select-tf-ops", "custom-ops"), "only select TensorFlow ops need it"),
    "validator": (("select-tf-ops", "custom-ops"), "only select TensorFlow ops need it"),
    "unvalidated": (("select-tf-ops", "custom-ops"), "files of this runtime are always validated"),
    "emit": (("micro",), "only the runtime micro takes files as source code"),
    "min_runtime": (
        ("litert", "play-services", "select-tf-ops", "custom-ops"),
        "the runtime of a micro target is built with its application",
    ),
    "accelerator": (
        ("litert", "play-services", "select-tf-ops", "custom-ops"),
        "the runtime micro has no delegates",
    ),
}


def build_budgets(node: Node | None, problem: Callable[[str, Node | None], None]) -> Budgets:
    """The `max_…` keys of a mapping."""
    found: dict[str, int] = {}
    for name in (field.name for field in fields(Budgets)):
        child = get(node, name)
        value: Any = child.value if child is not None else None
        if value is None:
            continue
        try:
            found[name] = parse_count(value) if name in _COUNTS else parse_size(value)
        except ValueError as error:
            problem(str(error), child)
    return Budgets(**found)


def build_target(name: str, node: Node, paths: Paths, problems: Problems) -> Target | None:
    """A target, or None when something is wrong with it; then `problems` says what."""
    before = len(problems)
    runtime = text(get(node, "runtime"))
    if runtime is None:
        problems.add(
            f"target {name!r} has no `runtime`; write `runtime: litert`", node.key_position
        )
        return None
    builder = _Builder(node, runtime, paths, problems)
    builder.check_effect()
    builder.check_custom()
    target = Target(
        name=name,
        runtime=runtime,
        budgets=build_budgets(node, builder.problem),
        min_runtime=builder.min_runtime(),
        accelerators=tuple(
            builder.accelerator(*entry) for entry in entries(get(node, "accelerator")).items()
        ),
        allow_ops=builder.ops_by_name("allow_ops"),
        deny_ops=builder.ops_by_name("deny_ops"),
        dtypes=strings(get(node, "dtypes")),
        static_shapes=builder.flag("static_shapes"),
        ops=builder.custom_ops(),
        library=builder.library("library"),
        select_ops=builder.flag("select_ops"),
        flex_library=builder.flex_library(),
        validator=builder.validator(),
        unvalidated=text(get(node, "unvalidated")) == "allow",
        emit=strings(get(node, "emit")),
        position=node.key_position,
    )
    return target if len(problems) == before else None


@dataclass(frozen=True)
class _Builder:
    node: Node
    runtime: str
    paths: Paths
    problems: Problems

    def problem(self, message: str, at: Node | None) -> None:
        self.problems.add(message, (at or self.node).position)

    def key_problem(self, message: str, at: Node | None) -> None:
        self.problems.add(message, (at or self.node).key_position)

    def flag(self, key: str) -> bool:
        child = get(self.node, key)
        return child is not None and child.value is True

    def check_effect(self) -> None:
        """Keys that would do nothing on this runtime, or beside each other."""
        for key, (runtimes, reason) in _ONLY.items():
            child = get(self.node, key)
            if child is not None and self.runtime not in runtimes:
                self.key_problem(
                    f"`{key}` has no effect with runtime {self.runtime}: {reason}; remove it", child
                )
        flex = self.runtime == "select-tf-ops" or self.flag("select_ops")
        for key in ("flex_library", "validator"):
            if (child := get(self.node, key)) is not None and not flex:
                self.key_problem(f"`{key}` has no effect without `select_ops: true`", child)
        both = [get(self.node, key) for key in ("flex_library", "validator")]
        if all(both):
            self.key_problem(
                "`validator` has no effect beside `flex_library`: files are run with one of them;"
                " remove one",
                both[1],
            )
        allowed, denied = (strings(get(self.node, key)) for key in ("allow_ops", "deny_ops"))
        if clash := sorted({*allowed} & {*denied}):
            self.problem(
                f"{clash[0]} is in `allow_ops` too; remove one", get(self.node, "deny_ops")
            )
        elif allowed and denied:
            self.key_problem(
                "`deny_ops` has no effect beside `allow_ops`, which says all that is allowed;"
                " remove one",
                get(self.node, "deny_ops"),
            )
        if (ops := get(self.node, "ops")) is None and self.runtime == "custom-ops":
            self.key_problem(
                "runtime custom-ops needs `ops`: the custom operators that it has kernels for,"
                " such as `ops: {MyOp: {}}`",
                self.node,
            )
        if get(self.node, "library") is not None:
            for name, entry in entries(ops).items():
                if get(entry, "register") is None:
                    self.problem(
                        f"custom op {describe(name)} has no `register`: the function of `library`"
                        " that registers its kernel",
                        entry,
                    )
        else:
            for name, entry in entries(ops).items():
                if (register := get(entry, "register")) is not None:
                    self.key_problem(
                        f"`register` of {describe(name)} has no effect without `library`", register
                    )

    def check_custom(self) -> None:
        """Names of custom ops that would never be custom in a file of this target."""
        ops = entries(get(self.node, "ops"))
        if not ops:
            return
        from tflbuild.tflite.flex_ops import FLEX_OPS  # tables that few need
        from tflbuild.tflite.runtime_versions import known_pairs

        builtin = {name for name, _ in known_pairs()}
        for name, entry in ops.items():
            if name in builtin:
                self.key_problem(
                    f"{name} is a builtin operator, which needs no kernel of yours; remove it",
                    entry,
                )
            elif name in FLEX_OPS and self.flag("select_ops"):
                self.key_problem(
                    f"{name} is a select TensorFlow op: with `select_ops: true` the Flex delegate"
                    " runs it, and your kernel has no effect; remove one of them",
                    entry,
                )
            elif name.startswith("Flex") and name.removeprefix("Flex") in FLEX_OPS:
                self.key_problem(
                    f"{name} is a select TensorFlow op: write `select_ops: true` for the Flex"
                    f" delegate, or {name.removeprefix('Flex')} for a kernel of yours",
                    entry,
                )

    def ops_by_name(self, key: str) -> tuple[str, ...]:
        """Names of operators as files have them: builtin ones, and those that a target adds."""
        child = get(self.node, key)
        found = strings(child)
        if child is None:
            return ()
        from tflbuild.tflite.flex_ops import is_flex_op  # tables that few need
        from tflbuild.tflite.runtime_versions import known_pairs

        known = {name for name, _ in known_pairs()} | set(entries(get(self.node, "ops")))
        items = child.value if isinstance(child.value, list) else ()
        for name, item in zip(found, items, strict=True):
            select = name.startswith("Flex") and is_flex_op(name)
            if name not in known and not select and not name.startswith("STABLEHLO_"):
                hint = nearest(name.upper(), sorted(known)) or (
                    "; operators have the names of the schema, such as CONV_2D, and Flex before the"
                    " name of a select one"
                )
                self.problem(f"unknown operator {describe(name)}{hint}", item)
        return found

    def min_runtime(self) -> tuple[str, str] | None:
        node = get(self.node, "min_runtime")
        found = [(key, text(child) or "") for key, child in entries(node).items()]
        if len(found) > 1:
            self.problem(
                "`min_runtime` takes one numbering, tensorflow or litert; remove one", node
            )
        return found[0] if found else None

    def accelerator(self, name: str, node: Node) -> Accelerator:
        values: dict[str, Any] = {key: child.value for key, child in entries(node).items()}
        return Accelerator(name, **values)

    def custom_ops(self) -> tuple[CustomOp, ...]:
        found = entries(get(self.node, "ops")).items()
        return tuple(
            CustomOp(name, text(get(entry, "register")) or "") for name, entry in sorted(found)
        )

    def library(self, key: str) -> str:
        """A file in the workspace, relative to the root; "" for none."""
        if (child := get(self.node, key)) is None:
            return ""
        try:
            return self.paths.file(child)
        except ManifestError as error:
            self.problems.take(error)
            return ""

    def flex_library(self) -> str:
        """As `library`, but one with an absolute path may lie outside the workspace, as that of an
        installed TensorFlow does."""
        child = get(self.node, "flex_library")
        if child is None or not os.path.isabs(str(child.value)):
            return self.library("flex_library")
        path = os.path.normpath(str(child.value))
        if not os.path.isfile(path):
            self.problem(f"no such file: {describe(path)}", child)
        return os.path.relpath(path, self.paths.root)

    def validator(self) -> str:
        """A Python interpreter: an absolute path, or one below the root. Environments may lie
        outside the workspace, and a symbolic link is what most of them hold."""
        if (child := get(self.node, "validator")) is None:
            return ""
        said = str(child.value)
        path = os.path.normpath(os.path.join(self.paths.folder_of(child), said))
        if os.path.isdir(path):
            inner = next(
                (n for n in ("bin/python", "bin/python3") if os.path.isfile(f"{path}/{n}")), None
            )
            hint = f"; write {os.path.join(said, inner)!r}" if inner else ""
            self.problem(f"expected a Python interpreter, but {describe(said)} is a folder{hint}",
                         child)  # fmt: skip
        elif not os.path.isfile(path):
            self.problem(f"no such file: {describe(said)}", child)
        elif not os.access(path, os.X_OK):
            self.problem(f"{describe(said)} cannot be executed", child)
        return path if os.path.isabs(said) else self.paths.relative(path)
