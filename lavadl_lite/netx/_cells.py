"""Neurons of a population as the simulator runs them: parameters as integers, states, and the compiled steps over both.

The steps are in :mod:`._neurons`; sigma-delta neurons, which have no 24-bit state, are in :mod:`._encoders`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ParameterError
from ._plan import PORT_ONE, exponents
from ._share import share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._plan import Stage

__all__ = ["AbstractCells", "AdaptiveIntegrator", "Integrator", "IntegratorPair", "Resonator", "shifts"]

DECAY_ONE = 1 << 12
NEVER = (1 << 18) - 1  # a threshold that no state reaches

# what Lava builds for a dense layer without neuron: current is summed without leak, voltage equals it and never fires
INTEGRATOR: Mapping[str, Any] = {"iDecay": 0, "vDecay": DECAY_ONE, "vThMant": NEVER, "gradedSpike": False}


def shifts(exponent: int) -> tuple[int, int]:
    """A power of two as a shift to the left and one to the right, one of them 0."""
    return max(exponent, 0), max(-exponent, 0)


class AbstractCells(ABC):
    """A population over a batch.

    Parameters
    ----------
    stage : Stage
        What it is made from.
    samples : int
        Size of the batch.
    bits : int
        Fractional bits of the totals that arrive.
    """

    names: tuple[str, ...] = ()  # of the states that can be recorded

    def __init__(self, stage: Stage, samples: int, bits: int) -> None:
        self.stage, self.samples, self.bits = stage, samples, bits

    @property
    def fields(self) -> Mapping[str, Any]:
        """Fields of the layer; an input layer's bias belongs to its encoding, so that it has none."""
        layer = self.stage.layer
        return {} if layer.type == "input" else layer.fields

    def before_division(self, *names: str) -> np.ndarray:
        """Sum of biases in units of the totals."""
        return sum((self.stage.each(self.fields.get(name, 0)) for name in names), self.stage.each(0)) << self.bits

    def zeros(self, dtype: Any = np.int32) -> np.ndarray:
        """A state."""
        return np.zeros((self.samples, self.stage.neurons), dtype)

    def share(self, kernel: Any, first: int, last: int, *rest: Any) -> None:
        """Run a kernel over all units; ``rest`` is what goes before the steps."""
        elements = 8 * self.samples * self.stage.neurons * (last - first)
        share(lambda lo, hi: kernel(*rest, first, last, lo, hi), self.units, elements)

    @property
    def units(self) -> int:
        """Parts that do not depend on each other."""
        from ._neurons import BLOCK

        return self.samples * -(-self.stage.neurons // BLOCK)

    def check(self, lost: np.ndarray) -> None:
        """Raise a ParameterError if something left the 32 bits that Lava has for it."""
        if lost.any():
            raise ParameterError(
                f"/layer/{self.stage.index}: expected currents and messages of 32 bits, got larger ones: the messages "
                "to it are too large"
            )

    @abstractmethod
    def reset(self) -> None:
        """Bring all states back to where they started."""

    @abstractmethod
    def run(self, totals: list[np.ndarray], message: np.ndarray, first: int, last: int) -> None:
        """Steps ``first`` to ``last`` of a chunk, [samples, time, neurons]; fills in what is sent."""

    def state(self, name: str) -> np.ndarray:
        """One state after the last step, [samples, neurons]."""
        value: np.ndarray = getattr(self, name)
        return value


class Integrator(AbstractCells):
    """CUBA neurons, or none: Lava's LIF, with the bias of a ``part`` of complex weights."""

    names: tuple[str, ...] = ("current", "voltage")

    def __init__(self, stage: Stage, samples: int, bits: int, part: str = "") -> None:
        super().__init__(stage, samples, bits)
        neuron = stage.layer.neuron or INTEGRATOR
        self.table = np.stack(
            [
                self.before_division("inputBias"),
                DECAY_ONE - stage.each(neuron["iDecay"]),
                DECAY_ONE - stage.each(neuron["vDecay"]),
                stage.each(neuron["vThMant"]) * PORT_ONE,
                stage.each(self.fields.get("bias" + part, 0)) * PORT_ONE,
            ]
        )
        self.numbers = *shifts(6 - bits), *shifts(-exponents(neuron)[0]), bool(neuron["gradedSpike"])
        self.current, self.voltage = self.zeros(), self.zeros()

    def reset(self) -> None:
        self.current[:] = 0
        self.voltage[:] = 0

    def run(self, totals: list[np.ndarray], message: np.ndarray, first: int, last: int) -> None:
        from ._neurons import cuba

        lost = np.zeros(self.units, np.int64)
        self.share(cuba, first, last, *totals, message, self.table, self.current, self.voltage, lost, *self.numbers)
        self.check(lost)


class IntegratorPair(AbstractCells):
    """What complex weights without neurons lead to: an integrator for each part, whose voltage can be recorded."""

    names: tuple[str, ...] = ("real", "imag")

    def __init__(self, stage: Stage, samples: int, bits: int) -> None:
        super().__init__(stage, samples, bits)
        self.parts = [Integrator(stage, samples, bits, part) for part in ("/real", "/imag")]

    def reset(self) -> None:
        for part in self.parts:
            part.reset()

    def run(self, totals: list[np.ndarray], message: np.ndarray, first: int, last: int) -> None:
        for total, part in zip(totals, self.parts, strict=True):
            part.run([total], message, first, last)  # neither ever fires

    def state(self, name: str) -> np.ndarray:
        return self.parts[self.names.index(name)].voltage


class AdaptiveIntegrator(AbstractCells):
    """ALIF neurons."""

    names: tuple[str, ...] = ("current", "voltage", "threshold", "refractory")

    def __init__(self, stage: Stage, samples: int, bits: int) -> None:
        super().__init__(stage, samples, bits)
        neuron: Any = stage.layer.neuron
        self.base = stage.each(neuron["vThMant"]) * PORT_ONE
        self.table = np.stack(
            [
                self.before_division("bias", "inputBias"),
                DECAY_ONE - stage.each(neuron["iDecay"]),
                DECAY_ONE - stage.each(neuron["vDecay"]),
                self.base,
                *_adaptation(stage, neuron),
            ]
        )
        self.numbers = *shifts(6 - bits - exponents(neuron)[0]), bool(neuron["gradedSpike"])
        self.current, self.voltage, self.threshold, self.refractory = (self.zeros() for _ in self.names)
        self.reset()

    def reset(self) -> None:
        for state in (self.current, self.voltage, self.refractory):
            state[:] = 0
        self.threshold[:] = self.base

    def run(self, totals: list[np.ndarray], message: np.ndarray, first: int, last: int) -> None:
        from ._neurons import alif

        states = [self.state(name) for name in self.names]
        self.share(alif, first, last, *totals, message, self.table, *states, *self.numbers)


class Resonator(AbstractCells):
    """RF and ADRF neurons of both kinds."""

    names: tuple[str, ...] = ("real", "imag")

    def __init__(self, stage: Stage, samples: int, bits: int) -> None:
        super().__init__(stage, samples, bits)
        neuron: Any = stage.layer.neuron
        adaptive = neuron["type"].startswith("AD")
        if adaptive:
            self.names = (*self.names, "threshold", "refractory")
        self.base = stage.each(neuron["vThMant"]) * PORT_ONE
        fixed = stage.each(0), stage.each(DECAY_ONE), stage.each(0)
        self.table = np.stack(
            [
                self.before_division("bias/real", "inputBias"),
                self.before_division("bias/imag", "inputBias"),
                stage.each(neuron["sinDecay"]),
                stage.each(neuron["cosDecay"]),
                *(_adaptation(stage, neuron) if adaptive else fixed),
                self.base,
            ]
        )
        divided = [shifts(6 - bits - exponent) for exponent in exponents(neuron)]
        switches = neuron["type"].endswith("PHASE"), adaptive, bool(neuron["gradedSpike"])
        self.numbers = *divided[0], *divided[1], *switches
        self.real, self.imag, self.threshold, self.refractory = (self.zeros() for _ in range(4))
        self.reset()

    def reset(self) -> None:
        for state in (self.real, self.imag, self.refractory):
            state[:] = 0
        self.threshold[:] = self.base

    def run(self, totals: list[np.ndarray], message: np.ndarray, first: int, last: int) -> None:
        from ._neurons import resonate

        if len(totals) == 1:  # an input layer's signal is real
            totals = [*totals, np.zeros_like(totals[0])]
        states = self.real, self.imag, self.threshold, self.refractory
        self.share(resonate, first, last, *totals, message, self.table, *states, *self.numbers)


def _adaptation(stage: Stage, neuron: Mapping[str, Any]) -> list[np.ndarray]:
    """What a spike adds to the threshold, and what a step leaves of it and of the refractory part."""
    return [
        stage.each(neuron["vThStep"]) * PORT_ONE,
        DECAY_ONE - stage.each(neuron["thDecay"]),
        DECAY_ONE - stage.each(neuron["refDecay"]),
    ]
