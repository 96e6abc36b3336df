"""A training run of a few seconds, and what has to be the same when it is repeated."""

from safetensors.torch import load_file

SMALL_RUN = [
    "--prompts-per-step=2",
    "--num-generations=4",
    "--train-size=60",
    "--eval-problems=4",
    "--eval-samples=2",
    "--device=cpu",
    "--max-refills=1",
]
TIMES = ("seconds_", "tokens_per_second")


def untimed(metrics):
    """The rows of metrics.jsonl without timings."""
    return [{name: value for name, value in row.items() if not name.startswith(TIMES)} for row in metrics]


def outcome(run):
    """All that a run leaves, without its timings: equal for equal runs, bit for bit."""
    models = [folder for folder in (run.model_path, run.ema_model_path) if folder.exists()]
    weights = {folder.name: load_file(folder / "model.safetensors") for folder in models}
    return {
        "metrics": untimed(run.read_metrics()),
        "evaluations": {step: run.read_evaluation(step) for step in run.evaluation_steps()},
        "points": run.read_points(),
        "rollouts": {step: run.read_rollouts(step) for step in run.rollout_steps()},
        "weights": {model: {name: value.tolist() for name, value in own.items()} for model, own in weights.items()},
    }
