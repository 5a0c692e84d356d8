"""A build as JSON lines on standard output, one for each event, each flushed when it happens."""

from __future__ import annotations

import json
import sys

from tflbuild.engine.events import Event, TaskStarted


class JsonLines:
    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskStarted):
            return
        sys.stdout.write(json.dumps(event.as_json()) + "\n")
        sys.stdout.flush()
