"""Blocks that run with spikes or with rates; one module for each family whose rate follows from its mean input."""

from . import alif, cuba

__all__ = ["alif", "cuba"]
