"""The model of Countdown with search: its training examples, its script, and what is bundled."""

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entroshape.assets import bundled_model_path
from entroshape.evaluation import evaluate
from entroshape.models import load_model
from entroshape.tasks import countdown_search as search
from entroshape.tasks import countdown_search_problems as problems
from entroshape.tasks import load_task
from entroshape.training.options import parse_train
from entroshape.training.run import train

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import make_search_model  # noqa: E402
import search_traces  # noqa: E402

MODEL = bundled_model_path("countdown-search")
KEYS = st.sampled_from(sorted(problems.solvable_problems()))


@given(KEYS, st.randoms(use_true_random=False), st.integers(7, 240))
def test_every_search_is_right_to_its_end_or_its_limit(key, rng, limit):
    tokens = search_traces.noisy_search(rng, *key, limit)
    reading = search.read_response(*key, tokens)
    assert reading.first_error is None
    assert 0 < len(tokens) <= limit
    if tokens[-1] == search.EOS:
        assert reading.ended
        assert reading.hit == (tokens[-2] == search.HIT)
    else:
        assert len(tokens) == limit


@given(KEYS, st.randoms(use_true_random=False), st.integers(7, 240), st.data())
def test_a_search_with_one_token_changed_is_wrong_there_or_another_right_search(key, rng, limit, data):
    tokens = list(search_traces.noisy_search(rng, *key, limit))
    place = data.draw(st.integers(0, len(tokens) - 1))
    kind = search.countdown_search_kinds("", tokens)[place]
    tokens[place] = data.draw(st.sampled_from([token for token in search.VOCABULARY if token != tokens[place]]))
    reading = search.read_response(*key, tokens)
    if kind in ("equals", "result", "check", "pool", "copy", "end"):
        assert reading == (False, place, False)
    else:
        assert reading.first_error is None or reading.first_error >= place


def test_the_searches_hit_more_often_the_easier_the_problem():
    rng, hits = random.Random(0), {}
    for level in problems.LEVELS:
        stream = problems.training_problems(level, 0)
        drawn = [next(stream) for _ in range(300)]
        traces = [search_traces.noisy_search(rng, problem.numbers, problem.target, 160) for problem in drawn]
        hits[level] = sum(search.HIT in trace for trace in traces) / len(traces)
    assert hits["easy"] > hits["middle"] > hits["hard"] > 0


def test_training_examples_are_never_held_out():
    rng = random.Random(0)
    for _ in range(500):
        problem, _ = make_search_model.random_example(rng, 40)
        assert problem.key not in problems.held_out_keys()


def test_batches_weigh_checks_and_results_carry_no_loss_on_prompts_and_padding_and_are_the_same_when_resumed():
    ids = make_search_model.build_tokenizer().get_vocab()
    names = {number: token for token, number in ids.items()}
    stream = make_search_model.batches(ids, 600, 100, 0, 0)
    drawn = [next(stream) for _ in range(20)]
    resumed = make_search_model.batches(ids, 600, 100, 0, 18)
    assert all(torch.equal(one, other) for one, other in zip(drawn[18], next(resumed), strict=True))
    for batch in drawn:
        assert (batch.labels[:, :8] == -100).all()
        carries = batch.labels != -100
        assert torch.equal(carries, batch.weights > 0)
        assert torch.equal(batch.labels[carries], batch.input_ids[carries])
        assert {names[token] for token in batch.labels[batch.checks].tolist()} <= set(search.CHECKS)
        assert set(batch.weights[batch.checks].tolist()) == {4.0}
        assert not (batch.input_ids[carries] == ids[search.PAD]).any()


@pytest.fixture(scope="module")
def bundled():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load_model("countdown-search")
    torch.set_num_threads(threads)


def test_bundled_model_is_what_its_card_says_and_adds_less_than_three_megabytes(bundled):
    model, tokenizer = bundled
    assert model.num_parameters() == 568_192
    assert "568,192 parameters" in (MODEL / "README.md").read_text()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 3_000_000
    settings = model.generation_config
    assert (settings.do_sample, settings.temperature, settings.top_p, settings.top_k) == (True, 1.0, 1.0, 0)
    assert settings.eos_token_id == tokenizer.eos_token_id
    assert settings.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == list(search.VOCABULARY)


def test_prompts_are_eight_tokens_with_bos_and_decode_to_themselves(bundled):
    _, tokenizer = bundled
    for problem in problems.held_out_problems("hard"):
        ids = tokenizer(problem.prompt)["input_ids"]
        assert (len(ids), ids[0]) == (8, tokenizer.bos_token_id)
        assert tokenizer.decode(ids, skip_special_tokens=True) == problem.prompt


def test_success_on_hard_held_out_problems_is_near_what_the_card_says(bundled):
    stated = float(re.search(r"\| hard \| 1 \| ([\d.]+) \|", (MODEL / "README.md").read_text())[1])
    task = load_task("countdown_search", train_size=1, test_size=64)
    result = evaluate(*bundled, task, samples=4, seed=1)
    # 256 completions of 64 problems: a standard error of about 1.7 percentage points.
    assert abs(100 * result.metrics["mean@4"] - stated) < 7
    assert 5 < stated < 10


def test_script_makes_the_same_model_from_the_same_seed_killed_in_between_or_not(tmp_path):
    command = [sys.executable, SCRIPTS / "make_search_model.py", "--steps=150", "--tokens=64", "--limit=40"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(name, *options):
        arguments = [*command, "--save-every=2", *options, "--output", tmp_path / name]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    assert "nats per token" in start("whole").communicate()[0]
    killed, saved = start("parts"), tmp_path / "parts.progress.pt"
    while not saved.exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert saved.exists(), "it was killed before its end"
    assert "continue that one, or remove it" in start("parts", "--seed=1").communicate()[1]
    assert "nats per token" in start("parts").communicate()[0]
    whole, parts = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts
    assert "568,192 parameters" in (tmp_path / "parts" / "README.md").read_text()
    assert not list(tmp_path.glob("*.p*t"))


def test_training_starts_from_the_bundled_model_and_keeps_the_kinds_of_tokens(tmp_path):
    options = ["--steps=1", "--prompts-per-step=2", "--num-generations=4", "--eval-problems=2", "--eval-samples=1"]
    kept = ["--threads=1", "--rollouts-every=1", f"--output={tmp_path / 'run'}"]
    config, _ = parse_train(["--task=countdown_search?level=easy", *options, *kept])
    run = train(config)
    assert run.read_config()["model"] == "countdown-search"
    rows = run.read_rollouts(1)
    assert len(rows) == 8
    for row in rows:
        assert row["kind"] == search.countdown_search_kinds("", row["tokens"])
        assert row["kind"][0] in ("first", "give")
