"""What a target cannot hold of a network, or would compute differently: found before anything is trained or run there.

What Lava's processes lack is listed in :mod:`._lava_limits`, and how far states can go in :mod:`._ranges`.
"""

from __future__ import annotations

import copy
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import exchange
from ..errors import ExchangeError, ParameterError, ShapeError
from ._files import layers_of, parts_of
from ._lava_limits import refusals, unrolled
from ._ranges import LIMIT, PORT, SPIKES, Bounds, bounds
from ._report import weight_bits
from .simulator import Simulator
from .utils import optimize_weight_bits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..exchange import Layer

__all__ = ["Finding", "Findings", "check"]

TARGETS = ("lava", "loihi2", "simulator")
SEVERITIES = ("error", "warning", "note")

# Lava's LIF process declares these widths as the hardware's; see docs/check.md for the sources of all numbers
THRESHOLD_MAX = (1 << 17) - 1
DECAYS = {"iDecay": (1, 1 << 12), "vDecay": (0, (1 << 12) - 1)}  # of du + 1 and dv, 12 bits each
PLANES = ("conv", "convT", "pool", "unpool")
CHANGE_BITS = 12  # after the point of a sigma-delta message
PLANE_LIMIT = (1 << 23) / 64  # of sums over planes of integer messages
SUM_LIMIT = (1 << 15) / 64  # of what arrives at a LIF neuron in one step: 16 bits with sign
MESSAGE_LIMIT = (1 << 15) / (1 << 12)  # of sigma-delta messages: 16 bits with sign
SIGMA_LIMIT = (1 << 23) / (1 << 18)  # of their sums: 24 bits with sign, 18 of them after the point
CHIP_NEURONS = 1_000_000
NEVER = (1 << 18) - 1  # threshold of a read-out


@dataclass(frozen=True)
class Finding:
    """One thing that a target cannot hold, or would compute differently.

    Attributes
    ----------
    layer : int or None
        Entry of ``/layer``; None for the network as a whole.
    field : str
        Field of the entry, as files name it.
    severity : "error", "warning" or "note"
        The target cannot run it, or runs something else; it may run something else, depending on the input; good to
        know.
    limit : str
        What the target holds.
    consequence : str
        What becomes of this network.
    rewrite : str or None
        What to do about it, where there is something.
    """

    layer: int | None
    field: str
    severity: str
    limit: str
    consequence: str
    rewrite: str | None = None

    def __str__(self) -> str:
        place = "network" if self.layer is None else f"/layer/{self.layer}/{self.field}"
        lines = [f"{self.severity}: {place}: {self.limit}", f"    {self.consequence}"]
        return "\n".join(lines if self.rewrite is None else [*lines, f"    -> {self.rewrite}"])


class Findings(tuple[Finding, ...]):
    """Findings in the order of the layers; ``str`` of them is a report."""

    __slots__ = ()

    @property
    def errors(self) -> Findings:
        """Those of severity ``"error"``."""
        return Findings(finding for finding in self if finding.severity == "error")

    def __str__(self) -> str:
        counts = {severity: sum(finding.severity == severity for finding in self) for severity in SEVERITIES}
        total = ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in counts.items() if count)
        return "\n".join([*map(str, self), total or "nothing found"])


