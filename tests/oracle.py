"""The paper's equations in plain Python, loops and all: the oracle that the fast code is compared with.

Nothing here is vectorised, nothing is shared with the package: lists of floats (64 bit), `math`, and one loop per
sum sign, so that a reader can hold this file against *GTPO and GRPO-S: Token and Sequence-Level Reward Shaping with
Policy Entropy* (arXiv 2508.04349v6) equation by equation.

Legend (B responses, T positions; row `i` or `k` is a response, column `t` or `s` a position):

    rewards[i]       r_i, the terminal reward                     group[i]     which prompt the response answers
    entropies[i][t]  H_{i,t}, nats                                success[i]   True for O+, False for O-
    mask[i][t]       1 on a response's own tokens, else 0         punishment[i] what an overlong rule adds (<= 0)

What the paper leaves open is settled as the package documents it: a response without tokens has no part in token-level
statistics, and is neutral (weight 1) in sequence-level ones; standard deviations are Bessel's, plus 1e-6; the deviation
of a single value is 0.
"""

import math
from fractions import Fraction

STD_EPSILON = 1e-6


# ---------------------------------------------------------------------------------------------------------------------
# Small tools
# ---------------------------------------------------------------------------------------------------------------------


def mean_of(values, kind="arithmetic"):
    """The mean that Eq. 3, 5, 8, 9 use (arithmetic) or the one of Appendix C (geometric, in log space)."""
    if kind == "arithmetic":
        return math.fsum(values) / len(values)
    if kind == "geometric":
        return math.exp(math.fsum(math.log(value) for value in values) / len(values))
    raise AssertionError(kind)


