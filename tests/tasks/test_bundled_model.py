"""The bundled tiny model: loads offline, speaks Countdown, solves what its card says; and its script makes one."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from entroshape.assets import bundled_model_path
from entroshape.tasks import countdown, load_task

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_tiny_model.py"


@pytest.fixture(scope="module")
def bundled():
    threads = torch.get_num_threads()
    # A second thread gains little on a model of this size, and waits for its turn wherever tests run side by side.
    torch.set_num_threads(1)
    path, options = bundled_model_path(), {"local_files_only": True}
    yield AutoModelForCausalLM.from_pretrained(path, **options).eval(), AutoTokenizer.from_pretrained(path, **options)
    torch.set_num_threads(threads)


def test_model_has_the_parameters_its_card_says(bundled):
    model, _ = bundled
    assert model.num_parameters() == 867_328
    assert "867,328 parameters" in (bundled_model_path() / "README.md").read_text()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert (bundled_model_path() / "model.safetensors").stat().st_size < 4_000_000


def test_prompts_are_eight_tokens_with_bos_and_decode_to_themselves(bundled):
    _, tokenizer = bundled
    for problem in countdown.held_out_problems():
        ids = tokenizer(problem.prompt)["input_ids"]
        assert (len(ids), ids[0]) == (8, tokenizer.bos_token_id)
        assert tokenizer.decode(ids, skip_special_tokens=True) == problem.prompt
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == list(countdown.VOCABULARY)


def test_sampling_is_from_the_full_distribution_at_temperature_one(bundled):
    model, tokenizer = bundled
    settings = model.generation_config
    assert (settings.do_sample, settings.temperature, settings.top_p, settings.top_k) == (True, 1.0, 1.0, 0)
    assert settings.eos_token_id == tokenizer.eos_token_id
    assert settings.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id
    assert settings.bos_token_id == tokenizer.bos_token_id


def test_padding_on_the_left_leaves_the_continuation_as_it_was(bundled):
    model, tokenizer = bundled
    short, long = "3 7 5 2 > 24 :", "3 7 5 2 > 24 : 3 * 7 = 21 , 5 2 21 ;"
    both = tokenizer([short, long], padding=True, return_tensors="pt")
    assert both["input_ids"][0, 0] == tokenizer.pad_token_id
    together = model.generate(**both, max_new_tokens=20, do_sample=False)[:, both["input_ids"].shape[1] :]
    for prompt, continuation in zip((short, long), together, strict=True):
        alone = tokenizer([prompt], return_tensors="pt")
        output = model.generate(**alone, max_new_tokens=20, do_sample=False)[0, alone["input_ids"].shape[1] :]
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in (continuation, output)]
        assert texts[0] == texts[1] != ""


def test_success_on_held_out_problems_is_near_what_the_card_says(bundled):
    model, tokenizer = bundled
    task = load_task("countdown", train_size=1)
    samples, rows = 8, task.test.to_dict()
    stated = float(re.search(r"Mean@32 .*\| ([\d.]+) \|", (bundled_model_path() / "README.md").read_text())[1])
    torch.manual_seed(0)
    encoded = tokenizer(rows["prompt"], padding=True, return_tensors="pt")
    output = model.generate(**encoded, max_new_tokens=task.max_completion_length, num_return_sequences=samples)
    texts = tokenizer.batch_decode(output[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
    columns = {name: [value for value in rows[name] for _ in range(samples)] for name in rows}
    rewards = task.reward(columns.pop("prompt"), texts, **columns)
    # 2,048 samples of 256 problems: a standard error of about .01.
    assert stated - 0.04 < sum(rewards) / len(rewards) < stated + 0.04
    assert 0.05 < stated < 0.2


def test_an_unknown_model_is_refused_with_those_there_are():
    with pytest.raises(
        ValueError,
        match=r"one of the bundled models \(countdown-tiny, countdown-search\); got 'countdown-big'",
    ):
        bundled_model_path("countdown-big")


def test_script_makes_the_same_model_from_the_same_seed(tmp_path):
    weights = []
    command = [sys.executable, SCRIPT, "--steps", "3", "--batch", "8", "--samples", "1", "--output"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for name in ("first", "second"):
        run = subprocess.run([*command, tmp_path / name], capture_output=True, text=True, check=True, env=environment)
        assert re.search(r"867,328 parameters, \d+ s; held-out problems: Mean@1 0\.\d+, Pass@1 0\.\d+", run.stdout)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert "3 steps of 8 examples, seed 0" in (tmp_path / "first" / "README.md").read_text()


def test_training_examples_are_valid_never_held_out_and_true_half_of_the_time(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import make_tiny_model

    rng, true, two_steps = random.Random(0), 0, 0
    for _ in range(4000):
        problem, response = make_tiny_model.random_example(rng)
        reached = int(response.split()[-1])
        assert countdown.is_solution(problem.numbers, reached, response)
        assert problem.key not in countdown.held_out_keys()
        true += reached == problem.target
        two_steps += response.count("=") == 2
    # Half, and now and then by chance.
    assert 0.48 < true / 4000 < 0.56
    assert 0.22 < two_steps / 4000 < 0.28
