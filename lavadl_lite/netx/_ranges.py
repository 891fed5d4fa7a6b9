"""How far the states of a network can go, whatever its input is: bounds from weights, decays and thresholds.

Everything counts units of 1: a weight of 1.0, that is 64 of a file's, or 4096 of a state's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..exchange import Layer

__all__ = ["LIMIT", "PORT", "SPIKES", "Bounds", "bounds"]

LIMIT = 2.0**11  # 24 bits with sign, 12 of them after the point
UNIT, DECAY_ONE = 1 << 6, 1 << 12
STATE_BITS = 12  # after the point, of states, graded spikes and sigma-delta messages
SPIKES = (0.0, 1.0)
SIGNAL = (-4.0, 4.0 - 1 / 32)  # what an input layer holds its signal to

# what the activations of sigma-delta neurons make of -inf, of inf, and how far they exceed an argument above 0
FLOORS = {"relu": 0, "relu6": 0, "hardtanh": -1, "elu": -1, "gelu": -0.17, "selu": -1.76, "silu": -0.28, "tanh": -1}
FLOORS |= {"sigmoid": 0, "softplus": 0}
CEILINGS = {"relu6": 6, "hardtanh": 1, "tanh": 1, "sigmoid": 1}
GAINS, OFFSETS = {"selu": 1.06}, {"softplus": 0.7, "sigmoid": 1}

# what sums up without neuron, by whether weights are complex: no leak, and no spike
SUMS: tuple[Mapping[str, Any], Mapping[str, Any]] = (
    {"type": "CUBA", "iDecay": 0, "vDecay": DECAY_ONE, "vThMant": math.inf},
    {"type": "RF_PHASE", "sinDecay": 0, "cosDecay": DECAY_ONE},
)

Span = tuple[float, float]  # smallest and largest value, 0 between them


class Bounds(NamedTuple):
    """What one layer can come to.

    Attributes
    ----------
    sums : array, shape (channels,), or (1,) or () for all of them
        Largest size of what its synapses add up in one step, of each channel.
    states : dict of array
        Largest size of each of its states, by name and channel; infinite where nothing bounds it but time.
    message : (float, float)
        Smallest and largest message that it sends.
    value : (float, float) or None
        Smallest and largest value that sigma-delta messages add up to.
    bits : int
        Fractional bits of a message, with the usual exponent of sigma-delta ones.
    """

    sums: np.ndarray
    states: dict[str, np.ndarray]
    message: Span
    value: Span | None
    bits: int


PORT = Bounds(np.zeros(()), {}, SPIKES, SPIKES, 0)


def bounds(layers: Sequence[Layer | None]) -> list[Bounds]:
    """Bounds of every layer, for any signal at an input layer, or spikes at the in-port of a network without one.

    Parameters
    ----------
    layers : sequence of Layer or None
        In order of execution.  None, a layer that is not known, counts as an in-port.

    Notes
    -----
    Where sigma-delta neurons are the first, the changes at the in-port are those of values between 0 and 1.
    """
    found: list[Bounds] = []
    for layer in layers:
        before = found[-1] if found else PORT
        if layer is None:
            found.append(PORT)
        elif layer.type == "concat":
            parts = [found[int(i)] for i in layer.fields["layers"]]
            values = [part.value for part in parts if part.value is not None]
            joined = _joined(values) if values else None
            found.append(PORT._replace(message=_joined(p.message for p in parts), value=joined, bits=parts[0].bits))
        elif layer.neuron is None and layer.type != "dense":
            found.append(PORT._replace(message=before.message, value=before.value, bits=before.bits))
        else:
            found.append(_of_neurons(layer, before))
    return found


def _joined(spans: Any) -> Span:
    lows, highs = zip(*spans, strict=True)
    return min(lows), max(highs)


def _of_neurons(layer: Layer, before: Bounds) -> Bounds:
    neuron = layer.neuron or SUMS["weight/real" in layer.fields]
    kind = neuron["type"]
    graded = bool(neuron.get("gradedSpike"))
    own = (0.0, LIMIT) if graded else (-math.inf, math.inf) if kind == "SDNN" else SPIKES
    parts = [part for part in ("", "/real", "/imag") if f"weight{part}" in layer.fields and layer.type != "input"]
    spans = [_sums(layer, part, before.message, own) for part in parts] or [_signal(layer.fields)]
    sums = np.hypot.reduce([np.maximum(-low, high) for low, high in spans])
    if kind == "SDNN":
        return _sigma_delta(layer, neuron, before, sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        if "sinDecay" in neuron:
            states = _resonator(layer.fields, neuron, sums)
            message = own if not graded else (0.0, min(float(np.max(states["imag"])), LIMIT))
        else:
            states, high = _integrator(neuron, *spans[0], _bias(layer))
            message = own if not graded else (0.0, min(float(np.max(high)), LIMIT))
    return Bounds(sums, states, message, None, STATE_BITS if graded else 0)


def _signal(fields: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """What an input layer makes of its signal."""
    weight, bias = (np.ravel(fields.get(name, usual))[0] / UNIT for name, usual in (("weight", UNIT), ("bias", 0)))
    ends = [end * weight + bias for end in SIGNAL]
    return np.array(min(*ends, 0.0)), np.array(max(*ends, 0.0))


def _bias(layer: Layer) -> np.ndarray:
    """What is added to the voltage or to the sum; an input layer's is part of its signal."""
    return np.asarray(0 if layer.type == "input" else layer.fields.get("bias", 0)) / UNIT


