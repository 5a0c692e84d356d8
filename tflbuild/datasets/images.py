"""`images`: a folder of image files, each of them one sample of one input."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tflbuild.datasets.base import Listing, Sample, WrongData, inside
from tflbuild.datasets.choose import choose
from tflbuild.datasets.pixels import MODULE, Decoder
from tflbuild.errors import TaskError

if TYPE_CHECKING:
    from tflbuild.manifest.model import ImageData, Model

NAME = "images"
SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm",
)  # fmt: skip
_IMAGE = "image/"
_LABELS = "labels.csv"


def listing(root: Path, model: Model, data: ImageData) -> Listing:
    found, folders = _walk(root, data)
    if not found:
        wanted = f"file that matches {' or '.join(data.files)}" if data.files else "image"
        raise WrongData(f"no {wanted} in {data.folder}", "images.folder")
    classes: list[str] = []
    if data.labels == "folders":
        classes = _classes(found, data)
    if data.samples is not None and data.samples > len(found):
        raise WrongData(
            f"{data.folder} holds {len(found)} images, fewer than samples: {data.samples}",
            "samples",
        )
    chosen = found
    if data.samples is not None:
        places = choose(found, data.samples, data.seed) if data.seed is not None else None
        chosen = [found[i] for i in places] if places is not None else found[: data.samples]
    base = root / data.folder
    files = {_IMAGE + n: inside(root, str(base / n), "images.folder") for n in chosen}
    if data.labels not in (None, "folders"):
        files[_LABELS] = data.labels
    params = {
        "input": data.input,
        "pixels": dataclasses.asdict(data.pixels),
        "labels": None if data.labels is None else "folders" if classes else "file",
        "classes": classes or list(data.classes),
    }
    return Listing(files, params, tuple(sorted(folders)), (MODULE,))


def paths(root: Path, model: Model, data: ImageData) -> list[str]:
    labels = [] if data.labels in (None, "folders") else [data.labels]
    return [data.folder, *labels]


def _walk(root: Path, data: ImageData) -> tuple[list[str], list[str]]:
    """The images as paths relative to the folder, sorted; the folders, relative to the root.
    Names that begin with a dot are left out."""
    base = str(root / data.folder)
    found: list[str] = []
    folders: list[str] = []
    seen: set[str] = set()
    todo = [""]
    while todo:
        at = todo.pop()
        path = os.path.join(base, at) if at else base
        folders.append(inside(root, path, "images.folder"))
        real = os.path.realpath(path)
        if real in seen:
            raise WrongData(
                f"{folders[-1]}: a symbolic link shows the same folder twice", "images.folder"
            )
        seen.add(real)
        for name, is_folder in _entries(path, folders[-1]):
            name = f"{at}/{name}" if at else name
            if is_folder:
                todo.append(name)
            elif _is_wanted(name, data.files):
                found.append(name)
    return sorted(found), folders


def _entries(path: str, shown: str) -> list[tuple[str, bool]]:
    try:
        with os.scandir(path) as entries:
            return [(e.name, e.is_dir()) for e in entries if not e.name.startswith(".")]
    except OSError as error:
        raise WrongData(f"{shown} cannot be listed: {error.strerror}", "images.folder") from None


def _is_wanted(name: str, patterns: tuple[str, ...]) -> bool:
    if patterns:
        return any(fnmatchcase(name, pattern) for pattern in patterns)
    return name.lower().endswith(SUFFIXES)


def _classes(found: list[str], data: ImageData) -> list[str]:
    """The classes in the order of their numbers. Each image must lie in the folder of one."""
    outside = next((name for name in found if "/" not in name), None)
    if outside is not None:
        raise WrongData(
            f"{data.folder}/{outside} lies in no folder of a class, as labels: folders needs",
            "labels",
        )
    there = sorted({name.partition("/")[0] for name in found})
    if not data.classes:
        return there
    unknown = [name for name in there if name not in data.classes]
    if unknown:
        raise WrongData(f"the folder {data.folder}/{unknown[0]} is none of the classes", "classes")
    return list(data.classes)


def samples(
    params: Mapping[str, Any], files: Mapping[str, Path], told: dict[str, Any]
) -> Iterator[Sample]:
    decoder = Decoder(params["pixels"])
    classes: list[str] = params["classes"]
    given = _read_labels(files[_LABELS], classes) if params["labels"] == "file" else {}
    names = sorted(name for name in files if name.startswith(_IMAGE))
    told["images"] = len(names)
    if classes:
        told["classes"] = classes
    for key in names:
        name = key.removeprefix(_IMAGE)
        where = f"image {name}"
        label = None
        if params["labels"] == "folders":
            label = classes.index(name.partition("/")[0])
        elif params["labels"] == "file":
            if name not in given:
                raise TaskError(f"{where} has no line in the file of labels", key="labels")
            label = given[name]
        yield Sample(where, {params["input"]: decoder.decode(files[key], where)}, label)


def _read_labels(path: Path, classes: list[str]) -> dict[str, int]:
    """Lines of `path,class`: the image relative to its folder; a number, or the class's name."""
    numbers = {name: index for index, name in enumerate(classes)}
    found: dict[str, int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for line, row in enumerate(csv.reader(stream), 1):
                if not row:
                    continue
                value = row[1].strip() if len(row) == 2 else ""
                number = numbers.get(value, -1)
                if not classes and value.isascii() and value.isdigit() and len(value) < 10:
                    number = int(value)
                if number < 0:
                    wanted = "one of the classes" if classes else "a class number"
                    raise TaskError(
                        f"labels, line {line}: expected `image,class`, the class {wanted}; got"
                        f" {','.join(row)[:80]!r}",
                        key="labels",
                    )
                if found.setdefault(row[0], number) != number:
                    raise TaskError(
                        f"labels, line {line}: {row[0]!r} has two classes", key="labels"
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise TaskError(f"labels: not a CSV file in UTF-8: {error}", key="labels") from error
    return found
