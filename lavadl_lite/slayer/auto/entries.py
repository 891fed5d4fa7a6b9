"""From the entries of a network file to blocks with the same numbers; reading files is :mod:`lavadl_lite.exchange`."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import exchange
from ...errors import ExchangeError, ParameterError, ShapeError
from ...exchange.layers import BIAS_MAX, BIAS_MIN, WEIGHT_MAX, WEIGHT_MIN
from ...exchange.neurons import EXPONENT_MAX
from .. import block as blocks
from .. import neuron as neurons
from ..block.base import AbstractBlock
from ..neuron.base import NEVER_FIRES
from ..utils.quantize import quantize

__all__ = ["from_layers", "get_classes", "get_neuron_params", "integer_hook_fx"]

SCALE = 1 << 6  # weights, biases and thresholds of a file count 64ths

# names of layers and of their fields in a file, names of blocks and of their arguments here
BLOCKS = {
    "input": "Input", "flatten": "Flatten", "dense": "Dense", "dense_rec": "Recurrent", "conv": "Conv",
    "convT": "ConvT", "pool": "Pool", "unpool": "Unpool", "average": "Average", "decimation": "TimeDecimation",
}  # fmt: skip
ARGUMENTS = {
    "inFeatures": "in_neurons", "outFeatures": "out_neurons", "inChannels": "in_features",
    "outChannels": "out_features", "kernelSize": "kernel_size", "stride": "stride", "padding": "padding",
    "dilation": "dilation", "groups": "groups", "factor": "factor", "delayShift": "delay_shift",
}  # fmt: skip
FLAGS = {"gradedSpike": "graded_spike", "cumError": "cum_error", "carryRounding": "carry_rounding"}
MODULES = {family.type_name: family.__module__.rpartition(".")[2] for family in neurons.FAMILIES}
MODULES |= {old: MODULES[name] for name, row in exchange.NEURONS.items() for old in row.synonyms}


def integer_hook_fx(x: Tensor, low: int, high: int, scale: int = SCALE, descale: bool = False) -> Tensor:
    """Hold weights, or a normalisation mean, to integers in units of ``1 / scale``; odd ones stay odd.

    Parameters
    ----------
    x : Tensor, any shape
        Values in units of 1.
    low, high : int
        Smallest and largest integer.
    scale : int, optional
        Integer that stands for 1.0.
    descale : bool, optional
        Return the integers, not multiples of ``1 / scale``.

    Returns
    -------
    Tensor, shape of ``x``
        The gradient passes unchanged inside the range and is zero outside.
    """
    held = quantize(x, step=1 / scale).clamp(low / scale, high / scale)
    return held * scale if descale else held


def get_classes(neuron_type: str | None = None) -> tuple[ModuleType, ModuleType]:
    """Modules of the neurons and of the blocks that a file means by ``neuron_type``.

    Parameters
    ----------
    neuron_type : str, optional
        A type of the exchange format, such as ``CUBA``, which old files call ``LOIHI``; absent, ``CUBA``.

    Returns
    -------
    neuron, block : module
        Such as ``slayer.neuron.cuba`` and ``slayer.block.cuba``.

    Raises
    ------
    ParameterError
        If there are no such neurons.
    """
    family = MODULES.get("CUBA" if neuron_type is None else neuron_type)
    if family is None:
        raise ParameterError(f"expected neuron_type out of {', '.join(MODULES)}, got {neuron_type!r}")
    return getattr(neurons, family), getattr(blocks, family)


def get_neuron_params(neuron_handle: Any, neuron_class: Any) -> dict[str, Any]:
    """Constructor arguments of the neuron that a file describes.

    Parameters
    ----------
    neuron_handle : h5py.Group or mapping
        The ``neuron`` group of an open file, or :attr:`Layer.neuron <lavadl_lite.exchange.Layer>`.
    neuron_class : module
        The first of what :func:`get_classes` returns.

    Returns
    -------
    dict
        What ``neuron_class.neuron_params`` makes of the fields: threshold and decays, of a resonator the period and
        the decay of its rotation, which do not always come back to the same integers.
    """
    fields = {name: neuron_handle[name] for name in neuron_handle}
    fields = {name: value[()] if hasattr(value, "shape") else value for name, value in fields.items()}
    fields = {name: value.decode() if isinstance(value, bytes) else value for name, value in fields.items()}
    return neuron_class.neuron_params({k: v.item() if np.shape(v) == (1,) else v for k, v in fields.items()})


def from_layers(found: Iterable[exchange.Layer], persistent_state: bool, count_log: bool) -> Iterator[AbstractBlock]:
    """Blocks of the entries of a file, their shapes fixed.

    Parameters
    ----------
    found : iterable of Layer
        In order of execution.
    persistent_state, count_log : bool
        As for :class:`.SequentialNetwork`.

    Raises
    ------
    ExchangeError
        If an entry breaks the format, or says what its block cannot do.
    """
    layers = [exchange.check_layer(layer, f"/layer/{i}") for i, layer in enumerate(found)]
    exchange.output_shapes(layers)
    shape = None
    for i, layer in enumerate(layers):
        made = _make(layer, f"/layer/{i}", persistent_state, count_log)
        try:
            shape = _materialized(made, layer, shape)
        except ShapeError as wrong:
            raise ExchangeError(f"/layer/{i}: expected a layer that fits the one before; {wrong}") from None
        _compare(layer, made, f"/layer/{i}")
        yield made


def _make(layer: exchange.Layer, path: str, persistent_state: bool, count_log: bool) -> AbstractBlock:
    """The block of an entry, with its weights, biases and delays."""
    fields, neuron = layer.fields, layer.neuron
    kind = neuron["type"] if neuron is not None else "RF_PHASE" if "weight/real" in fields else "CUBA"
    if layer.type not in BLOCKS:
        raise ExchangeError(f"{path}/type: expected one of {', '.join(BLOCKS)}, which are blocks, got {layer.type}")
    name = BLOCKS[layer.type]
    options = {arg: np.asarray(fields[field]).tolist() for field, arg in ARGUMENTS.items() if field in fields}
    if layer.type == "average":
        options["num_outputs"] = int(fields["shape"][0])
    if layer.type == "input" and neuron is not None:
        options |= {name: float(fields[name][0]) / SCALE for name in ("weight", "bias") if name in fields}
    if layer.type == "dense" and neuron is None:
        name, options["dynamics"] = "Affine", False
        neuron = {"vThMant": 0, **{decay.field: 0 for decay in get_classes(kind)[0].Neuron.decays}}
    elif layer.type == "dense" and neuron is not None and neuron.get("sigma_output"):
        name = "Output"
    elif layer.type == "dense" and neuron is not None and kind != "SDNN" and neuron["vThMant"] == NEVER_FIRES:
        name = "Affine"
    elif "inputBias" in fields:
        name = "KWTA"
        options |= _winners(fields, neuron)
    module = get_classes(kind)[1]
    if neuron is not None:
        options["neuron_params"] = _neuron_params(layer, neuron, kind) | {"persistent_state": persistent_state}
    if "delay" in fields:
        if fields.get("delaySide", "output") != "output":
            raise ExchangeError(f"{path}/delaySide: expected 'output', as blocks have their delays, got 'input'")
        if np.shape(fields["delay"]) != (int(fields["shape"][0]),):
            raise ExchangeError(
                f"{path}/delay: expected one for each neuron, as blocks have their delays, got shape "
                f"{np.shape(fields['delay'])}"
            )
        if "delay" not in inspect.signature(getattr(module, name)).parameters:
            raise ExchangeError(f"{path}/delay: expected none for a block {name}, got one")
        options["delay"] = True
    made: Any = getattr(module, name)(**options, count_log=count_log)
    _fill(made, layer)
    return made


def _neuron_params(layer: exchange.Layer, neuron: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Arguments of the neuron, with any decays: :func:`_fill` sets the integers of the file."""
    module = get_classes(kind)[0]
    numbers = {"vThMant": 0, "activation": "identity", **neuron, **{decay.field: 1 for decay in module.Neuron.decays}}
    params = module.neuron_params(numbers) | {arg: neuron[field] for field, arg in FLAGS.items() if field in neuron}
    if layer.type == "input":  # its bias is the block's own
        return params
    if "weight_exp" in neuron:
        params["norm"] = partial(neurons.norm.WgtScaleBatchNorm, weight_exp_bits=EXPONENT_MAX)
    elif kind != "SDNN" and {"bias", "bias/real"} & layer.fields.keys():
        params["norm"] = neurons.norm.MeanOnlyBatchNorm
    return params


