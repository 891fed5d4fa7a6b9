"""One population over a batch of sequences: tables for the compiled loops, and their call over the threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Collection

    from ._plan import Stage

__all__ = ["STATES", "execute"]

STATES = ("current", "voltage", "spike")
PORT_MAX = (1 << 31) - 1  # Lava's in-port and current have 32 bits; what does not fit there has no defined result


def execute(
    stage: Stage, messages: np.ndarray, reset: tuple[int, int], *, slayer: bool, wanted: Collection[str]
) -> dict[str, np.ndarray]:
    """States and messages of one population.

    Parameters
    ----------
    stage : Stage
        The population.
    messages : array of int32, shape (samples, time, in)
        What it receives; in units of the state where there are no synapses.
    reset : (int, int)
        Interval, 0 for never, and the first step of a reset.
    slayer : bool
        Whether outputs are shifted as in training, or synapses take a step as in Lava.
    wanted : collection of str
        Which of ``STATES`` to give beside ``"spike"``.

    Returns
    -------
    dict of arrays of int32, shape (samples, time, neurons)
    """
    from ..kernels.cpu import LANES, run_rows
    from . import _lif

    samples, steps, _ = messages.shape
    neurons = len(stage.bias)
    table = _table(stage, slayer=slayer)
    layer = np.array([stage.graded, stage.exponent, *reset, stage.message], dtype=np.int64)
    spike = np.zeros((samples, steps, neurons), np.int32)
    states = {name: np.zeros((samples if name in wanted else 0, steps, neurons), np.int32) for name in STATES[:2]}
    largest = np.zeros(samples, np.int64)

    def share(lo: int, hi: int) -> None:
        # the pool cuts at multiples of 16 rows, and a sample is worth as many
        rest = (table, layer, spike, states["current"], states["voltage"], largest, lo // LANES, hi // LANES)
        if stage.weight is None:
            _lif.port(messages, *rest)
        else:
            _lif.dense(messages, stage.weight, *rest)

    run_rows(share, samples * LANES, messages.size + spike.size)
    if largest.max(initial=0) > PORT_MAX:
        raise ParameterError(
            f"/layer/{stage.index}: expected currents of 32 bits, got {largest.max()} in sample {largest.argmax()}: "
            "the messages to it are too large"
        )
    return {"spike": spike, **{name: states[name] for name in STATES[:2] if name in wanted}}


def _table(stage: Stage, *, slayer: bool) -> np.ndarray:
    """Integers of each neuron, in the order of the rows that :mod:`._lif` names."""
    zero = np.zeros_like(stage.delay)
    after = stage.delay if stage.delay_after else zero
    if slayer:
        delay_in, delay_out = stage.delay - after, 1 + after
    else:
        delay_in, delay_out = stage.delay + (stage.weight is not None), zero
    return np.stack([stage.current_keep, stage.voltage_keep, stage.threshold, stage.bias, delay_in, delay_out])
