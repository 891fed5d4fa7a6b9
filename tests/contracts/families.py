"""What a contract needs to know about each family: arguments that make its neurons, and the shapes its blocks take."""

import importlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from lavadl_lite.slayer import axon, dendrite
from lavadl_lite.slayer.neuron import FAMILIES

__all__ = [
    "BLOCKS",
    "FAMILIES",
    "READ_OUTS",
    "SPIKING",
    "WITHOUT_NEURONS",
    "WITH_DECAYS",
    "Case",
    "block_cases",
    "block_module",
    "make_neuron",
    "parameter_fields",
    "parameter_names",
    "run",
    "snapshot",
    "spikes",
    "state_names",
    "variant",
]

PARAMS = {
    "CUBA": {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.1},
    "ALIF": {
        "threshold": 1.25, "threshold_step": 0.25, "current_decay": 0.25, "voltage_decay": 0.1,
        "threshold_decay": 0.2, "refractory_decay": 0.5,
    },
    "RF_PHASE": {"threshold": 0.5, "period": 8, "decay": 0.05},
    "RF_IZHIKEVICH": {"threshold": 1, "period": 8, "decay": 0.1},
    "ADRF_PHASE": {
        "threshold": 0.5, "threshold_step": 0.25, "period": 8, "decay": 0.05, "threshold_decay": 0.2,
        "refractory_decay": 0.5,
    },
    "ADRF_IZHIKEVICH": {
        "threshold": 1, "threshold_step": 0.25, "period": 8, "decay": 0.1, "threshold_decay": 0.2,
        "refractory_decay": 0.5,
    },
    "SDNN": {"threshold": 2.5, "activation": torch.relu},
}  # fmt: skip
PER_CHANNEL = {
    "CUBA": {"current_decay": (0.1, 0.4), "voltage_decay": (0.05, 0.3), "shared_param": False},
    "ALIF": {
        "current_decay": (0.1, 0.4), "voltage_decay": (0.05, 0.3), "threshold_decay": (0.1, 0.3),
        "refractory_decay": (0.4, 0.6), "shared_param": False,
    },
    **{
        name: {"period": (6, 20), "decay": (0.02, 0.1), "shared_param": False}
        for name in ("RF_PHASE", "RF_IZHIKEVICH")
    },
    **{
        name: {
            "period": (6, 20), "decay": (0.02, 0.1), "threshold_decay": (0.1, 0.3), "refractory_decay": (0.4, 0.6),
            "log_init": False, "shared_param": False,
        }
        for name in ("ADRF_PHASE", "ADRF_IZHIKEVICH")
    },
    "SDNN": {"shared_param": False},
}  # fmt: skip


def family_id(neuron):
    return neuron.type_name


def params(neuron, per_channel=False, **options):
    """Fresh arguments of a family's neuron."""
    return PARAMS[neuron.type_name] | (PER_CHANNEL[neuron.type_name] if per_channel else {}) | options


def make_neuron(neuron, per_channel=False, **options):
    return neuron(**params(neuron, per_channel, **options))


def parameter_fields(neuron):
    """Names of the parameters that may differ from channel to channel, each with its name on the device."""
    return {decay.name: decay.field for decay in neuron.decays} or {"delta.threshold": "vThMant"}


def parameter_names(neuron):
    """Names of all parameters."""
    return set(parameter_fields(neuron)) | ({"bias"} if hasattr(neuron, "set_bias") else set())


def state_names(neuron):
    """Names of the buffers that hold states."""
    parts = {"sigma": dendrite.Sigma.states, "delta": axon.Delta.states} if not neuron.decays else {}
    return {state.name for state in neuron.states} | {f"{part}.{name}" for part in parts for name in parts[part]}


def variant(neuron, on):
    """An option of the family that changes what is sent."""
    return {"graded_spike" if neuron.decays else "cum_error": on}


def spikes(*shape, rate=0.4, seed=0):
    """A spike train."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy((rng.random(shape) < rate).astype(np.float32))


def run(layer, x):
    """``layer(x)``; a complex neuron has ``x`` as its real input and half of it, turned over, as its imaginary one."""
    return layer((x, 0.5 * x.flip(1))) if layer.complex else layer(x)


def block_module(neuron):
    return importlib.import_module(neuron.__module__.replace(".neuron.", ".block."))


@dataclass(frozen=True)
class Case:
    """A block's class name, its arguments beside those of its neuron, the spatial shape of its input."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    spatial: tuple[int, ...] = (6,)

    def __str__(self):
        return "-".join([self.name, *self.options])

    def make(self, neuron, per_channel=False, seed=3, **neuron_options):
        """The block, its initial values drawn from ``seed``."""
        options = dict(self.options)
        weights = options.pop("weights", 1)
        torch.manual_seed(seed)
        cls = getattr(block_module(neuron), self.name)
        if self.name not in WITHOUT_NEURONS and "no_neuron" not in options:
            options["neuron_params"] = params(neuron, per_channel, **neuron_options)
        options.pop("no_neuron", None)
        block = cls(**options)
        if weights != 1 and block.synapse is not None:
            block.synapse.weight.data.mul_(weights)
        return block

    def input(self, T=40, N=3, seed=0):
        return spikes(N, *self.spatial, T, seed=seed)


