"""torch.library.opcheck finds nothing wrong with any op of ours: schema, fake kernel, autograd, tracing."""

import importlib

import pytest
import torch
from torch.library import opcheck

from lavadl_lite.slayer.neuron.dynamics import cuba, leaky_integrator

delay = importlib.import_module("lavadl_lite.slayer.axon.delay")  # by its name the package offers the function

OPS = {"cuba": cuba._cuba, "leaky": leaky_integrator._leaky, "shift": delay._shift}
SHAPES = [(2, 3, 70), (1, 17, 64), (4, 1), (0, 3, 5), (2, 3, 0)]
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
    elif name == "shift":
        yield x, decays(*rows, grad=grad), 64.0, 1, 1.0
        yield x, decays(*rows, grad=False), 64.0, 0, 0.5
    else:
        numbers = 4096, 5000, 1.0, 0.1, 1.2
        for states in ((NONE, NONE), (values(*rows, grad=False), values(*rows, grad=False))):
            final = states[0] is not NONE
            yield x, decays(*rows, grad=grad), decays(*rows, grad=grad), *states, *numbers, final, grad, final


def backward_inputs(name, shape):
    """Without gradients: a second derivative is refused, and opcheck would ask for one."""
    from lavadl_lite.kernels import cuba as kernel

    rows = shape[:-1]
    grad, x = values(*shape, grad=False), values(*shape, grad=False)
    decay, state = decays(*rows, grad=False), values(*rows, grad=False)
    if name == "leaky":
        yield grad, x, decay, state, 4096, 5000
    elif name == "shift":
        yield grad, x, decay, 64.0, 1, 1.0
        yield grad, NONE, decay, 64.0, 0, 1.0
    else:
        kept = torch.zeros(kernel.checkpoints(state.numel(), shape[-1]), dtype=torch.int32)
        for states in ((NONE, NONE), (state, state)):
            yield grad, x, kept, decay, decay, *states, 4096, 5000, 1.0, 0.1, 1.2, False


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


def test_every_op_is_checked():
    ours = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("lavadl_lite::")}
    assert ours == {f"lavadl_lite::{name}{end}" for name in OPS for end in ("", "_backward")}
