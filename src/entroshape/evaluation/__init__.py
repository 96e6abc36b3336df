"""Evaluation: samples completions for held-out problems and computes Mean@n, Pass@k, majority@n, and intervals."""

import lazy_loader

# The names in __init__.pyi are imported on first use: metrics and reports need only NumPy.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