WITH_DECAYS = tuple(n for n in FAMILIES if n.decays)
FULL = {"in_neurons": 6, "out_neurons": 5, "weight_scale": 3}
PLANES = {"in_features": 2, "out_features": 4, "weight_scale": 3}
ASYMMETRIC = {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
MASK = torch.tensor([[1.0, 0, 1, 1, 0, 1]] * 5)
BLOCKS = (
    Case("Input", {"no_neuron": True}, (4, 3, 2)),
    Case("Input", {"weight": 2.0, "bias": 0.5}, (4, 3, 2)),
    Case("Input", {"delay_shift": False}),
    Case("Flatten", {}, (2, 3, 4)),
    Case("Average", {"num_outputs": 3}),
    Case("TimeDecimation", {"factor": 4}, (2, 3, 4)),
    Case("Dense", FULL),
    Case("Dense", FULL | {"delay_shift": False}),
    Case("Dense", FULL | {"delay": True}),
    Case("Dense", FULL | {"delay": True, "delay_shift": False, "weight_norm": True}),
    Case("Dense", FULL | {"mask": MASK}),
    Case("Dense", {"in_neurons": (3, 2, 4), "out_neurons": 5, "weight_scale": 3}, (4, 2, 3)),
    Case("Dense", {"in_neurons": 6, "out_neurons": 1, "weight_scale": 3, "delay": True}),
    Case("Conv", PLANES | {"kernel_size": 3}, (2, 4, 5)),
    Case("Conv", PLANES | ASYMMETRIC | {"weight_norm": True, "delay": True}, (2, 4, 6)),
    Case("ConvT", PLANES | {"kernel_size": 3}, (2, 2, 3)),
    Case("ConvT", PLANES | ASYMMETRIC | {"weight_norm": True, "delay": True}, (2, 3, 2)),
    Case("Pool", {"kernel_size": 2, "weight_scale": 1.5, "weight_norm": True}, (2, 3, 4)),
    Case(
        "Pool", {"kernel_size": (3, 2), "stride": 1, "padding": (1, 0), "weight_norm": True, "delay": True}, (2, 3, 4)
    ),
    Case("Unpool", {"kernel_size": 2, "weight_scale": 1.5}, (2, 2, 3)),
    Case("Unpool", {"kernel_size": (1, 3), "stride": 2, "dilation": (1, 2), "delay": True}, (2, 2, 2)),
    Case("Recurrent", FULL),
    Case("Recurrent", FULL | {"weight_norm": True, "delay": True}),
    Case("KWTA", FULL | {"num_winners": 2}),
    Case("KWTA", FULL | {"num_winners": 1, "self_excitation": 0.25, "weight_norm": True, "delay_shift": False}),
    Case("Affine", FULL),
    Case("Affine", FULL | {"dynamics": False}),
    Case("Affine", FULL | {"weight_norm": True, "mask": MASK}),
    Case("Output", FULL),
)
WITHOUT_NEURONS = ("Flatten", "Average", "TimeDecimation")
READ_OUTS = ("Affine", "Output")
SPIKING = tuple(case for case in BLOCKS if case.name not in (*WITHOUT_NEURONS, *READ_OUTS))


# every case for a real and a complex family; of the others the last case of each block
_WHOLE = ("CUBA", "RF_IZHIKEVICH")


def block_cases(cases=BLOCKS, every=False):
    """Cases of all families, for ``pytest.mark.parametrize``; ``every``: all cases for all families."""
    import pytest

    some = tuple({case.name: case for case in cases}.values())
    pairs = [(n, c) for n in FAMILIES for c in (cases if every or n.type_name in _WHOLE else some)]
    return pytest.mark.parametrize(("neuron", "case"), [pytest.param(n, c, id=f"{n.type_name}-{c}") for n, c in pairs])


def snapshot(module):
    """All that a module holds, to be compared with ``==``: parameters, buffers, gradients, flags, and the seed."""
    held = {"seed": torch.get_rng_state().numpy().tobytes()}
    for path, part in module.named_modules():
        for name, value in {**vars(part), **part._parameters, **part._buffers}.items():
            if isinstance(value, torch.Tensor):
                held[path, name] = value.shape, value.requires_grad, value.detach().numpy().tobytes(), id(value)
                held[path, name, "grad"] = None if value.grad is None else value.grad.numpy().tobytes()
            elif isinstance(value, dict):
                held[path, name] = tuple(value)
            else:
                held[path, name] = repr(value) if isinstance(value, int | float | tuple | str) else id(value)
    return held
