"""Collection: modules whose engine is not installed have doctests that cannot be imported."""

from importlib.util import find_spec

VERL = ("estimators", "losses", "trainer")
"""Modules of ``entroshape.engines.verl`` that import verl."""

collect_ignore = [] if find_spec("verl") else [f"src/entroshape/engines/verl/{name}.py" for name in VERL]
if find_spec("wrapt") is None:
    collect_ignore.append("src/entroshape/engines/verl/plugin.py")
