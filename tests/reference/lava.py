"""Networks of exchange layers in integers: plain NumPy, int64, one time step at a time, from the equations.

``run_lava`` steps all processes together, as Lava's runtime does.  ``run_training`` follows the training network: each
layer sees the whole sequence, its output is shifted by one step, then delayed.  Neurons are :mod:`.lava_neurons`,
synapses :mod:`.lava_synapses`.
"""

import math

import numpy as np

from lavadl_lite.exchange import output_shapes
from tests.reference.lava_neurons import check_width, population
from tests.reference.lava_synapses import Kind, Synapses, delays, matrix

__all__ = ["output_scale", "run_lava", "run_training"]


def parts(layer, name):
    """The one array, or the real and the imaginary one, of a field."""
    fields = layer.fields
    return [fields[name]] if name in fields else [fields[f"{name}/real"], fields[f"{name}/imag"]]


class Neurons:
    """A layer with neurons.  In Lava's timing all its delays are on its synapses; in training's on their own side."""

    def __init__(self, layer, before, shape, kind, spike_exp, native, wraps):
        self.layer, self.shape, self.native = layer, shape, native
        self.neurons = population(layer, shape, spike_exp)
        self.kind = Kind(self.neurons.bits, state=bool(self.neurons.cell.get("gradedSpike")))
        self.synapses = self.feedback = None
        late_by_itself = layer.neuron is None or layer.neuron["type"] != "SDNN"
        self.later = int(layer.fields.get("delayShift", late_by_itself)) + np.zeros(math.prod(shape), np.int64)
        if layer.type == "input":
            return
        self.fraction = kind.fraction
        late, after = delays(layer, shape, math.prod(before))
        if after and not native:
            late, self.later = np.zeros_like(late), self.later + late[:, 0]
        matrices = [matrix(layer, weight, before, shape) for weight in parts(layer, "weight")]
        self.synapses = Synapses(matrices, late, wraps=wraps and len(shape) == 3 and not kind.state)
        if layer.type == "dense_rec":
            back = [np.asarray(weight, np.int64) for weight in parts(layer, "weight_rec")]
            self.feedback = Synapses(back, np.zeros(back[0].shape, np.int64))

    def step(self, message, last):
        """What the neurons send at this step: in Lava what arrives has been waiting for one."""
        if self.synapses is None:  # the in-port carries 64ths, and 64ths of these
            sums = np.rint(np.asarray(message, np.float64) * 64).astype(np.int64).ravel()
            return self.respond(np.stack([sums, np.zeros_like(sums)])[: len(self.neurons.bias)], 6)
        if self.native:
            sums = self.synapses.take()
        self.synapses.put(message)
        if not self.native:
            sums = self.synapses.take()
        return self.respond(sums, self.fraction)

    def respond(self, sums, bits):
        if self.feedback is not None:
            common = max(bits, self.kind.bits)
            sums = (sums << (common - bits)) + (self.feedback.take() << (common - self.kind.bits))
            sums = sums + (np.asarray(self.layer.fields.get("inputBias", 0), np.int64) << common)
            bits = common
        message = self.neurons.step(sums, bits)
        if self.feedback is not None:
            self.feedback.put(message)
        return message.reshape(self.shape)

    def states(self):
        return {name: state.reshape(self.shape) for name, state in self.neurons.states().items()}

    def reset(self):
        self.neurons.reset()


class Passive:
    """A layer without neurons: it sums ``count`` channels and ``factor`` steps, and brings them to ``shape``."""

    def __init__(self, shape, kind, count=1, factor=1):
        self.shape, self.count, self.factor = shape, count, factor
        self.kind = Kind(kind.bits + factor.bit_length() - 1, kind.count * count, kind.state)
        self.total, self.steps = 0, 0

    def step(self, message, last):
        """The sum once it is complete or nothing comes any more, None before."""
        self.total = self.total + np.asarray(message).reshape(-1, self.count, *message.shape[1:]).sum(1)
        self.steps += 1
        if self.steps < self.factor and not last:
            return None
        total, self.total, self.steps = self.total, 0, 0
        check_width(total)
        return total.reshape(self.shape)


