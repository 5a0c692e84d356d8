"""The summary for a pull request, as a Markdown reader shows it; `summary.json` for dashboards."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_workspace import MANIFEST, Fake
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt

from tflbuild import cli, schemas
from tflbuild.engine import summary
from tflbuild.engine.summary import Numbers
from tflbuild.lockfile import LOCK, read, text
from tflbuild.manifest.model import RatioLimit
from tflbuild.reporting import summary_md
from tflbuild.reporting.benchmarks_shown import ratio_parts
from tflbuild.reporting.markdown import code, prose, table
from tflbuild.reporting.summary_md import Page, Row, render
from tflbuild.verdict import Finding, Table, Verdict, printable


@dataclass
class Shown(HTMLParser):
    """What a browser makes of it."""

    tables: list[list[list[str]]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    folded: list[int] = field(default_factory=list)  # tables inside <details>
    tags: set[str] = field(default_factory=set)
    summaries: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.inside.append(tag)
        if tag == "table":
            if "details" in self.inside:
                self.folded.append(len(self.tables))
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th", "li", "h3", "h4", "summary", "p"):
            self.text = ""

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self.text.strip())
        elif tag == "li":
            self.items.append(self.text.strip())
        elif tag in ("h3", "h4"):
            self.headings.append(self.text.strip())
        elif tag == "summary":
            self.summaries.append(self.text.strip())

    def handle_data(self, data: str) -> None:
        self.text += data

    def rows(self) -> dict[str, dict[str, str]]:
        """Of all tables of artifacts, by `model:optimization@target`."""
        found = {}
        for titles, *rows in self.tables:
            if titles[:3] == ["model", "optimization", "target"]:
                for row in rows:
                    cells = dict(zip(titles, row, strict=True))
                    found[f"{row[0]}:{row[1]}@{row[2]}"] = cells
        return found


def shown(markdown: str) -> Shown:
    made = Shown()
    made.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))
    made.close()
    return made


def built(fake: Fake, *selectors: str, **options: Any) -> Shown:
    fake.build(*selectors, keep_going=True, summary=fake.root / "s.md", **options)
    return shown((fake.root / "s.md").read_text("utf-8"))


LIMITED = MANIFEST.replace("  b: {", "  b: {validate: {parity: {sqnr: 30}}, ")
METRIC = {"signature": "s", "name": "accuracy", "samples": 100, "source": 0.95, "file": 0.9375,
          "interval": [0.9, 0.97]}  # fmt: skip
NO_RELEASE = "No last release to compare with"


def locked(fake: Fake) -> None:
    assert fake.build().ok
    assert cli.run(["-C", str(fake.root), "lock", "--update", "-q"]) == 0


def test_a_first_build(fake: Fake) -> None:
    page = built(fake)
    assert re.fullmatch(
        r"tflbuild: 4 released, 0 failed, 0 unchanged in \d+\.\d s", page.headings[0]
    )
    assert list(page.rows()) == [f"{m}:{o}@litert" for m in "ab" for o in ("float32", "int8")]
    row = page.rows()["a:int8@litert"]
    assert {k: row[k] for k in ("status", "size", "metric", "SQNR", "minimum runtime")} == {
        "status": "released", "size": "300 KB", "metric": "", "SQNR": "120.0 dB",
        "minimum runtime": "tensorflow 2.4.0",
    }  # fmt: skip
    written = (fake.root / "s.md").read_text()
    assert written.count(NO_RELEASE) == 1
    again = built(fake)  # nothing to do: unchanged ones are folded
    assert again.headings[0].startswith("tflbuild: 0 released, 0 failed, 4 unchanged in ")
    assert again.summaries == ["4 unchanged"]
    assert again.folded == [0]
    assert len(again.rows()) == 4


def test_failures_come_first(fake: Fake) -> None:
    fake.write(LIMITED)
    fake.model("b", 2, do={"sqnr": 20.5, "convert:int8": {"fail": "no | <b>such</b> @thing"}})
    page = built(fake)
    assert page.headings[0].startswith("tflbuild: 2 released, 2 failed, 0 unchanged")
    rows = page.rows()
    assert list(rows)[:2] == ["b:float32@litert", "b:int8@litert"]
    assert rows["b:float32@litert"]["status"] == "failed"
    note = "validate:b:float32 sqnr of output 'y' is 20.5 dB, below the limit 30 dB"
    assert rows["b:float32@litert"]["note"] == note
    assert rows["b:int8@litert"]["note"] == "convert:b:int8 no | <b>such</b> @thing"
    assert page.tags & {"b", "a", "img", "script"} == set()


def test_against_the_last_release(fake: Fake) -> None:
    fake.model("a", 1, do={"sqnr": 120, "metrics": [METRIC]})
    locked(fake)
    same = built(fake)
    assert same.headings[0].startswith("tflbuild: 0 released, 0 failed, 4 unchanged")
    assert NO_RELEASE not in (fake.root / "s.md").read_text()
    assert same.rows()["a:int8@litert"]["metric"] == "accuracy 0.9375 [0.9000, 0.9700]"
    fake.model("a", 11, do={"sqnr": 118.5, "metrics": [{**METRIC, "file": 0.925}]})
    page = built(fake)
    assert page.headings[0].startswith("tflbuild: 2 released, 0 failed, 2 unchanged")
    row = page.rows()["a:int8@litert"]
    assert row["size"] == "320 KB (+20 KB, +6.7%)"
    assert row["SQNR"] == "118.5 dB (−1.5)"
    assert row["metric"] == "accuracy 0.9250 (−0.0125) [0.9000, 0.9700]"
    assert page.folded == [1]
    # The same file, and other numbers: that is no news of nothing.
    fake.model("a", 1, do={"sqnr": 120, "metrics": [{**METRIC, "file": 0.95}]})
    row = built(fake).rows()["a:int8@litert"]
    assert (row["status"], row["size"]) == ("released", "300 KB")
    assert row["metric"] == "accuracy 0.9500 (+0.0125) [0.9000, 0.9700]"


def test_the_oldest_runtime_and_what_is_gone_or_new(fake: Fake) -> None:
    locked(fake)
    last = read(fake.root)
    old = last.pop("a:int8@litert")
    last["a:float32@litert"] = replace(
        last["a:float32@litert"], min_runtime={"tensorflow": "1.15.0"}, parity={}
    )
    last["z:int8@litert"] = replace(old, artifact="z:int8@litert")
    (fake.root / LOCK).write_text(text(last))
    page = built(fake)
    row = page.rows()["a:float32@litert"]
    assert row["minimum runtime"] == "tensorflow 2.4.0 (was 1.15.0)"
    assert row["SQNR"] == "120.0 dB (was exact)"
    assert page.rows()["a:int8@litert"]["note"].startswith("new")
    assert page.headings[1:] == ["Gone since the last release"]
    assert page.items == ["z:int8@litert"]


def test_a_changed_interface(fake: Fake) -> None:
    locked(fake)
    fake.model("a", 1, do={"names": ["z"]})
    page = built(fake)
    assert "Interface changes" in page.headings
    assert [item.split(": ")[0] for item in page.items] == ["a:float32, a:int8"]
    assert "output 'y' is now called 'z'" in page.items[0]
    (first, *_) = [t for t in page.tables if "last release" in t[0]]
    assert first[1][1:3] == ["0 y float32[1,2]", "0 z float32[1,2]"]
    assert page.rows()["a:int8@litert"]["status"] == "failed, stale"
    assert page.rows()["a:int8@litert"]["note"] == "interface changed, see below"
    assert page.summaries[0] == "Interface of a:float32, a:int8, side by side"
    assert sum("side by side" in title for title in page.summaries) == 1


def test_a_lock_that_cannot_be_read_is_said(fake: Fake) -> None:
    page = Page("")
    (fake.root / LOCK).write_text("{}")
    assert summary_md._last(fake.root, page) == {}
    assert page.notes[0].startswith("Nothing is compared: ")


def test_evaluation_alone(fake: Fake) -> None:
    text = MANIFEST.replace(
        "defaults:\n", "targets: {t: {runtime: litert, max_params: 9}}\ndefaults:\n"
    )
    fake.write(text.replace("  b: {", "  b: {targets: [litert, t], "))
    (told,) = built(fake, until="evaluate").tables
    assert told == [
        ["model", "target", "status", "parameters", "MACs", "note"],
        ["b", "t", "failed", "1,000", "9",
         "parameters: 1,000 of 9, 111 times it (max_params of target t)"],
        ["a", "litert", "passed", "1,000", "9", ""],
        ["b", "litert", "passed", "1,000", "9", ""],
    ]  # fmt: skip


def test_validation_alone_and_a_part(fake: Fake) -> None:
    page = built(fake, "a:int8", until="validate")
    assert page.headings[0].startswith("tflbuild: 1 passed, 0 failed, 0 unchanged")
    assert list(page.rows()) == ["a:int8@litert"]


# strangers' text

PARTS = ["www.", "http://x", "```", "GH-1", "-->", "</details>", "deadbeef1", "\ud800", "a b"]
NASTY = st.lists(
    st.one_of(
        st.sampled_from([*"|`\\<>&@#*_[]()!~$:/.- \n\t\x00\x1b\u200b\u202e", *PARTS]),
        st.characters(),
    ),
    max_size=12,
).map("".join)


@given(NASTY, NASTY)
@example("", "\\|")
def test_a_cell_shows_what_was_said_and_nothing_more(one: str, two: str) -> None:
    cells = [code(one, cell=True), prose(two, cell=True), "end"]
    page = shown("\n".join(table(["a", "b", "c"], [cells])))
    ((titles, row),) = page.tables
    assert titles == ["a", "b", "c"]
    # What keeps a backslash from a pipe is ours: of a stranger's text it would be shown as a sign.
    own = [cell.replace("\u200b", "") for cell in row]
    assert [squeezed(cell) for cell in own] == [squeezed(one), squeezed(two), "end"]
    assert page.tags <= {"table", "thead", "tbody", "tr", "th", "td", "code"}


def squeezed(text: str) -> str:
    """Signs for what cannot be shown; without what code spans take, backticks and spaces at their
    ends."""
    text = printable(text) if text.isprintable() is False else text
    return text.replace("`", "").replace(" ", "")


@given(NASTY)
def test_a_line_shows_what_was_said_and_nothing_more(said: str) -> None:
    page = shown(f"- x: {prose(said)}")
    assert page.tags <= {"ul", "li", "code"}
    assert squeezed(page.items[0].removeprefix("x:")) == squeezed(said)


@pytest.mark.parametrize(
    "said",
    ["@you", "see www.x.org", "https://x", "a@b.c", "#12", "GH-12", "deadbeef1", ":tada:", "!1",
     "%5", "$3", "~bug", "&1", "[x](y)", "**x**", "<img src=x>", "a|b", "validate:a:int8",
     "- x", "1. x", "2) x"],
)  # fmt: skip
def test_what_a_site_would_make_something_of_is_code(said: str) -> None:
    assert prose(said) == f"`{said}`"


def test_a_sentence_stays_a_sentence() -> None:
    said = "sqnr of output 'y' is 20.5 dB, below the limit 30 dB (max_size of target t)"
    assert prose(said) == said
    assert prose("write `max_abs_error: 3`, or `@x | y`", cell=True) == (
        "write `max_abs_error: 3`, or `@x \\| y`"
    )


@pytest.mark.parametrize("nasty", ["|" * 300, "`" * 300, "\U0001f600" * 300, "<b>" * 100])
def test_a_page_is_small_enough_whatever_it_shows(nasty: str) -> None:
    states = [summary_md.FAILED, summary_md.RELEASED, summary_md.UNCHANGED]
    name = code("n" * 100, cell=True)
    rows = [
        Row(states[i % 3], (*[name] * 3, states[i % 3], *[""] * 4, code(nasty, cell=True)))
        for i in range(3000)
    ]
    page = Page("tflbuild", rows=rows, lists={"Interface changes": [code(nasty)] * 500})
    page.sides = {f"m{i}:o": Table("interface", "", ("", "a"), ((nasty, nasty),) * 99, True)
                  for i in range(50)}  # fmt: skip
    text = summary_md.fit(page)
    assert len(text.encode()) < 60_000
    seen = shown(text)
    count = sum(len(t) - 1 for t in seen.tables if "model" in t[0])
    assert 0 < count <= 60
    assert f"and {3000 - count} more: " in text
    assert all(row[3] == "failed" for row in seen.tables[0][1:])
    small = Page("x", rows=[replace(row, cells=("",) * 9) for row in rows[:61]])
    assert "and 1 more: 1 unchanged" in render(small, 60, 20)


# summary.json


def problems(value: Any) -> list[str]:
    validator = Draft202012Validator(json.loads(schemas.text("summary")))
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(value)]


def test_what_a_dashboard_wants(fake: Fake) -> None:
    odd = {**METRIC, "extra": "x"}
    fake.write(LIMITED)
    fake.model("a", 1, do={"metrics": [odd], "output": "a\x1b<b>"})
    fake.model("b", 2, do={"sqnr": 20.5})
    fake.build(keep_going=True)
    written = (fake.root / "build/reports/summary.json").read_text()
    found = json.loads(written, parse_constant=pytest.fail)
    assert problems(found) == []
    entry = found["artifacts"]["a:int8@litert"]
    assert entry["min_runtime"] == {"litert": "1.0.0", "tensorflow": "2.4.0"}
    assert entry["built"] == {"sha256": entry["sha256"], "size": entry["size"]}
    assert entry["metrics"] == [METRIC]
    assert entry["parity"][0]["sqnr"] == 120
    assert {c["check"] for c in entry["checks"]} == {"ops", "parity.sqnr", "parity.cosine"}
    failed = found["artifacts"]["b:int8@litert"]
    assert failed["status"] == "not released"
    assert failed["built"]["size"] == 300_000
    assert [c["passed"] for c in failed["checks"] if c["check"] == "parity.sqnr"] == [False]


@pytest.mark.parametrize(
    "entry", ["5", "[]", '{"status": 5}', '{"status": "released"}', "[" * 20_000]
)
def test_an_earlier_file_may_hold_anything(fake: Fake, entry: str) -> None:
    fake.build()
    path = fake.root / "build/reports/summary.json"
    path.write_text(f'{{"version": 1, "artifacts": {{"a:int8@litert": {entry}}}}}')
    fake.build("b", force=True)
    found = json.loads(path.read_text())
    assert problems(found) == []
    assert found["artifacts"]["a:int8@litert"]["status"] == "released"


def test_no_number_is_no_json() -> None:
    odd = {**METRIC, "source": float("nan"), "interval": [float("-inf"), 1.0]}
    made = summary._some(odd, summary.METRIC)
    assert made == {**METRIC, "source": None, "interval": [None, 1.0]}


def test_numbers_of_nothing() -> None:
    assert Numbers().as_json() == {
        "built": None, "min_runtime": {}, "metrics": [], "parity": [], "checks": [],
    }  # fmt: skip


def test_the_path_is_of_the_folder_that_is_changed_to(fake: Fake, tmp_path: Path) -> None:
    run = fake.run("--summary", "out/here/s.md", "-q")
    assert run.code == 0
    assert (fake.root / "out/here/s.md").read_text().startswith("### tflbuild: 4 released")


def test_small_numbers_keep_their_digits() -> None:
    metric = {**METRIC, "name": "mean_squared_error", "file": 1.25e-6, "interval": [1e-6, 2e-6]}
    shown_as, changed = summary_md._metrics(Numbers(metrics=(metric,)), None, False)
    assert shown_as == "`mean_squared_error` 1.25e-06 [1e-06, 2e-06]"
    assert not changed
    nothing = {**METRIC, "file": None, "interval": None}
    assert summary_md._metrics(Numbers(metrics=(nothing,)), None, False)[0] == "`accuracy` ?"


def test_all_metrics_are_shown_the_first_at_length() -> None:
    first = {**METRIC, "name": "recall"}
    others = tuple({**METRIC, "name": f"m{n}"} for n in range(9))
    told, changed = summary_md._metrics(Numbers(metrics=(first, *others[:2])), None, False)
    assert told == "`recall` 0.9375 [0.9000, 0.9700], `m0` 0.9375, `m1` 0.9375"
    assert not changed
    assert summary_md._metrics(Numbers(metrics=(first, *others)), None, False)[0].endswith(
        "`m5` 0.9375, 3 more"
    )


def test_a_note_ends_where_a_sentence_may_and_says_where_the_rest_is(fake: Fake) -> None:
    fake.write(
        MANIFEST.replace(
            "  b: {", "  b: {validate: {parity: {sqnr: 30, outputs: {z: {sqnr: 9}}}}, "
        )
    )
    fake.model("b", 2, do={"sqnr": 20.5})
    note = built(fake, "b:int8").rows()["b:int8@litert"]["note"]
    assert "no output 'z'" in note
    assert note.endswith(" (+1 more in build/reports/b/int8/validate.json)")
    page = (fake.root / "s.md").read_text()
    assert all(line in page for line in summary_md.LEGEND)


def test_benchmarks_have_a_line_for_each_model() -> None:
    ratio = {"file": "int8", "against": "float32", "ratio": 0.414, "low": 0.38, "high": 0.44}
    memory = {**ratio, "ratio": 0.5}
    measured = {
        "files": [{"file": "float32"}, {"file": "int8"}], "memory_ratios": [memory],
        "signatures": [{"signature": "s", "ratios": [ratio]}],
    }  # fmt: skip
    (alone,) = ratio_parts(measured, ())
    assert alone == "int8 0.41× of float32 (0.38–0.44)"
    assert prose(alone) == alone
    limits = [RatioLimit("int8", "float32", time=0.6, memory=0.7)]
    assert ratio_parts(measured, limits) == [
        "int8 0.41× of float32 (0.38–0.44), limit 0.6",
        "int8 0.50× of float32 memory (0.38–0.44), limit 0.7",
    ]
    busy = Verdict((Finding("warn", "benchmark.busy", "the machine was busy"),))
    step = SimpleNamespace(model=SimpleNamespace(name="m", benchmark=None))
    task = "benchmark:m"
    made: Any = SimpleNamespace(
        graph=SimpleNamespace(steps={task: step}),
        result=SimpleNamespace(measured={task: measured}, verdicts={task: busy}),
    )
    assert list(summary_md._benchmarks(made, {task, "lower:m"})) == [
        f"`m` {alone}; warning: the machine was busy"
    ]
