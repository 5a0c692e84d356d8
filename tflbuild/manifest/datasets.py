"""`data`: what a model is calibrated and tested with."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import Any

from tflbuild.datasets.pixels import pixel_values
from tflbuild.errors import ManifestError
from tflbuild.manifest.code import build_args, build_code
from tflbuild.manifest.context import ModelNodes
from tflbuild.manifest.includes import is_glob
from tflbuild.manifest.model import (
    ArrayRef,
    Data,
    Feature,
    FileData,
    ImageData,
    Pixels,
    PythonData,
    RandomData,
    RecordData,
)
from tflbuild.manifest.nodes import entries, get, strings, text
from tflbuild.manifest.yamlfile import Node, describe

_WHOLE = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767)}


def build_data(model: ModelNodes, use: str, signature: str | None = None) -> Data | None:
    """Declared data (`use`: "calibration" or "test") of the model, or of one of its signatures;
    None where there is none."""
    keys = ("data", use) if signature is None else ("data", "signatures", signature, use)
    node = get(model.tree, *keys)
    if node is None:
        return None
    kinds = [kind for kind in _BUILDERS if get(node, kind) is not None]
    if len(kinds) != 1:
        more = [f"{k} at {entries(node)[k].key_position}" for k in kinds]
        says = f"got {', '.join(more)}; null removes a default" if kinds else "got none"
        *some, last = _BUILDERS
        model.problem(f"{'.'.join(keys)} is one of {', '.join(some)} and {last}; {says}", node)
        return None
    samples, seed, classes = (get(node, key) for key in ("samples", "seed", "classes"))
    if seed is not None and samples is None:
        model.key_problem("seed has no effect without samples: all samples are taken", seed)
    if classes is not None and kinds != ["images"]:
        model.key_problem(f"classes has no effect with {kinds[0]}; it orders folders", classes)
    if (args := get(node, "args")) is not None and kinds != ["python"]:
        model.key_problem(f"args has no effect with {kinds[0]}", args)
    return _BUILDERS[kinds[0]](model, node, get(node, kinds[0]))


def _number(node: Node | None) -> Any:
    return node.value if node is not None else None


def _sampling(node: Node) -> dict[str, Any]:
    return {"samples": _number(get(node, "samples")), "seed": _number(get(node, "seed"))}


def _npz(model: ModelNodes, node: Node, given: Node) -> Data:
    path = model.file(given, ".npz", _other(given, ".npy", "npy"))
    labels = _labels(get(node, "labels"), lambda key: ArrayRef(path, str(key.value)))
    return FileData(npz=path, labels=labels, **_sampling(node))


def _npy(model: ModelNodes, node: Node, given: Node) -> Data:
    files = entries(given) if isinstance(given.value, dict) else {"": given}
    arrays = {n: model.file(f, ".npy", _other(f, ".npz", "npz")) for n, f in files.items()}
    labels = _labels(get(node, "labels"), lambda file: ArrayRef(model.file(file, ".npy")))
    return FileData(npy=tuple(sorted(arrays.items())), labels=labels, **_sampling(node))


def _labels(node: Node | None, read: Callable[[Node], Any]) -> Any:
    """What `read` makes of the labels, or of several by name; None for none."""
    if node is None or not node.value:
        return None
    if isinstance(node.value, dict):
        return tuple((n, read(one)) for n, one in sorted(entries(node).items()))
    return read(node)


def _label_names(node: Node | None) -> Any:
    return _labels(node, lambda one: str(one.value))


def _random(model: ModelNodes, node: Node, own: Node) -> RandomData:
    for key in ("samples", "seed"):
        if (wrong := get(node, key)) is not None:
            model.problem(f"with random data, write `random: {{{key}: …}}`", wrong)
    if (labels := get(node, "labels")) is not None:
        model.problem("random data has no labels; use npz or npy, or remove them", labels)
    given: dict[str, Any] = {key: child.value for key, child in entries(own).items()}
    for bound in {"low", "high"} & {*given}:
        given[bound] = float(given[bound])  # 1 and 1.0 say the same
    data = RandomData(**given)
    if data.low >= data.high:
        model.problem(
            f"low ({data.low:g}) must be below high ({data.high:g})",
            get(own, "high") or get(own, "low"),
        )
    return data


def _other(node: Node, suffix: str, key: str) -> str:
    return f"; write it as `{key}:`" if str(node.value).endswith(suffix) else ""


# Images


def _images(model: ModelNodes, node: Node, given: Node) -> Data | None:
    folder = get(given, "folder")
    if folder is None:
        model.problem("images has no `folder`; write `images: {folder: FOLDER}`", given)
        return None
    labels, classes = get(node, "labels"), get(node, "classes")
    if labels is not None and isinstance(labels.value, dict):
        model.problem(
            "with images, labels are classes: write `labels: folders`, or the path of a .csv file",
            labels,
        )
        labels = None
    says = text(labels)
    if classes is not None and labels is None:
        model.key_problem("classes has no effect without labels: folders or a .csv file", classes)
    if labels is not None and says != "folders":
        says = model.file(labels, ".csv", "; or write `labels: folders`")
    return ImageData(
        folder=_folder(model, folder),
        files=_patterns(get(given, "files")),
        input=text(get(given, "input")) or "",
        pixels=_pixels(model, given),
        labels=says,
        classes=strings(classes),
        **_sampling(node),
    )


def _folder(model: ModelNodes, node: Node) -> str:
    """A folder that exists, relative to the root; "" when it does not."""
    paths = model.context.paths
    try:
        path = paths.absolute(node)
        if not os.path.isdir(path):
            if os.path.exists(path):
                raise ManifestError(
                    f"expected a folder, but {describe(node.value)} is a file", node.position
                )
            raise paths.missing(node, path, "folder")
        return paths.relative(path)
    except ManifestError as error:
        model.context.problems.take(error)
        return ""


def _patterns(node: Node | None) -> tuple[str, ...]:
    """A text, or a list of texts."""
    one = text(node)
    return (one,) if one is not None else strings(node)


def _pixels(model: ModelNodes, node: Node) -> Pixels:
    resize, crop = get(node, "resize"), get(node, "crop")
    given: dict[str, Any] = {
        key: value
        for key in ("color", "resize_method", "fit", "dtype", "layout")
        if (value := text(get(node, key))) is not None
    }
    if resize is not None:
        given["resize"] = resize.value if isinstance(resize.value, int) else _sizes(resize)
    if crop is not None:
        given["crop"] = _sizes(crop)
    pixels = Pixels(**given, **_scaling(model, node))
    for key in ("resize_method", "fit"):
        if get(node, key) is not None and resize is None:
            model.key_problem(f"{key} has no effect without resize", get(node, key))
    if get(node, "fit") is not None and isinstance(pixels.resize, int):
        model.key_problem(
            "fit has no effect with one number for resize, which keeps the shape of the image;"
            " write resize: [height, width]",
            get(node, "fit"),
        )
    if isinstance(pixels.resize, int) and pixels.crop and max(pixels.crop) > pixels.resize:
        model.problem(
            f"crop is larger than the shorter side, which resize makes {pixels.resize}", crop
        )
    if isinstance(pixels.resize, tuple) and pixels.crop:
        if any(part > whole for part, whole in zip(pixels.crop, pixels.resize, strict=True)):
            model.problem(f"crop is larger than resize: {list(pixels.resize)}", crop)
    if pixels.layout == "nhw" and pixels.color != "gray":
        model.problem("layout: nhw has no channels; it needs color: gray", get(node, "layout"))
    channels = 1 if pixels.color == "gray" else 3
    for key in ("mean", "std"):
        if len(getattr(pixels, key)) not in (1, channels):
            model.problem(
                f"{key} has {len(getattr(pixels, key))} numbers for {channels} channels (color:"
                f" {pixels.color})",
                get(node, key),
            )
            return pixels
    _check_whole(model, pixels, node)
    return pixels


def _check_whole(model: ModelNodes, pixels: Pixels, node: Node) -> None:
    """What a whole type cannot hold is found before any image is read."""
    if pixels.dtype not in _WHOLE:
        return
    low, high = _WHOLE[pixels.dtype]
    channels = max(len(pixels.mean), len(pixels.std))
    for channel in range(channels):
        mean, std = (per[channel if len(per) > 1 else 0] for per in (pixels.mean, pixels.std))
        for value in pixel_values(pixels.scale, mean, std):
            if value != int(value) or not low <= value <= high:
                model.problem(
                    f"dtype: {pixels.dtype} cannot hold {value:g}, which scale, mean and std make"
                    " of a pixel; write float32, or `scale: 1` (int8: with `mean: 128`)",
                    get(node, "dtype"),
                )
                return


def _scaling(model: ModelNodes, node: Node) -> dict[str, Any]:
    """`scale`, `mean` and `std`, where given."""
    found: dict[str, Any] = {}
    if (scale := get(node, "scale")) is not None:
        value: Any = scale.value
        if isinstance(value, str):
            above, _, below = value.partition("/")
            value = float(above) / float(below) if float(below) else 0.0
        found["scale"] = float(value)
        if not found["scale"]:
            model.problem("scale must not be 0", scale)
    for key in ("mean", "std"):
        per = get(node, key)
        if per is not None:
            several: Any = per.value
            items = [item.value for item in several] if isinstance(several, list) else [several]
            found[key] = tuple(float(item) for item in items)
            if key == "std" and 0.0 in found[key]:
                model.problem("std must not be 0", per)
                found[key] = (1.0,)
    return found


def _sizes(node: Node) -> tuple[int, ...]:
    items: Any = node.value
    return tuple(item.value for item in items)


# TFRecord


def _tfrecord(model: ModelNodes, node: Node, given: Node) -> Data | None:
    files, features = get(given, "files"), get(given, "features")
    for key, found in (("files", files), ("features", features)):
        if found is None:
            model.problem(
                f"tfrecord has no `{key}`; write `tfrecord: {{files: FILE, features: {{NAME:"
                " {shape: [2], dtype: float32}}}`",
                given,
            )
            return None
    assert files is not None
    items = files.value if isinstance(files.value, list) else [files]
    built = tuple(_feature(model, name, entry) for name, entry in entries(features).items())
    names: dict[str, str] = {}
    for feature in built:
        first = names.setdefault(feature.input, feature.name)
        if first != feature.name:
            model.problem(
                f"features {first!r} and {feature.name!r} both are input {feature.input!r}",
                get(features, feature.name),
            )
    return RecordData(
        files=tuple(_record_files(model, item) for item in items),
        features=tuple(sorted(built, key=lambda f: f.name)),
        compression=text(get(given, "compression")),
        labels=_label_names(get(node, "labels")),
        **_sampling(node),
    )


def _record_files(model: ModelNodes, node: Node) -> str:
    """A file or a glob, as a glob relative to the root; "" when nothing is there."""
    if not is_glob(str(node.value)):
        return glob.escape(model.file(node))
    paths = model.context.paths
    try:
        path = paths.absolute(node)
        folder = paths.folder_of(node)
        if path.startswith(folder + os.sep) and folder != paths.root:
            # What is special to a glob in the folder's own name is not meant as one.
            return glob.escape(paths.relative(folder)) + path.removeprefix(folder)
        return paths.relative(path)
    except ManifestError as error:
        model.context.problems.take(error)
        return ""


def _feature(model: ModelNodes, name: str, node: Node) -> Feature:
    shape, raw, image = get(node, "shape"), text(get(node, "raw")), get(node, "image")
    scaling = _scaling(model, node)
    feature = Feature(
        name,
        input=text(get(node, "input")) or name,
        shape=None if shape is None else _sizes(shape),
        dtype=text(get(node, "dtype")) or Feature.dtype,
        raw=raw,
        image=None if image is None else _pixels(model, image),
        **scaling,
    )
    if image is not None:
        _refuse(model, node, ("dtype", *scaling), "beside image; write it in image:")
        _refuse(model, node, ("shape", "raw"), "with image")
        return feature
    if shape is None:
        model.problem(
            f"feature {name!r} has no shape; write `shape: [2, 3]` (`[]` for one number), or how"
            " it is encoded, `image: {…}`",
            node,
        )
    if feature.dtype == "string":
        _refuse(model, node, ("raw", *scaling), "with dtype: string")
    elif scaling and not feature.dtype.startswith("float"):
        key = next(iter(scaling))
        model.key_problem(
            f"{key} gives fractions, and dtype is {feature.dtype}; write dtype: float32",
            get(node, key),
        )
    return feature


def _refuse(model: ModelNodes, node: Node, keys: tuple[str, ...], why: str) -> None:
    for key in keys:
        if (given := get(node, key)) is not None:
            model.key_problem(f"{key} has no effect {why}", given)


# Python


def _python(model: ModelNodes, node: Node, given: Node) -> Data | None:
    if (seed := get(node, "seed")) is not None:
        model.key_problem(
            "seed has no effect with python: choose in the function, told by args: {seed: …}", seed
        )
    code = build_code(model, given)
    if code is None:
        return None
    return PythonData(
        code,
        build_args(model, get(node, "args")),
        samples=_number(get(node, "samples")),
        labels=_label_names(get(node, "labels")),
    )


_BUILDERS: dict[str, Callable[[ModelNodes, Node, Any], Data | None]] = {
    "npz": _npz,
    "npy": _npy,
    "tfrecord": _tfrecord,
    "images": _images,
    "python": _python,
    "random": _random,
}
