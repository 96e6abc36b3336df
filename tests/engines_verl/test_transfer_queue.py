"""The trainer mode's step of credit over a real Ray and a real TransferQueue, padding rows and all."""

import pytest
import ray
import torch
import transfer_queue as tq
from hydra import compose, initialize_config_module
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from entroshape.engines.verl.memory import initial
from entroshape.engines.verl.trainer import prepare
from entroshape.rollouts import Rollouts

LENGTHS = [3, 4, 5, 6, 3, 4, 6]  # one of eight rollouts has failed
PARTITION = "train"


@pytest.fixture(scope="module", autouse=True)
def queue():
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    tq.init(configured().transfer_queue)
    yield
    tq.close()
    ray.shutdown()


def configured(*overrides):
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(
            "ppo_trainer",
            overrides=[
                "algorithm.adv_estimator=gtpo",
                "actor_rollout_ref.rollout.n=4",
                "transfer_queue.enable=True",
                "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
                "transfer_queue.backend.SimpleStorage.total_storage_size=1000",
                *overrides,
            ],
        )


def put(name, *, acc=None, penalty=0.0):
    """Seven responses to two prompts in the queue, and padding rows up to a multiple of four, as verl makes them."""
    g = torch.Generator().manual_seed(0)
    keys, fields, tags = [], [], []
    for row, length in enumerate(LENGTHS):
        uid, session = f"{name}{row // 4}", row % 4
        scores = torch.zeros(length)
        scores[-1] = float(row % 2) + penalty
        keys.append(f"{uid}_{session}_0")
        tags.append({"status": "success", "prompt_len": 2, "response_len": length, "seq_len": length + 2})
        fields.append(
            {
                "uid": uid,
                "prompts": torch.ones(2, dtype=torch.long),
                "responses": torch.ones(length, dtype=torch.long),
                "input_ids": torch.ones(length + 2, dtype=torch.long),
                "position_ids": torch.arange(length + 2),
                "response_mask": torch.ones(length, dtype=torch.long),
                "loss_mask": torch.ones(length, dtype=torch.long),
                "rm_scores": scores,
                "rollout_log_probs": -torch.rand(length, generator=g),
                "extra_fields": {"reward_extra_info": {} if acc is None else {"acc": acc[row]}},
            }
        )
    tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=list_of_dict_to_tensordict(fields), tags=tags)
    batch = KVBatchMeta(keys=keys, tags=tags, partition_id=PARTITION)
    batch = upsample_batch_to_divisible_size(batch, 4, eos_token_id=2)
    assert len(batch.keys) == 8
    lengths = [*LENGTHS, 1]
    policy = [
        {"old_log_probs": -torch.rand(length, generator=g), "entropy": torch.rand(length, generator=g) + 0.1}
        for length in lengths
    ]
    batch = tq.kv_batch_put(keys=batch.keys, partition_id=PARTITION, fields=list_of_dict_to_tensordict(policy))
    order = torch.randperm(8, generator=g).tolist()  # balancing over ranks shuffles the rows
    batch.reorder(order)
    return batch, [policy[row] for row in order]


def stepped(batch, *overrides):
    trainer = object.__new__(get_trainer_cls("entroshape_sync"))
    trainer.config = configured(*overrides)
    trainer.plan = prepare(trainer.config)
    trainer.method_state = initial(trainer.plan.method)
    trainer.global_steps = 1
    metrics = {}
    trainer._compute_advantage(batch, metrics)
    return trainer.plan.method, metrics


def fetched(batch, *names):
    data = tq.kv_batch_get(keys=batch.keys, partition_id=PARTITION, select_fields=list(names))
    return [data[name].unbind() for name in names]


def expected(batch, policy, method, rewards=None):
    """The method's credit of the responses alone, row by row of the batch."""
    real = [row for row, tag in enumerate(batch.tags) if not tag.get("is_padding", False)]
    uids = [batch.keys[row].rsplit("_", 2)[0] for row in real]
    sessions = [int(batch.keys[row].rsplit("_", 2)[1]) for row in real]
    mask = torch.zeros(len(real), 6, dtype=torch.bool)
    entropies, logprobs = torch.zeros(len(real), 6), torch.zeros(len(real), 6)
    for place, row in enumerate(real):
        length = len(policy[row]["entropy"])
        mask[place, :length] = True
        entropies[place, :length] = policy[row]["entropy"]
        logprobs[place, :length] = policy[row]["old_log_probs"]
    if rewards is None:
        rewards = [float(session % 2) for session in sessions]
    group = torch.tensor([uids.index(uid) for uid in uids])
    rollouts = Rollouts(rewards=torch.tensor(rewards), entropies=entropies, mask=mask, group=group, logprobs=logprobs)
    return real, method.assign(rollouts)


