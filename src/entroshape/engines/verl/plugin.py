"""Registers the methods with verl, which loads this module in every process through the ``verl.plugins`` entry point.

``import verl`` stays light: registration waits until verl imports the module that holds the registry. verl logs the
failure of a plug-in only at level DEBUG and continues without it, so this module logs every failure as an error itself.
For the same reason it imports whatever can fail inside its hooks. The trainer mode is registered last.
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
    # Both register themselves when they are first imported.
    import_module("entroshape.engines.verl.estimators")
    import_module("entroshape.engines.verl.losses")


def _register_trainer(module: ModuleType) -> None:
    # Repeated because an earlier failure may have been caught: there must be no trainer mode without estimators.
    _register_algorithms(module)
    import_module("entroshape.engines.verl.seams").check_seams()
    import_module("entroshape.engines.verl.trainer")


def failed(where: str, error: Exception) -> ImportError:
    """Logs a failure as an error, because the importer may swallow the exception, and returns the error to raise."""
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
"""Hooks that run after the import of a module of verl. The trainer's comes first: if the other fails at once and verl
swallows the error, importing the trainer still fails."""


def install() -> None:
    """Installs the hooks in :data:`REGISTRIES`. A hook runs at once if its module is already imported.

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
