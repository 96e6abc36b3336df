"""Reads, checks and completes a verl configuration before any worker starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from entroshape.checks import check_integer
from entroshape.credit.overlong import SoftOverlong
from entroshape.engines.decisions import decided_by_method, host_aggregation
from entroshape.engines.full_distribution import ANOTHER_POLICY, VLLM_NEUTRAL
from entroshape.methods import METHODS, Method, build_method, method_names, nearest_option, option_names
from entroshape.names import did_you_mean

TRAINER_MODE = "entroshape_sync"
"""Value of ``trainer.v1.trainer_mode``: verl's synchronous trainer with our credit."""

TAKEN_BY_VERL = ("grpo", "opo")
"""Names of methods for which verl has its own estimator; ours are registered as ``entroshape_NAME``."""

ESTIMATORS: dict[str, str] = {f"entroshape_{name}" if name in TAKEN_BY_VERL else name: name for name in METHODS}
"""Maps each value of ``algorithm.adv_estimator`` for a built-in method to its name; see :func:`estimator_method`."""

OWN_OPTIONS = ("outcome_key",)
"""Options under ``algorithm.entroshape`` that belong to the engine and not to a method."""

SURROGATE_OPTIONS = {
    "epsilon_low": "actor_rollout_ref.actor.clip_ratio_low",
    "epsilon_high": "actor_rollout_ref.actor.clip_ratio_high",
    "aggregation": "actor_rollout_ref.actor.loss_agg_mode",
}
"""Options of methods that are written into verl's own configuration."""

AGGREGATIONS = {"token_mean": "token-mean", "sequence_mean": "seq-mean-token-mean"}
"""verl's ``loss_agg_mode`` for each of our aggregations."""

ACTOR = "actor_rollout_ref.actor."
ROLLOUT = "actor_rollout_ref.rollout."

DEFAULTS: dict[str, Any] = {
    f"{ACTOR}policy_loss.loss_mode": "vanilla",
    f"{ACTOR}loss_agg_mode": "token-mean",
    f"{ACTOR}clip_ratio_low": 0.2,
    f"{ACTOR}clip_ratio_high": 0.2,
}
"""verl's defaults for the settings that the method decides."""

_CREDIT = "entroshape computes the advantages"
_LOSS = "the method's own loss takes its place"

WITHOUT_EFFECT: dict[str, tuple[tuple[Any, ...], str]] = {
    "algorithm.gamma": ((1.0,), _CREDIT),
    "algorithm.lam": ((1.0,), _CREDIT),
    "algorithm.norm_adv_by_std_in_grpo": ((True,), _CREDIT),
    "algorithm.use_kl_in_reward": (
        (False,),
        f"{_CREDIT} from the raw outcome, so a KL term in the rewards would be lost; use {ACTOR}use_kl_loss=True",
    ),
    "algorithm.use_pf_ppo": ((False,), f"{_CREDIT} of the sampled completions, which must not be resampled by reward"),
    "critic.enable": ((False,), f"{_CREDIT} without a critic's values"),
    "trainer.use_v1": ((True,), f"trainer.v1.trainer_mode={TRAINER_MODE} requires the V1 trainer"),
    f"{ACTOR}clip_ratio": ((0.2,), f"{_LOSS}; set algorithm.entroshape.epsilon_low and epsilon_high"),
    f"{ACTOR}clip_ratio_c": ((3.0,), f"{_LOSS}, which has no dual clip"),
    f"{ACTOR}loss_scale_factor": ((None,), f"{_LOSS}, which divides by tokens or completions"),
    f"{ACTOR}policy_loss.ppo_kl_coef": ((0.1,), f"{_LOSS}, which has no KL term; use {ACTOR}use_kl_loss=True"),
}
"""Settings that would have no effect or a misleading one: the values that are accepted, and the reason."""

SAMPLING = ("top_p", "top_k")
"""Settings of verl's rollouts that can truncate the distribution."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The result of reading a configuration."""

    method: Method
    """The credit-assignment method, with its options."""

    outcome_key: str | None
    """Key of a completion's raw reward in the reward function's ``reward_extra_info``; ``None``: the sum of its
    scores."""

    changes: dict[str, Any]
    """Settings of verl that the method decides and that differ from the configuration."""


