"""The neurons of the format, one row each: their fields, shapes and ranges.  Layers are in :mod:`.layers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .fields import Field, Mismatch, NeuronType, Values

__all__ = ["ACTIVATIONS", "NEURONS"]

DECAY_ONE = 1 << 12  # decays count 4096ths
THRESHOLD_MAX = (1 << 24) - 1  # beyond any 24-bit voltage; 2**18 - 1 is the usual "never"
EXPONENT_MAX = 16

# of sigma-delta neurons: functions of torch.nn.functional without further arguments, and the identity
ACTIVATIONS = (
    "identity", "elu", "gelu", "hardtanh", "leaky_relu", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "tanh",
)  # fmt: skip


def _sigma_delta(neuron: Values, layer_type: str, fields: Values) -> None:
    """A read-out sums its messages up: nothing of the encoder changes what it gives."""
    if not neuron.get("sigma_output"):
        for name in ("activation", "vThMant"):
            if name not in neuron:
                raise Mismatch(f"neuron/{name}", "a value where sigma_output is not true", "none")
        return
    if layer_type == "input":
        raise Mismatch("neuron/sigma_output", "a layer with synapses", "an input")
    for name in ("weight_exp", "cumError", "carryRounding"):
        if name in neuron:
            raise Mismatch(f"neuron/{name}", "none where sigma_output is true", str(neuron[name]))
    if "bias" in fields:
        raise Mismatch("bias", "none where neuron/sigma_output is true", "a bias")


_DECAY: dict[str, Any] = {"dtype": np.int64, "low": 0, "high": DECAY_ONE, "shapes": ((), ("channels",)), "old": ((1,),)}
_THRESHOLD: dict[str, Any] = {"dtype": np.int64, "low": 0, "high": THRESHOLD_MAX, "old": ((1,),)}
_EXPONENT: dict[str, Any] = {"dtype": np.float32, "low": -EXPONENT_MAX, "high": EXPONENT_MAX, "required": False}
_SWITCH: dict[str, Any] = {"dtype": bool, "old": ((1,),)}

_INTEGRATOR = (
    Field("iDecay", **_DECAY),
    Field("vDecay", **_DECAY),
    Field("vThMant", **_THRESHOLD),
    Field("refDelay", np.int64, 1, 1, old=((1,),), default=1),
    Field("gradedSpike", default=False, **_SWITCH),
    Field("weight_exp", shapes=((1,),), old=((),), **_EXPONENT),
    Field("wgtExp", np.int64, 0, 0, old=((1,),), required=False, kept=False),
)
_RESONATOR = (
    Field("sinDecay", **_DECAY),
    Field("cosDecay", **_DECAY),
    Field("vThMant", **_THRESHOLD),
    Field("gradedSpike", default=False, **_SWITCH),
    Field("weight_exp", shapes=((1,), (2,)), old=((),), **_EXPONENT),
)
_ADAPTATION = (Field("thDecay", **_DECAY), Field("refDecay", **_DECAY), Field("vThStep", **_THRESHOLD))

NEURONS: Mapping[str, NeuronType] = {
    "CUBA": NeuronType(_INTEGRATOR, synonyms=("LOIHI",), ignored=("scaleRho", "tauRho", "theta")),
    "ALIF": NeuronType((*_INTEGRATOR, *_ADAPTATION)),
    "RF_PHASE": NeuronType(_RESONATOR, complex=True),
    "RF_IZHIKEVICH": NeuronType(_RESONATOR, complex=True),
    "ADRF_PHASE": NeuronType((*_RESONATOR, *_ADAPTATION), complex=True),
    "ADRF_IZHIKEVICH": NeuronType((*_RESONATOR, *_ADAPTATION), complex=True),
    "SDNN": NeuronType(
        (
            Field("activation", str, choices=ACTIVATIONS, required=False),
            Field("vThMant", **{**_THRESHOLD, "shapes": ((), ("channels",)), "required": False}),
            Field("sigma_output", required=False, **_SWITCH),
            Field("weight_exp", shapes=((1,),), old=((),), **_EXPONENT),
            Field("cumError", required=False, **_SWITCH),
            Field("carryRounding", required=False, **_SWITCH),
        ),
        check=_sigma_delta,
    ),
}
