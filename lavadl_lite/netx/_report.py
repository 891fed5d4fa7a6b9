"""A network file as a table: layers, shapes, neurons, weights, delays, thresholds and decays.  Runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..exchange import output_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..exchange import Layer, Network

__all__ = ["has_neurons", "table", "weight_bits"]


def table(network: Network) -> str:
    """Rows of the layers, and a line that sums up.

    Parameters
    ----------
    network : Network
        What :func:`~lavadl_lite.netx.load` returned.
    """
    shapes = output_shapes(network.layers)
    rows = [_describe(i, layer, shape) for i, (layer, shape) in enumerate(zip(network.layers, shapes, strict=True))]
    header = {name: name for name in rows[0]}
    widths = {name: max(len(row[name]) for row in (header, *rows)) for name in header}
    lines = ["  ".join(row[name].rjust(widths[name]) for name in header).rstrip() for row in (header, *rows)]
    neurons = sum(int(np.prod(s)) for layer, s in zip(network.layers, shapes, strict=True) if has_neurons(layer))
    weights = sum(int(np.count_nonzero(_weights(layer))) for layer in network.layers)
    origin = network.library_version or "no version: written by lava-dl"
    return "\n".join([*lines, f"{neurons} neurons, {weights} weights; {origin}"])


def has_neurons(layer: Layer) -> bool:
    """Whether a layer holds states; a dense one without neuron sums up."""
    return layer.neuron is not None or layer.type == "dense"


def weight_bits(weight: np.ndarray) -> int:
    """Bits of the integers that remain when a common power of two is taken out, sign included."""
    integers = weight.astype(np.int64)
    together = int(np.bitwise_or.reduce(integers, axis=None))
    if not together:
        return 0
    integers //= together & -together  # the lowest bit that any weight has
    low, high = int(integers.min()), int(integers.max())
    return max(max(high, 0).bit_length(), (-low - 1).bit_length()) + 1 if low < 0 else high.bit_length()


def _weights(layer: Layer) -> np.ndarray:
    """All weights of the synapses, as they are stored: a kernel's once, and both parts of complex ones."""
    names = () if layer.type == "input" else ("weight", "weight_rec")
    keys = [key for name in names for key in (name, f"{name}/real", f"{name}/imag") if key in layer.fields]
    return np.concatenate([np.zeros(0), *(np.ravel(layer.fields[key]) for key in keys)])


def _describe(index: int, layer: Layer, shape: tuple[int, ...]) -> dict[str, str]:
    """One row of the table; what a layer does not have is a dash."""
    cell, weights = layer.neuron or {}, _weights(layer)
    row = {"layer": str(index), "type": layer.type, "shape": "x".join(str(size) for size in shape)}
    row["neuron"] = cell.get("type", "integrator" if has_neurons(layer) else "-")
    row["neurons"] = str(np.prod(shape)) if has_neurons(layer) else "-"
    row["weights"] = str(np.count_nonzero(weights)) if weights.size else "-"
    row["bits"] = str(weight_bits(weights)) if weights.size else "-"
    row["bias"] = _range(layer.fields, "bias", "bias/real", "bias/imag")
    row["delay"] = _range(layer.fields, "delay")
    row["threshold"] = _range(cell, "vThMant")
    for name in ("iDecay", "vDecay"):
        row[name] = _range(cell, name)
    return row


def _range(fields: Mapping[str, Any], *names: str) -> str:
    """What the fields of these names span, or a dash where there is none."""
    values = [np.ravel(fields[name]) for name in names if name in fields]
    if not values:
        return "-"
    low, high = int(np.min(values)), int(np.max(values))
    return str(low) if low == high else f"{low}..{high}"
