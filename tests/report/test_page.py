import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from report_inputs import make_run

from entroshape.report import write_report
from entroshape.report.data import MAX_POINTS, chart_data, page_data
from entroshape.report.kinds import HEADINGS
from entroshape.runs import RunDirectory

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\u2028\u202e"


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of each kind."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run", steps=40)


@pytest.fixture(scope="module")
def html(run):
    return write_report(run.path).read_text(encoding="utf-8")


def test_the_report_is_one_small_file_in_the_run_directory(run, html):
    assert write_report(run.path) == run.path / "report.html"
    assert 400_000 < len(html.encode()) < 2_000_000
    assert [path.name for path in run.path.glob("report*")] == ["report.html"]


def test_nothing_is_loaded_from_anywhere(html):
    elements = Elements(html).elements
    assert not [tag for tag, _ in elements if tag in ("link", "img", "iframe", "object", "base")]
    assert not [attributes for _, attributes in elements if {"src", "href"} & attributes.keys()]
    assert "url(" not in html[: html.index("</style>")]
    policy = next(attributes["content"] for _, attributes in elements if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_the_numbers_of_the_run_are_on_the_page(run, html):
    _, before = run.read_evaluation(0)
    _, after = run.read_evaluation(40)
    for metrics in (before, after):
        for name in ("mean@16", "pass@4", "pass@16"):
            assert f"{100 * metrics[name]:.1f} %" in html
            assert f"{100 * metrics[name + '_low']:.1f} to {100 * metrics[name + '_high']:.1f}" in html
    assert "Mean@16 rose from" in html
    assert "GTPO on countdown" in html
    assert "40 of 40" in html


NOTHING = {"steps": 0, "groups": 0, "responses": 0}
NO_TOKENS = {"tokens": [], "kinds": [], "headings": list(HEADINGS)}


def test_the_charts_get_every_metric_of_every_step(run, html):
    (text,) = [text for text in Elements(html).texts["script"] if text.startswith("{")]
    data = json.loads(text)
    assert data == {**chart_data(run), "credit": {"steps": [], **NO_TOKENS, "left_out": NOTHING}}
    lines = run.read_metrics()
    assert data["steps"] == list(range(1, 41))
    assert data["metrics"]["success_rate"] == pytest.approx([line["success_rate"] for line in lines], rel=1e-4)
    assert set(data["metrics"]) == set(lines[0]) - {"step", "optimizer_step"}
    assert [len(evaluation["curve"]) for evaluation in data["evaluations"]] == [16, 16]


def test_hostile_text_is_shown_as_text(tmp_path):
    run = make_run(tmp_path / "run", steps=3, task=HOSTILE, method_options={HOSTILE: HOSTILE}, model=[HOSTILE])
    run.append_metrics({"step": 4, HOSTILE: 1.0})
    page = Elements(write_report(run.path).read_text(encoding="utf-8"))
    assert [tag for tag, _ in page.elements].count("script") == 8
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert page.texts["h1"] == [f"GTPO on {HOSTILE}"]
    (text,) = [text for text in page.texts["script"] if text.startswith("{")]
    assert json.loads(text)["metrics"][HOSTILE] == [None, None, None, 1.0]


def test_only_the_bundled_scripts_may_run(html):
    page = Elements(html)
    policy = next(attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
    scripts = [text for text in page.texts["script"] if not text.startswith("{")]
    assert len(re.findall("sha256-", policy)) == len(scripts) == 7
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]


def test_the_bundled_library_is_what_its_list_says():
    vendor = files("entroshape.report") / "vendor"
    sources = json.loads((vendor / "SOURCES.json").read_text())
    assert {"d3.min.js", "plot.umd.min.js", "LICENSE.d3", "LICENSE.plot"} <= set(sources)
    for name, source in sources.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == source["sha256"]


def test_a_long_run_is_shown_as_means_over_stretches(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config({})
    lines = [json.dumps({"step": step, "reward": step % 2}) for step in range(1, 2 * MAX_POINTS + 2)]
    run.metrics_path.write_text("\n".join(lines) + "\n")
    data = chart_data(run)
    assert data["stretch"] == 3
    assert len(data["steps"]) <= MAX_POINTS
    assert data["steps"][:2] == [3, 6]
    assert data["steps"][-1] == 2 * MAX_POINTS + 1
    assert data["metrics"]["reward"][:2] == pytest.approx([2 / 3, 1 / 3], abs=1e-4)


def test_a_run_that_was_stopped_early_gets_a_report_of_what_there_is(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config({"task": "countdown", "method": "dapo", "steps": 100})
    assert "has not been evaluated" in write_report(run.path).read_text()
    run.append_metrics({"step": 1, "reward": 0.1})
    with run.metrics_path.open("a") as file:
        file.write('{"step": 2, "rew')
    page = page_data(run)
    assert page["facts"]["Steps"] == "1 of 100"
    assert page["outcome"] == []
    assert page["title"] == "DAPO on countdown"


def test_one_evaluation_has_no_change(tmp_path):
    run = make_run(tmp_path / "run", steps=2, evaluated=(0.1,))
    page = page_data(run)
    assert {row.change for row in page["outcome"]} == {"-"}
    assert page["verdict"] == ""
    write_report(run.path)


def test_a_change_within_the_noise_is_called_unclear(tmp_path):
    run = make_run(tmp_path / "run", steps=2, evaluated=(0.1, 0.1))
    assert "no clear change" in page_data(run)["verdict"]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no config\.yaml"):
        write_report(tmp_path)
