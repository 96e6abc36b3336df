"""Output of a running training: metrics, rollouts, checkpoint marks, and a progress bar."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from accelerate import PartialState
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from entroshape.engines.decisions import PREFIX
from entroshape.engines.kind_metrics import TokenMarks, kind_metrics
from entroshape.engines.trl import StepRecord
from entroshape.metrics.wording import wording
from entroshape.models import prompt_text
from entroshape.runs import RunDirectory
from entroshape.tasks import Task
from entroshape.terminal import text_column
from entroshape.training.config import TrainConfig
from entroshape.training.divergence import DivergedError
from entroshape.training.token_marks import token_marks

FROM_TRL = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "clip_ratio/low_mean": "clip_low",
    "clip_ratio/high_mean": "clip_high",
}


class StepProgress:
    """A progress bar with step, success rate, entropy and time left; plain lines if there is no terminal."""

    def __init__(self, steps: int, console: Console) -> None:
        self._steps, self._console = steps, console
        self._bar = Progress(
            text_column("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            text_column("{task.fields[note]}"),
            TimeElapsedColumn(),
            text_column("eta"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._training: TaskID | None = None

    def __enter__(self) -> StepProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, metrics: dict[str, Any]) -> None:
        """Shows the metrics of a step."""
        step = metrics["step"]
        words = {name: wording(name) for name in ("success_rate", "entropy") if name in metrics}
        note = "  ".join(f"{each.label.lower()} {each.value(metrics[name])}" for name, each in words.items())
        if self._training is None:
            self._training = self._bar.add_task("training", total=self._steps, completed=step - 1, note=note)
        self._bar.update(self._training, completed=step, note=note)
        if not self._console.is_terminal and (step % max(1, self._steps // 10) == 0 or step == self._steps):
            self._console.print(f"step {step}/{self._steps}  {note}", soft_wrap=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """A second progress bar, such as for an evaluation; yields the function ``(done, total)`` that updates it."""
        bar = self._bar.add_task(name, total=None, note="")
        if not self._console.is_terminal:
            self._console.print(name, soft_wrap=True)
        yield lambda done, total: self._bar.update(bar, completed=done, total=total)
        self._bar.remove_task(bar)


class RunRecorder(TrainerCallback):
    """Writes a training run into its directory: metrics of every step, rollouts, and marks of complete checkpoints.

    Args:
        run: the run directory.
        config: the options of the run.
        tokenizer: decodes token ids.
        progress: shows the metrics of each step.
        task: says what kinds of tokens there are, if it names them.
    """

    def __init__(
        self,
        run: RunDirectory,
        config: TrainConfig,
        tokenizer: PreTrainedTokenizerBase,
        progress: StepProgress,
        task: Task,
    ) -> None:
        self._run, self._config, self._tokenizer, self._progress = run, config, tokenizer, progress
        self._task = task

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Writes one line of metrics. A metric that is not finite ends the run."""
        if not state.is_world_process_zero or "loss" not in logs:
            return
        step = self._config.steps_of(state.global_step)
        metrics = {"step": step, "optimizer_step": state.global_step}
        metrics |= {ours: float(logs[theirs]) for theirs, ours in FROM_TRL.items() if logs.get(theirs) is not None}
        metrics |= {key.removeprefix(PREFIX): value for key, value in logs.items() if key.startswith(PREFIX)}
        metrics = {key: value for key, value in metrics.items() if value is not None}
        broken = [key for key, value in metrics.items() if not math.isfinite(value)]
        if broken:
            raise DivergedError(
                self._run,
                step,
                f"{' and '.join(broken)} {'are' if broken[1:] else 'is'} not finite",
                self._config.steps_of,
            )
        self._run.append_metrics(metrics)
        self._progress.update(metrics)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Marks a checkpoint as complete when every process has written its part."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            self._run.mark_checkpoint_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")
            # Not left to transformers, which takes the time of a file for its age: clocks go back.
            self._run.remove_checkpoints_before_last(2)

    def on_rollouts(self, record: StepRecord) -> dict[str, float]:
        """Writes the rollouts of a step, with the credit of every token, if this step is kept.

        Returns:
            The step's metrics by kind of token, if the task names kinds.

        Raises:
            ValueError: see :func:`~entroshape.training.token_marks.token_marks`.
        """
        step, every = record.step, self._config.rollouts_every
        marks = token_marks(record, self._task, self._tokenizer)
        if every and (step == 1 or step % every == 0):
            self._run.write_rollouts(step, rollout_rows(record, step, self._tokenizer, marks))
        return {} if marks is None else kind_metrics(marks, record.credit, record.entropies)


def rollout_rows(
    record: StepRecord, step: int, tokenizer: PreTrainedTokenizerBase, marks: TokenMarks | None = None
) -> list[dict[str, Any]]:
    """One row per completion with a reward: tokens, entropy, weight, shaped reward, advantage, outcome, kinds."""
    rows, credit = [], record.credit.per_token(record.mask)
    weights = record.credit.weights(record.mask)
    for i, live in enumerate(record.mask):
        if record.rewards[i].isnan():
            continue
        ids = record.token_ids[i][live].tolist()
        rows.append(
            {
                "step": step,
                "group": int(record.group[i]),
                "prompt": prompt_text(record.prompts[i]),
                "completion": tokenizer.decode(ids, skip_special_tokens=True),
                "tokens": [tokenizer.decode([token]) for token in ids],
                "token_ids": ids,
                "entropy": [] if record.entropies is None else record.entropies[i][live].tolist(),
                "shaped_reward": credit.shaped_rewards[i][live].tolist(),
                "advantage": credit.advantages[i][live].tolist(),
                "reward": float(record.rewards[i]),
                "success": bool(record.credit.success[i]),
                "gated": bool(record.credit.gated[i]),
            }
        )
        if weights is not None:
            rows[-1]["weight"] = weights[i][live].tolist()
        if marks is not None:
            rows[-1]["kind"] = [marks.names[place] for place in marks.kinds[i][live].tolist()]
            for name, marked in (("decision", marks.decisions), ("first_error", marks.first_errors)):
                if marked is not None:
                    rows[-1][name] = marked[i][live].tolist()
    return rows
