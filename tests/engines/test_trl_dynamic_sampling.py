"""Dynamic sampling: groups with one outcome are replaced by groups with both, within bounds, alike on a rerun."""

import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from tiny import even_sum, even_sum_of_even_prompts, recomputed, tiny_dataset, tiny_trainer, unmoved

from entroshape.engines.dynamic_sampling import chosen_groups, refill_indices
from entroshape.engines.trl.batch import join_rows, take_rows

pytestmark = pytest.mark.slow


def refilling(tmp_path, records, reward=even_sum_of_even_prompts, **options):
    settings = {"dynamic_sampling": True, "max_refills": 20, "max_steps": 3, "method": "gtpo", **options}
    return tiny_trainer(tmp_path, reward=reward, records=records, **settings)


def completions_table(folder):
    """The columns of the table that TRL writes of a step's completions."""
    (file,) = (folder / "completions").iterdir()
    return pq.read_table(file).to_pydict()


def test_every_group_that_is_trained_on_has_both_outcomes(tmp_path):
    records = []
    trainer = refilling(tmp_path, records)
    trainer.train()
    for record in records:
        assert len(record.rewards) == 16
        for group in record.group.unique():
            assert 0 < record.rewards[record.group == group].mean() < 1
        assert not record.credit.gated.any()
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert sum(row["entroshape/refills"] for row in logged) > 0
    assert all(row["entroshape/unfilled_groups"] == 0 for row in logged)


def test_each_row_keeps_its_prompt_completion_tokens_and_reward_together(tmp_path):
    records = []
    trainer = refilling(tmp_path, records)
    trainer.train()
    for record in records:
        numbers = [int(prompt.split()[0]) for prompt in record.prompts]
        assert record.rewards.tolist() == even_sum_of_even_prompts(None, record.completions, numbers)
        texts = [
            trainer.processing_class.decode(ids[mask], skip_special_tokens=True)
            for ids, mask in zip(record.token_ids, record.mask, strict=True)
        ]
        assert texts == record.completions
        for group in record.group.unique().tolist():
            assert len({record.prompts[i] for i in (record.group == group).nonzero()[:, 0].tolist()}) == 1


def test_refilled_rows_carry_the_entropies_and_prompts_of_their_own_round(tmp_path):
    options = {"reward": even_sum_of_even_prompts, "dynamic_sampling": True, "max_refills": 20}
    trainer, (record,) = unmoved(tmp_path, **options)
    assert trainer.state.log_history[0]["entroshape/refills"] > 0
    own = recomputed(trainer, record)[1]
    torch.testing.assert_close(record.entropies[record.mask], own[record.mask], atol=1e-4, rtol=0)
    (batch,) = trainer.micro_batches
    texts = [
        trainer.processing_class.batch_decode(batch[f"{name}_ids"], skip_special_tokens=True)
        for name in ("prompt", "completion")
    ]
    assert sorted(zip(*texts, strict=True)) == sorted(zip(record.prompts, record.completions, strict=True))


def test_what_cannot_be_filled_is_gated_warned_of_and_counted(tmp_path):
    records = []
    trainer = refilling(
        tmp_path, records, reward=lambda prompts, completions, **_: [0.0] * len(completions), max_refills=2, max_steps=1
    )
    with pytest.warns(UserWarning, match="max_refills=2"):
        trainer.train()
    logged = trainer.state.log_history[0]
    assert logged["entroshape/refills"] == 2
    assert logged["entroshape/unfilled_groups"] == logged["entroshape/gated_groups"] == 4
    assert records[0].credit.gated.all()
    assert not records[0].credit.advantages.any()


def test_without_dynamic_sampling_one_outcome_groups_are_gated_and_counted(tmp_path):
    records = []
    trainer = refilling(tmp_path, records, dynamic_sampling=False, max_steps=1)
    trainer.train()
    silent = sum(records[0].rewards[records[0].group == g].unique().numel() == 1 for g in range(4))
    assert trainer.state.log_history[0]["entroshape/gated_groups"] == silent > 0
    assert "entroshape/refills" not in trainer.state.log_history[0]


