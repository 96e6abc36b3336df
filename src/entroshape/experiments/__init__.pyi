"""The public names of the package, for type checkers and for lazy_loader, which imports each when it is used."""

from .arms import Arm as Arm
from .arms import parse_arms as parse_arms
from .results import Comparison as Comparison
from .results import read_comparison as read_comparison
from .results import summarize as summarize
from .results import write_comparison as write_comparison
from .statistics import Difference as Difference
from .statistics import Spread as Spread
from .statistics import holm as holm
from .statistics import paired_difference as paired_difference
from .statistics import seeds_needed as seeds_needed
from .statistics import spread as spread
