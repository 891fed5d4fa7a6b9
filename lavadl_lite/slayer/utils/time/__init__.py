"""Manipulation of tensors along time, the last axis."""

from .replicate import replicate
from .shift import shift

__all__ = ["replicate", "shift"]
