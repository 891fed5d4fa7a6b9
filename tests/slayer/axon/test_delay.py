"""Delays: values by slices, gradients by differences of the output, and the module that learns them."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer import axon
from tests import strategies
from tests.reference import fixed_point


@st.composite
def inputs_and_layouts(draw, smallest=0):
    shape = draw(strategies.shapes(smallest))
    return draw(strategies.inputs(shape)), draw(st.sampled_from(list(strategies.LAYOUTS)))


def moved(x, steps):
    """Every row of ``x`` by its number of steps."""
    rows = x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
    return fixed_point.delay(rows, np.broadcast_to(steps, len(rows))).reshape(x.shape)


# ---------------------------------------------------------------------------------------------------- functional
@settings(max_examples=100)
@given(inputs_and_layouts(), st.floats(-300, 300, width=32) | st.integers(-5, 5), st.sampled_from([1, 2, 0.5, 3.0]))
def test_the_same_delay_for_all(given_as, delay, sampling_time):
    x, layout = given_as
    y = axon.delay(strategies.laid_out(x, layout), delay, sampling_time)
    np.testing.assert_array_equal(y.numpy(), moved(x, int(delay / sampling_time)))


@given(inputs_and_layouts(smallest=1), st.integers(-70, 70))
def test_its_gradient_moves_back(given_as, delay):
    x = strategies.laid_out(given_as[0], given_as[1]).requires_grad_()
    weight = torch.rand(x.shape)
    (axon.delay(x, delay) * weight).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), moved(weight.numpy(), -delay))


def test_defaults_and_tensors():
    x = torch.tensor([[1.0, 2.0, 3.0]])
    assert axon.delay(x).tolist() == [[0, 1, 2]]
    assert axon.delay(x, torch.tensor([2.9])).tolist() == [[0, 0, 1]]
    assert axon.delay(x, -1).tolist() == [[2, 3, 0]]
    assert axon.delay(x, 1e30).tolist() == axon.delay(x, -1e30).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (ShapeError, r"at least 2 dimensions, got shape \(3,\)", (torch.ones(3),)),
        (ParameterError, "floating-point type, got torch.int32", (torch.ones(2, 3, dtype=torch.int32),)),
        (ParameterError, "expected input to be a tensor, got ndarray", (np.ones((2, 3)),)),
        (ParameterError, r"one number, got a tensor of shape \(2,\)", (torch.ones(2, 3), torch.ones(2))),
        (ParameterError, "expected a finite delay_val, got nan", (torch.ones(2, 3), float("nan"))),
        (ParameterError, "expected a finite delay_val, got inf", (torch.ones(2, 3), float("inf"))),
        (ParameterError, "sampling_time above 0, got 0", (torch.ones(2, 3), 1, 0)),
        (ParameterError, "sampling_time above 0, got nan", (torch.ones(2, 3), 1, float("nan"))),
    ],
)
def test_bad_input_is_refused(error, words, arguments):
    with pytest.raises(error, match=words):
        axon.delay(*arguments)


# -------------------------------------------------------------------------------------------------------- module
def delays(channels, values=None, **options):
    module = axon.Delay(**options)
    module.materialize((channels,))
    if values is not None:
        module.delay.data = torch.tensor(values, dtype=torch.float32)
    return module


@settings(max_examples=100)
@given(inputs_and_layouts(), st.sampled_from([1, 2, 0.1]), st.integers(0, 2), st.sampled_from([None, 4, 62]), st.data())
def test_each_channel_is_moved_by_its_whole_steps(given_as, sampling_time, offset, max_delay, data):
    x, layout = given_as
    channels = x.shape[1]
    values = data.draw(strategies.generators()).uniform(-2, 90, channels)
    if data.draw(st.booleans()):  # whole numbers are where a rounding error would show
        values = np.round(values)
    module = delays(channels, values, sampling_time=sampling_time, max_delay=max_delay)
    y = module(strategies.laid_out(x, layout), offset)
    held = np.clip(np.array(values, np.float32), 0, max_delay)
    steps = np.trunc(held / np.float32(sampling_time)).astype(int) + offset
    steps = np.broadcast_to(steps.reshape(-1, *[1] * (x.ndim - 3)), x.shape[:-1]).reshape(-1)
    np.testing.assert_array_equal(y.detach().numpy(), moved(x, steps))
    np.testing.assert_array_equal(module.delay.detach(), held)


@pytest.mark.parametrize("spatial", [(1,), (5,), (5, 3), (5, 1), (5, 2, 3), (5, 1, 1), (17, 4, 4)])
@pytest.mark.parametrize("grad_scale", [1, 0.25])
def test_gradients_are_differences_of_the_output_summed_to_channels(spatial, grad_scale):
    """D16: the delay's gradient has shape (C,), also where spatial axes follow or have length 1."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(3, *spatial, 130)).astype(np.float32)).requires_grad_()
    weight = torch.from_numpy(rng.normal(size=x.shape).astype(np.float32))
    module = delays(spatial[0], rng.uniform(0, 62, spatial[0]), grad_scale=grad_scale)
    y = module(x)
    (y * weight).sum().backward()
    out = y.detach().double()
    before = torch.nn.functional.pad(out, (1, 0))[..., :-1]
    truth = grad_scale * (weight * (before - out)).movedim(1, 0).flatten(1).sum(1)
    assert module.delay.grad.shape == (spatial[0],)
    assert float((module.delay.grad - truth).abs().max() / truth.abs().max()) < 1e-5
    steps = np.trunc(module.delay.detach().numpy()).astype(int).reshape(-1, *[1] * (len(spatial) - 1))
    steps = np.broadcast_to(steps, (3, *spatial)).reshape(-1)
    np.testing.assert_array_equal(x.grad.numpy(), moved(weight.numpy(), -steps))


