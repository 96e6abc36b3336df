"""Bounds of numbers, within which all results are finite and accurate to float32 precision."""

MAX_REWARD = 1e9
"""Largest magnitude of rewards, thresholds and advantages. Squares of shaped rewards, summed over a batch, then fit
into float32, the widest type of some devices. A larger reward is an error of the reward function."""

MAX_COEFFICIENT = 1e3
"""Largest weight of the outcome and of the entropy term. The paper's are 1 and 0.1. Float32 has seven digits, so a term
with a thousandth of the other's weight still has four."""

MAX_NATS = 1e4
"""Largest entropy and surprisal. The entropy over a vocabulary of 150,000 tokens is at most 12 nats, and a token with
probability e^-10000, which is 0 in float64, is never sampled."""

SMALLEST_FLOOR = 1e-9
"""Smallest entropy floor, in nats. Entropies in float32 are accurate to about 1e-7, so smaller values are noise, and
the weights 1/H would be too large to add to a reward of 1 in float32."""

MAX_EPSILON = 1e9
"""Largest upper clipping range of a ratio. Ratios are at most e^20 = 4.9e8, so it never clips."""

TEMPERATURES = (1e-6, 1e6)
"""Smallest and largest temperature. Logits up to 1e30 divided by the smallest stay within float32; at the largest, a
model's distribution is uniform to the fifth digit."""

NORMALIZERS = (1e-6, 1e15)
"""Smallest and largest divisor of a summed loss: a number of tokens or completions, or a constant."""
