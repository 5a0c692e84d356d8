"""A tensor's name as a person recognises it."""

from __future__ import annotations


def shown_layer(name: str) -> str:
    return name.split(";")[0][:80]
