"""``train``: the whole main job, from options to a run directory with its report."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from peft import LoraConfig
from rich.console import Console
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers import ProgressCallback as BarOfTransformers

from entroshape.engines.trl import ShapedGRPOConfig, ShapedGRPOTrainer
from entroshape.evaluation import evaluate, paired_changes
from entroshape.methods import build_method
from entroshape.models import check_readable, formatted_prompt, load_model, training_prompts
from entroshape.report import summary_table, write_report
from entroshape.runs import RunDirectory
from entroshape.tasks import Task, load_task
from entroshape.terminal import PlainConsole
from entroshape.training.callbacks import RunRecorder, StepProgress
from entroshape.training.config import BUNDLED_MODEL, TrainConfig
from entroshape.training.trackers import keep_tensorboard


def train(config: TrainConfig, *, resume: str | Path | None = None, console: Console | None = None) -> RunDirectory:
    """Trains as ``config`` says, evaluating on held-out problems before and after, and writes the report.

    Args:
        config: all options.
        resume: a run directory to go on with, from its last whole checkpoint; ``config`` is then the run's own.
        console: where to show progress.

    Returns:
        The run directory.

    Raises:
        ValueError: an option that does not fit the task, the model or the machine.
        RuntimeError: a reward function that failed, naming the step; the last checkpoint stays good.
    """
    console = console or PlainConsole()
    if threads := config.threads or (1 if config.model == BUNDLED_MODEL else None):
        torch.set_num_threads(threads)
    state = PartialState(cpu=_on_cpu(config))
    # What cannot work is refused before anything is written.
    task = _task(config)
    arguments = engine_arguments(config, task, state.num_processes)
    model, tokenizer = load_model(config.model)
    check_readable(task, config.model, tokenizer)
    run = _run_directory(config, resume, state)
    arguments.output_dir, arguments.run_name = str(run.checkpoints_path), run.path.name
    if state.is_main_process:
        console.print(f"{config.method} on {config.task} with {config.model}: {run.path}", soft_wrap=True)
    checkpoint = _resume_point(run, config, console) if resume else None

    with StepProgress(config.steps, console) as progress:
        recorder = RunRecorder(run, config, tokenizer, progress)
        trainer = ShapedGRPOTrainer(
            model,
            task.reward,
            arguments,
            training_prompts(task, tokenizer, config.steps * config.prompts_per_step, config.seed),
            processing_class=tokenizer,
            peft_config=_lora(config),
            callbacks=[recorder],
            on_rollouts=recorder.on_rollouts,
        )
        for callback in (PrinterCallback, BarOfTransformers):
            trainer.remove_callback(callback)
        if state.is_main_process:
            keep_tensorboard(trainer, run, checkpoint)
        evaluator = Evaluator(run, config, task, tokenizer, trainer, progress)
        trainer.add_callback(evaluator)
        evaluator.evaluate(0)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        evaluator.evaluate(config.steps)

    trainer.save_model(str(run.path / "model"))
    if state.is_main_process:
        before, after = run.read_evaluation(0), run.read_evaluation(config.steps)
        console.print(summary_table(before[1], after[1], changes=paired_changes(before[0], after[0])))
        console.print(f"report: {write_report(run.path)}", soft_wrap=True)
        console.print(_next_command(run, config), soft_wrap=True)
    return run


def engine_arguments(config: TrainConfig, task: Task, world_size: int) -> ShapedGRPOConfig:
    """The engine's own settings for ``config``: what a TRL script would pass by hand, but for the output directory.

    Raises:
        ValueError: a method, an option or a batch geometry that does not work; a tracker that is not installed.
    """
    if config.report_to != "none" and find_spec(config.report_to) is None:
        raise ValueError(f"report_to: {config.report_to} is not installed; pip install {config.report_to}")
    micro, accumulation = config.micro_batches(world_size)
    return ShapedGRPOConfig(
        method=build_method(config.method, config.method_options),  # type: ignore[arg-type]
        dynamic_sampling=config.dynamic_sampling,
        max_refills=config.max_refills,
        num_generations=config.num_generations,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation * config.updates_per_step,
        max_steps=config.steps * config.updates_per_step,
        old_logprobs=config.old_logprobs,
        shuffle_dataset=False,
        max_completion_length=config.max_completion_length or task.max_completion_length,
        temperature=config.temperature,
        learning_rate=config.peak_learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=config.warmup_steps * config.updates_per_step,
        adam_beta2=0.99,
        weight_decay=0.0,
        max_grad_norm=config.max_grad_norm,
        bf16=config.precision == "bfloat16",
        gradient_checkpointing=config.gradient_checkpointing,
        logging_steps=config.updates_per_step,
        save_steps=config.save_every * config.updates_per_step,
        save_total_limit=2,
        report_to=[] if config.report_to == "none" else [config.report_to],
        use_cpu=_on_cpu(config),
        seed=config.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
    )


class Evaluator(TrainerCallback):
    """Evaluates the policy on held-out problems, on the main process, without touching the training's random state."""

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

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluates every ``eval_every`` steps; the last step is evaluated after training."""
        step, within = divmod(state.global_step, self._config.updates_per_step)
        every = self._config.eval_every
        if every and not within and step % every == 0 and step < self._config.steps:
            self.evaluate(step)

    def evaluate(self, step: int) -> None:
        """Samples answers to the held-out problems and writes them with their metrics, unless they are there."""
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
                    progress=progress,
                    prompt_formatter=lambda prompt: formatted_prompt(prompt, self._task, self._tokenizer),
                )
            self._run.write_evaluation(step, result.rows, result.metrics)
        state.wait_for_everyone()


def _next_command(run: RunDirectory, config: TrainConfig) -> str:
    other = "dapo" if config.method != "dapo" else "gtpo"
    plain = " --method-options" if config.method_options else ""
    # Started by make, the command lies in an environment that is not on the path.
    started = sys.argv[0] if Path(sys.argv[0]).name == "entroshape" else "python -m entroshape"
    command = "entroshape" if shutil.which("entroshape") else started
    return (
        "next, hold it against another method from the same weights on the same prompts:\n"
        f"  {command} train --config {run.path}/config.yaml --method {other}{plain}"
    )


def _run_directory(config: TrainConfig, resume: str | Path | None, state: PartialState) -> RunDirectory:
    """The run's directory, the same on every process: the main one makes it, and tells the others where."""
    paths = [""]
    if state.is_main_process:
        if resume:
            run = RunDirectory.open(resume)
            run.remove_torn_checkpoints()
        else:
            run = RunDirectory.create(config.output) if config.output else _named(config)
            run.write_config(config.to_dict())
        paths = [str(run.path)]
    broadcast_object_list(paths)
    return RunDirectory.open(paths[0])


def _named(config: TrainConfig) -> RunDirectory:
    return RunDirectory.create_named(config.task, config.method, config.seed)


def _resume_point(run: RunDirectory, config: TrainConfig, console: Console) -> Path | None:
    """The last whole checkpoint; what was written past it is forgotten, because it will be done again."""
    checkpoint = run.latest_checkpoint()
    step = int(checkpoint.name.rpartition("-")[2]) // config.updates_per_step if checkpoint else 0
    if PartialState().is_main_process:
        run.truncate_metrics(step)
        console.print(f"resuming from step {step}" if checkpoint else "starting over: there is no checkpoint yet")
    return checkpoint


def _on_cpu(config: TrainConfig) -> bool:
    return config.device == "cpu" or not torch.accelerator.is_available()


def _task(config: TrainConfig) -> Task:
    return load_task(
        config.task,
        reward=config.reward,
        train_size=config.train_size,
        test_size=config.eval_problems,
        seed=config.seed,
    )


def _lora(config: TrainConfig) -> LoraConfig | None:
    if not config.lora_rank:
        return None
    return LoraConfig(
        r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
