"""torch.library.opcheck finds nothing wrong with any op of ours: schema, fake kernel, autograd, tracing."""

import importlib

import pytest
import torch
from torch.library import opcheck

from lavadl_lite.bootstrap import piecewise
from lavadl_lite.slayer.neuron.dynamics import (
    adaptive_threshold,
    alif,
    cuba,
    delta,
    leaky_integrator,
    recurrent,
    resonate,
    resonator,
    sigma,
    sigma_delta,
)

shift = importlib.import_module("lavadl_lite.slayer.utils.time.shift")  # by its name the package offers the function

OPS = {
    "alif": alif._alif,
    "cuba": cuba._cuba,
    "leaky": leaky_integrator._leaky,
    "piecewise": piecewise._piecewise,
    "recurrent": recurrent._recurrent,
    "resonate": resonate._resonate,
    "resonator": resonator._resonator,
    "shift": shift._shift,
    "sigma": sigma._sigma,
    "delta": delta._delta,
    "sigma_delta": sigma_delta._sigma_delta,
}
WITHOUT_GRADIENT = {"adaptive_threshold": adaptive_threshold._adaptive_threshold}
SHAPES = [(2, 3, 70), (4, 1), (0, 3, 5), (2, 3, 0)]
NONE = torch.zeros(0)


def values(*shape, grad=True):
    return torch.randn(shape).requires_grad_(grad)


def decays(*shape, grad=True):
    return (4096 * torch.rand(shape)).requires_grad_(grad)


def forward_inputs(name, shape, grad):
    rows = shape[:-1]
    x = values(*shape, grad=grad)
    if name == "leaky":
        yield x, decays(*rows, grad=grad), values(*rows, grad=grad), 4096, 5000
    elif name == "piecewise":
        yield x, values(4, 5, grad=False).cumsum(1), 1e-5
    elif name == "shift":
        yield x, decays(*rows, grad=grad), 64.0, 1, 1.0
        yield x, decays(*rows, grad=False), 64.0, 0, 0.5
    elif name == "alif":
        numbers = 4096, 5000, 1000, 1.0, 0.1, True, 2
        for states in ([NONE] * 4, [values(*rows, grad=False) for _ in range(4)]):
            final = states[0] is not NONE
            trained = [decays(*rows, grad=grad) for _ in range(2)]
            yield x, *trained, *[decays(*rows, grad=False) for _ in range(2)], *states, *numbers, grad, final
    elif name == "resonator":
        states = [values(*rows, grad=grad) for _ in range(2)]
        for reset in ((2**31 - 1, 0), (5000, 4999)):
            yield x, values(*shape, grad=grad), *[decays(*rows, grad=grad) for _ in range(2)], *states, 4096, *reset
    elif name == "resonate":
        turn = [decays(*rows, grad=grad) for _ in range(2)]
        for adaptive in (False, True):
            slow = decays(2, *rows, grad=False) if adaptive else NONE
            numbers = 4096, 5000, 1000, 1.0, 0.1, not adaptive, adaptive, True, 1, grad, adaptive
            yield x, values(*shape, grad=grad), *turn, slow, values(4, *rows, grad=False), *numbers
    elif name == "recurrent":
        N, T, P = shape[0], shape[-1], 16
        for parts, adaptive in ((1, False), (2, True)):
            slow = decays(2, P, grad=False) if adaptive else NONE
            weights, held = values(parts, P, P, grad=grad), values(4 if adaptive else 2, N, P, grad=False)
            numbers = 4096, 5000, 1000, 0.01, 0.001, 0.1, 0.2, adaptive, True, 1, grad, adaptive
            yield values(parts, N, T, P, grad=grad), weights, decays(2, P, grad=grad), slow, held, held[0], *numbers
    elif name == "sigma":
        yield x, NONE.double(), False
        yield x, values(*rows, grad=False).double(), True
    elif name == "delta":
        for states in (NONE, values(3, *rows, grad=False)):
            yield x, values(*rows, grad=False).abs().requires_grad_(grad), states, 64, True, False, 0.7, 1.5
            yield x, values(*rows, grad=False).abs(), states, 64, False, True, 0.7, 1.5
    elif name == "sigma_delta":
        levels = values(*rows, grad=False).abs()
        numbers = 64, 0.0, 6.0, 0.0
        yield x, NONE, levels, NONE.double(), NONE, *numbers, False, True, 0.7, 1.5, False, grad
        states = values(*rows, grad=False).double(), values(3, *rows, grad=False)
        learnt = values(*rows, grad=grad), levels.clone().requires_grad_(grad)
        yield x, *learnt, *states, *numbers, True, False, 0.7, 1.5, grad, grad
    else:
        numbers = 4096, 5000, 1.0, 0.1, 1.2
        for states in ((NONE, NONE), (values(*rows, grad=False), values(*rows, grad=False))):
            final = states[0] is not NONE
            yield x, decays(*rows, grad=grad), decays(*rows, grad=grad), *states, *numbers, final, 0, final, grad, final
        yield x, decays(1, grad=False), decays(1, grad=False), *states, *numbers, True, 0, True, grad, final


