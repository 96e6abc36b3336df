"""Whole small runs: metrics, rewards of every kind, evaluation, checkpoints."""

import math

import pytest
import torch
from datasets import Dataset
from tiny import even_sum, tiny_dataset, tiny_trainer
from transformers import AutoModelForCausalLM, AutoTokenizer

from entroshape.tasks import checked_reward

pytestmark = pytest.mark.slow


def logged(trainer):
    return [row for row in trainer.state.log_history if "loss" in row]


METHODS = ["gtpo", "grpo_s", "grpo", "dapo", "dapo_forking", "gtpo_random", "gtpo_uniform", "opo", "grpo_s_random"]


@pytest.mark.parametrize("method", METHODS)
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


def test_what_on_rollouts_returns_is_logged_with_the_metrics_of_the_step(tmp_path):
    trainer = tiny_trainer(tmp_path, max_steps=2)
    trainer._on_rollouts = lambda record: {"kind/success/share/number": record.step / 10}
    trainer.train()
    assert [row["entroshape/kind/success/share/number"] for row in logged(trainer)] == pytest.approx([0.1, 0.2])


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


def test_logged_figures_of_the_credit_are_those_of_the_rollouts(tmp_path):
    records = []
    trainer = tiny_trainer(tmp_path, records=records, method_options={"normalization": "within"})
    trainer.train()
    (row,), (record,) = logged(trainer), records
    credit, live = record.credit, ~record.credit.gated[:, None] & record.mask
    success, failure = credit.success[:, None], ~credit.success[:, None]
    spreads = [credit.shaped_rewards[record.mask & outcome].std() for outcome in (success, failure)]
    expected = {
        "negative_success_share": (credit.advantages[live & success] < 0).float().mean(),
        "positive_failure_share": (credit.advantages[live & failure] > 0).float().mean(),
        "shaped_spread": sum(spreads) / 2,
        "gated_groups": record.group[credit.gated].unique().numel(),
    }
    assert expected["negative_success_share"] > 0
    for name, value in expected.items():
        assert row[f"entroshape/{name}"] == pytest.approx(float(value), rel=1e-5), name


@pytest.mark.parametrize("masked", [False, True])
def test_lengths_and_cuts_are_those_that_the_policy_wrote(tmp_path, masked):
    """Also where cut responses are masked out, so that their rows hold no token any more."""
    trainer = tiny_trainer(tmp_path, mask_truncated_completions=masked, max_completion_length=12)
    trainer.train()
    (row,) = logged(trainer)
    assert 0 < row["entroshape/share_cut"] < 1
    assert row["entroshape/share_cut"] == pytest.approx(row["completions/clipped_ratio"])
    assert row["entroshape/completion_length"] == pytest.approx(row["completions/mean_length"])


def test_evaluation_in_between_counts_for_no_phase_of_training(tmp_path):
    trainer = tiny_trainer(tmp_path, per_device_eval_batch_size=8)
    trainer.train()
    trainer.evaluate(eval_dataset=tiny_dataset(4))
    assert not trainer._clock.seconds


def test_the_optimizers_step_counts_as_updating(tmp_path):
    trainer = tiny_trainer(tmp_path)
    calls = []

    def step(*_):
        calls.append(trainer._clock.seconds["updating"])

    trainer.create_optimizer()
    trainer.optimizer.register_step_post_hook(step)
    trainer.train()
    (during,) = calls
    assert during < logged(trainer)[0]["entroshape/seconds_updating"]


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
        Rollouts(
            rewards=record.rewards[known],
            entropies=record.entropies[known],
            mask=record.mask[known],
            group=record.group[known],
        )
    )
    assert torch.equal(record.credit.advantages[known], alone)


def test_a_step_in_which_nothing_could_be_judged_updates_nothing(tmp_path):
    trainer = tiny_trainer(
        tmp_path, reward=lambda prompts, completions, **_: [None] * len(completions), weight_decay=0.0
    )
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    assert all(torch.equal(p, b) for p, b in zip(trainer.model.parameters(), before, strict=True))
    assert logged(trainer)[0]["entroshape/gated_groups"] == 4


def test_a_reward_function_that_abstains_leaves_the_outcome_to_the_others(tmp_path):
    def abstains(prompts, completions, **columns):
        return [None if i % 2 else 0.25 for i in range(len(completions))]

    records = []
    tiny_trainer(tmp_path, records=records, reward=[even_sum, abstains]).train()
    expected = [r + (0 if i % 2 else 0.25) for i, r in enumerate(even_sum(None, records[0].completions))]
    assert records[0].rewards.tolist() == expected


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


