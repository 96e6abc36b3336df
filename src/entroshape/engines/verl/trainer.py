"""The trainer mode ``entroshape_sync``: verl's synchronous trainer, with entropies and outcomes for the estimators."""

from __future__ import annotations

import logging
from functools import wraps
from typing import Any

import torch
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf, open_dict
from tensordict import TensorDict
from torch import Tensor
from verl.trainer.ppo.v1.trainer_base import PPOTrainer, register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.workers.utils.padding import response_to_nested

from entroshape.engines.assignment import credit_seed
from entroshape.engines.credit_metrics import credit_metrics, sampling_metrics
from entroshape.engines.decisions import PREFIX
from entroshape.engines.verl import memory
from entroshape.engines.verl.estimators import register_estimator
from entroshape.engines.verl.handoff import Handoff, handing
from entroshape.engines.verl.options import TRAINER_MODE, Plan, estimator_method, plan
from entroshape.methods.stateful import State

logger = logging.getLogger("entroshape")


@register_trainer(TRAINER_MODE)
class EntroshapeSync(PPOTrainerSync):
    """verl's synchronous PPO trainer with the credit of an entroshape method.

    Before anything starts, it checks the configuration and writes the method's settings into it.

    Raises:
        ValueError: the configuration cannot work; the message names the setting.
    """

    def __init__(self, config: DictConfig) -> None:
        self.plan = prepare(config)
        self.method_state = memory.initial(self.plan.method)
        super().__init__(config)

    def _compute_advantage(self, batch: Any, metrics: dict) -> Any:
        """As in verl, but passes entropies and outcomes to the estimator and adds the metrics of its credit."""
        with handing(collect(batch, self.plan, self._seed(), self.method_state)) as handoff:
            batch = super()._compute_advantage(batch, metrics)
        rollouts, credit = handoff.rollouts, handoff.credit
        if rollouts is None or credit is None:
            raise RuntimeError("verl computed advantages without the estimator of entroshape; check adv_estimator")
        self.method_state = handoff.state
        restrict_loss(batch, handoff)
        figures = sampling_metrics(rollouts.rewards, credit.success)
        figures |= credit_metrics(credit, mask=rollouts.mask, group=rollouts.group, entropies=rollouts.entropies)
        figures |= {f"state_{name}": value for name, value in self.method_state.items()}
        metrics |= {PREFIX + name: value for name, value in figures.items()}
        return batch

    def _save_checkpoint(self) -> None:
        """As in verl, and the state of a stateful method, before verl marks the checkpoint as whole."""
        memory.save(self.plan.method, self.method_state, self.config.trainer, self.global_steps)
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        """As in verl, and the state of a stateful method."""
        super()._load_checkpoint()
        if self.global_steps:
            self.method_state = memory.load(self.plan.method, self.config.trainer, self.global_steps)

    def _seed(self) -> int:
        return credit_seed(int(self.config.data.get("seed") or 0), int(getattr(self, "global_steps", 0)))


def require_mode(base: type) -> None:
    """Makes ``base``, the base class of verl's trainers, refuse our estimators in other modes before any worker starts.

    The estimator refuses too, but verl calls it only after the first completions have been sampled.
    """
    construct = base.__init__  # type: ignore[misc]

    @wraps(construct)
    def checked(self: Any, config: DictConfig, *args: Any, **kwargs: Any) -> None:
        estimator = str(config.algorithm.adv_estimator)
        if estimator_method(estimator) is not None and not isinstance(self, EntroshapeSync):
            raise ValueError(
                f"algorithm.adv_estimator={estimator} is entroshape's and needs "
                f"trainer.v1.trainer_mode={TRAINER_MODE}; got {config.trainer.v1.trainer_mode!r}"
            )
        construct(self, config, *args, **kwargs)

    base.__init__ = checked  # type: ignore[misc]


require_mode(PPOTrainer)


