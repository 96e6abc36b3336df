"""Loaded by verl in every process, through its ``verl.plugins`` entry point: registers what entroshape has.

``import verl`` stays as light as it was: registration waits until verl imports the module that holds the registry.
verl notes a plug-in's own failure at the level DEBUG and goes on without it; a failure in here reaches the importer.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from wrapt.importer import register_post_import_hook

from entroshape.engines.verl.seams import check_seams, check_version

HELP = "To use verl without entroshape, set VERL_USE_EXTERNAL_PLUGINS=none."


def _register_algorithms(module: ModuleType) -> None:
    check_version()
    # They register themselves when they are imported; whichever way round that happens, once.
    import_module("entroshape.engines.verl.estimators")
    import_module("entroshape.engines.verl.losses")


def _register_trainer(module: ModuleType) -> None:
    check_seams()
    import_module("entroshape.engines.verl.trainer")


def loudly(register: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    """``register``, whose failure says whose it is and how to go on."""

    def hook(module: ModuleType) -> None:
        try:
            register(module)
        except Exception as error:
            raise ImportError(
                f"entroshape could not register with verl ({module.__name__}): {type(error).__name__}: {error}. {HELP}"
            ) from error

    return hook


REGISTRIES: dict[str, Callable[[ModuleType], None]] = {
    "verl.trainer.ppo.core_algos": loudly(_register_algorithms),
    "verl.trainer.ppo.v1.trainer_sync": loudly(_register_trainer),
}
"""Modules of verl, and what is registered once they are there."""

for _name, _hook in REGISTRIES.items():
    register_post_import_hook(_hook, _name)
