"""Advantage estimators for verl: the methods, built-in or not, with verl's signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, register_adv_est

from entroshape.engines.assignment import assign_next, credit_generator
from entroshape.engines.verl.handoff import handed
from entroshape.engines.verl.options import ESTIMATORS, TRAINER_MODE
from entroshape.methods import METHODS, method_names
from entroshape.rollouts import Rollouts

Estimator = Callable[..., tuple[Tensor, Tensor]]


def estimator(name: str) -> Estimator:
    """The estimator that is registered under ``name``.

    It takes rewards and entropies from the trainer mode, not from its arguments: verl passes no entropies to an
    estimator, and the rewards that it passes may include KL terms and punishments.
    """

    def estimate(
        token_level_rewards: Tensor, response_mask: Tensor, index: Any = None, config: Any = None, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Advantages and returns (the same tensor), ``[B, T]``, 0 outside the mask and on padding rows.

        Raises:
            RuntimeError: the estimator is called outside the trainer mode.
            ValueError: the number of rows differs from that of the data from the trainer mode.
        """
        handoff = handed()
        if handoff is None:
            raise RuntimeError(
                f"algorithm.adv_estimator={name} needs the sampling policy's entropies and the raw outcomes, "
                f"which verl does not pass on. Set trainer.v1.trainer_mode={TRAINER_MODE}, with trainer.use_v1=True"
            )
        real = handoff.real
        if index is None or len(index) != len(real) or len(response_mask) != len(real):
            raise ValueError(f"index and response_mask must have {len(real)} rows, as the batch has")
        numbers: dict[Any, int] = {}
        group = torch.tensor([numbers.setdefault(uid, len(numbers)) for uid in index])
        handoff.rollouts = Rollouts(
            rewards=handoff.rewards[real],
            entropies=None if handoff.entropies is None else handoff.entropies[real],
            mask=response_mask[real],
            group=group.to(response_mask.device)[real],
            logprobs=None if handoff.logprobs is None else handoff.logprobs[real],
        )
        generator = credit_generator(handoff.seed)
        handoff.credit, handoff.state = assign_next(handoff.method, handoff.rollouts, handoff.state, generator)
        advantages = torch.zeros(response_mask.shape, dtype=torch.float32, device=response_mask.device)
        advantages[real] = handoff.credit.per_token(handoff.rollouts.mask).advantages
        return advantages, advantages

    return estimate


def register_estimator(name: str) -> None:
    """Registers the estimator of a method from outside the package with verl, unless this has been done.

    Raises:
        ValueError: the name is that of an estimator of verl's own.
    """
    there = ADV_ESTIMATOR_REGISTRY.get(name)
    if there is None:
        register_adv_est(name)(estimator(name))
    elif there.__module__ != __name__:
        raise ValueError(f"algorithm.adv_estimator={name} is verl's own estimator; write entroshape_{name}")


def register_installed() -> None:
    """Registers the methods of installed packages with verl, where it has no estimator of that name.

    Their code is imported when a configuration names them. ``module:Class`` is registered by the trainer that uses it.
    """
    for name in method_names():
        for each in (name, f"entroshape_{name}"):
            if name not in METHODS and each not in ADV_ESTIMATOR_REGISTRY:
                register_estimator(each)


def register_estimators() -> None:
    """Registers all :data:`ESTIMATORS` with verl.

    Raises:
        RuntimeError: verl already has an estimator with one of these names.
    """
    for name in ESTIMATORS:
        if name in ADV_ESTIMATOR_REGISTRY:
            raise RuntimeError(f"verl already has an estimator named {name!r}; entroshape would replace it")
        register_adv_est(name)(estimator(name))


register_estimators()
register_installed()
