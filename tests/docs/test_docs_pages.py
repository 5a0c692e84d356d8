"""What the documents say of the repository holds."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from tflbuild import __version__, cli

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted([*REPOSITORY.glob("*.md"), *DOCS.glob("*.md"), *REPOSITORY.glob("*/*.md")])
README = (REPOSITORY / "README.md").read_text("utf-8")


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_manifest_reference_is_current() -> None:
    maker = script(DOCS / "make_manifest_reference.py")

    wanted = maker.reference(json.loads(maker.SCHEMA.read_text("utf-8")))

    assert wanted == (DOCS / "MANIFEST.md").read_text("utf-8"), (
        "run: python docs/make_manifest_reference.py"
    )


def test_manifest_reference_holds_every_key() -> None:
    maker = script(DOCS / "make_manifest_reference.py")
    schema = json.loads(maker.SCHEMA.read_text("utf-8"))
    page = (DOCS / "MANIFEST.md").read_text("utf-8")

    for key in maker.keys(schema, schema):
        assert f"| `{key.path}` |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def test_readme_names_every_command_and_option() -> None:
    for name in cli.COMMANDS:
        assert f"`{name}" in README or f"`tflbuild {name}" in README, name
    group = cli.main
    assert isinstance(group, click.Group)
    build = group.get_command(click.Context(group), "build")
    assert build is not None
    for parameter in build.params:
        if isinstance(parameter, click.Option):
            assert f"`{parameter.opts[0]}" in README, parameter.opts[0]


def test_readme_has_one_build_and_one_test_command() -> None:
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]

    assert [command.split("&&")[-1].strip() for command in commands] == [
        ".venv/bin/tflbuild",
        ".venv/bin/python -m pytest",
    ]


def test_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")


def test_constraints_pin_every_dependency_within_its_bounds() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    wanted += [Requirement(text) for text in project["optional-dependencies"]["test"]]
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]

    def holds(marker: Marker | None, version: str) -> bool:
        return marker is None or marker.evaluate({"python_version": version})

    def name(requirement: Requirement) -> str:
        return requirement.name.lower().replace("_", "-")

    for version in ("3.10", "3.11", "3.12", "3.13"):
        here = {name(pin): pin for pin in pins if holds(pin.marker, version)}
        names = [name(pin) for pin in pins if holds(pin.marker, version)]
        assert len(names) == len(set(names)), f"two pins of one name on Python {version}"
        for requirement in wanted:
            if holds(requirement.marker, version):
                (pin,) = here[name(requirement)].specifier
                assert requirement.specifier.contains(pin.version), (version, requirement)


def test_no_machine_path_and_no_registry_in_what_is_installed_from() -> None:
    for name in ("constraints.txt", "pyproject.toml", ".ci/run", "README.md", "tflbuild.yaml"):
        text = (REPOSITORY / name).read_text("utf-8")
        assert not re.search(r"(?<![\w.])/(work|tmp|opt|home|root|Users)\b", text), name
        assert not re.search(r"index.url", text), name
        assert "find-links" not in text


def test_ci_script_is_sound_and_finds_the_test_command() -> None:
    path = REPOSITORY / ".ci" / "run"
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)
    pattern = re.search(r"grep -m 1 -E '([^']+)' README.md", path.read_text("utf-8"))
    assert pattern is not None
    assert re.search(pattern[1], README, re.MULTILINE) is not None


def test_manifest_reference_goes_into_lists_and_shared_sections() -> None:
    maker = script(DOCS / "make_manifest_reference.py")
    page = maker.reference(json.loads(maker.SCHEMA.read_text("utf-8")))
    data = "models.<name>.data.calibration"
    for key in (f"{data}.tfrecord.features.<name>.shape", f"{data}.images.resize",
                "models.<name>.optimizations.<name>.recipe[].weights"):  # fmt: skip
        assert page.count(f"| `{key}` |") == 1
    (line,) = [one for one in page.splitlines() if f"`{data}.tfrecord.compression`" in one]
    assert "`none` \\| `gzip` \\| `zlib`" in line
