"""The files that a runtime is built with: whole, in the tools' own syntax, and harmless."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tflbuild import schemas
from tflbuild.custom_runtime import KINDS, files_of
from tflbuild.custom_runtime.base import Environment
from tflbuild.custom_runtime.bazel import registration

NEEDS = {
    "b-int8.tflite": [{"op": "ADD", "version": 2, "kind": "builtin"}],
    "a-int8.tflite": [
        {"op": "ADD", "version": 1, "kind": "builtin"},
        {"op": "CONV_2D", "version": 3, "kind": "builtin"},
        {"op": "ADD", "version": 2, "kind": "builtin"},
    ],
}
SELECT = [{"op": "FlexDet", "version": 1, "kind": "select"}]
CUSTOM = [{"op": "MyOp", "version": 1, "kind": "custom"}]


def environment(runtime: str, *more: dict[str, Any], **declared: str) -> Environment:
    needs = {**NEEDS, "c-float32.tflite": list(more)}
    return Environment.of({"target": "wide", "runtime": runtime, "ops": declared}, needs)


def test_the_union() -> None:
    made = environment("select-tf-ops", *SELECT)
    assert [(use.kind, use.op, use.version, use.files) for use in made.ops] == [
        ("builtin", "ADD", 1, ("a-int8.tflite",)),
        ("builtin", "ADD", 2, ("a-int8.tflite", "b-int8.tflite")),
        ("builtin", "CONV_2D", 3, ("a-int8.tflite",)),
        ("select", "FlexDet", 1, ("c-float32.tflite",)),
    ]
    content = json.loads(made.ops_json())
    assert not list(Draft202012Validator(json.loads(schemas.text("ops"))).iter_errors(content))
    assert content["files"] == ["a-int8.tflite", "b-int8.tflite", "c-float32.tflite"]


def test_the_order_of_files_and_operators_changes_nothing() -> None:
    one = environment("custom-ops", *SELECT, *CUSTOM)
    two = Environment.of(
        {"ops": {}, "runtime": "custom-ops", "target": "wide"},
        {
            "c-float32.tflite": [*CUSTOM, *SELECT, *CUSTOM],
            **{n: list(reversed(NEEDS[n])) for n in sorted(NEEDS)},
        },
    )
    assert files_of(one) == files_of(two)


def calls(text: str) -> dict[str, dict[str, Any]]:
    """The rules of a BUILD file, which is Python as far as it goes here."""
    tree, names = ast.parse(text), {}
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            rule = ast.unparse(node.value.func)
            found.setdefault(rule, {"loads": []})
            values = [ast.literal_eval(value) for value in node.value.args]
            found[rule]["loads"].append(values)
            for word in node.value.keywords:
                value = word.value
                assert word.arg is not None
                found[rule][word.arg] = (
                    names[value.id] if isinstance(value, ast.Name) else ast.literal_eval(value)
                )
    return found


@pytest.mark.parametrize(
    ("more", "rules", "flex"),
    [
        ([], ("android", "c", "cc"), ()),
        (SELECT, ("android", "c", "cc"), ("android", "cc")),
        (CUSTOM, ("android", "cc"), ()),
        ([*SELECT, *CUSTOM], ("android", "cc"), ("android", "cc")),
    ],
)
def test_bazel(more: list[Any], rules: tuple[str, ...], flex: tuple[str, ...]) -> None:
    rules_by_name = calls(files_of(environment("custom-ops", *more))["BUILD.bazel"])
    loaded = [name for load in rules_by_name.pop("load")["loads"] for name in load[1:]]
    names = [f"tflite_custom_{r}_library" for r in rules] + [
        f"tflite_flex_{r}_library" for r in flex
    ]
    assert loaded == names
    assert list(rules_by_name) == names
    models = [":a-int8.tflite", ":b-int8.tflite", ":c-float32.tflite"]
    for name, rule in rules_by_name.items():
        assert rule["models"] == models
        own = name.startswith("tflite_custom")
        assert ("srcs" in rule, "deps" in rule) == ((own and CUSTOM[0] in more),) * 2


def run_aar(tmp_path: Path, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "dist/wide/runtime/build_aar.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(text)
    tool = tmp_path / "tf/tensorflow/lite/tools/build_aar.sh"
    tool.parent.mkdir(parents=True, exist_ok=True)
    tool.write_text('for a in "$@"; do echo "$a"; done')
    return subprocess.run(
        ["bash", str(script)],
        capture_output=True, text=True, cwd="/",
        env={"PATH": os.environ["PATH"], "TENSORFLOW": str(tmp_path / "tf"), **variables},
    )  # fmt: skip


def test_android(tmp_path: Path) -> None:
    done = run_aar(tmp_path, files_of(environment("select-tf-ops", *SELECT))["build_aar.sh"])
    folder = tmp_path / "dist/wide"
    models = ",".join(str(folder / f"{m}.tflite") for m in ("a-int8", "b-int8", "c-float32"))
    assert done.stdout.splitlines() == [
        f"--input_models={models}", "--target_archs=arm64-v8a,armeabi-v7a,x86,x86_64",
    ]  # fmt: skip


def test_android_with_custom_ops(tmp_path: Path) -> None:
    text = files_of(environment("custom-ops", *CUSTOM, MyOp="RegisterMyOp"))["build_aar.sh"]
    assert "tflite::ops::custom::Register_MY_OP()  (RegisterMyOp in the manifest)" in text
    missing = run_aar(tmp_path, text)
    assert missing.returncode != 0
    assert "CUSTOM_OPS_SRCS: name the files" in missing.stderr
    done = run_aar(tmp_path, text, CUSTOM_OPS_SRCS="/x/my.cc", TARGET_ARCHS="x86")
    assert done.stdout.splitlines()[1:] == [
        "--target_archs=x86", "--tflite_custom_ops_srcs=/x/my.cc", "--tflite_custom_ops_deps=",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "function"),
    [("MyOp", "Register_MY_OP"), ("Betainc", "Register_BETAINC"), ("my_op2", "Register_MY_OP2")],
)
def test_registration(op: str, function: str) -> None:
    assert registration(op) == f"tflite::ops::custom::{function}"


@pytest.mark.parametrize(
    "name", ["x\nrm -rf /", "$(touch pwned)", "`touch pwned`", '"}; touch pwned #']
)
def test_a_hostile_name_of_a_custom_op(tmp_path: Path, name: str) -> None:
    made = environment("custom-ops", {"op": name, "version": 1, "kind": "custom"})
    files = files_of(made)
    calls(files["BUILD.bazel"])
    done = run_aar(tmp_path, files["build_aar.sh"], CUSTOM_OPS_SRCS="/x/my.cc")
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.rglob("pwned"))
    assert "\nrm" not in files["build_aar.sh"] + files["BUILD.bazel"]


def test_all_runtimes_are_known() -> None:
    from tflbuild.targets import RUNTIMES

    assert set(KINDS) <= set(RUNTIMES)
