"""The activation as torch sees it: gradient, types, compilation; its values are those of tests/kernels."""

import pytest
import torch

from lavadl_lite.bootstrap.ann_sampler import AnnSampler, GainSampler
from lavadl_lite.bootstrap.piecewise import activation
from lavadl_lite.errors import ParameterError, ShapeError

# the golden fit of the reference, section 5.1
X, Y = [-0.1, 0.1, 0.3, 0.6, 0.9], [0, 0.2, 0.4, 0.6, 0.8]
SLOPES = [1, 1, 2 / 3, 2 / 3, 0]
KNOTS = torch.tensor([X, Y, SLOPES, [1.125 * s + 1e-5 for s in SLOPES]])


def test_golden_values_and_derivatives():
    z = torch.tensor([-0.5, -0.1, 0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.8, 1.0, 2.0], requires_grad=True)
    y = activation(z, KNOTS, 1e-5)
    y.sum().backward()
    expected = torch.tensor([0, 0, 0.1, 0.2, 0.3, 0.4, 0.53333, 0.6, 0.73333, 0.8, 0.8])
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)
    derivative = torch.tensor([1e-5, 1e-5] + [1.12501] * 4 + [0.75001] * 3 + [1e-5] * 2)
    torch.testing.assert_close(z.grad, derivative, atol=1e-6, rtol=0)


def test_shape_type_and_layout_are_those_of_the_input():
    z = torch.randn(3, 5, 2, 1, dtype=torch.float64).transpose(0, 1)
    y = activation(z, KNOTS, 1e-5)
    assert (y.shape, y.dtype) == (z.shape, z.dtype)
    torch.testing.assert_close(y, activation(z.float().contiguous(), KNOTS, 1e-5).double())
    assert activation(torch.empty(0, 4, 1), KNOTS, 1e-5).shape == (0, 4, 1)


@pytest.mark.parametrize("sampler", [AnnSampler, GainSampler])
def test_a_fit_leaves_the_graphs_of_earlier_calls_as_they_are(sampler):
    f, z, grads = sampler(), torch.rand(50, 1, requires_grad=True), []
    for gain in (0.5, 2.0):
        f.clear()
        f.append(gain * z, z)
        f.fit()
        y = f(z).sum()
        (alone,) = torch.autograd.grad(y, z, retain_graph=True)
        grads.append((y, alone))
    for y, alone in grads:
        assert torch.equal(torch.autograd.grad(y, z)[0], alone)
    assert not torch.equal(grads[0][1], grads[1][1])


def test_a_second_derivative_is_refused():
    z = torch.rand(4, requires_grad=True)
    (grad,) = torch.autograd.grad(activation(z, KNOTS, 1e-5).sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        grad.sum().backward()


def test_what_cannot_be_is_said():
    with pytest.raises(ParameterError, match="floating-point"):
        activation(torch.ones(3, dtype=torch.int64), KNOTS, 1e-5)
    with pytest.raises(ShapeError, match=r"knots of shape \(4, K\)"):
        activation(torch.ones(3), KNOTS[:3], 1e-5)
    with pytest.raises(ShapeError, match=r"got \(4, 0\)"):
        activation(torch.ones(3), torch.ones(4, 0), 1e-5)
