"""The errors that the public edge raises; nothing else is defined here."""

__all__ = ["DeviceError", "ExchangeError", "ParameterError", "ShapeError"]


class ShapeError(ValueError, AssertionError):
    """A tensor has a rank, size or channel count that the callee cannot take.

    It is an ``AssertionError`` too, because that is what lava-dl's users catch.
    """


class ParameterError(ValueError, AssertionError):
    """An argument lies outside its documented range, or has a type that is not accepted."""


class DeviceError(RuntimeError):
    """The device that a tensor lives on, or that was asked for, cannot run our kernels."""


class ExchangeError(ValueError):
    """A network file, or a network to be written to one, breaks the exchange format."""
