"""Models by hand are those of `tests/tflite`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tflite"))
