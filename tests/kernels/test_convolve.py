"""Convolution in registers: torch's own is the truth, on integers, whose sums are exact in any order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import convolve, cpu

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from lavadl_lite.slayer.synapse.convolve import direct  # noqa: E402

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
# about blocks of 4 and 16 channels, the number that are worth a copy, and groups of 64
features = st.integers(1, 5) | st.sampled_from((15, 16, 17, 36, 48, 64, 65, 81))


@st.composite
def cases(draw):
    """Input, weight, and how the kernel moves, for kernels that fit the padded plane."""
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    plane = [draw(st.integers(max(1, r - 2 * p), 9)) for r, p in zip(reach, padding, strict=True)]
    channels = draw(st.integers(1, 4) | st.just(40))  # with a kernel of 3 x 3: more taps than are copied at once
    shape = draw(st.integers(1, 2)), channels, *plane, draw(st.sampled_from((16, 17, 18, 31, 32, 33, 64, 67)))
    torch.manual_seed(draw(st.integers(0, 1 << 16)))
    x = torch.randint(-9, 9, shape).float().requires_grad_()
    weight = torch.randint(-9, 9, (draw(features), channels, *kernel, 1)).float().requires_grad_()
    return x, weight, stride, padding, dilation


def both(x, weight, stride, padding, dilation):
    """Our sums, torch's, and a gradient for them."""
    geometry = convolve.Geometry(tuple(x.shape), len(weight), tuple(weight.shape[2:4]), stride, padding, dilation)
    truth = F.conv3d(x, weight, None, (*stride, 1), (*padding, 0), (*dilation, 1))
    return direct(x, weight, geometry), truth, torch.randint(-9, 9, truth.shape).float()


@settings(max_examples=60)
@given(cases())
def test_sums_and_gradients_are_those_of_torch(case):
    ours, truth, grad = both(*case)
    assert torch.equal(ours, truth)
    for mine, theirs in zip(
        torch.autograd.grad(ours, case[:2], grad), torch.autograd.grad(truth, case[:2], grad), strict=True
    ):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, 12, 13, 20, requires_grad=True), torch.randn(70, 5, 3, 3, 1, requires_grad=True)
    monkeypatch.setattr(cpu, "SERIAL_BELOW", 0)

    def results(count):
        monkeypatch.setattr(cpu, "threads", lambda: count)
        sums, _, _ = both(x, weight, (2, 1), (1, 1), (1, 1))
        return sums, *torch.autograd.grad(sums.square().sum(), (x, weight))

    for alone, shared in zip(results(1), results(threads), strict=True):
        assert torch.equal(alone, shared)


def test_gradients_are_near_those_in_float64():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 6, 12, 13, 100, requires_grad=True), torch.randn(20, 6, 3, 3, 1, requires_grad=True)
    sums, _, _ = both(x, weight, (2, 1), (1, 0), (1, 1))
    ours = torch.autograd.grad(sums.square().sum(), (x, weight))
    exact = x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    truth = torch.autograd.grad(F.conv3d(*exact, None, (2, 1, 1), (1, 0, 0)).square().sum(), exact)
    for mine, theirs in zip(ours, truth, strict=True):
        assert (mine - theirs).abs().max() <= 1e-5 * theirs.abs().max()
