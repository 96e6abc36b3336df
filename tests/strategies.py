"""Hypothesis strategies: random rollouts (uneven, interleaved groups; empty responses; holes in masks) and options."""

import dataclasses
import math

import oracle
import torch
from hypothesis import strategies as st

NAN = float("nan")


def single(value):
    """The float32 nearest to a Python float, so that oracle and code start from the same number."""
    return torch.tensor(value, dtype=torch.float32).item()


# 0 and the floor's neighbourhood matter most for 1/H; the rest is what models have (a vocabulary of 150k: < 12).
ENTROPY = st.one_of(
    st.sampled_from([single(h) for h in (0.0, 1e-7, 2e-6, 0.125, 0.2, 0.28, 0.5, 1.0, 3.0)]),
    st.floats(min_value=0.0, max_value=12.0, width=32),
    st.floats(min_value=0.0078125, max_value=4.0, width=32),
)
GRADED_REWARD = st.sampled_from([0.0, 0.125, 0.5, 0.625, 0.7, 1.0])
GROUP_ID = st.one_of(st.integers(-3, 12), st.sampled_from([10**12, -(10**9), 2**40 + 1]))


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rollouts as plain lists (what the oracle reads); masked entries of `entropies` and `logprobs` are NaN."""

    rewards: list
    entropies: list
    mask: list
    group: list
    logprobs: list

    @property
    def size(self):
        return len(self.rewards)

    @property
    def width(self):
        return len(self.mask[0])

    @property
    def success(self):
        return [reward > 0.5 for reward in self.rewards]

    def lists(self):
        """The oracle's first four arguments."""
        return self.rewards, self.entropies, self.mask, self.group

    def tensors(self, dtype=torch.float32):
        """Keyword arguments of `Rollouts`, without the log-probabilities."""
        return {
            "rewards": torch.tensor(self.rewards, dtype=dtype),
            "entropies": torch.tensor(self.entropies, dtype=dtype).reshape(self.size, self.width),
            "mask": torch.tensor(self.mask, dtype=torch.long).reshape(self.size, self.width),
            "group": torch.tensor(self.group, dtype=torch.long),
        }

    def rollouts(self, dtype=torch.float32, *, logprobs=False, **overrides):
        from entroshape import Rollouts

        arguments = self.tensors(dtype)
        if logprobs:
            arguments["logprobs"] = torch.tensor(self.logprobs, dtype=dtype).reshape(self.size, self.width)
        return Rollouts(**{**arguments, **overrides})

    def take(self, rows):
        """The batch with these rows, in this order."""
        return Batch(
            *([getattr(self, field.name)[i] for i in rows] for field in dataclasses.fields(self)),
        )

    def padded(self, width):
        """The same responses with `width` more columns of padding."""
        return dataclasses.replace(
            self,
            entropies=[row + [NAN] * width for row in self.entropies],
            logprobs=[row + [NAN] * width for row in self.logprobs],
            mask=[row + [0] * width for row in self.mask],
        )

    def with_entropies(self, entropies):
        return dataclasses.replace(
            self,
            entropies=[
                [h if m else NAN for h, m in zip(row, mask_row, strict=True)]
                for row, mask_row in zip(entropies, self.mask, strict=True)
            ],
        )


def by_hand(entropies, rewards, mask=None, group=None):
    """One group (or the given ones), written out; all tokens live unless there is a mask."""
    mask = [[1] * len(row) for row in entropies] if mask is None else mask
    logprobs = [[-1.0 if m else NAN for m in row] for row in mask]
    return Batch(rewards, entropies, mask, [0] * len(rewards) if group is None else group, logprobs)


@st.composite
def masks(draw, size, width, *, empty=True, holes=True):
    """A list of `size` rows of 0/1: mostly prefixes, some with holes (tool output), some empty."""
    rows = []
    for length in draw(st.lists(st.integers(0 if empty else 1, width), min_size=size, max_size=size)):
        row = [1] * length + [0] * (width - length)
        if holes and length > 2 and draw(st.booleans()):
            row[draw(st.integers(0, length - 2))] = 0
        rows.append(row)
    return rows