def _sums(layer: Layer, part: str, message: Span, own: Span) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest sum of each channel, over all connections of a neuron."""
    low, high = _weighted(_by_output(layer, layer.fields[f"weight{part}"]), message)
    if layer.type == "dense_rec":
        more = _weighted(layer.fields[f"weight_rec{part}"], own)
        constant = layer.fields.get("inputBias", np.zeros(())) / UNIT
        low, high = low + more[0] + np.minimum(constant, 0), high + more[1] + np.maximum(constant, 0)
    return low, high


def _by_output(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """Weights as (channels, connections): a kernel counts whole wherever it lies."""
    if layer.type == "convT":  # (in, out / groups, H, W)
        groups = layer.fields["groups"]
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        return grouped.swapaxes(1, 2).reshape(groups * weight.shape[1], -1)
    return weight.reshape(weight.shape[0], -1)


def _weighted(weight: np.ndarray, message: Span) -> tuple[np.ndarray, np.ndarray]:
    up, down = (np.clip(weight.astype(np.float64), *ends).sum(1) / UNIT for ends in ((0, None), (None, 0)))
    low, high = message
    return _times(up, low) + _times(down, high), _times(up, high) + _times(down, low)


def _times(weight: np.ndarray, end: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(weight == 0, 0.0, weight * end)


def _integrator(
    neuron: Mapping[str, Any], low: np.ndarray, high: np.ndarray, bias: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Current and voltage, and the largest voltage that a spike can carry."""
    divisor = 2.0 ** float(np.ravel(neuron.get("weight_exp", 0))[0])
    adapts = "thDecay" in neuron
    if adapts:  # bias and exponent come before the current, behind it in others
        low, high = (low + np.minimum(bias, 0)) / divisor, (high + np.maximum(bias, 0)) / divisor
    low, high = (_settled(end, neuron["iDecay"]) for end in (low, high))
    drive_low, drive_high = low, high
    if not adapts:
        drive_low, drive_high = (low + np.minimum(bias, 0)) / divisor, (high + np.maximum(bias, 0)) / divisor
    up, down = (_settled(end, neuron["vDecay"]) for end in (drive_high, drive_low))
    if not adapts:  # a spike sets it back
        kept = (DECAY_ONE - neuron["vDecay"]) / DECAY_ONE
        up = np.minimum(up, np.where(kept == 0, 0, kept * (neuron["vThMant"] / UNIT)) + drive_high)
    return {"current": np.maximum(-low, high), "voltage": np.maximum(-down, up)}, up


def _settled(drive: np.ndarray, decay: Any) -> np.ndarray:
    """Where a leaky state ends with ``drive`` at every step."""
    return np.where(drive == 0, 0.0, drive / (np.asarray(decay, np.float64) / DECAY_ONE))


def _resonator(fields: Mapping[str, Any], neuron: Mapping[str, Any], sums: np.ndarray) -> dict[str, np.ndarray]:
    offset = np.hypot(fields.get("bias/real", 0), fields.get("bias/imag", 0)) / UNIT
    drive = (sums + offset) / 2.0 ** float(np.min(neuron.get("weight_exp", 0)))
    left = 1 - np.hypot(neuron["sinDecay"], neuron["cosDecay"]) / DECAY_ONE
    size = np.where(drive == 0, 0.0, np.where(left > 0, drive / left, math.inf))
    return {"real": size, "imag": size}


def _sigma_delta(layer: Layer, neuron: Mapping[str, Any], before: Bounds, sums: np.ndarray) -> Bounds:
    """Messages add up to the sender's activation, give or take what it has not sent yet."""
    slack = float(np.max(neuron.get("vThMant", 0))) / UNIT
    if layer.type == "input":
        low, high = _signal(layer.fields)
    else:
        value = before.value or (-math.inf, math.inf)
        low, high = _sums(layer, "", value, (-math.inf, math.inf))
    states = {"sigma": np.maximum(-low, high)} if layer.type != "input" else {}
    if neuron.get("sigma_output"):
        return Bounds(sums, states, (float(low.min()), float(high.max())), None, 6 + STATE_BITS)
    name = "identity" if layer.type == "input" else neuron["activation"]
    bias = _bias(layer)
    divisor = 1.0 if layer.type == "input" else 2.0 ** float(np.ravel(neuron.get("weight_exp", 0))[0])
    low, high = (low + np.minimum(bias, 0)) / divisor, (high + np.maximum(bias, 0)) / divisor
    least = max(min(float(low.min()), 0.0) * GAINS.get(name, 1), FLOORS.get(name, -math.inf))
    most = min(float(high.max()) * GAINS.get(name, 1) + OFFSETS.get(name, 0), CEILINGS.get(name, math.inf))
    states["activation"] = np.array(max(-least, most))
    swing = most - least + slack
    return Bounds(sums, states, (-swing, swing), (least - slack, most + slack), STATE_BITS)