def check(net_or_file: Any, target: str = "lava", shape: tuple[int, ...] | None = None) -> Findings:
    """What ``target`` cannot hold of a network, or would compute differently from training.

    The network stays as it is; it need not have been trained or run.  Blocks whose shapes are not known are looked at
    one by one.

    Parameters
    ----------
    net_or_file : path or network
        A ``.net`` file, or whatever :func:`save` takes.
    target : {"lava", "loihi2", "simulator"}
        Lava's processes (``netx.hdf5.Network``), the chip as Lava documents it, or :class:`Simulator`.
    shape : tuple of int, optional
        Spatial shape of the input, ``(C,)`` or ``(C, H, W)``, for blocks that do not know their shapes yet.

    Returns
    -------
    Findings
        A tuple of :class:`Finding`; empty where nothing was found.

    Raises
    ------
    ExchangeError
        If a file breaks the format, or there is no network.
    ShapeError
        If blocks do not take ``shape``, or what the one before gives.
    ParameterError
        For another target.

    Notes
    -----
    Bounds of states hold for every input: they assume that all inputs with positive weights are active at every step
    and no others, so that most networks stay far below them.

    Examples
    --------
    >>> from lavadl_lite import netx, slayer
    >>> neuron = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03, "graded_spike": True}
    >>> print(netx.check(slayer.block.cuba.Dense(neuron, 4, 2), "lava").errors[0].field)
    neuron/gradedSpike
    """
    if target not in TARGETS:
        raise ParameterError(f"expected target to be one of {', '.join(TARGETS)}, got {target!r}")
    layers, findings, whole = _layers(net_or_file, shape)
    known = [(index, layer) for index, layer in enumerate(layers) if layer is not None]
    groups = [known] if whole else [[pair] for pair in known]
    for group in groups:
        findings += _simulator(group, shape) if target == "simulator" else _lava(group)
    for index, layer in known:
        findings += [Finding(index, *row) for row in _wide_weights(layer, target)]
        findings += [Finding(index, *row) for row in _hardware(layer)] if target == "loihi2" else []
    found = bounds(layers)
    for index, layer in known:
        arriving = found[index - 1] if index else PORT
        findings += [Finding(index, *row) for row in _ranges(layer, found[index], target, arriving)]
    findings += _network(layers, target) if whole else []
    last = len(layers)  # what concerns the whole network comes last
    return Findings(
        sorted(findings, key=lambda f: (last if f.layer is None else f.layer, SEVERITIES.index(f.severity)))
    )


# --- from blocks to entries, as far as they are known -----------------------------------------------------------------


def _layers(net_or_file: Any, shape: tuple[int, ...] | None) -> tuple[list[Layer | None], list[Finding], bool]:
    """Entries, None for those that cannot be described; what stands against that; whether shapes are those of a run."""
    if isinstance(net_or_file, str | os.PathLike):
        return list(exchange.read(net_or_file).layers), [], True
    parts = list(parts_of(net_or_file))
    if not any(hasattr(part, "materialize") for part in parts):
        return list(layers_of(net_or_file)), [], True
    layers: list[Layer | None] = []
    findings: list[Finding] = []
    before, whole = shape, True
    for index, part in enumerate(parts):
        block, before, sure = _shaped(part, before, told=shape is not None)
        if whole and not sure:
            limit = "shapes that are known"
            lost = "sizes, and how layers fit together, are not checked from here on"
            findings.append(Finding(index, "shape", "note", limit, lost, "give shape, or run the network once"))
        whole &= sure
        try:
            layers.append(exchange.check_layer(block if isinstance(block, exchange.Layer) else block.exchange_layer()))
        except ExchangeError as error:
            whole = False
            layers.append(None)
            field = re.search(r"field ([\w/]+)|^/([\w/]+):", str(error))
            name = "type" if field is None else field[1] or field[2]
            findings.append(Finding(index, name, "error", "what the exchange format can say", str(error)))
    if whole:
        try:
            exchange.output_shapes(layer for layer in layers if layer is not None)
        except ExchangeError as error:
            raise ShapeError(str(error)) from None
    return layers, findings, whole


def _shaped(part: Any, before: tuple[int, ...] | None, *, told: bool) -> tuple[Any, tuple[int, ...] | None, bool]:
    """A block with a shape, the shape of its output where that is a true one, and whether the block's is."""
    if isinstance(part, exchange.Layer) or (part.shape is not None and not told):
        sizes = part.fields["shape"] if isinstance(part, exchange.Layer) else part.shape
        kind = part.type if isinstance(part, exchange.Layer) else part.layer_type
        shape = tuple(int(size) for size in sizes)
        return part, shape[:1] if kind == "flatten" else shape, True
    part = copy.deepcopy(part)
    after = tuple(part.materialize(_least(part) if before is None else before))
    sure = before is not None or part.layer_type.startswith("dense")
    return part, after if sure else None, sure


