"""Neurons: dynamics with parameters, states and a spike function; one module for each family."""

from . import adrf, adrf_iz, alif, cuba, dynamics, norm, rf, rf_iz, sigma_delta
from .dropout import Dropout

__all__ = [
    "FAMILIES",
    "Dropout",
    "adrf",
    "adrf_iz",
    "alif",
    "cuba",
    "dynamics",
    "norm",
    "rf",
    "rf_iz",
    "sigma_delta",
]

FAMILIES = (
    cuba.Neuron,
    alif.Neuron,
    rf.Neuron,
    rf_iz.Neuron,
    adrf.Neuron,
    adrf_iz.Neuron,
    sigma_delta.Neuron,
)
