"""The bundled tiny models, and where they are installed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def bundled_model_path(name: str = "countdown-tiny") -> Path:
    """The directory of a bundled model, for ``from_pretrained``.

    Raises:
        ValueError: no such model; the message lists those there are.

    Example:
        >>> bundled_model_path().name
        'countdown-tiny'
    """
    root = Path(str(files(__name__)))
    models = sorted(path.parent.name for path in root.glob("*/config.json"))
    if name not in models:
        raise ValueError(f"name must be one of the bundled models ({', '.join(models) or 'none'}); got {name!r}")
    return root / name
