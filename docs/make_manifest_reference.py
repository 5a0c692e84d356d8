"""Write docs/MANIFEST.md from the JSON Schema of the manifest.

python docs/make_manifest_reference.py            # writes docs/MANIFEST.md
python docs/make_manifest_reference.py --check    # exit 1 when it is not current
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tflbuild.manifest.schema import referred

DOCS = Path(__file__).resolve().parent
SCHEMA = DOCS.parent / "tflbuild" / "schemas" / "tflbuild.schema.json"
REFERENCE = DOCS / "MANIFEST.md"

PLANNED = "x-tflbuild-planned"
PLANNED_VALUES = "x-tflbuild-planned-values"
EXPECTED = "x-tflbuild-expected"
TYPES = {
    "object": "mapping", "array": "list", "string": "text", "boolean": "true or false",
    "integer": "whole number", "number": "number",
}  # fmt: skip

INTRODUCTION = """\
# The manifest, key by key

Made from [`tflbuild.schema.json`](../tflbuild/schemas/tflbuild.schema.json) by
`python docs/make_manifest_reference.py`; do not edit it by hand. `tflbuild schema` prints the
schema itself: give it to your editor. [GUIDE.md](GUIDE.md) explains; this page lists.

- `<name>` stands for a name of your choice, `[]` for each entry of a list.
- `data.test` and `data.signatures.<name>` take what `data.calibration` takes, where only the latter
  lists it all.
- Paths are relative to the manifest that holds them and stay below the workspace root.
- Sizes: a whole number of bytes, or a number with `KB`, `MB`, `GB` (1000) or `KiB`, `MiB`, `GiB`
  (1024). Counts: a whole number, or a number with `K`, `M`, `G`.
- `defaults` takes every key of a model and is merged under each model of its manifest and of the
  manifests that it includes: mappings key by key, lists and single values replace, `null`
  removes.
- An unknown key is an error with file, line, column and the nearest known key. A key that is
  known but not built yet is refused by name: nothing is accepted and ignored.
"""

PLANNED_INTRODUCTION = """
## Known, and not supported yet

These are refused with the remedy of the right column.

| key or value | today |
| --- | --- |
"""


_DATA = "models.<name>.data.calibration."
_PLACES = {
    "#/$defs/model": ("models.<name>",),
    "#/$defs/tfrecord": (f"{_DATA}tfrecord",),
    "#/$defs/images": (f"{_DATA}images",),
}


@dataclass(frozen=True)
class Key:
    """One key of the manifest."""

    path: str
    part: dict[str, Any]


def keys(part: dict[str, Any], whole: dict[str, Any], path: str = "") -> Iterator[Key]:
    """Every key below a part of the schema, in the schema's order. A planned key comes alone."""
    for name, child in part.get("properties", {}).items():
        yield from _key(child, whole, f"{path}.{name}" if path else name)
    named = part.get("additionalProperties")
    if isinstance(named, dict) and named:
        yield from _key(named, whole, f"{path}.<name>")
    items = part.get("items")
    if isinstance(items, dict) and "properties" in items:  # the keys of each entry of a list
        yield from keys(items, whole, f"{path}[]")


def _key(part: dict[str, Any], whole: dict[str, Any], path: str) -> Iterator[Key]:
    reference = part.get("$ref")
    if reference is not None:
        part = {**referred(whole, reference), **part}
    yield Key(path, part)
    # What is referred to is listed once: at its own place, or what has none (`#/$defs/…`) where it
    # is met first, which for a model is not `defaults`.
    elsewhere = reference is not None and path not in _PLACES.get(reference, ())
    if PLANNED not in part and not elsewhere:
        yield from keys(part, whole, path)


def value_of(part: dict[str, Any]) -> str:
    """What may be written."""
    if "enum" in part:
        return " \\| ".join(f"`{choice}`" for choice in part["enum"] if choice is not None)
    if EXPECTED in part:
        return str(part[EXPECTED])
    types = part["type"] if isinstance(part["type"], list) else [part["type"]]
    return " or ".join(TYPES[name] for name in types if name != "null")


def default_of(part: dict[str, Any]) -> str:
    default = part.get("default")
    if default is None or default == {} or default == []:
        return ""
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def reference(schema: dict[str, Any]) -> str:
    """The page."""
    lines = [INTRODUCTION]
    planned = []
    section = ""
    for key in keys(schema, schema):
        if PLANNED in key.part:
            planned.append(f"| `{key.path}` | {_cell(key.part[PLANNED])} |")
            continue
        top = key.path.split(".")[0]
        if top != section:
            section = top
            lines += [f"\n## `{top}`\n", "| key | value | default | meaning |",
                      "| --- | --- | --- | --- |"]  # fmt: skip
        lines.append(
            f"| `{key.path}` | {_cell(value_of(key.part))} | {default_of(key.part)} |"
            f" {_cell(key.part.get('description', ''))} |"
        )
        planned += [
            f"| `{key.path}: {value}` | {_cell(remedy)} |"
            for value, remedy in key.part.get(PLANNED_VALUES, {}).items()
        ]
    return "\n".join(lines) + "\n" + PLANNED_INTRODUCTION + "\n".join(planned) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def main(arguments: list[str]) -> int:
    text = reference(json.loads(SCHEMA.read_text("utf-8")))
    if "--check" in arguments:
        current = REFERENCE.is_file() and REFERENCE.read_text("utf-8") == text
        if not current:
            print(f"{REFERENCE.name} is not current: run python docs/{Path(__file__).name}")
        return 0 if current else 1
    REFERENCE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
