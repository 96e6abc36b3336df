"""The public names of the package, for type checkers and for lazy_loader, which imports each when it is used."""

from .anchor import AnchorCallback as AnchorCallback
from .mean import EMACallback as EMACallback
from .states import mixed as mixed
from .states import swapped as swapped
from .states import trained_weights as trained_weights
