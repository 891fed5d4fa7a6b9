"""Numbers of the exchange format and of NIR: integers with a unit here, constants of differential equations there.

NIR's users turn its equations into steps by Euler's method.  With a step of ``dt``

    I <- I (1 - dt / tau_syn) + (w_in dt / tau_syn) S
    v <- v (1 - dt / tau_mem) + (r dt / tau_mem) I + v_leak dt / tau_mem,   a spike where v > v_threshold

so that a decay is ``dt / tau``, inputs are taken as they are where ``w_in = tau_syn / dt`` and ``r = tau_mem / dt``,
and ``v_leak`` is a bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ExchangeError, ParameterError
from ..exchange.geometry import covered

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DECAY_ONE", "NEVER", "STEP", "UNIT", "Dynamics", "by_channel", "check_step", "constants", "dynamics", "integers",
    "package", "pooled",
]  # fmt: skip

STEP = 1e-4  # seconds: what NIR's users take where nothing is said

UNIT, DECAY_ONE = 1 << 6, 1 << 12
NEVER = (1 << 18) - 1  # threshold of a neuron that is read out
SAME = 1e-6  # part by which factors of channels may differ that are products of float32
LOST = 1e-3  # what float32 may have taken from an integer of 13 bits on its way through NIR


def package() -> Any:
    """The package ``nir``.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import nir
    except ImportError as error:
        raise ImportError("NIR needs the package nir: pip install 'lavadl-lite[nir]'") from error
    return nir


def check_step(dt: Any) -> None:
    """Raise :class:`ParameterError` unless ``dt`` is a time."""
    if isinstance(dt, bool) or not isinstance(dt, int | float | np.number) or not 0 < dt < math.inf:
        raise ParameterError(f"expected dt to be a positive number of seconds, got {dt!r}")


