"""Blocks of adaptive leaky integrate-and-fire neurons with modes; their bases document the arguments."""

from ...slayer.neuron.alif import Neuron
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
    """ALIF neurons that encode a signal as spikes or as their rate."""

    neuron_type = Neuron


class Dense(AbstractDense):
    """Fully connected block of ALIF neurons."""

    neuron_type = Neuron


class Conv(AbstractConv):
    """Convolution into ALIF neurons."""

    neuron_type = Neuron


class Pool(AbstractPool):
    """Pooling into ALIF neurons."""

    neuron_type = Neuron


class ConvT(AbstractConvT):
    """Transposed convolution into ALIF neurons."""

    neuron_type = Neuron


class Unpool(AbstractUnpool):
    """Transposed pooling into ALIF neurons."""

    neuron_type = Neuron


class Flatten(AbstractFlatten):
    """Joins channels, rows and columns between ALIF blocks."""

    neuron_type = Neuron


class Average(AbstractAverage):
    """Mean of consecutive groups of ALIF neurons' output."""

    neuron_type = Neuron


class Affine(AbstractAffine):
    """Fully connected read-out of the weighted sums, or of ALIF neurons' voltages."""

    neuron_type = Neuron


class Output(AbstractOutput):
    """Fully connected read-out of ALIF neurons' voltages."""

    neuron_type = Neuron
