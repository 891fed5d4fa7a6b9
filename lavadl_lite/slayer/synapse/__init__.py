"""Synapses: weighted sums of spikes at each time step."""

from .layer import Dense

__all__ = ["Dense"]
