"""From NIR, the Neuromorphic Intermediate Representation, to entries.  Numbers are made in :mod:`._nir_units`."""

from __future__ import annotations

import contextlib
import math
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import exchange
from ..errors import ExchangeError
from ..exchange.geometry import covered
from ..exchange.layers import BIAS_MAX, BIAS_MIN, DELAY_MAX, WEIGHT_MAX, WEIGHT_MIN
from ..exchange.neurons import THRESHOLD_MAX
from ._nir_units import NEVER, STEP, UNIT, Dynamics, by_channel, check_step, dynamics, integers, package, pooled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..exchange import Layer

__all__ = ["from_nir"]

SYNAPSES = ("Linear", "Affine", "Conv2d", "SumPool2d")
NEURONS = ("LIF", "CubaLIF", "LI", "CubaLI")

Shape = tuple[int, ...]
Node = tuple[str, Any]  # its name in a graph, and itself


def from_nir(graph_or_path: Any, dt: float = STEP, round: bool = False) -> exchange.Network:
    """Read a chain of NIR's nodes as a network.

    Parameters
    ----------
    graph_or_path : nir.NIRGraph or path
        What :func:`to_nir` gives, or a file that holds such.
    dt : float
        Length of a step in seconds.
    round : bool
        Take the nearest weights, decays, thresholds and delays that integers can express.

    Returns
    -------
    Network
        What :func:`save`, :class:`Simulator` and ``slayer.auto.SequentialNetwork`` take.  An input that only says a
        number of channels has no entry.

    Raises
    ------
    ExchangeError
        If the graph is no chain, or a node or a number cannot be expressed, naming the node.
    ParameterError
        If ``dt`` is not a positive number.
    ImportError
        If the package ``nir`` is needed to read a file and is not installed.

    Notes
    -----
    A factor between synapses and neurons, such as ``r dt / tau_mem`` where it is not 1, goes into the weights if that
    makes them integers, else into the threshold.
    """
    check_step(dt)
    if isinstance(graph_or_path, str | os.PathLike):
        graph_or_path = _read(graph_or_path)
    nodes = _chain(graph_or_path)
    shape = tuple(int(size) for size in nodes.pop(0)[1].input_type["input"])
    layers: list[Layer] = []
    if nodes and (len(shape) == 3 or _kind(nodes[0]) not in ("Linear", "Affine")):
        neurons = _neurons(nodes, dt, nearest=round) if _kind(nodes[0]) in NEURONS else None
        layers.append(_fitted("input", {"shape": np.array(shape)}, np.ones(1), neurons, nearest=round))
    while nodes:
        node = nodes.pop(0)
        if _kind(node) == "Flatten":
            shape = _flattened(node, shape)
            layers.append(exchange.Layer("flatten", {"shape": np.array([*shape, 1, 1])}))
        elif _kind(node) in SYNAPSES:
            layer_type, fields, weight = _synapses(node, shape)
            shape = tuple(int(size) for size in fields["shape"])
            neurons = _neurons(nodes, dt, nearest=round)
            if neurons is None and (nodes or layer_type != "dense"):
                raise ExchangeError(
                    f"{_name(node)}: expected neurons behind it, got {_name(nodes[0]) if nodes else 'none'}"
                )
            layers.append(_fitted(layer_type, fields, weight, neurons, nearest=round, path=_name(node)))
        else:
            raise ExchangeError(f"{_name(node)}: cannot be expressed in the exchange format, or not at this place")
    checked = tuple(exchange.check_layer(layer, f"/layer/{i}") for i, layer in enumerate(layers))
    exchange.output_shapes(checked)
    return exchange.Network(checked)


def _read(path: Any) -> Any:
    """A graph from a file; shapes are checked here, since nir has none for groups and oblong kernels."""
    nir = package()
    try:
        return nir.read(path, type_check=False)
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise ExchangeError(f"{path}: expected a graph that nir can read: {error}") from error


def _kind(node: Node) -> str:
    return type(node[1]).__name__


def _name(node: Node) -> str:
    return f"/node/{node[0]} ({_kind(node)})"


