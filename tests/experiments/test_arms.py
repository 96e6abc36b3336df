"""Arms as people write them on a command line."""

import pytest

from entroshape import SoftOverlong, build_method
from entroshape.experiments import Arm, parse_arms
from entroshape.training.config import TrainConfig


def names(*arguments):
    return [arm.name for arm in parse_arms(*arguments)]


def test_arms_come_in_their_order_without_repetition():
    assert names(["dapo,gtpo", "grpo_s", "gtpo"]) == ["dapo", "gtpo", "grpo_s"]


def test_an_option_is_the_methods_if_it_has_it_and_else_of_training():
    (arm,) = parse_arms(["gtpo:alpha2=0.5:dynamic_sampling=false:learning_rate=3e-4"])
    assert arm.method_options == {"alpha2": 0.5}
    assert arm.train_options == {"dynamic_sampling": False, "learning_rate": 3e-4}


def test_a_list_keeps_its_comma():
    first, second = parse_arms(["gtpo:entropy_clip=[0.2,0.28],dapo"])
    assert first.method_options == {"entropy_clip": [0.2, 0.28]}
    assert second.name == "dapo"


@pytest.mark.parametrize(
    "text",
    [
        "dapo",
        "gtpo:alpha2=0.5:axis=row",
        "gtpo:entropy_clip=[0.2,0.28]:gate=false",
        "dapo:task=reasoning_gym:ab",
        "opo:epsilon_high=0.2",
        "dapo:aggregation=sequence_mean",
        "dapo:mask_truncated_completions=true",
        "gtpo:failure_signal=direct",
        'dapo:overlong={"kind":"soft","max_length":160,"cache":40}',
    ],
)
def test_a_name_reads_back_as_the_same_arm(text):
    (arm,) = parse_arms([text])
    assert arm.name == text
    assert parse_arms([arm.name]) == [arm]


def test_a_punishment_is_an_option_of_an_arm_in_yaml_and_in_json():
    as_yaml, as_json, plain = parse_arms(
        [
            "dapo:overlong={kind: soft, max_length: 160, cache: 40},"
            'gtpo:overlong={"kind":"soft","max_length":160,"cache":40},dapo'
        ]
    )
    assert as_yaml.method_options == as_json.method_options
    assert plain.method_options == {}
    config = as_yaml.config(TrainConfig(task="countdown_search"), seed=0)
    expected = SoftOverlong(max_length=160, cache=40)
    assert build_method(config.method, config.method_options).overlong == expected


def test_a_sweep_multiplies_the_arms_that_have_the_option():
    assert names(["dapo,gtpo"], ["alpha2=0.1,0.5", "steps=5,6"]) == [
        "dapo:steps=5", "dapo:steps=6",
        "gtpo:alpha2=0.1:steps=5", "gtpo:alpha2=0.1:steps=6", "gtpo:alpha2=0.5:steps=5", "gtpo:alpha2=0.5:steps=6",
    ]  # fmt: skip


def test_folders_of_different_arms_differ_and_are_safe():
    arms = parse_arms(["gtpo:entropy_clip=[0.2,0.28],gtpo:entropy_clip=[0.1,0.28],dapo:task=jsonl:../x/y.jsonl"])
    folders = [arm.folder for arm in arms]
    assert len(set(folders)) == 3
    assert not any(set(folder) & set("/:[], ") for folder in folders)


@pytest.mark.parametrize(
    ("methods", "sweeps", "message"),
    [
        ([], [], "methods must name at least one of gtpo"),
        (["gtpq"], [], "method must be one of gtpo.*got 'gtpq'"),
        (["gtpo:alpha3=1"], [], "unknown option 'alpha3'; choose from .*alpha2"),
        (["gtpo:alpha2=-1"], [], "alpha2"),
        (["gtpo:seed=1"], [], "unknown option 'seed'"),
        (["dapo"], ["alpha2=0.1,0.2"], "none of dapo has an option 'alpha2'"),
        (["dapo"], ["alpha2"], "sweep must look like alpha2=0.1,0.2,0.5; got 'alpha2'"),
        (["gtpo:entropy_clip=[0.2"], [], "is not a value"),
    ],
)
def test_what_is_no_arm_is_refused(methods, sweeps, message):
    with pytest.raises(ValueError, match=message):
        parse_arms(methods, sweeps)


def test_an_arm_that_cannot_train_is_refused_by_name():
    (arm,) = parse_arms(["dapo:steps=0"])
    with pytest.raises(ValueError, match="arm dapo:steps=0: steps must be a whole number from 1"):
        arm.config(TrainConfig(), seed=0)


def test_an_arm_changes_only_what_is_its_own():
    base = TrainConfig(steps=7, eval_samples=4)
    config = Arm(method="gtpo", method_options={"alpha2": 0.3}, train_options={"steps": 9}).config(base, 3, "there")
    assert config == TrainConfig(
        method="gtpo", method_options={"alpha2": 0.3}, steps=9, eval_samples=4, seed=3, output="there"
    )
