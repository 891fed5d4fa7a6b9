"""Blocks of adaptive leaky integrate-and-fire neurons; their bases document the arguments."""

from ..neuron.alif import Neuron
from .full import AbstractAffine, AbstractDense, AbstractOutput
from .planes import AbstractConv, AbstractConvT, AbstractPool, AbstractUnpool
from .recurrent import AbstractKWTA, AbstractRecurrent
from .shapes import AbstractAverage, AbstractFlatten, AbstractInput, AbstractTimeDecimation

__all__ = [
    "KWTA",
    "Affine",
    "Average",
    "Conv",
    "ConvT",
    "Dense",
    "Flatten",
    "Input",
    "Output",
    "Pool",
    "Recurrent",
    "TimeDecimation",
    "Unpool",
]


class Input(AbstractInput):
    """ALIF neurons that encode a signal as spikes."""

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


class Recurrent(AbstractRecurrent):
    """Fully connected block of ALIF neurons, fed back to themselves."""

    neuron_type = Neuron


class KWTA(AbstractKWTA):
    """ALIF neurons of which the strongest inhibit the others."""

    neuron_type = Neuron


class Flatten(AbstractFlatten):
    """Joins channels, rows and columns between ALIF blocks."""

    neuron_type = Neuron


class Average(AbstractAverage):
    """Mean of consecutive groups of ALIF neurons' output."""

    neuron_type = Neuron


class TimeDecimation(AbstractTimeDecimation):
    """Mean over bins of time steps of ALIF neurons' output."""

    neuron_type = Neuron


class Affine(AbstractAffine):
    """Fully connected read-out of ALIF neurons' voltages, or of the weighted sums alone."""

    neuron_type = Neuron


class Output(AbstractOutput):
    """Fully connected read-out of ALIF neurons' voltages."""

    neuron_type = Neuron
