"""The estimators: the methods themselves, on the rows that are responses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from verl import DataProto
from verl.trainer.config import AlgoConfig
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.ray_trainer import compute_advantage

from entroshape.engines.verl.handoff import Handoff, handing
from entroshape.engines.verl.options import ESTIMATORS
from entroshape.methods import METHODS, build_method
from entroshape.rollouts import Rollouts


def batch(rows=8, length=6, padding=0, seed=0, groups=2):
    """A batch as verl has it after balancing: groups scattered over the rows, padding rows anywhere."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (rows,), generator=g)
    mask = torch.arange(length) < lengths[:, None]
    uids = [f"prompt{i % groups}" for i in range(rows)]
    rewards = torch.randint(0, 2, (rows,), generator=g).float()
    entropies = torch.rand(rows, length, generator=g) + 0.05
    logprobs = -torch.rand(rows, length, generator=g)
    place = torch.randperm(rows + padding, generator=g)
    real = torch.zeros(rows + padding, dtype=torch.bool)
    real[place[:rows]] = True

    def scattered(values):
        out = values.new_zeros((rows + padding, *values.shape[1:]))
        out[real] = values
        return out

    names = iter(uids)
    return {
        "index": [next(names) if bool(each) else "pad0" for each in real],
        "mask": scattered(mask),
        "real": real,
        "rewards": scattered(rewards),
        "entropies": scattered(entropies),
        "logprobs": scattered(logprobs),
    }


def handoff_of(data, method, seed=3):
    return Handoff(
        method=method,
        rewards=data["rewards"],
        real=data["real"],
        entropies=data["entropies"],
        logprobs=data["logprobs"],
        seed=seed,
    )


def estimated(data, name, **options):
    """Through verl's own ``compute_advantage``, as its trainer calls it."""
    method = build_method(ESTIMATORS[name], options)
    proto = DataProto.from_dict(
        tensors={
            "token_level_rewards": torch.full(data["mask"].shape, 7.0),  # never to be looked at
            "response_mask": data["mask"].long(),
        },
        non_tensors={"uid": data["index"]},
    )
    with handing(handoff_of(data, method)):
        return compute_advantage(proto, adv_estimator=name, config=AlgoConfig(adv_estimator=name)).batch["advantages"]


def expected(data, name, **options):
    real = data["real"]
    groups = torch.tensor([hash(uid) for uid in data["index"]])
    rollouts = Rollouts(
        rewards=data["rewards"][real],
        entropies=data["entropies"][real],
        mask=data["mask"][real],
        group=groups[real],
        logprobs=data["logprobs"][real],
    )
    generator = torch.Generator().manual_seed(3)
    values = build_method(ESTIMATORS[name], options).advantages(rollouts, generator)
    out = torch.zeros(data["mask"].shape)
    out[real] = values if values.ndim == 2 else values[:, None] * data["mask"][real]
    return out


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_is_its_method(name):
    data = batch()
    torch.testing.assert_close(estimated(data, name), expected(data, name), atol=0, rtol=0)


@given(seed=st.integers(0, 10**6), padding=st.integers(1, 5), name=st.sampled_from(sorted(ESTIMATORS)))
def test_padding_rows_enter_no_statistics_and_get_no_credit(seed, padding, name):
    data = batch(padding=padding, seed=seed)
    data["entropies"][~data["real"]] = torch.nan
    advantages = estimated(data, name)
    assert torch.equal(advantages, expected(data, name))
    assert advantages[~data["real"]].abs().sum() == 0


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 9))
def test_groups_that_failed_rollouts_left_short_are_groups(seed, rows):
    data = batch(rows=rows, seed=seed, groups=3)
    assert torch.equal(estimated(data, "gtpo"), expected(data, "gtpo"))
    assert estimated(data, "gtpo").isfinite().all()


def test_options_change_the_credit():
    data = batch()
    assert not torch.equal(estimated(data, "gtpo", alpha2=0.5), estimated(data, "gtpo"))


def test_the_name_grpo_stays_verls_and_ours_gives_every_row_its_own_advantage():
    data = batch()
    assert ADV_ESTIMATOR_REGISTRY["grpo"].__module__.startswith("verl.")
    advantages = estimated(data, "entroshape_grpo")
    assert torch.equal(advantages, expected(data, "entroshape_grpo"))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_outside_of_the_trainer_mode_says_which_one_to_set(name):
    with pytest.raises(RuntimeError, match="trainer_mode=entroshape_sync"):
        ADV_ESTIMATOR_REGISTRY[name](torch.zeros(2, 3), torch.ones(2, 3), index=["a", "a"], config=AlgoConfig())


def test_the_handoff_ends_with_its_step():
    data = batch()
    estimated(data, "gtpo")
    with pytest.raises(RuntimeError, match="trainer_mode"):
        ADV_ESTIMATOR_REGISTRY["gtpo"](torch.zeros(2, 3), torch.ones(2, 3), index=["a", "a"])


def test_rows_that_are_not_those_of_the_batch_are_refused():
    data = batch()
    with handing(handoff_of(data, METHODS["gtpo"]())), pytest.raises(ValueError, match="8 rows"):
        ADV_ESTIMATOR_REGISTRY["gtpo"](torch.zeros(2, 3), torch.ones(2, 3), index=["a", "a"])
