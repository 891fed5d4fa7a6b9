import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.utils import QUANTIZE_MODE, quantize, quantize_hook_fx
from lavadl_lite.slayer.utils.quantize import MODE, Grid, quantize_within
from tests import strategies

ROUNDING = {MODE.ROUND: np.rint, MODE.FLOOR: np.floor}


@pytest.mark.parametrize(
    ("value", "step", "expected"), [(0.5, 1, 0), (1.5, 1, 2), (2.5, 1, 2), (-0.5, 1, -0.0), (3, 2, 4), (5, 2, 4)]
)
def test_halves_go_to_the_even_multiple(value, step, expected):
    result = quantize(torch.tensor([float(value)]), step).item()
    assert result == expected
    assert math.copysign(1, result) == math.copysign(1, expected)


@given(
    x=strategies.float_inputs((50,)), step=st.sampled_from([1, 1.0, 0.5, 2 / 64, 2, 0.3]), mode=st.sampled_from(MODE)
)
def test_equals_the_formula_in_numpy(x, step, mode):
    expected = ROUNDING[mode](x / np.float32(step)) * np.float32(step)
    np.testing.assert_array_equal(quantize(torch.from_numpy(x), step, mode).numpy(), expected)


@pytest.mark.parametrize("step", [1, 0.25])
@pytest.mark.parametrize("mode", [0, 1])
def test_gradient_passes_unchanged_to_the_input_only(step, mode):
    x = torch.randn(3, 4, requires_grad=True)
    step = torch.tensor(float(step), requires_grad=True)
    grad = torch.randn(3, 4)
    quantize(x, step, mode).backward(grad)
    assert torch.equal(x.grad, grad)
    assert step.grad is None


def test_plain_numbers_are_modes():
    assert (QUANTIZE_MODE.ROUND, QUANTIZE_MODE.FLOOR) == (0, 1)
    assert quantize(torch.tensor([0.7]), mode=1).item() == 0


@pytest.mark.parametrize("mode", [2, -1, None, "ROUND"])
def test_unknown_mode_raises(mode):
    with pytest.raises(ParameterError, match="is not recognized"):
        quantize(torch.zeros(1), mode=mode)


@pytest.mark.parametrize("step", [0, -1, math.nan, math.inf])
def test_impossible_step_raises(step):
    with pytest.raises(ParameterError, match="step"):
        quantize(torch.zeros(1), step)


def test_input_is_left_alone():
    x = torch.full((4,), 0.7)
    for step in (1, 0.5):
        quantize(x, step)
    assert torch.equal(x, torch.full((4,), 0.7))


def test_other_types():
    assert quantize(torch.tensor([3, 5]), 2).tolist() == [4, 4]
    assert quantize(torch.tensor([3, 5])).tolist() == [3, 5]
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert quantize(torch.tensor([1.25], dtype=dtype), 0.5).dtype == dtype


@pytest.mark.parametrize("step", [1, 0.5])
def test_compiled_equals_eager(step):
    def model(x):
        return (quantize(x, step) * quantize(x, step, MODE.FLOOR)).sin()

    x = torch.randn(5, 7, requires_grad=True)
    y = torch.compile(model, backend="aot_eager", fullgraph=True)(x)
    assert torch.equal(y, model(x))
    assert torch.equal(*(torch.autograd.grad(out.sum(), x)[0] for out in (y, model(x))))


def test_vmap_and_functional_gradient():
    x = torch.randn(5, 3)
    assert torch.equal(torch.vmap(lambda row: quantize(row, 0.5))(x), quantize(x, 0.5))
    assert torch.equal(torch.func.grad(lambda z: quantize(z).sum())(x), torch.ones(5, 3))


@given(x=strategies.float_inputs((50,)), scale=st.sampled_from([32, 64, 100]), bits=st.integers(2, 10))
def test_hook_equals_the_formula_in_numpy(x, scale, bits):
    step = np.float32(2 / scale)
    low, high = np.float32(-2 * 2**bits / scale), np.float32(2 * (2**bits - 1) / scale)
    expected = np.clip(np.rint(x / step) * step, low, high)
    np.testing.assert_array_equal(quantize_hook_fx(torch.from_numpy(x), scale, bits).numpy(), expected)
    descaled = quantize_hook_fx(torch.from_numpy(x), scale, bits, descale=True).numpy()
    np.testing.assert_array_equal(descaled, expected * np.float32(scale))