def test_a_rerun_refills_with_the_same_prompts(tmp_path):
    runs = []
    for _ in range(2):
        records = []
        refilling(tmp_path, records).train()
        runs.append([record.prompts for record in records])
    assert runs[0] == runs[1]


def test_refill_prompts_are_drawn_from_seed_step_and_round_alone(tmp_path):
    rounds = []

    def nothing(prompts, completions, **columns):
        rounds.append(prompts[::4])
        return [0.0] * len(completions)

    trainer = refilling(tmp_path, None, reward=nothing, max_refills=2, max_steps=2, seed=5)
    with pytest.warns(UserWarning, match="max_refills"):
        trainer.train()
    prompts = trainer.train_dataset["prompt"]
    assert len(rounds) == 6
    for step in range(2):
        for refill in (1, 2):
            drawn = refill_indices(len(prompts), 4, 4, 1, 4, key=f"5/{step}/{refill}")
            assert rounds[3 * step + refill] == [prompts[i] for i in drawn]


def test_two_generations_in_one_optimizer_step_refill_with_prompts_of_their_own(tmp_path):
    rounds = []

    def nothing(prompts, completions, **columns):
        rounds.append(prompts[::4])
        return [0.0] * len(completions)

    geometry = {"gradient_accumulation_steps": 2, "steps_per_generation": 1}
    with pytest.warns(UserWarning, match="max_refills"):
        refilling(tmp_path, None, reward=nothing, max_refills=1, max_steps=1, **geometry).train()
    assert len(rounds) == 4
    assert rounds[1] != rounds[3]


def test_a_group_whose_failures_are_all_masked_out_is_refilled(tmp_path):
    """Cut responses fail and are masked out: what is left of their group is all right and teaches nothing."""

    def ended(prompts, completions, completion_ids, **columns):
        return [
            float(ids[-1] == 2) * good for ids, good in zip(completion_ids, even_sum(None, completions), strict=True)
        ]

    records = []
    options = {"mask_truncated_completions": True, "max_completion_length": 20, "max_steps": 1, "max_refills": 20}
    refilling(tmp_path, records, reward=ended, **options).train()
    record = records[0]
    assert not record.credit.gated.any()
    for group in record.group.unique():
        live = (record.group == group) & record.mask.any(dim=1)
        assert 0 < record.rewards[live].mean() < 1


def test_responses_without_a_reward_do_not_make_a_group_informative(tmp_path):
    def half_blind(prompts, completions, first, **columns):
        judged = zip(first, even_sum(None, completions), strict=True)
        return [None if number % 2 and not good else good for number, good in judged]

    records = []
    refilling(tmp_path, records, reward=half_blind, max_steps=1).train()
    assert all(int(prompt.split()[0]) % 2 == 0 for prompt in records[0].prompts)


def test_columns_that_a_reward_function_logs_stay_with_their_rows(tmp_path):
    def logging(prompts, completions, first, log_extra, **columns):
        log_extra("answer", list(map("{}: {}".format, prompts, completions)))
        if len(completions) == 16:  # a column of the first round alone
            log_extra("first", first)
        return even_sum_of_even_prompts(prompts, completions, first)

    records = []
    trainer = refilling(tmp_path, records, reward=logging, max_steps=1, log_completions=True)
    trainer.train()
    assert trainer.state.log_history[0]["entroshape/refills"] > 0
    record, table = records[0], completions_table(tmp_path)
    assert table["answer"] == list(map("{}: {}".format, record.prompts, record.completions))
    assert len(table["first"]) == 16
    assert None in table["first"]
    for number, prompt in zip(table["first"], record.prompts, strict=True):
        assert number in (None, int(prompt.split()[0]))


def test_a_logged_column_of_the_wrong_length_is_named(tmp_path):
    def logging(prompts, completions, log_extra, **columns):
        log_extra("answer", ["x"])
        return even_sum(prompts, completions)

    with pytest.raises(ValueError, match=r"log_extra\('answer', ...\).*16; got 1"):
        refilling(tmp_path, [], reward=logging).train()


