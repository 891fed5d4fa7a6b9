"""What a neuron declares about itself; :mod:`.base` derives its parameters, buffers and exported fields from it."""

from dataclasses import dataclass

__all__ = ["Decay", "State", "Surrogate"]


@dataclass(frozen=True)
class Decay:
    """A decay: constructor argument, parameter of 0..4096 and exported integer.

    Attributes
    ----------
    name : str
        Constructor argument (a fraction in 0..1) and name of the parameter.
    field : str
        Its name in ``device_params`` and in the exchange format.
    trainable : bool
        Whether it has a gradient; a decay without one is kept in the ``state_dict`` but never trained.
    spread : bool
        Whether one number, given for values by channel, is spread by 1 % among them.
    """

    name: str
    field: str
    trainable: bool = True
    spread: bool = True


@dataclass(frozen=True)
class State:
    """A dynamical variable: a buffer that is kept between calls where the state is persistent.

    Attributes
    ----------
    name : str
        Name of the buffer, not part of the ``state_dict``.
    initial : str or None
        Attribute of the neuron that holds its first value; 0 if absent.
    """

    name: str
    initial: str | None = None


@dataclass(frozen=True)
class Surrogate:
    """Width and height of the spike's derivative for ``tau_grad = scale_grad = 1``.

    Attributes
    ----------
    tau : float
        Width, in units of the threshold.
    scale : float
        Height.
    """

    tau: float
    scale: float
