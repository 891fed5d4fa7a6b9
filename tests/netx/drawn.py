"""Random networks of every type of layer and neuron, and what goes into them; nothing is tested here."""

import math

import numpy as np

from lavadl_lite.exchange import Layer, check_layer, output_shapes
from tests.reference import lava

__all__ = ["CURVES", "EXACT", "LAYERS", "NEURONS", "draw_input", "draw_network", "draw_run"]

COMPLEX = ("RF_PHASE", "RF_IZHIKEVICH", "ADRF_PHASE", "ADRF_IZHIKEVICH")
NEURONS = ("CUBA", "ALIF", "SDNN", *COMPLEX)
OFTEN = (*NEURONS, "CUBA", "CUBA", "SDNN")
EXACT = ("identity", "relu", "relu6", "hardtanh")  # activation functions that integers hold
CURVES = ("elu", "gelu", "leaky_relu", "selu", "sigmoid", "silu", "softplus", "tanh")
PASSIVE = ("flatten", "average", "decimation", "concat")
PLANES = ("conv", "convT", "pool", "unpool")
FULL = ("dense", "dense", "dense_rec")
LAYERS = ("input", *PLANES, *FULL[1:], *PASSIVE)
NEVER = ((1 << 17) - 1, (1 << 18) - 1, (1 << 24) - 1)


def pick(rng, *values):
    return values[rng.integers(len(values))]


def seldom(rng):
    return rng.random() < 0.25


def decay(rng, channels):
    """One value, or one for each channel; the ends of the range are as likely as all between."""

    def one():
        return pick(rng, 0, 1, 4095, 4096, *rng.integers(0, 4097, 2), *rng.integers(0, 500, 2))

    return one() if rng.random() < 0.5 else np.array([one() for _ in range(channels)])


def threshold(rng, least):
    return int(pick(rng, least, *rng.integers(1, 100, 4), *rng.integers(1, 4000, 2), 1 << 16, pick(rng, *NEVER)))


def draw_cell(rng, kind, channels, last, plain):
    """The neuron group; a ``last`` one may be a read-out; a ``plain`` one is silent as long as nothing arrives."""
    cell = {"type": kind}
    if kind == "SDNN":
        if last and seldom(rng):
            return cell | {"sigma_output": True}
        levels = rng.integers(1, 400, pick(rng, (), (channels,)))
        cell |= {"activation": pick(rng, *(CURVES if seldom(rng) else EXACT)), "vThMant": levels}
        cell |= {name: True for name in ("cumError", "carryRounding") if seldom(rng)}
        exponents = (-2, -1, 0, 1, 2, 3, 16)
    else:
        cell |= {"vThMant": threshold(rng, int(plain)), "gradedSpike": bool(rng.integers(2))}
        names = ("sinDecay", "cosDecay") if kind in COMPLEX else ("iDecay", "vDecay")
        cell |= {name: decay(rng, channels) for name in names}
        exponents = (-16, -3, -1, 0, 1, 2, 3, 16)
    if kind.startswith("A"):
        cell |= {name: decay(rng, channels) for name in ("thDecay", "refDecay")} | {"vThStep": threshold(rng, 0)}
    if seldom(rng):
        parts = 1 + int(kind in COMPLEX and rng.integers(2))
        cell["weight_exp"] = np.array([pick(rng, *exponents) for _ in range(parts)], np.float32)
    return cell


def length(kind, size, kernel, stride, padding, dilation):
    """Of an axis after a kernel; see the page on the exchange format."""
    reach = dilation * (kernel - 1) + 1
    if kind in ("convT", "unpool"):
        return (size - 1) * stride + reach - 2 * padding
    if kind == "pool" and stride == kernel:
        size = math.ceil(size / kernel) * kernel
    return (size + 2 * padding - reach) // stride + 1


