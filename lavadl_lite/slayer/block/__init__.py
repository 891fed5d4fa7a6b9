"""Blocks: a synapse, a neuron and its delays, exported together; one module for each family of neurons."""

from . import adrf, adrf_iz, alif, cuba, rf, rf_iz, sigma_delta

__all__ = ["adrf", "adrf_iz", "alif", "cuba", "rf", "rf_iz", "sigma_delta"]