def backward_inputs(name, shape):
    """Without gradients: a second derivative is refused, and opcheck would ask for one."""
    from lavadl_lite.kernels import alif as alif_kernel
    from lavadl_lite.kernels import cuba as kernel
    from lavadl_lite.kernels import resonate as resonate_kernel

    rows = shape[:-1]
    grad, x = values(*shape, grad=False), values(*shape, grad=False)
    decay, state = decays(*rows, grad=False), values(*rows, grad=False)
    if name == "leaky":
        yield grad, x, decay, state, 4096, 5000
    elif name == "piecewise":
        yield grad, x, values(4, 5, grad=False), 1e-5
    elif name == "shift":
        yield grad, x, decay, 64.0, 1, 1.0
        yield grad, NONE, decay, 64.0, 0, 1.0
    elif name == "alif":
        kept = torch.zeros(alif_kernel.checkpoints(state.numel(), shape[-1]), dtype=torch.int32)
        for states in ([NONE] * 4, [state] * 4):
            yield grad, x, kept, *[decay] * 4, *states, 4096, 5000, 1000, 1.0, 0.1, False, 3
    elif name == "resonator":
        for reset in ((2**31 - 1, 0), (5000, 4999)):
            yield grad, -grad, x, -x, decay, decay, state, state, 4096, *reset
    elif name == "resonate":
        for adaptive in (False, True):
            slow = decays(2, *rows, grad=False) if adaptive else NONE
            kept = resonate_kernel.checkpoints(state.numel(), shape[-1], adaptive)
            kept = torch.zeros(kept, dtype=torch.int32)
            numbers = 4096, 5000, 1000, 1.0, 0.1, adaptive, adaptive, False, 0
            yield grad, x, -x, kept, decay, decay, slow, values(4, *rows, grad=False), *numbers
    elif name == "recurrent":
        N, T, P = shape[0], shape[-1], 16
        for parts, adaptive in ((1, False), (2, True)):
            slow = decays(2, P, grad=False) if adaptive else NONE
            kept, held = values(N, T, 2 + adaptive, P, grad=False), values(4 if adaptive else 2, N, P, grad=False)
            numbers = 4096, 5000, 0.01, 0.001, 0.1, 0.2, adaptive, False, 0
            sent, weights = values(N, 1 + T, P, grad=False), values(parts, P, P, grad=False)
            yield -sent, sent, kept, weights, decays(2, P, grad=False), slow, held, *numbers
    elif name == "sigma":
        yield (grad,)
    elif name == "delta":
        for states in (NONE, values(3, *rows, grad=False)):
            yield grad, x, decay + 1, states, 64, True, False, 0.7, 1.5
            yield grad, NONE, decay + 1, states, 64, False, True, 0.7, 1.5
    elif name == "sigma_delta":
        for cumulative in (False, True):
            kept = sigma_delta._kept(x, cumulative, keep=True)
            kept = [k.zero_() for k in kept]
            bias, states = (state, (state.double(), values(3, *rows, grad=False))) if cumulative else (NONE, None)
            states = states or (NONE.double(), NONE)
            yield grad, x, *kept, bias, decay + 1, *states, 64, 0.0, 6.0, 0.0, cumulative, False, 0.7, 1.5, cumulative
    else:
        kept = torch.zeros(kernel.checkpoints(state.numel(), shape[-1]), dtype=torch.int32)
        for states, late in (((NONE, NONE), False), ((state, state), True)):
            yield grad, x, kept, decay, decay, *states, 4096, 5000, 1.0, 0.1, 1.2, False, 0, late


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
@pytest.mark.parametrize("name", OPS)
def test_forward(name, grad, shape):
    for inputs in forward_inputs(name, shape, grad):
        opcheck(OPS[name].compiled, inputs)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", OPS)
def test_backward(name, shape):
    for inputs in backward_inputs(name, shape):
        opcheck(OPS[name].compiled_backward, inputs)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_an_op_without_gradient(name, shape):
    x, rows = values(*shape, grad=False), shape[:-1]
    parameters = [decays(*rows, grad=False) for _ in range(2)] + [values(*rows, grad=False) for _ in range(2)]
    for second in ((NONE, NONE), (values(*shape, grad=False), values(*rows, grad=False))):
        opcheck(WITHOUT_GRADIENT[name].compiled, (x, second[0], *parameters, second[1], 4096, 5000, 1000))


def test_every_op_is_checked():
    ours = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("lavadl_lite::")}
    ours = {name for name in ours if not name.startswith("lavadl_lite::test_")}  # those that other tests make
    with_gradient = {f"lavadl_lite::{name}{end}" for name in OPS for end in ("", "_backward")}
    assert ours == with_gradient | {f"lavadl_lite::{name}" for name in WITHOUT_GRADIENT}
