"""Options of a run: from Python, a file and a command line."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import entroshape
from entroshape.assets import BUNDLED_MODELS
from entroshape.training.config import TrainConfig
from entroshape.training.load import load_config
from entroshape.training.options import parse_train


def written(tmp_path, text):
    path = tmp_path / "options.yaml"
    path.write_text(text)
    return path


def test_options_survive_a_round_trip_through_yaml(tmp_path):
    config = TrainConfig(
        steps=7, method="grpo_s", method_options={"beta2": 0.3, "overlong": {"kind": "group_relative"}}
    )
    path = written(tmp_path, yaml.safe_dump(config.to_dict()))
    assert load_config(path) == config


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path):
    assert load_config(written(tmp_path, "learning_rate: 1e-6")).learning_rate == 1e-6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz: 3", ["stepz", "steps"]),
        ("steps: many", ["steps", "'many'"]),
        ("steps: 0", ["steps", "from 1 to", "0"]),
        ("- a\n- b", ["list"]),
        ("a: [", ["YAML"]),
        ("precision: int8", ["precision", "int8"]),
        ("updates_per_step: 3", ["updates_per_step", "128", "3"]),
        ("num_generations: 1", ["num_generations", "from 2 to"]),
        ("temperature: -1", ["temperature", "-1"]),
        ("ema_decay: 1", ["ema_decay", "(0, 1)", "1"]),
        ("ema_decay: -0.1", ["ema_decay", "(0, 1)", "-0.1"]),
        ("anchor: 1.5", ["anchor", "(0, 1)", "1.5"]),
        ("anchor: .nan", ["anchor", "nan"]),
    ],
)
def test_a_bad_file_is_refused_with_path_option_and_value(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"options\.yaml") as error:
        load_config(path)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("name", ["ema_decay", "anchor"])
def test_a_share_of_0_is_off_and_false_is_no_share(name):
    assert TrainConfig(**{name: 0.0}) == TrainConfig(**{name: None}) == TrainConfig()
    with pytest.raises(ValueError, match=name):
        TrainConfig(**{name: False})


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_the_command_line_overrides_the_file(tmp_path):
    path = written(tmp_path, "steps: 9\nmethod: dapo\nmethod_options: {epsilon_high: 0.3}")
    config, resume = parse_train(["--config", str(path), "--steps", "5"])
    assert (config.steps, config.method, config.method_options, resume) == (5, "dapo", {"epsilon_high": 0.3}, None)


def test_method_options_on_the_command_line_are_numbers_booleans_and_maps():
    config, _ = parse_train(
        ["--method-options", "alpha2=0.5", "axis=row", "gate=false", "overlong={kind: group_relative}"]
    )
    assert config.method_options == {
        "alpha2": 0.5,
        "axis": "row",
        "gate": False,
        "overlong": {"kind": "group_relative"},
    }


def test_no_arguments_are_the_defaults():
    assert parse_train([]) == (TrainConfig(), None)


def test_options_beside_resume_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--steps"):
        parse_train(["--resume", str(tmp_path), "--steps", "3"])


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.yaml"):
        parse_train(["--resume", str(tmp_path)])


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_train(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for option in fields(TrainConfig):
        assert "--" + option.name.replace("_", "-") in text


@pytest.mark.parametrize(
    ("world", "micro", "expected"), [(1, None, (64, 1)), (2, None, (32, 1)), (1, 16, (16, 4)), (2, 8, (8, 4))]
)
def test_an_update_splits_evenly_over_devices_and_micro_batches(world, micro, expected):
    assert TrainConfig(micro_batch_size=micro).micro_batches(world) == expected


@pytest.mark.parametrize(("world", "micro"), [(3, None), (1, 24)])
def test_an_uneven_split_is_refused(world, micro):
    with pytest.raises(ValueError, match=r"64\D+completions"):
        TrainConfig(micro_batch_size=micro).micro_batches(world)


def test_every_recipe_is_made_of_valid_options():
    from pathlib import Path

    from entroshape.methods import build_method

    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
    assert recipes
    for recipe in recipes:
        config = load_config(recipe)
        build_method(config.method, config.method_options)


def test_the_written_out_default_recipe_is_the_default():
    from pathlib import Path

    config = load_config(Path(__file__).parents[2] / "recipes/countdown-tiny.yaml")
    assert config.peak_learning_rate == TrainConfig().peak_learning_rate
    same = {"learning_rate": None, "method_options": {}}
    assert {**config.to_dict(), **same} == {**TrainConfig().to_dict(), **same}


@pytest.mark.parametrize(
    ("task", "model", "rate"),
    [
        ("countdown", "countdown-tiny", 1e-4),
        ("countdown_search", "countdown-search", 1.5e-4),
        ("countdown_search?level=easy", "countdown-search", 1.5e-4),
    ],
)
def test_a_task_starts_from_the_bundled_model_that_was_made_for_it_unless_told_otherwise(tmp_path, task, model, rate):
    config = TrainConfig(task=task)
    assert (config.model, config.peak_learning_rate) == (model, rate)
    assert parse_train(["--task", task])[0] == replace(config, **BUNDLED_MODELS[model].options)
    assert parse_train(["--config", str(written(tmp_path, f"task: {task}")), "--steps=3"])[0].model == model
    assert parse_train(["--task", task, "--model", "./mine"])[0].model == "./mine"


@given(st.integers(0, 10_000), st.integers(1, 16))
def test_steps_and_optimizer_updates_are_converted_to_and_fro(steps, updates_per_step):
    config = TrainConfig(updates_per_step=updates_per_step, prompts_per_step=updates_per_step)
    updates = config.updates_of(steps)
    assert config.steps_of(updates) == steps
    assert all(config.steps_of(updates + more) == steps for more in range(updates_per_step))
    assert config.steps_of(updates + updates_per_step) == steps + 1


def test_nothing_else_converts_steps_and_updates():
    package = Path(entroshape.__file__).parent
    elsewhere = [path for path in package.rglob("*.py") if "updates_per_step" in path.read_text()]
    assert [path.relative_to(package).as_posix() for path in elsewhere] == ["training/config.py"]


def test_options_of_a_bundled_model_are_defaults_of_the_command_line_and_of_it_alone(tmp_path):
    own, _ = parse_train(["--task", "countdown_search"])
    assert (own.steps, own.dynamic_sampling, own.old_logprobs) == (60, False, "sampler")
    told, _ = parse_train(["--task", "countdown_search", "--steps", "100", "--dynamic-sampling", "True"])
    assert (told.steps, told.dynamic_sampling, told.old_logprobs) == (100, True, "sampler")
    path = written(tmp_path, "task: countdown_search\nsteps: 100")
    assert parse_train(["--config", str(path)])[0] == TrainConfig(task="countdown_search")
    assert parse_train([])[0] == TrainConfig()
