"""An ``entroshape`` command that dies at a moment of its own choice.

    python tests/torture/dying.py '{"moment": "checkpoint", "when": "after", "call": 1}' -m entroshape train ...

The function that a moment is named for is wrapped, so that its process sends itself the signal before, in the middle of
or after its n-th call. Everything else is the command as users run it.
"""

import importlib
import json
import os
import signal
import sys

MOMENTS = {
    "config": "entroshape.runs.directory:RunDirectory.write_config",
    "sampling": "trl:GRPOTrainer._generate",
    "scoring": "trl:GRPOTrainer._calculate_rewards",
    "refill": "trl:GRPOTrainer._generate_and_score_completions",  # its second call: the first refill of the first step
    "update": "torch.optim:AdamW.step",
    "rollouts": "entroshape.runs.directory:RunDirectory.write_rollouts",
    "metrics": "entroshape.runs.directory:RunDirectory.append_metrics",
    "evaluation": "entroshape.evaluation.transformers_sampler:TransformersSampler.sample",
    "evaluation file": "entroshape.runs.directory:RunDirectory.write_evaluation",
    "checkpoint": "transformers:Trainer._save_checkpoint",
    "optimizer file": "transformers:Trainer._save_optimizer_and_scheduler",
    "mean": "entroshape.weights.mean:write_weights",
    "anchor": "entroshape.weights.anchor:write_aside",
    "mark": "entroshape.runs.directory:RunDirectory.mark_checkpoint_complete",
    "model": "entroshape.training.run:_save_model",
    "model in place": "entroshape.training.run:replace_directory",
    "report": "entroshape.runs.directory:RunDirectory.write_report",
    "record": "entroshape.experiments.command:write_comparison",
    "journal": "entroshape.evaluation.journal:Journal.append",
    "result": "entroshape.evaluation.command:write_evaluation",
}
"""What is wrapped, by the moment's name."""


def die_at(moment, when="before", call=1, sig="SIGKILL", rank=None):
    """Arrange for this process to get ``sig`` at the ``call``-th call of the moment's function.

    ``when``: ``before``, ``after``, or ``middle``: with all of a file written, or half of a line, and nothing renamed.
    """
    if rank is not None and os.environ.get("RANK") != str(rank):
        return
    module, _, path = MOMENTS[moment].partition(":")
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    for step in owners:
        owner = getattr(owner, step)
    function, calls = getattr(owner, name), []

    def die():
        os.kill(os.getpid(), getattr(signal, sig))

    def wrapped(*arguments, **options):
        calls.append(1)
        mine = len(calls) == call
        if mine and when == "before":
            die()
        if mine and when == "middle":
            in_the_middle(die)
        result = function(*arguments, **options)
        if mine and when == "after":
            die()
        return result

    setattr(owner, name, wrapped)


def in_the_middle(die):
    """Die at the next rename, or halfway through the next line that is appended."""
    from pathlib import Path

    from entroshape.evaluation import journal
    from entroshape.runs import files, metrics

    def half(path, line):
        with path.open("ab") as file:
            file.write(line[: len(line) // 2])
        die()

    def unnamed(self, target):
        die()

    metrics.append_line = journal.append_line = files.append_line = half
    Path.replace = unnamed


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    if plan:
        die_at(**plan)
    from entroshape.cli import main

    sys.exit(main(sys.argv[sys.argv.index("entroshape") + 1 :]))