def _winners(fields: Mapping[str, Any], neuron: Any) -> dict[str, Any]:
    """Arguments of the winner-take-all block that may have written ``weight_rec`` and ``inputBias``."""
    count, level = fields["outFeatures"], float(np.ravel(neuron.get("vThMant", 0))[0]) / SCALE
    winners = count / 2 * (1 - float(fields["inputBias"][0]) / level) if level else 1
    own = next(fields[name] for name in ("weight_rec", "weight_rec/real") if name in fields)[0, 0]
    return {
        "num_winners": int(np.clip(np.round(winners), 1, count)),
        "self_excitation": float(np.clip(own / SCALE, 0, 1)),
    }


def _fill(made: Any, layer: exchange.Layer) -> None:
    """Give a block the numbers of the file, as they are."""
    fields, neuron = layer.fields, layer.neuron
    if layer.type == "dense_rec":
        _fill_weights(getattr(made, "input_synapse", made.synapse), fields, "weight")
        _fill_weights(getattr(made, "recurrent_synapse", None), fields, "weight_rec")
    else:
        _fill_weights(made.synapse, fields, "weight")
    if made.delay is not None:
        made.delay.delay.data = _tensor(fields["delay"])
        made.delay.init = True
    if neuron is None:
        return
    if layer.type == "input" and not all(_in_8_bits(fields[name]) for name in ("weight", "bias") if name in fields):
        made.pre_hook_fx = partial(integer_hook_fx, low=BIAS_MIN, high=BIAS_MAX)
    for decay in made.neuron.decays:
        values = _tensor(neuron[decay.field])
        getattr(made.neuron, decay.name).data = values
        made.neuron.shared_param = made.neuron.shared_param and len(values) == 1
    if made.neuron.norm is not None:
        _fill_norms(made.neuron.norm, fields, neuron)
    elif "bias" in fields and layer.type != "input":
        made.neuron.set_bias(_tensor(fields["bias"]) / SCALE)


