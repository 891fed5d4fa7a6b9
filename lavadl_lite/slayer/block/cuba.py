"""Blocks of current-based leaky integrate-and-fire neurons; :mod:`.shapes` documents their arguments."""

from ..neuron.cuba import Neuron
from .shapes import AbstractAffine, AbstractDense, AbstractFlatten, AbstractInput, AbstractOutput

__all__ = ["Affine", "Dense", "Flatten", "Input", "Output"]


class Input(AbstractInput):
    """CUBA neurons that encode a signal as spikes."""

    neuron_type = Neuron


class Flatten(AbstractFlatten):
    """Joins channels, rows and columns between CUBA blocks."""

    neuron_type = Neuron


class Dense(AbstractDense):
    """Fully connected block of CUBA neurons."""

    neuron_type = Neuron


class Affine(AbstractAffine):
    """Fully connected read-out of CUBA voltages, or of the weighted sums alone."""

    neuron_type = Neuron


class Output(AbstractOutput):
    """Fully connected read-out of CUBA voltages."""

    neuron_type = Neuron
