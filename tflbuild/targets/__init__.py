"""Built-in runtimes: one module each, registered in one literal table."""

from __future__ import annotations

from tflbuild.targets import custom_ops, litert, micro, play_services, select_tf_ops
from tflbuild.targets.base import Runtime

RUNTIMES: dict[str, Runtime] = {
    litert.NAME: litert,
    play_services.NAME: play_services,
    select_tf_ops.NAME: select_tf_ops,
    custom_ops.NAME: custom_ops,
    micro.NAME: micro,
}