def draw_moves(rng, kind, plane):
    """Fields of a kernel, and what it makes of the rows and columns of ``plane``: 6 at most, unless there are more."""
    columns, after = [], []
    for size in plane:
        chosen = [int(v) for v in (rng.integers(1, 4), rng.integers(1, 4), rng.integers(0, 3), rng.integers(1, 3))]
        if not 1 <= length(kind, size, *chosen) <= 6:
            chosen = [1, 1, 0, 1]
        columns.append(chosen)
        after.append(length(kind, size, *chosen))
    names = ("kernelSize", "stride", "padding", "dilation")
    return dict(zip(names, np.array(columns).T, strict=True)), after


def parts(rng, name, shape, ends, two):
    """An array of integers, or a real and an imaginary one."""
    names = (f"{name}/real", f"{name}/imag") if two else (name,)
    return {name: rng.integers(*ends, shape, endpoint=True).astype(np.float32) for name in names}


def draw_kernels(rng, kind, before, ends, two):
    """Fields of a layer over a plane."""
    fields, plane = draw_moves(rng, kind, before[1:])
    kernel = tuple(fields["kernelSize"])
    if "pool" in kind:
        return fields | {"shape": np.array([before[0], *plane]), **parts(rng, "weight", (1, 1, *kernel), ends, two)}
    groups = pick(rng, *(g for g in (1, 2, 3, 4) if before[0] % g == 0))
    channels = groups * int(rng.integers(1, 3))
    axes = (channels, before[0] // groups) if kind == "conv" else (before[0], channels // groups)
    fields |= {"inChannels": before[0], "outChannels": channels, "groups": groups}
    return fields | {"shape": np.array([channels, *plane]), **parts(rng, "weight", (*axes, *kernel), ends, two)}


def draw_synapses(rng, kind, neuron, before, last, plain):
    """A layer with weights after one of shape ``before``."""
    ends = pick(rng, (-256, 254), (-256, 254), (-30, 30), (0, 254), (254, 254))
    two = neuron in COMPLEX or (neuron is None and seldom(rng))
    if kind in PLANES:
        fields = draw_kernels(rng, kind, before, ends, two)
    else:
        channels = int(rng.integers(1, 5))
        fields = {"inFeatures": before[0], "outFeatures": channels, "shape": np.array([channels])}
        fields |= parts(rng, "weight", (channels, before[0]), ends, two)
    channels = int(fields["shape"][0])
    if kind == "dense_rec":
        fields |= parts(rng, "weight_rec", (channels, channels), pick(rng, (-256, 254), (-60, 60)), two)
        if not plain and rng.integers(2):
            fields |= parts(rng, "inputBias", (channels,), (-4096, 4095), False)
    cell = None if neuron is None else draw_cell(rng, neuron, channels, last, plain)
    if not plain and "pool" not in kind and rng.integers(2) and not (cell or {}).get("sigma_output"):
        fields |= parts(rng, "bias", (channels,), pick(rng, (-4096, 4095), (-40, 40)), two)
    if not (plain and kind == "dense_rec") and rng.integers(2):
        shapes = [(channels,)] if kind in PLANES else [(channels,), (), (before[0],), (channels, before[0])]
        fields["delay"] = rng.integers(0, pick(rng, 2, 2, 6, 6, 63), pick(rng, *shapes)).astype(np.float32)
        sides = ("input", "output") if fields["delay"].shape in ((channels,), ()) else ("input",)
        fields |= {} if rng.integers(2) else {"delaySide": pick(rng, *sides)}
    fields |= {"delayShift": bool(rng.integers(2))} if seldom(rng) else {}
    return Layer(kind, fields, cell)


def joinable(layers, before):
    """Entries that a concat can join with the last one: of its rows, columns and rate, with messages of its kind."""
    parts, _, _ = lava.network([check_layer(layer) for layer in layers], np.zeros((*before, 0)), 0, 6, native=True)
    rates = np.cumprod([layer.fields.get("factor", 1) for layer in layers])
    marks = [(part.shape[1:], *vars(part.kind).values(), rate) for part, rate in zip(parts, rates, strict=True)]
    return [i for i, mark in enumerate(marks) if mark == marks[-1]]


def draw_concat(rng, layers, before):
    """Two or three entries joined, the last of ``layers`` perhaps among them; ``before`` is the network's input."""
    shapes = output_shapes(layers)
    chosen = [pick(rng, *joinable(layers, before)) for _ in range(rng.integers(2, 4))]
    shape = sum(shapes[i][0] for i in chosen), *shapes[-1][1:]
    return Layer("concat", {"shape": np.array(shape), "layers": np.array(chosen)})


def draw_passive(rng, kind, before, last):
    """A layer without weights after one of shape ``before``."""
    if kind == "flatten":
        return Layer(kind, {"shape": np.array([math.prod(before), 1, 1])})
    if kind == "decimation":
        return Layer(kind, {"shape": np.array(before), "factor": 1 << int(rng.integers(4))})
    groups = [n for n in range(1, before[0] + 1) if before[0] % n == 0 and (last or (before[0] // n).bit_count() == 1)]
    return Layer(kind, {"shape": np.array([pick(rng, *groups)])})


def draw_network(rng, plain=False, neurons=OFTEN):
    """Checked entries, and the shape that goes in.

    ``plain`` ones have nothing that knows time by itself: no bias, no bins, no ways of different length, no threshold
    of 0.
    """
    plane = rng.integers(2)
    shape = before = tuple(int(n) for n in (rng.integers(1, 5, 3) if plane else rng.integers(1, 6, 1)))
    start = pick(rng, "bare", "encoder", "bare" if plane else "synapses")
    neuron = pick(rng, *neurons)
    layers = []
    if start != "synapses":
        cell = draw_cell(rng, neuron, shape[0], False, plain) if start == "encoder" else None
        layers.append(Layer("input", {"shape": np.array(shape)}, cell))
    for left in reversed(range(rng.integers(start != "encoder", 5))):
        passive = layers and (left or any(layer.neuron for layer in layers)) and seldom(rng)
        neuron = pick(rng, neuron, *neurons)
        if passive:
            kind = pick(rng, "flatten" if len(shape) == 3 else "average", *(() if plain else ("decimation", "concat")))
            joins = kind == "concat"
            layers.append(draw_concat(rng, layers, before) if joins else draw_passive(rng, kind, shape, left == 0))
        else:
            kind = pick(rng, *(PLANES if len(shape) == 3 else FULL))
            integrates = kind == "dense" and left == 0 and seldom(rng)
            layers.append(draw_synapses(rng, kind, None if integrates else neuron, shape, left == 0, plain))
        shape = output_shapes(layers)[-1]
    return [check_layer(layer) for layer in layers], before


def draw_input(rng, layers, shape):
    """What goes into a network, sparse or dense, of any length, and its message bits."""
    steps = pick(rng, 25, 25, 25, 25, 12, 12, 5, 1, 0)
    high = pick(rng, 1, 1, 100, 3000, 3000, 40000, 140000)
    active = rng.random((*shape, steps)) < pick(rng, 0.2, 0.5, 1)
    x = rng.integers(-high, high, (*shape, steps), endpoint=True) * active
    if layers[0].type == "input" and layers[0].neuron is not None:
        return x / pick(rng, 1, 1, 64), 0
    return x, pick(rng, 0, 16, 16)


def draw_run(rng):
    """A network, input for it, message bits, resets, and the exponent of sigma-delta messages."""
    layers, shape = draw_network(rng)
    x, bits = draw_input(rng, layers, shape)
    reset = (int(rng.integers(1, 21)), int(rng.integers(26))) if rng.integers(2) else (None, 0)
    return layers, x, bits, reset, pick(rng, 6, 6, 6, 0, 3, 8)
