"""A tiny run that reports to a tracker, in a process of its own: trackers take their directories when first imported.

usage: python trackers_child.py wandb|trackio DIRECTORY, with the directory in the tracker's environment too. Prints as
JSON what the trainer logged and what the tracker holds: a list of {name: value}, one a step.
"""

import json
import sys

from tiny import tiny_trainer
from transformers import TrainerCallback

STEPS = 3


class WandbSummaries(TrainerCallback):
    """What W&B holds after every log, as its own run shows it."""

    def __init__(self):
        self.rows = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        import wandb

        if "loss" in logs:
            self.rows.append({name: value for name, value in dict(wandb.run.summary).items() if "entroshape/" in name})


def main(tracker, folder):
    seen = WandbSummaries()
    trainer = tiny_trainer(
        f"{folder}/out",
        max_steps=STEPS,
        report_to=[tracker],
        run_name="tiny",
        project="trackers",
        trackio_static_space_id=False,
    )
    if tracker == "wandb":
        trainer.add_callback(seen)
    trainer.train()
    if tracker == "wandb":
        import wandb

        tracked = seen.rows
        wandb.finish()
    else:
        import trackio

        rows = trackio.SQLiteStorage.get_logs("trackers", "tiny")
        tracked = [{name: value for name, value in row.items() if "entroshape/" in name} for row in rows]
    logged = [
        {name: value for name, value in row.items() if "entroshape/" in name} for row in trainer.state.log_history
    ]
    print(json.dumps({"logged": [row for row in logged if row], "tracked": [row for row in tracked if row]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
