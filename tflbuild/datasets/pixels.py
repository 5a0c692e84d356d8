"""From an encoded image to the array that a model takes, by Pillow, step by step as declared.

EXIF orientation, `color`, `resize`, `crop` (all on 8-bit pixels), then (pixel * scale - mean) / std
computed in float64 and rounded once to `dtype`, then `layout`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tflbuild.errors import TaskError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

MODULE = "PIL"
# Never EPS, PDF and the like, for which Pillow would start other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
LARGEST = 100_000_000  # pixels
MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}
_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def require_pillow() -> None:
    """Raises TaskError with the command that installs it."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise TaskError(
            "images need Pillow, which is not installed: pip install 'tflbuild[images]'"
        ) from error


class Decoder:
    """`params`: the fields of `Pixels` (manifest/model.py) as a mapping."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        require_pillow()
        self.params = params
        self._table = value_table(params)

    def decode(self, source: Path | IO[bytes], where: str) -> Array:
        """The array of one image. Raises TaskError with one line that names it."""
        from PIL import Image

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about metadata, sizes we check ourselves
                with Image.open(source, formats=FORMATS) as image:
                    if image.width * image.height > LARGEST:
                        raise TaskError(
                            f"{where} has {image.width} x {image.height} pixels, more than the"
                            f" {LARGEST} that are read"
                        )
                    return self._array(self._shaped(image, where))
        except (TaskError, MemoryError):
            raise
        except Image.UnidentifiedImageError as error:
            raise TaskError(
                f"{where} is no image that can be read (one of {', '.join(FORMATS)})"
            ) from error
        except Image.DecompressionBombError as error:
            raise TaskError(f"{where} has more than the {LARGEST} pixels that are read") from error
        except Exception as error:  # decoders raise whatever they like
            raise TaskError(f"{where} is damaged: {one_line(error, 200)}") from error

    def _shaped(self, image: Any, where: str) -> Any:
        from PIL import Image, ImageOps

        if image.mode in _DEEP:
            raise TaskError(
                f"{where} has more than 8 bits a channel ({image.mode}): convert it to 8 bits, or"
                " give arrays"
            )
        params = self.params
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # else Pillow warns, and some versions guess
        image = ImageOps.exif_transpose(image).convert(MODES[params["color"]])
        if params["resize"] is not None:
            method = Image.Resampling[params["resize_method"].upper()]
            size, box = resize_box(image.size, params["resize"], params["fit"])
            image = image.resize(size, method, box)
        if params["crop"] is not None:
            height, width = params["crop"]
            left, top = (image.width - width) // 2, (image.height - height) // 2
            if left < 0 or top < 0:
                raise TaskError(
                    f"{where} is {image.height} x {image.width}, smaller than crop: [{height},"
                    f" {width}]"
                )
            image = image.crop((left, top, left + width, top + height))
        return image

    def _array(self, image: Any) -> Array:
        import numpy as np

        pixels = np.asarray(image)
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if self.params["color"] == "bgr":
            pixels = pixels[:, :, ::-1]
        result = self._table[np.arange(pixels.shape[2]), pixels]
        if self.params["layout"] == "nchw":
            result = result.transpose(2, 0, 1)
        elif self.params["layout"] == "nhw":
            result = result[:, :, 0]
        return np.ascontiguousarray(result)


def resize_box(
    size: tuple[int, int], wanted: Any, fit: str
) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    """The new (width, height), and the part (left, top, right, bottom) of the image that fills it.

    `size` is (width, height); `wanted` (height, width), or the length of the shorter side.
    """
    width, height = size
    if isinstance(wanted, int):
        short = min(width, height)
        # Rounded half up, at least 1.
        scaled = [max(1, (2 * side * wanted + short) // (2 * short)) for side in size]
        return (scaled[0], scaled[1]), (0, 0, width, height)
    new = (wanted[1], wanted[0])
    if fit == "stretch":
        return new, (0, 0, width, height)
    part = min(width / new[0], height / new[1])  # of the original for each new pixel
    left, top = (width - new[0] * part) / 2, (height - new[1] * part) / 2
    return new, (max(0.0, left), max(0.0, top), min(width, width - left), min(height, height - top))


def pixel_values(scale: float, mean: float, std: float) -> list[float]:
    """What each of the 256 pixel values becomes."""
    return [(pixel * scale - mean) / std for pixel in range(256)]


def value_table(params: Mapping[str, Any]) -> Array:
    """[channel, pixel] → value."""
    import numpy as np

    channels = 1 if params["color"] == "gray" else 3
    mean, std = ([*params[key]] * (channels if len(params[key]) == 1 else 1) for key in
                 ("mean", "std"))  # fmt: skip
    rows = [pixel_values(params["scale"], m, s) for m, s in zip(mean, std, strict=True)]
    return np.array(rows, np.float64).astype(params["dtype"])
