"""``train``: a complete training run, from options to a run directory with its report."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from peft import LoraConfig
from rich.console import Console
from transformers import PrinterCallback
from transformers import ProgressCallback as BarOfTransformers

from entroshape.assets import BUNDLED_MODELS
from entroshape.checks import begun
from entroshape.engines.trl import ShapedGRPOConfig, ShapedGRPOTrainer
from entroshape.methods import build_method
from entroshape.metrics.aggregation import paired_changes
from entroshape.models import check_readable, load_model, training_prompts
from entroshape.report import summary_table, write_report
from entroshape.runs import RunDirectory
from entroshape.runs.checkpoints import updates_in
from entroshape.runs.files import replace_directory
from entroshape.tasks import Task, load_task
from entroshape.terminal import PlainConsole
from entroshape.training.callbacks import RunRecorder, StepProgress
from entroshape.training.config import TrainConfig
from entroshape.training.divergence import FiniteWeights, divergence_explained
from entroshape.training.evaluator import Evaluator, HeldOut
from entroshape.training.missing import missing_points
from entroshape.training.points import add_missing_points
from entroshape.training.resuming import (
    NothingLeftToTrain,
    OtherProcesses,
    load_onto_numbered_cpus,
    resume_point,
    train_from,
)
from entroshape.training.saving import SavingTrainer, saving
from entroshape.training.trackers import keep_tensorboard
from entroshape.weights import AnchorCallback, EMACallback


def train(config: TrainConfig, *, resume: str | Path | None = None, console: Console | None = None) -> RunDirectory:
    """Trains a model, evaluates it on held-out problems before and after training, and writes the report.

    Args:
        config: all options.
        resume: a run directory to resume from its last complete checkpoint; ``config`` must be its own options.
        console: where progress is shown.

    Returns:
        The run directory.

    Raises:
        ValueError: an option does not fit the task, the model or the machine, or another process is training this run.
        DivergedError: weights, gradients or logits are no longer finite.
        RuntimeError: the reward function failed; the message names the step. The last checkpoint remains valid.
    """
    console = console or PlainConsole()
    if threads := config.threads or (1 if config.model in BUNDLED_MODELS else None):
        torch.set_num_threads(threads)
    state = PartialState(cpu=_on_cpu(config))
    load_onto_numbered_cpus()
    with ExitStack() as stack:
        if resume:
            run = _opened(resume, state, stack)
            if run.is_finished(config.steps, ema=config.ema_decay is not None):
                if state.is_main_process:
                    _completed(run, config, console)
                state.wait_for_everyone()
                return run
            return _carried_out(config, state, console, lambda: run, resumed=True)
        return _carried_out(config, state, console, lambda: _created(config, state, stack), resumed=False)


def _completed(run: RunDirectory, config: TrainConfig, console: Console) -> None:
    """What is left to do for a run that is trained: evaluations that were asked for later."""
    missing = len(missing_points(run, config))
    if not missing:
        console.print(f"{run.path} is already finished", soft_wrap=True)
        return
    console.print(f"{run.path} is already trained; it lacks {missing} points", soft_wrap=True)
    with begun():
        add_missing_points(run, config, lambda fresh: _task(config, fresh), console)
        console.print(f"report: {write_report(run.path)}", soft_wrap=True)


def _carried_out(
    config: TrainConfig, state: PartialState, console: Console, directory: Callable[[], RunDirectory], *, resumed: bool
) -> RunDirectory:
    # Everything that cannot work is refused before anything is written.
    task = _task(config)
    if config.fresh:
        _task(config, config.fresh)
    arguments = engine_arguments(config, task, state.num_processes)
    model, tokenizer = load_model(config.model)
    check_readable(task, config.model, tokenizer)
    run = directory()
    arguments.output_dir, arguments.run_name = str(run.checkpoints_path), run.path.name
    if state.is_main_process:
        console.print(f"{config.method} on {config.task} with {config.model}: {run.path}", soft_wrap=True)
    checkpoint = resume_point(run, config, console) if resumed else None
    trained = checkpoint is not None and updates_in(checkpoint) >= arguments.max_steps
    if trained:
        arguments.report_to = []  # otherwise a tracker would record a run without steps

    mean = EMACallback(config.ema_decay, resume_from=checkpoint) if config.ema_decay else None
    anchor = [AnchorCallback(config.anchor, resume_from=checkpoint)] if config.anchor else []
    with StepProgress(config.steps, console) as progress:
        recorder = RunRecorder(run, config, tokenizer, progress, task)
        trainer = SavingTrainer(
            model,
            task.reward,
            arguments,
            training_prompts(task, tokenizer, config.steps * config.prompts_per_step, config.seed),
            processing_class=tokenizer,
            peft_config=_lora(config),
            # The recorder marks a checkpoint as complete, so it comes after all that write into it.
            callbacks=[FiniteWeights(run, config.steps_of), *([mean] if mean else []), *anchor, recorder],
            on_rollouts=recorder.on_rollouts,
        )
        for callback in (PrinterCallback, BarOfTransformers):
            trainer.remove_callback(callback)
        if state.is_main_process:
            keep_tensorboard(trainer, run, checkpoint)
        held_out = HeldOut(run, config, task, tokenizer, trainer.method.success_threshold, progress)
        evaluator = Evaluator(held_out, config, trainer, mean)
        own = [evaluator, NothingLeftToTrain(), *([OtherProcesses(checkpoint, config.seed)] if checkpoint else [])]
        for callback in own:
            trainer.add_callback(callback)
        with begun(), divergence_explained(trainer, run, config.steps_of):
            evaluator.evaluate(0)
            train_from(trainer, checkpoint)
            evaluator.evaluate(config.steps)

    if not (trained and run.model_path.is_dir()):
        _save_model(trainer, run.model_path, state)
    if mean and not (trained and run.ema_model_path.is_dir()):
        with mean.applied():
            _save_model(trainer, run.ema_model_path, state)
    if state.is_main_process:
        with begun():
            add_missing_points(run, config, lambda fresh: _task(config, fresh), console)
            _show_outcome(run, config, console)
    state.wait_for_everyone()
    return run


def engine_arguments(config: TrainConfig, task: Task, world_size: int) -> ShapedGRPOConfig:
    """The engine's settings for ``config``, as a TRL script would pass them, except for the output directory.

    Raises:
        ValueError: the method, an option or the batch sizes are invalid, or the tracker is not installed.
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
        steps_per_generation=accumulation * config.updates_of(1),
        max_steps=config.updates_of(config.steps),
        old_logprobs=config.old_logprobs,
        sampler=config.sampler,
        shuffle_dataset=False,
        max_completion_length=config.max_completion_length or task.max_completion_length,
        mask_truncated_completions=config.mask_truncated_completions,
        temperature=config.temperature,
        learning_rate=config.peak_learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=config.updates_of(config.warmup_steps),
        adam_beta2=0.99,
        weight_decay=0.0,
        max_grad_norm=config.max_grad_norm,
        bf16=config.precision == "bfloat16",
        gradient_checkpointing=config.gradient_checkpointing,
        logging_steps=config.updates_of(1),
        save_steps=config.updates_of(config.save_every),
        report_to=[] if config.report_to == "none" else [config.report_to],
        use_cpu=_on_cpu(config),
        seed=config.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
    )


