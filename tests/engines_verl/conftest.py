"""verl on a CPU, for all tests of this folder; `make test-verl` runs them in an environment that has verl."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

CPU = str(Path(__file__).resolve().parents[2] / "recipes" / "verl" / "cpu")
ENVIRONMENT = {
    "VERL_PLATFORM": "cpu",
    "VERL_ENGINE_DEVICE": "cuda",  # FSDP is registered for cuda and npu alone
    "VERL_USE_EXTERNAL_MODULES": "verl_on_cpu",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": os.pathsep.join(filter(None, [CPU, os.environ.get("PYTHONPATH")])),
}

if find_spec("verl") is None:
    collect_ignore_glob = ["*"]
else:
    # verl reads these when it is imported, in this process and in Ray's.
    os.environ.update(ENVIRONMENT)
    sys.path.insert(0, CPU)
    sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
