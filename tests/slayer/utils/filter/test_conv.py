import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.utils import filter
from tests import strategies


def convolved(x, taps, sampling_time=1):
    """The sum of the definition, in float64."""
    y = np.zeros(x.shape)
    for lag, tap in enumerate(taps[: x.shape[-1]]):
        y[..., lag:] += tap * x[..., : x.shape[-1] - lag]
    return sampling_time * y


def correlated(x, taps, sampling_time=1):
    return convolved(x[..., ::-1], taps, sampling_time)[..., ::-1]


def drawn(shape, taps, rng):
    return rng.normal(size=shape).astype(np.float32), rng.normal(size=taps).astype(np.float32)


@pytest.mark.parametrize(("function", "truth"), [(filter.conv, convolved), (filter.corr, correlated)])
@given(
    shape=strategies.shapes(), taps=st.integers(1, 150), rng=strategies.generators(), ts=st.sampled_from([1, 0.5, 2])
)
def test_equals_the_definition(function, truth, shape, taps, rng, ts):
    x, f = drawn(shape, taps, rng)
    y = function(torch.from_numpy(x), torch.from_numpy(f), ts)
    assert (y.shape, y.dtype) == (shape, torch.float32)
    error = np.abs(y.numpy() - truth(x.astype(np.float64), f, ts))
    assert (error <= 5e-6 * truth(np.abs(x), np.abs(f), ts)).all()  # sums of float32, in any order


@pytest.mark.parametrize("steps", [511, 512, 513, 800, 2000])
@pytest.mark.parametrize("taps", [1, 2, 100, 300, 1999, 3000])
def test_long_signals_are_seamless(steps, taps):
    x, f = drawn((2, 3, steps), taps, np.random.default_rng(steps + taps))
    y = filter.conv(torch.from_numpy(x), torch.from_numpy(f))
    np.testing.assert_allclose(y.numpy(), convolved(x.astype(np.float64), f), atol=1e-4)


def test_binary_spikes_and_integer_taps_are_exact():
    rng = np.random.default_rng(0)
    x = (rng.random((4, 5, 700)) < 0.3).astype(np.float32)
    f = rng.integers(-100, 100, 40).astype(np.float32)
    y = filter.conv(torch.from_numpy(x), torch.from_numpy(f))
    np.testing.assert_array_equal(y.numpy(), convolved(x, f))


def test_one_axis_gains_a_batch():
    x, f = torch.randn(20), torch.randn(2, 3)
    assert filter.conv(x, f).shape == (1, 20)
    torch.testing.assert_close(filter.conv(x, f), filter.conv(x[None], f.flatten()))
    assert filter.corr(x, f).shape == (1, 20)


@pytest.mark.parametrize("function", [filter.conv, filter.corr])
@pytest.mark.parametrize(("steps", "taps"), [(9, 4), (5, 9), (520, 3)])
def test_gradients_of_signal_and_filter_are_true(function, steps, taps):
    x = torch.randn(1, 2, steps, dtype=torch.float64, requires_grad=True)
    f = torch.randn(taps, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, f: function(x, f, 0.5), (x, f), fast_mode=steps > 100)


def test_each_is_the_derivative_of_the_other():
    x, grad, f = torch.randn(2, 3, 50, requires_grad=True), torch.randn(2, 3, 50), torch.randn(7)
    filter.conv(x, f).backward(grad)
    torch.testing.assert_close(x.grad, filter.corr(grad, f))


def test_types():
    f = torch.tensor([0.5, 0.25])
    assert filter.conv(torch.tensor([[1, 0, 1]]), f).tolist() == [[0.5, 0.25, 0.5]]
    assert filter.conv(torch.tensor([[True, False]]), f).dtype == torch.float32
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert filter.conv(torch.ones(1, 4, dtype=dtype), f).dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x, f = torch.randn(3, 50), torch.randn(5)
        y = filter.conv(x, f)
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y.numpy(), convolved(x.double().numpy(), f.numpy()), atol=1e-5)


def test_empty_filter_raises():
    with pytest.raises(ParameterError, match="filter"):
        filter.conv(torch.zeros(2, 3), torch.zeros(0))


def test_strided_input():
    x = torch.randn(50, 3, 2).permute(2, 1, 0)
    torch.testing.assert_close(filter.conv(x, torch.ones(4)), filter.conv(x.contiguous(), torch.ones(4)))


def test_compiled_equals_eager():
    x, f = torch.randn(2, 3, 40, requires_grad=True), torch.randn(6)
    y = torch.compile(filter.conv, backend="aot_eager", fullgraph=True)(x, f)
    assert torch.equal(y, filter.conv(x, f))
    assert torch.equal(*(torch.autograd.grad(out.square().sum(), x)[0] for out in (y, filter.conv(x, f))))


@pytest.mark.gpu
@pytest.mark.parametrize("function", [filter.conv, filter.corr])
def test_gpu_equals_cpu_under_autocast_too(function):
    x, f = torch.randn(3, 4, 700), torch.randn(60)
    expected = function(x, f)
    torch.testing.assert_close(function(x.cuda(), f.cuda()).cpu(), expected, atol=1e-4, rtol=1e-5)
    with torch.autocast("cuda"):
        torch.testing.assert_close(function(x.cuda(), f.cuda()).cpu(), expected, atol=1e-4, rtol=1e-5)
