"""Runs in vLLM's worker, only for tests: takes the trained weights on a CPU."""

import torch
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension


class CPUWorkerExtension(vLLMColocateWorkerExtension):
    """vLLM packs its linear layers on a CPU, so weights cannot be loaded bucket by bucket, as verl does."""

    def update_weights_from_ipc(self, peft_config=None, base_sync_done=False, use_shm=False):
        """Collects all buckets, then loads them."""
        weights = {}
        receiver = BucketedWeightReceiver(
            zmq_handle=self._get_zmq_handle(), device=torch.device("cpu"), use_shm=use_shm
        )
        receiver.receive_weights(
            on_bucket_received=lambda bucket, is_last: weights.update((name, value.clone()) for name, value in bucket)
        )
        self.model_runner.reload_weights(weights_iterator=iter(weights.items()))
