"""Loaded by verl in every process, through its ``verl.plugins`` entry point: registers what entroshape has.

``import verl`` stays as light as it was: registration waits until verl imports the module that holds the registry.
verl logs a plug-in's own failure at the level DEBUG and continues without it. So a failure in here is logged as an
error, whoever catches it, and what can fail is imported where that is done; the trainer mode is there if the rest is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

HELP = "To use verl without entroshape, set VERL_USE_EXTERNAL_PLUGINS=none."

logger = logging.getLogger("entroshape")


def _register_algorithms(module: ModuleType) -> None:
    import_module("entroshape.engines.verl.seams").check_version()
    # They register themselves when they are imported; whichever way round that happens, once.
    import_module("entroshape.engines.verl.estimators")
    import_module("entroshape.engines.verl.losses")


def _register_trainer(module: ModuleType) -> None:
    # Once more: had it failed and somebody caught it, there must be no mode without estimators.
    _register_algorithms(module)
    import_module("entroshape.engines.verl.seams").check_seams()
    import_module("entroshape.engines.verl.trainer")


def failed(where: str, error: Exception) -> ImportError:
    """Logs a failure as an error, since whoever imports us may swallow what is raised; returns what to raise."""
    message = f"entroshape could not register with verl ({where}): {type(error).__name__}: {error}. {HELP}"
    logger.error(message)
    return ImportError(message)


def loudly(register: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    """Wraps ``register`` so that its errors name entroshape and say how to continue, in the log and when raised."""

    def hook(module: ModuleType) -> None:
        try:
            register(module)
        except Exception as error:
            raise failed(module.__name__, error) from error

    return hook


REGISTRIES: dict[str, Callable[[ModuleType], None]] = {
    "verl.trainer.ppo.v1.trainer_sync": loudly(_register_trainer),
    "verl.trainer.ppo.core_algos": loudly(_register_algorithms),
}
"""Modules of verl, and what is registered once they are there. The trainer's first: should the other fail at once and
verl swallow it, the trainer's import still stops."""


def install() -> None:
    """Has :data:`REGISTRIES` called: at once where the module is there already, else after its import.

    Raises:
        ImportError: wrapt is missing, or a registration failed at once.
    """
    try:
        watch = import_module("wrapt.importer").register_post_import_hook
    except ImportError as error:
        raise failed("its import hooks", error) from error
    for name, hook in REGISTRIES.items():
        watch(hook, name)


install()