def _next_command(run: RunDirectory, config: TrainConfig) -> str:
    other = "dapo" if config.method != "dapo" else "gtpo"
    plain = " --method-options" if config.method_options else ""
    # If make started the command, its environment is not on the path.
    started = sys.argv[0] if Path(sys.argv[0]).name == "entroshape" else "python -m entroshape"
    command = "entroshape" if shutil.which("entroshape") else started
    return (
        "next, train another method from the same weights on the same prompts and compare:\n"
        f"  {command} train --config {run.path}/config.yaml --method {other}{plain}"
    )


def _named(config: TrainConfig) -> RunDirectory:
    return RunDirectory.create_named(config.task, config.method, config.seed)


def _opened(resume: str | Path, state: PartialState, stack: ExitStack) -> RunDirectory:
    """Opens the run to resume; the main process holds its lock."""
    if state.is_main_process:
        run = RunDirectory.open(resume)
        stack.enter_context(run.hold())
        run.remove_torn_checkpoints()
    state.wait_for_everyone()
    return RunDirectory.open(resume)


def _created(config: TrainConfig, state: PartialState, stack: ExitStack) -> RunDirectory:
    """Creates a run. The main process creates and locks it, and tells the others the path."""
    paths = [""]
    if state.is_main_process:
        run = RunDirectory.create(config.output) if config.output else _named(config)
        stack.enter_context(run.hold())
        RunDirectory.create(run.path)  # again: another command may have started a run here a moment ago
        run.write_config(config.to_dict())
        paths = [str(run.path)]
    broadcast_object_list(paths)
    return RunDirectory.open(paths[0])


def _save_model(trainer: ShapedGRPOTrainer, path: Path, state: PartialState) -> None:
    """Writes the model's weights, configuration and tokenizer to the directory ``path`` atomically."""
    aside = path.with_name(f".{path.name}.aside")
    if state.is_main_process:
        shutil.rmtree(aside, ignore_errors=True)
    state.wait_for_everyone()
    with saving(path):
        trainer.save_model(str(aside))
    state.wait_for_everyone()
    if state.is_main_process:
        with saving(path):
            replace_directory(aside, path)


def _show_outcome(run: RunDirectory, config: TrainConfig, console: Console) -> None:
    before, after = run.read_evaluation(0), run.read_evaluation(config.steps)
    console.print(summary_table(before[1], after[1], changes=paired_changes(before[0], after[0])))
    console.print(f"report: {write_report(run.path)}", soft_wrap=True)
    console.print(_next_command(run, config), soft_wrap=True)


def _on_cpu(config: TrainConfig) -> bool:
    return config.device == "cpu" or not torch.accelerator.is_available()


def _task(config: TrainConfig, fresh: int = 0) -> Task:
    return load_task(
        config.task,
        reward=config.reward,
        train_size=config.train_size,
        test_size=config.eval_problems,
        seed=config.seed,
        fresh=fresh or None,
    )


def _lora(config: TrainConfig) -> LoraConfig | None:
    if not config.lora_rank:
        return None
    return LoraConfig(
        r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
