"""Blocks of sigma-delta neurons; their bases document the arguments."""

from ..neuron.sigma_delta import Neuron
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
    """Encodes a signal as changes, by the sigma-delta neuron's encoder."""

    neuron_type = Neuron


class Dense(AbstractDense):
    """Fully connected block of sigma-delta neurons."""

    neuron_type = Neuron


class Conv(AbstractConv):
    """Convolution into sigma-delta neurons."""

    neuron_type = Neuron


class Pool(AbstractPool):
    """Pooling into sigma-delta neurons."""

    neuron_type = Neuron


class ConvT(AbstractConvT):
    """Transposed convolution into sigma-delta neurons."""

    neuron_type = Neuron


class Unpool(AbstractUnpool):
    """Transposed pooling into sigma-delta neurons."""

    neuron_type = Neuron


class Recurrent(AbstractRecurrent):
    """Fully connected block of sigma-delta neurons, fed back to themselves."""

    neuron_type = Neuron


class KWTA(AbstractKWTA):
    """Sigma-delta neurons of which the strongest inhibit the others."""

    neuron_type = Neuron


class Flatten(AbstractFlatten):
    """Joins channels, rows and columns between sigma-delta blocks."""

    neuron_type = Neuron


class Average(AbstractAverage):
    """Mean of consecutive groups of sigma-delta neurons' output."""

    neuron_type = Neuron


class TimeDecimation(AbstractTimeDecimation):
    """Mean over bins of time steps of sigma-delta neurons' output."""

    neuron_type = Neuron


class Affine(AbstractAffine):
    """Fully connected read-out of sigma-delta neurons' sums of messages, or of the weighted sums alone."""

    neuron_type = Neuron


class Output(AbstractOutput):
    """Fully connected read-out of sigma-delta neurons' sums of messages."""

    neuron_type = Neuron
