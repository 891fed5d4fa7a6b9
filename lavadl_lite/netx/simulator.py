"""Runs a network file as integers, bit for bit as Lava's fixed-point processes do, without Lava.

What an entry of the file does is in :mod:`._execute`; reading it for that is :mod:`._plan`.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import exchange
from ..errors import ParameterError, ShapeError
from ._execute import names_of, worker_of
from ._files import layers_of
from ._plan import MESSAGE_MAX, PORT_ONE, Shape, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._plan import Stage

__all__ = ["Simulator"]

CHUNK = 1 << 20  # messages of an entry that are held at once
STEPS = 16  # of which a chunk has as many at least, where the batch can be cut
SIGNAL_STEP, SIGNAL_MIN, SIGNAL_MAX = 1 / 32, -4.0, 4.0 - 1 / 32  # how training quantises the signal of an input layer


class Simulator:
    """A network of integers with the arithmetic of Lava's fixed-point processes.

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
        Bring all states back to their start every so many steps.  None: never.
    reset_offset : int
        Phase of these resets, see :meth:`run`.
    spike_exp : int
        Fractional bits of sigma-delta messages beyond six, as lava-dl's netx has it; training has 6.
    input_shape : tuple of int, optional
        ``(C, H, W)`` or ``(n,)`` of what goes in, where no entry tells it: a network that starts with a convolution.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
        Without batch and time.
    output_scale : float
        What a unit of the output stands for: 1 for spikes, ``2 ** -12`` for graded ones and so on.
    recordable : mapping of int to tuple of str
        What can be recorded of each entry, see :meth:`run`.

    Raises
    ------
    ExchangeError
        If the network breaks the exchange format.
    ParameterError
        If an argument is out of its range or missing, it leaves no neurons, or a layer cannot take what is sent to it:
        synapses need means of a power of two of channels, a concat needs messages of one kind.

    Notes
    -----
    A message is an integer.  It stands for itself where it is a spike (0 or 1), for 4096ths where it is a graded one,
    and for ``2 ** -(6 + spike_exp)`` where a sigma-delta neuron sends it.  An average sends the sum of its channels, a
    decimation that of its steps; the division is in what the sum stands for.  Synapses add up ``weight * message``, a
    state of 4096ths grows by the sum cut once toward zero.  Sums of convolutions and poolings come back into 24 bits as
    Lava's do, but not those of graded states, which Lava does not send, nor with ``align="slayer"``: training has no
    such limit.

    A step of a CUBA neuron, with ``a`` from its in-port, all in integers, ``z`` shifting toward zero::

        u = wrap24(z(u * (4096 - iDecay) / 4096) + 64 * a)
        v = saturate24(z(v * (4096 - vDecay) / 4096) + z((u + 64 * bias) / 2 ** weight_exp))
        spike = v > 64 * vThMant;  v = 0 where it spikes

    ALIF, RF and ADRF neurons add bias and division by ``2 ** weight_exp`` to what arrives, step as training does, and
    saturate all states.  A sigma-delta neuron sums up what arrives in units of ``2 ** -(12 + spike_exp)``, adds its
    bias, activates, and sends the floor of what changed by the threshold or more.  ``identity``, ``relu``, ``relu6``
    and ``hardtanh`` are exact in integers; ``leaky_relu`` gives training's float32 bits; ``elu``, ``gelu``, ``selu``,
    ``sigmoid``, ``silu``, ``softplus`` and ``tanh`` are rounded from float64 to float32, of which torch's own value may
    differ in the last bits, so that a message may differ by one unit.

    What lava-dl's netx leaves out is not left out here: graded spikes, activation functions, ``weight_exp``, delays of
    convolutions, the adaptation of resonators.

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
        input_shape: Shape | None = None,
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
        if input_shape is not None:
            for size in input_shape:
                _check_integer("each of input_shape", size, 1)
        self.layers = layers
        self.spike_exp = spike_exp
        self.reset_interval = reset_interval
        self.reset_offset = reset_offset
        self._plan = plan(layers, skip_layers, input_message_bits, spike_exp, input_shape)
        first, last = self._plan.stages[0], self._plan.stages[-1]
        self.input_shape, self.output_shape = self._plan.input_shape, last.shape
        self.output_scale = last.sends.scale
        self.recordable = MappingProxyType({stage.index: names_of(stage) for stage in self._plan.stages})
        self._encoder = first.layer.fields if first.order is not None and first.layer.type == "input" else None

    def __repr__(self) -> str:
        shapes = [self.input_shape, *(stage.shape for stage in self._plan.stages if stage.order is not None)]
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
            None: Lava's own timing.  Entry t is what Lava's out-port carries at its step t + 1.  Every layer with
            synapses takes a step and its delays, a bias acts from the first step, and resets are staggered as netx sets
            them: neuron layer k (from 0) at time steps congruent to ``reset_offset + 1 + k``.  What the file says of
            training's delays (``delaySide``, ``delayShift``) does not count.

            "slayer": the timing of training.  A layer's output is shifted by a step, unless its family or its
            ``delayShift`` says otherwise, and then delayed; bias and resets of all layers start at the first arrival:
            resets happen before entries ``reset_offset``, ``reset_offset + reset_interval``, and so on.  The threshold
            of a sigma-delta neuron is one unit of a message at least.  A network then equals training.
        record : iterable of (layer, state)
            States to give back, by entry of ``/layer`` and name: ``"spike"``, what any entry sends; ``"current"`` and
            ``"voltage"`` of CUBA and ALIF; ``"real"`` and ``"imag"`` of complex neurons; ``"threshold"`` and
            ``"refractory"`` of adaptive ones; ``"sigma"``, ``"activation"`` and ``"residue"`` of sigma-delta, in units
            of ``2 ** -(12 + spike_exp)``, all others in 4096ths.  States are those after the step, with what its spike
            does to them.  See ``recordable``.

        Returns
        -------
        array of int32, shape ([N,] C, T) or ([N,] C, H, W, T)
            Messages of the last entry, which times ``output_scale`` are what training gives.  Behind a decimation by F
            there are ``ceil(T / F)`` steps.  Where ``record`` names anything, a pair of this and a dictionary of
            integer arrays with the pairs of ``record`` as keys.

        Raises
        ------
        ShapeError
            If the shape of ``x`` is not the network's.
        ParameterError
            If a value is not an integer, or a current or a message leaves the 32 bits that Lava has for it.
        """
        if align not in (None, "slayer"):
            raise ParameterError(f"expected align to be None or 'slayer', got {align!r}")
        record = self._check_record(record)
        x = _as_array(x)
        lead = self._lead(x.shape)
        size = math.prod(self.input_shape)
        x = _exact(x, 1 if self._encoder is None else PORT_ONE).reshape(math.prod(lead), size, x.shape[-1])
        x = (x != 0).astype(np.int32) if self._plan.spikes else x
        output, recorded = self._simulate(x, record, slayer=align == "slayer")
        found = _to_axes(output, lead, self.output_shape)
        if not record:
            return found
        shapes = {stage.index: stage.shape for stage in self._plan.stages}
        return found, {key: _to_axes(values, lead, shapes[key[0]]) for key, values in recorded.items()}

    def _simulate(
        self, x: np.ndarray, record: list[tuple[int, str]], *, slayer: bool
    ) -> tuple[np.ndarray, dict[tuple[int, str], np.ndarray]]:
        """Messages of the last entry, and what is recorded, as [samples, time, neurons]."""
        samples, widest, steps = x.shape
        widest = max(widest, *(stage.neurons for stage in self._plan.stages))
        batch = max(CHUNK // (widest * STEPS), 1)
        chunk = max(CHUNK // (widest * min(batch, max(samples, 1))), 1)
        parts = []
        with _progress(samples * steps) as advance:
            for lo in range(0, max(samples, 1), batch):
                some = x[lo : lo + batch]
                workers = [self._worker(stage, len(some), record, slayer=slayer) for stage in self._plan.stages]
                kept: dict[tuple[int, str], list[np.ndarray]] = {key: [] for key in [*record, (-1, "spike")]}
                for t in range(0, max(steps, 1), chunk):
                    piece = some[:, :, t : t + chunk]
                    piece = _channels_last(some[:, :, t : t + chunk], self.input_shape)
                    self._advance(workers, piece, kept, end=t + chunk >= steps)
                    advance(len(some) * piece.shape[1])
                for worker, stage in zip(workers, self._plan.stages, strict=True):
                    for name, values in getattr(worker, "recorded", {}).items():
                        kept[stage.index, name] = values
                parts.append({key: np.concatenate(values, axis=1) for key, values in kept.items()})
        whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return whole.pop((-1, "spike")), whole

    def _worker(self, stage: Stage, samples: int, record: list[tuple[int, str]], *, slayer: bool) -> Any:
        reset = (self.reset_interval or 0, self.reset_offset + (0 if slayer else stage.order or 0))
        wanted = {name for index, name in record if index == stage.index} - {"spike"}
        return worker_of(stage, samples, self.spike_exp, reset, wanted, slayer=slayer)

    def _advance(
        self, workers: list[Any], x: np.ndarray, kept: dict[tuple[int, str], list[np.ndarray]], *, end: bool
    ) -> None:
        """All entries over one chunk; what they send is put to what is kept of it."""
        stages = self._plan.stages
        sent = {stages[0].index - 1: x}
        for stage, worker in zip(stages, workers, strict=True):
            sent[stage.index] = worker([sent[i] for i in stage.sources], end=end)
            if (stage.index, "spike") in kept:
                kept[stage.index, "spike"].append(sent[stage.index])
        kept[-1, "spike"].append(sent[stages[-1].index])

    def _check_record(self, record: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
        """``record`` as a list, each pair of which names something of ours."""
        record = list(record)
        for pair in record:
            if not (isinstance(pair, tuple) and len(pair) == 2 and pair[1] in self.recordable.get(pair[0], ())):
                raise ParameterError(
                    f"expected pairs of a layer and a state out of {dict(self.recordable)}, got {pair!r}"
                )
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


def _channels_last(x: np.ndarray, shape: Shape) -> np.ndarray:
    """[samples, values, time] as [samples, time, values], the channels of a plane beside each other."""
    samples, size, steps = x.shape
    planes = x.reshape(samples, shape[0], size // shape[0], steps)
    return np.ascontiguousarray(planes.transpose(0, 3, 2, 1)).reshape(samples, steps, size)


def _to_axes(values: np.ndarray, lead: tuple[int, ...], shape: Shape) -> np.ndarray:
    """[samples, time, neurons], the channels of a plane beside each other, as ([N,] C, H, W, T)."""
    samples, steps, _ = values.shape
    planes = values.reshape(samples, steps, math.prod(shape[1:]), shape[0])
    return np.ascontiguousarray(planes.transpose(0, 3, 2, 1)).reshape(*lead, *shape, steps)


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
