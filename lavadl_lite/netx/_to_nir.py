"""To NIR, the Neuromorphic Intermediate Representation, from entries.  Numbers are made in :mod:`._nir_units`."""

from __future__ import annotations

import itertools
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import exchange
from ..errors import ExchangeError
from ._files import layers_of
from ._nir_units import DECAY_ONE, STEP, UNIT, check_step, constants, package, pooled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..exchange import Layer

__all__ = ["to_nir"]

TYPES = ("input", "flatten", "dense", "conv", "pool")

Shape = tuple[int, ...]


def to_nir(net_or_file: Any, dt: float = STEP) -> Any:
    """Describe a network as a graph of NIR.

    Synapses become ``Linear``, ``Affine``, ``Conv2d`` and ``SumPool2d``, neurons ``LIF`` or ``CubaLIF``, or ``LI`` and
    ``CubaLI`` where they are read out, axonal delays ``Delay``.  The step that each layer of the chip takes is no part
    of the graph.

    Parameters
    ----------
    net_or_file : path or network
        A ``.net`` file, or whatever :func:`save` takes.
    dt : float
        Length of a step in seconds.

    Returns
    -------
    nir.NIRGraph
        What ``nir.write`` takes.

    Raises
    ------
    ExchangeError
        If NIR cannot express something, naming entry and field.
    ParameterError
        If ``dt`` is not a positive number.
    ImportError
        If the package ``nir`` is not installed.
    """
    check_step(dt)
    nir = package()
    is_path = isinstance(net_or_file, str | os.PathLike)
    layers = exchange.read(net_or_file).layers if is_path else layers_of(net_or_file)
    shapes = exchange.output_shapes(layers)
    shape = shapes[0] if layers[0].type == "input" else _first_shape(layers[0])
    for index, (layer, before, after) in enumerate(zip(layers, [shape, *shapes], shapes, strict=False)):
        _refuse(f"/layer/{index}", layer, before, after, last=index == len(layers) - 1)
    nodes: list[tuple[str, Any, Shape]] = [("input", nir.Input({"input": np.array(shape)}), shape)]
    for index, (layer, after) in enumerate(zip(layers, shapes, strict=True)):
        for kind, node, given in _nodes(nir, layer, shape, after, dt):
            node.input_type = {"input": np.array(nodes[-1][2])}
            node.output_type = {"output": np.array(given)}
            nodes.append((f"{kind}_{index}", node, given))
        shape = after
    nodes.append(("output", nir.Output({"output": np.array(shape)}), shape))
    names = [name for name, _, _ in nodes]
    return nir.NIRGraph({name: node for name, node, _ in nodes}, list(itertools.pairwise(names)))


def _refuse(path: str, layer: Layer, before: Shape, after: Shape, *, last: bool) -> None:
    """Raise for what NIR has no word for."""
    neuron, fields = layer.neuron or {}, layer.fields
    delay = np.shape(fields.get("delay", 0))
    reasons = {
        "type": (layer.type not in TYPES, f"NIR has no {layer.type}"),
        "neuron/type": (neuron.get("type", "CUBA") != "CUBA", f"NIR has no {neuron.get('type')} neuron"),
        "weight": ("weight/real" in fields, "NIR has no complex weights"),
        "neuron": (layer.type == "dense" and not neuron and not last, "a sum without neuron is the end of a graph"),
        "neuron/gradedSpike": (bool(neuron.get("gradedSpike")), "NIR has no graded spikes"),
        "neuron/weight_exp": (bool(np.any(neuron.get("weight_exp", 0))), "NIR has no exponent behind the current"),
        "delayShift": ("delayShift" in fields, "NIR does not say when a layer answers"),
        "delay": (delay not in ((), (int(fields["shape"][0]),)), "NIR has no delay of a single connection"),
    }
    if layer.type == "pool":
        reasons["kernelSize"] = (len(np.unique(fields["weight"])) > 1, "a sum pool has the same weight everywhere")
        reasons["dilation"] = (bool(np.any(fields["dilation"] != 1)), "a sum pool has none")
        reasons["shape"] = (pooled(before, fields) != after, "a sum pool leaves out kernels that do not fit")
    for name in ("iDecay", "vDecay") if neuron.get("type") == "CUBA" else ():
        reasons[f"neuron/{name}"] = (
            bool(np.any(neuron[name] == 0)), "without leak a time constant is infinite; 1 is the nearest decay"
        )  # fmt: skip
    if layer.type == "input" and np.any(neuron.get("iDecay", DECAY_ONE) != DECAY_ONE):
        reasons["bias"] = (bool(np.any(fields.get("bias", 0))), "NIR adds nothing to an input")
    for field, (wrong, reason) in reasons.items():
        if wrong:
            raise ExchangeError(f"{path}/{field}: cannot be expressed in NIR: {reason}")


