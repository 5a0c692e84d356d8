"""A folder of images becomes an array, as declared; what is wrong with a file is one line."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import MODEL, example, features, make, pixels, records
from PIL import Image

from tflbuild.datasets import images
from tflbuild.datasets import pixels as pixels_module
from tflbuild.datasets.base import WrongData
from tflbuild.datasets.choose import choose
from tflbuild.errors import TaskError
from tflbuild.manifest.model import ImageData, Pixels, RecordData

RNG = np.random.default_rng(1)
COLORS = RNG.integers(0, 256, (6, 8, 3), np.uint8)  # height 6, width 8


def save(path: Path, array: Any = COLORS, mode: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def one(folder: Path, **given: Any) -> Any:
    """The only image of a folder, as an array."""
    (array,) = make(folder.parent, ImageData(folder.name, pixels=pixels(**given)))[""]
    return array


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


def test_pixels_as_they_are(folder: Path) -> None:
    save(folder / "a.png")
    assert one(folder).dtype == np.float32
    assert one(folder).tolist() == COLORS.tolist()
    assert one(folder, color="bgr").tolist() == COLORS[:, :, ::-1].tolist()
    assert one(folder, layout="nchw").tolist() == COLORS.transpose(2, 0, 1).tolist()
    assert one(folder, dtype="uint8").dtype == np.uint8
    signed = one(folder, dtype="int8", mean=(128.0,))
    assert signed.tolist() == (COLORS.astype(int) - 128).tolist()
    gray = np.asarray(Image.fromarray(COLORS).convert("L"))
    assert one(folder, color="gray").tolist() == gray[:, :, None].tolist()
    assert one(folder, color="gray", layout="nhw").tolist() == gray.tolist()


def test_scale_is_what_numpy_does(folder: Path) -> None:
    save(folder / "a.png", np.arange(256, dtype=np.uint8).reshape(16, 16))
    ramp = np.arange(256, dtype=np.float32).reshape(16, 16)
    scaled = one(folder, color="gray", layout="nhw", scale=1 / 255)
    assert scaled.tobytes() == (ramp / np.float32(255)).tobytes()
    centred = one(folder, color="gray", layout="nhw", scale=1 / 127.5, mean=(1.0,))
    assert centred.tobytes() == (ramp.astype(np.float64) / 127.5 - 1).astype("f").tobytes()


def test_mean_and_std_are_by_channel_in_the_order_of_color(folder: Path) -> None:
    save(folder / "a.png")
    mean, std = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
    for color in ("rgb", "bgr"):
        array = COLORS if color == "rgb" else COLORS[:, :, ::-1]
        expected = ((array / 255.0 - np.array(mean)) / np.array(std)).astype(np.float32)
        found = one(folder, color=color, scale=1 / 255, mean=mean, std=std)
        assert np.allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_resize_is_that_of_pillow(folder: Path, method: str) -> None:
    save(folder / "a.png")
    resized = Image.fromarray(COLORS).resize((5, 3), Image.Resampling[method.upper()])
    found = one(folder, resize=(3, 5), resize_method=method)
    assert found.tolist() == np.asarray(resized).tolist()


def test_resize_fit_and_crop(folder: Path) -> None:
    save(folder / "a.png")
    whole = Image.fromarray(COLORS)
    assert one(folder, resize=3).shape == (3, 4, 3)  # the shorter side
    middle = whole.resize((4, 4), Image.Resampling.BILINEAR, box=(1, 0, 7, 6))
    assert one(folder, resize=(4, 4), fit="crop").tolist() == np.asarray(middle).tolist()
    assert one(folder, crop=(2, 4)).tolist() == COLORS[2:4, 2:6].tolist()
    small = whole.resize((4, 3), Image.Resampling.BILINEAR)
    assert one(folder, resize=3, crop=(3, 2)).tolist() == np.asarray(small)[:, 1:3].tolist()


def test_images_of_other_modes_are_converted(folder: Path, tmp_path: Path) -> None:
    gray = COLORS[:, :, 0]
    same = np.repeat(gray[:, :, None], 3, axis=2).tolist()
    save(folder / "gray.png", gray)
    save(folder / "palette.gif", gray, "P")
    save(folder / "alpha.png", np.dstack([gray] * 3 + [gray // 2]))
    save(folder / "gray_alpha.png", np.dstack([gray, gray // 2]))
    made = make(tmp_path, ImageData("images"))
    assert made["told"]["images"] == 4
    assert all(array.tolist() == same for array in made[""])
    bits = (gray > 127).astype(np.uint8) * 255
    save(tmp_path / "bits/a.png", bits, "1")
    assert one(tmp_path / "bits", color="gray", layout="nhw").tolist() == bits.tolist()
    save(tmp_path / "cmyk/a.tiff", COLORS, "CMYK")
    assert one(tmp_path / "cmyk").shape == (6, 8, 3)


def test_a_camera_that_was_turned(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    save(folder / "a.png", exif=exif)
    assert one(folder).tolist() == np.rot90(COLORS, -1).tolist()


def test_the_first_picture_of_an_animation(folder: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    folder.mkdir()
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    assert one(folder, color="gray", layout="nhw").tolist() == [[10] * 4] * 4


def shades(folder: Path, names: list[str]) -> None:
    for value, name in enumerate(names):
        save(folder / name, np.full((2, 2), value, np.uint8))


def taken(made: dict[str, Any]) -> list[int]:
    return [int(array.flat[0]) for array in made[""]]


def test_order_and_which_files_are_images(folder: Path, tmp_path: Path) -> None:
    shades(folder, ["b/2.png", "a/10.png", "B.PNG", "a/9.png"])
    for name in ("readme.txt", ".hidden.png", ".cache/x.png", "a/Thumbs.db"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not an image")
    assert taken(make(tmp_path, ImageData("images"))) == [2, 1, 3, 0]  # by code points
    with pytest.raises(TaskError, match=r"image a/Thumbs\.db is no image"):
        make(tmp_path, ImageData("images", files=("a/*",)))
    only = make(tmp_path, ImageData("images", files=("a/*.png",)))
    assert taken(only) == [1, 3]


def test_labels_by_folder(folder: Path, tmp_path: Path) -> None:
    shades(folder, ["dog/a.png", "cat/b.png", "dog/x/c.png"])
    made = make(tmp_path, ImageData("images", labels="folders"))
    assert (taken(made), made["labels"]) == ([1, 0, 2], [0, 1, 1])
    assert made["told"]["classes"] == ["cat", "dog"]
    ordered = ImageData("images", labels="folders", classes=("dog", "bird", "cat"))
    assert make(tmp_path, ordered)["labels"] == [2, 0, 0]
    with pytest.raises(WrongData, match="images/cat is none of the classes"):
        make(tmp_path, ImageData("images", labels="folders", classes=("dog",)))
    shades(folder, ["loose.png"])
    with pytest.raises(WrongData, match=r"images/loose\.png lies in no folder of a class"):
        make(tmp_path, ImageData("images", labels="folders"))


def test_classes_do_not_depend_on_what_is_chosen(folder: Path, tmp_path: Path) -> None:
    shades(folder, ["cat/b.png", "dog/a.png"])
    for seed in range(5):
        made = make(tmp_path, ImageData("images", labels="folders", samples=1, seed=seed))
        assert made["labels"] == taken(made)


def test_labels_by_csv(folder: Path, tmp_path: Path) -> None:
    shades(folder, ["a.png", "sub/b, c.png"])
    (tmp_path / "l.csv").write_text('a.png,3\n\n"sub/b, c.png", 1\nother.png,2\n')
    declared = ImageData("images", labels="l.csv")
    assert make(tmp_path, declared)["labels"] == [3, 1]
    (tmp_path / "l.csv").write_text('a.png,dog\n"sub/b, c.png",cat\n')
    named = ImageData("images", labels="l.csv", classes=("cat", "dog"))
    assert make(tmp_path, named)["labels"] == [1, 0]
    (tmp_path / "l.csv").write_bytes(b'\xef\xbb\xbfa.png,3\r\n"sub/b, c.png",1\r\n')
    assert make(tmp_path, declared)["labels"] == [3, 1]  # as spreadsheets write it
    for text, says in (
        ("a.png,3\n", r"image sub/b, c.png has no line"),
        ("a.png\n", "line 1: expected `image,class`, the class a class number; got 'a.png'"),
        ("a.png,-1\n", "line 1: expected"),
        ("a.png,1\na.png,2\n", "line 2: 'a.png' has two classes"),
        ("a.png,dog\n", "a class number"),
        ("\0\udcff", "not a CSV file|expected"),
    ):
        (tmp_path / "l.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(TaskError, match=says) as caught:
            make(tmp_path, declared)
        assert caught.value.key == "labels"
        assert "\n" not in str(caught.value)


def test_samples_are_chosen_before_they_are_read(folder: Path, tmp_path: Path) -> None:
    names = [f"{i:02}.png" for i in range(20)]
    shades(folder, names)
    assert taken(make(tmp_path, ImageData("images", samples=3))) == [0, 1, 2]
    places = choose(names, 6, 7)
    for place in {*range(20)} - {*places}:
        (folder / names[place]).write_bytes(b"broken")
    declared = ImageData("images", samples=6, seed=7)
    assert taken(make(tmp_path, declared)) == places == sorted(places)
    shades(folder, [f"new{i}.png" for i in range(2)])
    kept = {*choose([*names, "new0.png", "new1.png"], 6, 7)}
    assert len(kept & {*places}) >= 4  # each newcomer takes one place at most
    with pytest.raises(WrongData, match="images holds 22 images, fewer than samples: 23"):
        make(tmp_path, ImageData("images", samples=23))


def test_links_that_leave_the_workspace_and_loops(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    save(root / "images/a.png")
    save(tmp_path / "out/b.png")
    (root / "images/b.png").symlink_to(tmp_path / "out/b.png")
    with pytest.raises(WrongData, match=r"images/b\.png is a symbolic link that leaves"):
        make(root, ImageData("images"))
    (root / "images/b.png").unlink()
    (root / "images/more").symlink_to(tmp_path / "out")
    with pytest.raises(WrongData, match="images/more is a symbolic link that leaves"):
        make(root, ImageData("images"))
    (root / "images/more").unlink()
    (root / "images/more").symlink_to(root / "images")
    with pytest.raises(WrongData, match="the same folder twice"):
        make(root, ImageData("images"))
    (root / "images/more").unlink()
    with pytest.raises(WrongData, match=r"no file that matches \*\.no or \*\.not in images"):
        make(root, ImageData("images", files=("*.no", "*.not")))


@pytest.mark.parametrize("name", [b"new\nline.png", b"\xff\xfe.png", b"sub\xff/a.png"])
def test_names_that_cannot_be_shown(folder: Path, tmp_path: Path, name: bytes) -> None:
    save(folder / "a.png")
    path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((folder / "a.png").read_bytes())
    with pytest.raises(WrongData, match="rename it") as caught:
        make(tmp_path, ImageData("images"))
    assert str(caught.value).isascii()
    assert "\n" not in str(caught.value)


def test_the_root_itself(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    assert images.listing(tmp_path, MODEL, ImageData(".")).folders == (".",)
    assert make(tmp_path, ImageData("."))["told"]["images"] == 1


def bomb() -> bytes:
    """A PNG that says it has 60,000 x 60,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        whole = name + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def png(array: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", r"image b\.png is no image that can be read \(one of JPEG"),
    "text": (lambda: b"hello", "is no image that can be read"),
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image"),
    "cut": (lambda: png(COLORS)[:60], r"image b\.png is damaged|is no image"),
    "bomb": (bomb, "more than the 100000000"),
    "deep": (lambda: png(np.zeros((6, 8), np.uint16)), "more than 8 bits a channel"),
    "size": (lambda: png(COLORS[:4]), r"image b\.png: the input is float32 of shape \[4, 8, 3\],"
             r" in the samples before it float32 of shape \[6, 8, 3\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_images(folder: Path, tmp_path: Path, name: str) -> None:
    content, says = WRONG[name]
    save(folder / "a.png")
    (folder / "b.png").write_bytes(content())
    with pytest.raises(TaskError, match=says) as caught:
        make(tmp_path, ImageData("images"))
    assert "\n" not in str(caught.value)


def test_every_cut_of_an_image_is_refused_or_whole(tmp_path: Path) -> None:
    decoder = pixels_module.Decoder({**vars(Pixels())})
    for suffix in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        stream = io.BytesIO()
        Image.fromarray(COLORS).save(stream, suffix)
        whole = stream.getvalue()
        decoder.decode(io.BytesIO(whole), "x")
        for at in range(0, len(whole), max(1, len(whole) // 60)):
            for broken in (whole[:at], whole[:at] + b"\xff\0\xff" + whole[at + 3 :]):
                try:
                    decoder.decode(io.BytesIO(broken), "x")
                except TaskError as error:
                    message = str(error)
                    if "\n" in message:
                        pytest.fail(message)


def test_crop_larger_than_the_image(folder: Path) -> None:
    save(folder / "a.png")
    with pytest.raises(TaskError, match=r"image a\.png is 6 x 8, smaller than crop: \[7, 2\]"):
        one(folder, crop=(7, 2))


def test_without_pillow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder / "a.png")
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(TaskError, match=r"need Pillow, .*: pip install 'tflbuild\[images\]'$"):
        one(folder)


def test_images_inside_records(tmp_path: Path) -> None:
    contents = [example({"image/encoded": [png(COLORS)], "y": [1]})] * 2
    (tmp_path / "a").write_bytes(records(contents))
    spec = {"input": "x", "image": pixels(resize=(3, 4), color="bgr")}
    declared = RecordData(("a",), features(**{"image/encoded": spec}))
    made = make(tmp_path, declared)
    save(tmp_path / "images/a.png")
    assert made["x"][0].tolist() == one(tmp_path / "images", resize=(3, 4), color="bgr").tolist()
    (tmp_path / "a").write_bytes(records([*contents, example({"image/encoded": [b"bad"]})]))
    with pytest.raises(TaskError, match="record 2 of a: feature 'image/encoded' is no image"):
        make(tmp_path, declared)


def test_a_folder_that_cannot_be_listed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder / "shut/a.png")
    real = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(WrongData, match=r"images/shut cannot be listed: Permission denied"):
        make(tmp_path, ImageData("images"))
