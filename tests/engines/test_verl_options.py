"""What a verl configuration asks for: read, checked and completed. verl itself is not needed for it."""

from copy import deepcopy

import pytest

from entroshape import GTPO
from entroshape.credit.overlong import GroupRelativeOverlong, SoftOverlong
from entroshape.credit.surrogate import ClippedSurrogate
from entroshape.engines.full_distribution import ANOTHER_POLICY
from entroshape.engines.verl import ESTIMATORS, plan
from entroshape.engines.verl.options import WITHOUT_EFFECT
from entroshape.methods import METHODS

CONFIG = {
    "algorithm": {
        "adv_estimator": "gtpo",
        "gamma": 1.0,
        "lam": 1.0,
        "norm_adv_by_std_in_grpo": True,
        "use_kl_in_reward": False,
        "rollout_correction": {"bypass_mode": False},
    },
    "actor_rollout_ref": {
        "actor": {
            "clip_ratio": 0.2,
            "clip_ratio_low": 0.2,
            "clip_ratio_high": 0.2,
            "clip_ratio_c": 3.0,
            "loss_agg_mode": "token-mean",
            "policy_loss": {"loss_mode": "vanilla"},
        },
        "rollout": {"top_p": 1, "top_k": -1},
    },
    "reward": {
        "reward_manager": {"name": "naive"},
        "reward_kwargs": {
            "max_resp_len": 64,
            "overlong_buffer_cfg": {"enable": False, "len": 16, "penalty_factor": 1.0},
        },
    },
}
ACTOR = "actor_rollout_ref.actor"
BUFFER = "reward.reward_kwargs.overlong_buffer_cfg"
DAPO_MANAGER = {"reward.reward_manager.name": "dapo", f"{BUFFER}.enable": True}


def config(**changes):
    out = deepcopy(CONFIG)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = out
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    return out


def planned(**changes):
    return plan(config(**changes))


def test_every_method_has_an_estimator_and_none_takes_a_name_of_verls():
    assert sorted(ESTIMATORS.values()) == sorted(METHODS)
    assert ESTIMATORS["entroshape_grpo"] == "grpo"
    assert "grpo" not in ESTIMATORS


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_plans_its_method(estimator):
    made = planned(**{"algorithm.adv_estimator": estimator})
    assert made.method == METHODS[ESTIMATORS[estimator]]()
    assert made.outcome_key is None


def test_options_reach_the_method():
    made = planned(
        **{"algorithm.entroshape": {"alpha2": 0.2, "entropy_clip": [0.2, 0.28], "overlong": {"kind": "group_relative"}}}
    )
    assert made.method.alpha2 == 0.2
    assert made.method.entropy_clip == (0.2, 0.28)
    assert made.method.overlong == GroupRelativeOverlong()


def test_a_misspelt_option_is_refused_with_the_valid_names():
    with pytest.raises(
        ValueError, match=r"algorithm\.entroshape\.alpha_2: did you mean alpha2\? 'gtpo' has .*alpha2.*outcome"
    ):
        planned(**{"algorithm.entroshape.alpha_2": 0.2})


def test_an_option_of_another_method_is_refused():
    with pytest.raises(ValueError, match=r"entroshape.beta2: did you mean alpha2\? 'gtpo' has"):
        planned(**{"algorithm.entroshape.beta2": 0.2})


def test_a_typo_in_the_estimator_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"entroshape_grpo.*or module:Class; got 'gpto': did you mean gtpo\?"):
        planned(**{"algorithm.adv_estimator": "gpto"})


def test_an_option_out_of_range_is_refused():
    with pytest.raises(ValueError, match="alpha2"):
        planned(**{"algorithm.entroshape.alpha2": -1.0})


@pytest.mark.parametrize("options", ["alpha2=0.1", 3])
def test_options_that_are_no_options_are_refused(options):
    with pytest.raises(ValueError, match=r"algorithm\.entroshape must hold options"):
        planned(**{"algorithm.entroshape": options})


@pytest.mark.parametrize("estimator", ["grpo", "gae", "gpto"])
def test_an_estimator_of_somebody_elses_is_refused_with_ours(estimator):
    with pytest.raises(ValueError, match=f"one of gtpo, .*entroshape_grpo.*got '{estimator}'"):
        planned(**{"algorithm.adv_estimator": estimator})


