"""The options of ``entroshape train``: one frozen dataclass, filled from a YAML file, a command line or Python."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from entroshape.assets import BUNDLED_MODELS, bundled_model_of
from entroshape.checks import check_choice, check_distinct, check_integer, check_number
from entroshape.options import option

BUNDLED = "bundled"

Precision = Literal["float32", "bfloat16"]
Device = Literal["auto", "cpu"]
OldLogprobs = Literal["recompute", "sampler"]
SamplerName = Literal["auto", "own", "generate"]
Tracker = Literal["none", "wandb", "tensorboard", "trackio"]

MAX_PROMPTS = 100_000_000
"""Maximum number of prompts in a run: their order is drawn before the first step."""

MAX_COUNT = 10_000_000
INTEGER_OPTIONS = (
    ("steps", 1, MAX_COUNT),
    ("prompts_per_step", 1, MAX_COUNT),
    ("num_generations", 2, MAX_COUNT),
    ("updates_per_step", 1, MAX_COUNT),
    ("micro_batch_size", 1, MAX_COUNT),
    ("max_refills", 1, MAX_COUNT),
    ("max_completion_length", 1, MAX_COUNT),
    ("train_size", 1, MAX_COUNT),
    ("eval_problems", 1, MAX_COUNT),
    ("eval_samples", 1, MAX_COUNT),
    ("eval_every", 0, MAX_COUNT),
    ("fresh", 0, MAX_COUNT),
    ("rollouts_every", 0, MAX_COUNT),
    ("save_every", 1, MAX_COUNT),
    ("warmup_steps", 0, MAX_COUNT),
    ("lora_rank", 0, MAX_COUNT),
    ("threads", 1, 1024),
    ("seed", 0, 2**32 - 1),
)
"""Integer options with their smallest and largest values. NumPy seeds have 32 bits. A process that asks for too many
threads ends without a message."""

MAY_BE_NONE = ("micro_batch_size", "max_completion_length", "train_size", "threads")
"""Integer options that may also be ``None``."""


SHARES = ("ema_decay", "anchor")
"""Options between 0 and 1, or ``None``, as which 0 is taken too."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a language model on a task with token- or sequence-level credit assignment, and report what it learned.

    Without options, the bundled tiny model learns Countdown with GTPO, in minutes on a laptop.
    """

    task: str = option("start", default="countdown")
    """Task to train on: countdown, countdown_search (long chains), reasoning_gym:NAME, math:NAME, jsonl:PATH (one JSON
    object with problem and answer per line), or my_module:my_task."""

    reward: str | None = option("start", default=None)
    """Your own reward function, my_module:my_reward, instead of the task's verifier. Its signature is f(prompts,
    completions, **columns) -> list of floats."""

    model: str = option("start", default=BUNDLED)
    """Hub id, local directory, or the name of a bundled model (countdown-tiny or countdown-search). bundled: the one
    made for the task. On the command line, countdown-search has other defaults for some options: --steps 60,
    --dynamic-sampling False and --old-logprobs sampler."""

    method: str = option("run", default="gtpo")
    """Credit-assignment method: gtpo, grpo_s, grpo, dapo, dapo_forking, opo, or a control (gtpo_uniform, gtpo_random,
    gtpo_surprisal, grpo_s_uniform, grpo_s_random). Your own: my_module:MyMethod, or the name under which an installed
    package registers it."""

    method_options: dict[str, Any] = option("run", default_factory=dict)
    """Options of the method, such as alpha2=0.2 axis=row gate=false."""

    dynamic_sampling: bool | None = option("result", default=None)
    """Replace groups in which all completions succeed or all fail with groups of fresh prompts. None: as published (on
    for all methods except grpo)."""

    max_refills: int = option("result", default=3)
    """Maximum number of refill rounds per step under dynamic sampling."""

    steps: int = option("result", default=100)
    """Number of training steps. A step samples, scores, assigns credit and updates the model."""

    prompts_per_step: int = option("result", default=8)
    """Number of prompts sampled per step."""

    num_generations: int = option("result", default=16)
    """Completions per prompt, the group size G."""

    updates_per_step: int = option("result", default=2)
    """Optimizer updates per step. Each uses an equal share of the step's completions."""

    old_logprobs: OldLogprobs = option("result", default="recompute")
    """Source of the sampling policy's log-probabilities when a step makes several updates: recompute (a scoring pass)
    or sampler (recorded during sampling, which saves the pass)."""

    sampler: SamplerName = option("result", default="auto")
    """What samples completions in training: own (a loop that reads each prompt once and lets finished completions leave
    the batch), generate (that of transformers), or auto (own for every model that it can drive)."""

    micro_batch_size: int | None = option("result", default=None)
    """Completions per forward and backward pass on each device. None: all completions of an update. Smaller values need
    less memory."""

    learning_rate: float | None = option("result", default=None)
    """Peak learning rate. None: 1e-4 for countdown-tiny, 1.5e-4 for countdown-search, 1e-5 with LoRA, otherwise 1e-6 as
    in the paper."""

    warmup_steps: int = option("result", default=3)
    """Steps over which the learning rate rises linearly to its peak. It is constant after that."""

    max_grad_norm: float = option("result", default=1.0)
    """Maximum gradient norm. Larger gradients are clipped."""

    ema_decay: float | None = option("result", default=None)
    """Also keep an exponential mean of the weights, evaluate it and write it to model-ema/. The mean becomes decay *
    mean + (1 - decay) * weights after each optimizer update (updates_per_step per step): with 0.98 the share of earlier
    weights halves every 34 updates, with 0.99 every 69. None or 0: no mean."""

    anchor: float | None = option("result", default=None)
    """After each optimizer update, pull the weights back by this share of their distance from the weights before
    training, such as 0.003. It is not multiplied by the learning rate. With LoRA, the adapter's contribution shrinks by
    this share. None or 0: no anchor."""

    temperature: float = option("start", default=1.0)
    """Sampling temperature in training and evaluation. Entropies are computed at this temperature."""

    max_completion_length: int | None = option("start", default=None)
    """Maximum completion length in tokens. None: the task's default."""

    mask_truncated_completions: bool = option("result", default=False)
    """Leave completions that the length limit cut out of the loss. Their rewards still count in the statistics of their
    group where a method averages over completions; GTPO averages over tokens, of which they then have none."""

    lora_rank: int = option("start", default=0)
    """Rank of LoRA adapters on all linear layers. 0: train the whole model."""

    precision: Precision = option("result", default="float32")
    """Precision of training: float32, or bfloat16 autocast."""

    gradient_checkpointing: bool = option("result", default=False)
    """Recompute activations in the backward pass to save memory."""

    train_size: int | None = option("start", default=None)
    """Number of training problems. None: the task's default; for a file, all of its problems."""

    eval_problems: int = option("start", default=256)
    """Number of held-out problems to evaluate on, before and after training."""

    eval_samples: int = option("start", default=16)
    """Completions per held-out problem: the n of Mean@n, and Pass@k for k up to n."""

    eval_every: int = option("result", default=0)
    """Also evaluate every N steps. 0: only before and after training."""

    eval_temperatures: list[float] = option("further", default_factory=list)
    """Count the successes on the held-out problems at these sampling temperatures too, at every evaluation, such as
    0.2,0.6,1.0; 0 is greedy decoding. Training, and the evaluation at --temperature, do not depend on it."""

    eval_mixtures: list[float] = option("further", default_factory=list)
    """After training, also count the successes of mixtures (1 - a) * start + a * trained of the weights, for these a,
    such as 0.5,0.7, and of the same mixtures with the exponential mean if there is one. Nothing is written for them."""

    fresh: int = option("further", default=0)
    """Also count the successes, before and after training, on this many fresh problems: neither held out nor among the
    run's training problems. What is chosen on the held-out problems can be confirmed on them. Only for tasks that make
    their problems: countdown, countdown_search, reasoning_gym."""

    rollouts_every: int = option("resources", default=10)
    """Keep the rollouts, with the credit of every token, every N steps. 0: keep none."""

    save_every: int = option("resources", default=25)
    """Save a checkpoint every N steps. Runs resume from checkpoints."""

    seed: int = option("run", "start", default=0)
    """Random seed for training problems, their order, and sampling."""

    output: str | None = option("presentation", default=None)
    """Run directory. None: runs/TASK-METHOD-SEED-N."""

    report_to: Tracker = option("presentation", default="none")
    """Also log to this tracker, which has to be installed."""

    device: Device = option("start", "resources", default="auto")
    """auto uses an accelerator if one is available; cpu does not."""

    threads: int | None = option("start", "resources", default=None)
    """CPU threads for torch. None: 1 for a bundled model, which is too small to gain from more; otherwise torch's
    default."""

    def __post_init__(self) -> None:
        if self.model == BUNDLED:
            object.__setattr__(self, "model", bundled_model_of(self.task))
        for name, kind in (
            ("precision", Precision),
            ("device", Device),
            ("report_to", Tracker),
            ("old_logprobs", OldLogprobs),
            ("sampler", SamplerName),
        ):
            check_choice(name, getattr(self, name), get_args(kind))
        for name, smallest, largest in INTEGER_OPTIONS:
            if getattr(self, name) is not None or name not in MAY_BE_NONE:
                check_integer(name, getattr(self, name), minimum=smallest, maximum=largest)
        for name in ("task", "model", "method", "reward", "output"):
            if "\0" in (getattr(self, name) or ""):
                raise ValueError(f"{name} must be text without NUL characters; got {getattr(self, name)!r}")
        for name in ("learning_rate", "max_grad_norm", "temperature"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), minimum=0.0, exclusive=True)
        for name in SHARES:
            if getattr(self, name) == 0 and not isinstance(getattr(self, name), bool):
                object.__setattr__(self, name, None)
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), minimum=0.0, maximum=1.0, exclusive=True)
        check_distinct("eval_temperatures", self.eval_temperatures, minimum=0.0)
        check_distinct("eval_mixtures", self.eval_mixtures, minimum=0.001, maximum=0.999)
        if self.steps * self.prompts_per_step > MAX_PROMPTS:
            raise ValueError(
                f"steps * prompts_per_step must be at most {MAX_PROMPTS} prompts; got {self.steps} * "
                f"{self.prompts_per_step}"
            )
        if self.rollouts_per_step % self.updates_per_step:
            raise ValueError(
                f"updates_per_step must divide prompts_per_step * num_generations = {self.rollouts_per_step}; "
                f"got {self.updates_per_step}"
            )

    @property
    def rollouts_per_step(self) -> int:
        """Completions sampled per step, over all devices."""
        return self.prompts_per_step * self.num_generations

    @property
    def peak_learning_rate(self) -> float:
        """``learning_rate``, or its default for this kind of model."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.model in BUNDLED_MODELS:
            return BUNDLED_MODELS[self.model].learning_rate
        return 1e-5 if self.lora_rank else 1e-6

    def points_at(self, step: int) -> list[tuple[str, int, float]]:
        """The points that are evaluated at a step, as weights, step and temperature.

        See :class:`~entroshape.metrics.points.EvaluationPoint`. Mixtures are only evaluated at the last step.
        """
        further = self.ema_decay is not None or bool(self.eval_mixtures) or self.fresh > 0
        temperatures = self.eval_temperatures or ([self.temperature] if further else [])
        kinds = {"last": "mix"} if self.ema_decay is None else {"last": "mix", "ema": "mix-ema"}
        weights = list(kinds) if step else ["start"]
        if step == self.steps:
            weights += [f"{mix}:{share:g}" for mix in kinds.values() for share in self.eval_mixtures]
        return [(each, step, temperature) for each in weights for temperature in temperatures]

    @property
    def final_points(self) -> list[tuple[str, int, float]]:
        """The points before and after training. Those in between cannot be made later: their weights are gone."""
        return [*self.points_at(0), *self.points_at(self.steps)]

    def updates_of(self, steps: int) -> int:
        """The number of optimizer updates in ``steps`` steps. Transformers counts and names checkpoints in updates."""
        return steps * self.updates_per_step

    def steps_of(self, updates: int) -> int:
        """The number of complete steps in ``updates`` optimizer updates. Everything else in a run counts steps."""
        return updates // self.updates_per_step

    def micro_batches(self, world_size: int) -> tuple[int, int]:
        """The micro-batch size per device, and the number of micro-batches per update.

        Raises:
            ValueError: the completions of an update do not divide evenly among devices and micro-batches.
        """
        update = self.rollouts_per_step // self.updates_per_step
        if update % world_size:
            raise ValueError(f"the {update} completions of an update must divide evenly among {world_size} devices")
        share = update // world_size
        micro = min(self.micro_batch_size or share, share)
        if share % micro:
            raise ValueError(
                f"micro_batch_size must divide {share}, the number of completions per update and device; got {micro}"
            )
        return micro, share // micro

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values, for ``config.yaml``."""
        return asdict(self)
