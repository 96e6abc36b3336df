"""Reports of a run: a self-contained HTML page, and a table for the terminal."""

import lazy_loader

# The names in __init__.pyi are imported on first use, so that ``entroshape report --help`` does not wait for pyarrow.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