@pytest.mark.parametrize("estimator", ["gtpo", "grpo_s", "entroshape_grpo", "gtpo_surprisal"])
def test_the_credit_of_a_step_is_the_methods_and_padding_rows_get_none(estimator):
    batch, policy = put(f"credit{estimator}")
    method, metrics = stepped(batch, f"algorithm.adv_estimator={estimator}")
    (advantages,) = fetched(batch, "advantages")
    real, credit = expected(batch, policy, method)
    for row in range(8):
        if row in real:
            values = credit.advantages[real.index(row)]
            wanted = values[: len(advantages[row])] if values.ndim else values.expand(len(advantages[row]))
            torch.testing.assert_close(advantages[row], wanted)
        else:
            assert advantages[row].abs().sum() == 0
    assert metrics["entroshape/success_rate"] == pytest.approx(3 / 7)
    assert metrics["entroshape/gated_groups"] == 0
    live = torch.cat([policy[row]["entropy"] for row in real]).mean()
    assert metrics["entroshape/entropy"] == pytest.approx(float(live))
    assert {"entroshape/entropy_success", "entroshape/entropy_failure"} <= set(metrics)


def test_the_loss_on_forking_tokens_and_its_token_count_run_over_these_alone():
    batch, policy = put("forking")
    method, _ = stepped(batch, "algorithm.adv_estimator=dapo_forking")
    response_mask, loss_mask = fetched(batch, "response_mask", "loss_mask")
    real, credit = expected(batch, policy, method)
    assert 0 < credit.loss_mask.sum() < sum(LENGTHS) / 2
    for row in range(8):
        wanted = torch.zeros(len(policy[row]["entropy"]), dtype=torch.long)
        if row in real:
            wanted = credit.loss_mask[real.index(row)][: len(wanted)].long()
        assert torch.equal(response_mask[row], wanted)
        assert torch.equal(loss_mask[row], wanted)


def test_methods_that_train_on_all_tokens_leave_the_masks_alone():
    batch, policy = put("masks")
    stepped(batch)
    for row, mask in enumerate(fetched(batch, "loss_mask")[0]):
        assert mask.sum() == (0 if batch.tags[row].get("is_padding") else len(policy[row]["entropy"]))


OVERLONG = (
    "reward.reward_manager.name=dapo",
    "+reward.reward_kwargs.max_resp_len=6",
    "+reward.reward_kwargs.overlong_buffer_cfg={enable:true,len:2,penalty_factor:1.0,log:false}",
)


def test_outcomes_are_the_raw_ones_where_punishments_have_changed_the_scores():
    """Scores are shifted by -0.9 here: by them alone, nothing would be right."""
    batch, policy = put("overlong", acc=[float(row % 2) for row in range(7)], penalty=-0.9)
    method, metrics = stepped(batch, *OVERLONG)
    assert metrics["entroshape/success_rate"] == pytest.approx(3 / 7)
    (advantages,) = fetched(batch, "advantages")
    real, credit = expected(batch, policy, method)
    for place, row in enumerate(real):
        torch.testing.assert_close(advantages[row], credit.advantages[place][: len(advantages[row])])


def test_an_outcome_that_the_reward_function_did_not_give_is_named():
    batch, _ = put("missing")
    with pytest.raises(ValueError, match=r"outcome_key='acc'.*nothing"):
        stepped(batch, "+algorithm.entroshape.outcome_key=acc")


def test_several_outputs_of_a_session_are_refused():
    batch, _ = put("several")
    real = next(row for row, tag in enumerate(batch.tags) if not tag.get("is_padding"))
    key = batch.keys[real]
    batch.keys[1 if real == 0 else 0] = f"{key.rsplit('_', 1)[0]}_1"
    with pytest.raises(ValueError, match="one output per session"):
        stepped(batch)


def test_a_step_without_entropies_is_refused():
    batch, _ = put("none")
    tq.kv_clear(keys=batch.keys, partition_id=PARTITION)
    fields = [{"rm_scores": torch.zeros(2), "old_log_probs": torch.zeros(2)} for _ in batch.keys]
    tq.kv_batch_put(keys=batch.keys, partition_id=PARTITION, fields=list_of_dict_to_tensordict(fields), tags=batch.tags)
    with pytest.raises(RuntimeError, match="is missing entropy"):
        stepped(batch)
