"""Manipulation of tensors along time, the last axis."""

from .replicate import replicate

__all__ = ["replicate"]
