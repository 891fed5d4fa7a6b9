"""Neurons: dynamics with parameters, states and a spike function; one module for each family."""

from . import cuba, dynamics, norm
from .dropout import Dropout

__all__ = ["FAMILIES", "Dropout", "cuba", "dynamics", "norm"]

FAMILIES = (cuba.Neuron,)
