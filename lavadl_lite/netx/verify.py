"""Proof that two runs of a network are the same: training, the simulator, and Lava, layer by layer on one input."""

from __future__ import annotations

import copy
import itertools
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import exchange
from ..errors import ParameterError
from ._files import layers_of, parts_of
from .simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..exchange import Layer

__all__ = ["Difference", "Verification", "compare", "verify"]

# states by the names of blocks, and by those of the simulator
STATES = {"current": "current", "voltage": "voltage", "real": "real", "imag": "imag", "sum": "sigma"}
LAVA = {"current": "u", "voltage": "v", "real": "real", "imag": "imag", "sigma": "sigma", "activation": "act"}
STATE_BITS, SIGMA_BITS = 12, 6  # after the point: of states and graded spikes; of sigma-delta messages, and spike_exp
UNIT = 1 << 6  # of a threshold in a file
MESSAGE_BITS = 24  # of messages that are no spikes
PLANES = ("conv", "convT", "pool", "unpool")  # layers that do not say what goes in

Key = tuple[int, str]  # entry of /layer, and "spike" or a state
Pair = tuple[tuple[int | None, str], np.ndarray, np.ndarray]  # two arrays of one layer, shape (N, C, ..., T)


@dataclass(frozen=True)
class Difference:
    """Where two runs differ first: in the first layer that differs its first step, and in that its first neuron.

    Attributes
    ----------
    layer : int or None
        Entry of ``/layer``; None for an output that is only known as such.
    state : str
        ``"spike"`` for messages, or the state that is read out.
    sample, step : int
        Place in the batch, and in time, from 0.
    neuron : tuple of int
        Place in the layer, ``(c,)`` or ``(c, h, w)``.
    expected, found : float
        The values: of a message or a state in units of 1 beside training, as integers beside Lava or a stored output.
    count : int
        Values of this layer that differ.
    """

    layer: int | None
    state: str
    sample: int
    step: int
    neuron: tuple[int, ...]
    expected: float
    found: float
    count: int


@dataclass(frozen=True)
class Verification:
    """What came out of :func:`verify`: true where both sides are equal.

    Attributes
    ----------
    expected, found : str
        The two sides: ``"training"``, ``"simulator"``, ``"Lava"`` or a file.
    values : int
        Values that were compared.
    layers : tuple of int
        Entries of ``/layer`` that were compared.
    difference : Difference or None
        The first difference.
    """

    expected: str
    found: str
    values: int
    layers: tuple[int, ...]
    difference: Difference | None

    def __bool__(self) -> bool:
        return self.difference is None

    def __str__(self) -> str:
        if self.difference is None:
            places = f" of layers {', '.join(map(str, self.layers))}" if self.layers else ""
            return f"{self.expected} and {self.found} are equal: {self.values} values{places}"
        d = self.difference
        place = "the output" if d.layer is None else f"/layer/{d.layer}"
        return (
            f"{self.expected} and {self.found} differ first in {place}, step {d.step}, neuron {d.neuron}, sample "
            f"{d.sample}: {d.state} {d.expected:.12g} in {self.expected}, {d.found:.12g} in {self.found} "
            f"({d.count} values of this layer differ)"
        )


