"""The equations once more, in float64 over many small groups at a time; nothing here is shared with the package.

The oracle (tests/oracle.py) has the same with loops, one group at a time: too slow for a million groups. Tests hold the
two to each other, and the package to both.

Shapes: ``S`` sets (groups, or one whole batch), ``G`` responses, ``T`` positions; ``there`` ``[S, G]`` says which
responses exist, ``mask`` ``[S, G, T]`` which tokens.
"""

import dataclasses
import math
from fractions import Fraction

import torch
from strategies import single

ROUNDOFF = 2.0**-24
"""Of float32: a rounded number is off by at most this share."""


@dataclasses.dataclass
class Reference:
    """Shaped rewards and advantages ``[S, G, T]`` or ``[S, G]``, and how far float32 may be off, number by number."""

    shaped: torch.Tensor
    shaped_tolerance: torch.Tensor
    advantages: torch.Tensor
    tolerance: torch.Tensor
    gated: torch.Tensor
    success: torch.Tensor


def masked_mean(x, live, dims, kind):
    size = live.sum(dims, keepdim=True).clamp(min=1)
    if kind == "arithmetic":
        return torch.where(live, x, 0.0).sum(dims, keepdim=True) / size
    return (torch.where(live, x, 1.0).log().sum(dims, keepdim=True) / size).exp()


def class_weights(x, live, success, dims, kind):
    """``x`` over the mean of the live values of the same outcome in the set."""
    right = success if x.ndim == 2 else success[..., None]
    weights = torch.zeros_like(x)
    for own in (right, ~right):
        mine = live & own
        weights = torch.where(mine, x / masked_mean(x, mine, dims, kind), weights)
    return weights


def overlong_punishment(rule, lengths, success, there):
    lengths = lengths.double()
    if type(rule).__name__ == "SoftOverlong":
        start = rule.max_length - rule.cache
        return torch.where(
            lengths <= start, 0.0, torch.where(lengths > rule.max_length, -1.0, (start - lengths) / rule.cache)
        )
    n, size = (success & there).sum(1, keepdim=True), there.sum(1, keepdim=True)
    gamma = Fraction(str(rule.gamma1))
    easy = n * gamma.denominator >= gamma.numerator * size
    hard = n * gamma.denominator <= (gamma.denominator - gamma.numerator) * size

    def limit(counted):
        some = counted.any(1, keepdim=True)
        low = torch.where(counted, lengths, math.inf).amin(1, keepdim=True)
        high = torch.where(counted, lengths, -math.inf).amax(1, keepdim=True)
        return torch.where(some, torch.maximum((low + high) / 2, masked_mean(lengths, counted, 1, "arithmetic")), 0.0)

    reference = torch.where(easy, limit(success & there), limit(there)).expand_as(lengths)
    raw = torch.where(
        (reference == 0) | (lengths < reference),
        0.0,
        torch.where(lengths < 2 * reference, -(lengths - reference) / (2 * reference.clamp(min=1e-9)), -0.5),
    )
    punished = torch.where(easy | (2 * n > size), success, ~success) & ~hard
    result = torch.where(punished, raw, 0.0)
    if rule.hard is not None:
        result = torch.where(hard, overlong_punishment(rule.hard, lengths, success, there), result)
    return result


def standardise(values, live, classes, normalization, off):
    """Eq. 6: advantages, and how far they are off where each value may be off by ``off``."""
    dims = tuple(range(1, values.ndim))
    advantages, tolerance = torch.zeros_like(values), torch.zeros_like(values)
    for own in (classes, ~classes):
        pool, r, error = live, values, off
        if normalization == "within":
            pool = live & own
        if normalization == "zero_filled":
            r, error = torch.where(own, values, 0.0), torch.where(own, off, 0.0)
        n = pool.sum(dims, keepdim=True)
        # Less one of its own values first: what all have in common would drown the rest in float64, too.
        origin = torch.where(pool, r, -math.inf).amax(dims, keepdim=True)
        centred = torch.where(pool, r - origin, 0.0)
        mean = centred.sum(dims, keepdim=True) / n.clamp(min=1)
        squares = torch.where(pool, centred - mean, 0.0).square().sum(dims, keepdim=True)
        deviation = (squares / (n - 1).clamp(min=1)).sqrt() + 1e-6
        result = (r - origin - mean) / deviation
        largest = torch.where(pool, error, 0.0).amax(dims, keepdim=True)
        allowed = largest / deviation * (2 + 2 * result.abs()) + 8 * ROUNDOFF * result.abs()
        mine = live & own
        advantages = torch.where(mine, result, advantages)
        tolerance = torch.where(mine, allowed, tolerance)
    return advantages, tolerance


def base_rewards(method, rewards, mask, success, there):
    base = rewards if method.name in ("grpo", "opo") else torch.where(success, rewards, method.failure_reward)
    if method.overlong is None:
        return base
    return base + overlong_punishment(method.overlong, mask.sum(2), success, there)


def joined(x, scope):
    """The block as sets of this scope: itself, or one set that holds every response."""
    return x if scope == "group" else x.reshape(1, -1, *x.shape[2:])


