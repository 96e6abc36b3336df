"""The seams of verl that the engine stands on, named in one place and checked when it registers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pkgutil import resolve_name

from packaging.specifiers import SpecifierSet

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
    for name, parameters in seams.items():
        try:
            found = list(inspect.signature(resolve_name(name)).parameters)
        except (AttributeError, ImportError) as error:
            raise ImportError(f"the verl engine stands on {name}, which verl {installed_version()} lacks") from error
        missing = [parameter for parameter in parameters if parameter not in found]
        if missing:
            raise ImportError(
                f"the verl engine stands on {name}({', '.join(parameters)}), but verl {installed_version()} has it "
                f"without {', '.join(missing)}. Supported: {SUPPORTED}"
            )