def _least(block: Any) -> tuple[int, ...]:
    """The smallest input that a block takes."""
    synapse = getattr(block, "input_synapse", block.synapse)
    if synapse is None:
        return (getattr(block, "num_outputs", 1),)
    kernel, dilation = synapse.kernel_size[:2], getattr(synapse, "dilation", (1, 1))[:2]
    plane = [step * (size - 1) + 1 for step, size in zip(dilation, kernel, strict=True)]
    flat = block.layer_type.startswith("dense") and max(kernel) == 1
    return (synapse.in_channels,) if flat else (synapse.in_channels, *plane)


# --- targets ----------------------------------------------------------------------------------------------------------

Row = tuple[str, str, str, str, str | None]  # a Finding without its layer


def _lava(group: Sequence[tuple[int, Layer]]) -> Iterator[Finding]:
    indices, layers = zip(*group, strict=True)
    for at, field, message, rewrite in refusals(layers):
        yield Finding(indices[at], field, "error", "what Lava's processes compute", message, rewrite)
    for index, layer in group:
        if layer.type != "input" and np.any(layer.fields.get("bias", 0)) and _kind(layer) != "SDNN":
            consequence = "it acts from the first step on, before any input comes: not as in training"
            yield Finding(
                index, "bias", "note", "a bias without a start of its own", consequence,
                "reset the network when its first input arrives (reset_interval, reset_offset)",
            )  # fmt: skip


def _wide_weights(layer: Layer, target: str) -> Iterator[Row]:
    """Weights that no synapse of 8 bits holds; Lava's convolution alone takes any."""
    free = layer.type == "conv" and target == "lava" and not unrolled(layer)
    if layer.type == "input" or target == "simulator" or free:
        return
    for field in ("weight", "weight_rec"):
        for name in (field, f"{field}/real", f"{field}/imag"):
            weight = layer.fields.get(name, np.zeros(1))
            try:
                optimize_weight_bits(weight)
            except ParameterError:
                bits = weight_bits(weight)
                yield (
                    field, "error", "weights of 8 bits with one exponent for all",
                    f"they need {bits} bits, their sign included, from {int(weight.min())} to {int(weight.max())}",
                    "use even weights (pre_hook_fx='quantize_8bit')",
                )  # fmt: skip


def _simulator(group: Sequence[tuple[int, Layer]], shape: tuple[int, ...] | None) -> Iterator[Finding]:
    """The first thing that the simulator refuses."""
    indices, layers = zip(*group, strict=True)
    if not any(layer.neuron is not None or layer.type == "dense" for layer in layers):
        return
    try:
        Simulator(layers, input_shape=None if layers[0].type == "input" else shape)
    except (ParameterError, ExchangeError) as error:
        place = re.match(r"/layer/(\d+)/?([\w/]*): (.*)", str(error), re.DOTALL)
        at, field, text = (0, "type", str(error)) if place is None else (int(place[1]), place[2] or "type", place[3])
        yield Finding(indices[at], field, "error", "what the simulator runs", text)