@pytest.mark.parametrize(
    ("estimator", "options", "changes"),
    [
        ("gtpo", {}, {f"{ACTOR}.policy_loss.loss_mode": "entroshape_token", f"{ACTOR}.clip_ratio_high": 0.28}),
        (
            "grpo_s",
            {},
            {
                f"{ACTOR}.policy_loss.loss_mode": "entroshape_sequence_arithmetic",
                f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean",
                f"{ACTOR}.clip_ratio_high": 0.28,
            },
        ),
        (
            "grpo_s",
            {"ratio": "sequence_geometric", "epsilon_low": 0.1, "epsilon_high": 0.2},
            {
                f"{ACTOR}.policy_loss.loss_mode": "entroshape_sequence_geometric",
                f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean",
                f"{ACTOR}.clip_ratio_low": 0.1,
            },
        ),
        (
            "entroshape_grpo",
            {},
            {
                f"{ACTOR}.policy_loss.loss_mode": "entroshape_token",
                f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean",
            },
        ),
        (
            "dapo",
            {"aggregation": "sequence_mean"},
            {
                f"{ACTOR}.policy_loss.loss_mode": "entroshape_token",
                f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean",
                f"{ACTOR}.clip_ratio_high": 0.28,
            },
        ),
        (
            "entroshape_opo",
            {},
            {f"{ACTOR}.policy_loss.loss_mode": "entroshape_token", f"{ACTOR}.clip_ratio_high": 0.28},
        ),
    ],
)
def test_the_method_decides_the_objective(estimator, options, changes):
    assert planned(**{"algorithm.adv_estimator": estimator, "algorithm.entroshape": options}).changes == changes


def test_settings_that_are_the_methods_already_are_left_alone():
    same = {f"{ACTOR}.policy_loss.loss_mode": "entroshape_token", f"{ACTOR}.clip_ratio_high": 0.28}
    assert planned(**same).changes == {}


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("clip_ratio_high", 0.3, "algorithm.entroshape.epsilon_high"),
        ("clip_ratio_low", 0.1, "algorithm.entroshape.epsilon_low"),
        ("loss_agg_mode", "seq-mean-token-sum-norm", "set by the method"),
        ("policy_loss.loss_mode", "gspo", "set by the method"),
    ],
)
def test_an_objective_of_the_users_own_is_refused_with_where_to_set_it(name, value, hint):
    with pytest.raises(ValueError, match=name) as refused:
        planned(**{f"{ACTOR}.{name}": value})
    assert hint in str(refused.value)


