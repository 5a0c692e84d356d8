"""A zygote that has a thread after its first fork (once: its successor is as it should be)."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_once = Path(os.environ["HOME"]) / "once"
if not _once.exists():
    _once.touch()
    os.register_at_fork(
        after_in_parent=threading.Thread(target=threading.Event().wait, daemon=True).start
    )
