"""Filters along time, the last axis: causal convolution, fixed responses and learnable banks of them."""

from .conv import conv, corr
from .fir import FIR, FIRBank

__all__ = ["FIR", "FIRBank", "conv", "corr"]
