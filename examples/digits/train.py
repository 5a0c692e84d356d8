"""Train the digits model of the root manifest and write it in three source formats.

A small convolutional network on scikit-learn's handwritten digits (1,797 images of 8 × 8
pixels, 0 to 16, here 0 to 1). The files beside this script are its committed result; running it
again gives a model of the same quality, but not the same bytes.

    pip install scikit-learn        # tflbuild itself brings TensorFlow and Keras
    python examples/digits/train.py [FOLDER]

Writes, below FOLDER (default: this script's own):

    models/saved_model/    a SavedModel, signature serving_default
    models/digits.keras    the same model, Keras 3's own format
    models/digits.h5       the same model, HDF5
    models/weights.npz     its weights alone, by layer: for networks that are written in code
    data/calibration.npz   image: 200 training images, for the ranges of int8
    data/test.npz          image, labels: 450 images that the training never saw
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 0
TEST_IMAGES = 450
CALIBRATION_IMAGES = 200
EPOCHS = 40


def network() -> keras.Model:
    """9,930 parameters; the second convolution and the last layer are large enough (1,024
    weights and more) for dynamic-range quantization to have an effect."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="strokes")(image)
    x = keras.layers.MaxPooling2D(name="halve")(x)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="shapes")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dropout(0.25, name="dropout")(x)
    digit = keras.layers.Dense(10, activation="softmax", name="digit")(x)
    return keras.Model(image, digit, name="digits")


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Arrays by name: `strokes/kernel`, `strokes/bias`, …"""
    return {
        f"{layer.name}/{weight.name}": np.asarray(weight.value)
        for layer in model.layers
        for weight in layer.weights
    }


def main(folder: Path) -> None:
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels.astype("int64"), test_size=TEST_IMAGES, stratify=labels, random_state=SEED
    )
    trained = network()
    trained.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    trained.fit(train_x, train_y, batch_size=64, epochs=EPOCHS, verbose=0)
    accuracy = trained.evaluate(test_x, test_y, verbose=0)[1]
    print(f"accuracy on {len(test_x)} test images: {accuracy:.4f}")

    model = network()  # without the optimizer
    model.set_weights(trained.get_weights())
    models, data = folder / "models", folder / "data"
    shutil.rmtree(models / "saved_model", ignore_errors=True)
    for path in (models, data):
        path.mkdir(parents=True, exist_ok=True)
    model.export(models / "saved_model", verbose=False)
    model.save(models / "digits.keras")
    model.save(models / "digits.h5")
    np.savez(models / "weights.npz", **weights(model))
    np.savez_compressed(data / "calibration.npz", image=train_x[:CALIBRATION_IMAGES])
    np.savez_compressed(data / "test.npz", image=test_x, labels=test_y)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