def verify(
    net: Any,
    file: Any,
    inputs: Any,
    against: str = "simulator",
    reset_interval: int | None = None,
    reset_offset: int = 0,
    spike_exp: int = 6,
) -> Verification:
    """Run a trained network and its file on the same inputs, and compare every layer.

    Training is compared with :class:`Simulator` under ``align="slayer"``, then, against Lava, the simulator in Lava's
    own timing with Lava.  Where these two timings differ by more than a number of steps, since there are biases or
    resets, or a signal that Lava's in-port cuts to integers, the result is about simulator and Lava; else it is about
    training and Lava.

    Parameters
    ----------
    net : network or None
        A network of blocks, whose blocks run one after the other.  It stays as it is: a copy runs, in evaluation mode.
        None leaves the comparison with training out, against Lava only.
    file : path or network
        A ``.net`` file, or whatever :func:`save` takes.
    inputs : array or Tensor, shape ([N,] C, T) or ([N,] C, H, W, T)
        Input as training takes it: real-valued for a network with an input layer, changes in multiples of
        ``2 ** -(6 + spike_exp)`` for one that starts with sigma-delta neurons, else spikes or integers.
    against : {"simulator", "lava"}
        What it is compared with.  Lava has to be installed (extra ``lava``).
    reset_interval, reset_offset, spike_exp
        As for :class:`Simulator`; resets, which training does not have, are made beside Lava only.

    Returns
    -------
    Verification
        True if all messages are equal, and what the last layer reads out; else the first difference, as text too.

    Raises
    ------
    ParameterError
        If ``against`` is something else, or blocks and entries do not belong together.
    ExchangeError
        If the file breaks the format.

    Examples
    --------
    >>> result = netx.verify(net, "network.net", x)  # doctest: +SKIP
    >>> assert result, result  # doctest: +SKIP
    """
    if against not in ("simulator", "lava") or (net is None and against == "simulator"):
        raise ParameterError(f"expected a network, or against to be 'lava', got net={net!r}, against={against!r}")
    layers = exchange.read(file).layers if isinstance(file, str | os.PathLike) else layers_of(file)
    x = np.asarray(inputs.detach().cpu() if hasattr(inputs, "detach") else inputs)
    options: dict[str, Any] = {"spike_exp": spike_exp, "input_message_bits": 0}
    shape = x.shape[-4:-1] if layers[0].type in PLANES else None
    first = next(layer for layer in layers if layer.neuron is not None or layer.type == "dense")
    port = x
    if first.type != "input":
        changes = first.neuron is not None and first.neuron["type"] == "SDNN"
        port = x * 2.0 ** (SIGMA_BITS + spike_exp) if changes else x
        options["input_message_bits"] = 0 if np.isin(port, (0, 1)).all() else MESSAGE_BITS
    simulator = Simulator(layers, input_shape=shape, **options)
    if x.ndim == len(simulator.input_shape) + 1:
        x, port = x[None], port[None]
    result = None
    if net is not None:
        result = compare("training", "simulator", _with_training(net, layers, simulator, x, port, spike_exp))
    if against == "lava" and (result is None or result):
        options |= {"reset_interval": reset_interval, "reset_offset": reset_offset}
        timed = Simulator(layers, input_shape=shape, **options)
        pairs = _with_lava(layers, timed, port, {**options, "input_shape": shape and shape[::-1]})
        beside = compare("simulator", "Lava", pairs)
        whole = np.array_equal(timed.encode(port), timed.encode(port, whole=True))
        if result is None or not beside or not whole or reset_interval is not None or _has_bias(layers):
            return beside
        return Verification("training", "Lava", beside.values, beside.layers, None)
    assert result is not None
    return result


def compare(expected: str, found: str, pairs: Sequence[Pair]) -> Verification:
    """The first difference of pairs of arrays.

    Parameters
    ----------
    expected, found : str
        What the two sides are called.
    pairs : sequence of ((layer, state), array, array)
        Arrays of shape (N, C, ..., T), in the order of the layers; of equal shapes, or they differ at once.

    Raises
    ------
    ParameterError
        If the arrays of a pair have different shapes.
    """
    values, layers = 0, []
    for layer, group in itertools.groupby(pairs, key=lambda pair: pair[0][0]):
        found_here = []
        for (_, state), left, right in group:
            if left.shape != right.shape:
                raise ParameterError(f"expected values of shape {left.shape} as {expected} has them, got {right.shape}")
            values += left.size
            if not np.array_equal(left, right):
                found_here.append(_first(layer, state, left, right))
        layers += [] if layer is None else [layer]
        if found_here:
            first = min(found_here, key=lambda difference: difference.step)
            return Verification(expected, found, values, tuple(layers), first)
    return Verification(expected, found, values, tuple(layers), None)


