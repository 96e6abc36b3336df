"""The seams of verl that the engine stands on, named in one place and checked when it registers."""

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
    "verl.trainer.ppo.v1.trainer_base:register_trainer": ("name",),
    "verl.trainer.ppo.core_algos:register_adv_est": ("name_or_enum",),
    "verl.trainer.ppo.core_algos:register_policy_loss": ("name",),
    "verl.workers.utils.losses:ppo_loss": ("config", "model_output", "data"),
    "verl.workers.utils.padding:response_to_nested": ("tensor", "response_mask"),
}
"""What is overridden, called, or calls us, and the parameters that are relied on."""


def installed_version() -> str:
    """What verl says of itself, since a checkout on the path need not be what pip installed; else pip's metadata."""
    return getattr(sys.modules.get("verl"), "__version__", None) or version("verl")


def check_version(found: str | None = None) -> None:
    """Raise ``ImportError`` unless verl's version is one that the engine has been written for."""
    found = installed_version() if found is None else found
    if found not in SpecifierSet(SUPPORTED.removeprefix("verl")):
        raise ImportError(f"the verl engine supports {SUPPORTED}; found verl {found}")


def check_seams(seams: Mapping[str, tuple[str, ...]] = SEAMS) -> None:
    """Raise ``ImportError`` if a seam is gone, or has lost a parameter that is relied on."""
    host = f"verl {installed_version()}"
    for name, parameters in seams.items():
        check_seam(name, _resolved(name), parameters, host=host, supported=SUPPORTED)


def _resolved(name: str) -> Callable[..., Any] | None:
    """What verl has under a name; ``None`` where it has nothing. A module that fails for a reason of its own raises."""
    try:
        found: Callable[..., Any] = resolve_name(name)
    except (AttributeError, ModuleNotFoundError):
        return None
    return found
