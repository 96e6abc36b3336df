"""Tensor sets from an adversarial generator and from hypothesis, through every method, dtype, layout and option range.

Each is refused with a ValueError or gives a finite result that follows its permutation, leaves its inputs as they are
and equals the equations in float64, as far as float32 can resolve them: token-level shaped rewards are float32, so an
advantage is off by up to their rounding over the set's deviation (`tensor_reference.standardise` states the bound).
Where that bound is above 1 % of the advantage, a set is counted as beyond float32; it has to keep to the bound as well.
"""

import math
import random
import time
from collections import Counter
from fractions import Fraction

import oracle
import pytest
import torch
from figures import FULL, amount, record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import (
    GRPO_S_OPTIONS,
    GTPO_OPTIONS,
    assert_close,
    batches,
    response_tolerances,
    single,
    token_tolerances,
)
from tensor_reference import reference
from tensor_sets import DTYPES, LAYOUTS, laid_out, make_sets, random_method

from entroshape import GRPOS, GTPO, METHODS, ForkingTokens, Rollouts
from entroshape.methods.shaping import EntropyShaped

pytestmark = pytest.mark.slow

SETS = amount(12_000, 1_000_000)
PER_CALL = 100
HYPOTHESIS = amount(100, 2_000)
REFUSED = amount(300, 10_000)
EXAMPLES = Counter()


def same_bits(a, b):
    """Equal, NaN included."""
    return torch.equal(torch.nan_to_num(a.double(), nan=1.5e300), torch.nan_to_num(b.double(), nan=1.5e300))


def assert_within(name, got, expected, allowed, what):
    error = (got.double() - expected).abs()
    bad = ~(error <= allowed + 1e-37)
    assert not bool(bad.any()), (
        f"{name} of {what}: {got[bad][:3].tolist()}, expected {expected[bad][:3].tolist()}, "
        f"off by {error[bad][:3].tolist()}, allowed {allowed[bad][:3].tolist()}"
    )


def by_the_oracle(method, sets, index):
    """The loops of tests/oracle.py for one group: its rows, its shaped rewards, its advantages."""
    rows = (sets.place[0] == index).nonzero()[:, 0].tolist()
    r = sets.rollouts
    signal = {"entropy": r.entropies, "surprisal": -r.logprobs, "uniform": torch.ones_like(r.entropies)}[method.signal]
    mask, group = r.mask[rows].long().tolist(), [0] * len(rows)
    lists = r.rewards[rows].double().tolist(), signal[rows].double().tolist(), mask, group
    clip = method.entropy_clip and tuple(map(single, method.entropy_clip))
    shaping = {name: getattr(method, name) for name in ("failure_reward", "mean")}
    shaping |= {"entropy_clip": clip, "entropy_floor": single(method.entropy_floor)}
    shaping["success"] = success = oracle.successes(lists[0], single(method.success_threshold))
    reading = {"normalization": method.normalization, "gate": method.gate}
    if isinstance(method, GTPO):
        shaping |= {name: getattr(method, name) for name in ("alpha1", "alpha2", "axis", "failure_signal")}
        shaped = oracle.gtpo_shaped(*lists, **shaping)
        return rows, shaped, oracle.token_advantages(shaped, mask, success, group, **reading)
    shaping |= {name: getattr(method, name) for name in ("beta1", "beta2", "sequence_entropy_mean")}
    shaped = oracle.grpo_s_shaped(*lists, **shaping)
    return rows, shaped, oracle.response_advantages(shaped, success, group, **reading)


def check_by_the_oracle(method, sets, credit, expected, index):
    """One group against the loops as well. Their sums lose the last digits of large numbers: those are left out."""
    rows, shaped, advantages = by_the_oracle(method, sets, index)
    shaped, advantages = (torch.tensor(x, dtype=torch.float64).reshape(len(rows), -1) for x in (shaped, advantages))
    scale = shaped.abs().max().item()
    if scale > 1e4:
        return 0
    place = tuple(index[rows] for index in sets.place)
    for name, got, wanted, allowed in (
        ("shaped rewards", credit.shaped_rewards, shaped, expected.shaped_tolerance),
        ("advantages", credit.advantages, advantages, expected.tolerance),
    ):
        allowed = allowed[place].reshape(len(rows), -1) + 1e-9 * scale
        assert_within(f"{name} by the oracle", got[rows].reshape(len(rows), -1), wanted, allowed, method)
    return 1


def loss_mask(method, rollouts):
    """All live tokens, or the share of them with the largest entropies, ties kept."""
    if not isinstance(method, ForkingTokens) or not bool(rollouts.mask.any()):
        return rollouts.mask
    live = sorted(rollouts.entropies[rollouts.mask].tolist(), reverse=True)
    kept = math.ceil(Fraction(str(method.quantile)) * len(live))
    return rollouts.mask & (rollouts.entropies >= live[kept - 1])


