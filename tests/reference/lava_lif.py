"""Lava's fixed-point processes, transcribed from their equations: plain NumPy, int64, one time step at a time.

A network is a list of entries.  An entry is a dictionary with what its layer has out of

``weight`` (out, in), None for an input layer; ``current_decay``, ``voltage_decay`` 0..4096, number or (out,);
``threshold`` (64ths), number or (out,); ``bias`` (64ths), number or (out,); ``delay`` (out,); ``exponent``, the power
of two that divides current and bias on their way into the voltage; ``graded``, whether the voltage is sent as message.

``run_lava`` steps all processes together, as Lava's runtime does.  ``run_training`` follows the training network: each
layer sees the whole sequence, its output is shifted by one step, then delayed.
"""

import numpy as np

M = 1 << 23
DEFAULTS = {
    "weight": None,
    "current_decay": 0,
    "voltage_decay": 4096,
    "threshold": 1 << 17,
    "bias": 0,
    "delay": 0,
    "exponent": 0,
    "graded": False,
}


def z(x, bits=12):
    """Shift right, rounding toward zero."""
    return np.sign(x) * (np.abs(x) >> bits)


def wrap(u):
    """What lies outside 24 bits comes back from the other side."""
    return np.where(u > M, u - 2 * M, np.where(u <= -M, u + 2 * M, u))


class Lif:
    """A population of neurons; ``du`` of Lava is ``current_decay - 1``, to which Lava adds 1."""

    def __init__(self, size, entry):
        self.entry = entry
        self.u = np.zeros(size, np.int64)
        self.v = np.zeros(size, np.int64)

    def reset(self):
        self.u = np.zeros_like(self.u)
        self.v = np.zeros_like(self.v)

    def step(self, current):
        """``current`` is what comes in, in units of the state: Lava's ``a_in << 6``."""
        entry = self.entry
        raw = z(self.u * (4096 - np.asarray(entry["current_decay"]))) + current
        if max(np.abs(raw).max(), np.abs(current).max()) >= 1 << 31:
            raise OverflowError("Lava keeps currents in 32 bits")
        self.u = wrap(raw)
        drive = self.u + np.asarray(entry["bias"]) * 64
        exponent = entry["exponent"]
        drive = z(drive, exponent) if exponent >= 0 else drive << -exponent
        self.v = np.clip(z(self.v * (4096 - np.asarray(entry["voltage_decay"]))) + drive, -(M - 1), M - 1)
        spikes = self.v > np.asarray(entry["threshold"]) << 6
        message = np.where(spikes, self.v if entry["graded"] else 1, 0)
        self.v = np.where(spikes, 0, self.v)
        return message


class Dense:
    """Synapses; what arrives at step t leaves at step t + 1 + delay."""

    def __init__(self, weight, delay, kind):
        self.weight = np.asarray(weight, np.int64)
        self.kind = kind
        self.delay = np.broadcast_to(np.asarray(delay, np.int64), len(self.weight))
        self.buffer = np.zeros((self.delay.max() + 1, len(self.weight)), np.int64)

    def current(self, message):
        """Weighted sum of messages, in units of the state."""
        if self.kind == "spike":
            return (self.weight @ (message != 0)) * 64
        if self.kind == "payload":
            return (self.weight @ message) * 64
        return z(self.weight @ message, 6)  # a voltage: 12 fractional bits, where a state has 12 as well

    def step(self, message):
        sent = self.buffer[0].copy()
        self.buffer = np.roll(self.buffer, -1, axis=0)
        self.buffer[-1] = 0
        self.buffer[self.delay, np.arange(len(self.delay))] += self.current(message)
        return sent


def message_kinds(entries, message_bits):
    """What each entry receives."""
    kinds = ["payload" if message_bits else "spike"]
    kinds += ["voltage" if entry["graded"] else "spike" for entry in entries]
    return kinds[:-1]


def empty_record(size, T):
    """Room for the states of a population over time."""
    return {name: np.zeros((size, T), np.int64) for name in ("current", "voltage", "spike")}


def run_lava(entries, x, message_bits=0, reset_interval=None, reset_offset=0):
    """Out-port of the last layer, and states of all, from the in-port ``x`` of shape (in, T).

    Returns the output (out, T), and per layer a dictionary with ``current``, ``voltage`` and ``spike`` (neurons, T).
    """
    entries = [{**DEFAULTS, **entry} for entry in entries]
    x = np.asarray(x, np.int64)
    synapses, neurons, records = [], [], []
    for entry, kind in zip(entries, message_kinds(entries, message_bits), strict=True):
        synapses.append(None if entry["weight"] is None else Dense(entry["weight"], entry["delay"], kind))
        neurons.append(Lif(len(x) if entry["weight"] is None else len(entry["weight"]), entry))
        records.append(empty_record(len(neurons[-1].u), x.shape[1]))
    for time_step in range(1, x.shape[1] + 1):
        message = x[:, time_step - 1]
        for index, (synapse, neuron, record) in enumerate(zip(synapses, neurons, records, strict=True)):
            if reset_interval and time_step % reset_interval == (reset_offset + 1 + index) % reset_interval:
                neuron.reset()
            message = neuron.step(message * 64 if synapse is None else synapse.step(message))
            for name, value in (("current", neuron.u), ("voltage", neuron.v), ("spike", message)):
                record[name][:, time_step - 1] = value
    return records[-1]["spike"], records


def run_training(entries, x, message_bits=0, reset_interval=None, reset_offset=0):
    """The same from the training side's order of events; an input layer takes ``x`` in units of the state."""
    entries = [{**DEFAULTS, **entry} for entry in entries]
    message = np.asarray(x, np.int64)
    T = message.shape[1]
    records = []
    for entry, kind in zip(entries, message_kinds(entries, message_bits), strict=True):
        synapse = None if entry["weight"] is None else Dense(entry["weight"], 0, kind)
        size = len(message) if synapse is None else len(synapse.weight)
        neuron = Lif(size, entry)
        delay = 1 + np.broadcast_to(entry["delay"], size)
        record = empty_record(size, T)
        for t in range(T):
            if reset_interval and (t - reset_offset) % reset_interval == 0:
                neuron.reset()
            spikes = neuron.step(message[:, t] if synapse is None else synapse.current(message[:, t]))
            record["current"][:, t], record["voltage"][:, t] = neuron.u, neuron.v
            for k in range(size):
                if t + delay[k] < T:
                    record["spike"][k, t + delay[k]] = spikes[k]
        records.append(record)
        message = record["spike"]
    return records[-1]["spike"], records
