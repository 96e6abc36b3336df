"""entroshape: credit assignment for LLM reinforcement learning.

The public face needs torch alone::

    from entroshape import GTPO, Rollouts
    advantages = GTPO(alpha2=0.1).advantages(Rollouts(rewards=r, entropies=H, mask=m, group=g))

Engines, tasks and evaluation live in subpackages and are imported by name.
"""

import lazy_loader

__version__ = "0.1.0"

# The names of __init__.pyi, imported when they are used: ``entroshape --help`` does not wait for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
