"""Write inspect.schema.json: what it says of a file is what compat.schema.json says.

python docs/make_inspect_schema.py            # writes tflbuild/schemas/inspect.schema.json
python docs/make_inspect_schema.py --check    # exit 1 when it is not current
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).resolve().parent.parent / "tflbuild" / "schemas"
COMPAT, INSPECT = SCHEMAS / "compat.schema.json", SCHEMAS / "inspect.schema.json"


def schema(compat: dict[str, Any]) -> dict[str, Any]:
    """The schema of `tflbuild inspect --format json`."""
    measured = json.loads(json.dumps(compat["properties"]["measured"]))
    measured["type"] = ["object", "null"]
    measured["description"] = "What the file holds, costs and needs; null: it cannot be read."
    measured["properties"]["runtime"] = {
        "description": "The runtime that it was measured for; null: none was named.",
        "type": ["string", "null"],
    }
    file = {
        "description": "One file.",
        "type": "object",
        "properties": {
            "file": {"description": "As it was named.", "type": "string"},
            "error": {
                "description": 'Why it cannot be read; "" when it can.',
                "type": "string",
            },
            "exit": {
                "description": "0: nothing is wrong, and it fits; 1: it does not fit the target,"
                " or LiteRT refuses it; 2: it cannot be read.",
                "type": "integer",
                "enum": [0, 1, 2],
            },
            "measured": measured,
            "gate": {
                "description": "The verdict for the target; null without --target.",
                "anyOf": [{"$ref": "#/$defs/verdict"}, {"type": "null"}],
            },
        },
        "required": ["file", "error", "exit", "measured", "gate"],
    }
    return {
        "$schema": compat["$schema"],
        "$id": compat["$id"].replace("compat", "inspect"),
        "title": "what .tflite files hold (tflbuild inspect --format json)",
        "description": "The files in the order in which they were named.",
        "type": "object",
        "properties": {
            "target": {
                "description": "What --target names; null without.",
                "type": ["string", "null"],
            },
            "files": {"description": "The files.", "type": "array", "items": file},
        },
        "required": ["target", "files"],
        "$defs": compat["$defs"],
    }


def main() -> int:
    text = json.dumps(schema(json.loads(COMPAT.read_text())), indent=2, ensure_ascii=False) + "\n"
    if "--check" in sys.argv:
        return int(not INSPECT.is_file() or INSPECT.read_text() != text)
    INSPECT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
