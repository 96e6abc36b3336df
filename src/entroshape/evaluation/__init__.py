"""Evaluation: samples completions for held-out problems and computes Mean@n, Pass@k, majority@n, and intervals."""

import lazy_loader

# The names are those of __init__.pyi, imported when they are used: counting and reporting need NumPy alone.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
