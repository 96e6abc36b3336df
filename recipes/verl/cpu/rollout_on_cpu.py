"""A rollout for verl that samples with transformers on a CPU, one request at a time. Only for tests."""

import os
from collections import Counter

import ray
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput


def server_name(rank):
    return f"transformers_cpu_{rank}"


class Server:
    """Holds the weights and samples."""

    def __init__(self, path, limit, seed):
        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.end = AutoTokenizer.from_pretrained(path).eos_token_id
        self.limit, self.seed = limit, seed
        self.step, self.asked = 0, Counter()

    def update(self, weights, step):
        self.model.load_state_dict(weights)
        self.step, self.asked = step or 0, Counter()

    def draws(self, prompt_ids):
        """The random numbers of one request: the same in whatever order requests come, and after a resume."""
        prompt = tuple(map(int, prompt_ids))
        self.asked[prompt] += 1
        return torch.Generator().manual_seed(hash((self.seed, self.step, self.asked[prompt], *prompt)))

    @torch.no_grad()
    def generate(self, request_id, prompt_ids, sampling_params, **ignored):
        temperature = sampling_params.get("temperature", 1.0)
        ids, past, tokens, logprobs = torch.tensor([list(prompt_ids)]), None, [], []
        generator = self.draws(prompt_ids)
        for _ in range(sampling_params.get("max_tokens") or self.limit):
            output = self.model(ids, past_key_values=past, use_cache=True)
            past = output.past_key_values
            log_p = (output.logits[0, -1].float() / (temperature or 1.0)).log_softmax(-1)
            token = int(torch.multinomial(log_p.exp(), 1, generator=generator)) if temperature else int(log_p.argmax())
            tokens.append(token)
            logprobs.append(float(log_p[token]))
            ids = torch.tensor([[token]])
            if token == self.end:
                break
        return TokenOutput(
            token_ids=tokens,
            log_probs=logprobs if sampling_params.get("logprobs") else None,
            stop_reason="completed",
            num_preempted=0,
            extra_fields={"global_steps": self.step},
        )

    def nothing(self, *args, **kwargs):
        pass

    wake_up = sleep = abort_all_requests = resume_generation = nothing
    clear_kv_cache = release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing


class TransformersReplica(RolloutReplica):
    async def launch_servers(self):
        path = self.model_config.path if hasattr(self.model_config, "path") else self.model_config["path"]
        name = server_name(self.replica_rank)
        server = ray.remote(Server).options(name=name, num_cpus=0)
        self._server_handle = server.remote(path, self.config.response_length, self.replica_rank)
        self._server_address, self.servers = name, [self._server_handle]


class TransformersAdapter(BaseRollout):
    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, wire_format="named_tensors", global_steps=None, **ignored):
        copied = {name: value.detach().to("cpu", torch.float32).clone() for name, value in weights}
        await ray.get_actor(server_name(int(os.environ["RANK"]))).update.remote(copied, global_steps)
