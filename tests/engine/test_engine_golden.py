"""Golden tests and limits of parity in the graph: what runs again, and what does not."""

from __future__ import annotations

import numpy as np
from fake_workspace import Fake

MANIFEST = """
version: 1
project: {name: fake}
defaults:
  data: {calibration: {random: {samples: 4}}}
models:
  a:
    source: {format: keras, path: models/a.keras}
    optimizations:
      float32: {}
      int8: {quantize: int8, parity: {sqnr: %(own)s}}
    validate:
      parity: {top_k: {k: %(k)s, min: %(min)s}}
      golden: {one: {npz: one.npz, optimizations: [int8], max_abs_error: %(limit)s}}
"""
FIRST = {"own": 5, "k": 1, "min": 0, "limit": 0.5}


def ran(fake: Fake, **changed: object) -> list[str]:
    fake.write(MANIFEST % {**FIRST, **changed})
    result = fake.build(keep_going=True)
    return [task for task in result.ran() if not task.startswith("release:")]


def test_limits_are_in_no_key_and_an_archive_is_in_one(empty: Fake) -> None:
    fake = empty
    fake.model("a", 1)
    fake.write(files={"one.npz": {"x": np.zeros(1)}})
    assert len(ran(fake)) > 5
    for changed in ({"limit": 0.1}, {"own": 6}, {"min": 0.5}, {"limit": "{int8: 3}"}):
        assert ran(fake, **changed) == []
    # Which k is measured is asked of the action.
    assert ran(fake, k=2) == ["validate:a:float32", "validate:a:int8"]
    fake.write(files={"one.npz": {"x": np.ones(1)}})
    assert ran(fake, k=2) == ["validate:a:int8"]
    assert "validate:a:int8" in fake.build(str(fake.root / "one.npz"), keep_going=True).gates
