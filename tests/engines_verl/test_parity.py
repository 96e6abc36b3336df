"""The same rollouts through TRL's engine, verl's engine and the bare functions: the same credit, the same gradient."""

import pytest
import torch
from test_estimators import estimated
from tiny import METHODS, rows, tiny_trainer
from verl import DataProto
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig, PolicyLossConfig
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import left_right_2_no_padding

from entroshape.credit.entropy import logprob_and_entropy
from entroshape.engines.verl.options import AGGREGATIONS, ESTIMATORS, loss_mode
from entroshape.methods import build_method
from entroshape.rollouts import Rollouts

NAMES = {method: estimator for estimator, method in ESTIMATORS.items()}


def direction(model, loss):
    model.zero_grad()
    loss.backward()
    gradient = torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])
    assert gradient.abs().max() > 0
    return gradient


def policy_logprobs(model, output):
    """``[B, T]`` by transformers alone."""
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    logits = model(input_ids=ids, attention_mask=mask).logits
    start = output["prompt_ids"].shape[1]
    return logprob_and_entropy(logits[:, start - 1 : -1], output["completion_ids"])[0]


def verl_loss(method, output, logprobs, advantages, mask):
    """verl's own ``ppo_loss`` with our policy loss inside, over the rows as verl holds them: without padding."""
    surrogate = method.surrogate
    config = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=4,
        ppo_micro_batch_size_per_gpu=len(mask),
        clip_ratio_low=surrogate.epsilon_low,
        clip_ratio_high=surrogate.epsilon_high,
        loss_agg_mode=AGGREGATIONS[surrogate.aggregation],
        policy_loss=PolicyLossConfig(loss_mode=loss_mode(surrogate.ratio)),
    )
    attention = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    batch = DataProto.from_dict(
        tensors={
            "prompts": output["prompt_ids"],
            "responses": output["completion_ids"],
            "input_ids": torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1),
            "attention_mask": attention,
            "position_ids": (attention.cumsum(-1) - 1).clamp(min=0),
            "response_mask": mask.long(),
            "old_log_probs": output["old_per_token_logps"],
            "advantages": advantages,
        }
    )
    data = left_right_2_no_padding(batch.to_tensordict())
    tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=int(mask.sum()), global_batch_size=len(mask))
    start = output["prompt_ids"].shape[1]
    # A model's output has a figure for every token of a row, the one for the next token, end to end.
    figures = []
    for row in range(len(mask)):
        prompt, response = int(output["prompt_mask"][row].sum()), int(output["completion_mask"][row].sum())
        figures.append(torch.cat([logprobs.new_zeros(prompt - 1), logprobs[row, :response], logprobs.new_zeros(1)]))
        assert int(attention[row, :start].sum()) == prompt
    loss, _ = ppo_loss(config, {"log_probs": torch.cat(figures)}, data)
    return loss


@pytest.mark.parametrize("name", METHODS)
def test_trl_verl_and_the_bare_functions_agree(tmp_path, name):
    records = []
    trainer = tiny_trainer(tmp_path, name, records=records, entropy_source="sampler")
    output = trainer._generate_and_score_completions(rows(trainer))
    (record,) = records
    method, mask = trainer.method, record.mask

    rollouts = Rollouts(rewards=record.rewards, entropies=record.entropies, mask=mask, group=record.group)
    bare = build_method(name.split()[0], {"ratio": "sequence_geometric"} if "geometric" in name else {}).assign(
        rollouts
    )
    bare_advantages = bare.advantages if bare.advantages.ndim == 2 else bare.advantages[:, None] * mask
    theirs = output["advantages"] if output["advantages"].ndim == 2 else output["advantages"][:, None] * mask
    data = {
        "index": [f"prompt{int(group)}" for group in record.group],
        "mask": mask,
        "real": torch.ones(len(mask), dtype=torch.bool),
        "rewards": record.rewards,
        "entropies": record.entropies,
        "logprobs": torch.zeros(mask.shape),
    }
    clusters = estimated(data, NAMES[method.name])
    torch.testing.assert_close(theirs, bare_advantages, atol=1e-6, rtol=0)
    torch.testing.assert_close(clusters, bare_advantages, atol=1e-6, rtol=0)

    torch.manual_seed(1)
    logprobs = policy_logprobs(trainer.model, output)
    output["old_per_token_logps"] = logprobs.detach() + 0.3 * torch.randn_like(logprobs)
    trainer.current_gradient_accumulation_steps = 1
    gradients = {
        "trl": direction(trainer.model, trainer._compute_loss(trainer.model, output)),
        "verl": direction(
            trainer.model,
            verl_loss(method, output, policy_logprobs(trainer.model, output), clusters, bare.loss_mask),
        ),
        "bare": direction(
            trainer.model,
            method.surrogate(
                policy_logprobs(trainer.model, output),
                output["old_per_token_logps"],
                bare.advantages,
                bare.loss_mask,
            )[0],
        ),
    }
    for engine in ("trl", "verl"):
        assert torch.cosine_similarity(gradients[engine], gradients["bare"], dim=0) > 0.9999
        assert float(gradients[engine].norm() / gradients["bare"].norm()) == pytest.approx(1, abs=1e-3)
