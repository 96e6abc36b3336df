"""Wrong inputs: each is refused in one sentence that names what is wrong, with the right status, and nothing is lost.

Status 2 is for what is refused: nothing was written. Status 1 is for what failed on the way.
"""

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from damages import DAMAGES, damaged, remarked
from figures import FULL, record
from wrong_options import wrong_options

from entroshape.assets import bundled_model_path
from entroshape.cli import main
from entroshape.runs import RunDirectory

pytestmark = pytest.mark.slow

SMALL = {
    "train": {"steps": "2", "prompts-per-step": "2", "num-generations": "4", "train-size": "20", "eval-problems": "2",
              "eval-samples": "1", "max-refills": "1", "save-every": "1", "rollouts-every": "1", "device": "cpu"},
    "eval": {"problems": "2", "samples": "1", "batch-size": "1", "device": "cpu"},
    "compare": {"seeds": "1", "steps": "1", "prompts-per-step": "2", "num-generations": "4", "train-size": "20",
                "eval-problems": "2", "eval-samples": "1", "device": "cpu"},
}  # fmt: skip
REWARD = """
import os
def fails(prompts, completions, **columns):
    if os.path.exists("ready"): raise KeyError("the second batch")
    open("ready", "w").close()
    return [0.5] * len(completions)
"""
EVERY = 1 if FULL else 25
"""Of how many cases one is tried."""


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    arguments: list[str]
    words: tuple[str, ...]
    """What the message has to hold one of."""
    status: tuple[int, ...] = (2,)


