"""Whole small runs: metrics, rewards of every kind, evaluation, checkpoints."""

import math

import pytest
import torch
from datasets import Dataset
from tiny import even_sum, rows, tiny_dataset, tiny_tokenizer, tiny_trainer


def logged(trainer):
    return [row for row in trainer.state.log_history if "loss" in row]


@pytest.mark.parametrize("method", ["gtpo", "grpo_s", "grpo", "dapo", "dapo_forking", "gtpo_random", "gtpo_uniform"])
def test_every_method_trains_and_logs_finite_figures(tmp_path, method):
    trainer = tiny_trainer(tmp_path, method, max_steps=3, dynamic_sampling=method != "grpo", max_refills=1)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    assert any(not torch.equal(p, b) for p, b in zip(trainer.model.parameters(), before, strict=True))
    wanted = {
        "reward", "success_rate", "entropy", "entropy_success", "entropy_failure", "completion_length", "share_cut",
        "gated_groups", "shaped_spread", "negative_success_share", "positive_failure_share", "seconds_sampling",
        "seconds_scoring", "seconds_shaping", "seconds_updating", "tokens_per_second",
    }  # fmt: skip
    for row in logged(trainer):
        assert {f"entroshape/{name}" for name in wanted} <= set(row)
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))


def test_logged_figures_are_those_of_the_rollouts(tmp_path):
    records = []
    trainer = tiny_trainer(tmp_path, records=records)
    trainer.train()
    (row,), (record,) = logged(trainer), records
    success = record.rewards > 0.5
    expected = {
        "reward": record.rewards.mean(),
        "success_rate": success.float().mean(),
        "entropy": record.entropies[record.mask].mean(),
        "entropy_success": record.entropies[record.mask & success[:, None]].mean(),
        "entropy_failure": record.entropies[record.mask & ~success[:, None]].mean(),
        "completion_length": record.mask.sum(dim=1).float().mean(),
        "share_cut": (record.token_ids.gather(1, record.mask.sum(1, keepdim=True) - 1) > 2).float().mean(),
    }
    for name, value in expected.items():
        assert row[f"entroshape/{name}"] == pytest.approx(value.item(), rel=1e-5), name


def test_rows_that_no_reward_function_can_judge_get_no_credit_and_disturb_nobody(tmp_path):
    def sometimes(prompts, completions, **columns):
        return [None if i % 5 == 0 else reward for i, reward in enumerate(even_sum(prompts, completions))]

    records = []
    trainer = tiny_trainer(tmp_path, records=records, reward=sometimes)
    trainer.train()
    record = records[0]
    unknown = record.rewards.isnan()
    assert unknown.sum() == 4
    assert not record.credit.advantages[unknown].any()
    assert record.credit.gated[unknown].all()

    from entroshape import GTPO, Rollouts

    known = ~unknown
    alone = GTPO().advantages(
        Rollouts(record.rewards[known], record.entropies[known], record.mask[known], record.group[known])
    )
    assert torch.equal(record.credit.advantages[known], alone)


def test_several_reward_functions_are_weighted_into_the_outcome(tmp_path):
    def never(prompts, completions, **columns):
        return [0.0] * len(completions)

    records = []
    trainer = tiny_trainer(tmp_path, records=records, reward=[even_sum, never], reward_weights=[2.0, 1.0])
    trainer.train()
    assert records[0].rewards.tolist() == [2 * reward for reward in even_sum(None, records[0].completions)]


def test_conversations_are_trained_on(tmp_path):
    template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    prompts = [[{"role": "user", "content": text}] for text in tiny_dataset()["prompt"]]
    trainer = tiny_trainer(
        tmp_path,
        reward=lambda prompts, completions, **_: even_sum(None, [c[0]["content"] for c in completions]),
        dataset=Dataset.from_dict({"prompt": prompts}),
        chat_template_kwargs={},
    )
    trainer.processing_class.chat_template = template
    trainer.train()
    assert logged(trainer)


def test_truncated_completions_can_be_masked_out(tmp_path):
    records = []
    trainer = tiny_trainer(tmp_path, records=records, mask_truncated_completions=True, max_completion_length=4)
    trainer.train()
    assert (records[0].mask.sum(dim=1) == 0).any()
    assert records[0].credit.advantages.isfinite().all()
    assert all(math.isfinite(value) for value in logged(trainer)[0].values() if isinstance(value, float))


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (lambda prompts, completions, **_: [1.0], "returned 1 rewards"),
        (lambda prompts, completions, **_: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_failing_reward_function_is_named_with_the_step(tmp_path, reward, words):
    reward.__name__ = "my_reward"
    with pytest.raises(RuntimeError, match=rf"step 0.*my_reward.*{words}"):
        tiny_trainer(tmp_path, reward=reward).train()


def test_an_infinite_reward_is_refused(tmp_path):
    trainer = tiny_trainer(tmp_path, reward=lambda prompts, completions, **_: [math.inf] * len(completions))
    with pytest.raises(ValueError, match="rewards must be finite"):
        trainer.train()


def test_evaluation_is_trls_own(tmp_path):
    trainer = tiny_trainer(tmp_path, per_device_eval_batch_size=8)
    metrics = trainer.evaluate(eval_dataset=tiny_dataset(4))
    assert math.isfinite(metrics["eval_loss"])


def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path):
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "dynamic_sampling": True, "max_refills": 2}
    geometry = {"per_device_train_batch_size": 8, "steps_per_generation": 2, "logging_steps": 2}
    whole = tiny_trainer(tmp_path / "whole", **options, **geometry)
    whole.train()
    resumed = tiny_trainer(tmp_path / "resumed", **options, **geometry)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    timed = ("seconds", "tokens_per_second", "step_time")
    last = [{k: v for k, v in logged(t)[-1].items() if not any(word in k for word in timed)} for t in (whole, resumed)]
    assert last[0] == last[1]


def test_a_saved_model_carries_its_tokenizer_and_loads(tmp_path):
    from transformers import AutoModelForCausalLM

    trainer = tiny_trainer(tmp_path)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for a, b in zip(trainer.model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert tiny_tokenizer().eos_token_id == 2
    assert len(rows(trainer)) == 16
