"""From the entries of a network file to what the simulator runs: shapes, messages, weights.  Nothing is run here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ParameterError
from ..exchange import output_shapes
from ._synapses import Full, Plane, Shape, feedback_of, synapse_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..exchange import Layer

__all__ = ["MESSAGE_MAX", "PORT_ONE", "STATE_BITS", "Form", "Plan", "Stage", "exponents", "plan"]

PORT_ONE = 1 << 6  # states per unit of a weight, a bias, a threshold, or Lava's in-port
MESSAGE_MAX = (1 << 24) - 1  # what the in-port may hold
PAYLOAD_MAX = (1 << 31) - 1  # what a message may hold
STATE_BITS = 12  # fractional bits of a state, and of a graded message
BITS_MAX = 40  # fractional bits of a message that a neuron takes
SUM_MAX = 1 << 62  # sums of weighted messages have 64 bits


@dataclass(frozen=True)
class Form:
    """What a message means: an integer that stands for ``integer / (parts * 2 ** bits)``.

    Attributes
    ----------
    bits, parts : int
        ``parts`` is odd, and not 1 only behind means of as many.
    top : int
        Largest size of the integer; 1 for spikes.
    wraps : bool
        Whether Lava knows such messages, so that its convolution brings their sums back into 24 bits: all but states.
    """

    bits: int = 0
    parts: int = 1
    top: int = 1
    wraps: bool = True

    @property
    def scale(self) -> float:
        """What a unit of the integer stands for."""
        return 1 / self.parts / 2.0**self.bits

    def mean(self, count: int) -> Form:
        """What a sum of ``count`` messages means that stands for their mean."""
        power = (count & -count).bit_length() - 1
        top = min(self.top * count, PAYLOAD_MAX)
        return replace(self, bits=self.bits + power, parts=self.parts * (count >> power), top=top)


@dataclass(frozen=True, eq=False)
class Stage:
    """One entry.

    Attributes
    ----------
    index : int
        Its place in ``/layer``.
    layer : Layer
    before, shape : tuple of int
        Shape of what it takes (the first of them) and of what it sends, channels first.
    sources : tuple of int
        Entries that it takes messages from; the one before the first stage is the in-port.
    takes, sends : Form
    order : int or None
        How many populations come before it, where it is one.
    branches : tuple of (delay, synapse)
        Synapses of a population that is no input, each behind delays: a number, or one for each input.
    feedback : Full or None
        Synapses from the population to itself.
    delay : array of int64, shape (neurons,), or 0
        Delays of each neuron.
    delay_after : bool
        Whether these were trained behind the neuron.
    """

    index: int
    layer: Layer
    before: Shape
    shape: Shape
    sources: tuple[int, ...]
    takes: Form
    sends: Form
    order: int | None = None
    branches: tuple[tuple[Any, Full | Plane], ...] = ()
    feedback: Full | None = None
    delay: Any = 0
    delay_after: bool = True

    @property
    def neurons(self) -> int:
        """Their number."""
        return math.prod(self.shape)

    def each(self, values: Any) -> np.ndarray:
        """A number, or one for each channel, as one for each neuron."""
        channels = self.shape[0]
        spread = np.broadcast_to(np.asarray(values, np.int64).reshape(-1), (channels,))
        return np.tile(spread, self.neurons // channels)


@dataclass(frozen=True, eq=False)
class Plan:
    """A network.

    Attributes
    ----------
    input_shape : tuple of int
    port : Form
        What the in-port carries.
    spikes : bool
        Whether all that is not 0 in the in-port counts as 1.
    stages : tuple of Stage
    """

    input_shape: Shape
    port: Form
    spikes: bool
    stages: tuple[Stage, ...]


def plan(
    layers: Sequence[Layer],
    skip: int = 0,
    message_bits: int = 0,
    spike_exp: int = 6,
    input_shape: Shape | None = None,
) -> Plan:
    """Stages of the entries from ``skip`` on; the earlier ones tell shapes and kinds of messages.

    Parameters
    ----------
    layers : sequence of Layer
    skip, message_bits, spike_exp
        As for :class:`~lavadl_lite.netx.Simulator`.
    input_shape : tuple of int, optional
        Shape before the first entry, where no entry tells it.

    Raises
    ------
    ExchangeError
        If ``input_shape`` does not fit the first entry.
    ParameterError
        If no neuron is left, or a layer cannot take what is sent to it.
    """
    start = _input_shape(layers[0]) if input_shape is None else tuple(input_shape)
    begins = layers[0].type == "input"
    shapes = {-1: start, **dict(enumerate(output_shapes(layers, None if begins else start)))}
    if begins and shapes[0] != start:
        raise ParameterError(f"expected input_shape {shapes[0]} as the input entry has it, got {start}")
    forms, rates = {-1: _port(layers, message_bits, spike_exp)}, {-1: 1}
    stages: list[Stage] = []
    order = 0
    for index, layer in enumerate(layers):
        stage = _stage(layer, index, shapes, forms, rates, spike_exp)
        forms[index] = stage.sends
        rates[index] = rates[stage.sources[0]] * layer.fields.get("factor", 1)
        if index < skip:
            continue
        if min(stage.sources) < skip - 1:
            raise ParameterError(
                f"/layer/{index}/layers: expected entries from {max(skip - 1, 0)} on, as the others are skipped, got "
                f"{stage.sources}"
            )
        if _is_population(layer):
            stage, order = _population(stage, order, spike_exp), order + 1
        stages.append(stage)
    if not order:
        raise ParameterError(f"expected a layer with neurons among entries {skip} to {len(layers) - 1}, got none")
    port = forms[skip - 1]
    return Plan(shapes[skip - 1], port, port.top == 1, tuple(stages))


def _is_population(layer: Layer) -> bool:
    return layer.neuron is not None or layer.type == "dense"


def _port(layers: Sequence[Layer], message_bits: int, spike_exp: int) -> Form:
    """What goes into the first entry."""
    first = next((layer for layer in layers if _is_population(layer)), layers[0])
    if first.type == "input":
        return Form(bits=6, top=MESSAGE_MAX * PORT_ONE)
    encoded = first.neuron is not None and first.neuron["type"] == "SDNN"
    return Form(bits=6 + spike_exp if encoded else 0, top=MESSAGE_MAX if message_bits else 1)


def _input_shape(layer: Layer) -> Shape:
    """What the first entry takes, as far as it can only be that."""
    fields = layer.fields
    if layer.type in ("input", "decimation"):
        return tuple(int(size) for size in fields["shape"])
    if layer.type == "flatten":
        return (int(fields["shape"][0]),)
    if "inFeatures" in fields:
        return (fields["inFeatures"],)
    if "kernelSize" in fields:
        sizes = [_only_size(layer, axis) for axis in (0, 1)]
        if None not in sizes:
            return (fields.get("inChannels", int(fields["shape"][0])), *sizes)
    raise ParameterError(f"/layer/0: expected input_shape beside a network that starts with {layer.type}, got none")


def _only_size(layer: Layer, axis: int) -> int | None:
    """The one length of an axis that gives the stored one; None where several do."""
    length = int(layer.fields["shape"][axis + 1])
    kernel, stride, padding, dilation = (
        int(layer.fields[name][axis]) for name in ("kernelSize", "stride", "padding", "dilation")
    )
    covers = dilation * (kernel - 1) + 1
    if layer.type in ("convT", "unpool"):
        return (length + 2 * padding - covers) // stride + 1
    several = stride > 1 or (layer.type == "pool" and stride == kernel > 1)
    return None if several else length - 1 + covers - 2 * padding


def _stage(
    layer: Layer, index: int, shapes: dict[int, Shape], forms: dict[int, Form], rates: dict[int, int], spike_exp: int
) -> Stage:
    """An entry without its synapses."""
    joined = layer.type == "concat"
    sources = tuple(int(i) for i in layer.fields["layers"]) if joined else (index - 1,)
    taken = [forms[i] for i in sources]
    for name, values in (
        ("messages", [(form.bits, form.parts) for form in taken]),
        ("steps", [rates[i] for i in sources]),
    ):
        if len(set(values)) > 1:
            raise ParameterError(f"/layer/{index}/layers: expected entries with {name} of the same size, got {values}")
    takes = replace(taken[0], top=max(form.top for form in taken), wraps=all(form.wraps for form in taken))
    before = shapes[sources[0]]
    sends = takes
    if layer.type == "average":
        sends = takes.mean(before[0] // shapes[index][0])
    elif layer.type == "decimation":
        sends = takes.mean(layer.fields["factor"])
    elif _is_population(layer):
        sends = _sends(layer.neuron or {}, spike_exp)
    return Stage(index, layer, before, shapes[index], sources, takes, sends)


def _sends(neuron: Any, spike_exp: int) -> Form:
    if neuron.get("type") == "SDNN":
        bits = STATE_BITS if neuron.get("sigma_output") else STATE_BITS - 6
        return Form(bits + spike_exp, top=PAYLOAD_MAX)
    return Form(STATE_BITS, top=1 << 23, wraps=False) if neuron.get("gradedSpike") else Form()


def _population(stage: Stage, order: int, spike_exp: int) -> Stage:
    """With what leads to its neurons."""
    layer, index, takes = stage.layer, stage.index, stage.takes
    if takes.parts != 1 or takes.bits > BITS_MAX:
        raise ParameterError(
            f"/layer/{index}: expected messages with at most {BITS_MAX} fractional bits, so means of a power of two of "
            f"channels, got multiples of 1 / ({takes.parts} * 2**{takes.bits})"
        )
    if layer.type == "input":
        return replace(stage, order=order)
    synapse, feedback = synapse_of(layer, stage.before, stage.shape), feedback_of(layer)
    delay = np.asarray(layer.fields.get("delay", 0), np.int64)
    own = delay.shape in ((), (stage.shape[0],))
    branches: tuple[tuple[Any, Full | Plane], ...] = ((0 if own else delay, synapse),)
    if delay.ndim == 2:
        weights = [weight.T for weight in synapse.weights]
        branches = tuple((int(d), Full([w * (delay == d) for w in weights])) for d in np.unique(delay))
    _check_sums(stage, synapse.reach, 0 if feedback is None else feedback.reach, spike_exp)
    return replace(
        stage,
        order=order,
        branches=branches,
        feedback=feedback,
        delay=stage.each(delay if own else 0),
        delay_after=own and layer.fields.get("delaySide", "output") == "output",
    )


def _check_sums(stage: Stage, reach: int, back: int, spike_exp: int) -> None:
    """Sums, in units of the state, have to fit into 64 bits whatever the messages are."""
    neuron: Any = stage.layer.neuron or {}
    bits = max(stage.takes.bits, stage.sends.bits) if back else stage.takes.bits
    top = (reach * stage.takes.top << bits - stage.takes.bits) + (
        back * stage.sends.top << bits - stage.sends.bits if back else 0
    )
    unit = (6 + spike_exp if neuron.get("type") == "SDNN" else 6) - exponents(neuron)[0]
    if top << max(unit - bits, 0) >= SUM_MAX:
        raise ParameterError(f"/layer/{stage.index}: expected sums of messages below 2**62, got up to {top}")


def exponents(neuron: Any) -> tuple[int, int]:
    """Powers of two that divide what enters a neuron, for the real and for the imaginary part."""
    values = [int(value) for value in np.ravel(neuron.get("weight_exp", 0))]
    return values[0], values[-1]
