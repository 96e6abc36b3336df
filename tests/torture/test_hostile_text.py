"""Hostile text in every field: of the pages, in a real browser, and of what commands say, in a real pseudo-terminal."""

import json
import os
import pty
import re
import shutil
import sys
import threading
import unicodedata
from contextlib import contextmanager, suppress
from itertools import cycle

import pytest
import yaml
from chromium import needs_browser
from figures import FULL, amount, record
from hostile_text import LONG, MARKUP, NUL, SCRIPTS, SURROGATES, TEXTS

from entroshape.assets import bundled_model_path
from entroshape.cli import main
from entroshape.evaluation import evaluation_metrics
from entroshape.experiments import Comparison, parse_arms
from entroshape.experiments.page import write_page
from entroshape.experiments.results import write_comparison
from entroshape.report import write_report
from entroshape.runs import RunDirectory
from entroshape.training.config import TrainConfig

pytestmark = pytest.mark.slow

WITH_NUL = [*TEXTS, *NUL]
"""What a Parquet file can hold."""

CANARY = "window.canaried = []; window.canary = (what) => window.canaried.push(String(what));"
LEFT_BEHIND = """() => [
    ...window.canaried,
    ...document.querySelectorAll('iframe, base, meta[http-equiv=refresh], form, link, object, embed, img'),
    ...[...document.querySelectorAll('*')].filter((each) => each.getAttributeNames().some((name) => /^on/.test(name))),
    ...[...document.querySelectorAll('[href], [src]')].filter((each) => /script:|127/.test(each.href || each.src)),
].map((each) => each.outerHTML ? each.outerHTML.slice(0, 200) : each)"""
"""Everything in the page that its own template does not make."""


# --- pages ------------------------------------------------------------------------------------------------------------


def hostile_run(path, texts, everywhere=None):
    """A run with hostile text in every field that a run has."""
    take = (lambda: everywhere) if everywhere is not None else cycle(texts).__next__
    run = RunDirectory.create(path)
    options = {
        name: take() for name in ("task", "method", "model", "reward", "output", "learning_rate", "steps", "seed")
    }
    run.write_config(
        {**options, "method_options": {take(): take(), take(): [take(), {take(): take()}]}, take(): take()}
    )
    content = yaml.safe_load(run.config_path.read_text())
    content["environment"] |= {take(): take(), "python": take(), "git": {take(): take()}}
    run.config_path.write_text(yaml.safe_dump(content))
    for step in (1, 2):
        run.append_metrics({"step": step, "reward": 0.5, "success_rate": 0.1 * step, take(): 0.25, take(): 0.5})
    rows = [
        {
            "problem": f"{i}{take()}", "sample": 0, "prompt": take(), "completion": take(), "reward": 1.0,
            "success": True, "length": 3, "cut": False, "entropy": 0.5,
        }
        for i in range(4)
    ]  # fmt: skip
    for step in (0, 2):
        run.write_evaluation(step, rows, {**evaluation_metrics(rows), take(): 1.0})
    for step in (1, 2):
        count = len(texts) if everywhere is None else 2
        run.write_rollouts(step, [rollout(step, take, count) for _ in range(2)])
    return run


def rollout(step, take, count):
    tokens = [take() for _ in range(count)]
    return {
        "step": step, "group": 0, "prompt": take(), "completion": take(), "tokens": tokens,
        "token_ids": list(range(count)), "entropy": [0.1] * count,
        "shaped_reward": [1.0] * count, "advantage": [0.5] * count, "reward": 1.0,
        "success": True, "gated": False,
    }  # fmt: skip


def hostile_comparison(texts, everywhere=None):
    """A comparison with hostile text in every field that one has."""
    take = (lambda: everywhere) if everywhere is not None else cycle(texts).__next__
    base = TrainConfig(task=take() or "x", model=take() or "x", reward=take(), method_options={})
    arms = [parse_arms(["gtpo"])[0].with_option("task", take() or "x"), parse_arms(["dapo"])[0]]
    names = [take(), take(), take()]
    records = [
        {
            "arm": arm.name, "seed": seed, "steps": 2,
            "before": {"mean@2": 0.1, names[0]: 0.1},
            "after": {"mean@2": 0.2 + seed / 100, names[0]: 0.5, names[1]: 0.1},
            "pass_curve": [0.2, 0.3], "curves": {"step": [1, 2], "success_rate": [0.1, 0.2], names[2]: [0.1, 0.2]},
            "evaluations": {}, "seconds": 1.0, "environment": {take(): take()},
        }
        for arm in arms
        for seed in (0, 1)
    ]  # fmt: skip
    return Comparison(base=base, arms=arms, baseline="dapo", records=records)


