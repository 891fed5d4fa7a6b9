"""Where convolution takes our kernels, and where torch's; the sums themselves are in tests/kernels."""

import pytest
import torch
import torch.nn.functional as F

from lavadl_lite.kernels import products
from lavadl_lite.slayer.synapse import convolve


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    """As on a machine with AVX-512."""
    monkeypatch.setattr(products, "WIDE", True)


def ours(x, weight, *moves):
    return "Convolve" in type(convolve.conv3d(x, weight, *moves).grad_fn).__name__


def plain(steps=16, plane=16):
    x = torch.rand(2, 8, plane, plane, steps, requires_grad=True)
    return x, torch.rand(32, 8, 3, 3, 1, requires_grad=True), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1


def test_left_to_torch(monkeypatch):
    x, weight, stride, padding, dilation, _ = plain()
    assert ours(*plain())
    assert ours(x, weight, stride, padding, (2, 2, 1), 1)
    assert not ours(*plain(steps=15))
    assert not ours(*plain(plane=4))
    assert not ours(x, weight[:, :4], stride, padding, dilation, 2)
    assert not ours(x, torch.rand(1000, 8, 3, 3, 1), stride, padding, dilation, 1)
    assert not ours(x.double(), weight.double(), stride, padding, dilation, 1)
    with torch.autocast("cpu"):
        assert not ours(*plain())
    monkeypatch.setattr(products, "WIDE", False)
    assert not ours(*plain())


@pytest.mark.parametrize("needs", [(True, False), (False, True)])
def test_one_gradient_alone(needs):
    x, weight, *moves = plain()
    x, weight = x.detach().requires_grad_(needs[0]), weight.detach().requires_grad_(needs[1])
    convolve.conv3d(x, weight, *moves).sum().backward()
    assert [x.grad is not None, weight.grad is not None] == list(needs)


def test_inputs_and_gradients_that_are_not_contiguous():
    x, weight, *moves = plain()
    turned, flipped = (
        x.detach().mT.contiguous().mT.requires_grad_(),
        weight.detach().mT.contiguous().mT.requires_grad_(),
    )
    result, truth = convolve.conv3d(turned, flipped, *moves), F.conv3d(x, weight, None, *moves)
    grad = torch.rand_like(truth).mT.contiguous().mT
    torch.testing.assert_close(result, truth, rtol=1e-5, atol=1e-4)
    for mine, theirs in zip(
        torch.autograd.grad(result, (turned, flipped), grad), torch.autograd.grad(truth, (x, weight), grad), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


def test_second_derivative_is_that_of_torch():
    x, weight, *moves = plain()

    def second(function):
        (first,) = torch.autograd.grad(function().square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), (x, weight))

    theirs = second(lambda: F.conv3d(x, weight, None, *moves))
    for mine, truth in zip(second(lambda: convolve.conv3d(x, weight, *moves)), theirs, strict=True):
        torch.testing.assert_close(mine, truth, rtol=1e-5, atol=1e-5 * truth.abs().max().item())


def test_transforms_of_torch():
    x, weight, *moves = plain()
    truth = F.conv3d(x, weight, None, *moves)
    mapped = torch.vmap(lambda sample: convolve.conv3d(sample[None], weight, *moves)[0])(x)
    torch.testing.assert_close(mapped, truth, rtol=1e-5, atol=1e-4)
    mine = torch.func.grad(lambda w: convolve.conv3d(x, w, *moves).square().sum())(weight)
    theirs = torch.autograd.grad(truth.square().sum(), weight)[0]
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())
