"""Rate-coded networks trained as networks without time, whose activations are fitted to the neurons' own rates."""

from . import ann_sampler, block, routine
from .routine import Mode

__all__ = ["Mode", "ann_sampler", "block", "routine"]
