"""JUnit XML: what a CI reads of a build, also of one that came to nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree

import pytest
from fake_workspace import MANIFEST, Fake, wait_for
from junitparser import JUnitXml

import tflbuild
from tflbuild.errors import ManifestErrors, UsageError
from tflbuild.graph import build_graph
from tflbuild.manifest.load import load_workspace
from tflbuild.reporting import files
from tflbuild.reporting.junit import junit
from tflbuild.reporting.origin import origin
from tflbuild.verdict import Check

LIMITED = MANIFEST.replace("  b: {", "  b: {validate: {parity: {sqnr: 30}}, ")

# What the schemas of Jenkins' xUnit plugin (junit-10) and of Maven Surefire (3.0) both accept, by
# element: attributes that must be there, that may, and the elements in it, in their order.
RULES: Mapping[str, tuple[set[str], set[str], tuple[str, ...]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, ("testsuite",)),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped"}, {"time"},
                  ("properties", "testcase")),
    "properties": (set(), set(), ("property",)),
    "property": ({"name", "value"}, set(), ()),
    "testcase": ({"name", "time"}, {"classname"}, ("failure", "skipped", "error", "system-out")),
    "failure": ({"type"}, {"message"}, ()),
    "error": ({"type"}, {"message"}, ()),
    "skipped": (set(), {"message"}, ()),
    "system-out": (set(), set(), ()),
}  # fmt: skip
TIME = re.compile(r"[0-9]+\.[0-9]{3}")


def checked(element: ElementTree.Element) -> None:
    must, may, inner = RULES[element.tag]
    assert must <= set(element.attrib) <= must | may, element.tag
    if "time" in element.attrib:
        assert TIME.fullmatch(element.attrib["time"])
    order = [inner.index(child.tag) for child in element]
    assert order == sorted(order), element.tag
    assert not inner or not (element.text or "").strip()
    once = [child.tag for child in element if child.tag in ("error", "skipped", "system-out")]
    assert len(once) == len(set(once))
    for child in element:
        checked(child)


class Read:
    """A file, by a reader that CIs use, after it has been held against the rules."""

    def __init__(self, path: Path) -> None:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "testsuites"
        checked(root)
        self.suites = {suite.name: suite for suite in JUnitXml.fromfile(str(path))}
        self.cases: dict[str, Any] = {}
        for suite in self.suites.values():
            names = [case.name for case in suite]
            assert len(set(names)) == len(names)  # or a CI would take one for the other
            self.cases |= {case.name: case for case in suite}
            assert suite.tests == len(names)
            for kind in ("failure", "error", "skipped"):
                told = getattr(suite, {"failure": "failures", "error": "errors"}.get(kind, kind))
                assert told == sum(status(case) == kind for case in suite)
        for count in ("tests", "failures", "errors"):
            told = sum(getattr(suite, count) for suite in self.suites.values())
            assert int(root.attrib[count]) == told

    def named(self, *statuses: str) -> list[str]:
        return sorted(name for name, case in self.cases.items() if status(case) in statuses)

    def message(self, name: str) -> str:
        (result,) = self.cases[name].result
        return str(result.message)

    def text(self, name: str) -> str:
        (result,) = self.cases[name].result
        return str(result.text)


def status(case: Any) -> str:
    return {"Failure": "failure", "Error": "error", "Skipped": "skipped"}[
        type(case.result[0]).__name__
    ] if case.result else "passed"  # fmt: skip


def built(fake: Fake, *selectors: str, **options: Any) -> Read:
    fake.build(*selectors, keep_going=True, junit=fake.root / "j.xml", **options)
    return Read(fake.root / "j.xml")


def task_of(name: str) -> str:
    """The task that a line is of."""
    task = name.split(" ")[0]
    return task.partition("@")[0] if task.startswith("evaluate:") else task


GATED = ("evaluate:", "compat:", "validate:")
OF_A = [
    "compat:a:float32@litert", "compat:a:int8@litert", "evaluate:a@litert",
    "validate:a:float32 parity.max_range_error of y", "validate:a:float32 parity.sqnr of y",
    "validate:a:int8 parity.cosine of y", "validate:a:int8 parity.sqnr of y",
]  # fmt: skip


def test_what_holds_has_its_line(fake: Fake) -> None:
    read = built(fake)
    assert read.named("passed") == sorted([*OF_A, *(n.replace(":a", ":b") for n in OF_A)])
    assert read.named("failure", "error", "skipped") == []
    properties = {p.name: p.value for p in read.suites["a"].properties()}
    assert properties["tflbuild"] == tflbuild.__version__
    assert {"python", "tensorflow", "ai-edge-litert"} <= set(properties)
    assert "tensorflow" in properties
    out = read.cases["validate:a:int8 parity.sqnr of y"].system_out
    assert out.startswith("sqnr of output 'y' is 120 dB (at least 13 dB, default for int8)")
    assert "warning: data: measured on random data" in out


def test_nothing_to_do_and_all_is_told(fake: Fake) -> None:
    first = built(fake)
    assert fake.build().done.reached_graph == 0
    result = fake.build(junit=fake.root / "j.xml")
    assert result.ran() == []
    assert Read(fake.root / "j.xml").named("passed") == first.named("passed")
    assert sorted(result.verdicts) == [
        f"{stage}:{name}" for stage, names in (
            ("compat", ("a:float32@litert", "a:int8@litert", "b:float32@litert", "b:int8@litert")),
            ("evaluate", ("a", "b")),
            ("validate", ("a:float32", "a:int8", "b:float32", "b:int8")),
        ) for name in names
    ]  # fmt: skip
    assert fake.build().done.reached_graph == 0  # and the record stands as it was
    (fake.root / "j.xml").unlink()
    read = built(fake, "a")
    assert list(read.suites) == ["a"]
    assert read.named("passed") == OF_A
    assert fake.build().done.reached_graph == 0


def test_counts_are_those_of_the_events(fake: Fake) -> None:
    """A gate that fails, a crash, and what stands on it, by a command that prints JSON."""
    fake.write(LIMITED.replace("models:\n", "models:\n  c: {source: {path: models/c.keras}}\n"))
    fake.write(
        (fake.root / "tflbuild.yaml").read_text().replace("{path: ", "{format: keras, path: ")
    )
    fake.model("b", 2, do={"sqnr": 20.5})
    fake.model("c", 3, do={"convert:int8": {"signal": signal.SIGKILL}})
    run = fake.run("-k", "--junit", "out/j.xml", "--summary", "out/s.md", "-q")
    assert run.code == 1
    read = Read(fake.root / "out/j.xml")
    gates = {e["task"] for e in run.events if e["event"] == "gate" and not e["passed"]}
    assert {task_of(name) for name in read.named("failure")} == gates != set()
    assert read.named("error") == run.tasks("failed") == ["convert:c:int8"]
    skipped = [task for task in run.tasks("skipped") if task.startswith(GATED)]
    assert read.named("skipped") == skipped == ["compat:c:int8@litert", "validate:c:int8"]
    assert len(gates) + len(run.tasks("failed")) == run.done["failed"]
    # A line has the same name whether it passes or not.
    assert set(read.named("failure")) <= {n.replace(":a", ":b") for n in OF_A}
    assert read.message("compat:c:int8@litert") == "needs convert:c:int8"
    assert read.message("convert:c:int8") == "the worker was killed (SIGKILL); out of memory?"
    assert "log: build/logs/convert:c:int8.log\nconvert says hello" in read.text("convert:c:int8")
    again = fake.run("-k", "--junit", "out/j.xml", "-q")  # what ran before is judged again
    assert (again.code, again.done["ran"]) == (1, 0)
    assert Read(fake.root / "out/j.xml").named("failure") == read.named("failure")


def test_a_failure_has_numbers_and_the_place_of_the_limit(fake: Fake) -> None:
    fake.write(LIMITED)
    fake.model("b", 2, do={"sqnr": 20.5})
    read = built(fake)
    name = "validate:b:int8 parity.sqnr of y"
    assert read.message(name) == "sqnr of output 'y' is 20.5 dB, below the limit 30 dB"
    line = 1 + LIMITED.split("\n").index(next(x for x in LIMITED.split("\n") if "sqnr" in x))
    place = next(x for x in read.text(name).split("\n") if x.endswith("limit of parity.sqnr of y"))
    assert re.match(rf".*tflbuild\.yaml:{line}:\d+: ", place)
    assert "report: build/reports/b/int8/validate.json" in read.text(name)


def test_a_stopped_build_tells_of_what_it_did_not_reach(fake: Fake) -> None:
    fake.model("a", 1, do={"evaluate": {"fail": "no such thing"}})
    fake.build(junit=fake.root / "j.xml", jobs=1)
    read = Read(fake.root / "j.xml")
    assert read.named("error") == ["evaluate:a"]
    assert {task_of(name) for name in read.named("skipped")} >= {"compat:a:int8@litert"}
    assert all(read.message(name) for name in read.named("skipped"))


def test_a_target_that_takes_no_such_model(fake: Fake) -> None:
    text = MANIFEST.replace(
        "defaults:\n", "targets: {t: {runtime: litert, max_params: 9}}\ndefaults:\n"
    )
    fake.write(text.replace("  b: {", "  b: {targets: [litert, t], "))
    read = built(fake, until="evaluate")
    assert read.named("failure") == ["evaluate:b@t"]
    assert read.named("passed") == ["evaluate:a@litert", "evaluate:b@litert"]
    assert re.search(r"tflbuild\.yaml:4:\d+: limit of params", read.text("evaluate:b@t"))
    fake.write(MANIFEST.replace("  b: {", "  b: {evaluate: {max_params: 9}, "))
    read = built(fake)
    assert "evaluate:b evaluate.max_params" in read.named("failure")
    assert "validate:b:int8" in read.named("skipped")


@pytest.mark.parametrize("until", ["evaluate", "validate"])
def test_without_a_release(fake: Fake, until: str) -> None:
    assert fake.run("-q").code == 0
    script = str(Path(__file__).parents[1] / "engine/fake_build.py")
    line = [sys.executable, script, until, "-C", str(fake.root), "-q", "--junit", "j.xml", "a"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    wanted = [name for name in OF_A if until == "validate" or name.startswith("evaluate:")]
    own = [n for n in Read(fake.root / "j.xml").named("passed") if n.split(":")[0] != "compat"]
    assert own == [name for name in wanted if not name.startswith("compat:")]


HOSTILE = "]]> <b>&amp;\x00\x1b[31m\ud800\ufffe\u202e \"' ` | @you\n\ttail"


def test_names_and_reasons_of_anybody(fake: Fake) -> None:
    fake.model("a", 1, do={"sqnr": 1, "output": HOSTILE})
    fake.model("b", 2, do={"convert:int8": {"fail": HOSTILE}})
    read = built(fake)
    (name,) = [n for n in read.named("failure") if n.startswith("validate:a:float32 parity.sqnr")]
    assert "]]> <b>&amp;" in name
    assert "\n" not in name
    assert "]]> <b>&amp;" in read.message("convert:b:int8")
    assert "\x1b" not in (fake.root / "j.xml").read_text("utf-8")


def test_an_interrupted_build_has_its_report(fake: Fake) -> None:
    fake.model("b", 2, do={"convert": {"await": str(fake.root / "never"), "mark": "/dev/null"}})
    process = fake.start("--junit", "j.xml", "--summary", "s.md", "-j1", start_new_session=True)
    logs = fake.root / "build/logs"
    wait_for(lambda: any(log.read_text() for log in logs.glob("convert:b:*.log")))
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    read = Read(fake.root / "j.xml")
    assert read.message("validate:b:float32") == "interrupted"
    assert read.named("error") == ["interrupted"]
    assert "evaluate:b@litert" in read.named("passed")
    assert (fake.root / "s.md").read_text().startswith("### tflbuild, interrupted: ")


def test_a_wrong_manifest_is_an_error(fake: Fake) -> None:
    fake.write(MANIFEST.replace("models/b.keras", "models/none.keras"))
    with pytest.raises(ManifestErrors):
        fake.build(junit=fake.root / "j.xml", summary=fake.root / "s.md")
    read = Read(fake.root / "j.xml")
    assert read.named("error") == ["manifest"]
    assert "models/none.keras" in read.message("manifest")
    assert "models/none.keras" in (fake.root / "s.md").read_text()
    images = "  b: {data: {test: {images: {folder: models}}}, "
    fake.write(MANIFEST.replace("  b: {", images))
    with pytest.raises(ManifestErrors):  # the other model is built, and both are told of
        fake.build(junit=fake.root / "j.xml", keep_going=True)
    read = Read(fake.root / "j.xml")
    assert read.named("error") == ["manifest"]
    assert set(OF_A) <= set(read.named("passed"))
    with pytest.raises(UsageError):
        fake.build("nobody", junit=fake.root / "j.xml")
    assert Read(fake.root / "j.xml").named("error") == ["usage"]


@pytest.mark.parametrize(
    ("junit_at", "summary_at", "said"),
    [
        (".", None, "is a folder"),
        ("models/a.keras/j.xml", None, "Not a directory"),
        (None, "models", "is a folder"),
        ("x\0", None, "null"),
        ("n" * 300, None, "too long"),
        ("same", "./same", "both are"),
        ("tflbuild.yaml", None, "is what the build reads"),
        (None, "models/../tflbuild.lock", "is what the build reads"),
    ],
)
def test_a_path_that_cannot_be_written_stops_before_any_work(
    fake: Fake, junit_at: str | None, summary_at: str | None, said: str
) -> None:
    paths = [None if at is None else fake.root / at for at in (junit_at, summary_at)]
    with pytest.raises(UsageError, match=said):
        fake.build(junit=paths[0], summary=paths[1])
    assert not (fake.root / ".tflbuild").exists()
    assert sorted(path.name for path in fake.root.iterdir()) == ["models", "tflbuild.yaml"]


def test_a_plan_takes_no_report(fake: Fake) -> None:
    run = fake.run("-n", "--junit", "j.xml")
    assert run.code == 2
    assert "--junit would have no effect with -n" in run.err
    assert not (fake.root / "j.xml").exists()


def test_the_file_is_replaced_as_a_whole(fake: Fake) -> None:
    (fake.root / "there").mkdir()
    (fake.root / "there/j.xml").write_text("an earlier one")
    (fake.root / "j.xml").symlink_to("there/j.xml")
    built(fake)
    assert (fake.root / "j.xml").is_symlink()
    assert [path.name for path in (fake.root / "there").iterdir()] == ["j.xml"]
    full = mock.patch.object(Path, "replace", side_effect=OSError("full"))
    with full, pytest.raises(OSError, match="full"):
        files.write(fake.root / "j.xml", b"new")
    Read(fake.root / "j.xml")
    assert [path.name for path in (fake.root / "there").iterdir()] == ["j.xml"]


def test_a_killed_build_leaves_no_report_of_another_one(fake: Fake) -> None:
    page = fake.root / "s.md"
    built(fake, summary=page)
    killed = mock.patch.object(files, "build", side_effect=SystemExit)  # nothing is written then
    with killed, mock.patch.object(files, "_write"), pytest.raises(SystemExit):
        fake.build(junit=fake.root / "j.xml", summary=page)
    assert not page.exists()
    assert not (fake.root / "j.xml").exists()
    page.write_text("somebody's own")
    with killed, mock.patch.object(files, "_write"), pytest.raises(SystemExit):
        fake.build(summary=page)
    assert page.read_text() == "somebody's own"


def test_a_pipe(fake: Fake) -> None:
    run = subprocess.run(
        [sys.executable, str(Path(__file__).parents[1] / "engine/fake_build.py"), "-C",
         str(fake.root), "-q", "--junit", "/dev/stdout"],
        capture_output=True, check=True,
    )  # fmt: skip
    checked(ElementTree.fromstring(run.stdout))


def test_what_no_xml_can_hold() -> None:
    broken = files.Broken("fault", ("a\x00b\ud800c\uffff]]>\r\n\x85d",))
    (error,) = ElementTree.fromstring(junit(broken, Path(), {})).iter("error")
    assert error.text == "a\ufffdb\ufffdc\ufffd]]>\n\x85d"


ORIGINS = """
version: 1
targets:
  phone: {runtime: litert, max_size: 9}
