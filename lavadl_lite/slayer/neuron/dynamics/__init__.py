"""The functional layer: recurrences as differentiable functions, one file each; neurons hold the parameters."""

from . import cuba, leaky_integrator

__all__ = ["cuba", "leaky_integrator"]
