"""docs/CONVERTER.md against the installed converter and the manifest's keys."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tflbuild.manifest.schema import load_schema
from tflbuild.optimizations.settings import SETTINGS

PAGE = Path(__file__).parents[2] / "docs/CONVERTER.md"
ROW = re.compile(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \| (.*?)\|?$", re.M)
ASK = """
import json, tensorflow as tf
def show(value):
    if isinstance(value, tf.dtypes.DType):
        return f"tf.{value.name}"
    if isinstance(value, set):
        return "{" + ", ".join(op.name for op in value) + "}" if value else "set()"
    return repr(value)
def public(thing):
    return {n: show(v) for n, v in vars(thing).items() if not n.startswith("_")}
converter = tf.lite.TFLiteConverter([], None)
old = tf.compat.v1.lite.TFLiteConverter
spec = tf.lite.TargetSpec()
private = {n: show(v) for n, v in vars(converter).items() if n.startswith("_")}
private |= {"target_spec." + n: show(v) for n, v in vars(spec).items() if n.startswith("_")}
print(json.dumps([public(converter), public(spec), private]))
"""


def tables() -> list[dict[str, tuple[str, str, str]]]:
    """The page's tables: attribute → (manifest key, default, note)."""
    text = PAGE.read_text()
    parts = re.split(r"^## ", text, flags=re.M)
    found = [{m[1]: (m[2], m[3], m[4]) for m in ROW.finditer(part)} for part in parts]
    return [table for table in found if table]


def setting_keys() -> dict[str, object]:
    schema = load_schema()["properties"]["models"]["additionalProperties"]["properties"]
    one = schema["optimizations"]["additionalProperties"]["properties"]
    keys: dict[str, object] = dict(one["converter"]["properties"])
    return keys


@pytest.mark.convert
def test_the_page_has_every_attribute_of_the_installed_converter() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "-1", "HOME": "/nonexistent",
             "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    installed = json.loads(done.stdout.splitlines()[-1])
    converter, spec, private = tables()
    for table, real in ((converter, installed[0]), (spec, installed[1])):
        assert sorted(table) == sorted(real)
    for table, real in ((converter, installed[0]), (spec, installed[1]), (private, installed[2])):
        for name, (_, default, _) in table.items():
            if name != "target_spec":
                assert default.strip("`") == real[name], name


def test_each_row_has_a_key_or_a_reason() -> None:
    for table in tables():
        for name, (key, _, note) in table.items():
            if key == "–":
                assert len(note) > 9, name
            else:
                assert "`" in key or key == "see below"


def test_settings_schema_and_page_are_one_list() -> None:
    told = {
        (match[1], name)
        for table in tables()
        for name, (key, _, _) in table.items()
        for match in [re.fullmatch(r"`converter\.(\w+)`", key)]
        if match
    }
    assert told == {(key, setting.attribute) for key, setting in SETTINGS.items()}
    assert sorted(setting_keys()) == sorted(SETTINGS)


@pytest.mark.parametrize("key", SETTINGS)
def test_the_schema_has_type_default_and_description(key: str) -> None:
    part = setting_keys()[key]
    assert isinstance(part, dict)
    assert part["default"] == SETTINGS[key].default
    assert "2.21" in part["description"]
    assert "boolean" in part["type"] or SETTINGS[key].default in part["enum"]