def prepare(config: DictConfig) -> Plan:
    """Checks a configuration and writes the method's settings into it.

    Raises:
        ValueError: see :func:`entroshape.engines.verl.options.plan`.
    """
    made = plan(config)
    register_estimator(str(config.algorithm.adv_estimator))
    with open_dict(config):
        for name, value in made.changes.items():
            OmegaConf.update(config, name, value)
        # verl's base class compares the mode with the literal "sync", of which this one is a variant.
        config.trainer.v1.trainer_mode = "sync"
    described = ", ".join(f"{name}={value}" for name, value in made.changes.items()) or "nothing"
    logger.warning("entroshape: %r; it sets %s", made.method, described)
    return made


def collect(batch: Any, made: Plan, seed: int, state: State) -> Handoff:
    """Fetches the data of a batch that the method and its metrics need from the TransferQueue.

    Raises:
        ValueError: a session has several outputs, or an outcome is missing.
        RuntimeError: a field, such as the entropies, is not in the queue.
    """
    real = torch.tensor([not tag.get("is_padding", False) for tag in batch.tags])
    _check_single_outputs(batch.keys, real)
    # Entropies for every method, because they are always logged.
    wanted = ["rm_scores", "entropy"]
    wanted += ["old_log_probs"] if "logprobs" in made.method.needs else []
    wanted += ["extra_fields"] if made.outcome_key else []
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=wanted)
    missing = sorted(set(wanted) - set(data.keys()))
    if missing:
        raise RuntimeError(
            f"verl's TransferQueue is missing {', '.join(missing)}, which the credit of {made.method!r} and its "
            "metrics need"
        )
    extra = data.pop("extra_fields").tolist() if made.outcome_key else None
    padded = data.to_padded_tensor()
    return Handoff(
        method=made.method,
        rewards=padded["rm_scores"].sum(dim=-1) if extra is None else outcomes(extra, made.outcome_key, real),
        real=real,
        entropies=padded["entropy"],
        logprobs=padded.get("old_log_probs", None),
        seed=seed,
        state=state,
    )


def outcomes(extra: list[Any], key: str | None, real: Tensor) -> Tensor:
    """``[B]`` raw rewards: the value of ``key`` that the reward function returned; 0 on padding rows.

    Raises:
        ValueError: a completion has no such value; the message lists the keys that it has.
    """
    values = torch.zeros(len(extra))
    for row, fields in enumerate(extra):
        if not bool(real[row]):
            continue
        said = fields.get("reward_extra_info", {}) if isinstance(fields, dict) else {}
        if key not in said:
            raise ValueError(
                f"algorithm.entroshape.outcome_key={key!r}: the reward function returned no such key for "
                f"completion {row}; it returned {', '.join(map(str, said)) or 'nothing'}"
            )
        values[row] = float(said[key])
    return values


def restrict_loss(batch: Any, handoff: Handoff) -> None:
    """If a method trains on only some tokens, restricts the loss and its token count to them."""
    assert handoff.credit is not None  # the caller has checked it
    assert handoff.rollouts is not None
    if torch.equal(handoff.credit.loss_mask, handoff.rollouts.mask):
        return
    there = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["response_mask"])
    nested = there["response_mask"]
    kept = torch.zeros(len(handoff.real), handoff.rollouts.mask.shape[1], dtype=nested.dtype)
    kept[handoff.real] = handoff.credit.loss_mask.to(nested.dtype)
    # The loss reads response_mask, and verl counts its tokens in loss_mask.
    masks = {name: response_to_nested(kept, nested) for name in ("response_mask", "loss_mask")}
    fields = TensorDict(masks, batch_size=len(batch.keys))
    tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)


def _check_single_outputs(keys: list[str], real: Tensor) -> None:
    """Raises ``ValueError`` if a session has several outputs. Keys have the form PROMPT_SESSION_OUTPUT."""
    sessions: set[str] = set()
    for row, key in enumerate(keys):
        session = key.rsplit("_", 1)[0]
        if bool(real[row]) and session in sessions:
            raise ValueError(
                f"the agent loop returned several outputs for one session ({key}); entroshape compares completions, so "
                "an agent loop must return one output per session"
            )
        sessions.add(session)
