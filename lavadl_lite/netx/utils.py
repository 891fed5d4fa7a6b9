"""Network files as nested dictionaries, and weights as Lava's synapses hold them.  Needs neither torch nor Lava."""

from __future__ import annotations

from enum import IntEnum, unique
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ..errors import ParameterError

if TYPE_CHECKING:
    import os

__all__ = ["SYNAPSE_SIGN_MODE", "NetDict", "num_delay_bits", "optimize_weight_bits"]

WEIGHT_BITS = 8
DELAY_MAX = 62  # steps

INTEGERS = ("weight", "weight_rec", "bias", "weight/real", "weight/imag")


@unique
class SYNAPSE_SIGN_MODE(IntEnum):
    """Which signs the weights of a synapse have; Lava's ``SignMode`` has the same values."""

    MIXED = 1
    EXCITATORY = 2
    INHIBITORY = 3


# what a synapse of Lava holds; with both signs it holds even numbers
LIMITS = {
    SYNAPSE_SIGN_MODE.MIXED: (-256, 254),
    SYNAPSE_SIGN_MODE.EXCITATORY: (0, 255),
    SYNAPSE_SIGN_MODE.INHIBITORY: (-255, 0),
}


class NetDict:
    """A network file, or a group of it, to look around in: fields by name, layers by number.

    :func:`lavadl_lite.netx.load` reads a file with all checks; this shows what is stored.

    Parameters
    ----------
    filename : path-like, optional
        File to open.
    mode : str
        How to open it; only ``"r"``, for reading.
    f : h5py.Group, optional
        An open file or group, in the place of ``filename``.

    Raises
    ------
    ParameterError
        If not exactly one of ``filename`` and ``f`` is given, or ``mode`` is another one.
    """

    def __init__(
        self, filename: str | os.PathLike[str] | None = None, mode: str = "r", f: h5py.Group | None = None
    ) -> None:
        if (filename is None) == (f is None):
            raise ParameterError("expected either filename or f, got " + ("none" if f is None else "both"))
        if mode != "r":
            raise ParameterError(f"expected mode 'r', got {mode!r}")
        self.filename = filename
        self.f = h5py.File(filename, mode) if f is None else f

    def keys(self) -> Any:
        """Names of the members."""
        return self.f.keys()

    def __len__(self) -> int:
        return len(self.f)

    def __getitem__(self, key: str | int) -> Any:
        """A group as a NetDict, a string as such, weights and biases as integers, all else as it is stored."""
        member = self.f[str(key)]
        if isinstance(member, h5py.Group):
            return NetDict(f=member)
        value = member[()]
        if member.dtype.kind in "OS":
            return bytes(np.ravel(value)[0]).decode()
        return value.astype(np.int32) if key in INTEGERS else value

    def __setitem__(self, key: str | int, value: Any) -> None:
        raise ParameterError(f"expected to read {key!r} alone: a file is written by netx.save")


def optimize_weight_bits(weight: np.ndarray) -> tuple[np.ndarray, int, int, SYNAPSE_SIGN_MODE]:
    """Scale weights by a power of two so that they use the bits of a synapse, without changing any product.

    Parameters
    ----------
    weight : array
        Integers.

    Returns
    -------
    weight : array of int32, same shape
        In [-256, 255], and even where both signs occur, as Lava's synapses hold them.
    num_weight_bits : int
        How many bits tell them apart.
    weight_exponent : int
        What a sum of them has to be multiplied by two to the power of, in order to be that of the original weights.
    sign_mode : SYNAPSE_SIGN_MODE
        Which signs occur; zeros alone count as excitatory.

    Raises
    ------
    ParameterError
        If a weight is no integer, or the weights need more bits than a synapse has.
    """
    integers = _integers(weight, "weights")
    low, high = int(integers.min(initial=0)), int(integers.max(initial=0))
    if low == high:  # all 0
        return integers.astype(np.int32), WEIGHT_BITS, 0, SYNAPSE_SIGN_MODE.EXCITATORY
    mode = SYNAPSE_SIGN_MODE.EXCITATORY
    if low < 0:
        mode = SYNAPSE_SIGN_MODE.INHIBITORY if integers.max() < 0 else SYNAPSE_SIGN_MODE.MIXED
    mixed = mode == SYNAPSE_SIGN_MODE.MIXED  # their last bit tells the sign
    smallest, largest = LIMITS[mode]
    common = int(np.gcd.reduce(integers, axis=None))
    zeros = (common & -common).bit_length() - 1  # bits at the end that are 0 in all of them
    for shift in range(WEIGHT_BITS, mixed - zeros - 1, -1):
        if low * 2.0**shift >= smallest and high * 2.0**shift <= largest:
            scaled = integers << shift if shift >= 0 else integers >> -shift
            return scaled.astype(np.int32), WEIGHT_BITS - shift - zeros + mixed, -shift, mode
    raise ParameterError(
        f"expected weights that fit {WEIGHT_BITS} bits beside a sign and a common power of two, got {low} to {high}"
    )


def num_delay_bits(delays: np.ndarray) -> int:
    """How many bits the largest delay needs.

    Parameters
    ----------
    delays : array
        Steps, integers in 0..62.

    Raises
    ------
    ParameterError
        If one lies outside, or is no integer.
    """
    steps = _integers(delays, "delays")
    if steps.min(initial=0) < 0 or steps.max(initial=0) > DELAY_MAX:
        raise ParameterError(f"expected delays in 0..{DELAY_MAX}, got {steps.min()} to {steps.max()}")
    return int(steps.max(initial=0)).bit_length()


def _integers(values: Any, what: str) -> np.ndarray:
    integers = np.asarray(values).astype(np.int64)
    if not np.array_equal(integers, values):
        raise ParameterError(f"expected integers as {what}, got others")
    return integers
