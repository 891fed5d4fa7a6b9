"""Synapses: weighted sums of spikes at each time step."""

from . import complex
from .conv import Conv, ConvTranspose
from .layer import Dense
from .pool import Pool, Unpool

__all__ = ["Conv", "ConvTranspose", "Dense", "Pool", "Unpool", "complex"]