models:
  m:
    source: {format: keras, path: models/a.keras}
    data: {test: {npz: d.npz, labels: y}}
    targets: [phone, litert]
    optimizations:
      f: {}
    evaluate:
      max_params: 9
    compat:
      max_macs: 9
    validate:
      parity:
        sqnr: 9
      metrics:
        accuracy:
          min: 0.5
"""


@pytest.mark.parametrize(
    ("task", "target", "check", "of", "says"),
    [
        ("compat:m:f@phone", "phone", "size", "", "  phone: "),
        ("compat:m:f@phone", "phone", "macs", "", "max_macs"),
        ("compat:m:f@litert", "litert", "size", "", ""),
        ("compat:m:f@litert", "litert", "ops", "", ""),
        ("evaluate:m", None, "evaluate.max_params", "", "max_params"),
        ("validate:m:f", None, "parity.sqnr", "y", "sqnr"),
        ("validate:m:f", None, "parity.cosine", "y", ""),  # a default
        ("validate:m:f", None, "metrics.accuracy.min", "", "min:"),
        ("validate:m:f", None, "metrics.accuracy.odd", "", "accuracy"),
    ],
)
def test_where_a_limit_stands(
    fake: Fake, task: str, target: str | None, check: str, of: str, says: str
) -> None:
    fake.write(ORIGINS, {"d.npz": {"x": [1], "y": [1]}})
    workspace = load_workspace(fake.root / "tflbuild.yaml")
    step = build_graph(workspace, workspace.models).steps[task]
    place = origin(workspace, step, target, Check(check, False, "", of))
    assert (place is not None) == bool(says)
    if place is not None:
        assert says in ORIGINS.split("\n")[place.line - 1]


TWO = """
version: 1
models:
  m:
    source: {format: saved_model, path: models, signatures: {dec: {}, decode: {}}}
    data: {test: {npz: d.npz, labels: y}}
    optimizations: {f: {}}
    validate:
      signatures:
        dec: {metrics: {accuracy: {min: 0.4}}, parity: {sqnr: 4}}
        decode: {metrics: {accuracy: {min: 0.5}}, parity: {sqnr: 5}}
