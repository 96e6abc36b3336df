"""Evaluations of a run: before, during and after training, each with the weights of its step."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from entroshape.engines.trl import ShapedGRPOTrainer
from entroshape.evaluation import evaluate
from entroshape.models import formatted_prompt
from entroshape.runs import RunDirectory
from entroshape.tasks import Task
from entroshape.training.callbacks import StepProgress
from entroshape.training.config import TrainConfig


class Evaluator(TrainerCallback):
    """Evaluates the policy on held-out problems, on the main process, without changing the random state of training."""

    def __init__(
        self,
        run: RunDirectory,
        config: TrainConfig,
        task: Task,
        tokenizer: PreTrainedTokenizerBase,
        trainer: ShapedGRPOTrainer,
        progress: StepProgress,
    ) -> None:
        self._run, self._config, self._task, self._tokenizer = run, config, task, tokenizer
        self._trainer, self._progress = trainer, progress

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
        """Samples completions for the held-out problems and writes them with their metrics, unless they exist."""
        state = PartialState()
        if state.is_main_process and step not in self._run.evaluation_steps():
            with self._progress.phase(f"evaluating at step {step}") as progress:
                result = evaluate(
                    self._trainer.accelerator.unwrap_model(self._trainer.model),
                    self._tokenizer,
                    self._task,
                    samples=self._config.eval_samples,
                    max_new_tokens=self._config.max_completion_length,
                    temperature=self._config.temperature,
                    seed=self._config.seed,
                    success_threshold=self._trainer.method.success_threshold,
                    progress=progress,
                    prompt_formatter=lambda prompt: formatted_prompt(prompt, self._task, self._tokenizer),
                )
            self._run.write_evaluation(step, result.rows, result.metrics)
        state.wait_for_everyone()
