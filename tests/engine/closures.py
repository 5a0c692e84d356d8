"""Which code stands behind each stage, as one digest: `python tests/engine/closures.py --update`.

A stage's closure is its module and whatever it imports of tflbuild, anywhere in the code,
directly or not. The digest is that of the syntax trees without docstrings: comments and layout
do not change it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

STAGES = (
    "fetch", "generate", "data", "lower", "reference", "evaluate", "baseline", "convert",
    "quantize", "compat", "validate", "lower_file", "reference_arrays", "measure", "adopt",
    "benchmark", "debug", "emit", "runtime",
)  # fmt: skip
KEPT = Path(__file__).with_name("stage_closures.json")


@cache
def source_of(module: str) -> Path | None:
    """The file of a tflbuild module; None for something else (a name in a module, say)."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


def without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def imports(module: str, tree: ast.Module) -> set[str]:
    """Modules of tflbuild that are imported anywhere in the code, except for types alone."""
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            origin = resolve_name(relative, module.rpartition(".")[0])
            for alias in node.names:  # a module of a package, or a name in a module
                inner = f"{origin}.{alias.name}"
                found.add(inner if ours(inner) else origin)
    return {name for name in found if ours(name)}


def ours(name: str) -> bool:
    return name.startswith("tflbuild.") and source_of(name) is not None


def closure(module: str) -> dict[str, ast.Module]:
    found: dict[str, ast.Module] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        path = source_of(name)
        assert path is not None, name
        found[name] = without_docstrings(ast.parse(path.read_text()))
        queue += imports(name, found[name])
    return found


def digest(modules: dict[str, ast.Module]) -> str:
    total = hashlib.sha256()
    for name, tree in sorted(modules.items()):
        for node in tree.body:  # raising VERSION is the remedy, not another change
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "VERSION":
                node.value = ast.Constant(0)
        total.update(f"{name}\n{spell(tree)}\n".encode())
    return total.hexdigest()


def spell(node: object) -> str:
    """A syntax tree as text, the same in every version of Python (unlike `ast.dump`)."""
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={spell(value)}"
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and name not in ("ctx", "kind", "type_comment")
        ]
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(spell, node))}]"
    return repr(node)


@cache
def current() -> dict[str, dict[str, object]]:
    from tflbuild.step import STAGES as MODULES

    result: dict[str, dict[str, object]] = {}
    for stage in STAGES:
        modules = closure(f"tflbuild.stages.{stage}")
        result[stage] = {
            "version": MODULES[stage].VERSION,
            "digest": digest(modules),
            "modules": sorted(modules),
        }
    return result


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    KEPT.write_text(json.dumps(current(), indent=1) + "\n")
    print(f"{KEPT} is renewed")
