"""The scripts behind the results: their settings are commands that work, their tokenizers lose nothing."""

import sys
from pathlib import Path

import pytest

from entroshape.experiments import parse_arms
from entroshape.experiments.options import parse_compare
from entroshape.tasks import load_task

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import results_settings as results  # noqa: E402
import scale  # noqa: E402
import warm_start  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", results.SETTINGS)
def test_every_setting_of_the_results_is_a_comparison_that_can_be_run(name):
    setting = results.SETTINGS[name]
    config, base = parse_compare([f"--output=docs/results/{name}", "--methods", *setting.arms, *setting.options])
    for arm in parse_arms(config.methods):
        arm.config(base, seed=0)


@pytest.mark.parametrize(
    ("task", "letters"),
    [
        (results.PATHS, False),
        (results.REWRITING, False),
        ("reasoning_gym:mini_sudoku", False),
        ("reasoning_gym:spell_backward", True),
    ],
)
def test_a_warm_starts_tokenizer_gives_back_what_it_was_given(task, letters):
    loaded = load_task(task, train_size=200, test_size=20, seed=1)
    texts = warm_start.examples(loaded)
    tokenizer = warm_start.build_tokenizer(texts, context=256, letters=letters)
    for prompt, answer in texts:
        ids = tokenizer(prompt + answer)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == prompt + answer
        # Training sees the two encoded apart: the boundary must not fall inside a token.
        apart = tokenizer(prompt)["input_ids"] + tokenizer(answer, add_special_tokens=False)["input_ids"]
        assert ids == apart


@pytest.mark.parametrize("setting", scale.SETTINGS, ids=lambda setting: setting.name)
def test_the_page_on_scale_shows_what_the_formulas_and_the_count_give(setting):
    assert scale.text(setting) in scale.PAGE.read_text()


@pytest.mark.parametrize("method", scale.METHODS)
def test_the_operations_of_credit_are_linear_in_tokens_and_do_not_grow_with_the_group(method):
    small = scale.written_per_token(method, group=16, rows=64, length=128)
    assert scale.written_per_token(method, group=16, rows=128, length=512) <= small * 1.05
    assert scale.written_per_token(method, group=4, rows=64, length=128) <= small * 1.35
