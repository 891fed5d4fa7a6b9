"""The functional layer: recurrences as differentiable functions, one file each; neurons hold the parameters."""

from . import (
    adaptive_phase_th,
    adaptive_resonator,
    adaptive_threshold,
    alif,
    cuba,
    delta,
    leaky_integrator,
    recurrent,
    resonate,
    resonator,
    sigma,
    sigma_delta,
)

__all__ = [
    "adaptive_phase_th",
    "adaptive_resonator",
    "adaptive_threshold",
    "alif",
    "cuba",
    "delta",
    "leaky_integrator",
    "recurrent",
    "resonate",
    "resonator",
    "sigma",
    "sigma_delta",
]
