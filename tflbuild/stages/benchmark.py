"""benchmark: how fast all converted files of a model are on this machine, and what they take of it.

Output: `benchmark.json`. One action measures all of them, in rounds beside each other, and runs
when nothing else does (`Step.alone`). It measures and does not judge. Its numbers are no promise:
they are not the same twice, and stay out of `dist/`.
"""

from __future__ import annotations

from tflbuild.stages.base import Request

VERSION = 1
MODULES: tuple[str, ...] = ("numpy", "ai_edge_litert")
ZYGOTE = "lite"


def run(request: Request) -> None:
    from tflbuild.benchmarking.measuring import measure
    from tflbuild.limits import limit_action

    limit_action(request.inputs.values())
    request.write_json("benchmark.json", measure(request))