def test_an_iterable_dataset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dynamic_sampling"):
        tiny_trainer(tmp_path, dynamic_sampling=True, dataset=tiny_dataset().to_iterable_dataset())


def test_images_are_refused(tmp_path):
    dataset = Dataset.from_dict({"prompt": ["1 2"] * 4, "image": ["x"] * 4})
    with pytest.raises(ValueError, match="dynamic_sampling"):
        tiny_trainer(tmp_path, dynamic_sampling=True, dataset=dataset)


@given(
    size=st.integers(1, 50),
    missing=st.integers(1, 16),
    group=st.integers(1, 16),
    ranks=st.integers(1, 8),
    key=st.text(max_size=5),
)
def test_refills_split_evenly_over_ranks_and_depend_on_the_key_alone(size, missing, group, ranks, key):
    limit = 16 * ranks  # a whole batch always splits evenly
    drawn = refill_indices(size, missing, group, ranks, limit, key)
    assert drawn == refill_indices(size, missing, group, ranks, limit, key)
    assert len(drawn) * group % ranks == 0
    assert min(missing, limit) <= len(drawn) <= limit
    assert all(0 <= i < size for i in drawn)
    assert len(set(drawn)) == len(drawn) or len(drawn) > size


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 12))
def test_informative_groups_come_first_and_whole(informative, wanted):
    wanted = min(wanted, len(informative))
    group = torch.arange(len(informative)).repeat_interleave(3)
    index, found = chosen_groups(group, torch.tensor(informative).repeat_interleave(3), wanted)
    taken = group[index].view(-1, 3)
    assert len(taken) == wanted
    assert bool((taken == taken[:, :1]).all())
    assert found == min(sum(informative), wanted) == sum(informative[g] for g in taken[:, 0].tolist())


def test_joined_rounds_keep_left_and_right_padding_and_taking_trims_it():
    ones = torch.ones
    first = {
        "prompt_ids": torch.tensor([[5, 6]]),
        "prompt_mask": ones(1, 2),
        "completion_ids": torch.tensor([[7]]),
        "completion_mask": ones(1, 1),
        "ratio": ones(1, 1),
    }
    second = {
        "prompt_ids": torch.tensor([[8]]),
        "prompt_mask": ones(1, 1),
        "completion_ids": torch.tensor([[9, 4]]),
        "completion_mask": ones(1, 2),
        "ratio": ones(1, 1),
    }
    joined = join_rows([first, second], pad_token_id=0)
    assert joined["prompt_ids"].tolist() == [[5, 6], [0, 8]]
    assert joined["completion_ids"].tolist() == [[7, 0], [9, 4]]
    assert joined["ratio"].shape == (2, 1)
    for i, original in enumerate((first, second)):
        taken = take_rows(joined, torch.tensor([i]))
        assert {name: value.tolist() for name, value in taken.items()} == {n: v.tolist() for n, v in original.items()}


def test_figures_of_the_policy_are_over_everything_that_was_sampled(tmp_path):
    seen = []

    def counting(prompts, completions, first, **columns):
        rewards = even_sum_of_even_prompts(prompts, completions, first)
        seen.extend(rewards)
        return rewards

    trainer = refilling(tmp_path, [], reward=counting, max_steps=1)
    trainer.train()
    assert len(seen) > 16
    logged = trainer.state.log_history[0]
    assert logged["entroshape/success_rate"] == pytest.approx(sum(seen) / len(seen))


def test_the_completions_table_shows_the_rows_that_were_trained_on(tmp_path):
    records = []
    trainer = refilling(tmp_path, records, max_steps=1, log_completions=True)
    trainer.train()
    assert trainer.state.log_history[0]["entroshape/refills"] > 0
    (record,), table = records, completions_table(tmp_path)
    assert table["prompt"] == record.prompts
    assert table["completion"] == record.completions
    assert table["even_sum_of_even_prompts"] == record.rewards.tolist()
    means = record.credit.advantages.sum(dim=1) / record.mask.sum(dim=1)
    assert table["advantage"] == pytest.approx(means.tolist())
