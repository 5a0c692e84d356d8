"""Make a workspace of many tiny models, for measurements.

    python benchmarks/make_models.py FOLDER [--models 1000] [--distinct N] [--manifests one|many]

One network is made with Keras, once; the others are copies of its .h5 file with other weights.
`--distinct` limits how many different contents there are: models of the same content share their
actions, so that the state of 1,000 models can be built in the time of a few.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

BASE = "base.h5"
SETTINGS = """\
defaults:
  data: {calibration: {random: {seed: 0, samples: 4, low: -1, high: 1}}}
  optimizations:
    float32: {}
    dynamic: {quantize: dynamic_range}
    half: {quantize: float16}
    int8: {quantize: int8, io: int8}
  targets: [litert]
"""
MODEL = "  {name}: {{source: {{format: keras, path: {path}}}}}\n"


def make_base(path: Path) -> None:
    """A network of two layers, 1,324 parameters; the first is large enough for dynamic range."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input((32,), name="x")
    hidden = keras.layers.Dense(32, activation="relu", name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(8, name="y")(hidden), name="tiny")
    model.save(path)


def vary(path: Path, seed: int) -> None:
    """Other weights, of the same spread."""
    import h5py
    import numpy as np

    generator = np.random.default_rng(seed)

    def change(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2:
            item[...] = generator.normal(0, 0.2, item.shape).astype(item.dtype)

    with h5py.File(path, "r+") as file:
        file.visititems(change)


def make_workspace(
    folder: Path, models: int, distinct: int | None = None, manifests: str = "one"
) -> None:
    """Write `models` models and their manifest, or a manifest for each."""
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / BASE
    if not base.is_file():
        make_base(base)
    names = [f"m{index:05d}" for index in range(models)]
    contents: list[Path] = []
    for index, name in enumerate(names):
        path = folder / "models" / name / "model.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(contents) < (distinct or models):
            shutil.copyfile(base, path)
            vary(path, index)
            contents.append(path)
        else:
            shutil.copyfile(contents[index % len(contents)], path)
        if manifests == "many":
            text = f"models:\n{MODEL.format(name=name, path='model.h5')}"
            (path.parent / "tflbuild.yaml").write_text(text)
    text = "version: 1\nproject: {name: many}\n" + SETTINGS
    if manifests == "many":
        text += "include: [models/*/tflbuild.yaml]\n"
    else:
        text += "models:\n" + "".join(
            MODEL.format(name=name, path=f"models/{name}/model.h5") for name in names
        )
    (folder / "tflbuild.yaml").write_text(text)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=int, default=1000, metavar="N")
    parser.add_argument(
        "--distinct", type=int, metavar="N", help="different contents (default: all)"
    )
    parser.add_argument("--manifests", choices=("one", "many"), default="one")
    return parser


def main() -> None:
    parser = arguments()
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    make_workspace(given.folder, given.models, given.distinct, given.manifests)
    print(f"{given.models} models in {given.folder}")


if __name__ == "__main__":
    main()
