"""`python -m tflbuild` and the `tflbuild` script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from tflbuild.cli import run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before the command line's own boundary stands
        sys.exit(130)


if __name__ == "__main__":
    main()
