"""How large numbers may be: within these bounds every result is finite, and right to float32's last digits."""

MAX_REWARD = 1e9
"""Rewards, thresholds and advantages, in size. Squares of shaped rewards, summed over a batch, stay within float32, the
widest that some devices have; a larger number is a fault of the reward function."""

MAX_COEFFICIENT = 1e3
"""Weights of the outcome and of the entropy term. The paper's are 1 and 0.1. Float32 holds seven digits: at a thousand
times the weight of the other term, that one still has four."""

MAX_NATS = 1e4
"""Entropies and surprisals. The entropy over a vocabulary of 150,000 tokens is at most 12 nats, and no token is sampled
whose probability is e^-10000, which float64 cannot tell from 0."""

SMALLEST_FLOOR = 1e-9
"""Floors of entropies, in nats. Entropies in float32 are exact to about 1e-7: below this they hold nothing, and weights
by 1/H would grow past what float32 keeps a reward of 1 beside."""

MAX_EPSILON = 1e9
"""The upper clip of a ratio. Ratios themselves end at e^20 = 4.9e8, so this one never clips."""

TEMPERATURES = (1e-6, 1e6)
"""Smallest and largest temperature. Logits up to 1e30 divided by the smallest stay within float32; at the largest, a
model's distribution is uniform to the fifth digit."""

NORMALIZERS = (1e-6, 1e15)
"""Smallest and largest number that a summed loss is divided by: a count of tokens or responses, or a constant in its
place."""