def pooled(before: tuple[int, ...], fields: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape after pooling that completes no kernel, as NIR's does not."""
    sizes = zip(before[1:], *(fields[name] for name in ("kernelSize", "stride", "padding")), strict=True)
    return before[0], *(covered(size, int(k), int(s), int(p), 1) for size, k, s, p in sizes)


def constants(
    neuron: Mapping[str, Any], shape: tuple[int, ...], gain: float, bias: Any, dt: float
) -> tuple[str, dict[str, np.ndarray]]:
    """NIR's node of a CUBA neuron, and its numbers.

    Parameters
    ----------
    neuron : mapping
        Fields of the neuron group.
    shape : tuple of int
        Shape of the layer.
    gain : float
        What inputs are multiplied by.
    bias : number or array (C,)
        What the voltage gets at each step, in units of 1.
    dt : float
        Length of a step in seconds.

    Returns
    -------
    kind : str
        ``LIF`` where the current has no memory, else ``CubaLIF``; ``LI`` and ``CubaLI`` for a neuron that never fires.
    numbers : dict of array of float32, of this shape
    """
    current, voltage = (np.asarray(neuron[name], np.float64) / DECAY_ONE for name in ("iDecay", "vDecay"))
    plain = bool(np.all(current == 1))
    found = {"tau": dt / voltage, "r": gain / voltage} if plain else {"tau_mem": dt / voltage, "r": 1 / voltage}
    found |= {} if plain else {"tau_syn": dt / current, "w_in": gain / current}
    found["v_leak"] = bias / voltage
    fires = neuron["vThMant"] != NEVER
    if fires:
        found |= {"v_threshold": np.asarray(neuron["vThMant"] / UNIT), "v_reset": np.zeros(())}
    kind = ("" if plain else "Cuba") + ("LIF" if fires else "LI")
    return kind, {name: _spread(values, shape) for name, values in found.items()}


def _spread(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A number, or one for each channel, for every neuron."""
    rows = np.reshape(values, (-1, *(1,) * (len(shape) - 1)))
    return np.ascontiguousarray(np.broadcast_to(rows, shape), dtype=np.float32)


@dataclass(frozen=True)
class Dynamics:
    """What a neuron of NIR does in a step.

    Attributes
    ----------
    neuron : dict
        Fields of the neuron group, but for the threshold.
    filtered : bool
        Whether the current has a memory.
    gain, bias : array, shape (C,) or ()
        What inputs are multiplied by, and what the voltage gets at each step.
    threshold : float or None
        None for a neuron that is read out.
    """

    neuron: dict[str, Any]
    filtered: bool
    gain: np.ndarray
    bias: np.ndarray
    threshold: float | None


def dynamics(node: Any, name: str, dt: float, *, nearest: bool) -> Dynamics:
    """A neuron of NIR in steps of ``dt``.

    Raises
    ------
    ExchangeError
        If its numbers are not those of integers, and ``nearest`` is false; or a neuron here cannot have them.
    """
    filtered = hasattr(node, "tau_syn")
    taus = {"iDecay": node.tau_syn, "vDecay": node.tau_mem} if filtered else {"vDecay": node.tau}
    with np.errstate(divide="ignore"):
        parts = {field: dt / by_channel(tau, f"{name}: a time constant") for field, tau in taus.items()}
    neuron: dict[str, Any] = {"type": "CUBA", "iDecay": DECAY_ONE}
    for field, part in parts.items():
        what = f"{name}: {field}, that is {DECAY_ONE} dt / tau"
        decay = integers(part * DECAY_ONE, 0, DECAY_ONE, what, 1, nearest=nearest)
        neuron[field] = decay.astype(np.int64) if decay.ndim else int(decay)
    gain = by_channel(node.r, f"{name}: r") * parts["vDecay"]
    if filtered:
        gain = gain * by_channel(node.w_in, f"{name}: w_in") * parts["iDecay"]
    if np.ptp(gain) <= SAME * np.max(np.abs(gain)):
        gain = np.asarray(np.mean(gain))
    bias = by_channel(node.v_leak, f"{name}: v_leak") * parts["vDecay"]
    threshold = None
    if hasattr(node, "v_threshold"):
        if np.any(node.v_reset):
            raise ExchangeError(f"{name}: expected v_reset of 0, got {np.ravel(node.v_reset)[0]}")
        levels = np.unique(node.v_threshold)
        if len(levels) != 1:
            raise ExchangeError(f"{name}: expected one v_threshold for all neurons, got {levels[0]} to {levels[-1]}")
        threshold = float(levels[0])
    memory = bool(np.any(neuron["iDecay"] != DECAY_ONE))
    return Dynamics(neuron, memory, gain, bias, threshold)


def by_channel(values: Any, what: str) -> np.ndarray:
    """One number for each channel, shape (C,), or () where all are the same.

    Raises
    ------
    ExchangeError
        If neurons of a channel differ.
    """
    values = np.asarray(values, np.float64)
    rows = values.reshape(len(values), -1) if values.ndim else values.reshape(1, 1)
    if (rows != rows[:, :1]).any():
        raise ExchangeError(f"{what}: expected the same for all neurons of a channel, got several")
    return rows[0, 0] if (rows == rows[0, 0]).all() else rows[:, 0]


def integers(values: Any, low: int, high: int, what: str, unit: int = UNIT, *, nearest: bool) -> np.ndarray:
    """``values`` as integers from ``low`` to ``high``.

    Parameters
    ----------
    values : array
        In units of the result.
    low, high : int
        Range, ends included.
    what : str
        What they are, for a message.
    unit : int
        What stands for 1 in a message.
    nearest : bool
        Take the nearest integers in the range, whatever the values.

    Raises
    ------
    ExchangeError
        If some value is none, give or take what float32 loses.
    """
    values = np.asarray(values, np.float64)
    held = np.clip(np.rint(values), low, high)
    wrong = ~(np.abs(held - values) <= (np.inf if nearest else LOST))
    if wrong.any():
        at = np.unravel_index(int(np.argmax(wrong)), values.shape)
        steps = f"multiples of 1/{unit}" if unit > 1 else "integers"
        value, near = values[at] / unit, held[at] / unit
        raise ExchangeError(
            f"{what}: expected {steps} in [{low / unit:g}, {high / unit:g}], got {value:.9g}, the nearest being "
            f"{near:.9g}, which round=True takes"
        )
    return held
