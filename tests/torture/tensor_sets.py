"""Adversarial tensor sets, many small groups at a time: the values that break sums, divisions and comparisons."""

import dataclasses
import random

import torch

from entroshape import GroupRelativeOverlong, Rollouts, SoftOverlong
from entroshape.methods import METHODS

REWARDS = [0.0, 1.0, 0.5, 0.5000001, 0.49999997, 0.7, -1.0, 1e-30, -1e-30, 1e9, -1e9, 3.0, 1e-4]
ENTROPIES = [0.0, 1e-30, 1e-9, 9.9e-7, 1e-6, 1.1e-6, 0.2, 0.28, 1.0, 1.0000001, 0.99999994, 5.0, 12.0, 1e4, -1e-4]
GROUP_IDS = [0, 1, -1, 2**31, -(2**31), 2**62, -(2**62), 10**12]
DTYPES = [torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16]
LAYOUTS = ["contiguous", "transposed", "strided", "expanded"]
CHOICES = {
    "normalization": ["zero_filled", "joint", "within"],
    "comparison_scope": ["group", "group", "group", "batch"],
    "normalization_scope": ["group", "group", "group", "batch"],
    "axis": ["column", "row", "matrix"],
    "failure_signal": ["inverse", "direct"],
    "aggregation": ["token_mean", "sequence_mean"],
    "mean": ["arithmetic", "geometric"],
    "sequence_entropy_mean": ["arithmetic", "geometric"],
    "ratio": ["sequence_arithmetic", "sequence_geometric"],
    "entropy_clip": [None, None, (0.2, 0.28), (0.0, 1e4), (1e-9, 1e-6), (0.5, 0.5000001)],
    "entropy_floor": [1e-6, 1e-6, 1e-9, 1e-3, 1e4],
    "gate": [True, False],
    "success_threshold": [0.5, 0.5, 0.0, -1e9, 1e9, 0.7],
    "failure_reward": [-1.0, -1.0, 0.0, -1e-30, -1e9],
    "alpha1": [1.0, 1.0, 0.0, 1e-30, 1e3],
    "alpha2": [0.1, 0.1, 0.0, 1e-30, 1e3, 0.2],
    "beta1": [1.0, 1.0, 0.0, 1e-30, 1e3],
    "beta2": [0.1, 0.1, 0.0, 1e-30, 1e3, 0.2],
    "quantile": [0.2, 1e-30, 0.28, 0.999, 1.0],
    "overlong": [
        None,
        None,
        SoftOverlong(max_length=4, cache=3),
        SoftOverlong(max_length=2**24, cache=2**24),
        GroupRelativeOverlong(),
        GroupRelativeOverlong(gamma1=0.6, hard=SoftOverlong(max_length=3, cache=1)),
    ],
}


@dataclasses.dataclass
class Sets:
    """``S`` groups of up to ``G`` responses of up to ``T`` tokens, as one set of rollouts and as a float64 block."""

    rollouts: Rollouts
    given: dict
    """The arguments that the rollouts were made of."""

    place: tuple
    """Where each of the ``B`` rows lies in the block: its set and its response."""

    rewards: torch.Tensor
    entropies: torch.Tensor
    logprobs: torch.Tensor
    mask: torch.Tensor
    there: torch.Tensor


def random_method(draw: random.Random, scope: str):
    """A method with options from the edges of their ranges; ``scope="group"`` compares nothing across groups."""
    name = draw.choice(sorted(METHODS))
    cls = METHODS[name]
    options = {}
    for option in cls.__dataclass_fields__:
        if option in CHOICES and draw.random() < 0.7:
            options[option] = draw.choice(CHOICES[option])
    if scope == "group":
        options = {k: v for k, v in options.items() if not k.endswith("_scope")}
    if options.get("alpha2") == 0:
        options.pop("failure_signal", None)
    if name.endswith("_uniform"):
        dropped = ("axis", "comparison_scope", "entropy_clip", "entropy_floor", "failure_signal", "mean")
        dropped += ("sequence_entropy_mean",)
        options = {k: v for k, v in options.items() if k not in dropped}
    if options.get("entropy_clip") and options["entropy_clip"][1] < options.get("entropy_floor", 1e-6):
        options.pop("entropy_floor", None)
    return cls(**options)


def pick(values, shape, generator):
    return torch.tensor(values, dtype=torch.float64)[torch.randint(len(values), shape, generator=generator)]


def per_set(kinds, generator):
    """Blocks ``[K, S, ...]`` of ``K`` kinds, one kind chosen for each set."""
    kinds = torch.stack(kinds)
    chosen = torch.randint(len(kinds), (kinds.shape[1],), generator=generator)
    return kinds[chosen, torch.arange(kinds.shape[1])]