def _fill_weights(synapse: Any, fields: Mapping[str, Any], name: str) -> None:
    if synapse is None:
        return
    parts = {f"{name}/real": synapse.real, f"{name}/imag": synapse.imag} if synapse.complex else {name: synapse}
    for field, part in parts.items():
        part.weight.data = (_tensor(fields[field]) / SCALE).reshape(part.weight.shape)
    if not all(_in_8_bits(fields[field]) for field in parts):
        synapse.pre_hook_fx = partial(integer_hook_fx, low=WEIGHT_MIN, high=WEIGHT_MAX)


def _fill_norms(norm: Any, fields: Mapping[str, Any], neuron: Mapping[str, Any]) -> None:
    """Fix what the norm of a neuron, or those of both parts, subtract and divide by."""
    parts = dict(zip(("bias/real", "bias/imag"), norm, strict=True)) if isinstance(norm, tuple) else {"bias": norm}
    exponents = np.broadcast_to(neuron.get("weight_exp", 0), len(parts))
    for (field, part), exponent in zip(parts.items(), exponents, strict=True):
        part.pre_hook_fx = partial(integer_hook_fx, low=-BIAS_MAX, high=-BIAS_MIN)  # a bias, negated
        part.update = False
        part.running_mean = -_tensor(fields.get(field, 0)) / SCALE
        if "weight_exp" in neuron:
            part.running_var = torch.tensor([4.0 ** float(exponent) / 2])  # half way between two exponents
            part.eps = min(part.eps, float(part.running_var) / 2)


def _in_8_bits(values: Any) -> bool:
    """Whether a neuron's 8-bit quantiser leaves these integers as they are."""
    return bool(np.all((values % 2 == 0) & (values >= WEIGHT_MIN) & (values <= WEIGHT_MAX)))


def _tensor(values: Any) -> Tensor:
    return torch.tensor(np.atleast_1d(values), dtype=torch.float32)


def _materialized(made: Any, layer: exchange.Layer, before: tuple[int, ...] | None) -> tuple[int, ...]:
    """Fix the shapes of a block; returns that of its output."""
    if before is None and "inFeatures" in layer.fields:
        before = (layer.fields["inFeatures"],)
    stored = tuple(int(size) for size in layer.fields["shape"])
    if before is None and made.synapse is not None:  # sizes of its input are not in the file
        made.neuron.materialize(stored)
        if made.delay is not None:
            made.delay.materialize(stored)
        return stored
    return made.materialize(stored if before is None else before)


def _compare(layer: exchange.Layer, made: AbstractBlock, path: str) -> None:
    """Refuse an entry that the block would not write again; what it leaves out has to be 0."""
    again = made.exchange_layer()
    places = [("", layer.fields, again.fields), ("neuron/", layer.neuron or {}, again.neuron or {})]
    for name, given, held in [(at + n, v, found.get(n, 0)) for at, values, found in places for n, v in values.items()]:
        if not np.all(np.asarray(given) == np.asarray(held)):
            raise ExchangeError(
                f"{path}/{name}: expected what a block {type(made).__module__.rpartition('.')[2]}."
                f"{type(made).__name__} holds there, {_short(held)}, got {_short(given)}"
            )


def _short(values: Any) -> str:
    return np.array2string(np.asarray(values), threshold=6, edgeitems=2).replace("\n", "")