def test_the_gradient_points_to_the_better_delay():
    """A pulse that should come later asks for a longer delay."""
    module = delays(1, [3.0])
    x, target = torch.zeros(1, 1, 30), torch.zeros(1, 1, 30)
    x[..., 5], target[..., 12] = 1, 1
    smooth = torch.nn.functional.conv1d
    kernel = torch.ones(1, 1, 15) / 15
    loss = (smooth(module(x) - target, kernel, padding=7) ** 2).sum()
    loss.backward()
    assert module.delay.grad.item() < 0


def test_delays_are_drawn_at_the_first_forward_from_0_to_1():
    x = torch.rand(2, 5, 9)
    torch.manual_seed(7)
    module = axon.Delay()
    assert not module.init
    assert module.shape is None
    assert module.delay.tolist() == [0]
    assert torch.equal(module(x), x)  # below one step nothing moves
    torch.manual_seed(7)
    assert torch.equal(module.delay.detach(), torch.rand(5))
    assert module.init
    assert module.shape == (5,)
    drawn = module.delay.detach().clone()
    module(x)
    assert torch.equal(module.delay.detach(), drawn)


def test_materialize_draws_as_the_first_forward_does():
    torch.manual_seed(7)
    early = axon.Delay()
    assert early.materialize((5, 2, 2)) == (5, 2, 2)
    torch.manual_seed(7)
    late = axon.Delay()
    late(torch.zeros(1, 5, 2, 2, 3))
    assert torch.equal(early.delay, late.delay)
    assert early.shape == late.shape == (5, 2, 2)


@pytest.mark.parametrize("channels", [1, 5])
def test_a_loaded_delay_is_not_drawn_again(channels):
    """Section C: lava-dl draws a loaded delay of one channel again, and cannot load others."""
    trained = delays(channels, [2.5 + c for c in range(channels)])
    fresh = axon.Delay()
    fresh.load_state_dict(trained.state_dict())
    x = torch.rand(2, channels, 12)
    assert torch.equal(fresh(x), trained(x))
    assert torch.equal(fresh.delay, trained.delay)


def test_what_was_saved_before_any_forward_is_drawn_after_loading():
    fresh = axon.Delay()
    fresh.load_state_dict(axon.Delay().state_dict())
    fresh(torch.zeros(1, 5, 3))
    assert fresh.delay.shape == (5,)
    assert fresh.delay.any()


def test_copies_and_pickles_keep_the_delays():
    module = delays(3, [1.0, 2.0, 3.0])
    x = torch.rand(2, 3, 7)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), module(x))
        assert other.init
        assert other.delay.data_ptr() != module.delay.data_ptr()


def test_half_precision_comes_back():
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        y = delays(3, [1.0, 2.0, 3.0])(torch.rand(2, 3, 7).to(dtype))
        assert y.dtype == dtype


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_in_nothing_out(shape):
    module, x = axon.Delay(), torch.zeros(shape, requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape
    assert not module.delay.grad.any()


def test_a_module_refuses_bad_input():
    module = delays(3)
    with pytest.raises(ShapeError, match=r"expected an input \(N, C, \.\.\., T\), got shape \(2, 3\)"):
        module(torch.ones(2, 3))
    with pytest.raises(ShapeError, match="expected 3 channels"):
        module(torch.ones(2, 4, 5))
    with pytest.raises(ParameterError, match=r"floating-point type, got torch\.int64"):
        module(torch.ones(2, 3, 5, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"expected a spatial shape"):
        axon.Delay().materialize(())
    assert module.shape == (3,)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("sampling_time above 0, got 0", {"sampling_time": 0}),
        ("sampling_time above 0, got nan", {"sampling_time": float("nan")}),
        ("max_delay of 0 or more, got -1", {"max_delay": -1}),
        ("max_delay of 0 or more, got nan", {"max_delay": float("nan")}),
    ],
)
def test_bad_options_are_refused(words, options):
    with pytest.raises(ParameterError, match=words):
        axon.Delay(**options)