@pytest.mark.parametrize("method", ["gtpo", "grpo_s", "grpo", "dapo_forking"])
def test_truncated_completions_can_be_masked_out(tmp_path, method):
    records = []
    trainer = tiny_trainer(tmp_path, method, records=records, mask_truncated_completions=True, max_completion_length=4)
    trainer.train()
    assert (records[0].mask.sum(dim=1) == 0).any()
    assert records[0].credit.advantages.isfinite().all()
    assert all(math.isfinite(value) for value in logged(trainer)[0].values() if isinstance(value, float))


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_reward_function_that_clears_its_arguments_changes_nothing(tmp_path, dynamic):
    def clearing(prompts, completions, completion_ids, first, **columns):
        rewards = even_sum(prompts, completions)
        for argument in (*completion_ids, prompts, completions, completion_ids, first):
            argument.clear()
        return rewards

    weights = []
    for reward in ([even_sum, even_sum], [clearing, even_sum]):
        trainer = tiny_trainer(tmp_path, reward=reward, max_steps=2, dynamic_sampling=dynamic)
        trainer.train()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    assert torch.equal(*weights)


def test_a_reward_function_that_changes_a_conversation_changes_nothing(tmp_path):
    seen = []

    def changing(prompts, completions, **columns):
        texts = [completion[0].pop("content") for completion in completions]
        prompts[0][0]["content"] = "changed"
        return even_sum(None, texts)

    def reading(prompts, completions, **columns):
        seen.append(prompts[0][0]["content"])
        return even_sum(None, [completion[0]["content"] for completion in completions])

    prompts = [[{"role": "user", "content": text}] for text in tiny_dataset()["prompt"]]
    trainer = tiny_trainer(
        tmp_path, reward=[changing, reading], dataset=Dataset.from_dict({"prompt": prompts}), chat_template_kwargs={}
    )
    trainer.processing_class.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    trainer.train()
    assert seen != ["changed"]


@pytest.mark.parametrize(
    ("geometry", "batches"),
    [
        ({"per_device_train_batch_size": 8, "steps_per_generation": 2, "max_steps": 6}, 3),
        ({"num_iterations": 2, "max_steps": 4}, 2),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 1, "max_steps": 2}, 4),
        ({"gradient_accumulation_steps": 3, "steps_per_generation": 2, "max_steps": 2}, 3),
    ],
    ids=["several updates per batch", "iterations", "several batches per update", "batches across updates"],
)
def test_records_and_failing_rewards_count_sampled_batches_from_one(tmp_path, geometry, batches):
    records = []
    tiny_trainer(tmp_path, records=records, **geometry).train()
    assert [record.step for record in records] == list(range(1, batches + 1))
    calls = []

    def fails_in_the_last(prompts, completions, **columns):
        calls.append(1)
        return even_sum(prompts, completions) if len(calls) < batches else 1 / 0

    with pytest.raises(RuntimeError, match=rf"scoring failed at step {batches}:"):
        tiny_trainer(tmp_path, reward=fails_in_the_last, **geometry).train()


def test_a_resumed_run_counts_its_steps_from_where_it_was(tmp_path):
    options = {"per_device_train_batch_size": 8, "steps_per_generation": 2, "max_steps": 6}
    tiny_trainer(tmp_path, save_strategy="steps", save_steps=4, **options).train()
    records = []
    trainer = tiny_trainer(tmp_path, records=records, **options)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert [(record.step, record.update) for record in records] == [(3, 4)]


def wrong_count(prompts, completions, **columns):
    return [1.0]


def raising(prompts, completions, **columns):
    return 1 / 0


async def raising_later(prompts, completions, **columns):
    return 1 / 0


def infinite(prompts, completions, **columns):
    return [math.inf] * len(completions)


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (wrong_count, "'wrong_count' returned 1 rewards"),
        (raising, "reward function raising raised ZeroDivisionError"),
        (raising_later, "reward function raising_later raised ZeroDivisionError"),
        (checked_reward(raising, "mine:f"), "step 1: reward function 'mine:f' raised ZeroDivisionError"),
        (checked_reward(wrong_count, "mine:f"), "step 1: reward function 'mine:f' must return one number"),
    ],
)
def test_a_failing_reward_function_is_named_among_several_with_the_step(tmp_path, reward, words):
    with pytest.raises(RuntimeError, match=rf"(?=.*step 1:).*{words}"):
        tiny_trainer(tmp_path, reward=[even_sum, reward]).train()


@pytest.mark.parametrize("dynamic", [False, True])
def test_an_infinite_reward_is_refused_with_its_function_and_step(tmp_path, dynamic):
    trainer = tiny_trainer(tmp_path, reward=[even_sum, infinite], dynamic_sampling=dynamic)
    with pytest.raises(ValueError, match=r"rewards must be finite.*step 1 from infinite"):
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
    trainer = tiny_trainer(tmp_path)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for a, b in zip(trainer.model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").eos_token_id == 2