def test_hook_has_a_range_of_even_integers_of_nine_bits():
    x = torch.linspace(-20, 20, 5001, requires_grad=True)
    y = quantize_hook_fx(x, descale=True)
    assert torch.equal(y.unique(), torch.arange(-512, 511, 2))
    y.sum().backward()
    inside = (x > -8) & (x < 510 / 64)
    assert torch.equal(x.grad[inside], torch.full((inside.sum(),), 64.0))
    assert not x.grad[x.abs() > 8.1].any()


@pytest.mark.parametrize("values", [50, 5000])  # by torch, by a kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_within_is_rounding_and_clamping(dtype, values):
    """Values, gradient and second derivative are those of the two operations, in one pass or in several."""
    torch.manual_seed(0)
    x = torch.cat(
        [3 * torch.randn(values), torch.tensor([-4.02, -4.01, 3.98, 3.985, 1 / 64, 3 / 64, -4.015625, 3.984375])]
    ).to(dtype)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = quantize_within(ours, 1 / 32, -128, 127)
    expected = quantize(theirs, 1 / 32).clamp(-4, 127 / 32)
    assert torch.equal(found, expected)
    assert torch.equal(quantize_within(x, 1 / 32, -128, 127), expected)
    factor = torch.randn_like(x).requires_grad_()
    grads = [
        torch.autograd.grad((y * factor).sum(), leaf, create_graph=True)[0]
        for y, leaf in ((found, ours), (expected, theirs))
    ]
    assert torch.equal(*grads)
    seconds = [torch.autograd.grad((grad**2).sum(), factor)[0] for grad in grads]
    assert torch.equal(*seconds)
    assert torch.equal(torch.autograd.grad(quantize_within(ours, 1 / 32, -128, 127).sum(), ours)[0], grads[0] / factor)


SHAPES = [(5000, 1, 1, 1, 1), (200, 3, 3, 3, 1), (8, 784), (150, 33, 1, 1, 1), (5, 4)]  # the last by torch


def normalised(shape, dtype=torch.float32):
    """Directions in any memory order, and gains with which some of the weights leave the range."""
    generator = torch.Generator().manual_seed(len(shape))
    v = torch.randn(shape[::-1], generator=generator).permute(*reversed(range(len(shape)))).to(dtype)
    ones = [1] * (len(shape) - 1)
    gain = (3 + 3 * torch.rand(shape[0], *ones, generator=generator)).to(dtype) * math.sqrt(v[0].numel())
    return v.requires_grad_(), gain.requires_grad_(), torch.randn(shape, generator=generator).to(dtype)


