"""Blocks: a synapse, a neuron and its delays, exported together; one module for each family of neurons."""

from . import cuba

__all__ = ["cuba"]