def plan(config: Any) -> Plan:
    """Reads and checks a whole verl configuration.

    Args:
        config: verl's configuration: an OmegaConf ``DictConfig``, or nested mappings.

    Raises:
        ValueError: a setting is invalid; the message names it, what was expected and what was given.
    """
    method, outcome_key = method_of(_select(config, "algorithm"))
    _refuse(config)
    _check_mini_batches(config)
    method, outcome_key = _overlong(config, method, outcome_key)
    _check_lengths(config, method)
    return Plan(method=method, outcome_key=outcome_key, changes=_changes(config, method))


def method_of(algorithm: Any) -> tuple[Method, str | None]:
    """The method and the outcome key of an ``algorithm`` section.

    Raises:
        ValueError: the estimator is not ours, an option is unknown (the message lists the valid ones), or a value is
            out of range.

    Example:
        >>> method_of({"adv_estimator": "gtpo", "entroshape": {"alpha2": 0.2}})[0].alpha2
        0.2
    """
    estimator = str(_select(algorithm, "adv_estimator"))
    name = estimator_method(estimator)
    if name is None:
        names = [*ESTIMATORS, *(each for each in method_names() if each not in METHODS)]
        raise ValueError(
            f"trainer.v1.trainer_mode={TRAINER_MODE} needs algorithm.adv_estimator to be one of "
            f"{', '.join(names)}, or module:Class; got {estimator!r}{did_you_mean(estimator, names)}"
        )
    given = _plain(_select(algorithm, "entroshape")) or {}
    if not isinstance(given, Mapping):
        raise ValueError(f"algorithm.entroshape must hold options, such as alpha2=0.1; got {given!r}")
    valid = option_names(name)
    for option in given:
        if option not in (*valid, *OWN_OPTIONS):
            near = nearest_option(name, option, OWN_OPTIONS) or ";"
            raise ValueError(
                f"unknown option algorithm.entroshape.{option}{near} {estimator!r} has "
                f"{', '.join([*valid, *OWN_OPTIONS])}"
            )
    options = {option: value for option, value in given.items() if option in valid}
    key = given.get("outcome_key")
    if not (key is None or (isinstance(key, str) and key)):
        raise ValueError(f"algorithm.entroshape.outcome_key must be a name or null; got {key!r}")
    return build_method(name, options), key


def estimator_method(estimator: str) -> str | None:
    """The name of the method that a value of ``algorithm.adv_estimator`` stands for; ``None`` if it is not ours.

    A method of an installed package is also found as ``entroshape_NAME``, for a name that verl has itself.

    Example:
        >>> [estimator_method(name) for name in ("entroshape_grpo", "my_module:MyMethod", "gae")]
        ['grpo', 'my_module:MyMethod', None]
    """
    if ":" in estimator:
        return estimator
    installed = {name: name for name in method_names() if name not in METHODS}
    return {**{f"entroshape_{name}": name for name in installed}, **installed, **ESTIMATORS}.get(estimator)


def _refuse(config: Any) -> None:
    if _select(config, "algorithm.rollout_correction.bypass_mode"):
        raise ValueError(
            "algorithm.rollout_correction.bypass_mode=True skips the pass in which verl computes the sampling policy's "
            "entropies; set it to False"
        )
    for name, (taken, reason) in WITHOUT_EFFECT.items():
        value = _select(config, name)
        if value is not None and value not in taken:
            raise ValueError(f"{name}={value!r} would have no effect: {reason}. Leave it at {_shown(taken[0])}")
    for name in SAMPLING:
        value, full = _select(config, ROLLOUT + name), VLLM_NEUTRAL[name]
        if value is not None and value not in full:
            raise ValueError(f"{ROLLOUT}{name} must be {full[-1]!r}, got {value!r}: {ANOTHER_POLICY}")


def _check_mini_batches(config: Any) -> None:
    """Otherwise verl pads a step to whole mini-batches, and means over sequences would count the padding rows."""
    prompts, mini = _select(config, "data.train_batch_size"), _select(config, f"{ACTOR}ppo_mini_batch_size")
    if prompts is not None and mini is not None and prompts % mini:
        raise ValueError(
            f"{ACTOR}ppo_mini_batch_size must divide data.train_batch_size ({prompts}); got {mini!r}. Otherwise verl "
            "adds padding rows, which means over sequences would count"
        )


