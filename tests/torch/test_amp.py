"""Automatic mixed precision: products in half the bits, neurons in float32."""

import pytest
import torch

from lavadl_lite.slayer.neuron.dynamics import cuba, leaky_integrator
from tests.torch.networks import spikes, two_blocks


def test_a_step_under_autocast():
    network, x = two_blocks(), spikes(4, 6, 70)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = network(x)
        error = y.float().square().mean()
    error.backward()
    assert set(y.unique().tolist()) == {0.0, 1.0}
    for parameter in network.parameters():
        assert parameter.grad.dtype == parameter.dtype == torch.float32
        assert bool(torch.isfinite(parameter.grad).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_computed_in_float32_and_returned_in_their_own(dtype):
    decay, state = torch.tensor([410.0]), torch.zeros(1)
    functions = (
        lambda x: leaky_integrator.dynamics(x, decay, state, 4096),
        lambda x: cuba.spikes(x, decay, decay, 4096, 1.0, 1.0, 0.5)[0],
    )
    for function in functions:
        x = torch.randn(3, 4, 70, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
        exact = x.detach().float().requires_grad_()
        y, want = function(x), function(exact)
        assert y.dtype == dtype
        assert torch.equal(y, want.to(dtype))
        y.sum().backward()
        want.sum().backward()
        assert torch.equal(x.grad, exact.grad.to(dtype))
