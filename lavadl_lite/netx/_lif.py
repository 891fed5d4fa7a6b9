"""Compiled loops of the simulator: Lava's fixed-point LIF neuron behind an input port or behind dense synapses.

Loaded at the first run, since it needs numba.  States are integers in units of 1/4096, kept in int64, so that nothing
overflows before the 24-bit wrap and saturation that the hardware has.
"""

from __future__ import annotations

import numpy as np

from ..kernels.cpu import cpu_kernel, step
from ._plan import SPIKE, VOLTAGE

__all__ = ["dense", "port"]

# rows of the table of integers that describes a population, one column a neuron
CURRENT_KEEP, VOLTAGE_KEEP, THRESHOLD, BIAS, DELAY_IN, DELAY_OUT = range(6)

# entries of the list of integers that describes a layer
GRADED, EXPONENT, RESET_INTERVAL, RESET_FIRST, MESSAGE = range(5)

_DECAY_BITS = 12
_PORT_BITS = 6  # a weight or a bias counts 64ths, a state 4096ths
_WRAP = 1 << 23


@step
def _toward_zero(x, bits):
    """``x / 2**bits`` without its fraction."""
    return (x + ((x >> 63) & ((1 << bits) - 1))) >> bits


@step
def _update(increment, current, voltage, table, graded, exponent, message):
    """One time step of a population, in place.  Returns the largest current before it wrapped.

    Equations: Lava's bit-accurate LIF model; ``exponent`` divides what enters the voltage by a power of two.
    """
    largest = 0
    for k in range(current.size):
        raw = _toward_zero(current[k] * table[CURRENT_KEEP, k], _DECAY_BITS) + increment[k]
        largest = max(largest, abs(raw), abs(increment[k]))
        wrapped = raw - 2 * _WRAP if raw > _WRAP else raw
        wrapped = raw + 2 * _WRAP if raw <= -_WRAP else wrapped
        drive = wrapped + table[BIAS, k]
        drive = _toward_zero(drive, exponent) if exponent >= 0 else drive << -exponent
        raised = _toward_zero(voltage[k] * table[VOLTAGE_KEEP, k], _DECAY_BITS) + drive
        raised = min(max(raised, 1 - _WRAP), _WRAP - 1)
        fires = raised > table[THRESHOLD, k]
        sent = raised if graded else 1
        message[k] = sent if fires else 0
        current[k] = wrapped
        voltage[k] = 0 if fires else raised
    return largest


@step
def _send(message, t, table, output):
    """Put the messages of step ``t`` where the delay after the neuron takes them."""
    for k in range(message.size):
        later = t + table[DELAY_OUT, k]
        if later < len(output):
            output[later, k] = message[k]


@step
def _gather(x, weight, kind, total):
    """``total = weight.T @ x``, reading only the rows of active inputs."""
    total[:] = 0
    for i in range(x.size):
        if x[i] != 0:
            factor = 1 if kind == SPIKE else x[i]
            for k in range(total.size):
                total[k] += weight[i, k] * factor


@step
def _arrive(total, t, kind, table, ring):
    """Put the sums of step ``t``, in units of the state, where the delay before the neuron takes them."""
    now = t % len(ring)
    for k in range(total.size):
        slot = now + table[DELAY_IN, k]
        slot = slot - len(ring) if slot >= len(ring) else slot
        ring[slot, k] = _toward_zero(total[k], _PORT_BITS) if kind == VOLTAGE else total[k] << _PORT_BITS


@step
def _begins(t, layer):
    """Whether the states are reset before step ``t``."""
    return layer[RESET_INTERVAL] > 0 and (t - layer[RESET_FIRST]) % layer[RESET_INTERVAL] == 0


@cpu_kernel
def port(x, table, layer, output, currents, voltages, largest, lo, hi):
    """Neurons fed by ``x``, integers in units of the state, for samples ``lo`` to ``hi``.

    ``x`` and ``output`` are int32 [samples, time, neurons]; so are ``currents`` and ``voltages``, or empty where they
    are not wanted.  ``largest`` [samples] takes the largest current before it wrapped.
    """
    neurons = table.shape[1]
    increment = np.empty(neurons, np.int64)
    message = np.empty(neurons, np.int64)
    for n in range(lo, hi):
        current = np.zeros(neurons, np.int64)
        voltage = np.zeros(neurons, np.int64)
        for t in range(x.shape[1]):
            if _begins(t, layer):
                current[:] = 0
                voltage[:] = 0
            for k in range(neurons):
                increment[k] = x[n, t, k]
            top = _update(increment, current, voltage, table, layer[GRADED] != 0, layer[EXPONENT], message)
            largest[n] = max(largest[n], top)
            _send(message, t, table, output[n])
            if len(currents):
                currents[n, t] = current
            if len(voltages):
                voltages[n, t] = voltage


@cpu_kernel
def dense(x, weight, table, layer, output, currents, voltages, largest, lo, hi):
    """As :func:`port`, behind synapses: ``x`` holds messages [samples, time, in], ``weight`` is int16 [in, neurons]."""
    neurons = table.shape[1]
    kind = layer[MESSAGE]
    slots = 1
    for k in range(neurons):
        slots = max(slots, table[DELAY_IN, k] + 1)
    total = np.empty(neurons, np.int64)
    message = np.empty(neurons, np.int64)
    for n in range(lo, hi):
        current = np.zeros(neurons, np.int64)
        voltage = np.zeros(neurons, np.int64)
        ring = np.zeros((slots, neurons), np.int64)
        for t in range(x.shape[1]):
            if _begins(t, layer):
                current[:] = 0
                voltage[:] = 0
            _gather(x[n, t], weight, kind, total)
            _arrive(total, t, kind, table, ring)
            top = _update(ring[t % slots], current, voltage, table, layer[GRADED] != 0, layer[EXPONENT], message)
            largest[n] = max(largest[n], top)
            _send(message, t, table, output[n])
            if len(currents):
                currents[n, t] = current
            if len(voltages):
                voltages[n, t] = voltage