def _chain(graph: Any) -> list[Node]:
    """The nodes from the input on, without the output."""
    found: Mapping[str, Any] = getattr(graph, "nodes", {})
    starts = [name for name, node in found.items() if _kind((name, node)) == "Input"]
    if len(starts) != 1:
        raise ExchangeError(f"expected a graph of NIR with one input, got {len(starts)}")
    after: dict[str, list[str]] = {name: [] for name in found}
    for source, target in graph.edges:
        after[source].append(target)
    names = starts
    while targets := after[names[-1]]:
        if len(targets) > 1 or targets[0] in names:
            what = "a loop" if targets[0] in names else ", ".join(targets)
            raise ExchangeError(f"{_name((names[-1], found[names[-1]]))}: expected one node behind it, got {what}")
        names = [*names, targets[0]]
    if missing := sorted(set(found) - set(names)):
        raise ExchangeError(f"{_name((missing[0], found[missing[0]]))}: expected a chain of nodes, got one beside it")
    return [(name, found[name]) for name in names if _kind((name, found[name])) != "Output"]


def _flattened(node: Node, shape: Shape) -> Shape:
    ends = int(node[1].start_dim), int(node[1].end_dim)
    if ends[0] not in (0, -len(shape)) or ends[1] not in (-1, len(shape) - 1):
        raise ExchangeError(
            f"{_name(node)}: expected all of {len(shape)} axes to be joined, got {ends[0]} to {ends[1]}"
        )
    return (math.prod(shape),)


def _synapses(node: Node, shape: Shape) -> tuple[str, dict[str, Any], np.ndarray]:
    """Type and fields of a layer, a bias in units of 1 among them, and its weights in these units."""
    values, path = node[1], _name(node)
    fields: dict[str, Any] = {}
    if _kind(node) == "SumPool2d":
        fields = _moves(path, values.kernel_size, values.stride, values.padding, 1, shape)
        kernel = fields["kernelSize"]
        if np.any((kernel == fields["stride"]) & (np.array(shape[1:]) % kernel != 0)):
            raise ExchangeError(f"{path}: expected kernels that fit a plane of {shape[1:]}, got {tuple(kernel)}")
        return "pool", {**fields, "shape": np.array(pooled(shape, fields))}, np.ones((1, 1, *kernel))
    weight = np.asarray(values.weight, np.float64)
    fields["bias"] = np.asarray(getattr(values, "bias", 0), np.float64)
    if _kind(node) == "Conv2d":
        channels, groups = len(weight), int(values.groups)
        fields |= _moves(path, weight.shape[2:], values.stride, values.padding, values.dilation, shape)
        fields |= {"inChannels": shape[0], "outChannels": channels, "groups": groups}
        moves = (fields[name] for name in ("kernelSize", "stride", "padding", "dilation"))
        plane = [covered(size, *map(int, sizes)) for size, *sizes in zip(shape[1:], *moves, strict=True)]
        if shape[0] != groups * weight.shape[1] or min(plane) < 1:
            raise ExchangeError(f"{path}: expected a kernel for an input of shape {shape}, got one of {weight.shape}")
        return "conv", {**fields, "shape": np.array([channels, *plane])}, weight
    if weight.ndim != 2 or math.prod(shape) != weight.shape[-1] or shape[0] != weight.shape[-1]:
        raise ExchangeError(f"{path}: expected weights (outputs, inputs) for an input of {shape}, got {weight.shape}")
    sizes = {"inFeatures": weight.shape[1], "outFeatures": weight.shape[0], "shape": np.array(weight.shape[:1])}
    return "dense", {**fields, **sizes}, weight


