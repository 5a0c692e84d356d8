"""Source formats: one module each, registered in one literal table."""

from __future__ import annotations

from tflbuild.sources import concrete_function, jax, keras, saved_model
from tflbuild.sources.base import Format

FORMATS: dict[str, Format] = {
    keras.NAME: keras,
    saved_model.NAME: saved_model,
    concrete_function.NAME: concrete_function,
    jax.NAME: jax,
}
