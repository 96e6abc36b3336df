"""`entroshape eval --engine vllm`: the same answers as with transformers, where chance is small."""

import pyarrow.parquet as pq
import pytest
from untied import write_untied_model

from entroshape.cli import main
from entroshape.evaluation.transformers_sampler import TransformersSampler
from entroshape.evaluation.vllm_sampler import VLLMSampler
from entroshape.models import load_model
from entroshape.tasks import load_task

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    write_untied_model(path)
    return str(path)


def test_vllm_and_transformers_give_the_same_answers_at_a_low_temperature(path):
    prompts = [problem["prompt"] for problem in load_task("countdown", test_size=32).test]
    answers = []
    for engine in (VLLMSampler(path, precision="float32"), TransformersSampler(*load_model(path))):
        tokens = engine.tokenize(prompts)
        answers.append(engine.sample(tokens, max_new_tokens=28, temperature=1e-3, seed=0))
    alike = sum(ours.text == theirs.text for ours, theirs in zip(*answers, strict=True))
    assert alike >= 30
    assert [each.length for each in answers[0] if each.cut] == [28] * sum(each.cut for each in answers[0])
    assert all(each.entropy is None for each in answers[0])


def test_eval_writes_what_vllm_answered(path, tmp_path):
    output = tmp_path / "answers.parquet"
    arguments = ["--task=countdown", "--engine=vllm", "--samples=4", "--problems=16", f"--output={output}"]
    assert main(["eval", f"--model={path}", *arguments]) == 0
    assert pq.read_table(output).num_rows == 64
