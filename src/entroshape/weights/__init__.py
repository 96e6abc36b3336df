"""Weights: their exponential mean, mixtures with the weights before training, and the anchor to those."""

import lazy_loader

# The names in __init__.pyi are imported on first use: transformers is not needed for mixtures.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
