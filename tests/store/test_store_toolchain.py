"""The toolchain of a key, read from metadata on the path of the workers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tflbuild.store.toolchain import Toolchain, cpu_class


def install(site: Path, name: str, version: str, *files: str, tag: str = "py3-none-any") -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    first, second = tmp_path / "one", tmp_path / "two"
    first.mkdir()
    second.mkdir()
    monkeypatch.setattr(sys, "path", [str(first), str(second)])
    return first, second


def test_versions_and_wheel_tags(sites: tuple[Path, Path]) -> None:
    install(sites[0], "Some_Thing", "1.2", "thing/__init__.py", "other.py")
    found = Toolchain().of(["thing", "other", "absent"])
    assert found["some-thing"] == "1.2 py3-none-any"
    assert found["absent"] == "no distribution"
    assert found["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert "cpu" not in found
    assert Toolchain().of([], cpu=True)["cpu"] == cpu_class()


def test_several_distributions_of_one_module(sites: tuple[Path, Path]) -> None:
    install(sites[0], "tensorflow", "2.21", "tensorflow/__init__.py")
    install(sites[1], "tensorflow-cpu", "2.20", "tensorflow/__init__.py", tag="cp311-linux")
    found = Toolchain().of(["tensorflow"])
    assert found["tensorflow"] == "2.21 py3-none-any"
    assert found["tensorflow-cpu"] == "2.20 cp311-linux"


@pytest.mark.parametrize("versions", [("1.0", "2.0"), ("2.0", "1.0")])
def test_the_first_on_the_path_is_the_one_imported(
    sites: tuple[Path, Path], versions: tuple[str, str]
) -> None:
    for site, version in zip(sites, versions, strict=True):
        install(site, "thing", version, "thing.py")
    assert Toolchain().of(["thing"])["thing"] == f"{versions[0]} py3-none-any"


def test_nothing_is_imported(sites: tuple[Path, Path]) -> None:
    (sites[0] / "loud.py").write_text("raise SystemError('imported')")
    install(sites[0], "loud", "1", "loud.py")
    assert Toolchain().of(["loud"])["loud"] == "1 py3-none-any"


def test_module_of_no_distribution_is_its_content(sites: tuple[Path, Path]) -> None:
    (sites[0] / "loose.py").write_text("V = 1")
    (sites[1] / "pack/inner").mkdir(parents=True)
    (sites[1] / "pack/__init__.py").write_text("")
    (sites[1] / "pack/inner/a.py").write_text("V = 1")
    before = Toolchain().of(["loose", "pack"])
    assert before["loose"].startswith("sha256:")
    assert Toolchain().of(["loose", "pack"]) == before
    (sites[0] / "loose.py").write_text("V = 2")
    (sites[1] / "pack/inner/a.py").write_text("V = 2")
    after = Toolchain().of(["loose", "pack"])
    assert (after["loose"] != before["loose"], after["pack"] != before["pack"]) == (True, True)