def _first(layer: int | None, state: str, left: np.ndarray, right: np.ndarray) -> Difference:
    """The first step in which two arrays (N, C, ..., T) differ, and the first neuron then."""
    wrong = np.moveaxis(left != right, -1, 0)
    step, sample, *neuron = (int(axis) for axis in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
    place = (sample, *neuron, step)
    return Difference(
        layer, state, sample, step, tuple(neuron), left[place].item(), right[place].item(), int(wrong.sum())
    )


# --- training ---------------------------------------------------------------------------------------------------------


def _with_training(
    net: Any, layers: Sequence[Layer], simulator: Simulator, x: np.ndarray, port: np.ndarray, spike_exp: int
) -> list[Pair]:
    blocks, outputs, states = _trained(net, layers, x)
    wanted = [
        (index, state)
        for index, block in enumerate(blocks)
        for state in (*(STATES[name] for name in states[index] if name in STATES), *_sent(block))
        if state in simulator.recordable.get(index, ())
    ]
    _, seen = simulator.run(simulator.encode(port), "slayer", wanted)
    units = _units(layers, spike_exp)
    pairs: list[Pair] = []
    for index, state in wanted:
        if state == "spike":
            expected, values = outputs[index], seen[index, state] * units[index]
            if math.frexp(units[index])[0] != 0.5:  # a mean that float32 holds only nearly
                wide = expected.astype(np.float64)
                expected = (np.rint(wide / units[index]) * units[index]).astype(np.float32)
        else:
            expected = next(held for name, held in states[index].items() if STATES.get(name) == state)
            values = seen[index, state] * 2.0 ** -(STATE_BITS + (spike_exp if state == "sigma" else 0))
            values = np.where(_reset(layers[index].neuron, states[index]), expected, values)
        if layers[index].neuron is None and layers[index].type == "dense":  # training gives sums, which add up here
            values = np.diff(values, prepend=0, axis=-1)
            expected = np.trunc(expected * 2.0**STATE_BITS) * np.float32(2.0**-STATE_BITS)
        pairs.append(((index, state), expected, values.astype(np.float32)))
    return pairs


def _sent(block: Any) -> tuple[str, ...]:
    """Whether the messages of a block are to be compared: a read-out sends none."""
    return ("spike",) if block.sends or block.synapse is None else ()


def _trained(
    net: Any, layers: Sequence[Layer], x: np.ndarray
) -> tuple[list[Any], list[np.ndarray], list[dict[str, np.ndarray]]]:
    """The blocks of a copy of the network, what each gives, and states by name."""
    import torch

    from ..slayer.utils import record

    parts = [net] if isinstance(net, torch.nn.Module) else list(parts_of(net))
    if not all(isinstance(part, torch.nn.Module) for part in parts):
        raise ParameterError(f"expected a network of blocks, which can run, got {type(net).__name__} of something else")
    whole = copy.deepcopy(parts[0] if len(parts) == 1 else torch.nn.Sequential(*parts)).eval()
    with torch.no_grad(), record(whole, states=True) as seen:
        modules = dict(whole.named_modules())
        blocks = [modules[name] for name in seen]
        if [block.layer_type for block in blocks] != [layer.type for layer in layers]:
            raise ParameterError(
                f"expected a network of {', '.join(layer.type for layer in layers)}, as the file has them, got "
                f"{', '.join(block.layer_type for block in blocks)}"
            )
        for block in blocks:
            block.reset_state()
        whole(torch.from_numpy(x.astype(np.float32)))
    for name, trace in seen.items():
        if len(trace.spikes) != 1:
            raise ParameterError(f"expected blocks that run once, got {len(trace.spikes)} runs of {name}")
    outputs = [trace.spikes[0].cpu().numpy() for trace in seen.values()]
    states = [{name: held.cpu().numpy() for name, held in trace.states[0].items()} for trace in seen.values()]
    for layer, output, held in zip(layers, outputs, states, strict=True):
        if layer.type == "dense" and layer.neuron is None:
            held["real" if "weight/real" in layer.fields else "current"] = output
        elif {"bias", "weight_exp"} & {*layer.fields, *(layer.neuron or {})}:
            held.pop("current", None)  # a norm has changed it already
    return blocks, outputs, states


def _reset(neuron: Any, states: Mapping[str, np.ndarray]) -> Any:
    """Where a spike resets states, which training shows as they were before."""
    kind = None if neuron is None else neuron["type"]
    if kind == "CUBA" and "voltage" in states:
        return states["voltage"] > neuron["vThMant"] / UNIT
    if kind == "RF_IZHIKEVICH" and "real" in states:
        return states["imag"] >= neuron["vThMant"] / UNIT
    return False


def _units(layers: Sequence[Layer], spike_exp: int) -> list[float]:
    """What the integer 1 in a message of each layer stands for."""
    units: list[float] = []
    shapes = exchange.output_shapes(layers)
    for index, layer in enumerate(layers):
        unit = units[-1] if units else 1.0
        if layer.neuron is not None:
            graded = STATE_BITS if layer.neuron.get("gradedSpike") else 0
            unit = 2.0 ** -(SIGMA_BITS + spike_exp if layer.neuron["type"] == "SDNN" else graded)
        elif layer.type == "average":
            unit *= shapes[index][0] / shapes[index - 1][0]
        elif layer.type == "decimation":
            unit /= layer.fields["factor"]
        elif layer.type == "concat":
            unit = units[int(layer.fields["layers"][0])]
        units.append(unit)
    return units


# --- Lava -------------------------------------------------------------------------------------------------------------


def _has_bias(layers: Sequence[Layer]) -> bool:
    """Whether some neurons do something before any input comes."""
    names = ("bias", "bias/real", "bias/imag", "inputBias")
    return any(np.any(layer.fields.get(name, 0)) for layer in layers if layer.type != "input" for name in names)


def _with_lava(
    layers: Sequence[Layer], simulator: Simulator, port: np.ndarray, options: Mapping[str, Any]
) -> list[Pair]:
    populations = [i for i, layer in enumerate(layers) if layer.neuron is not None or layer.type == "dense"]
    keys: list[Key] = [(i, name) for i in populations for name in (*LAVA, "spike") if name in simulator.recordable[i]]
    messages = simulator.encode(port, whole=True)
    _, seen = simulator.run(messages, None, keys)
    runs = [_lava_run(layers, sample, options) for sample in messages]
    order = {index: place for place, index in enumerate(populations)}
    pairs: list[Pair] = []
    for index, name in keys:
        if name in runs[0][order[index]]:
            here, values = seen[index, name], np.stack([run[order[index]][name] for run in runs])
            pairs.append(((index, name), here, values.reshape(here.shape)))
    return pairs


def _lava_run(layers: Sequence[Layer], sample: np.ndarray, options: Mapping[str, Any]) -> list[dict[str, np.ndarray]]:
    """Messages and states of each layer of Lava's network for one sample, by our names, shape (C, ..., T)."""
    from .hdf5 import Network  # patches what lava-nc needs on new Pythons

    net = Network(layers, **options)
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    steps = sample.shape[-1]
    source = Source(data=_turned(sample).astype(np.int32))
    source.s_out.connect(net.inp)
    sinks = []
    for layer in net.layers:
        sinks.append(Sink(shape=layer.out.shape, buffer=steps))
        layer.out.connect(sinks[-1].a_in)
    variables = [
        {name: getattr(layer.neuron, var) for name, var in LAVA.items() if hasattr(layer.neuron, var)}
        for layer in net.layers
    ]
    held: list[dict[str, list[np.ndarray]]] = [{name: [] for name in each} for each in variables]
    try:
        for _ in range(steps):
            net.run(condition=RunSteps(num_steps=1), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
            for each, kept in zip(variables, held, strict=True):
                for name, variable in each.items():
                    kept[name].append(variable.get())
        sent = [sink.data.get() for sink in sinks]
    finally:
        net.stop()
    runs = [
        {"spike": spikes, **{name: np.stack(values, -1) for name, values in kept.items()}}
        for spikes, kept in zip(sent, held, strict=True)
    ]
    return [{name: _turned(values.astype(np.int64)) for name, values in run.items()} for run in runs]


def _turned(values: np.ndarray) -> np.ndarray:
    """Channels, rows, columns and time for Lava's columns, rows, channels and time, or back."""
    return values.transpose((*range(values.ndim - 2, -1, -1), values.ndim - 1))
