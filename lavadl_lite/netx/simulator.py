"""Runs a network file as integers, bit for bit as Lava's fixed-point processes do, without Lava.

The loops are compiled at the first run (:mod:`._lif`); building them from a file is :mod:`._plan`.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import exchange
from ..errors import ParameterError, ShapeError
from ._execute import STATES, execute
from ._files import layers_of
from ._plan import PORT_ONE, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Simulator"]

MESSAGE_MAX = (1 << 24) - 1  # what a message may hold; sums of weighted messages stay inside 64 bits
CHUNK = 1 << 24  # messages that are held at once
SIGNAL_STEP, SIGNAL_MIN, SIGNAL_MAX = 1 / 32, -4.0, 4.0 - 1 / 32  # how training quantises the signal of an input layer


class Simulator:
    """A network of integers with the arithmetic of Lava's LIF and Dense processes.

    Parameters
    ----------
    file_or_net : path or network
        A ``.net`` file, or whatever :func:`save` takes: a network of blocks, entries, or what :func:`load` returned.
    num_layers : int, optional
        Use only that many entries from the start; input and flatten entries count.
    skip_layers : int
        Leave out the entries before this one; the input then is what they would send.
    input_message_bits : int
        0: the first synapses count every non-zero input as one spike.  Greater: they multiply by the integer.
    reset_interval : int, optional
        Set all states to 0 every so many steps.  None: never.
    reset_offset : int
        Phase of these resets, see :meth:`run`.
    spike_exp : int
        Fractional bits of sigma-delta messages, as lava-dl's netx has it; no other neuron uses it.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
        Without batch and time.

    Raises
    ------
    ExchangeError
        If the network breaks the exchange format.
    ParameterError
        If an argument is out of its range, or leaves no neurons.

    Notes
    -----
    A step of a neuron, with ``a`` from its in-port, all in integers, ``z`` shifting toward zero::

        u = wrap24(z(u * (4096 - iDecay) / 4096) + 64 * a)
        v = saturate24(z(v * (4096 - vDecay) / 4096) + z((u + 64 * bias) / 2 ** weight_exp))
        spike = v > 64 * vThMant;  v = 0 where it spikes

    A graded spike carries the voltage, with 12 fractional bits: training multiplies weights by ``v / 4096``, so the
    next current grows by ``z(sum(weight * v) / 64)``.  Lava sends such spikes as ones.

    Examples
    --------
    >>> simulator = Simulator("network.net")                             # doctest: +SKIP
    >>> spikes = simulator.run(simulator.encode(x), align="slayer")      # doctest: +SKIP
    """

    def __init__(
        self,
        file_or_net: Any,
        num_layers: int | None = None,
        skip_layers: int = 0,
        input_message_bits: int = 0,
        reset_interval: int | None = None,
        reset_offset: int = 0,
        spike_exp: int = 6,
    ) -> None:
        if num_layers is not None:
            _check_integer("num_layers", num_layers, 1)
        _check_integer("skip_layers", skip_layers, 0)
        _check_integer("input_message_bits", input_message_bits, 0, 24)
        if reset_interval is not None:
            _check_integer("reset_interval", reset_interval, 1)
        _check_integer("reset_offset", reset_offset, 0)
        _check_integer("spike_exp", spike_exp, 0, 24)
        if isinstance(file_or_net, str | os.PathLike):
            layers = exchange.read(file_or_net, num_layers).layers
        else:
            layers = layers_of(file_or_net)[:num_layers]
        if skip_layers >= len(layers):
            raise ParameterError(f"expected skip_layers below the {len(layers)} entries, got {skip_layers}")
        self.layers = layers
        self.spike_exp = spike_exp
        self.reset_interval = reset_interval
        self.reset_offset = reset_offset
        self.input_shape, self._stages = plan(layers, skip_layers, input_message_bits)
        self.output_shape = self._stages[-1].shape
        first = self._stages[0]
        self._encoder = layers[first.index].fields if first.weight is None else None

    def __repr__(self) -> str:
        shapes = [self.input_shape, *(stage.shape for stage in self._stages)]
        return f"Simulator({' -> '.join(str(shape) for shape in shapes)})"

    def encode(self, x: Any, *, whole: bool = False) -> np.ndarray:
        """Turn a real-valued input into what the in-port carries.

        Parameters
        ----------
        x : array, shape ([N,] C, H, W, T) or ([N,] C, T)
            Input as training takes it.
        whole : bool
            Give integers, rounding toward zero: all that Lava's in-port can carry.

        Returns
        -------
        array of float32, or of int32 where every value is an integer by construction
            Same shape.  Where the network starts with an input layer that has a neuron: ``q(x) * weight + bias`` with
            the integers that the layer stores (64 and 0 where it has none), and ``q`` what training does to the
            signal: rounded to 1/32, half to even, inside [-4, 3.96875].  The result is a multiple of 1/64, and 64
            times it is exactly what training adds to the neuron's current; it is an integer only where the stored
            weight is a multiple of 64.  Elsewhere: the input, which is spikes or messages already, checked.

        Raises
        ------
        ShapeError
            If the shape is not the network's.
        ParameterError
            If a value is NaN, or should be an integer and is not.
        """
        x = _as_array(x)
        self._lead(x.shape)
        if self._encoder is None:
            return _exact(x, 1)
        x = x.astype(np.float32)
        if np.isnan(x).any():
            raise ParameterError("expected numbers, got NaN")
        weight = int(np.ravel(self._encoder.get("weight", PORT_ONE))[0])
        bias = int(np.ravel(self._encoder.get("bias", 0))[0])
        signal = np.clip(np.rint(x / SIGNAL_STEP) * SIGNAL_STEP, SIGNAL_MIN, SIGNAL_MAX)
        states = np.asarray(signal * PORT_ONE, dtype=np.int32) * weight + bias * PORT_ONE
        if whole or weight % PORT_ONE == 0:
            return (np.sign(states) * (np.abs(states) // PORT_ONE)).astype(np.int32)
        return states.astype(np.float32) / np.float32(PORT_ONE)

    def run(self, x: Any, align: str | None = None, record: Iterable[tuple[int, str]] = ()) -> Any:
        """Run the network over a sequence, all states starting at 0.

        Parameters
        ----------
        x : array, shape ([N,] C, H, W, T) or ([N,] C, T)
            What the in-port carries at each step: spikes or integer messages for a network that starts with synapses;
            integers, or what :meth:`encode` gives, for one that starts with an input neuron.  Any numeric type that
            holds such values exactly.
        align : None or "slayer"
            None: Lava's own timing.  Entry t is what Lava's out-port carries at its step t + 1.  Synapses take a step
            and their delays, a bias acts from the first step, and resets are staggered as netx sets them: neuron layer
            k (from 0) at time steps congruent to ``reset_offset + 1 + k``.

            "slayer": the timing of training.  A layer's output is shifted by one step and then delayed; bias and
            resets of all layers start at the first arrival: resets happen before entries ``reset_offset``,
            ``reset_offset + reset_interval``, and so on.  A network with bias then equals training.
        record : iterable of (layer, state)
            States to give back, by entry of ``/layer`` and ``"current"``, ``"voltage"`` (both after the step, reset by
            a spike included, in 4096ths) or ``"spike"`` (what the layer sends).

        Returns
        -------
        array of int32, shape ([N,] C, T) or ([N,] C, H, W, T)
            Messages of the last layer: 0 or 1, or a graded neuron's voltage in 4096ths.  Where ``record`` names
            anything, a pair of this and a dictionary of arrays with the pairs of ``record`` as keys.

        Raises
        ------
        ShapeError
            If the shape of ``x`` is not the network's.
        ParameterError
            If a value is not an integer, or a current leaves the 32 bits that Lava has for it.
        """
        if align not in (None, "slayer"):
            raise ParameterError(f"expected align to be None or 'slayer', got {align!r}")
        record = self._check_record(record)
        x = _as_array(x)
        lead = self._lead(x.shape)
        rows = math.prod(lead), math.prod(self.input_shape), x.shape[-1]
        messages = _exact(x, 1 if self._encoder is None else PORT_ONE).reshape(rows)
        spikes, recorded = self._simulate(messages, record, slayer=align == "slayer")
        output = _to_axes(spikes, lead, self.output_shape)
        if not record:
            return output
        shapes = {stage.index: stage.shape for stage in self._stages}
        return output, {key: _to_axes(values, lead, shapes[key[0]]) for key, values in recorded.items()}

    def _simulate(
        self, x: np.ndarray, record: list[tuple[int, str]], *, slayer: bool
    ) -> tuple[np.ndarray, dict[tuple[int, str], np.ndarray]]:
        """Messages of the last population, and what is recorded, as [samples, time, neurons]."""
        samples, widest, steps = x.shape
        widest = max(widest, *(len(stage.bias) for stage in self._stages))
        chunk = max(CHUNK // max(widest * steps, 1), 1)
        parts = []
        with _progress(samples * len(self._stages)) as advance:
            for lo in range(0, max(samples, 1), chunk):
                messages = np.ascontiguousarray(x[lo : lo + chunk].transpose(0, 2, 1))
                kept = {}
                for order, stage in enumerate(self._stages):
                    wanted = [name for index, name in record if index == stage.index]
                    reset = (self.reset_interval or 0, self.reset_offset + (0 if slayer else order))
                    states = execute(stage, messages, reset, slayer=slayer, wanted=wanted)
                    kept.update({(stage.index, name): states[name] for name in wanted})
                    messages = states["spike"]
                    advance(len(messages))
                parts.append((messages, kept))
        spikes = np.concatenate([messages for messages, _ in parts])
        return spikes, {key: np.concatenate([kept[key] for _, kept in parts]) for key in record}

    def _check_record(self, record: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
        """``record`` as a list, each pair of which names a population of ours."""
        layers = [stage.index for stage in self._stages]
        record = list(record)
        for pair in record:
            if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] in layers and pair[1] in STATES):
                raise ParameterError(f"expected pairs of a layer in {layers} and a state in {STATES}, got {pair!r}")
        return record

    def _lead(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The batch axis, if there is one, of an input of this shape."""
        allowed = {self.input_shape, (math.prod(self.input_shape),)}
        if len(self.input_shape) == 1:
            allowed.add((*self.input_shape, 1, 1))
        for lead in (0, 1):
            if len(shape) > lead + 1 and shape[lead:-1] in allowed:
                return shape[:lead]
        axes = ", ".join(str(size) for size in self.input_shape)
        raise ShapeError(f"expected input of shape ([N,] {axes}, T), got {shape}")


