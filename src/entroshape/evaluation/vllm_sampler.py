"""Sampling with vLLM, if it is installed: many completions at once on a GPU, without entropies.

vLLM returns log-probabilities of only the most likely tokens, which are not enough to compute the entropy. Each
completion has its own seed, so its draws do not depend on other completions. Its logits may still differ in the last
bits with the rest of the batch, unless vLLM runs in its batch-invariant mode.

Tested with the CPU build of vLLM 0.31, not on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from entroshape.evaluation.sampler import Prompt, SampledCompletion, decoded, derived_seed, tokenized


def require_vllm() -> None:
    """Raises ``ImportError`` with advice unless vLLM is installed."""
    if find_spec("vllm") is None:
        raise ImportError(
            "engine vllm needs vLLM, which is not installed: pip install vllm (on a machine with a GPU), "
            "or omit --engine to sample with transformers",
            name="vllm",
        )


class VLLMSampler:
    """Samples with ``vllm.LLM``.

    Args:
        model: a hub id or the directory of a full model; adapters have to be merged first.
        precision: ``"float32"`` or ``"bfloat16"``, for weights and arithmetic.

    Raises:
        ImportError: vLLM is not installed.
        ValueError: the directory contains an adapter.
    """

    def __init__(self, model: str, *, precision: str) -> None:
        require_vllm()
        if (Path(model) / "adapter_config.json").is_file():
            raise ValueError(
                f"engine vllm needs a full model, but {model} is an adapter: merge it, "
                "or omit --engine to sample with transformers"
            )
        self._vllm: Any = import_module("vllm")
        self._llm = self._vllm.LLM(model=model, dtype=precision, seed=0)
        self.tokenizer: Any = self._llm.get_tokenizer()

    def tokenize(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """See :class:`entroshape.evaluation.sampler.Sampler`."""
        return tokenized(self.tokenizer, prompts)

    def sample(
        self, prompts: Sequence[list[int]], *, max_new_tokens: int, temperature: float, seed: int
    ) -> list[SampledCompletion]:
        """See :class:`entroshape.evaluation.sampler.Sampler`; the entropies are ``None``."""
        parameters = [
            # vLLM accepts seeds of 63 bits.
            self._vllm.SamplingParams(
                temperature=temperature,
                max_tokens=max_new_tokens,
                seed=derived_seed(seed, row) >> 1,
                detokenize=False,
            )
            for row in range(len(prompts))
        ]
        inputs = [{"prompt_token_ids": list(ids)} for ids in prompts]
        outputs = [request.outputs[0] for request in self._llm.generate(inputs, parameters, use_tqdm=False)]
        texts = decoded(self.tokenizer, [list(output.token_ids) for output in outputs])
        return [
            SampledCompletion(
                text=text, length=len(output.token_ids), cut=output.finish_reason == "length", entropy=None
            )
            for text, output in zip(texts, outputs, strict=True)
        ]