def deviation_of(values):
    """Sample standard deviation (Bessel); 0 for a single value."""
    if len(values) < 2:
        return 0.0
    mean = mean_of(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def standardised(value, population):
    """(value - mean) / (std + 1e-6): the form of Eq. 2 and Eq. 6."""
    return (value - mean_of(population)) / (deviation_of(population) + STD_EPSILON)


def successes(rewards, success_threshold=0.5):
    """O+ is `reward > threshold`, strictly."""
    return [reward > success_threshold for reward in rewards]


def lengths(mask):
    """|o_i|: the number of a response's own tokens."""
    return [sum(1 for m in row if m) for row in mask]


def sets_of(group, scope):
    """Who belongs together: the responses of one prompt, or all of the batch."""
    return list(group) if scope == "group" else [0] * len(group)


def clipped_entropies(entropies, mask, entropy_clip=None, entropy_floor=1e-6):
    """Clamp H to `entropy_clip` if there is one, then from below to the floor; None where there is no token."""
    result = []
    for row, mask_row in zip(entropies, mask, strict=True):
        out = []
        for h, m in zip(row, mask_row, strict=True):
            if not m:
                out.append(None)
                continue
            if entropy_clip is not None:
                low, high = entropy_clip
                h = min(max(h, low), high)
            out.append(max(h, entropy_floor))
        result.append(out)
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Who is compared with whom
# ---------------------------------------------------------------------------------------------------------------------


def compared_tokens(i, t, mask, sets, axis):
    """The tokens (k, s) that token (i, t) is compared with, itself among them.

    column: { (k, t) : |o_k| >= t }, Eq. 3 and 5.  row: the response's own tokens.  matrix: all tokens of the set.
    """
    tokens = []
    for k in range(len(mask)):
        for s in range(len(mask[k])):
            if not mask[k][s] or sets[k] != sets[i]:
                continue
            if axis == "column" and s != t:
                continue
            if axis == "row" and k != i:
                continue
            tokens.append((k, s))
    return tokens


def token_weights(values, mask, sets, axis="column", mean="arithmetic"):
    """x / mean of its comparison set; for the column and the arithmetic mean that is d_t * x / sum_k x_{k,t}."""
    weights = []
    for i in range(len(mask)):
        row = []
        for t in range(len(mask[i])):
            if not mask[i][t]:
                row.append(0.0)
                continue
            others = [values[k][s] for k, s in compared_tokens(i, t, mask, sets, axis)]
            if mean == "arithmetic":
                row.append(len(others) * values[i][t] / math.fsum(others))  # d_t H_{i,t} / sum_k H_{k,t}
            else:
                row.append(values[i][t] / mean_of(others, "geometric"))  # H_{i,t} / (prod_k H_{k,t})^(1/d_t)
        weights.append(row)
    return weights


def response_weights(values, sets, mean="arithmetic"):
    """n * x_i / sum_k x_k (Eq. 9), or x_i over the geometric mean; None stands for a response without tokens."""
    weights = []
    for i in range(len(values)):
        if values[i] is None:
            weights.append(1.0)
            continue
        others = [values[k] for k in range(len(values)) if sets[k] == sets[i] and values[k] is not None]
        if mean == "arithmetic":
            weights.append(len(others) * values[i] / math.fsum(others))
        else:
            weights.append(values[i] / mean_of(others, "geometric"))
    return weights


def outcome_sets(sets, success):
    """O+ and O- of every set are apart."""
    return [(a, bool(b)) for a, b in zip(sets, success, strict=True)]


def base_reward(i, rewards, success, failure_reward, punishment):
    """r_i + R_i for a success, failure_reward + R_i for a failure (spec: Appendix D is added before the shaping)."""
    base = rewards[i] if success[i] else failure_reward
    return base + (punishment[i] if punishment is not None else 0.0)


# ---------------------------------------------------------------------------------------------------------------------
# GTPO: Eq. 3, 5 (shaped rewards) and 6 (advantages)
# ---------------------------------------------------------------------------------------------------------------------


def gtpo_shaped(
    rewards,
    entropies,
    mask,
    group,
    *,
    alpha1=1.0,
    alpha2=0.1,
    comparison_scope="group",
    axis="column",
    mean="arithmetic",
    failure_signal="inverse",
    entropy_clip=None,
    entropy_floor=1e-6,
    success=None,
    success_threshold=0.5,
    failure_reward=-1.0,
    punishment=None,
):
    """r+ + r- of every token, 0 where there is none.

    r+_{i,t} =  a1 r_i + a2 d_t      H_{i,t} / sum_{k in O+, |o_k| >= t}      H_{k,t}     (Eq. 3)
    r-_{j,t} = -a1     - a2 h_t (1/H_{j,t})  / sum_{k in O-, |o_k| >= t} (1 / H_{k,t})    (Eq. 5)

    failure_signal="direct" (not the paper's):
    r-_{j,t} = -a1     - a2 h_t      H_{j,t} / sum_{k in O-, |o_k| >= t}      H_{k,t}
    """
    success = successes(rewards, success_threshold) if success is None else success
    sets = outcome_sets(sets_of(group, comparison_scope), success)
    h = clipped_entropies(entropies, mask, entropy_clip, entropy_floor)
    x = [
        # H for O+, 1/H for O-
        [None if v is None else (v if success[i] or failure_signal == "direct" else 1.0 / v) for v in h[i]]
        for i in range(len(h))
    ]
    weights = token_weights(x, mask, sets, axis, mean)
    shaped = []
    for i in range(len(mask)):
        base = alpha1 * base_reward(i, rewards, success, failure_reward, punishment)
        sign = 1.0 if success[i] else -1.0
        shaped.append([base + sign * alpha2 * weights[i][t] if mask[i][t] else 0.0 for t in range(len(mask[i]))])
    return shaped


def token_population(i, shaped, mask, success, sets, normalization):
    """The values that a token of response i is standardised against in Eq. 6.

    zero_filled: all tokens of the set, with r+ = 0 on the tokens of O- (r- = 0 on those of O+).
    joint:       all tokens of the set, r+ + r-.
    within:      the tokens of the set that have i's outcome.
    """
    population = []
    for k in range(len(mask)):
        for s in range(len(mask[k])):
            if not mask[k][s] or sets[k] != sets[i]:
                continue
            if normalization == "joint" or success[k] == success[i]:
                population.append(shaped[k][s])
            elif normalization == "zero_filled":
                population.append(0.0)
    return population


def token_gated(i, mask, success, sets):
    """Whether the responses with tokens in i's normalisation set have one outcome only."""
    outcomes = {success[k] for k in range(len(mask)) if sets[k] == sets[i] and any(mask[k])}
    return len(outcomes) < 2


def token_advantages(
    shaped, mask, success, group, *, normalization="zero_filled", normalization_scope="group", gate=True
):
    """A+ = (r+ - mean R+) / std R+ on the tokens of O+, A- = (r- - mean R-) / std R- on those of O- (Eq. 6)."""
    sets = sets_of(group, normalization_scope)
    advantages = []
    for i in range(len(mask)):
        if not any(mask[i]) or (gate and token_gated(i, mask, success, sets)):
            advantages.append([0.0] * len(mask[i]))
            continue
        population = token_population(i, shaped, mask, success, sets, normalization)
        mean, deviation = mean_of(population), deviation_of(population) + STD_EPSILON
        advantages.append([(shaped[i][t] - mean) / deviation if mask[i][t] else 0.0 for t in range(len(mask[i]))])
    return advantages


# ---------------------------------------------------------------------------------------------------------------------
# GRPO-S: Eq. 8, 9
# ---------------------------------------------------------------------------------------------------------------------


def sequence_entropies(h, mask, kind="arithmetic"):
    """Hbar_k = mean_t H_{k,t} (Eq. 8), or (prod_t H_{k,t})^(1/|o_k|); None for a response without tokens."""
    result = []
    for k in range(len(mask)):
        own = [h[k][t] for t in range(len(mask[k])) if mask[k][t]]
        result.append(mean_of(own, kind) if own else None)
    return result


def grpo_s_shaped(
    rewards,
    entropies,
    mask,
    group,
    *,
    beta1=1.0,
    beta2=0.1,
    comparison_scope="group",
    sequence_entropy_mean="arithmetic",
    mean="arithmetic",
    entropy_clip=None,
    entropy_floor=1e-6,
    success=None,
    success_threshold=0.5,
    failure_reward=-1.0,
    punishment=None,
):
    """r+ + r- of every response.

    r+_i =  b1 r_i + b2 n      Hbar_i / sum_{k in O+}      Hbar_k
    r-_j = -b1     - b2 m (1/Hbar_j)  / sum_{k in O-} (1 / Hbar_k)      (Eq. 9)
    """
    success = successes(rewards, success_threshold) if success is None else success
    sets = outcome_sets(sets_of(group, comparison_scope), success)
    hbar = sequence_entropies(
        clipped_entropies(entropies, mask, entropy_clip, entropy_floor), mask, sequence_entropy_mean
    )
    x = [None if v is None else (v if success[i] else 1.0 / v) for i, v in enumerate(hbar)]
    weights = response_weights(x, sets, mean)
    return [
        beta1 * base_reward(i, rewards, success, failure_reward, punishment)
        + (1.0 if success[i] else -1.0) * beta2 * weights[i]
        for i in range(len(rewards))
    ]


def response_population(i, shaped, success, sets, normalization):
    """As `token_population`, one value a response."""
    population = []
    for k in range(len(shaped)):
        if sets[k] != sets[i]:
            continue
        if normalization == "joint" or success[k] == success[i]:
            population.append(shaped[k])
        elif normalization == "zero_filled":
            population.append(0.0)
    return population


def response_gated(i, success, sets):
    """Whether all responses of i's normalisation set have one outcome."""
    return len({success[k] for k in range(len(success)) if sets[k] == sets[i]}) < 2


def response_advantages(shaped, success, group, *, normalization="zero_filled", normalization_scope="group", gate=True):
    """Eq. 6 over the G sequences."""
    sets = sets_of(group, normalization_scope)
    advantages = []
    for i in range(len(shaped)):
        if gate and response_gated(i, success, sets):
            advantages.append(0.0)
        else:
            advantages.append(standardised(shaped[i], response_population(i, shaped, success, sets, normalization)))
    return advantages


# ---------------------------------------------------------------------------------------------------------------------
# Baselines
# ---------------------------------------------------------------------------------------------------------------------


def grpo_advantages(rewards, group):
    """A_i = (r_i - mean_group r) / std_group r (Eq. 2), on the rewards as they come."""
    advantages = []
    for i in range(len(rewards)):
        siblings = [rewards[k] for k in range(len(rewards)) if group[k] == group[i]]
        advantages.append(standardised(rewards[i], siblings))
    return advantages


def dapo_rewards(rewards, *, success=None, success_threshold=0.5, failure_reward=-1.0, punishment=None):
    """DAPO's reward: r_i for a success, -1 for a failure, plus the overlong punishment."""
    success = successes(rewards, success_threshold) if success is None else success
    return [base_reward(i, rewards, success, failure_reward, punishment) for i in range(len(rewards))]


def opo_advantages(rewards, mask, group):
    """A_i = r_i - sum_k l_k r_k / sum_k l_k over the group; 0 for a response without tokens (arXiv 2505.23585)."""
    count = lengths(mask)
    advantages = []
    for i in range(len(rewards)):
        siblings = [k for k in range(len(rewards)) if group[k] == group[i]]
        total = sum(count[k] for k in siblings)
        if count[i] == 0:
            advantages.append(0.0)
        else:
            advantages.append(rewards[i] - math.fsum(count[k] * rewards[k] for k in siblings) / total)
    return advantages


def forking_mask(entropies, mask, quantile=0.2):
    """1 on the tokens whose entropy is among the ceil(quantile * N) largest of the batch, ties kept."""
    unmasked = [entropies[i][t] for i in range(len(mask)) for t in range(len(mask[i])) if mask[i][t]]
    if not unmasked:
        return [[0] * len(row) for row in mask]
    k = math.ceil(Fraction(str(quantile)) * len(unmasked))
    threshold = sorted(unmasked, reverse=True)[k - 1]
    return [
        [1 if mask[i][t] and entropies[i][t] >= threshold else 0 for t in range(len(mask[i]))] for i in range(len(mask))
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Overlong punishments
# ---------------------------------------------------------------------------------------------------------------------


def soft_overlong(length, max_length, cache):
    """DAPO: 0 up to max - cache, linear down to -1 at max, -1 past it."""
    if length <= max_length - cache:
        return 0.0
    if length <= max_length:
        return ((max_length - cache) - length) / cache
    return -1.0


def relative_punishment(length, limit):
    """Appendix D: 0 below L; -(|o| - L) / (2 L) for L <= |o| < 2 L; -1/2 from 2 L."""
    if limit == 0 or length < limit:  # L = 0: every response it was measured on is empty, none is overlong
        return 0.0
    if length < 2 * limit:
        return -(length - limit) / (2 * limit)
    return -0.5


def length_limit(values):
    """L = max((min + max) / 2, mean) of the lengths."""
    return max((min(values) + max(values)) / 2, mean_of(values))


def group_relative_overlong(token_counts, success, group, gamma1=0.75, hard=None):
    """Group Relative Overlong Punishment. `hard` = (max_length, cache) of DAPO's rule for hard questions, or None.

    The boundaries are inclusive, so p = n / G and gamma2 = 1 - gamma1 are exact fractions here.
    """
    gamma1 = Fraction(str(gamma1))
    gamma2 = 1 - gamma1
    result = []
    for i in range(len(token_counts)):
        members = [k for k in range(len(group)) if group[k] == group[i]]
        right = [k for k in members if success[k]]
        n, m = len(right), len(members) - len(right)
        p = Fraction(n, len(members))
        if p >= gamma1:  # easy: the correct ones, measured among themselves
            limit = length_limit([token_counts[k] for k in right])
            result.append(relative_punishment(token_counts[i], limit) if success[i] else 0.0)
        elif p <= gamma2:  # hard
            result.append(0.0 if hard is None else soft_overlong(token_counts[i], *hard))
        else:  # between: the majority outcome's side; measured on all G
            limit = length_limit([token_counts[k] for k in members])
            punished = success[i] if n > m else not success[i]
            result.append(relative_punishment(token_counts[i], limit) if punished else 0.0)
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Objectives: Eq. 1 (GRPO), 7 (GTPO), 10 and 11 (GRPO-S)
# ---------------------------------------------------------------------------------------------------------------------


def importance_ratios(logprobs, old_logprobs, mask, ratio="token"):
    """w_{i,t} = pi_theta / pi_old; wbar_i = mean_t w_{i,t} (Eq. 11), or (prod_t w_{i,t})^(1/|o_i|) (Appendix C)."""
    result = []
    for i in range(len(mask)):
        logs = [
            min(max(logprobs[i][t] - old_logprobs[i][t], -20.0), 20.0) if mask[i][t] else None
            for t in range(len(mask[i]))
        ]
        tokens = [math.exp(v) for v in logs if v is not None]
        if ratio == "token":
            result.append([None if v is None else math.exp(v) for v in logs])
        elif not tokens:
            result.append([None] * len(logs))
        else:
            wbar = mean_of(tokens, "arithmetic" if ratio == "sequence_arithmetic" else "geometric")
            result.append([None if v is None else wbar for v in logs])
    return result


def clipped_surrogate(
    logprobs,
    old_logprobs,
    advantages,
    mask,
    *,
    ratio="token",
    epsilon_low=0.2,
    epsilon_high=0.28,
    aggregation="token_mean",
    normalizer=None,
):
    """The loss to minimise: minus the clipped objective. `advantages[i]` is a number or a list over positions.

    token_mean:    sum over all tokens / number of tokens of the batch                    (Eq. 7, DAPO)
    sequence_mean: mean over a response's tokens, then over responses                     (Eq. 1; Eq. 10)
    constant:      sum over all tokens / normalizer                                       (Dr. GRPO)
    """
    w = importance_ratios(logprobs, old_logprobs, mask, ratio)
    total, n_tokens = 0.0, 0
    for i in range(len(mask)):
        terms = []
        for t in range(len(mask[i])):
            if not mask[i][t]:
                continue
            a = advantages[i][t] if isinstance(advantages[i], list) else advantages[i]
            clipped = min(max(w[i][t], 1 - epsilon_low), 1 + epsilon_high)
            terms.append(min(w[i][t] * a, clipped * a))
        n_tokens += len(terms)
        if aggregation == "sequence_mean":
            total += mean_of(terms) if terms else 0.0
        else:
            total += math.fsum(terms)
    denominator = {"token_mean": n_tokens, "sequence_mean": len(mask), "constant": None}[aggregation]
    return -total / (denominator if normalizer is None else normalizer)


def surrogate_diagnostics(
    logprobs, old_logprobs, advantages, mask, *, ratio="token", epsilon_low=0.2, epsilon_high=0.28
):
    """Shares clipped, ratio statistics (over tokens, or over responses for a sequence ratio), k3 estimate of the KL.

    The clip is active where it changes the objective: ratio < 1 - eps_low with A < 0, ratio > 1 + eps_high with A > 0.
    """
    w = importance_ratios(logprobs, old_logprobs, mask, ratio)
    units = []  # (ratio, advantage)
    kl = []
    for i in range(len(mask)):
        own = [t for t in range(len(mask[i])) if mask[i][t]]
        for t in own:
            d = logprobs[i][t] - old_logprobs[i][t]
            kl.append(math.exp(d) - 1 - d)
        if ratio == "token":
            units += [(w[i][t], advantages[i][t] if isinstance(advantages[i], list) else advantages[i]) for t in own]
        elif own:
            units.append((w[i][own[0]], advantages[i]))
    return {
        "clip_low": sum(1 for v, a in units if v < 1 - epsilon_low and a < 0) / len(units),
        "clip_high": sum(1 for v, a in units if v > 1 + epsilon_high and a > 0) / len(units),
        "ratio_mean": mean_of([v for v, _ in units]),
        "ratio_min": min(v for v, _ in units),
        "ratio_max": max(v for v, _ in units),
        "approx_kl": mean_of(kl),
    }
