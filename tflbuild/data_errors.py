"""In a child: which declared data an error is about, and where the manifest declares it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tflbuild.errors import TaskError


@contextmanager
def declared(use: str, found: str, signature: str | None = None) -> Iterator[None]:
    """Errors about the data of a signature (None: the only one) get the key that declares it.

    `use`: what messages call it, `found`: what it was declared as; parity without test data is
    measured on that for calibration. What is written into outputs says `use` alone: where data
    was declared is in no key.
    """
    try:
        yield
    except TaskError as error:
        text = str(error)
        if found != use:
            text = text.replace(f"{use} data", f"{found} data", 1)
        if signature is not None:
            text = f"signature {signature!r}: {text}"
        section = f"data.{found}" if signature is None else f"data.signatures.{signature}.{found}"
        error.args = (text,)
        if not error.key or error.key in _WITHIN:
            error.key = f"{section}.{error.key}".removesuffix(".")
        raise


_WITHIN = ("labels", "samples")  # keys of a data section


def found_in(params: Mapping[str, object], index: int) -> str:
    """As what the data of parity was declared, by the number of its signature."""
    names = params.get("declared")
    return str(names[index]) if isinstance(names, list) else "test"
