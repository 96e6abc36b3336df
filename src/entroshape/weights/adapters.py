"""LoRA adapters: what a mixture with the model that they adapt is, and which of them it exists for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from entroshape.evaluation.saved import model_fingerprint
from entroshape.models import resolve_model
from entroshape.printable import shown
from entroshape.runs.reading import read_json
from entroshape.weights.saved import ADAPTER_CONFIG
from entroshape.weights.states import ADAPTER, named

BEGINS_AS_ZERO = (True, "gaussian", "eva")
"""Values of ``init_lora_weights`` with which an adapter contributes nothing before training."""

NOT_A_PRODUCT = (
    "use_dora",
    "modules_to_save",
    "trainable_token_indices",
    "lora_bias",
    "velora_config",
    "kasa_config",
    "monteclora_config",
    "arrow_config",
    "use_bdlora",
)
"""Options of PEFT's LoRA with which an adapter is more than products of two factors that are added to weights."""


def check_adapter(folder: Path, start: str, names: Iterable[str]) -> None:
    """Refuses an adapter whose mixture with ``start`` is not its contribution times the share.

    Args:
        folder: the directory of the adapter.
        start: the model that it should adapt: a hub id, a directory, or the name of a bundled model.
        names: the names of the adapter's weights.

    Raises:
        ValueError: the adapter is not LoRA's or has an option that does not allow this, or it adapts another model.
    """
    file = folder / ADAPTER_CONFIG
    options = read_json(file)
    if not isinstance(options, dict) or options.get("peft_type") != "LORA":
        kind = options.get("peft_type") if isinstance(options, dict) else options
        raise ValueError(
            f"{file}: peft_type must be 'LORA', the only kind of adapter that can be mixed; got {shown(kind)}"
        )
    if reason := _more_than_products(options):
        raise ValueError(f"{file}: {reason}. Merge the adapter into its model, save that, and mix it with START")
    if others := sorted(name for name in names if not ADAPTER.search(name)):
        raise ValueError(f"{folder} holds weights that are not LoRA's: {named(others)}")
    base = options.get("base_model_name_or_path")
    if not isinstance(base, str) or not _same_model(base, start):
        raise ValueError(f"{file}: base_model_name_or_path must be START, {shown(start)}; got {shown(base)}")


def _more_than_products(options: Mapping[str, Any]) -> str | None:
    if options.get("init_lora_weights", True) not in BEGINS_AS_ZERO:
        return (
            f"init_lora_weights={options['init_lora_weights']!r} begins with an adapter that is not zero, so its "
            "contribution is not what training changed"
        )
    if options.get("bias", "none") != "none":
        return f"bias={options['bias']!r} also trains biases"
    used = [name for name in NOT_A_PRODUCT if options.get(name)]
    return f"{used[0]} makes it more than products of two factors" if used else None


def _same_model(first: str, second: str) -> bool:
    """Whether both names are of the same model, or of equal files."""
    if first == second:
        return True
    try:
        paths = [resolve_model(name) for name in (first, second)]
    except ValueError:
        return False
    return paths[0] == paths[1] or model_fingerprint(paths[0]) == model_fingerprint(paths[1])
