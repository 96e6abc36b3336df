"""Makes the points that a finished run lacks, from its saved weights."""

from __future__ import annotations

from collections.abc import Callable

from accelerate import PartialState
from rich.console import Console

from entroshape.methods import success_threshold
from entroshape.models import load_model
from entroshape.runs import RunDirectory
from entroshape.tasks import Task
from entroshape.training.callbacks import StepProgress
from entroshape.training.config import TrainConfig
from entroshape.training.evaluator import HeldOut
from entroshape.training.missing import missing_points
from entroshape.weights import mixed, swapped
from entroshape.weights.loading import parameters, weights_before


def add_missing_points(
    run: RunDirectory, config: TrainConfig, task_of: Callable[[int], Task], console: Console
) -> None:
    """Evaluates the start and the saved weights of a trained run where it lacks points.

    Args:
        run: the run directory.
        config: its options.
        task_of: loads the task with so many fresh problems as its test problems; 0: with the held-out problems.
        console: where progress is shown.
    """
    missing = missing_points(run, config)
    steps = {each.weights: each.step for each in missing}
    tasks = {fresh: task_of(fresh) for fresh in dict.fromkeys(each.fresh for each in missing)}
    threshold = success_threshold(config.method, config.method_options)
    with StepProgress(config.steps, console) as progress:
        for weights, step in steps.items():
            kind, _, share = weights.partition(":")
            folder = run.ema_model_path if kind.endswith("ema") else run.model_path
            model, tokenizer = load_model(config.model if kind == "start" else str(folder))
            own = {}
            if share:
                trained = parameters(model)
                before = weights_before(trained, config.model, is_adapter=bool(config.lora_rank))
                own = mixed(before, trained, float(share))
            with swapped(model.to(PartialState().device), own):
                for fresh, task in tasks.items():
                    held_out = HeldOut(run, config, task, tokenizer, threshold, progress, fresh=fresh)
                    held_out.add_points(model, weights, step)
