"""The recipes: verl's own configuration system composes them, and our validation accepts them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from entroshape.credit.overlong import GroupRelativeOverlong, SoftOverlong
from entroshape.engines.verl import ESTIMATORS
from entroshape.engines.verl.trainer import prepare

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes" / "verl"
METHODS = ("grpo", "dapo", "dapo_forking", "gtpo", "grpo_s")
SIZES = ("7b", "32b")
ACTOR = "actor_rollout_ref.actor"
OVERLONG = {
    "grpo": None,
    "dapo": SoftOverlong(max_length=4096, cache=1024),
    "dapo_forking": SoftOverlong(max_length=4096, cache=1024),
    "gtpo": GroupRelativeOverlong(gamma1=0.75),
    "grpo_s": GroupRelativeOverlong(gamma1=0.75),
}


@pytest.fixture(scope="module")
def overrides_of(tmp_path_factory):
    """What a recipe would start: its script is run, with a Python that prints what it is given."""
    printer = tmp_path_factory.mktemp("bin") / "python"
    printer.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    printer.chmod(0o755)

    def overrides(name, *more):
        done = subprocess.run(
            [str(RECIPES / f"{name}.sh"), *more],
            env={**os.environ, "PYTHON": str(printer), "DATA": "/data"},
            capture_output=True,
            text=True,
            check=True,
        )
        module, main, *arguments = json.loads(done.stdout.splitlines()[-1])
        assert (module, main) == ("-m", "verl.trainer.main_ppo")
        return arguments

    return overrides


def composed(overrides):
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=[each for each in overrides if not each.startswith("hydra.")])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_composes_and_has_the_papers_settings(overrides_of, method, size):
    config = composed(overrides_of(f"{method}-{size}"))
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert config.trainer.nnodes * config.trainer.n_gpus_per_node == 64
    assert (config.data.max_prompt_length, config.data.max_response_length) == (2048, 4096)
    assert (config.data.train_batch_size, rollout.n, actor.optim.lr) == (128, 16, 1e-6)
    assert (rollout.temperature, rollout.top_p, rollout.val_kwargs.n) == (1.0, 1.0, 32)
    assert actor.ppo_mini_batch_size == 128
    assert config.trainer.max_actor_ckpt_to_keep == 2
    assert config.actor_rollout_ref.model.path == f"Qwen/Qwen2.5-{size.upper()}"
    made = prepare(config)
    assert made.method.name == method == ESTIMATORS[config.algorithm.adv_estimator]
    assert made.method.overlong == OVERLONG[method]
    assert config.algorithm.filter_groups.enable == made.method.dynamic_sampling
    assert actor.clip_ratio_low == made.method.surrogate.epsilon_low
    assert actor.clip_ratio_high == made.method.surrogate.epsilon_high
    assert actor.policy_loss.loss_mode == f"entroshape_{made.method.surrogate.ratio}"
    assert config.trainer.v1.trainer_mode == "sync"  # what verl's base class looks for
    if method in ("gtpo", "grpo_s"):
        assert {getattr(made.method, name) for name in ("alpha2", "beta2") if hasattr(made.method, name)} == {0.1}


@pytest.mark.parametrize("method", METHODS)
def test_what_follows_a_recipes_name_wins(overrides_of, method):
    config = composed(overrides_of(f"{method}-7b", "trainer.nnodes=1", f"{ACTOR}.optim.lr=5e-7"))
    assert (config.trainer.nnodes, config.actor_rollout_ref.actor.optim.lr) == (1, 5e-7)


def test_a_misspelt_option_of_a_recipe_is_refused_with_the_valid_names(overrides_of):
    config = composed(overrides_of("gtpo-7b", "+algorithm.entroshape.alpha3=1"))
    with pytest.raises(ValueError, match=r"algorithm\.entroshape\.alpha3.*alpha1, alpha2"):
        prepare(config)


def test_two_punishments_of_overlong_responses_are_refused(overrides_of):
    config = composed(overrides_of("dapo-7b", "+algorithm.entroshape.overlong={kind:group_relative}"))
    with pytest.raises(ValueError, match="twice"):
        prepare(config)


def test_verls_own_defaults_are_what_the_plan_takes_them_for(overrides_of):
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=["algorithm.adv_estimator=entroshape_grpo"])
    made = prepare(config)
    assert made.changes == {
        f"{ACTOR}.policy_loss.loss_mode": "entroshape_token",
        f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean",
    }


def test_the_tiny_recipe_composes(overrides_of, tmp_path):
    config = composed(overrides_of("tiny-cpu"))
    assert prepare(config).method.name == "gtpo"


@pytest.mark.parametrize("method", METHODS)
def test_one_update_a_step_at_any_batch_size(overrides_of, method):
    config = composed(overrides_of(f"{method}-7b", "data.train_batch_size=16"))
    assert config.actor_rollout_ref.actor.ppo_mini_batch_size == 16
    assert prepare(config)


@pytest.mark.parametrize("method", ["dapo", "dapo_forking"])
def test_dapos_punishment_begins_before_the_limit_of_the_run_whatever_it_is(overrides_of, method):
    config = composed(overrides_of(f"{method}-7b", "data.max_response_length=8192"))
    assert prepare(config).method.overlong == SoftOverlong(max_length=8192, cache=1024)


LINES = [
    (page.name, shlex.split(line, comments=True))
    for page in (ROOT / "README.md", ROOT / "docs" / "verl.md")
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
SHOWN = [(page, words[3:]) for page, words in LINES if words[:3] == ["python", "-m", "verl.trainer.main_ppo"]]
STARTED = [
    words[place:]
    for _, words in LINES
    for place, word in enumerate(words)
    if re.fullmatch(r"recipes/verl/[\w-]+\.sh", word)
]


@pytest.mark.parametrize(("page", "arguments"), SHOWN, ids=[page for page, _ in SHOWN])
def test_a_command_line_that_a_page_shows_is_one_of_verl_and_one_of_ours(page, arguments):
    made = prepare(composed(arguments))
    assert (made.method.name, made.method.alpha2) == ("gtpo", 0.1)


def test_both_pages_show_a_command_line():
    assert sorted(page for page, _ in SHOWN) == ["README.md", "verl.md"]


@pytest.mark.parametrize("words", STARTED, ids=" ".join)
def test_a_recipes_command_line_that_a_page_shows_composes_and_passes_our_checks(overrides_of, words):
    recipe, *more = words
    config = composed(overrides_of(Path(recipe).stem, *more))
    made = prepare(config)
    if "+algorithm.entroshape.alpha2=0.05" in more:
        assert made.method.alpha2 == 0.05
    if "algorithm.entroshape.overlong=null" in more or any("enable=False" in each for each in more):
        assert made.method.overlong is None


def test_the_page_shows_recipes_command_lines_with_options():
    assert sum(len(words) > 1 for words in STARTED) >= 4
