"""Spike functions: thresholds with surrogate derivatives."""

from . import complex, surrogate
from .spike import Spike

__all__ = ["Spike", "complex", "surrogate"]
