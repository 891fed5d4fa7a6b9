"""Blocks of current-based leaky integrate-and-fire neurons with modes; their bases document the arguments."""

from ...slayer.neuron.cuba import Neuron
from .shapes import (
    AbstractAffine,
    AbstractAverage,
    AbstractConv,
    AbstractConvT,
    AbstractDense,
    AbstractFlatten,
    AbstractInput,
    AbstractOutput,
    AbstractPool,
    AbstractUnpool,
)

__all__ = ["Affine", "Average", "Conv", "ConvT", "Dense", "Flatten", "Input", "Output", "Pool", "Unpool"]


class Input(AbstractInput):
    """CUBA neurons that encode a signal as spikes or as their rate."""

    neuron_type = Neuron


class Dense(AbstractDense):
    """Fully connected block of CUBA neurons."""

    neuron_type = Neuron


class Conv(AbstractConv):
    """Convolution into CUBA neurons."""

    neuron_type = Neuron


class Pool(AbstractPool):
    """Pooling into CUBA neurons."""

    neuron_type = Neuron


class ConvT(AbstractConvT):
    """Transposed convolution into CUBA neurons."""

    neuron_type = Neuron


class Unpool(AbstractUnpool):
    """Transposed pooling into CUBA neurons."""

    neuron_type = Neuron


class Flatten(AbstractFlatten):
    """Joins channels, rows and columns between CUBA blocks."""

    neuron_type = Neuron


class Average(AbstractAverage):
    """Mean of consecutive groups of CUBA neurons' output."""

    neuron_type = Neuron


class Affine(AbstractAffine):
    """Fully connected read-out of the weighted sums, or of CUBA neurons' voltages."""

    neuron_type = Neuron


class Output(AbstractOutput):
    """Fully connected read-out of CUBA neurons' voltages."""

    neuron_type = Neuron
