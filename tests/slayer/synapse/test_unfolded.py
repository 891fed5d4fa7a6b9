"""Convolution by one product, which small strided ones take: torch's own convolution is the truth."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.kernels import products
from lavadl_lite.slayer.synapse import convolve

sizes = st.integers(1, 3)


@given(
    shape=st.tuples(sizes, sizes, st.integers(3, 7), st.integers(3, 7), st.integers(16, 18)),
    out=sizes,
    kernel=st.tuples(sizes, sizes),
    stride=st.tuples(sizes, st.integers(2, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    seed=st.integers(0, 1 << 16),
)
def test_sums_and_gradients_are_those_of_torch(shape, out, kernel, stride, padding, seed):
    torch.manual_seed(seed)
    # integers: every sum is exact, in any order
    x = torch.randint(-9, 9, shape).float().requires_grad_()
    weight = torch.randint(-9, 9, (out, shape[1], *kernel, 1)).float().requires_grad_()
    moves = (*stride, 1), (*padding, 0), (1, 1, 1), 1
    truth = F.conv3d(x, weight, None, *moves)
    assert takes_product(x, weight, *moves)
    result = convolve.conv3d(x, weight, *moves)
    assert torch.equal(result, truth)
    grad = torch.randint(-9, 9, truth.shape).float()
    for ours, theirs in zip(
        torch.autograd.grad(result, (x, weight), grad), torch.autograd.grad(truth, (x, weight), grad), strict=True
    ):
        assert torch.equal(ours, theirs)


def takes_product(x, weight, *moves):
    return "Unfolded" in type(convolve.conv3d(x, weight, *moves).grad_fn).__name__


def plain(steps=16):
    x, weight = torch.rand(2, 2, 5, 5, steps, requires_grad=True), torch.rand(4, 2, 3, 3, 1, requires_grad=True)
    return x, weight, (1, 2, 1), (0, 0, 0), (1, 1, 1), 1


def test_left_to_torch(monkeypatch):
    monkeypatch.setattr(products, "WIDE", False)  # as on a machine without AVX-512
    assert takes_product(*plain())
    assert not takes_product(*plain(steps=15))
    x, weight, stride, padding, dilation, _ = plain()
    assert not takes_product(x, weight, (2, 1, 1), padding, dilation, 1)
    assert not takes_product(x, weight[:, :1], stride, padding, dilation, 2)
    assert not takes_product(x, weight, stride, padding, (2, 2, 1), 1)
    assert not takes_product(x.expand(2, 2, 5, 5, 16).repeat(1400, 1, 1, 1, 1), weight, stride, padding, dilation, 1)


@pytest.mark.parametrize("needs", [(True, False), (False, True)])
def test_one_gradient_alone(needs):
    x, weight, *moves = plain()
    x, weight = x.detach().requires_grad_(needs[0]), weight.detach().requires_grad_(needs[1])
    convolve.conv3d(x, weight, *moves).sum().backward()
    assert [x.grad is not None, weight.grad is not None] == list(needs)


def test_second_derivative_is_that_of_torch():
    x, weight, *moves = plain()

    def second(function):
        (first,) = torch.autograd.grad(function().square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), (x, weight))

    theirs = second(lambda: F.conv3d(x, weight, None, *moves))
    for ours, truth in zip(second(lambda: convolve.conv3d(x, weight, *moves)), theirs, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-5, atol=1e-5 * truth.abs().max().item())


def test_transforms_of_torch():
    x, weight, *moves = plain()
    truth = F.conv3d(x, weight, None, *moves)
    mapped = torch.vmap(lambda sample: convolve.conv3d(sample[None], weight, *moves)[0])(x)
    torch.testing.assert_close(mapped, truth)
    ours = torch.func.grad(lambda w: convolve.conv3d(x, w, *moves).square().sum())(weight)
    torch.testing.assert_close(ours, torch.autograd.grad(truth.square().sum(), weight)[0])


def test_mixed_precision_around_the_backward_alone_changes_nothing():
    x, weight, *moves = plain()
    y = convolve.conv3d(x, weight, *moves)
    upstream = torch.randn_like(y)
    plainly = torch.autograd.grad(y, (x, weight), upstream, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = torch.autograd.grad(y, (x, weight), upstream)
    assert all(torch.equal(a, b) for a, b in zip(plainly, mixed, strict=True))
