"""Weights of a layer in the order in which the simulator's loops read them; the loops are in :mod:`._events`.

Populations are flat, the channels of a plane beside each other: (H, W, C).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..exchange.fields import PARTS
from ._share import share

if TYPE_CHECKING:
    from ..exchange import Layer

__all__ = ["Full", "Plane", "feedback_of", "synapse_of"]

Shape = tuple[int, ...]


class Full:
    """Every input to every neuron.

    Parameters
    ----------
    weights : sequence of array of int, shape (out, in)
        One, or the real and the imaginary one.

    Attributes
    ----------
    reach : int
        Largest sum of absolute weights of a neuron.
    wraps : bool
        Whether Lava brings the sums back into 24 bits.
    """

    wraps = False

    def __init__(self, weights: list[np.ndarray]) -> None:
        self.weights = [np.ascontiguousarray(weight.T, dtype=np.int16) for weight in weights]
        self.size = self.weights[0].shape[1]
        self.reach = max(int(np.abs(weight).sum(1).max(initial=0)) for weight in weights)

    def sums(self, x: np.ndarray, *, spikes: bool) -> list[np.ndarray]:
        """Totals, int64 [samples, time, neurons], of messages [samples, time, inputs]; one for each weight.

        ``spikes``: whether all messages are 0 or 1.
        """
        from . import _events

        return [_each_row(_events.gather, x, self.size, weight, spikes) for weight in self.weights]


class Plane:
    """Kernels that move over a plane: convolution and pooling, and their transposes.

    Parameters
    ----------
    layer : Layer
        Of type conv, convT, pool or unpool.
    before, after : (int, int, int)
        Shapes of the planes, channels first.
    """

    wraps = True

    def __init__(self, layer: Layer, before: Shape, after: Shape) -> None:
        fields = layer.fields
        groups = before[0] if "pool" in layer.type else fields["groups"]
        self.size = math.prod(after)
        self.sizes = np.array([before[0] // groups, after[0]])
        self.weights = [_channel_first(layer.type, weight, before[0], groups) for weight in weights_of(layer, "weight")]
        self.reach = max(
            int(np.abs(weight.astype(np.int64)).reshape(groups, -1, weight.shape[2]).sum(1).max())
            for weight in self.weights
        )
        moves = [[int(v) for v in fields[name]] for name in ("kernelSize", "stride", "padding", "dilation")]
        steps = (moves[0][1], after[2]), (1, 1)
        spreads = layer.type in ("convT", "unpool")
        self.links: list[np.ndarray] = []
        for size, length, move, (entry, place) in zip(
            before[1:], after[1:], zip(*moves, strict=True), steps, strict=True
        ):
            starts, pairs = _links(size, length, *move, spreads=spreads)
            self.links += [starts, pairs * np.array([entry, place])]

    def sums(self, x: np.ndarray, *, spikes: bool) -> list[np.ndarray]:
        """As for :class:`Full`."""
        from . import _events

        return [_each_row(_events.scatter, x, self.size, weight, *self.links, self.sizes) for weight in self.weights]


def weights_of(layer: Layer, name: str) -> list[np.ndarray]:
    """The field ``name``, or its two parts."""
    fields = layer.fields
    return [fields[name]] if name in fields else [fields[f"{name}/{part}"] for part in PARTS]


def synapse_of(layer: Layer, before: Shape, after: Shape) -> Full | Plane:
    """What leads into the neurons of a layer, which is no input."""
    if layer.type.startswith("dense"):
        return Full(weights_of(layer, "weight"))
    return Plane(layer, before, after)


def feedback_of(layer: Layer) -> Full | None:
    """What leads from its neurons back to them."""
    return Full(weights_of(layer, "weight_rec")) if layer.type == "dense_rec" else None


def _each_row(kernel: Any, x: np.ndarray, size: int, *rest: Any) -> np.ndarray:
    """Sums of all steps of all samples, over the threads."""
    total = np.empty((*x.shape[:2], size), np.int64)
    rows, sums = x.reshape(x.shape[0] * x.shape[1], x.shape[2]), total.reshape(x.shape[0] * x.shape[1], size)
    share(lambda lo, hi: kernel(rows, *rest, sums, lo, hi), len(rows), x.size + total.size)
    return total


def _channel_first(kind: str, weight: np.ndarray, channels: int, groups: int) -> np.ndarray:
    """Weights as [channel of the input, place in the kernel, output inside its group]."""
    if "pool" in kind:
        weight = np.broadcast_to(weight.reshape(1, -1, 1), (channels, weight.size, 1))
    elif kind == "convT":
        weight = weight.reshape(channels, weight.shape[1], -1).transpose(0, 2, 1)
    else:
        features, inputs = weight.shape[:2]
        weight = weight.reshape(groups, features // groups, inputs, -1).transpose(0, 2, 3, 1)
        weight = weight.reshape(channels, -1, features // groups)
    return np.ascontiguousarray(weight, dtype=np.int16)


def _links(
    size: int, length: int, kernel: int, stride: int, padding: int, dilation: int, *, spreads: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: where the links of each input begin, and all of them as (entry of the kernel, output)."""
    place, entry = np.arange(size)[:, None], np.arange(kernel)
    if spreads:
        output = place * stride + entry * dilation - padding
        meets = output >= 0
    else:
        moved = place + padding - entry * dilation
        output = moved // stride
        meets = (moved >= 0) & (moved % stride == 0)
    meets &= output < length
    starts = np.concatenate([[0], np.cumsum(meets.sum(1))])
    return starts, np.stack([np.broadcast_to(entry, meets.shape)[meets], output[meets]], 1)
