"""From the entries of a network file to the arrays that the simulator's loops take.  Nothing is run here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ParameterError
from ..exchange import output_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..exchange import Layer

__all__ = ["PAYLOAD", "PORT_ONE", "SPIKE", "VOLTAGE", "Stage", "plan"]

DECAY_ONE = 1 << 12
PORT_ONE = 1 << 6  # states per unit of a weight, a bias, a threshold, or Lava's in-port
RUNS = ("input", "flatten", "dense")  # the layers that the loops know
SPIKE, PAYLOAD, VOLTAGE = range(3)  # what a message is: one event, an integer, a voltage with 12 fractional bits

# what Lava builds for a dense layer without neuron: current is summed without leak, voltage equals it and never fires
INTEGRATOR: Mapping[str, Any] = {"iDecay": 0, "vDecay": DECAY_ONE, "vThMant": 1 << 17, "gradedSpike": False}


@dataclass(frozen=True, eq=False)
class Stage:
    """One population of neurons with what feeds it.

    Attributes
    ----------
    index : int
        Its place in ``/layer``.
    shape : tuple of int
        Shape of its neurons.
    weight : array of int16, shape (in, out), or None
        Transposed, so that the weights of one input lie together; None for an input layer.
    current_keep, voltage_keep, threshold, bias, delay : array of int64, shape (neurons,)
        What a step leaves of a state (4096ths), in units of the state, steps.
    delay_after : bool
        Whether the delay was trained behind the neuron.
    exponent : int
        What enters the voltage is divided by two to this power.
    graded : bool
        Whether a spike carries the voltage, with 12 fractional bits.
    message : int
        ``SPIKE``, ``PAYLOAD`` or ``VOLTAGE``: what it receives.
    """

    index: int
    shape: tuple[int, ...]
    weight: np.ndarray | None
    current_keep: np.ndarray
    voltage_keep: np.ndarray
    threshold: np.ndarray
    bias: np.ndarray
    delay: np.ndarray
    delay_after: bool
    exponent: int
    graded: bool
    message: int


def plan(layers: Sequence[Layer], skip: int, message_bits: int) -> tuple[tuple[int, ...], list[Stage]]:
    """Input shape and stages of the entries from ``skip`` on; the earlier ones tell shapes and kinds of messages.

    Raises
    ------
    ParameterError
        If a layer is none that the loops run, or no neuron is left.
    """
    for index, layer in enumerate(layers):
        _check_runs(layer, index)
    shapes = output_shapes(layers)
    befores = [_input_shape(layers[0], shapes[0]), *shapes[:-1]]
    message = PAYLOAD if message_bits else SPIKE
    stages = []
    for index, (layer, shape) in enumerate(zip(layers, shapes, strict=True)):
        if layer.neuron is not None or layer.type == "dense":
            stage = _stage(layer, index, shape, message)
            if index >= skip:
                stages.append(stage)
            message = VOLTAGE if stage.graded else SPIKE
    if not stages:
        raise ParameterError(f"expected a layer with neurons among entries {skip} to {len(layers) - 1}, got none")
    return befores[skip], stages


def _check_runs(layer: Layer, index: int) -> None:
    neuron = "no" if layer.neuron is None else layer.neuron["type"]
    if layer.type not in RUNS or neuron not in ("no", "CUBA") or "weight/real" in layer.fields:
        kind = "complex weights" if "weight/real" in layer.fields else f"{neuron} neuron"
        raise ParameterError(
            f"/layer/{index}: expected one of {', '.join(RUNS)} with real weights, and CUBA neurons or none: the "
            f"simulator runs no others; got {layer.type} with {kind}"
        )

    if layer.fields.get("delayShift", True) is not True:
        raise ParameterError(
            f"/layer/{index}/delayShift: expected a layer that answers a step later, as every layer of the chip does"
        )


def _input_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (layer.fields["inFeatures"],) if "inFeatures" in layer.fields else shape


def _stage(layer: Layer, index: int, shape: tuple[int, ...], message: int) -> Stage:
    fields = layer.fields
    neuron = INTEGRATOR if layer.neuron is None else layer.neuron
    weight = np.ascontiguousarray(fields["weight"].T, dtype=np.int16) if layer.type == "dense" else None
    bias = 0 if layer.type == "input" else fields.get("bias", 0)  # an input layer's bias belongs to its encoding
    return Stage(
        index=index,
        shape=shape,
        weight=weight,
        current_keep=DECAY_ONE - _each(neuron["iDecay"], shape),
        voltage_keep=DECAY_ONE - _each(neuron["vDecay"], shape),
        threshold=_each(neuron["vThMant"], shape) * PORT_ONE,
        bias=_each(bias, shape) * PORT_ONE,
        delay=_each(fields.get("delay", 0), shape),
        delay_after=fields.get("delaySide", "output") == "output",
        exponent=int(np.ravel(neuron.get("weight_exp", 0))[0]),
        graded=bool(neuron["gradedSpike"]),
        message=message,
    )


def _each(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A number, or one for each channel, as one for each neuron."""
    values = np.asarray(values, dtype=np.int64)
    rows = values.reshape(-1, *(1,) * (len(shape) - 1))
    return np.ascontiguousarray(np.broadcast_to(rows, shape)).reshape(math.prod(shape))
