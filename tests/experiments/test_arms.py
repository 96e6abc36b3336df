"""Arms as people write them on a command line."""

import sys

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
        (["gtpo:alpha3=1"], [], r"unknown option 'alpha3': did you mean alpha2\? Choose from .*alpha2"),
        (["gtpo:alpha2=-1"], [], "alpha2"),
        (["grpo_s:alpha2=0.2"], [], r"unknown option 'alpha2': did you mean beta2\?"),
        (["gtpo:step=3"], [], r"unknown option 'step': did you mean steps\?"),
        (["gtpo:seed=1"], [], "unknown option 'seed'"),
        (["gtpo:alpha2=0.1:alpha2=0.2"], [], "option 'alpha2' is given twice"),
        (["dapo"], ["alpha2=0.1,0.2"], "none of dapo has an option 'alpha2'"),
        (["dapo"], ["alpha2"], "sweep must look like alpha2=0.1,0.2,0.5; got 'alpha2'"),
        (["gtpo:entropy_clip=[0.2"], [], "is not a value"),
    ],
)
def test_what_is_no_arm_is_refused(methods, sweeps, message):
    with pytest.raises(ValueError, match=message):
        parse_arms(methods, sweeps)


@pytest.fixture
def my_module(tmp_path, monkeypatch):
    (tmp_path / "my_module.py").write_text(
        "from dataclasses import dataclass\nfrom entroshape import GRPO\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass MyMethod(GRPO):\n    alpha: float = 0.1\n    K: int = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield
    sys.modules.pop("my_module", None)


def test_a_method_of_your_own_is_an_arm_and_the_colon_in_its_name_begins_no_option(my_module):
    text = "my_module:MyMethod:alpha=0.2:K=5:task=reasoning_gym:ab"
    plain, own, other = parse_arms([f"my_module:MyMethod,{text},dapo"])
    assert (plain.method, plain.method_options) == ("my_module:MyMethod", {})
    assert (own.method, own.method_options) == ("my_module:MyMethod", {"alpha": 0.2, "K": 5})
    assert own.train_options == {"task": "reasoning_gym:ab"}
    assert own.name == text
    assert parse_arms([own.name]) == [own]
    assert len({plain.folder, own.folder, other.folder}) == 3
    assert not set(own.folder) & set("/:[], ")
    assert names(["my_module:MyMethod,dapo"], ["alpha=0.1,0.2"]) == [
        "my_module:MyMethod:alpha=0.1", "my_module:MyMethod:alpha=0.2", "dapo",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my_module:alpha=0.2", "method must be one of .*module:Class; got 'my_module'"),
        ("my_module:MyMethod:", "expected module:name.*got 'my_module:MyMethod:'"),
        ("my_module:MyMethod:alpha", "expected module:name.*got 'my_module:MyMethod:alpha'"),
        ("my_module:MyMethod:0.2=alpha", "with names before '='"),
        ("my_module:MyMethod:alpha=high", "alpha of my_module:MyMethod must be a finite number; got 'high'"),
        ("my_module:MyMethod:alhpa=0.2", r"unknown option 'alhpa': did you mean alpha\?"),
        ("my_module:MyMetod", "has no 'MyMetod'; did you mean MyMethod"),
        ("my_modul:MyMethod", "no module 'my_modul' .* which has my_module.py"),
    ],
)
def test_an_arm_that_does_not_name_your_method_is_refused(my_module, text, message):
    with pytest.raises(ValueError, match=message):
        parse_arms([text])


def test_commas_and_colons_inside_brackets_separate_nothing():
    text = "dapo:overlong={kind: soft, more: [{max_length: 160}, {cache: 40}], x:y=3}"
    with pytest.raises(ValueError, match="more"):
        parse_arms([text])


def test_the_folder_of_an_arm_with_a_long_name_is_short_and_its_own():
    first, second = parse_arms([f"dapo:task=jsonl:{300 * 'x'}{end}" for end in "ab"])
    assert first.folder != second.folder
    assert max(len(first.folder), len(second.folder)) < 140


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