def test_an_aggregation_of_the_users_own_is_refused_with_the_option_of_a_method_that_has_one():
    with pytest.raises(ValueError, match=r"set algorithm\.entroshape\.aggregation instead"):
        planned(**{"algorithm.adv_estimator": "dapo", f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean"})
    with pytest.raises(ValueError, match=r"loss_agg_mode is set by the method: GTPO(?!.*entroshape\.aggregation)"):
        planned(**{f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean"})


OTHER = {True: False, False: True}


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_a_setting_that_would_have_no_effect_is_refused(name):
    taken, _ = WITHOUT_EFFECT[name]
    assert planned(**{name: taken[0]})
    other = OTHER[taken[0]] if isinstance(taken[0], bool) else (taken[0] or 0) + 0.5
    with pytest.raises(ValueError, match=name.rsplit(".", 1)[-1]):
        planned(**{name: other})


@pytest.mark.parametrize(
    "name",
    [
        "critic.enable",
        "algorithm.use_pf_ppo",
        "trainer.use_v1",
        f"{ACTOR}.loss_scale_factor",
        f"{ACTOR}.policy_loss.ppo_kl_coef",
    ],
)
def test_what_no_method_reads_is_among_the_settings_without_effect(name):
    assert name in WITHOUT_EFFECT


def test_a_setting_whose_default_is_nothing_is_refused_with_null():
    with pytest.raises(ValueError, match=r"loss_scale_factor=100 would have no effect.*Leave it at null"):
        planned(**{f"{ACTOR}.loss_scale_factor": 100})


@pytest.mark.parametrize(("name", "value", "full"), [("top_p", 0.9, "1.0"), ("top_k", 20, "-1")])
def test_sampling_from_another_distribution_is_refused_in_the_words_of_every_engine(name, value, full):
    with pytest.raises(ValueError, match=f"{name} must be {full}, got {value}: {ANOTHER_POLICY[:30]}"):
        planned(**{f"actor_rollout_ref.rollout.{name}": value})


def test_an_aggregation_that_verl_has_no_constant_for_is_refused_with_a_sentence(monkeypatch):
    constant = property(lambda self: ClippedSurrogate(aggregation="constant"))
    monkeypatch.setattr(GTPO, "surrogate", constant)
    with pytest.raises(ValueError, match=r"aggregation='constant' of method GTPO is not supported in verl; expected"):
        planned()


def test_bypass_mode_which_computes_no_entropies_is_refused():
    with pytest.raises(ValueError, match="bypass_mode"):
        planned(**{"algorithm.rollout_correction.bypass_mode": True})


@pytest.mark.parametrize(
    ("prompts", "mini", "fits"), [(16, 128, False), (128, 96, False), (128, 128, True), (128, 32, True)]
)
def test_a_step_that_is_not_whole_mini_batches_is_refused(prompts, mini, fits):
    changes = {"data.train_batch_size": prompts, f"{ACTOR}.ppo_mini_batch_size": mini}
    if fits:
        assert planned(**changes)
    else:
        with pytest.raises(ValueError, match=rf"ppo_mini_batch_size must divide .*{prompts}.*got {mini}"):
            planned(**changes)


def test_the_punishment_of_dapos_manager_is_taken_over_and_the_outcome_read_without_it():
    made = planned(**DAPO_MANAGER)
    assert made.method.overlong == SoftOverlong(max_length=64, cache=16)
    assert made.outcome_key == "acc"
    assert planned(**DAPO_MANAGER, **{"algorithm.entroshape.outcome_key": "score"}).outcome_key == "score"
    assert planned(**{"reward.reward_manager.name": "dapo"}).method.overlong is None


def test_overlong_responses_are_not_punished_twice():
    with pytest.raises(ValueError, match="twice"):
        planned(**DAPO_MANAGER, **{"algorithm.entroshape.overlong": {"kind": "group_relative"}})


@pytest.mark.parametrize(
    ("name", "value"), [(f"{BUFFER}.penalty_factor", 0.5), ("reward.reward_kwargs.max_resp_len", None)]
)
def test_a_punishment_of_another_size_or_without_a_limit_is_refused(name, value):
    with pytest.raises(ValueError, match=name.rsplit(".", 1)[-1]):
        planned(**DAPO_MANAGER, **{name: value})


FILTER = {"algorithm.filter_groups.enable": True, "algorithm.filter_groups.metric": "reward"}


def test_groups_are_not_filtered_by_a_reward_with_a_punishment_in_it():
    with pytest.raises(ValueError, match=r"filter_groups\.metric='reward' includes the punishment.*set it to acc"):
        planned(**DAPO_MANAGER, **FILTER)
    assert planned(**DAPO_MANAGER, **FILTER | {"algorithm.filter_groups.metric": "acc"})
    assert planned(**DAPO_MANAGER, **FILTER | {"algorithm.filter_groups.enable": False})
    assert planned(**FILTER)


REJECTION = {"algorithm.rollout_correction.rollout_rs": "token_k1"}


@pytest.mark.parametrize("punished", [DAPO_MANAGER, {"algorithm.entroshape.overlong": {"kind": "group_relative"}}])
def test_lengths_are_not_judged_where_tokens_are_rejected(punished):
    with pytest.raises(ValueError, match="rollout_rs='token_k1' removes rejected tokens"):
        planned(**punished, **REJECTION)
    assert planned(**REJECTION)


@pytest.mark.parametrize("key", [3, ""])
def test_an_outcome_key_that_is_no_name_is_refused(key):
    with pytest.raises(ValueError, match="outcome_key"):
        planned(**{"algorithm.entroshape.outcome_key": key})