"""


@pytest.mark.parametrize(
    ("check", "of", "says"),
    [
        ("metrics.accuracy.min", "dec", " dec: "),
        ("metrics.accuracy.min", "decode", " decode: "),
        ("parity.sqnr", "dec/y", " dec: "),
        ("parity.sqnr", "decode/y", " decode: "),
    ],
)
def test_a_signature_whose_name_begins_with_that_of_another(
    fake: Fake, check: str, of: str, says: str
) -> None:
    fake.write(TWO, {"d.npz": {"x": [1], "y": [1]}, "models/saved_model.pb": ""})
    workspace = load_workspace(fake.root / "tflbuild.yaml")
    step = build_graph(workspace, workspace.models).steps["validate:m:f"]
    place = origin(workspace, step, None, Check(check, False, "", of))
    assert place is not None
    assert says in TWO.split("\n")[place.line - 1]


RATIO = "defaults:\n  benchmark: {max_ratio: {int8: {against: float32, time: 0.5}}}\n"


@pytest.mark.parametrize(
    ("ratio", "told"),
    [([0.1, 0.2, 0.3], "passed"), ([0.4, 0.5, 0.6], "skipped"), ([0.6, 0.7, 0.8], "failure")],
)
def test_a_ratio_has_its_line(fake: Fake, ratio: list[float], told: str) -> None:
    fake.write(MANIFEST.replace("defaults:\n", RATIO))
    fake.model("a", 1, do={"ratio": ratio})
    read = built(fake, "a")
    (name,) = [n for n in read.named(told) if n.startswith("benchmark:a ")]
    assert name == "benchmark:a benchmark.int8.time of float32"
    assert f"takes {ratio[1]:.2f}×" in str(read.cases[name].system_out or read.message(name))
    if told == "failure":
        assert re.search(r"tflbuild\.yaml:5:\d+: limit of", read.text(name))