def network(layers, x, message_bits, spike_exp, native, wraps=True):
    """The parts, which entries each one hears (-1 is the in-port), and what the in-port carries."""
    shapes = output_shapes(layers)
    first = next((layer for layer in layers if layer.neuron is not None or layer.type == "dense"), layers[0])
    sums_up = first.neuron is not None and first.neuron["type"] == "SDNN"
    port = Kind(6 + spike_exp if sums_up else 0)
    found, hears = [], []
    for index, (layer, shape) in enumerate(zip(layers, shapes, strict=True)):
        heard = [int(i) for i in layer.fields["layers"]] if layer.type == "concat" else [index - 1]
        kinds = [port if i < 0 else found[i].kind for i in heard]
        assert all(kind == kinds[0] for kind in kinds)
        kind = Kind(kinds[0].bits, kinds[0].count, any(kind.state for kind in kinds))
        before = x.shape[:-1] if heard[0] < 0 else shapes[heard[0]]
        if layer.neuron is not None or layer.type == "dense":
            found.append(Neurons(layer, before, shape, kind, spike_exp, native, wraps))
        elif layer.type == "average":
            found.append(Passive(shape, kind, count=before[0] // shape[0]))
        else:
            found.append(Passive(shape, kind, factor=layer.fields.get("factor", 1)))
        hears.append(heard)
    encoded = layers[0].type == "input" and layers[0].neuron is not None
    return found, hears, x if encoded else np.asarray(x if message_bits else x != 0, np.int64)


def output_scale(layers, shape, spike_exp=6):
    """What an integer of the output is worth; ``shape`` is the input's, without time."""
    found, _, _ = network(layers, np.zeros((*shape, 0)), 0, spike_exp, native=True)
    return 1 / (found[-1].kind.count * 2.0 ** found[-1].kind.bits)


def stacked(values, shape):
    """Arrays of single steps with time as last axis."""
    return np.stack(values, -1) if values else np.zeros((*shape, 0), np.int64)


def run_lava(layers, x, message_bits=0, reset_interval=None, reset_offset=0, spike_exp=6):
    """What the out-port carries, and what each layer sends and holds, all processes a step at a time.

    Parameters
    ----------
    layers : sequence of Layer
        Checked entries of a network.
    x : array, shape (C..., T)
        The in-port: integers, or multiples of 1/64 where an input neuron hears it.
    message_bits, reset_interval, reset_offset, spike_exp : int
        As for ``netx.hdf5.Network``.

    Returns
    -------
    array of int64, shape (C..., T), and dict of such arrays by (layer, state)
        States after the step; ``spike`` is what is sent.
    """
    x = np.asarray(x)
    found, hears, x = network(layers, x, message_bits, spike_exp, native=True)
    neurons = [part for part in found if isinstance(part, Neurons)]
    lists = {(i, name): [] for i, part in enumerate(found) for name in names(part)}
    clocks = dict.fromkeys(neurons, 0)
    for t in range(x.shape[-1]):
        sent = {-1: x[..., t]}
        for i, (part, heard) in enumerate(zip(found, hears, strict=True)):
            arrived = [sent[j] for j in heard]
            if arrived[0] is None:
                sent[i] = None
                continue
            if part in clocks:
                clocks[part] += 1
                phase = reset_offset + 1 + neurons.index(part)
                if reset_interval and clocks[part] % reset_interval == phase % reset_interval:
                    part.reset()
            sent[i] = part.step(np.concatenate(arrived), last=t == x.shape[-1] - 1)
            if sent[i] is not None:
                keep(lists, i, part, sent[i])
    records = {key: stacked(values, found[key[0]].shape) for key, values in lists.items()}
    return records[len(layers) - 1, "spike"], records


def run_training(layers, x, message_bits=0, reset_interval=None, reset_offset=0, spike_exp=6, wraps=False):
    """The same in the order of training: layer after layer, all of them reset at once.

    Sums of kernels do not come back into 24 bits there, unless ``wraps``.
    """
    x = np.asarray(x)
    found, hears, x = network(layers, x, message_bits, spike_exp, native=False, wraps=wraps)
    sequences, records = {-1: x}, {}
    for i, (part, heard) in enumerate(zip(found, hears, strict=True)):
        arriving = np.concatenate([sequences[j] for j in heard])
        lists = {(i, name): [] for name in names(part)}
        T = arriving.shape[-1]
        for t in range(T):
            if reset_interval and isinstance(part, Neurons) and (t - reset_offset) % reset_interval == 0:
                part.reset()
            sent = part.step(arriving[..., t], last=t == T - 1)
            if sent is not None:
                keep(lists, i, part, sent)
        records.update({key: stacked(values, part.shape) for key, values in lists.items()})
        sequences[i] = records[i, "spike"]
        if isinstance(part, Neurons):
            sequences[i] = records[i, "spike"] = shifted(sequences[i], part.later)
    return records[len(layers) - 1, "spike"], records


def names(part):
    return ["spike", *(part.states() if isinstance(part, Neurons) else ())]


def keep(lists, i, part, sent):
    """Add a step of a layer to the lists of its record."""
    lists[i, "spike"].append(sent)
    for name, state in (part.states() if isinstance(part, Neurons) else {}).items():
        lists[i, name].append(state)


def shifted(sequence, steps):
    """Each neuron's sequence later by its own number of steps."""
    flat = sequence.reshape(len(steps), -1)
    found = np.zeros_like(flat)
    for row, later, values in zip(found, steps, flat, strict=True):
        row[later:] = values[: max(len(row) - later, 0)]
    return found.reshape(sequence.shape)
