"""Spike functions: thresholds with surrogate derivatives."""

from .spike import Spike

__all__ = ["Spike"]