def reference(method, rewards, entropies, logprobs, mask, there):
    """What ``method`` (its options alone are read) gives; ``rewards`` ``[S, G]``, the rest as in the legend."""
    success = rewards > single(method.success_threshold)
    mask = mask & there[..., None]
    base = base_rewards(method, rewards, mask, success, there)
    if method.name in ("grpo", "dapo", "dapo_forking"):
        off = 2.0**-50 * base.abs()
        advantages, tolerance = standardise(base, there, success, "joint", off)
        equal = torch.where(there, base, math.inf).amin(1) == torch.where(there, base, -math.inf).amax(1)
        gated = equal[:, None].expand_as(success)
        return Reference(base, 4 * ROUNDOFF * base.abs(), advantages, tolerance, gated, success)

    if method.name == "opo":
        return length_weighted(base, mask, success)

    x = {"entropy": entropies, "surprisal": -logprobs, "uniform": torch.ones_like(entropies)}[method.signal]
    if method.entropy_clip is not None:
        x = x.clamp(*map(single, method.entropy_clip))
    x = x.clamp(min=single(method.entropy_floor))
    live_responses = mask.any(2)
    if method.name.startswith("grpo_s"):
        shaped, off = sequence_level(method, x, base, mask, live_responses, success)
        live, classes, gates = there, success, there
        shaped_tolerance = off + 2 * ROUNDOFF * shaped.abs()
    else:
        shaped, off = token_level(method, x, base, mask, success)
        live, classes, gates, shaped_tolerance = mask, success[..., None].expand_as(mask), live_responses, off
    scope = method.normalization_scope
    advantages, tolerance = (
        result.reshape(shaped.shape)
        for result in standardise(
            *(joined(x, scope) for x in (shaped, live, classes)), method.normalization, joined(off, scope)
        )
    )
    right, wrong = ((joined(c & gates, scope)).any(1, keepdim=True) for c in (success, ~success))
    gated = (~(right & wrong) & method.gate).expand_as(joined(success, scope)).reshape(success.shape)
    silent = gated if advantages.ndim == 2 else gated[..., None]
    advantages, tolerance = advantages.masked_fill(silent, 0.0), tolerance.masked_fill(silent, 0.0)
    return Reference(shaped, shaped_tolerance, advantages, tolerance, gated, success)


def length_weighted(base, mask, success):
    """OPO: the reward minus its mean over the group's tokens; in float64 in the package too."""
    lengths = mask.sum(2).double()
    live, total = lengths > 0, lengths.sum(1, keepdim=True).clamp(min=1)
    origin = torch.where(live, base, math.inf).amin(1, keepdim=True)
    offsets = torch.where(live, base - origin, 0.0)
    advantages = torch.where(live, offsets - (lengths * offsets).sum(1, keepdim=True) / total, 0.0)
    largest = torch.where(live, base.abs(), 0.0).amax(1, keepdim=True)
    gated = (advantages.float() == 0).all(1, keepdim=True).expand_as(success)
    tolerance = 2 * ROUNDOFF * advantages.abs() + 2.0**-48 * largest
    return Reference(base, 4 * ROUNDOFF * base.abs(), advantages, tolerance, gated, success)


def sequence_level(method, x, base, mask, live, success):
    """Eq. 8 and 9: shaped rewards ``[S, G]``, in float64 in the package too."""
    own = masked_mean(x, mask, 2, method.sequence_entropy_mean)[..., 0]
    own = torch.where(success, own, 1 / own)
    scope = method.comparison_scope
    weights = class_weights(*(joined(v, scope) for v in (own, live, success)), 1, method.mean).reshape(own.shape)
    weights = torch.where(live, weights, 1.0)
    shaped = method.beta1 * base + torch.where(success, weights, -weights) * method.beta2
    return shaped, 2.0**-44 * (method.beta1 * base.abs() + method.beta2 * weights)


def token_level(method, x, base, mask, success):
    """Eq. 3 and 5: shaped rewards ``[S, G, T]``, and how far float32 may be off.

    It has rounded the value, its inverse, its mean, the weight, two products and a sum; a logarithm's error grows with
    the logarithm.
    """
    if method.failure_signal == "inverse":
        x = torch.where(success[..., None], x, 1 / x)
    dims = {"column": (1,), "row": (2,), "matrix": (1, 2)}[method.axis]
    scope = method.comparison_scope
    weights = class_weights(*(joined(v, scope) for v in (x, mask, success)), dims, method.mean).reshape(x.shape)
    sign = torch.where(success, 1.0, -1.0).double()[..., None]
    shaped = torch.where(mask, method.alpha1 * base[..., None] + sign * method.alpha2 * weights, 0.0)
    factor = 8.0
    if method.mean == "geometric":
        logs = joined(torch.where(mask, x, 1.0).log().abs(), scope).amax(dims, keepdim=True)
        factor = (8 + 6 * logs).expand(joined(x, scope).shape).reshape(x.shape)
    return shaped, ROUNDOFF * (2 * (method.alpha1 * base).abs()[..., None] + factor * method.alpha2 * weights)
