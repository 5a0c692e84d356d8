"""A build as JSON lines on standard output, one for each event, each flushed when it happens."""

from __future__ import annotations

import json
import sys

from tflbuild.engine.events import BuildStarted, Event, Measured, TaskStarted


class JsonLines:
    def __init__(self, results: bool = False) -> None:
        self.results = results  # the measurements too: they are what evaluate and validate give

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        if isinstance(event, (BuildStarted, TaskStarted)):
            return
        if isinstance(event, Measured) and not self.results:
            return
        sys.stdout.write(json.dumps(event.as_json()) + "\n")
        sys.stdout.flush()
