"""The interfaces of verl that the engine depends on, checked when it registers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pkgutil import resolve_name
from typing import Any

from packaging.specifiers import SpecifierSet

from entroshape.engines.seams import check_seam

SUPPORTED = "verl>=0.9.1,<0.10"

SEAMS: dict[str, tuple[str, ...]] = {
    "verl.trainer.ppo.v1.trainer_sync:PPOTrainerSync._compute_advantage": ("batch", "metrics"),
    "verl.trainer.ppo.v1.trainer_sync:PPOTrainerSync._compute_old_log_prob": ("batch", "metrics"),
    "verl.trainer.ppo.v1.trainer_base:PPOTrainer.__init__": ("config",),
    "verl.trainer.ppo.v1.trainer_base:PPOTrainer._save_checkpoint": (),
    "verl.trainer.ppo.v1.trainer_base:PPOTrainer._load_checkpoint": (),
    "verl.trainer.ppo.v1.trainer_base:register_trainer": ("name",),
    "verl.trainer.ppo.core_algos:register_adv_est": ("name_or_enum",),
    "verl.trainer.ppo.core_algos:register_policy_loss": ("name",),
    "verl.workers.utils.losses:ppo_loss": ("config", "model_output", "data"),
    "verl.workers.utils.padding:response_to_nested": ("tensor", "response_mask"),
}
"""Functions of verl that we override or call or that call us, and the parameters that we rely on."""


def installed_version() -> str:
    """The version that verl itself states, because a checkout may shadow the installed one; else pip's metadata."""
    return getattr(sys.modules.get("verl"), "__version__", None) or version("verl")


def check_version(found: str | None = None) -> None:
    """Raises ``ImportError`` unless the engine supports verl's version."""
    found = installed_version() if found is None else found
    if found not in SpecifierSet(SUPPORTED.removeprefix("verl")):
        raise ImportError(f"the verl engine supports {SUPPORTED}; found verl {found}")


def check_seams(seams: Mapping[str, tuple[str, ...]] = SEAMS) -> None:
    """Raises ``ImportError`` if a seam is missing, or lacks a parameter that we rely on."""
    host = f"verl {installed_version()}"
    for name, parameters in seams.items():
        check_seam(name, _resolved(name), parameters, host=host, supported=SUPPORTED)


def _resolved(name: str) -> Callable[..., Any] | None:
    """The function of this name; ``None`` if verl has none. Other errors of the import are raised."""
    try:
        found: Callable[..., Any] = resolve_name(name)
    except (AttributeError, ModuleNotFoundError):
        return None
    return found