def _moves(path: str, kernel: Any, stride: Any, padding: Any, dilation: Any, shape: Shape) -> dict[str, np.ndarray]:
    if len(shape) != 3:
        raise ExchangeError(f"{path}: expected a plane before it, got shape {shape}")
    if isinstance(padding, bytes | str):
        reach = np.broadcast_to(dilation, 2) * (np.asarray(kernel) - 1)
        if str(padding, "ascii") if isinstance(padding, bytes) else padding == "valid":
            reach = np.zeros(2, int)
        if np.any(reach % 2) or (np.any(reach) and np.any(np.asarray(stride) != 1)):
            raise ExchangeError(f"{path}: expected the same padding on both sides, got {padding!r}")
        padding = reach // 2
    values = {"kernelSize": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return {name: np.broadcast_to(np.asarray(value, np.int64), 2) for name, value in values.items()}


def _neurons(nodes: list[Node], dt: float, *, nearest: bool) -> tuple[Dynamics, dict[str, Any]] | None:
    """The neurons that come next, and the delay before or behind them; taken from ``nodes``."""
    kinds = [_kind(node) for node in nodes[:2]]
    before = {}
    if kinds[:1] == ["Delay"] and kinds[1:] and kinds[1] in NEURONS:
        before = _delayed(nodes.pop(0), "input", dt, nearest=nearest)
    if not nodes or _kind(nodes[0]) not in NEURONS:
        return None
    node = nodes.pop(0)
    found = dynamics(node[1], _name(node), dt, nearest=nearest)
    behind = {}
    if nodes and _kind(nodes[0]) == "Delay":
        behind = _delayed(nodes.pop(0), "output", dt, nearest=nearest)
    if before and behind:
        raise ExchangeError(f"{_name(node)}: expected a delay before or behind it, got both")
    return found, before or behind


def _delayed(node: Node, side: str, dt: float, *, nearest: bool) -> dict[str, Any]:
    steps = by_channel(node[1].delay, _name(node)) / dt
    whole = integers(steps, 0, DELAY_MAX, f"{_name(node)}: the delay in steps of {dt:g} s", 1, nearest=nearest)
    return {"delay": whole, "delaySide": side} if whole.any() else {}


def _fitted(
    layer_type: str,
    fields: dict[str, Any],
    weight: np.ndarray,
    neurons: tuple[Dynamics, dict[str, Any]] | None,
    *,
    nearest: bool,
    path: str = "/node/input",
) -> Layer:
    """An entry with integers for the weights, and what else there is."""
    offset = fields.pop("bias", np.zeros(()))
    if neurons is None:
        if layer_type == "input":
            return exchange.Layer("input", fields)
        return exchange.Layer(layer_type, {**fields, **_numbers(path, layer_type, fields, weight, offset, nearest)})
    found, delay = neurons
    if np.any(offset) and (found.filtered or delay.get("delaySide") == "input"):
        raise ExchangeError(f"{path}: expected no bias in front of a delay or a current with memory, only a v_leak")
    if layer_type == "input" and (delay or (found.filtered and np.any(found.bias))):
        raise ExchangeError(f"{path}: expected neurons without delay or v_leak behind an input, got some")
    ways = [(found.gain, 1.0)]
    if found.gain.ndim == 0 and found.gain > 0 and found.gain != 1 and found.threshold is not None:
        ways.append((np.ones(()), 1 / float(found.gain)))
    size = int(fields["shape"][0])
    if delay:
        fields |= {**delay, "delay": np.broadcast_to(delay["delay"], size)}
    made = partial(_made, layer_type, fields, weight, found, offset, path)
    for way in ways[:-1]:
        with contextlib.suppress(ExchangeError):
            return made(*way, nearest=False)
    return made(*ways[-1], nearest=nearest)


def _made(
    layer_type: str,
    fields: Mapping[str, Any],
    weight: np.ndarray,
    found: Dynamics,
    offset: np.ndarray,
    path: str,
    gain: np.ndarray,
    scale: float,
    *,
    nearest: bool,
) -> Layer:
    """An entry with weights that are multiplied by ``gain``, and voltages that are multiplied by ``scale``."""
    values = weight * gain.reshape(-1, *(1,) * (weight.ndim - 1))
    if values.shape != weight.shape:
        raise ExchangeError(f"{path}: expected the same factors for all of its neurons, got several")
    numbers = _numbers(path, layer_type, fields, values, found.bias * scale + offset * gain, nearest)
    level = NEVER
    if found.threshold is not None:
        what = f"{path}: v_threshold of its neurons"
        level = int(integers(found.threshold * scale * UNIT, 0, THRESHOLD_MAX, what, nearest=nearest))
    return exchange.Layer(layer_type, {**fields, **numbers}, {**found.neuron, "vThMant": level})


def _numbers(
    path: str, layer_type: str, fields: Mapping[str, Any], weight: np.ndarray, bias: np.ndarray, nearest: bool
) -> dict[str, np.ndarray]:
    """Weights and bias as integers; the usual weight of an input, and a bias of 0, are left out."""
    numbers = {"weight": integers(weight * UNIT, WEIGHT_MIN, WEIGHT_MAX, f"{path}: weight", nearest=nearest)}
    if layer_type == "input" and numbers["weight"][0] == UNIT:
        numbers = {}
    if not np.any(bias):
        return numbers
    if layer_type == "pool":
        raise ExchangeError(f"{path}: expected neurons without v_leak behind a pool, got one")
    size = 1 if layer_type == "input" else int(fields["shape"][0])
    whole = integers(bias * UNIT, BIAS_MIN, BIAS_MAX, f"{path}: bias, or v_leak dt / tau_mem", nearest=nearest)
    return {**numbers, "bias": np.broadcast_to(whole, size).copy()}
