"""Blocks of resonate-and-fire neurons of Izhikevich; their bases document the arguments."""

from ..neuron.rf_iz import Neuron
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
    """RF-Izhikevich neurons that encode a signal as spikes."""

    neuron_type = Neuron


class Dense(AbstractDense):
    """Fully connected block of RF-Izhikevich neurons."""

    neuron_type = Neuron


class Conv(AbstractConv):
    """Convolution into RF-Izhikevich neurons."""

    neuron_type = Neuron


class Pool(AbstractPool):
    """Pooling into RF-Izhikevich neurons."""

    neuron_type = Neuron


class ConvT(AbstractConvT):
    """Transposed convolution into RF-Izhikevich neurons."""

    neuron_type = Neuron


class Unpool(AbstractUnpool):
    """Transposed pooling into RF-Izhikevich neurons."""

    neuron_type = Neuron


class Recurrent(AbstractRecurrent):
    """Fully connected block of RF-Izhikevich neurons, fed back to themselves."""

    neuron_type = Neuron


class KWTA(AbstractKWTA):
    """RF-Izhikevich neurons of which the strongest inhibit the others."""

    neuron_type = Neuron


class Flatten(AbstractFlatten):
    """Joins channels, rows and columns between RF-Izhikevich blocks."""

    neuron_type = Neuron


class Average(AbstractAverage):
    """Mean of consecutive groups of RF-Izhikevich neurons' output."""

    neuron_type = Neuron


class TimeDecimation(AbstractTimeDecimation):
    """Mean over bins of time steps of RF-Izhikevich neurons' output."""

    neuron_type = Neuron


class Affine(AbstractAffine):
    """Fully connected read-out of RF-Izhikevich neurons' imaginary parts, or of the weighted sums alone."""

    neuron_type = Neuron


class Output(AbstractOutput):
    """Fully connected read-out of RF-Izhikevich neurons' imaginary parts."""

    neuron_type = Neuron