def _overlong(config: Any, method: Method, outcome_key: str | None) -> tuple[Method, str | None]:
    """Moves the overlong punishment from DAPO's reward manager into the method, which reads the outcome without it."""
    buffer = "reward.reward_kwargs.overlong_buffer_cfg"
    if _select(config, "reward.reward_manager.name") != "dapo" or not _select(config, f"{buffer}.enable"):
        return method, outcome_key
    if method.overlong is not None:
        raise ValueError(
            f"overlong completions would be punished twice: by {buffer} and by algorithm.entroshape.overlong; set "
            f"{buffer}.enable=False, or remove algorithm.entroshape.overlong"
        )
    if (
        _select(config, "algorithm.filter_groups.enable")
        and _select(config, "algorithm.filter_groups.metric") == "reward"
    ):
        raise ValueError(
            f"algorithm.filter_groups.metric='reward' includes the punishment of {buffer}, so one-outcome groups "
            "would look mixed; set it to acc"
        )
    factor = _select(config, f"{buffer}.penalty_factor")
    if factor != 1:
        raise ValueError(f"{buffer}.penalty_factor must be 1.0, the size of the base reward; got {factor!r}")
    length, cache = _select(config, "reward.reward_kwargs.max_resp_len"), _select(config, f"{buffer}.len")
    check_integer("reward.reward_kwargs.max_resp_len", length, minimum=1)
    check_integer(f"{buffer}.len", cache, minimum=1)
    return replace(method, overlong=SoftOverlong(max_length=length, cache=cache)), outcome_key or "acc"


def _check_lengths(config: Any, method: Method) -> None:
    """Rejection sampling removes tokens from the mask before an estimator sees it, so lengths would be wrong."""
    rejection = _select(config, "algorithm.rollout_correction.rollout_rs")
    if rejection is not None and method.overlong is not None:
        raise ValueError(
            f"algorithm.rollout_correction.rollout_rs={rejection!r} removes rejected tokens from completions, so "
            f"{type(method.overlong).__name__} would use wrong lengths; set it to null, or remove the overlong option"
        )


def _changes(config: Any, method: Method) -> dict[str, Any]:
    surrogate = method.surrogate
    decided = {
        f"{ACTOR}policy_loss.loss_mode": loss_mode(surrogate.ratio),
        f"{ACTOR}loss_agg_mode": host_aggregation(method, AGGREGATIONS, "verl"),
        f"{ACTOR}clip_ratio_low": surrogate.epsilon_low,
        f"{ACTOR}clip_ratio_high": surrogate.epsilon_high,
    }
    changes = {}
    for name, value in decided.items():
        there = _select(config, name)
        if there == value:
            continue
        if there is not None and there != DEFAULTS[name]:
            options = [option.name for option in fields(method)]
            own = next((each for each, setting in SURROGATE_OPTIONS.items() if setting == name and each in options), "")
            instead = f"; set algorithm.entroshape.{own} instead" if own else ""
            raise decided_by_method(
                name, method, value, there, f"Leave it at verl's default {DEFAULTS[name]!r}{instead}"
            )
        changes[name] = value
    return changes


def loss_mode(ratio: str) -> str:
    """The ``policy_loss.loss_mode`` of the loss with this importance ratio.

    Example:
        >>> loss_mode("sequence_arithmetic")
        'entroshape_sequence_arithmetic'
    """
    return f"entroshape_{ratio}"


def _select(config: Any, path: str) -> Any:
    """The value at a dotted path, or ``None`` if there is none."""
    for name in path.split("."):
        if config is None:
            return None
        config = config.get(name)
    return config


def _shown(value: Any) -> str:
    """The value as it is written on a command line."""
    return "null" if value is None else repr(value)


def _plain(value: Any) -> Any:
    """OmegaConf's containers as plain dictionaries and lists."""
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return {name: _plain(each) for name, each in value.items()}
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        return [_plain(each) for each in value]
    return value
