"""`tflbuild` with the stages of `fake_stages`: `python fake_build.py build -C FOLDER …`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tflbuild.cli import run
from tflbuild.engine import zygote

sys.path.append(str(Path(__file__).with_name("fakes")))  # workers take over the module path
FAKES = ("fake_stages", "tflbuild.engine.child")


class FakePool(zygote.ZygotePool):
    """Zygotes that import the fakes; those of other pools stay as they are."""

    modules = FAKES

    def get(self, kind: str) -> zygote.ZygoteProcess:
        real = zygote.ZYGOTES
        zygote.ZYGOTES = {"tf": self.modules, "lite": self.modules}
        try:
            return super().get(kind)
        finally:
            zygote.ZYGOTES = real


if __name__ == "__main__":
    zygote.ZYGOTES = {"tf": FAKES, "lite": FAKES}
    # A job in the background (as a CI may run the tests) hands on SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))
