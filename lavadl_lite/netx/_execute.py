"""Entries at work: each takes chunks of a sequence of messages and gives those that it sends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import ParameterError
from ._cells import AbstractCells, AdaptiveIntegrator, Integrator, IntegratorPair, Resonator
from ._delay import Line
from ._encoders import encoder_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ._plan import Stage

__all__ = ["Worker", "names_of", "worker_of"]

SUM_BITS = 24  # of what Lava's convolution sends
MESSAGE_BITS = 32


class Worker(Protocol):
    """One entry over a batch; arrays are int32 [samples, time, neurons], the channels of a plane beside each other."""

    def __call__(self, inputs: Sequence[np.ndarray], *, end: bool) -> np.ndarray:
        """Messages for the next chunk of every entry that it takes messages from; ``end`` with the last one."""


def names_of(stage: Stage) -> tuple[str, ...]:
    """What can be recorded of an entry."""
    return ("spike",) if stage.order is None else ("spike", *_cells_of(stage, 0, 0, 6, slayer=False).names)


def worker_of(
    stage: Stage, samples: int, spike_exp: int, reset: tuple[int, int], wanted: Collection[str], *, slayer: bool
) -> Any:
    """What runs an entry.

    Parameters
    ----------
    stage : Stage
    samples : int
        Size of the batch.
    spike_exp : int
        Fractional bits of sigma-delta messages above six.
    reset : (int, int)
        Interval, 0 for never, and the first step of a reset.
    wanted : collection of str
        States to record, see ``Population.recorded``.
    slayer : bool
        Whether outputs are shifted as in training, or synapses take a step as in Lava.
    """
    if stage.order is not None:
        return Population(stage, samples, spike_exp, reset, wanted, slayer=slayer)
    if stage.layer.type == "decimation":
        return Decimation(stage, samples)
    return _Rearrangement(stage)


def _cells_of(stage: Stage, samples: int, bits: int, spike_exp: int, *, slayer: bool) -> AbstractCells:
    layer = stage.layer
    kind = "none" if layer.neuron is None else layer.neuron["type"]
    if kind == "SDNN":
        return encoder_of(stage, samples, bits, spike_exp, slayer=slayer)
    if "RF" in kind:
        return Resonator(stage, samples, bits)
    if "weight/real" in layer.fields:
        return IntegratorPair(stage, samples, bits)
    return (AdaptiveIntegrator if kind == "ALIF" else Integrator)(stage, samples, bits)


class _Rearrangement:
    """Entries that keep no state: input, flatten, concat and average."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, inputs: Sequence[np.ndarray], *, end: bool) -> np.ndarray:
        stage, x = self.stage, inputs[0]
        if stage.layer.type == "flatten":
            planes = x.reshape(*x.shape[:2], math.prod(stage.before[1:]), stage.before[0])
            return np.ascontiguousarray(planes.swapaxes(2, 3)).reshape(x.shape)
        if stage.layer.type == "concat":
            places = stage.neurons // stage.shape[0]
            parts = [each.reshape(*each.shape[:2], places, each.shape[2] // places) for each in inputs]
            return np.concatenate(parts, axis=3).reshape(*x.shape[:2], stage.neurons)
        if stage.layer.type == "average":
            groups = x.reshape(*x.shape[:2], stage.neurons, x.shape[2] // stage.neurons)
            return _narrow(groups.sum(3, dtype=np.int64), stage.index)
        return x


class Decimation:
    """Sums over bins of steps."""

    def __init__(self, stage: Stage, samples: int) -> None:
        self.factor, self.index = stage.layer.fields["factor"], stage.index
        self.rest = np.zeros((samples, 0, stage.neurons), np.int32)

    def __call__(self, inputs: Sequence[np.ndarray], *, end: bool) -> np.ndarray:
        x = np.concatenate([self.rest, inputs[0]], axis=1)
        if end:
            x = np.pad(x, ((0, 0), (0, -x.shape[1] % self.factor), (0, 0)))
        bins = x.shape[1] // self.factor
        self.rest = x[:, bins * self.factor :]
        whole = x[:, : bins * self.factor].reshape(len(x), bins, self.factor, x.shape[2])
        return _narrow(whole.sum(2, dtype=np.int64), self.index)


class Population:
    """Synapses, if it is no input, and neurons.

    Attributes
    ----------
    recorded : dict of lists of arrays, [samples, time, neurons]
        The wanted states after each step, by name, chunk by chunk.
    """

    def __init__(
        self,
        stage: Stage,
        samples: int,
        spike_exp: int,
        reset: tuple[int, int],
        wanted: Collection[str] = (),
        *,
        slayer: bool,
    ) -> None:
        layer, takes = stage.layer, stage.takes
        self.stage, self.slayer, self.reset = stage, slayer, reset
        self.bits = takes.bits if stage.feedback is None else max(takes.bits, stage.sends.bits)
        self.cells = _cells_of(stage, samples, self.bits, spike_exp, slayer=slayer)
        latency = 0 if slayer or layer.type == "input" else 1
        width = math.prod(stage.before)
        self.branches = [(Line(samples, latency + delay, width), synapse) for delay, synapse in stage.branches]
        behind = slayer and stage.delay_after
        parts = 1 if not stage.branches else len(stage.branches[0][1].weights)
        self.arrival = [Line(samples, 0 if behind else stage.delay, stage.neurons) for _ in range(parts)]
        encodes = layer.neuron is not None and layer.neuron["type"] == "SDNN"
        shift = int(slayer and layer.fields.get("delayShift", not encodes))
        self.departure = Line(samples, shift + stage.delay if behind else shift, stage.neurons)
        self.previous = np.zeros((samples, 1, stage.neurons), np.int32)
        self.step = 0
        self.recorded: dict[str, list[np.ndarray]] = {name: [] for name in wanted}

    def __call__(self, inputs: Sequence[np.ndarray], *, end: bool) -> np.ndarray:
        x = inputs[0]
        totals = [line(total) for line, total in zip(self.arrival, self._totals(x), strict=True)]
        message = np.empty((*x.shape[:2], self.stage.neurons), np.int32)
        for values in self.recorded.values():
            values.append(np.empty(message.shape, np.int64))
        for first, last in self._spans(x.shape[1]):
            if self.stage.feedback is None:
                self.cells.run(totals, message, first, last)
            else:
                self._run_with_feedback(totals, message, first)
            for name, values in self.recorded.items():
                values[-1][:, first] = self.cells.state(name)
        self.step += x.shape[1]
        return self.departure(message)

    def _totals(self, x: np.ndarray) -> list[np.ndarray]:
        """What arrives at the neurons, undelayed, int64."""
        if not self.branches:
            return [x.astype(np.int64)]
        found = [synapse.sums(line(x), spikes=self.stage.takes.top == 1) for line, synapse in self.branches]
        totals = [sum(parts[1:], parts[0]) for parts in zip(*found, strict=True)]
        synapse, takes = self.branches[0][1], self.stage.takes
        half = 1 << SUM_BITS - 1
        if synapse.wraps and takes.wraps and not self.slayer and synapse.reach * takes.top >= half:
            totals = [((total + half) & (2 * half - 1)) - half for total in totals]
        return totals

    def _run_with_feedback(self, totals: list[np.ndarray], message: np.ndarray, t: int) -> None:
        """One step, with what the neurons sent in the step before."""
        feedback: Any = self.stage.feedback
        here, there = self.bits - self.stage.takes.bits, self.bits - self.stage.sends.bits
        heard = feedback.sums(self.previous, spikes=self.stage.sends.top == 1)
        both = [(x[:, t : t + 1] << here) + (back << there) for x, back in zip(totals, heard, strict=True)]
        self.cells.run(both, self.previous, 0, 1)
        message[:, t] = self.previous[:, 0]

    def _spans(self, steps: int) -> Iterator[tuple[int, int]]:
        """The steps of a chunk in runs that no reset interrupts; each by itself where states go from step to step."""
        interval, start = self.reset
        first = 0
        while first < steps:
            now = self.step + first - start
            if interval and now % interval == 0:
                self.cells.reset()
            last = min(first + interval - now % interval, steps) if interval else steps
            if self.recorded or self.stage.feedback is not None:
                last = first + 1
            yield first, last
            first = last


def _narrow(x: np.ndarray, index: int) -> np.ndarray:
    """Sums as messages."""
    if np.abs(x).max(initial=0) >= 1 << MESSAGE_BITS - 1:
        raise ParameterError(f"/layer/{index}: expected messages of {MESSAGE_BITS} bits, got {np.abs(x).max()}")
    return x.astype(np.int32)
