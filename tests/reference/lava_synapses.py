"""The synapses of :mod:`.lava` as matrices (neurons, inputs), each written position by position from its definition."""

import math

import numpy as np

from tests.reference.lava_neurons import M

__all__ = ["Kind", "Synapses", "matrix"]


def wrap_sum(total):
    """Held in 24 bits: what lies outside comes back from the other side."""
    return (total + M) % (2 * M) - M


class Kind:
    """What a message is worth: ``payload / (count * 2**bits)``; ``count`` is how many an average has summed.

    ``state``: it is one of 24 bits, which only training sends on.
    """

    def __init__(self, bits, count=1, state=False):
        self.bits, self.count, self.state = bits, count, state

    @property
    def fraction(self):
        """Fractional bits altogether, which synapses need to be a whole number."""
        assert self.count.bit_count() == 1
        return self.bits + self.count.bit_length() - 1

    def __eq__(self, other):
        return (self.bits, self.count) == (other.bits, other.count)

    __hash__ = None


def kernel(weight, moves, groups, outer, inner):
    """Matrix (outer, inner) of a kernel that stands at each place of the plane ``outer`` and covers ``inner``.

    ``weight`` has the channels of ``outer`` first, then those that a group has of ``inner``.
    """
    found = np.zeros((*outer, *inner), np.int64)
    outs, ins = outer[0] // groups, inner[0] // groups
    (row_step, column_step), (row_start, column_start), (row_apart, column_apart) = moves
    for a in range(weight.shape[2]):
        for b in range(weight.shape[3]):
            for row in range(outer[1]):
                for column in range(outer[2]):
                    i = row * row_step - row_start + a * row_apart
                    j = column * column_step - column_start + b * column_apart
                    if not (0 <= i < inner[1] and 0 <= j < inner[2]):
                        continue
                    for group in range(groups):
                        o, c = slice(group * outs, (group + 1) * outs), slice(group * ins, (group + 1) * ins)
                        found[o, row, column, c, i, j] += weight[o, :, a, b]
    return found.reshape(math.prod(outer), math.prod(inner))


def matrix(layer, weight, before, after):
    """Weights of a layer from every input to every neuron, both flattened in C order."""
    weight = np.asarray(weight, np.int64)
    if weight.ndim == 2:
        return weight
    moves = [[int(v) for v in layer.fields[name]] for name in ("stride", "padding", "dilation")]
    groups = layer.fields.get("groups", before[0])
    if "pool" in layer.type:
        weight = np.repeat(weight, before[0], 0)
    if layer.type in ("conv", "pool"):
        return kernel(weight, moves, groups, after, before)
    return kernel(weight, moves, groups, before, after).T


def delays(layer, shape, inputs):
    """Steps by which each synapse is late, as (neurons, inputs), and whether they belong to the neuron's output."""
    value = np.asarray(layer.fields.get("delay", 0), np.int64)
    after = layer.fields.get("delaySide", "output") == "output"
    if value.ndim == 2:
        return value, False
    if value.ndim == 1 and len(value) != shape[0]:
        return np.broadcast_to(value, (math.prod(shape), inputs)), False
    each = np.broadcast_to(value.reshape(-1, *(1,) * (len(shape) - 1)), shape).reshape(-1, 1)
    return np.broadcast_to(each, (each.size, inputs)), after


class Synapses:
    """Weighted sums that arrive later: those of a step wait in a buffer, each in the place of its delay.

    ``matrices`` are one or two parts (neurons, inputs), ``delay`` has the same shape.  What is put before it is taken
    arrives in the same step where there is no delay; what is taken first has the step of Lava's buffer between.
    ``wraps``: sums are held in 24 bits, as Lava's Conv does.
    """

    def __init__(self, matrices, delay, wraps=False):
        delay = np.broadcast_to(delay, matrices[0].shape)
        self.late = [(d, [np.where(delay == d, part, 0) for part in matrices]) for d in np.unique(delay)]
        self.buffer = np.zeros((delay.max() + 1, len(matrices), len(matrices[0])), np.int64)
        self.wraps = wraps

    def put(self, message):
        for delay, matrices in self.late:
            sums = np.stack([part @ message.ravel() for part in matrices])
            self.buffer[delay] += wrap_sum(sums) if self.wraps else sums

    def take(self):
        sums = self.buffer[0]
        self.buffer = np.concatenate([self.buffer[1:], np.zeros_like(self.buffer[:1])])
        return sums
