"""Sigma-delta neurons as the simulator runs them: in integers, or in training's float32 where those do not suffice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ._cells import AbstractCells, shifts
from ._plan import STATE_BITS, exponents

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._plan import Stage

__all__ = ["FloatSigmaDelta", "Sigma", "SigmaDelta", "encoder_of"]

NONE = 1 << 62  # a limit that no state reaches
STATE_MAX = (1 << 23) - 1  # of the 24 bits that training holds an activation in
DROPPED = 6  # fractional bits that a message has less than a state

# smallest and largest value, of the activation functions that are straight lines in between
LINES = {"identity": (None, None), "relu": (0, None), "relu6": (0, 6), "hardtanh": (-1, 1)}


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.array([math.erf(v) for v in np.ravel(x / math.sqrt(2))]).reshape(x.shape))


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


# in float64, which is rounded once; of leaky_relu the slope is training's
CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "elu": _elu,
    "gelu": _gelu,
    "leaky_relu": lambda x: np.where(x > 0, x, x * float(np.float32(0.01))),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "softplus": lambda x: np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20)))),
    "tanh": np.tanh,
}


def encoder_of(stage: Stage, samples: int, bits: int, spike_exp: int, *, slayer: bool) -> AbstractCells:
    """The population of a layer with an SDNN neuron."""
    neuron: Any = stage.layer.neuron
    if neuron.get("sigma_output"):
        return Sigma(stage, samples, bits, spike_exp)
    line = stage.layer.type == "input" or neuron["activation"] in LINES
    return (SigmaDelta if line else FloatSigmaDelta)(stage, samples, bits, spike_exp, slayer=slayer)


class Sigma(AbstractCells):
    """Read-out: what it sends is the sum of all that arrived."""

    names: tuple[str, ...] = ("sigma",)

    def __init__(self, stage: Stage, samples: int, bits: int, spike_exp: int) -> None:
        super().__init__(stage, samples, bits)
        self.offset = self.before_division("inputBias")
        self.shift = 6 + spike_exp - bits
        self.sigma = self.zeros(np.int64)

    def reset(self) -> None:
        self.sigma[:] = 0

    def run(self, totals: list[np.ndarray], message: np.ndarray, first: int, last: int) -> None:
        message[:, first:last] = self.sums(totals[0][:, first:last])

    def sums(self, total: np.ndarray) -> np.ndarray:
        """All that has arrived, in units of the state, after each step of a total."""
        up, down = shifts(self.shift)
        total = (total + self.offset) << up
        arriving = (total + ((total >> 63) & ((1 << down) - 1))) >> down  # toward zero
        sums = self.sigma[:, None] + np.cumsum(arriving, axis=1)
        self.check((sums + (1 << 31)) >> 32)
        self.sigma = sums[:, -1] if sums.shape[1] else self.sigma
        return sums


class SigmaDelta(AbstractCells):
    """Lava's SigmaDelta, and in an input its Delta, with the activation functions that are lines."""

    names: tuple[str, ...] = ("sigma", "activation", "residue")

    def __init__(self, stage: Stage, samples: int, bits: int, spike_exp: int, *, slayer: bool) -> None:
        super().__init__(stage, samples, bits)
        neuron: Any = stage.layer.neuron
        sums = stage.layer.type != "input"
        if not sums:
            self.names = self.names[1:]
        low, high = LINES[neuron["activation"]] if sums else (None, None)
        exponent = exponents(neuron)[0] if sums else 0
        self.finer, grow = shifts(exponent)  # a division that loses nothing
        one = STATE_BITS + spike_exp + self.finer
        level = _threshold(stage, neuron, spike_exp, slayer=slayer) << self.finer
        limits = [stage.each(end if line is None else line << one) for line, end in ((low, -NONE), (high, NONE))]
        bias = stage.each(self.fields.get("bias", 0)) << 6 + spike_exp
        self.table = np.stack([self.before_division("inputBias"), bias, level, *limits])
        switches = sums, bool(neuron.get("cumError")), bool(neuron.get("carryRounding"))
        self.numbers = *shifts(6 + spike_exp - bits), grow, self.finer, *switches
        self.states = [self.zeros(np.int64) for _ in range(4)]

    def reset(self) -> None:
        for state in self.states:
            state[:] = 0

    def run(self, totals: list[np.ndarray], message: np.ndarray, first: int, last: int) -> None:
        from ._neurons import sigma_delta

        lost = np.zeros(self.units, np.int64)
        self.share(sigma_delta, first, last, *totals, message, self.table, *self.states, lost, *self.numbers)
        self.check(lost)

    def state(self, name: str) -> np.ndarray:
        value = self.states[("sigma", "activation", "residue").index(name)]
        return value if name == "sigma" else np.sign(value) * (np.abs(value) >> self.finer)


class FloatSigmaDelta(AbstractCells):
    """Sigma-delta neurons with any activation function: sums are integers, all behind them is training's float32."""

    names: tuple[str, ...] = ("sigma", "activation", "residue")

    def __init__(self, stage: Stage, samples: int, bits: int, spike_exp: int, *, slayer: bool) -> None:
        super().__init__(stage, samples, bits)
        neuron: Any = stage.layer.neuron
        self.decoder = Sigma(stage, samples, bits, spike_exp)
        self.curve = CURVES[neuron["activation"]]
        self.one = 2.0 ** (STATE_BITS + spike_exp)
        self.scale = np.float32(2.0 ** (STATE_BITS - DROPPED + spike_exp))
        self.bias = (stage.each(self.fields.get("bias", 0)) / 64).astype(np.float32)
        self.divisor = np.float32(2.0 ** exponents(neuron)[0])
        self.level = (_threshold(stage, neuron, spike_exp, slayer=slayer) / self.one).astype(np.float32)
        self.cumulative, self.carry = bool(neuron.get("cumError")), bool(neuron.get("carryRounding"))
        self.last, self.residual, self.error = (self.zeros(np.float32) for _ in range(3))

    def reset(self) -> None:
        self.decoder.reset()
        for state in (self.last, self.residual, self.error):
            state[:] = 0

    def run(self, totals: list[np.ndarray], message: np.ndarray, first: int, last: int) -> None:
        limit = np.float32(STATE_MAX) / self.scale
        sums = (self.decoder.sums(totals[0][:, first:last]) / self.one).astype(np.float32)
        active = self.curve(((sums + self.bias) / self.divisor).astype(np.float64)).astype(np.float32)
        active = np.clip(active, -limit, limit)
        for t in range(first, last):
            difference = active[:, t - first] - self.last + self.residual
            self.error += difference if self.cumulative else 0
            compared = self.error if self.cumulative else difference
            sent = np.where(np.abs(compared) >= self.level, difference, np.float32(0))
            payload = np.floor(sent * self.scale)
            self.error[sent != 0] = 0
            self.residual = difference - (payload / self.scale if self.carry else sent)
            self.last = active[:, t - first]
            message[:, t] = payload

    def state(self, name: str) -> np.ndarray:
        if name == "sigma":
            return self.decoder.sigma
        return np.trunc((self.last if name == "activation" else self.residual) * self.one).astype(np.int64)


def _threshold(stage: Stage, neuron: Any, spike_exp: int, *, slayer: bool) -> np.ndarray:
    """In units of a state; training holds it at one unit of a message or more."""
    held = stage.each(neuron["vThMant"]) << 6 + spike_exp
    return np.maximum(held, 1 << DROPPED) if slayer else held
