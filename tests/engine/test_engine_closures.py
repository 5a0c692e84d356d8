"""A stage whose code changed must say so, or old results would be taken for new ones."""

from __future__ import annotations

import ast
import json

import closures
import pytest


@pytest.mark.parametrize("stage", closures.STAGES)
def test_version_goes_with_code(stage: str) -> None:
    kept = json.loads(closures.KEPT.read_text())[stage]
    now = closures.current()[stage]
    if kept["digest"] == now["digest"] and kept["version"] == now["version"]:
        return
    came = sorted(set(now["modules"]) ^ set(kept["modules"]))
    if kept["version"] == now["version"]:
        pytest.fail(
            f"the code behind stage {stage!r} changed ({came or 'same modules'}), its VERSION did"
            f" not. If its outputs may differ for equal inputs, raise VERSION in"
            f" tflbuild/stages/{stage}.py. Then, in both cases, run"
            " `python tests/engine/closures.py --update` and commit stage_closures.json."
        )
    pytest.fail(
        f"VERSION of stage {stage!r} is {now['version']}, kept is {kept['version']}: run"
        " `python tests/engine/closures.py --update` and commit stage_closures.json."
    )


def test_what_a_closure_holds() -> None:
    modules = closures.current()
    for stage, found in modules.items():
        held = found["modules"]
        assert f"tflbuild.stages.{stage}" in held
        assert not [m for m in held if m.startswith(("tflbuild.engine", "tflbuild.reporting"))]
    for name in ("read", "flat", "cost"):  # imported from within functions, and relatively
        assert f"tflbuild.tflite.{name}" in modules["compat"]["modules"]
    assert "tflbuild.sources.keras" in modules["lower"]["modules"]


def test_comments_and_docstrings_do_not_count() -> None:
    def digest(text: str) -> str:
        return closures.digest({"m": closures.without_docstrings(ast.parse(text))})

    one = digest('"""Doc."""\nVERSION = 1\ndef f():\n    """Doc."""\n    return 1\n')
    assert digest("VERSION = 2  # comment\n\n\ndef f(): return 1\n") == one
    assert digest("VERSION = 1\ndef f(): return 2\n") != one
