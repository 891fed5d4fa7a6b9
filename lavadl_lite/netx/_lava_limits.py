"""What Lava's processes would compute differently from training, and the rewrite where there is one.  Needs no Lava.

:class:`lavadl_lite.netx.hdf5.Network` refuses what is listed here; ``netx.check`` reports it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..exchange import output_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..exchange import Layer

__all__ = ["Refusal", "refusals", "unrolled"]

TYPES = ("input", "flatten", "dense", "dense_rec", "conv", "pool", "convT", "unpool")
CONNECTIONS_MAX = 1 << 24  # of a layer that is written out connection by connection
INT8_MAX = (1 << 7) - 1  # Lava's convolution holds its sizes in 8 bits

# what each type that Lava lacks could be replaced by
OTHER_TYPES = {
    "average": "leave the entry out (num_layers) and average what the out-port carries",
    "decimation": "leave the entry out (num_layers) and average over time what the out-port carries",
    "concat": "train one layer on the joined channels, or run the network in netx.Simulator",
}
WITHOUT_ADAPTATION = {"ALIF": "CUBA", "ADRF_PHASE": "RF_PHASE", "ADRF_IZHIKEVICH": "RF_IZHIKEVICH"}
SPIKES, CHANGES, SUMS = "spikes", "sigma-delta messages", "the sums of a sigma read-out"


class Refusal(NamedTuple):
    """One thing that Lava cannot compute as training does.

    Attributes
    ----------
    layer : int
        Entry of ``/layer``.
    field : str
        Which of its fields asks for it.
    message : str
        What Lava would do instead.
    rewrite : str
        What to do about it.
    """

    layer: int
    field: str
    message: str
    rewrite: str


def refusals(layers: Sequence[Layer]) -> list[Refusal]:
    """All that Lava would compute differently from training.

    Parameters
    ----------
    layers : sequence of Layer
        Entries of a network, checked.

    Returns
    -------
    list of Refusal
        In the order of the layers; empty where Lava runs the network as it was trained.
    """
    found = []
    before: str | None = None  # what the layer before sends; None at the in-port, which carries what the caller means
    for index, (layer, shape) in enumerate(zip(layers, output_shapes(layers), strict=True)):
        rows = [*_type(layer, shape), *_neuron(layer), *_constants(layer), *_delay(layer), *_messages(layer, before)]
        found += [Refusal(index, *row) for row in rows]
        before = _sends(layer, before)
    return found


def unrolled(layer: Layer) -> bool:
    """Whether a layer of planes is built connection by connection, because Lava's own convolution cannot hold it.

    Parameters
    ----------
    layer : Layer
        Any entry.
    """
    if layer.type != "conv":
        return layer.type in ("pool", "convT", "unpool")
    if "weight/real" in layer.fields:
        return True
    sizes = [layer.fields["groups"], *(layer.fields[name].max() for name in ("kernelSize", "stride", "padding"))]
    return _longest(layer) > 0 or max(*sizes, layer.fields["dilation"].max()) > INT8_MAX


Row = tuple[str, str, str]  # a Refusal without its layer


def _type(layer: Layer, shape: tuple[int, ...]) -> Iterator[Row]:
    if layer.type not in TYPES:
        rewrite = OTHER_TYPES.get(layer.type, "run the network in netx.Simulator")
        yield "type", f"Lava has no process for a layer of type {layer.type}", rewrite
    elif layer.type == "dense" and layer.neuron is None and "weight/real" in layer.fields:
        yield "weight", "Lava has no complex sum without a neuron", "split it into two layers of real weights"
    elif unrolled(layer) and (count := _connections(layer, shape)) > CONNECTIONS_MAX:
        message = f"Lava runs a {layer.type} of this kind connection by connection, and {count} are too many"
        yield "shape", message, "use conv without delay, which has a process of its own"


def _neuron(layer: Layer) -> Iterator[Row]:
    neuron = layer.neuron
    if neuron is None:
        return
    if neuron["type"] in WITHOUT_ADAPTATION:
        message = f"Lava has no {neuron['type']} neuron: threshold and refractory state would not adapt"
        rewrite = f"train with {WITHOUT_ADAPTATION[neuron['type']]} neurons, or run the network in netx.Simulator"
        yield "neuron/type", message, rewrite
    if neuron.get("gradedSpike"):
        message = "Lava's neurons of this type send ones in place of graded spikes"
        yield "neuron/gradedSpike", message, "train with graded_spike=False, or with sigma-delta neurons"
    if np.any(neuron.get("weight_exp", 0)):
        message = "Lava's neurons have no exponent between current and voltage"
        yield "neuron/weight_exp", message, "train with MeanOnlyBatchNorm in place of WgtScaleBatchNorm"
    encodes = layer.type != "input" and not neuron.get("sigma_output")
    if encodes and (activation := neuron.get("activation", "relu")) not in ("relu", "identity"):
        message = f"Lava's sigma-delta neuron has relu and identity as activation, not {activation}"
        yield "neuron/activation", message, "train with torch.nn.functional.relu"
    if neuron.get("carryRounding"):
        message = "Lava does not put back what rounding takes from a message"
        yield "neuron/carryRounding", message, "train with carry_rounding=False"


def _constants(layer: Layer) -> Iterator[Row]:
    for field in ("bias/real", "bias/imag"):
        if np.any(layer.fields.get(field, 0)):
            yield field, "Lava's resonators take no bias", "train without norm"
    if np.any(layer.fields.get("inputBias", 0)):
        message = "Lava's neurons add a bias to the voltage, none to the current"
        yield "inputBias", message, "choose num_winners as half of the neurons, which needs no bias"


def _delay(layer: Layer) -> Iterator[Row]:
    """Lava delays what comes in; that is a delay of what goes out for neurons that do the same at every time."""
    if not _longest(layer) or _side(layer) == "input":
        return
    rewrite = "set delaySide to 'input', if the delay may act before the neuron"
    if np.any(layer.fields.get("bias", 0)):
        message = "Lava delays the input of neurons, which differs from their output where they have a bias"
        yield "delay", message, rewrite
    elif layer.type == "dense_rec" and np.ptp(layer.fields["delay"]):
        message = "Lava delays the input of neurons, which differs from their output where they feed each other"
        yield "delay", message, rewrite


def _messages(layer: Layer, before: str | None) -> Iterator[Row]:
    """Lava hands integers on as they are, whatever unit they count."""
    if before is None or layer.type in ("input", "flatten"):
        return
    takes = CHANGES if layer.neuron is not None and layer.neuron["type"] == "SDNN" else SPIKES
    if takes != before:
        kind = "no" if layer.neuron is None else layer.neuron["type"]
        message = f"Lava does not scale {before} for a layer with {kind} neuron"
        yield "neuron/type", message, "use spiking neurons alone, or sigma-delta ones with a read-out at the end"


def _sends(layer: Layer, before: str | None) -> str | None:
    if layer.neuron is None:
        return SPIKES if layer.type == "dense" else before
    if layer.neuron["type"] != "SDNN":
        return SPIKES
    return SUMS if layer.neuron.get("sigma_output") else CHANGES


def _longest(layer: Layer) -> int:
    return int(np.max(layer.fields.get("delay", 0), initial=0))


def _side(layer: Layer) -> str:
    """Delays of single connections, and of inputs, always act before the neuron."""
    delay = np.asarray(layer.fields.get("delay", 0))
    of_outputs = delay.ndim == 0 or delay.shape == (int(layer.fields["shape"][0]),)
    return layer.fields.get("delaySide", "output") if of_outputs else "input"


def _connections(layer: Layer, shape: tuple[int, ...]) -> int:
    """Upper bound of the connections of a layer of planes; no kernel reaches further than it is large."""
    kernel = math.prod(int(size) for size in layer.fields["kernelSize"])
    return math.prod(shape) * kernel * int(layer.fields.get("inChannels", 1)) // int(layer.fields.get("groups", 1))
