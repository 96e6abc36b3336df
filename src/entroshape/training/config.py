"""Every option of ``entroshape train``: one frozen dataclass, filled from a YAML file, a command line or Python."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from entroshape.assets import BUNDLED_MODELS, bundled_model_of
from entroshape.checks import check_choice, check_integer, check_number
from entroshape.options import option

OF_THE_TASK = "bundled"

Precision = Literal["float32", "bfloat16"]
Device = Literal["auto", "cpu"]
OldLogprobs = Literal["recompute", "sampler"]
Tracker = Literal["none", "wandb", "tensorboard", "trackio"]

MOST_PROMPTS = 100_000_000
"""Of a run. Their order is drawn before the first step."""

MANY = 10_000_000
WHOLE_NUMBERS = (
    ("steps", 1, MANY),
    ("prompts_per_step", 1, MANY),
    ("num_generations", 2, MANY),
    ("updates_per_step", 1, MANY),
    ("micro_batch_size", 1, MANY),
    ("max_refills", 1, MANY),
    ("max_completion_length", 1, MANY),
    ("train_size", 1, MANY),
    ("eval_problems", 1, MANY),
    ("eval_samples", 1, MANY),
    ("eval_every", 0, MANY),
    ("rollouts_every", 0, MANY),
    ("save_every", 1, MANY),
    ("warmup_steps", 0, MANY),
    ("lora_rank", 0, MANY),
    ("threads", 1, 1024),
    ("seed", 0, 2**32 - 1),
)
"""Options that are whole numbers, the least and the greatest value of each. NumPy takes seeds of 32 bits; a process
that asks for more threads than the system has ends without a word."""

OPTIONAL = ("micro_batch_size", "max_completion_length", "train_size", "threads")
"""Those that may be ``None``."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a language model on a task with fine-grained credit, and see what it learned.

    Without any option: the bundled tiny model learns Countdown with GTPO, in minutes on a laptop.
    """

    task: str = option("start", default="countdown")
    """What to train on: countdown, countdown_search (long chains), reasoning_gym:NAME, jsonl:PATH (problem, answer),
    my_module:my_task."""

    reward: str | None = option("start", default=None)
    """Your own verifier, my_module:my_reward, instead of the task's: f(prompts, completions, **columns) -> floats."""

    model: str = option("start", default=OF_THE_TASK)
    """A hub id, a local directory, or a bundled model: countdown-tiny or countdown-search. bundled: the one that was
    made for the task. On the command line, countdown-search changes further defaults:
    --steps 80, --dynamic-sampling False, --old-logprobs sampler, --threads 2."""

    method: str = option("run", default="gtpo")
    """gtpo, grpo_s, grpo, dapo, dapo_forking, or a control: gtpo_uniform, gtpo_random, gtpo_surprisal."""

    method_options: dict[str, Any] = option("run", default_factory=dict)
    """Options of the method, such as alpha2=0.2 axis=row gate=false."""

    dynamic_sampling: bool | None = option("result", default=None)
    """Replace groups whose outcomes are all equal by fresh ones. None: as the method was published (all but grpo)."""

    max_refills: int = option("result", default=3)
    """At most so many refill rounds a step under dynamic sampling."""

    steps: int = option("result", default=100)
    """Steps; a step samples, scores, assigns credit and updates."""

    prompts_per_step: int = option("result", default=8)
    """Prompts sampled a step."""

    num_generations: int = option("result", default=16)
    """Responses a prompt: the size of a group (G)."""

    updates_per_step: int = option("result", default=2)
    """Optimizer updates a step, each on its own share of the step's responses."""

    old_logprobs: OldLogprobs = option("result", default="recompute")
    """Where the sampling policy's log-probabilities come from with several updates a step: a scoring pass, or the
    sampler itself, which saves the pass."""

    micro_batch_size: int | None = option("result", default=None)
    """Responses a forward and backward pass, on each device. None: all of an update. Fewer take less memory."""

    learning_rate: float | None = option("result", default=None)
    """Peak learning rate. None: 1e-4 for countdown-tiny, 1.5e-4 for countdown-search, 1e-5 with LoRA, else 1e-6 (the
    paper's)."""

    warmup_steps: int = option("result", default=3)
    """Steps over which the learning rate rises to its peak; then it stays there."""

    max_grad_norm: float = option("result", default=1.0)
    """Gradients are clipped to this norm."""

    temperature: float = option("start", default=1.0)
    """Of sampling, in training and evaluation. Entropies are those of the distribution at this temperature."""

    max_completion_length: int | None = option("start", default=None)
    """Limit of a response in tokens. None: the task's suggestion."""

    lora_rank: int = option("start", default=0)
    """Train LoRA adapters of this rank on all linear layers; 0 trains the whole model."""

    precision: Precision = option("result", default="float32")
    """Arithmetic of training: float32, or bfloat16 autocast."""

    gradient_checkpointing: bool = option("result", default=False)
    """Trade compute for memory in the backward pass."""

    train_size: int | None = option("start", default=None)
    """How many training prompts to make or take. None: as many as the task suggests, all of a file's."""

    eval_problems: int = option("start", default=256)
    """Held-out problems evaluated before and after."""

    eval_samples: int = option("start", default=16)
    """Answers sampled a held-out problem: Mean@n and Pass@k up to n."""

    eval_every: int = option("result", default=0)
    """Also evaluate every so many steps; 0: before and after only."""

    rollouts_every: int = option("resources", default=10)
    """Keep the rollouts with their credit, token by token, of every so many steps; 0 keeps none."""

    save_every: int = option("resources", default=25)
    """Save a checkpoint to resume from every so many steps."""

    seed: int = option("run", "start", default=0)
    """Of everything: prompts, their order, sampling."""

    output: str | None = option("presentation", default=None)
    """The run directory. None: runs/TASK-METHOD-SEED-N."""

    report_to: Tracker = option("presentation", default="none")
    """Also log to a tracker, which has to be installed."""

    device: Device = option("start", "resources", default="auto")
    """auto: an accelerator if there is one."""

    threads: int | None = option("start", "resources", default=None)
    """CPU threads of torch. None: 1 for a bundled model, too small to gain from more, else torch's own choice."""

    def __post_init__(self) -> None:
        if self.model == OF_THE_TASK:
            object.__setattr__(self, "model", bundled_model_of(self.task))
        for name, kind in (
            ("precision", Precision),
            ("device", Device),
            ("report_to", Tracker),
            ("old_logprobs", OldLogprobs),
        ):
            check_choice(name, getattr(self, name), get_args(kind))
        for name, least, most in WHOLE_NUMBERS:
            if getattr(self, name) is not None or name not in OPTIONAL:
                check_integer(name, getattr(self, name), minimum=least, maximum=most)
        for name in ("task", "model", "method", "reward", "output"):
            if "\0" in (getattr(self, name) or ""):
                raise ValueError(f"{name} must be text without NUL characters; got {getattr(self, name)!r}")
        for name in ("learning_rate", "max_grad_norm", "temperature"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), minimum=0.0, exclusive=True)
        if self.steps * self.prompts_per_step > MOST_PROMPTS:
            raise ValueError(
                f"steps * prompts_per_step must be at most {MOST_PROMPTS} prompts; got {self.steps} * "
                f"{self.prompts_per_step}"
            )
        if self.rollouts_per_step % self.updates_per_step:
            raise ValueError(
                f"updates_per_step must divide prompts_per_step * num_generations = {self.rollouts_per_step}; "
                f"got {self.updates_per_step}"
            )

    @property
    def rollouts_per_step(self) -> int:
        """Responses sampled a step, over all devices."""
        return self.prompts_per_step * self.num_generations

    @property
    def peak_learning_rate(self) -> float:
        """``learning_rate``, or its default for this kind of model."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.model in BUNDLED_MODELS:
            return BUNDLED_MODELS[self.model].learning_rate
        return 1e-5 if self.lora_rank else 1e-6

    def updates_of(self, steps: int) -> int:
        """Optimizer updates that ``steps`` steps make: what transformers counts, and numbers its checkpoints by."""
        return steps * self.updates_per_step

    def steps_of(self, updates: int) -> int:
        """Whole steps that ``updates`` optimizer updates make: what everything else of a run is counted in."""
        return updates // self.updates_per_step

    def micro_batches(self, world_size: int) -> tuple[int, int]:
        """Responses a device holds at once, and how many such micro-batches make an update.

        Raises:
            ValueError: an update's responses do not split evenly over devices and micro-batches.
        """
        update = self.rollouts_per_step // self.updates_per_step
        if update % world_size:
            raise ValueError(f"an update of {update} responses must split evenly over {world_size} devices")
        share = update // world_size
        micro = min(self.micro_batch_size or share, share)
        if share % micro:
            raise ValueError(
                f"micro_batch_size must divide the {share} responses of an update on a device; got {micro}"
            )
        return micro, share // micro

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values, as they are written to ``config.yaml``."""
        return asdict(self)
