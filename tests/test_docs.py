"""The documentation: its site builds without a warning, its links lead somewhere, its commands parse."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from entroshape.evaluation.options import EvalConfig, parse_eval
from entroshape.experiments import parse_arms
from entroshape.experiments.options import CompareConfig, parse_compare
from entroshape.methods import build_method
from entroshape.report.options import InspectConfig, ReportConfig, parse_inspect, parse_report
from entroshape.training.config import TrainConfig
from entroshape.training.options import TrainCommand, parse_train
from entroshape.weights.options import MergeConfig, parse_merge

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Elements by which a page loads something, and from which attribute."""


# --- the built site ---------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Anchors, links and loaded files of a page of HTML."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loaded = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in LOADS and values.get(LOADS[tag]):
            self.loaded.append(values[LOADS[tag]])


@pytest.mark.slow
def test_the_site_builds_without_a_warning_or_a_network_and_every_link_in_it_leads_somewhere(tmp_path):
    if find_spec("sphinx") is None or find_spec("furo") is None:
        pytest.skip("the docs extra is not installed: pip install -e '.[docs]'")
    # As `make docs` does it. One test, so that it is built once however many processes the tests run in.
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= {path.stem for path in pages}
    assert sum(len(page.links) for page in pages.values()) > 100  # the parser did see them
    assert not broken_links(pages)
    assert not loaded_from_a_network(tmp_path, pages)
    assert not undrawn_equations(pages)


def broken_links(pages):
    broken = []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.name}: {link}")
    return broken


def loaded_from_a_network(folder, pages):
    styles = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.css"))
    return [
        *(link for page in pages.values() for link in page.loaded if urlsplit(link).netloc),
        *re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"';]*""", styles),
    ]


def undrawn_equations(pages):
    undrawn = []
    for path in pages:
        source, html = ROOT / "docs" / f"{path.stem}.md", path.read_text(encoding="utf-8")
        if source.is_file() and "$$" in source.read_text():
            shown = re.sub(r"<(script|code|pre).*?</\1>", "", html, flags=re.DOTALL)
            if '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' not in html or "\\frac" in shown:
                undrawn.append(path.name)
    return undrawn


# --- the pages as they are read on GitHub -----------------------------------------------------------------------------


def anchors(page):
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if urlsplit(link).scheme:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}, which has no such heading"


# --- commands and options ---------------------------------------------------------------------------------------------


def commands(page):
    """The `entroshape` commands of a page's blocks of shell, as lists of words."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            ranks = ["torchrun", "--nproc_per_node", "2", "-m", "entroshape"]
            for started in (["accelerate", "launch", "-m", "entroshape"], ["python", "-m", "entroshape"], ranks):
                if words[: len(started)] == started:
                    words = words[len(started) - 1 :]
            if words and Path(words[0]).name == "entroshape":
                yield words[1:]


ALL_COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize(("page", "words"), ALL_COMMANDS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_parses(page, words, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "examples")  # where the reader of "Your own method" is
    command, arguments = words[0], list(words[1:])
    if arguments == ["--help"]:
        assert command in ("train", "eval", "compare", "merge", "inspect", "report")
    elif command == "train":
        config, _ = parse_train(with_their_files(arguments, tmp_path))
        build_method(config.method, config.method_options)
    elif command == "eval":
        parse_eval(arguments)
    elif command == "compare":
        config, _ = parse_compare(with_their_files(arguments, tmp_path))
        if config.methods:  # without any, it goes on with those of --output
            parse_arms(config.methods, config.sweep)
    elif command == "merge":
        parse_merge(arguments)
    elif command == "inspect":
        parse_inspect(arguments)
    else:
        assert command == "report"
        parse_report(arguments)


def with_their_files(arguments, folder):
    """Runs and configurations that a reader would have take the place of those that are not here."""
    options = folder / "config.yaml"
    options.write_text(yaml.safe_dump({**TrainConfig().to_dict(), "environment": {}}))
    changed = list(arguments)
    for place, name in enumerate(arguments[:-1]):
        if name == "--resume":
            changed[place + 1] = str(folder)
        elif name == "--config" and not os.path.exists(arguments[place + 1]):
            changed[place + 1] = str(options)
    return changed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_a_page_names_exists(page):
    known = {
        option.name
        for config in (TrainCommand, EvalConfig, CompareConfig, MergeConfig, InspectConfig, ReportConfig)
        for option in fields(config)
    }
    named = set(re.findall(r"`(?:entroshape [a-z]+ )?--([a-z][a-z-]*)", page.read_text()))
    assert {name.replace("-", "_") for name in named} <= known | {"help", "version"}


def test_every_target_of_make_that_a_page_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    text = "\n".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE)) <= targets


def test_every_chart_of_the_report_is_explained():
    script = (ROOT / "src/entroshape/report/template/report.js").read_text()
    page = (ROOT / "docs/reading-the-report.md").read_text()
    titles = re.findall(r'title: "([^"]+)"', script)
    assert len(titles) > 10
    assert [title for title in titles if title not in page] == []
