"""A replay buffer for verl that gives a batch in the order of its text, for tests that compare two runs.

verl's own gives responses in the order in which they were finished, which is another one in each run.
"""

import transfer_queue as tq
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer


class InOrder(ReplayBuffer):
    def _materialize_batch(self, partition_id, *selected):
        batch = super()._materialize_batch(partition_id, *selected)
        data = tq.kv_batch_get(keys=batch.keys, partition_id=partition_id, select_fields=["prompts", "responses"])
        text = [
            (prompt.tolist(), response.tolist())
            for prompt, response in zip(data["prompts"].unbind(), data["responses"].unbind(), strict=True)
        ]
        batch.reorder(sorted(range(len(text)), key=text.__getitem__))
        return batch
