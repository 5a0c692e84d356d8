"""`select-tf-ops` and `custom-ops`: a selective build with Bazel, or an AAR for Android.

Rules and flags: `tflite/build_def.bzl`, `tflite/delegates/flex/build_def.bzl`,
`tflite/tools/build_aar.sh`; the name of the function that registers a custom op:
`tflite/tools/gen_op_registration.cc` and `…_main.cc` (LiteRT, 2026-08).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tflbuild.custom_runtime.base import Environment

ARCHITECTURES = "arm64-v8a,armeabi-v7a,x86,x86_64"


def files(environment: Environment) -> dict[str, str]:
    return {"BUILD.bazel": build_file(environment), "build_aar.sh": aar_script(environment)}


def registration(op: str) -> str:
    """The function that a selective build calls for a custom op: MyOp gives Register_MY_OP."""
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", op).upper()
    return f"tflite::ops::custom::Register_{_harmless(name)}"


def _harmless(name: str) -> str:
    """A custom code is whatever a file says: nothing of it may leave its comment."""
    return re.sub(r"[^A-Za-z0-9_.:-]", "?", name)


def build_file(environment: Environment) -> str:
    """A BUILD file with one library for each language, and the Flex delegate where it is needed."""
    custom, select = environment.names("custom"), bool(environment.names("select"))
    lines = [
        f"# The runtime for the files that are released for target {environment.target}: their",
        "# operators and no others. Written by tflbuild; changed whenever that list changes.",
        "#",
        "# How to use it: copy this file and the .tflite files that it names into one folder of a",
        "# Bazel workspace that has TensorFlow as org_tensorflow, then",
        "#   bazel build -c opt //that/folder:runtime_cc",
        "# In a checkout of LiteRT itself, load the rules from //tflite:build_def.bzl",
        *(["# and //tflite/delegates/flex:build_def.bzl."] if select else []),
    ]
    rules = ["tflite_custom_android_library"]
    if not custom:  # its rule has no room for further sources
        rules.append("tflite_custom_c_library")
    rules.append("tflite_custom_cc_library")
    if custom:
        lines += [
            "#",
            "# Custom ops: put the files that implement them into CUSTOM_OPS_SRCS, and what these",
            "# need into CUSTOM_OPS_DEPS. The build calls these functions by name, each of which",
            "# returns a TfLiteRegistration*:",
            *(f"#   {registration(op)}()" + _declared(environment, op) for op in custom),
            "# The C library (tflite_custom_c_library) takes no custom ops: use the C++ one.",
        ]
    lines += ["", *_load("@org_tensorflow//tensorflow/lite:build_def.bzl", rules)]
    if select:
        flex = ("tflite_flex_android_library", "tflite_flex_cc_library")
        lines += _load("@org_tensorflow//tensorflow/lite/delegates/flex:build_def.bzl", flex)
    lines += ["", "MODELS = [", *(f'    ":{name}",' for name in environment.files), "]"]
    if custom:
        lines += ["", "CUSTOM_OPS_SRCS = []", "", "CUSTOM_OPS_DEPS = []"]
    further = ("srcs = CUSTOM_OPS_SRCS", "deps = CUSTOM_OPS_DEPS") if custom else ()
    for rule in rules:
        language = rule.removeprefix("tflite_custom_").removesuffix("_library")
        lines += _rule(rule, f"runtime_{language}", further)
    if select:
        lines += ["", "# The select TensorFlow ops: a delegate that an app links beside the above."]
        for rule in ("tflite_flex_android_library", "tflite_flex_cc_library"):
            language = rule.removeprefix("tflite_flex_").removesuffix("_library")
            lines += _rule(rule, f"flex_{language}", ())[1 if language == "android" else 0 :]
    return "\n".join(lines) + "\n"


def _declared(environment: Environment, op: str) -> str:
    own = environment.custom.get(op)
    return f"  ({_harmless(own)} in the manifest)" if own else ""


def _load(label: str, names: Sequence[str]) -> list[str]:
    return ["load(", f'    "{label}",', *(f'    "{name}",' for name in names), ")"]


def _rule(rule: str, name: str, further: Sequence[str]) -> list[str]:
    fields = [f'name = "{name}"', "models = MODELS", *further]
    return ["", f"{rule}(", *(f"    {field}," for field in fields), ")"]


def aar_script(environment: Environment) -> str:
    """A line for `tensorflow/lite/tools/build_aar.sh`, as a script that finds the files."""
    custom = environment.names("custom")
    models = ",".join(f"$here/{name}" for name in environment.files)
    archives = "bazel-bin/tmp/tensorflow-lite.aar"
    if environment.names("select"):
        archives += " and bazel-bin/tmp/tensorflow-lite-select-tf-ops.aar"
    flags = ['--input_models="$models"', f'--target_archs="${{TARGET_ARCHS:-{ARCHITECTURES}}}"']
    lines = [
        "#!/bin/bash",
        f"# Android archives for the files that are released for target {environment.target}:",
        "# their operators and no others. Written by tflbuild; changed whenever that list changes.",
        "#",
        "# How to use it, with a TensorFlow checkout that ./configure prepared for Android:",
        "#   TENSORFLOW=/path/to/tensorflow bash build_aar.sh",
        f"# It makes {archives} there.",
        f"# TARGET_ARCHS: which of {ARCHITECTURES} (all, when it is not set).",
    ]
    if custom:
        lines += [
            "# CUSTOM_OPS_SRCS: the files that implement the custom ops, with commas between;",
            "# CUSTOM_OPS_DEPS: Bazel targets of TensorFlow that they need. They must define",
            *(f"#   {registration(op)}()" + _declared(environment, op) for op in custom),
        ]
        flags += [
            '--tflite_custom_ops_srcs="${CUSTOM_OPS_SRCS:?name the files that implement them}"',
            '--tflite_custom_ops_deps="${CUSTOM_OPS_DEPS:-}"',
        ]
    lines += [
        "set -e",
        'here=$(cd "$(dirname "$0")/.." && pwd)',
        f'models="{models}"',
        'cd "${TENSORFLOW:?set it to the folder of a TensorFlow checkout}"',
        "bash tensorflow/lite/tools/build_aar.sh \\",
        *(f"  {flag} \\" for flag in flags[:-1]),
        f"  {flags[-1]}",
    ]
    return "\n".join(lines) + "\n"
