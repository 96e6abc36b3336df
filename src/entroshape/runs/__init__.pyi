"""The public names of the package, for type checkers and for lazy_loader, which imports each when it is used."""

from .directory import RunDirectory as RunDirectory
from .tables import EVALUATION_SCHEMA as EVALUATION_SCHEMA
from .tables import ROLLOUT_SCHEMA as ROLLOUT_SCHEMA
