"""Trainable networks of blocks, from network files or from descriptions."""

from .entries import get_classes, get_neuron_params, integer_hook_fx
from .network import SequentialNetwork

__all__ = ["SequentialNetwork", "get_classes", "get_neuron_params", "integer_hook_fx"]
