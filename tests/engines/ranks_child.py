"""One rank of a two-process run: trains a few steps and writes what it saw. Started by test_trl_ranks.py."""

import sys

import torch
from tiny import even_sum, even_sum_of_even_prompts, tiny_config, tiny_dataset, tiny_model, tiny_tokenizer

from entroshape.engines.trl import ShapedGRPOTrainer
from entroshape.weights import EMACallback


class Watched(ShapedGRPOTrainer):
    """Keeps what was handed to the loss on this rank."""

    def _shape(self, output, batch):
        super()._shape(output, batch)
        weights = torch.cat([p.detach().flatten() for p in self.model.parameters()])
        kept = {"advantages", "num_items_in_batch", "tool_mask"}
        kept |= {"prompt_ids", "prompt_mask", "completion_ids", "completion_mask"}
        self.seen.append(
            {
                "local": {name: output[name].clone() for name in kept if name in output},
                "weights": weights,
                "rows": {name: value.clone() for name, value in batch.rows.items()},
                "rewards": batch.rewards.clone(),
                "group": batch.group.clone(),
                "prompts": list(batch.prompts),
                "completions": list(batch.completions),
            }
        )


def main(folder, method, dynamic):
    mean = EMACallback(0.5)
    # Six responses a rank and groups of four: the second of the three groups straddles the ranks.
    trainer = Watched(
        tiny_model(),
        even_sum_of_even_prompts if dynamic else even_sum,
        tiny_config(
            folder,
            method,
            per_device_train_batch_size=6,
            num_generations=4,
            max_completion_length=60,  # most end before: each rank pads to a length of its own
            max_steps=3,
            dynamic_sampling=dynamic,
            max_refills=6,
            optim="sgd",
            learning_rate=0.1,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
        ),
        tiny_dataset(),
        processing_class=tiny_tokenizer(),
        callbacks=[mean],
    )
    trainer.seen = []
    trainer.train()
    rank = trainer.accelerator.process_index
    weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    logged = [row for row in trainer.state.log_history if "loss" in row]
    left = {"seen": trainer.seen, "weights": weights, "logged": logged, "mean": mean.weights}
    torch.save(left, f"{folder}/rank-{rank}.pt")
    # Left to the interpreter's exit, gloo's threads are now and then torn down while they run, which aborts.
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "dynamic")
