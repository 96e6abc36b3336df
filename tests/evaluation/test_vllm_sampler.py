"""The vLLM engine: refused where vLLM is missing, held to vLLM's signatures where it is installed."""

import dataclasses
import inspect
from importlib.util import find_spec

import pytest

from entroshape.cli import main
from entroshape.evaluation import evaluation_metrics
from entroshape.evaluation.evaluator import EvaluationOptions, evaluate_sampler
from entroshape.evaluation.sampler import SampledCompletion, Sampler
from entroshape.evaluation.transformers_sampler import TransformersSampler
from entroshape.evaluation.vllm_sampler import VLLMSampler

pytestmark = pytest.mark.slow

INSTALLED = find_spec("vllm") is not None


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed here")
def test_without_vllm_the_engine_is_refused_with_what_to_do(capsys, tmp_path):
    assert main(["eval", "--engine=vllm", f"--output={tmp_path / 'a.parquet'}"]) == 2
    message = capsys.readouterr().err
    assert "pip install vllm" in message
    assert "transformers" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not INSTALLED, reason="vLLM is not installed: its signatures cannot be read")
def test_vllm_takes_what_the_engine_gives_it():
    import vllm

    assert {"model", "dtype", "seed"} <= set(inspect.signature(vllm.LLM.__init__).parameters)
    assert {"prompts", "sampling_params", "use_tqdm"} <= set(inspect.signature(vllm.LLM.generate).parameters)
    assert {"temperature", "max_tokens", "seed"} <= set(inspect.signature(vllm.SamplingParams).parameters)
    defaults = vllm.SamplingParams()
    assert (defaults.top_p, defaults.min_p, defaults.repetition_penalty) == (1.0, 0.0, 1.0)
    assert defaults.top_k in (0, -1)
    assert (defaults.presence_penalty, defaults.frequency_penalty) == (0.0, 0.0)


@pytest.mark.parametrize("engine", [TransformersSampler, VLLMSampler])
@pytest.mark.parametrize("method", ["tokenize", "sample"])
def test_engines_have_one_shape(engine, method):
    of_protocol = inspect.signature(getattr(Sampler, method)).parameters
    assert list(inspect.signature(getattr(engine, method)).parameters.values()) == list(of_protocol.values())


class WithoutEntropies:
    """An engine that answers by rote and knows no entropies."""

    def tokenize(self, prompts):
        return [[1]] * len(prompts)

    def sample(self, prompts, *, max_new_tokens, temperature, seed):
        return [SampledCompletion(text="even", length=1, cut=False, entropy=None) for _ in prompts]


def test_an_engine_without_entropies_leaves_them_out_everywhere(tmp_path):
    from evaluation_inputs import tiny_task

    from entroshape.evaluation.saved import read_evaluation, write_evaluation

    result = evaluate_sampler(WithoutEntropies(), tiny_task(), EvaluationOptions(samples=2))
    assert "entropy" not in result.rows[0]
    assert "entropy" not in result.metrics
    write_evaluation(tmp_path / "a.parquet", result, {"engine": "vllm"})
    again = read_evaluation(tmp_path / "a.parquet", {"engine": "vllm"})
    assert again.rows == result.rows
    assert again.metrics == result.metrics == evaluation_metrics(again.rows)


def test_a_completion_knows_whether_it_has_an_entropy():
    assert {field.name for field in dataclasses.fields(SampledCompletion)} == {"text", "length", "cut", "entropy"}
