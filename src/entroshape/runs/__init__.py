"""The run directory: writes and reads the files of a training run."""

import lazy_loader

# The names of __init__.pyi, imported when they are used: reading a file of options does not wait for pyarrow.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