@st.composite
def batches(
    draw,
    *,
    rewards="binary",
    max_groups=3,
    max_group_size=5,
    max_width=5,
    empty=True,
    holes=True,
    mixed=False,
    entropy=ENTROPY,
):
    """Random `Batch`es. `rewards`: binary | graded. `mixed`: every group has a success and a failure with tokens."""
    ids = draw(st.lists(GROUP_ID, min_size=1, max_size=max_groups, unique=True))
    group, outcome = [], []
    for identifier in ids:
        count = draw(st.integers(2 if mixed else 1, max_group_size))
        group += [identifier] * count
        drawn = draw(st.lists(st.booleans(), min_size=count, max_size=count))
        outcome += [True, False, *drawn[2:]] if mixed else drawn
    size, width = len(group), draw(st.integers(1, max_width))
    mask = draw(masks(size, width, empty=empty and not mixed, holes=holes))
    if rewards == "binary":
        values = [1.0 if o else 0.0 for o in outcome]
    else:
        values = draw(st.lists(GRADED_REWARD, min_size=size, max_size=size))
        if mixed:
            values = [max(v, 0.625) if o else min(v, 0.5) for v, o in zip(values, outcome, strict=True)]
    n_tokens = sum(map(sum, mask))
    drawn_entropies = iter(draw(st.lists(entropy, min_size=n_tokens, max_size=n_tokens)))
    drawn_logprobs = iter(draw(st.lists(st.floats(-12.0, 0.0, width=32), min_size=n_tokens, max_size=n_tokens)))
    batch = Batch(
        rewards=values,
        entropies=[[next(drawn_entropies) if m else NAN for m in row] for row in mask],
        mask=mask,
        group=group,
        logprobs=[[next(drawn_logprobs) if m else NAN for m in row] for row in mask],
    )
    return batch.take(draw(st.permutations(range(size))))


SCOPE = st.sampled_from(["group", "batch"])
MEAN = st.sampled_from(["arithmetic", "geometric"])
AXIS = st.sampled_from(["column", "row", "matrix"])
NORMALIZATION = st.sampled_from(["zero_filled", "joint", "within"])
ENTROPY_CLIP = st.sampled_from([None, (0.2, 0.28), (0.05, 2.0), (0.0, 5.0)])
COEFFICIENT = st.sampled_from([0.0, 0.1, 0.2, 0.9, 1.0])


# Every option that the two shaped methods share; what is particular to one is added by its test.
SHAPING = {
    "comparison_scope": SCOPE,
    "mean": MEAN,
    "entropy_clip": ENTROPY_CLIP,
    "entropy_floor": st.sampled_from([1e-6, 1e-3]),
    "success_threshold": st.sampled_from([0.5, 0.25, 0.625]),
    "failure_reward": st.sampled_from([-1.0, -0.5, 0.0]),
}
GTPO_SHAPING = {"alpha1": COEFFICIENT, "alpha2": COEFFICIENT, "axis": AXIS, **SHAPING}
GRPO_S_SHAPING = {"beta1": COEFFICIENT, "beta2": COEFFICIENT, "sequence_entropy_mean": MEAN, **SHAPING}
NORMALIZING = {"normalization": NORMALIZATION, "normalization_scope": SCOPE, "gate": st.booleans()}
GTPO_OPTIONS = {**GTPO_SHAPING, **NORMALIZING}
GRPO_S_OPTIONS = {**GRPO_S_SHAPING, **NORMALIZING}


def assert_close(actual, expected, *, rtol=3e-5, atol=3e-6):
    """A tensor against lists of numbers; `atol` may be a list, one tolerance a row."""
    expected = torch.as_tensor(expected, dtype=torch.float64).reshape(actual.shape)
    limit = torch.as_tensor(atol, dtype=torch.float64)
    if limit.ndim:
        limit = limit.reshape(-1, *[1] * (expected.ndim - 1))
    error = (actual.double() - expected).abs()
    assert bool((error <= limit + rtol * expected.abs()).all()), (
        f"largest error {error.max().item():.3g}\n got {actual.tolist()}\n expected {expected.tolist()}"
    )


def standardising_tolerance(population):
    """How far float32 may be off after (x - mean) / (std + 1e-6): rounding of x, blown up by the division."""
    if not population:
        return 1e-5
    largest = max(abs(value) for value in population)
    mean = math.fsum(population) / len(population)
    variance = math.fsum((value - mean) ** 2 for value in population) / max(len(population) - 1, 1)
    deviation = math.sqrt(variance) + 1e-6
    reach = max(abs(value - mean) for value in population) / deviation
    return 1e-5 + 3e-6 * (largest / deviation) * (1 + reach)


def token_tolerances(batch, shaped, success, normalization="zero_filled", normalization_scope="group", gate=True):
    """`standardising_tolerance` of every response's tokens."""
    sets = oracle.sets_of(batch.group, normalization_scope)
    return [
        standardising_tolerance(oracle.token_population(i, shaped, batch.mask, success, sets, normalization))
        for i in range(batch.size)
    ]


def response_tolerances(batch, shaped, success, normalization="zero_filled", normalization_scope="group", gate=True):
    """`standardising_tolerance` of every response."""
    sets = oracle.sets_of(batch.group, normalization_scope)
    return [
        standardising_tolerance(oracle.response_population(i, shaped, success, sets, normalization))
        for i in range(batch.size)
    ]
