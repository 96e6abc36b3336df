"""The parts that verl lacks on a CPU, only for tests: a platform, a process group, a rollout with transformers.

Loaded in every process with VERL_USE_EXTERNAL_MODULES=verl_on_cpu, and this folder on PYTHONPATH.
"""

import types
from contextlib import nullcontext

import torch
import verl.utils.distributed
import verl.utils.import_utils
import vllm_on_cpu
from verl.plugin.platform import PlatformBase, PlatformRegistry
from verl.workers.rollout import base
from verl.workers.rollout.replica import RolloutReplicaRegistry

# verl 0.9 imports a class that TRL 1.x no longer has, wherever it finds a TRL.
verl.utils.import_utils.is_trl_available = lambda: False


def _device_module():
    """``torch.cpu`` with the questions about memory that verl asks of every device."""
    module = types.ModuleType("verl_cpu_device")
    for name in dir(torch.cpu):
        if not name.startswith("__"):
            setattr(module, name, getattr(torch.cpu, name))
    for name in ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"):
        setattr(module, name, lambda *args, **kwargs: 0)
    for name in (
        "empty_cache",
        "ipc_collect",
        "manual_seed",
        "manual_seed_all",
        "reset_peak_memory_stats",
        "set_device",
        "set_rng_state",
    ):
        setattr(module, name, lambda *args, **kwargs: None)
    module.mem_get_info = lambda *args: (1 << 34, 1 << 34)
    module.get_rng_state = lambda *args: torch.get_rng_state()
    module.is_available = lambda: False
    module.get_device_name = lambda *args: "CPU"
    return module


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    device_name = property(lambda self: "cpu")
    vendor_name = property(lambda self: "cpu")
    device_module = property(lambda self: DEVICE_MODULE)

    def is_available(self):
        return True

    def is_platform_available(self, use_smi_check=False):
        return True

    def current_device(self):
        return "cpu"

    def device_count(self):
        return 1

    def set_device(self, index):
        pass

    def synchronize(self, index=None):
        pass

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    def manual_seed_all(self, seed):
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings):
        pass

    def empty_cache(self):
        pass

    def get_device_capability(self, index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    def nvtx_range(self, message):
        return nullcontext()

    def profiler_start(self):
        pass

    def profiler_stop(self):
        pass

    def ray_resource_name(self):
        return "GPU"  # a resource that Ray is told of, with no device behind it

    def ray_resource_options(self, number):
        return {"num_gpus": number}

    def ray_noset_envvars(self):
        return []

    def is_ipc_supported(self):
        return False

    def cudart(self):
        return None

    def get_collective_module(self):
        return None

    def rollout_env_vars(self):
        return {}


DEVICE_MODULE = _device_module()

_init_process_group = verl.utils.distributed.initialize_global_process_group_ray


def _init_gloo(timeout_second=None, backend=None):
    return _init_process_group(timeout_second=timeout_second, backend=backend or "cpu:gloo")


verl.utils.distributed.initialize_global_process_group_ray = _init_gloo


def _replica():
    from rollout_on_cpu import TransformersReplica

    return TransformersReplica


base._ROLLOUT_REGISTRY[("transformers_cpu", "async")] = "rollout_on_cpu.TransformersAdapter"
RolloutReplicaRegistry.register("transformers_cpu", _replica)
vllm_on_cpu.register(RolloutReplicaRegistry)