def in_passes(v, gain):
    return quantize_within(torch._weight_norm(v, gain, 0), 1 / 32, -128, 127)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_normed_weights_have_the_bits_of_torchs_norm(shape, dtype):
    v, gain, _ = normalised(shape, dtype)
    expected = in_passes(v, gain)
    assert torch.equal(Grid(1 / 32, -128, 127).normed(v, gain), expected)
    with torch.no_grad():
        assert torch.equal(Grid(1 / 32, -128, 127).normed(v, gain), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_normed_weights_have_the_gradient_of_the_norm_inside_the_range(shape):
    v, gain, grad = normalised(shape)
    steps = (32 * torch._weight_norm(v, gain, 0)).round()
    inside = (steps >= -128) & (steps <= 127)
    assert inside.any()
    assert not inside.all()
    doubles = [x.detach().double().requires_grad_() for x in (v, gain)]
    norm = doubles[0].flatten(1).norm(dim=1).view_as(doubles[1])
    truth = torch.autograd.grad(doubles[1] * doubles[0] / norm, doubles, (grad * inside).double())
    found = torch.autograd.grad(Grid(1 / 32, -128, 127).normed(v, gain), (v, gain), grad)
    largest = (grad * inside * doubles[1] / norm).abs().max()  # of one value in a row the direction has no gradient
    assert (found[0] - truth[0]).abs().max() < 1e-6 * largest
    assert (found[1] - truth[1]).abs().max() < 1e-6 * truth[1].abs().max()


def test_normed_weights_have_second_derivatives_and_those_of_torch_func():
    grid = Grid(1 / 32, -128, 127)
    v, gain, grad = normalised(SHAPES[1])
    seconds = []
    for made in (grid.normed, in_passes):
        first = torch.autograd.grad((made(v, gain) * grad).sum(), (v, gain), create_graph=True)
        seconds.append(torch.autograd.grad(sum((g**2).sum() for g in first), (v, gain)))
    for found, expected in zip(*seconds, strict=True):
        torch.testing.assert_close(found, expected)
    ours, theirs = (
        torch.func.grad(lambda x, made=made: (made(x, gain.detach()) * grad).sum())(v.detach())
        for made in (grid.normed, in_passes)
    )
    torch.testing.assert_close(ours, theirs)


def affine_in_parts(signal, factor, offset):
    return signal * quantize_within(factor, 1 / 32, -128, 127) + quantize_within(offset, 1 / 32, -128, 127)


@pytest.mark.parametrize(("factor", "offset"), [(1.01, 0.24), (5.0, -0.3), (-4.01, 3.99)])
def test_an_affine_signal_is_that_of_its_parts(factor, offset):
    torch.manual_seed(0)
    leaves = [torch.randn(7, 30).requires_grad_(), *(torch.tensor([x], requires_grad=True) for x in (factor, offset))]
    grid, upstream = Grid(1 / 32, -128, 127), torch.randn(7, 30)
    found, expected = grid.affine(*leaves), affine_in_parts(*leaves)
    assert torch.equal(found, expected)
    for wanted in (leaves, leaves[:1], leaves[1:]):
        inputs = [x if any(x is w for w in wanted) else x.detach() for x in leaves]
        grads = [torch.autograd.grad(made(*inputs), wanted, upstream) for made in (grid.affine, affine_in_parts)]
        for ours, theirs in zip(*grads, strict=True):
            torch.testing.assert_close(ours, theirs)
    seconds = []
    for y in (found, expected):
        first = torch.autograd.grad(y, leaves, upstream, create_graph=True)
        total = sum((g**2).sum() for g in first)
        seconds.append(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))
    for ours, theirs in zip(*seconds, strict=True):
        torch.testing.assert_close(ours, theirs)
    ours, theirs = (
        torch.func.grad(lambda x, made=made: (made(leaves[0].detach(), x, leaves[2].detach()) * upstream).sum())(
            leaves[1].detach()
        )
        for made in (grid.affine, affine_in_parts)
    )
    torch.testing.assert_close(ours, theirs)


def test_a_number_is_rounded_as_a_tensor_is():
    grid = Grid(1 / 32, -128, 127)
    values = [-1e30, -4.02, -4.015625, -4.01, -0.0, 1 / 64, 3 / 64, 3.98, 3.984375, 3.99, 1e30, math.inf, -math.inf]
    for value in map(torch.tensor, values):
        leaf = value.clone().requires_grad_()
        held = quantize_within(leaf, 1 / 32, -128, 127)
        held.backward()
        assert grid.number(value) == (held.item(), leaf.grad.item() == 1)
    assert math.isnan(grid.number(torch.tensor(math.nan))[0])


def test_an_affine_signal_of_other_types_and_sizes():
    torch.manual_seed(0)
    grid = Grid(1 / 32, -128, 127)
    for dtype, size in ((torch.float64, 1), (torch.float32, 5)):
        given = [torch.randn(3, 5, dtype=dtype), torch.randn(size, dtype=dtype), torch.randn(size, dtype=dtype)]
        made = grid.affine(*given)
        assert made.dtype == dtype
        assert torch.equal(made, affine_in_parts(*given))


def test_hooks_of_an_affine_signal_run_once_where_a_second_derivative_is_wanted():
    factor, offset, calls = torch.tensor([1.0], requires_grad=True), torch.zeros(1, requires_grad=True), []
    factor.register_hook(lambda grad: calls.append(grad) or 2 * grad)
    y = Grid(1 / 32, -128, 127).affine(torch.arange(4.0), factor, offset)
    (grad,) = torch.autograd.grad(y.sum(), factor, create_graph=True)
    assert len(calls) == 1
    assert grad.item() == 12


def test_an_affine_signal_on_another_device_than_its_numbers_is_refused():
    with pytest.raises(RuntimeError, match="meta"):
        Grid(1 / 32, -128, 127).affine(torch.ones(4, device="meta"), torch.ones(1), torch.zeros(1))
