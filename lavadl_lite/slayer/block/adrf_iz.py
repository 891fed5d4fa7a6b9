"""Blocks of adaptive resonate-and-fire neurons of Izhikevich; their bases document the arguments."""

from ..neuron.adrf_iz import Neuron
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
    """ADRF-Izhikevich neurons that encode a signal as spikes."""

    neuron_type = Neuron


class Dense(AbstractDense):
    """Fully connected block of ADRF-Izhikevich neurons."""

    neuron_type = Neuron


class Conv(AbstractConv):
    """Convolution into ADRF-Izhikevich neurons."""

    neuron_type = Neuron


class Pool(AbstractPool):
    """Pooling into ADRF-Izhikevich neurons."""

    neuron_type = Neuron


class ConvT(AbstractConvT):
    """Transposed convolution into ADRF-Izhikevich neurons."""

    neuron_type = Neuron


class Unpool(AbstractUnpool):
    """Transposed pooling into ADRF-Izhikevich neurons."""

    neuron_type = Neuron


class Recurrent(AbstractRecurrent):
    """Fully connected block of ADRF-Izhikevich neurons, fed back to themselves."""

    neuron_type = Neuron


class KWTA(AbstractKWTA):
    """ADRF-Izhikevich neurons of which the strongest inhibit the others."""

    neuron_type = Neuron


class Flatten(AbstractFlatten):
    """Joins channels, rows and columns between ADRF-Izhikevich blocks."""

    neuron_type = Neuron


class Average(AbstractAverage):
    """Mean of consecutive groups of ADRF-Izhikevich neurons' output."""

    neuron_type = Neuron


class TimeDecimation(AbstractTimeDecimation):
    """Mean over bins of time steps of ADRF-Izhikevich neurons' output."""

    neuron_type = Neuron


class Affine(AbstractAffine):
    """Fully connected read-out of ADRF-Izhikevich neurons' imaginary parts, or of the weighted sums alone."""

    neuron_type = Neuron


class Output(AbstractOutput):
    """Fully connected read-out of ADRF-Izhikevich neurons' imaginary parts."""

    neuron_type = Neuron
