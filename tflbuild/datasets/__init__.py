"""Data that is not arrays yet: one module a kind, registered in one literal table."""

from __future__ import annotations

from tflbuild.datasets import images, python, tfrecord
from tflbuild.datasets.base import Kind

KINDS: dict[str, Kind] = {
    images.NAME: images,
    python.NAME: python,
    tfrecord.NAME: tfrecord,
}
