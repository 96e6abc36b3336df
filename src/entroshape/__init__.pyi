"""The public names of the package, for type checkers and for lazy_loader, which imports each on first use."""

from .credit.entropy import linear_logprob_and_entropy as linear_logprob_and_entropy
from .credit.entropy import logprob_and_entropy as logprob_and_entropy
from .credit.overlong import GroupRelativeOverlong as GroupRelativeOverlong
from .credit.overlong import SoftOverlong as SoftOverlong
from .credit.surrogate import ClippedSurrogate as ClippedSurrogate
from .credit.surrogate import clipped_surrogate as clipped_surrogate
from .methods import DAPO as DAPO
from .methods import GRPO as GRPO
from .methods import GRPOS as GRPOS
from .methods import GTPO as GTPO
from .methods import METHODS as METHODS
from .methods import OPO as OPO
from .methods import Credit as Credit
from .methods import ForkingTokens as ForkingTokens
from .methods import Method as Method
from .methods import Stateful as Stateful
from .methods import Sum as Sum
from .methods import Term as Term
from .methods import build_method as build_method
from .rollouts import Rollouts as Rollouts

__version__: str