def _hardware(layer: Layer) -> Iterator[Row]:
    """Widths of the chip's numbers."""
    neuron = layer.neuron
    if neuron is None:
        return
    threshold = int(np.max(neuron.get("vThMant", 0)))
    if threshold > THRESHOLD_MAX:
        never = threshold == NEVER and _kind(layer) in ("CUBA", "ALIF")
        yield (
            "neuron/vThMant", "warning" if never else "error", f"thresholds of 17 bits, at most {THRESHOLD_MAX}",
            f"{threshold} does not fit" + (", though it only stands for never" if never else ""),
            f"{THRESHOLD_MAX}, which only a saturated voltage exceeds",
        )  # fmt: skip
    for field, (low, high) in DECAYS.items():
        values = neuron.get(field, low)
        if np.any(np.clip(values, low, high) != values):
            worst = int(np.min(values)) if np.min(values) < low else int(np.max(values))
            limit = f"decays {low} to {high}, 12 bits"
            yield f"neuron/{field}", "warning", limit, f"{worst} is outside", f"{int(np.clip(worst, low, high))}"


def _ranges(layer: Layer, bound: Bounds, target: str, arriving: Bounds) -> Iterator[Row]:
    """Sums, states and messages that may leave their bits."""
    bits = CHANGE_BITS if arriving is PORT and _kind(layer) == "SDNN" else arriving.bits
    total, most = float(np.max(bound.sums)), PLANE_LIMIT / 2.0**bits
    if layer.type in (PLANES if target == "simulator" else PLANES[:1]) and total >= most:
        text = "the sum wraps, while in training it does not"
        yield _may("weight", f"24 bits for sums of a {layer.type}", total, most, text, "warning")
    summing = _kind(layer) == "CUBA" and layer.type != "input" and arriving.message == SPIKES
    if target == "loihi2" and summing and total >= SUM_LIMIT:
        yield _may("weight", "16 bits for what arrives in a step", total, SUM_LIMIT, "the sum wraps", "warning")
    for name, sizes in bound.states.items():
        size = float(np.max(sizes))
        if name in ("sigma", "activation"):
            if target == "loihi2" and size >= SIGMA_LIMIT:
                text = f"24 bits for the {name}, 18 of them after the point"
                yield _may("weight", text, size, SIGMA_LIMIT, f"the {name} wraps", "warning")
        elif name == "current" and size >= LIMIT:
            text = "the current wraps, while in training it saturates"
            if layer.neuron is None:
                text = "the current, which adds up the sums of all steps, wraps"
            yield _may("weight", "24 bits for the current", size, LIMIT, text, "warning")
        elif name != "imag" and size >= LIMIT:
            state = "state" if name == "real" else name
            text = f"the {state} saturates, as it does in training"
            yield _may("weight", f"24 bits for the {state}", size, LIMIT, text, "note")
    if target == "loihi2" and bound.value is not None and layer.neuron and bound.message[1] >= MESSAGE_LIMIT:
        text = "16 bits for sigma-delta messages, 12 of them after the point"
        yield _may("neuron/activation", text, bound.message[1], MESSAGE_LIMIT, "larger changes are cut", "warning")


def _may(field: str, limit: str, size: float, most: float, consequence: str, severity: str) -> Row:
    """A row about a bound that is beyond a limit."""
    if np.isinf(size):
        worst, rewrite = "nothing but the length of a run bounds it", "a decay above 0, or resets"
    else:
        worst = f"at worst it comes to {size:.6g}, where {most:.6g} fit"
        rewrite = f"no change, if less than {most / size:.0%} of the worst input ever arrives; else smaller weights"
    return field, severity, limit, f"{worst}: beyond that {consequence}", rewrite


def _network(layers: Sequence[Layer | None], target: str) -> Iterator[Finding]:
    if target != "loihi2":
        return
    found = [layer for layer in layers if layer is not None]
    shapes = exchange.output_shapes(found)
    neurons = sum(
        int(np.prod(s)) for layer, s in zip(found, shapes, strict=True) if layer.neuron or layer.type == "dense"
    )
    if neurons > CHIP_NEURONS:
        limit = f"about {CHIP_NEURONS:,} neurons a chip"
        yield Finding(None, "shape", "note", limit, f"{neurons:,} neurons need several", None)


def _kind(layer: Layer) -> str:
    return "CUBA" if layer.neuron is None else str(layer.neuron["type"])