def _first_shape(layer: Layer) -> Shape:
    if layer.type != "dense":
        raise ExchangeError(f"/layer/0/type: expected an input, which says the shape of the plane, got {layer.type}")
    return (layer.fields["inFeatures"],)


def _nodes(nir: Any, layer: Layer, before: Shape, after: Shape, dt: float) -> Iterator[tuple[str, Any, Shape]]:
    """Nodes of one entry: synapse, delay, neuron, delay; each with its shape."""
    fields, neuron = layer.fields, layer.neuron
    bias = np.asarray(fields.get("bias", 0), np.float64) / UNIT
    delay = np.asarray(fields.get("delay", 0), np.float64)
    side = fields.get("delaySide", "output") if delay.any() else None
    gain = 1.0
    if layer.type == "flatten":
        yield "flatten", nir.Flatten({"input": np.array(before)}, 0, -1), after
    elif layer.type == "input":
        gain = float(np.ravel(fields.get("weight", UNIT))[0]) / UNIT
        bias = bias.reshape(())
    elif layer.type == "pool":
        gain = float(fields["weight"].flat[0]) / UNIT
        sizes = [np.array(fields[name]) for name in ("kernelSize", "stride", "padding")]
        yield "sum", nir.SumPool2d(*sizes), after
    else:
        if layer.type == "dense" and len(before) == 3:
            yield "join", nir.Flatten({"input": np.array(before)}, 0, -1), (math.prod(before),)
        # a bias in front of a delay, or of a current with memory, would go through them
        behind = neuron is None or (side != "input" and bool(np.all(neuron["iDecay"] == DECAY_ONE)))
        yield "weight", _synapse(nir, layer, before, bias if behind else np.zeros(())), after
        bias = np.zeros(()) if behind else bias
    if side == "input":
        yield "delay", _delay(nir, delay, after, dt), after
    if neuron is not None:
        kind, numbers = constants(neuron, after, gain, bias, dt)
        yield "neuron", getattr(nir, kind)(**numbers), after
    if side == "output":
        yield "delay", _delay(nir, delay, after, dt), after


def _synapse(nir: Any, layer: Layer, before: Shape, bias: np.ndarray) -> Any:
    fields = layer.fields
    weight = (fields["weight"] / UNIT).astype(np.float32)
    biases = np.broadcast_to(bias, weight.shape[:1]).astype(np.float32)
    if layer.type == "dense":
        return nir.Affine(weight, biases) if bias.any() else nir.Linear(weight)
    stride, padding, dilation = (tuple(int(v) for v in fields[name]) for name in ("stride", "padding", "dilation"))
    return nir.Conv2d(before[1:], weight, stride, padding, dilation, int(fields["groups"]), biases)


def _delay(nir: Any, steps: np.ndarray, shape: Shape, dt: float) -> Any:
    rows = steps.reshape(-1, *(1,) * (len(shape) - 1)) * dt
    return nir.Delay(np.broadcast_to(rows, shape).astype(np.float32))