def small(arguments):
    """The arguments, with options that keep a run short should it start after all."""
    options = SMALL.get(arguments[0], {}) if len(arguments) > 1 else {}
    given = {argument.split("=")[0] for argument in arguments}
    if "--resume" in given or "more" in given:
        return arguments
    return [*arguments, *(f"--{name}={value}" for name, value in options.items() if f"--{name}" not in given)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with one of everything that commands read, all of it in order."""
    folder, before = tmp_path_factory.mktemp("whole"), os.getcwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        assert main(small(["train", "--output=run"])) == 0
        run = RunDirectory.open("run")
        checkpoints = sorted(run.checkpoints_path.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
        shutil.copytree("run", "stopped")
        for later in (
            checkpoints[-1].relative_to("run"),
            Path("model"),
            Path("report.html"),
            Path("eval/step-2.parquet"),
        ):
            path = Path("stopped") / later
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(bundled_model_path("countdown-tiny"), "model")
        Path("sometimes.py").write_text(REWARD)
        answers = ["eval", "--output=answers.parquet", "--seed=3"]
        assert main(small(answers)) == 0
        assert main(small(["eval", "--output=journal.parquet", "--reward=sometimes:fails"])) == 1
        comparison(run)
        lines = [{"problem": f"{i} + 1?", "answer": i + 1} for i in range(20)]
        Path("problems.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        Path("full").mkdir()
        Path("full/precious.txt").write_text("mine")
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
    return folder


def comparison(run):
    """A comparison of one finished run of each of two methods."""
    from entroshape.experiments.arms import parse_arms
    from entroshape.experiments.record import run_record
    from entroshape.experiments.results import Comparison, write_comparison
    from entroshape.training.load import load_config

    arms, base = parse_arms(["dapo,gtpo"]), load_config(run.config_path)
    records = [run_record(run, arm, base) for arm in arms]
    write_comparison(
        Comparison(base=base, arms=arms, baseline="dapo", records=records), Path("together/comparison.json")
    )


def contents(folder):
    """What stands in a folder: names, sizes, times and places on the disk."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.stat()
        found[str(path.relative_to(folder))] = (
            path.is_dir() or (about.st_size, about.st_mtime_ns, about.st_ino)
        )  # fmt: skip
    return found


def tried(case, folder, capsys, monkeypatch):
    """What is wrong with what the command did; ``None``: nothing."""
    monkeypatch.chdir(folder)
    before = contents(folder)
    capsys.readouterr()
    try:
        status = main(case.arguments)
    except SystemExit as stopped:
        status = stopped.code
    except Exception as error:  # noqa: BLE001 - what no command may raise
        return f"raised {type(error).__name__}: {str(error)[:300]}"
    said = capsys.readouterr().err
    after = contents(folder)
    text = " ".join(re.sub(r"[│╭╮╰╯─|+-]{3,}|[│|]", " ", said).split())
    if status not in case.status:
        return f"status {status}: {text[-300:]}"
    if "Traceback" in said or re.search(r"[^\n\x20-\x7e\xa0-\uffff]", said):
        return f"traceback or control characters: {said[-300:]!r}"
    own = [line for line in said.splitlines() if line.startswith("entroshape: ")]
    if len(own) != 1 and "--help" not in said and not said.startswith("usage"):
        return f"not one sentence: {said[:600]!r}"
    if len(text) > 2500:
        return f"{len(text)} characters: {text[:300]}"
    if not any(word.lower().replace("-", "_") in text.lower().replace("-", "_") for word in case.words):
        return f"does not name {' or '.join(case.words)}: {text[:300]}"
    lost = [name for name in before if after.get(name) != before[name]]
    new = [name for name in after if name not in before and "__pycache__" not in name] if status == 2 else []
    return f"lost or changed {lost}, wrote {new}: {text[:200]}" if lost or new else None


def check(name, cases, capsys, monkeypatch):
    wrong = {}
    for case, folder in cases:
        fault = tried(case, folder, capsys, monkeypatch)
        if fault:
            wrong[case.name] = fault
        count = check.counts.setdefault(name, [0, 0])
        count[0] += 1
        count[1] += not fault
    record(f"wrong_inputs_{name}", tried=check.counts[name][0], refused_rightly=check.counts[name][1])
    assert not wrong, "\n".join(f"{each}: {fault}" for each, fault in wrong.items())


check.counts = {}


def named(value):
    """What a message may show of a value: the names in it."""
    return [repr(value), *(word for word in re.split(r"[?:=/]", value) if len(word) > 2)]


def test_wrong_options_and_values_of_every_command_are_refused_by_name(whole, capsys, monkeypatch):
    def cases():
        for number, (arguments, word) in enumerate(wrong_options()):
            if number % EVERY == 0:
                yield (
                    Case(name=" ".join(arguments), arguments=small(arguments), words=(word, *named(arguments[-1]))),
                    whole,
                )

    check("options", cases(), capsys, monkeypatch)


RESUME = ["train", "--resume=stopped"]
EVAL_MODEL = small(["eval", "--model=model"])
FILES = {
    # What is damaged: the command that reads it, damages that are none, and words beside the file's name.
    "run/config.yaml": [["report", "run"], small(["train", "--config=run/config.yaml", "--output=new"])],
    "stopped/config.yaml": [RESUME],
    "run/metrics.jsonl": [["report", "run"]],
    "stopped/metrics.jsonl": [RESUME],
    "run/rollouts/step-2.parquet": [["inspect", "run"], ["report", "run"]],
    "run/eval/step-0.parquet": [["report", "run"]],
    "stopped/eval/step-0.parquet": [RESUME],
    "together/comparison.json": [small(["compare", "--output=together", "--methods=dapo,gtpo"])],
    "answers.parquet": [small(["eval", "--output=answers.parquet", "--seed=3"])],
    "journal.parquet.partial": [small(["eval", "--output=journal.parquet", "--reward=sometimes:fails"])],
    "problems.jsonl": [
        small(["train", "--task=jsonl:problems.jsonl"]), small(["eval", "--task=jsonl:problems.jsonl?split=test"])
    ],
    "model/model.safetensors": [EVAL_MODEL, small(["train", "--model=./model"])],
    "model/config.json": [EVAL_MODEL],
    "model/tokenizer.json": [EVAL_MODEL],
    "model/tokenizer_config.json": [EVAL_MODEL],
    "model/generation_config.json": [EVAL_MODEL],
    "stopped/checkpoints/checkpoint-2/complete.json": [RESUME],
    "stopped/checkpoints/checkpoint-2/optimizer.pt": [RESUME],
    "stopped/checkpoints/checkpoint-2/scheduler.pt": [RESUME],
    "stopped/checkpoints/checkpoint-2/rng_state.pth": [RESUME],
    "stopped/checkpoints/checkpoint-2/trainer_state.json": [RESUME],
    "stopped/checkpoints/checkpoint-2/model.safetensors": [RESUME],
    "sometimes.py": [small(["train", "--reward=sometimes:fails"])],
}  # fmt: skip
IN_ORDER = {
    "metrics.jsonl": ("empty", "one byte", "half", "without its end"),
    "journal.parquet.partial": ("empty", "one byte", "half", "without its end"),
    "sometimes.py": ("half", "a directory"),
    # Weights that are other finite numbers, and settings that libraries do not know.
    "model.safetensors": ("flipped",),
    "tokenizer_config.json": ("NaN", "other object", "a directory"),
    "generation_config.json": ("NaN", "other object"),
    "run/config.yaml": ("half", "without its end", "empty", "null"),
}
"""Damages that leave a file which is in order: nothing has been written yet."""


def copied(whole, folder):
    """The whole folder again, its files shared: damages and commands replace files and change none in place."""
    shutil.copytree(whole, folder, copy_function=os.link, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_damaged_files_of_every_kind_are_refused_by_name(whole, tmp_path, capsys, monkeypatch):
    def cases():
        number = 0
        for file, commands in FILES.items():
            for damage in DAMAGES:
                number += 1
                if number % EVERY or damage in (*IN_ORDER.get(file, ()), *IN_ORDER.get(Path(file).name, ())):
                    continue
                folder = copied(whole, tmp_path / str(number))
                monkeypatch.syspath_prepend(str(folder))
                sys.modules.pop("sometimes", None)
                damaged(folder / file, damage)
                if "checkpoint-2/" in file and not file.endswith("complete.json"):
                    remarked((folder / file).parent)
                words = (Path(file).name, Path(file).stem, str(Path(file).parent.name))
                for arguments in commands:
                    yield (
                        Case(name=f"{' '.join(arguments[:2])}: {file}: {damage}", arguments=arguments, words=words),
                        folder,
                    )
                shutil.rmtree(folder)

    check("files", cases(), capsys, monkeypatch)
