"""Evaluations of a run: before, during and after training, each with the weights of its step."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from accelerate import PartialState
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from entroshape.engines.trl import ShapedGRPOTrainer
from entroshape.evaluation import EvaluationResult, evaluate
from entroshape.evaluation.points import point_of
from entroshape.models import formatted_prompt
from entroshape.runs import RunDirectory
from entroshape.runs.points import has_point
from entroshape.sampling.draws import derived_seed
from entroshape.tasks import Task
from entroshape.training.callbacks import StepProgress
from entroshape.training.config import TrainConfig
from entroshape.weights import EMACallback, mixed, swapped, trained_weights
from entroshape.weights.trainers import check_whole


def point_seed(seed: int, weights: str, step: int, temperature: float) -> int:
    """The random seed of a point of a run: the same in all arms of a comparison, and independent of other points.

    Points of one run are mixed by coins, whose Pass@k is estimated without bias only if their samples are independent.
    With the same random numbers, successes at temperatures 0.7 and 1 correlate by 0.7 on Countdown, and Pass@32 of
    their coin comes out 3 points too low.

    Example:
        >>> point_seed(0, "last", 100, 0.6) != point_seed(0, "last", 100, 1.0)
        True
    """
    return derived_seed(seed, 1 + step, zlib.crc32(weights.encode()), round(1_000_000 * temperature)) >> 1


class HeldOut:
    """Evaluates weights on the held-out problems of a run and writes what they amount to, unless it is there already.

    The random state of training is not changed.

    Args:
        run: the run directory.
        config: the options of the run.
        task: the task of the run.
        tokenizer: the model's tokenizer.
        success_threshold: a completion is a success if its reward is above this threshold.
        progress: shows the progress.
        fresh: number of test problems of ``task`` if they are fresh ones; 0 if they are the held-out problems.
    """

    def __init__(
        self,
        run: RunDirectory,
        config: TrainConfig,
        task: Task,
        tokenizer: PreTrainedTokenizerBase,
        success_threshold: float,
        progress: StepProgress,
        *,
        fresh: int = 0,
    ) -> None:
        self._run, self._config, self._task, self._tokenizer = run, config, task, tokenizer
        self._success_threshold, self._progress, self._fresh = success_threshold, progress, fresh

    def evaluate(self, model: PreTrainedModel, step: int) -> None:
        """Writes every completion at the run's own temperature with its verdict, and the metrics."""
        if step not in self._run.evaluation_steps():
            result = self._evaluated(model, self._config.temperature, self._config.seed, f"evaluating at step {step}")
            self._run.write_evaluation(step, result.rows, result.metrics)

    def lacking(self, step: int) -> dict[str, list[float]]:
        """The temperatures at which the run lacks a point of a step, by weights."""
        missing: dict[str, list[float]] = {}
        for weights, _, temperature in self._config.points_at(step):
            if not has_point(self._run.path, weights, step, temperature, self._fresh):
                missing.setdefault(weights, []).append(temperature)
        return missing

    def add_points(self, model: PreTrainedModel, weights: str, step: int) -> None:
        """Writes the successes of a model at the temperatures at which they are missing.

        Args:
            model: the model, with the weights that are named.
            weights: the name of these weights, see :class:`~entroshape.metrics.points.EvaluationPoint`.
            step: the step of the weights.
        """
        for temperature in self.lacking(step).get(weights, []):
            rows = self._rows(model, weights, step, temperature)
            point = point_of(rows, weights=weights, step=step, temperature=temperature)
            self._run.write_point(point, fresh=self._fresh)

    def _rows(self, model: PreTrainedModel, weights: str, step: int, temperature: float) -> Sequence[dict[str, Any]]:
        own = temperature == self._config.temperature and weights in ("start", "last")
        if own and not self._fresh and step in self._run.evaluation_steps():
            return self._run.read_evaluation(step)[0]
        problems = ", fresh problems" if self._fresh else ""
        what = f"evaluating {weights} at step {step}, T {temperature:g}{problems}"
        seed = point_seed(self._config.seed, weights, step, temperature)
        return self._evaluated(model, temperature, seed, what).rows

    def _evaluated(self, model: PreTrainedModel, temperature: float, seed: int, what: str) -> EvaluationResult:
        with self._progress.phase(what) as progress:
            return evaluate(
                model,
                self._tokenizer,
                self._task,
                samples=self._config.eval_samples,
                max_new_tokens=self._config.max_completion_length,
                temperature=temperature,
                seed=seed,
                success_threshold=self._success_threshold,
                progress=progress,
                prompt_formatter=lambda prompt: formatted_prompt(prompt, self._task, self._tokenizer),
            )


class Evaluator(TrainerCallback):
    """Evaluates the policy before, during and after training, on the main process.

    Args:
        held_out: makes the evaluations.
        config: the options of the run.
        trainer: the trainer, with the weights before training.
        mean: the exponential mean of the weights, if there is one.
    """

    def __init__(
        self, held_out: HeldOut, config: TrainConfig, trainer: ShapedGRPOTrainer, mean: EMACallback | None = None
    ) -> None:
        self._held_out, self._config, self._trainer, self._mean = held_out, config, trainer, mean
        if config.eval_mixtures:
            check_whole("eval_mixtures")
        self._start = trained_weights(self._model) if config.eval_mixtures else {}

    @property
    def _model(self) -> PreTrainedModel:
        return self._trainer.accelerator.unwrap_model(self._trainer.model)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """In a resumed run, makes the evaluation of its checkpoint if it is missing. The weights are loaded by now."""
        if state.global_step:
            self._evaluate_if_due(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluates every ``eval_every`` steps; the last step is evaluated after training."""
        self._evaluate_if_due(state)

    def _evaluate_if_due(self, state: TrainerState) -> None:
        step, every = self._config.steps_of(state.global_step), self._config.eval_every
        whole = self._config.updates_of(step) == state.global_step
        if every and whole and step % every == 0 and step < self._config.steps:
            self.evaluate(step)

    def evaluate(self, step: int) -> None:
        """Makes the evaluations of a step that are missing."""
        state = PartialState()
        if state.is_main_process:
            self._held_out.evaluate(self._model, step)
            for weights in self._held_out.lacking(step):
                with self._weights(weights):
                    self._held_out.add_points(self._model, weights, step)
        state.wait_for_everyone()

    def _weights(self, name: str) -> AbstractContextManager[None]:
        """Puts the weights of this name into the model for the duration of a block."""
        kind, _, share = name.partition(":")
        if kind in ("start", "last"):
            return nullcontext()
        trained = self._mean.weights if self._mean and kind.endswith("ema") else trained_weights(self._model)
        return swapped(self._model, mixed(self._start, trained, float(share)) if share else trained)
