"""entroshape: credit assignment for LLM reinforcement learning.

The public API needs only torch::

    from entroshape import GTPO, Rollouts
    advantages = GTPO(alpha2=0.1).advantages(Rollouts(rewards=r, entropies=H, mask=m, group=g))

Engines, tasks and evaluation are subpackages, to be imported by name.
"""

import lazy_loader

__version__ = "0.1.0"

# The names in __init__.pyi are imported on first use, so that ``entroshape --help`` does not wait for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
