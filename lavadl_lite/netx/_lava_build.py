"""From an entry of a network file to a block, and its line in the table that a network prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.rf.process import RF
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta

from ..errors import ExchangeError, ParameterError
from ..exchange import NEURONS, Layer, check_layer
from ._lava_limits import unrolled
from ._unroll import connections
from .blocks import process
from .utils import NetDict

__all__ = ["HEADER", "Options", "as_layer", "as_values", "create", "neuron_params"]

HEADER = "|   Type   |  W  |  H  |  C  | ker | str | pad | dil | grp |delay|"
DECAY_ONE, DECAY_BITS = 1 << 12, 12
STATE_BITS = 6  # of a state behind those of a weight
BIAS_ONE = 1 << 6
CHANGE_BITS = 16  # of a sigma-delta message

# what Lava builds for a dense layer without neuron: current is summed without leak, voltage equals it and never fires
INTEGRATOR = {"type": "CUBA", "iDecay": 0, "vDecay": DECAY_ONE, "vThMant": 1 << 17}


@dataclass(frozen=True)
class Options:
    """What a block needs beside its entry.

    Attributes
    ----------
    message_bits : int
        0: what arrives counts as one spike, else as an integer.
    reset_interval, reset_offset : int
        When LIF neurons are set to 0: at time steps congruent to the offset; an interval of None is never.
    spike_exp : int
        Fractional bits of sigma-delta messages.
    sparse : bool
        Hold the weights of dense layers as sparse matrices.
    """

    message_bits: int = 0
    reset_interval: int | None = None
    reset_offset: int = 0
    spike_exp: int = 6
    sparse: bool = False


def as_layer(config: Layer | NetDict | h5py.Group) -> Layer:
    """An entry, checked, from wherever it comes.

    Raises
    ------
    ExchangeError
        If it breaks the format.
    """
    if isinstance(config, Layer):
        return check_layer(config)
    values = dict(as_values(config))
    if "type" not in values:
        raise ExchangeError("/type: missing")
    return check_layer(Layer(values.pop("type"), values, values.pop("neuron", None)))


def as_values(config: Any) -> Mapping[str, Any]:
    """Fields of a group of a file, or of a mapping."""
    group = config.f if isinstance(config, NetDict) else config
    if not isinstance(group, h5py.Group):
        return group
    return {name: as_values(part) if isinstance(part, h5py.Group) else _value(part) for name, part in group.items()}


def _value(data: h5py.Dataset) -> Any:
    return bytes(np.ravel(data[()])[0]).rstrip(b"\0").decode() if data.dtype.kind in "OS" else data[()]


def neuron_params(neuron: Mapping[str, Any], options: Options, *, encodes: bool = False) -> dict[str, Any]:
    """Arguments of :class:`~lavadl_lite.netx.blocks.process.AbstractBlock` for a neuron of a file.

    Parameters
    ----------
    neuron : mapping
        Its fields.
    options : Options
        Resets and ``spike_exp``.
    encodes : bool
        Whether it has no synapses, so that a sigma-delta neuron sums nothing up.

    Raises
    ------
    ParameterError
        If Lava has no such neuron.
    """
    name = next((name for name, row in NEURONS.items() if neuron["type"] in (name, *row.synonyms)), None)
    one: dict[str, Any] = {
        key: value if isinstance(value, str) else _number(np.asarray(value)) for key, value in neuron.items()
    }
    if name == "CUBA":
        reset = {"reset_interval": options.reset_interval, "reset_offset": options.reset_offset}
        return {
            "neuron_proc": LIF if options.reset_interval is None else LIFReset,
            "bias_key": "bias_mant",
            "vth": one["vThMant"],
            "du": one["iDecay"] - 1,  # Lava adds 1
            "dv": one["vDecay"],
            "bias_exp": STATE_BITS,
            "num_message_bits": 0,
            **({} if options.reset_interval is None else reset),
        }
    if name == "SDNN":
        return _sigma_delta(one, options, encodes=encodes)
    if name in ("RF_PHASE", "RF_IZHIKEVICH"):
        sin, cos = np.asarray(one["sinDecay"]), np.asarray(one["cosDecay"])
        with np.errstate(divide="ignore"):
            period = 2 * math.pi / np.arctan2(sin, cos)
        return {
            "neuron_proc": RF if name == "RF_PHASE" else RF_IZ,
            "vth": one["vThMant"],
            "period": period[()],
            "alpha": (1 - np.hypot(sin, cos) / DECAY_ONE)[()],
            "state_exp": STATE_BITS,
            "decay_bits": DECAY_BITS,
            "sin_decay": one["sinDecay"],
            "cos_decay": one["cosDecay"],
            "num_message_bits": 0,
        }
    raise ParameterError(f"expected a neuron that Lava has, got {neuron['type']}")


def _number(value: np.ndarray) -> Any:
    return value.item() if value.size == 1 else value


def _sigma_delta(neuron: Mapping[str, Any], options: Options, *, encodes: bool) -> dict[str, Any]:
    if neuron.get("sigma_output"):
        return {"neuron_proc": Sigma, "num_message_bits": CHANGE_BITS}
    common = {
        "vth": neuron["vThMant"],
        "spike_exp": options.spike_exp,
        "state_exp": STATE_BITS,
        "num_message_bits": CHANGE_BITS,
        **({"cum_error": True} if neuron.get("cumError") else {}),
    }
    if encodes:
        return {"neuron_proc": Delta, **common}
    mode = {"relu": ActivationMode.RELU, "identity": ActivationMode.UNIT}
    return {"neuron_proc": SigmaDelta, "bias_key": "bias", "act_mode": mode[neuron["activation"]], **common}


def create(layer: Layer, before: tuple[int, ...], after: tuple[int, ...], options: Options) -> tuple[Any, str]:
    """The block of an entry with neurons, or of a dense one, and its line of the table.

    Parameters
    ----------
    layer : Layer
        Checked, and none that :func:`~lavadl_lite.netx._lava_limits.refusals` names.
    before, after : tuple of int
        Shapes of its input and output, ``(C, H, W)`` or ``(C,)``.
    options : Options
        What else it needs.
    """
    params = neuron_params(layer.neuron or INTEGRATOR, options, encodes=layer.type == "input")
    shape = after[::-1]
    if layer.type == "input":
        return _input(layer, params, shape), _row("Input", shape, layer)
    common: dict[str, Any] = {"input_message_bits": options.message_bits}
    if np.any(layer.fields.get("bias", 0)):
        common["bias"] = layer.fields["bias"].astype(np.int32)
    if layer.type in ("dense", "dense_rec"):
        if "delay" in layer.fields:
            common["delay"] = _delay_matrix(layer)
        block = _dense(layer, params, shape, {**common, "sparse_synapse": options.sparse})
        return block, _row("Dense", shape, layer)
    name = {"conv": "Conv", "convT": "ConvT", "pool": "Pool", "unpool": "Unpool"}[layer.type]
    if unrolled(layer):
        if "delay" in layer.fields:
            common["delay"] = _delay_of_planes(layer, shape)
        parts = connections(layer, before, after)
        return process.Unrolled(shape, before[::-1], params, parts, **common), _row(name, shape, layer)
    moves: dict[str, Any] = {
        key: tuple(int(v) for v in layer.fields[key][::-1]) for key in ("stride", "padding", "dilation")
    }
    weight = layer.fields["weight"][:, :, ::-1, ::-1].transpose(0, 3, 2, 1).astype(np.int32)
    block = process.Conv(shape, before[::-1], params, weight, groups=layer.fields["groups"], **moves, **common)
    return block, _row(name, shape, layer)


def _input(layer: Layer, params: dict[str, Any], shape: tuple[int, ...]) -> process.AbstractBlock:
    stored = {"weight": layer.fields.get("weight", BIAS_ONE), "bias": layer.fields.get("bias", 0)}
    transform = {name: int(np.ravel(value)[0]) for name, value in stored.items()}
    if params["neuron_proc"] in (RF, RF_IZ):
        return process.ComplexInput(shape, params, transform, imag=False)
    return process.Input(shape, params, transform)


def _dense(layer: Layer, params: dict[str, Any], shape: tuple[int, ...], common: Any) -> process.AbstractBlock:
    part = {name: value.astype(np.int32) for name, value in layer.fields.items() if name.startswith("weight")}
    if "weight" in part:
        if layer.type == "dense":
            return process.Dense(shape, params, part["weight"], **common)
        return process.RecurrentDense(shape, params, part["weight"], part["weight_rec"], **common)
    both = (part["weight/real"], part["weight/imag"])
    if layer.type == "dense":
        return process.ComplexDense(shape, params, *both, **common)
    feedback = (part["weight_rec/real"], part["weight_rec/imag"])
    return process.ComplexRecurrentDense(shape, params, *both, *feedback, **common)


def _delay_matrix(layer: Layer) -> np.ndarray:
    """Of one for each output, each input, or each connection; of as many inputs as outputs it is the former."""
    delay = np.asarray(layer.fields["delay"]).astype(np.int64)
    return delay[:, None] if delay.shape == (layer.fields["outFeatures"],) else delay


def _delay_of_planes(layer: Layer, shape: tuple[int, ...]) -> np.ndarray:
    delay = np.asarray(layer.fields["delay"]).astype(np.int64)
    return np.broadcast_to(delay, shape).reshape(-1, 1)


def _row(name: str, shape: tuple[int, ...], layer: Layer) -> str:
    """A line of the table; sizes as (W, H), of one axis as channels."""
    width, height, channels = shape if len(shape) == 3 else (1, 1, shape[0])
    cells = [f"{name:10}", *(f"{size:5}" for size in (width, height, channels))]
    for key in ("kernelSize", "stride", "padding", "dilation"):
        cells.append(",".join(f"{size:2}" for size in layer.fields[key][::-1]) if key in layer.fields else "")
    cells.append(str(layer.fields.get("groups", "")))
    cells[4:] = [f"{cell:>5}" for cell in cells[4:]]
    return "|" + "|".join([*cells, f"{'delay' in layer.fields!s:5}"]) + "|"