@contextmanager
def silent(browser, path):
    """The page, opened with a canary; nothing may have run, been said, been asked of a network or been left in it."""
    page, said, asked = browser.new_page(), [], []
    page.add_init_script(CANARY)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.on("popup", lambda popup: said.append("a window was opened"))
    address = path.resolve().as_uri()
    page.goto(address)
    yield page
    page.wait_for_timeout(50)
    assert page.evaluate(LEFT_BEHIND) == []
    assert said == []
    assert [url for url in asked if url.partition("#")[0] != address] == []
    assert page.url.partition("#")[0] == address
    page.close()


def look_around(page):
    """Every step, every quantity, and many tokens of the credit viewer."""
    page.wait_for_selector("#viewer[data-ready]")
    for step in range(page.locator("#step option").count()):
        page.select_option("#step", index=step)
        for key in "era":
            page.keyboard.press(key)
        for cell in page.locator("#tokens td").all()[:: amount(40, 12)]:
            cell.hover(force=True)


@needs_browser
def test_hostile_text_in_every_field_of_the_pages_runs_nothing_and_asks_for_nothing(browser, tmp_path):
    # All texts side by side, then each alone in every field at once.
    alone = [*WITH_NUL, *LONG] if FULL else [SCRIPTS[1], SCRIPTS[10], NUL[0]]
    pages = 0
    for number, everywhere in enumerate([None, *alone]):
        run = hostile_run(tmp_path / f"run-{number}", WITH_NUL, everywhere)
        with silent(browser, write_report(run.path)) as page:
            if everywhere is None or FULL:
                look_around(page)
        with silent(
            browser, write_page(hostile_comparison(TEXTS, everywhere and everywhere.replace("\0", "")), run.path)
        ):
            pages += 2
    record("hostile_pages", pages=pages, texts=len(WITH_NUL) + len(LONG), scripts_run=0, requests=0, console_messages=0)


@pytest.mark.parametrize("text", SURROGATES)
def test_half_characters_in_a_runs_files_make_a_page_all_the_same(text, tmp_path):
    run = hostile_run(tmp_path / "run", ["x"])
    content = yaml.safe_load(run.config_path.read_text())
    run.config_path.write_text(yaml.safe_dump({**content, "task": text, text: text}))
    run.metrics_path.write_text(json.dumps({"step": 1, "reward": 0.5, text: 1.0}) + "\n")
    html = write_report(run.path).read_text(encoding="utf-8")
    assert html.count("\ufffd") or "?" in html
    write_page(hostile_comparison(["x"], text), run.path).read_text(encoding="utf-8")


# --- terminals --------------------------------------------------------------------------------------------------------

OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[[0-9]*[AK]|\x1b\[\?25[lh]|\r\x1b\[2K|\r\n|\r(?=\x1b\[)")
"""What rich writes: colours, lines up, lines cleared, the cursor hidden and shown."""


@contextmanager
def terminal():
    """A pseudo-terminal as standard output and error; gives a function that returns what has come out of it."""
    master, slave = pty.openpty()
    read, before = [], (sys.stdout, sys.stderr)

    def drain():
        with suppress(OSError):
            while chunk := os.read(master, 1 << 16):
                read.append(chunk)

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    stream = open(slave, "w", buffering=1, encoding="utf-8", closefd=True)  # noqa: SIM115 - closed below
    sys.stdout = sys.stderr = stream
    try:
        yield lambda: b"".join(read).decode(errors="surrogateescape")
    finally:
        sys.stdout, sys.stderr = before
        stream.close()
        reader.join(timeout=5)
        os.close(master)


def said(arguments):
    """What a command writes to a terminal, and its status."""
    with terminal() as output:
        try:
            status = main(arguments)
        except SystemExit as stopped:
            status = stopped.code
    return output(), status


def controls(text):
    """What has arrived that neither rich nor a person writes."""
    rest = OWN.sub("", text)
    return sorted({character for character in rest if unicodedata.category(character) in ("Cc", "Cf", "Cs")} - {"\n"})


@pytest.fixture
def colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


def check_terminal(name, cases):
    wrong, tried = {}, 0
    for arguments, statuses in cases:
        text, status = said(arguments)
        tried += 1
        if status not in statuses or controls(text) or "\x1b[5" in text or "Traceback" in text:
            wrong[ascii(arguments)] = (status, controls(text), ascii(text[-300:]))
    record(f"hostile_{name}", commands=tried, control_sequences_that_arrived=0 if not wrong else len(wrong))
    assert not wrong, wrong


def as_name(text):
    """The text as a file's name; one of 255 bytes at most, without slashes."""
    return text.replace("/", "-").replace("\0", "")[:60] or "x"


def wrong_names(name, run):
    """Commands that have to quote what they refuse."""
    return [
        ["inspect", name], ["inspect", run, name], ["report", name], ["train", "--resume", name],
        ["train", "--config", name], ["train", f"--task=jsonl:{name}"], ["train", f"--method={name}"],
        ["train", "--method-options", f"{name}=1"], ["train", f"--reward={name}:f"], ["eval", f"--task={name}"],
        ["eval", f"--model=./{name}"], ["eval", "--nope", name], ["compare", "--methods", f"gtpo:axis={name}"],
        ["compare", "--methods=gtpo", f"--launcher={name}"], ["compare", f"--sweep={name}"], [name],
    ]  # fmt: skip


def test_no_control_sequence_of_a_rollout_a_run_or_a_path_reaches_the_terminal(tmp_path, monkeypatch, colours):
    monkeypatch.chdir(tmp_path)

    def cases():
        run = hostile_run(tmp_path / "run", WITH_NUL)
        for options in ([], ["--list"], ["--show=entropy"], ["--show=shaped_reward", "--step=1"]):
            yield ["inspect", str(run.path), *options], (0,)
        for number, text in enumerate([*TEXTS, *(LONG if FULL else ())][:: amount(30, 1)]):
            path = tmp_path / f"{number}{as_name(text)}"
            hostile_run(path, WITH_NUL, text)
            yield ["inspect", str(path)], (0,)
            yield ["report", str(path)], (0,)
            missing = f"missing-{as_name(text)}"
            for command in wrong_names(missing, str(run.path)):
                yield command, (2,)
            shutil.rmtree(path)

    check_terminal("terminal", cases())


def test_no_control_sequence_reaches_the_terminal_while_a_model_is_trained_evaluated_and_compared(
    tmp_path, monkeypatch, colours
):
    monkeypatch.chdir(tmp_path)
    evil = as_name("".join(["\x1b[5;35;7mEVIL\x1b]0;owned\x07\x9b5m\r\u202e", "[/bold]"]))
    model = tmp_path / evil
    shutil.copytree(bundled_model_path("countdown-tiny"), model)
    generation = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps({**generation, "\x1b[5mEVIL": 1, "temperature": -3.0}))
    small = ["--steps=2", "--prompts-per-step=2", "--num-generations=4", "--train-size=20", "--eval-problems=2",
             "--eval-samples=1", "--rollouts-every=1", "--device=cpu"]  # fmt: skip

    def cases():
        yield ["train", *small, f"--model=./{evil}", f"--output=out-{evil}"], (0,)
        yield ["inspect", f"out-{evil}"], (0,)
        yield ["eval", "--problems=2", "--samples=1", f"--model=./{evil}", f"--output={evil}.parquet"], (0,)
        comparison = hostile_comparison(TEXTS)
        write_comparison(comparison, tmp_path / f"c-{evil}" / "comparison.json")
        yield ["compare", f"--output=c-{evil}", "--seeds=2"], (0, 2)

    check_terminal("commands", cases())


def test_markup_in_a_path_is_text(tmp_path, monkeypatch, colours):
    monkeypatch.chdir(tmp_path)
    for text in MARKUP:
        hostile_run(tmp_path / as_name(text), ["x"])
        shown, status = said(["report", as_name(text)])
        assert (status, shown.strip()) == (0, f"{as_name(text)}/report.html")
