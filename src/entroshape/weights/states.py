"""Weights by name as plain tensors: a copy of those that are trained, mixtures of two, and an exchange for a while."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from entroshape.checks import check_number
from entroshape.printable import shown

ZERO_FACTOR = re.compile(r"\.(lora_B|lora_embedding_A)(\.|$)")
"""The factor of a LoRA product that is zero before training, in the names that PEFT gives."""

ADAPTER = re.compile(r"\.lora_")
"""Every weight of a LoRA adapter."""

NAMED = 3
"""The number of weights that an error names."""


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of ``model`` that require a gradient, by name; with LoRA, those of the adapter. Tied ones once."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights that are trained, by name, for :func:`mixed` and :func:`swapped`."""
    return {name: weight.detach().clone() for name, weight in trained_parameters(model).items()}


@contextmanager
def swapped(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Puts ``weights`` into ``model`` for the duration of the block, then puts its own back, bit for bit.

    Args:
        model: a model whose parameters are whole on this device, not sharded.
        weights: by the names of the model's parameters, of the same shapes. Others stay as they are.

    Raises:
        ValueError: a name or a shape is not the model's. The model is then unchanged.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> own = model.weight.item()
        >>> with swapped(model, {"weight": torch.tensor([[2.0]])}):
        ...     model(torch.tensor([3.0])).item()
        6.0
        >>> model.weight.item() == own
        True
    """
    parameters = dict(model.named_parameters())
    check_same_weights(
        shapes({name: parameters[name] for name in weights if name in parameters}),
        shapes(weights),
        "the model",
        "weights",
    )
    kept = {name: parameters[name].detach().clone() for name in weights}
    try:
        _put(parameters, weights)
        yield
    finally:
        _put(parameters, kept)


@torch.no_grad()
def _put(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    # Copied and not exchanged: others, such as a compiled model, may keep the addresses.
    for name, tensor in weights.items():
        parameters[name].copy_(tensor)


def mixed(start: Mapping[str, Tensor], trained: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
    r"""The mixture :math:`(1 - a)\,\theta_\text{start} + a\,\theta_\text{trained}` of two sets of weights.

    Interpolation between a model and its fine-tuned version is known as WiSE-FT (Wortsman et al., 2022,
    arXiv 2109.01903; for reasoning models, arXiv 2504.10478).

    For a LoRA adapter, the mixture is one of the whole model's weights: an adapter contributes nothing before training,
    so the trained one contributes ``weight`` times as much. Its one factor is taken as it is and the other is scaled.

    Args:
        start: weights before training, by name.
        trained: weights after training, of the same names and shapes.
        weight: the share a of ``trained``, from 0 to 1. Beyond 1 would be an extrapolation and no mixture.

    Returns:
        New tensors in the data types of ``trained``, computed in at least float32. Weights that are equal in both, and
        all weights for a of 0 and 1, are kept bit for bit.

    Raises:
        ValueError: names or shapes differ, ``weight`` is not from 0 to 1, an adapter contributes before training, or
            tensors of integers differ.

    Example:
        >>> mixed({"w": torch.tensor([0.0, 1.0])}, {"w": torch.tensor([1.0, 1.0])}, 0.25)
        {'w': tensor([0.2500, 1.0000])}
    """
    check_number("weight", weight, minimum=0.0, maximum=1.0)
    check_same_weights(shapes(start), shapes(trained), "start", "trained")
    return {name: mixed_tensor(name, start[name], trained[name], weight) for name in trained}


@torch.no_grad()
def mixed_tensor(name: str, start: Tensor, trained: Tensor, weight: float) -> Tensor:
    """One tensor of :func:`mixed`.

    Raises:
        ValueError: see :func:`mixed`; the message has ``name``.
    """
    if ZERO_FACTOR.search(name) and bool(start.any()):
        raise ValueError(f"{name} is not zero before training: the adapter was trained before. Merge it into its model")
    if not trained.is_floating_point():
        if not torch.equal(start, trained):
            raise ValueError(f"{name} holds {trained.dtype} and differs: integers cannot be mixed")
        return trained.clone()
    if ADAPTER.search(name) and not ZERO_FACTOR.search(name):
        return trained.clone()
    dtype = torch.promote_types(torch.promote_types(start.dtype, trained.dtype), torch.float32)
    # lerp, because it keeps what is equal in both and both ends exactly.
    return torch.lerp(start.to(dtype), trained.to(dtype), weight).to(trained.dtype)


def shapes(weights: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """The shape of every tensor."""
    return {name: list(tensor.shape) for name, tensor in weights.items()}


def check_same_weights(
    first: Mapping[str, Sequence[int]], second: Mapping[str, Sequence[int]], first_name: str, second_name: str
) -> None:
    """Raises ``ValueError`` unless the names and shapes in both are the same; the message has the first that differ."""
    for have, lack, there, missing in (
        (first, second, first_name, second_name),
        (second, first, second_name, first_name),
    ):
        if only := sorted(have.keys() - lack.keys()):
            raise ValueError(f"{missing} lacks {len(only)} of the weights in {there}: {named(only)}")
    different = [name for name in sorted(first) if list(first[name]) != list(second[name])]
    if different:
        name = different[0]
        raise ValueError(
            f"shapes differ for {named(different)}: {name} is {list(first[name])} in {first_name} and "
            f"{list(second[name])} in {second_name}"
        )


def named(names: Sequence[str]) -> str:
    """The first names, and how many there are besides."""
    rest = len(names) - NAMED
    return ", ".join(map(shown, names[:NAMED])) + (f" and {rest} more" if rest > 0 else "")