def check(method, sets, draw):
    """One call: everything that holds whatever comes. Returns how many sets were compared with what."""
    before = {name: value.clone() for name, value in sets.given.items()}
    seed = draw.getrandbits(40)
    credit = method.assign(sets.rollouts, torch.Generator().manual_seed(seed))
    for name, value in sets.given.items():
        assert same_bits(value, before[name]), f"{name} was changed by {method}"
    for name in ("shaped_rewards", "advantages"):
        value = getattr(credit, name)
        assert value.dtype == torch.float32
        assert bool(value.isfinite().all()), f"{name} of {method}"
    count = len(sets.there)
    if getattr(method, "signal", "entropy") == "random":
        return Counter(sets=count, random_control_finite_only=count)
    expected = reference(method, sets.rewards, sets.entropies, sets.logprobs, sets.mask, sets.there)
    place, there, mask = sets.place, sets.there, sets.mask
    assert torch.equal(credit.success, expected.success[place])
    assert torch.equal(credit.gated, expected.gated[place]), f"gated of {method}"
    shaped_tolerance, tolerance = expected.shaped_tolerance[place], expected.tolerance[place]
    assert_within("shaped rewards", credit.shaped_rewards, expected.shaped[place], shaped_tolerance, method)
    assert_within("advantages", credit.advantages, expected.advantages[place], tolerance, method)

    assert torch.equal(credit.loss_mask, loss_mask(method, sets.rollouts))

    order = torch.randperm(len(credit.success), generator=torch.Generator().manual_seed(seed))
    permuted = method.assign(Rollouts(**{name: value[order] for name, value in sets.given.items()}))
    wanted, allowed = credit.advantages[order].double(), 2 * tolerance[order]
    assert_within("permuted advantages", permuted.advantages, wanted, allowed, method)
    assert torch.equal(permuted.gated, credit.gated[order])
    assert torch.equal(permuted.loss_mask, credit.loss_mask[order])

    live = there if expected.advantages.ndim == 2 else mask & there[..., None]
    dims = tuple(range(1, live.ndim))
    beyond = ((expected.tolerance > 1e-6 + 0.01 * expected.advantages.abs()) & live).any(dims)
    found = Counter(sets=count, compared_with_vectorised_reference=count, beyond_float32=int(beyond.sum()))
    if isinstance(method, EntropyShaped) and method.overlong is None and scopes(method) == {"group"}:
        for index in draw.sample(range(count), min(count, 5)):
            found["compared_with_loops_too"] += check_by_the_oracle(method, sets, credit, expected, index)
    return found


def scopes(method):
    return {method.comparison_scope, method.normalization_scope}


def test_adversarial_sets_give_the_equations_in_float64():
    draw, start = random.Random(20250808), time.perf_counter()
    found, seen = Counter(), set()
    while found["sets"] < SETS:
        scope = "group" if draw.random() < 0.9 else "any"
        dtype, layout = draw.choice(DTYPES), draw.choice(LAYOUTS)
        count = PER_CALL if scope == "group" else draw.randint(1, 5)
        sets, method = make_sets(draw, count, dtype=dtype, layout=layout), random_method(draw, scope)
        found += check(method, sets, draw)
        found["calls"] += 1
        seen.add((method.name, dtype, layout))
    assert found["compared_with_loops_too"] > 50
    assert not FULL or len(seen) == len(METHODS) * len(set(DTYPES)) * len(LAYOUTS)
    record("tensors_adversarial", **found, seconds=round(time.perf_counter() - start, 1))


@settings(max_examples=HYPOTHESIS, suppress_health_check=list(HealthCheck), database=None)
@given(
    batch=batches(rewards="graded"),
    cls=st.sampled_from([GTPO, GRPOS]),
    layout=st.sampled_from(LAYOUTS[:3]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    data=st.data(),
)
def check_an_example(batch, cls, layout, dtype, data):
    options = data.draw(st.fixed_dictionaries(GTPO_OPTIONS if cls is GTPO else GRPO_S_OPTIONS))
    reading = {name: options.pop(name) for name in ("normalization", "normalization_scope", "gate")}
    arguments = batch.tensors(dtype)
    arguments |= {name: laid_out(arguments[name], layout) for name in ("entropies", "mask")}
    before = {name: value.clone() for name, value in arguments.items()}
    credit = cls(**options, **reading).assign(Rollouts(**arguments))
    assert all(same_bits(arguments[name], before[name]) for name in before)
    success = oracle.successes(batch.rewards, options["success_threshold"])
    if cls is GTPO:
        shaped = oracle.gtpo_shaped(*batch.lists(), **options)
        advantages = oracle.token_advantages(shaped, batch.mask, success, batch.group, **reading)
        atol = token_tolerances(batch, shaped, success, **reading)
    else:
        shaped = oracle.grpo_s_shaped(*batch.lists(), **options)
        advantages = oracle.response_advantages(shaped, success, batch.group, **reading)
        atol = response_tolerances(batch, shaped, success, **reading)
    assert_close(credit.shaped_rewards, shaped)
    assert_close(credit.advantages, advantages, atol=atol)
    EXAMPLES["sets"] += 1


def test_sets_from_hypothesis_give_the_loops_of_the_oracle():
    EXAMPLES.clear()
    check_an_example()
    record("tensors_hypothesis", compared_with_loops=EXAMPLES["sets"])


BAD = [float("nan"), float("inf"), -float("inf"), 1e30, -1e30]


def test_a_value_without_a_right_answer_is_refused_by_name_wherever_it_stands():
    draw, refused = random.Random(7), Counter()
    while sum(refused.values()) < REFUSED:
        sets = make_sets(
            draw, draw.randint(1, 4), dtype=draw.choice([torch.float32, torch.float64]), layout="contiguous"
        )
        name, bad = draw.choice(["rewards", "entropies", "logprobs"]), draw.choice(BAD)
        live = sets.rollouts.mask.nonzero().tolist()
        if name == "rewards":
            places = [[i] for i in range(len(sets.rollouts))]
        elif live:
            places = live
        else:
            continue
        sets.given[name][tuple(draw.choice(places))] = bad
        with pytest.raises(ValueError, match=rf"^{name} must be "):
            Rollouts(**sets.given)
        refused[name] += 1
    record("tensors_refused", **refused)
