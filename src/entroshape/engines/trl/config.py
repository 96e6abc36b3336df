"""ShapedGRPOConfig: GRPOConfig plus the credit-assignment method, which sets TRL's loss settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

from trl import GRPOConfig

from entroshape.checks import check_choice, check_integer
from entroshape.engines.decisions import decided_by_method, host_aggregation
from entroshape.engines.trl.compat import check_effect, check_full_distribution
from entroshape.methods import Method, build_method, method_name, method_options

ENTROPY_SOURCES = ("auto", "sampler", "scoring")
OLD_LOGPROBS = ("recompute", "sampler")
SAMPLERS = ("auto", "own", "generate")
LOSS_TYPES = {"token_mean": "dapo", "sequence_mean": "grpo"}
"""TRL's ``loss_type`` for each of our aggregations."""


@dataclass
class ShapedGRPOConfig(GRPOConfig):
    """``GRPOConfig`` with a credit-assignment method.

    The method sets the loss: ``loss_type``, ``importance_sampling_level``, ``epsilon`` and ``epsilon_high``. Settings
    that the method replaces are refused, and so are settings that would sample from a different distribution than the
    one that the entropies describe.

    Raises:
        ValueError: a setting is invalid; the message names it and says what was expected and why.
    """

    method: str = field(
        default="gtpo",
        metadata={
            "help": "Credit-assignment method: a name (gtpo, grpo_s, grpo, dapo, dapo_forking, ...), your own as "
            "module:Class, or a method object."
        },
    )
    method_options: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "Options of a method given by name, such as {'alpha2': 0.2}; JSON on a command line."},
    )
    dynamic_sampling: bool | None = field(
        default=None,
        metadata={
            "help": "Drop groups in which all completions succeed or all fail, and refill them from the train dataset. "
            "None: as published (off for grpo, on for the others)."
        },
    )
    max_refills: int = field(
        default=3,
        metadata={
            "help": "Maximum number of refill rounds per step. Groups that are still one-outcome after that get no "
            "credit and are counted in a metric."
        },
    )
    sampler: str = field(
        default="auto",
        metadata={
            "help": "What samples completions. own: entroshape's loop, which reads each prompt once and lets finished "
            "completions leave the batch; refused where it cannot drive the model. generate: transformers' generate. "
            "auto: own if possible, otherwise generate, with a warning that gives the reason. With vLLM, tools or "
            "rollout_func, TRL samples as before."
        },
    )
    entropy_source: str = field(
        default="auto",
        metadata={
            "help": "Source of the sampling policy's entropies. auto: the pass over old log-probabilities if TRL makes "
            "one, otherwise the sampler, otherwise a separate scoring pass. sampler: recorded during sampling. "
            "scoring: always a scoring pass."
        },
    )
    old_logprobs: str = field(
        default="recompute",
        metadata={
            "help": "Source of the sampling policy's log-probabilities when a batch is used for several optimizer "
            "updates. recompute: TRL's scoring pass. sampler: recorded during sampling, which saves the pass."
        },
    )
    loss_type: str | None = field(default=None, metadata={"help": "Set by the method; leave it unset."})
    importance_sampling_level: str | None = field(default=None, metadata={"help": "Set by the method; leave it unset."})
    epsilon: float | None = field(
        default=None, metadata={"help": "Set by the method; change it with the method's option epsilon_low."}
    )
    epsilon_high: float | None = field(
        default=None, metadata={"help": "Set by the method; change it with the method's option epsilon_high."}
    )

    def __post_init__(self) -> None:
        options = json.loads(self.method_options) if isinstance(self.method_options, str) else self.method_options
        if not isinstance(self.method, Method):
            # The argument parser needs a field of type str; from here on, it is the method object.
            self.method, self.method_options = build_method(self.method, options), None  # type: ignore[assignment]
        elif self.method_options:
            raise ValueError(
                "method_options has no effect with a method object; expected None, got " + repr(self.method_options)
            )
        check_choice("sampler", self.sampler, SAMPLERS)
        check_choice("entropy_source", self.entropy_source, ENTROPY_SOURCES)
        check_choice("old_logprobs", self.old_logprobs, OLD_LOGPROBS)
        if self.old_logprobs == "sampler" and self.entropy_source == "scoring":
            raise ValueError(
                "old_logprobs='sampler' removes the pass that entropy_source='scoring' requires; set "
                "entropy_source='auto' or old_logprobs='recompute'"
            )
        if self.dynamic_sampling is None:
            self.dynamic_sampling = self.credit_method.dynamic_sampling
        check_integer("max_refills", self.max_refills, minimum=1)
        self._take_loss_from_method()
        check_effect(vars(self), self.credit_method)
        super().__post_init__()
        check_full_distribution(vars(self))

    @property
    def credit_method(self) -> Method:
        """The method object, whether it was given as an object or by name."""
        return cast(Method, self.method)

    @property
    def arithmetic_ratio(self) -> bool:
        """Whether the method needs our own loss, with the arithmetic mean of the token ratios (Eq. 11)."""
        return self.credit_method.surrogate.ratio == "sequence_arithmetic"

    def _take_loss_from_method(self) -> None:
        surrogate = self.credit_method.surrogate
        decided: dict[str, Any] = {
            "loss_type": host_aggregation(self.credit_method, LOSS_TYPES, "TRL"),
            "importance_sampling_level": "sequence" if surrogate.ratio == "sequence_geometric" else "token",
            "epsilon": surrogate.epsilon_low,
            "epsilon_high": surrogate.epsilon_high,
        }
        for name, value in decided.items():
            given = getattr(self, name)
            if given is not None and given != value:
                advice = "Leave it unset, or set the method's own option (epsilon_low, epsilon_high, ratio)."
                raise decided_by_method(name, self.credit_method, value, given, advice)
            setattr(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """As ``TrainingArguments.to_dict``, with the method given by name and options."""
        out = super().to_dict()
        out["method"] = method_name(self.credit_method)
        out["method_options"] = method_options(self.credit_method)
        return out