def _to_axes(values: np.ndarray, lead: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """[samples, time, neurons] as ([N,] C, H, W, T)."""
    return np.ascontiguousarray(values.transpose(0, 2, 1)).reshape(*lead, *shape, values.shape[1])


def _as_array(x: Any) -> np.ndarray:
    """Numbers as a NumPy array; tensors of torch are taken from wherever they are."""
    array = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
    if array.dtype.kind not in "biuf":
        raise ParameterError(f"expected numbers, got {array.dtype}")
    return array


def _exact(x: np.ndarray, unit: int) -> np.ndarray:
    """``x * unit`` as int32, where that is an integer and ``x`` has no more than 24 bits."""
    x = x.astype(np.float64) if x.dtype.kind == "f" else x
    inside = (x <= MESSAGE_MAX) & (x >= -MESSAGE_MAX)  # NaN is not
    if not inside.all():
        raise ParameterError(f"expected messages of at most 24 bits, got {x[~inside][0]}")
    scaled = x * unit if x.dtype.kind == "f" else x.astype(np.int32) * unit
    integers = scaled.astype(np.int32)
    if not (integers == scaled).all():
        steps = "integers" if unit == 1 else f"multiples of 1/{unit} (see encode)"
        raise ParameterError(f"expected {steps}, got {x[integers != scaled][0]}")
    return integers


def _check_integer(name: str, value: Any, low: int, high: int | None = None) -> None:
    good = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not good or value < low or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high}"
        raise ParameterError(f"expected {name} to be an integer of at least {low}{upper}, got {value!r}")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], Any]]:
    """A bar for long runs, where there is a terminal to show it and tqdm to draw it."""
    if not sys.stderr.isatty() or importlib.util.find_spec("tqdm") is None:
        yield lambda done: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc="simulate", unit="layer", delay=2, leave=False) as bar:
        yield bar.update
