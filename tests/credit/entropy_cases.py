"""What the tests of `entroshape.credit.entropy` share: the plain formula, random inputs, a watch on memory."""

import math

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

INF = math.inf
TEMPERATURE = st.sampled_from([0.25, 0.7, 1.0, 1.3, 4.0])
CHUNK = st.one_of(st.none(), st.integers(1, 64))


def plain(logits, tokens, temperature=1.0):
    """The definition; differentiable log-probability."""
    log_softmax = (logits / temperature).log_softmax(dim=-1)
    terms = log_softmax.exp() * log_softmax
    entropies = -terms.where(log_softmax > -INF, 0.0).sum(dim=-1).detach()
    return log_softmax.gather(-1, tokens[..., None])[..., 0], entropies


def plain_linear(hidden, weight, tokens, temperature=1.0, bias=None):
    return plain(F.linear(hidden, weight, bias), tokens, temperature)


def random_logits(leading, vocabulary, seed=0, spread=4.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(*leading, vocabulary, generator=generator, dtype=torch.float64)
    tokens = torch.randint(vocabulary, leading, generator=generator)
    upstream = torch.randn(leading, generator=generator, dtype=torch.float64)
    return logits.to(dtype), tokens, upstream.to(torch.promote_types(dtype, torch.float32))


def random_head(leading, vocabulary, width=5, seed=0, dtype=torch.float32):
    """Hidden states, weight, bias, tokens, upstream gradient."""
    generator = torch.Generator().manual_seed(seed)
    _, tokens, upstream = random_logits(leading, vocabulary, seed, dtype=dtype)
    shapes = ((*leading, width), (vocabulary, width), (vocabulary,))
    leaves = [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes
    ]
    return (*leaves, tokens, upstream)


def gradients(logprobs, upstream, *leaves):
    return torch.autograd.grad(logprobs, leaves, upstream)


def assert_near(actual, expected, atol=1e-5, rtol=1e-5):
    torch.testing.assert_close(actual, expected.to(actual.dtype), atol=atol, rtol=rtol, equal_nan=True)


class LargeStorages(TorchDispatchMode):
    """The storages of at least `threshold` elements that operations bring forth, and which operations there were."""

    def __init__(self, threshold, *known):
        super().__init__()
        self.threshold, self.known = threshold, {tensor.untyped_storage().data_ptr() for tensor in known}
        self.seen, self.operations, self.kept = set(), set(), []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations.add(function.overloadpacket.__name__)
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and self.elements(tensor) >= self.threshold:
                pointer = tensor.data_ptr() if tensor.is_mkldnn else tensor.untyped_storage().data_ptr()
                self.seen |= {pointer} - self.known
                self.kept.append(tensor)  # so that no address is used twice
        return result

    @staticmethod
    def elements(tensor):
        return tensor.numel() if tensor.is_mkldnn else tensor.untyped_storage().nbytes() // tensor.element_size()
