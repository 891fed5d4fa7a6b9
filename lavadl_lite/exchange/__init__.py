"""The HDF5 network exchange format: what a file may hold, reading it safely, writing it whole.  Runs no network."""

from .files import read, save, write_layer
from .neurons import ACTIVATIONS
from .schema import FORMAT_VERSION, LAYERS, NEURONS, Layer, Network, check_layer, output_shapes

__all__ = [
    "ACTIVATIONS",
    "FORMAT_VERSION",
    "LAYERS",
    "NEURONS",
    "Layer",
    "Network",
    "check_layer",
    "output_shapes",
    "read",
    "save",
    "write_layer",
]