def random_rewards(shape, generator):
    sets = shape[0]
    rand = torch.rand(shape, generator=generator, dtype=torch.float64)
    binary = (rand < torch.rand(sets, 1, generator=generator)).double()
    equal = pick(REWARDS, (sets, 1), generator).expand(shape)
    near = equal * (1 + 2.0**-23 * torch.randint(-2, 3, shape, generator=generator))
    return per_set(
        [binary, binary, binary, pick(REWARDS, shape, generator), equal, near.clamp(-1e9, 1e9), rand], generator
    )


def random_entropies(shape, generator):
    sets = shape[0]
    rand = torch.rand(shape, generator=generator, dtype=torch.float64)
    equal = pick(ENTROPIES, (sets, 1, 1), generator).expand(shape)
    near = equal * (1 + 2.0**-23 * torch.randint(-2, 3, shape, generator=generator))
    scales = 10 ** (13 * rand - 9)
    return per_set(
        [5 * rand, 5 * rand, pick(ENTROPIES, shape, generator), equal, near.clamp(-1e-4, 1e4), scales], generator
    )


def random_mask(shape, generator):
    sets, _, width = shape
    lengths = torch.randint(width + 1, shape[:2], generator=generator)[..., None]
    prefix = torch.arange(width) < lengths
    holes = torch.rand(shape, generator=generator) < 0.6
    one = torch.arange(width) == lengths - 1
    whole, none = torch.ones(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    rare = torch.where(torch.rand(sets, 1, 1, generator=generator) < 0.2, none, one)
    return per_set([prefix, prefix, whole, holes, rare], generator)


def laid_out(x, layout):
    """The same values in memory of another shape."""
    if layout == "transposed":
        return x.t().contiguous().t()
    if layout == "strided":
        wide = torch.full((2 * x.shape[0], 3 * x.shape[1]), 77.0).to(x.dtype)
        wide[1::2, 2::3] = x
        return wide[1::2, 2::3]
    return x


def make_sets(draw: random.Random, count: int, *, dtype, layout) -> Sets:
    """``count`` groups, interleaved, under ids from all of int64; what is masked holds NaN, inf or huge numbers."""
    generator = torch.Generator().manual_seed(draw.getrandbits(60))
    shape = (count, draw.randint(1, 6), draw.randint(1, 6))
    there = torch.arange(shape[1]) < torch.randint(1, shape[1] + 1, (count, 1), generator=generator)
    rewards = random_rewards(shape[:2], generator).float()
    entropies = random_entropies(shape, generator).clamp(max=1e4).to(dtype)
    logprobs = -random_entropies(shape, generator).clamp(-1e-4, 1e4).to(dtype)
    mask = random_mask(shape, generator)
    if dtype == torch.bfloat16:  # 1e4 rounds down to 9984, and nothing above
        rewards = rewards.to(dtype).clamp(-9.98e8, 9.98e8)
    elif dtype == torch.float16:
        rewards = rewards.clamp(-6e4, 6e4).to(dtype)
    else:
        rewards = rewards.to(dtype)

    rows, columns = there.nonzero(as_tuple=True)
    order = torch.randperm(len(rows), generator=generator)
    place = rows[order], columns[order]
    if layout == "expanded":  # one row of memory for all responses: they have equal entropies and one mask
        entropies[:], logprobs[:], mask[:] = entropies[0, 0].clone(), logprobs[0, 0].clone(), mask[0, 0].clone()
    ids = torch.unique(torch.randint(-(2**62), 2**62, (2 * count,), generator=generator))
    ids = torch.unique(torch.cat([torch.tensor(GROUP_IDS), ids]))
    ids = ids[torch.randperm(len(ids), generator=generator)][:count]

    masked_out = torch.tensor([float("nan"), float("inf"), -float("inf"), -5.0])[
        torch.randint(4, shape, generator=generator)
    ].to(dtype)
    given = {"rewards": rewards[place], "group": ids[place[0]], "mask": mask[place]}
    for name, value in (("entropies", entropies), ("logprobs", logprobs)):
        given[name] = torch.where(mask, value, masked_out)[place]
    for name in ("entropies", "logprobs", "mask"):
        if layout == "expanded":
            given[name] = given[name][:1].expand(len(order), shape[2])
        else:
            given[name] = laid_out(given[name], layout)
    if draw.random() < 0.3:
        given["mask"] = given["mask"].to(draw.choice([torch.int64, torch.float32, torch.uint8]))
    return Sets(
        rollouts=Rollouts(**given),
        given=given,
        place=place,
        rewards=rewards.float().double(),
        entropies=entropies.float().double(),
        logprobs=logprobs.float().double(),
        mask=mask,
        there=there,
    )
