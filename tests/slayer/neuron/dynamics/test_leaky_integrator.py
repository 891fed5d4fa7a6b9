"""The leaky integrator as a torch function: states equal the integers, gradients float64 autograd of the same model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron.dynamics import leaky_integrator
from tests import strategies
from tests.reference import fixed_point, gradients

SCALE = 4096
GOLDEN = torch.tensor([1, 0.5, -0.25, 0, 2, 0, 0, 0])
ZERO = torch.zeros(1)


def parameter_shape(kind, shape):
    """Shape of a decay that is one for all, or one for each channel, neuron or row."""
    return {"shared": (1,), "channel": shape[1:2], "neuron": shape[1:-1], "row": shape[:-1]}[kind]


def as_rows(parameter, shape):
    """By the documentation's rules, for tensors and arrays: one value a row, in the order of ``reshape(-1, T)``."""
    if parameter.shape == shape[1:2]:  # channels stand second, also where other axes are as long
        parameter = parameter.reshape(shape[1:2] + (1,) * (len(shape) - 3))
    spread = torch.broadcast_to if isinstance(parameter, torch.Tensor) else np.broadcast_to
    return spread(parameter, shape[:-1]).reshape(-1)


KINDS = st.sampled_from(["shared", "channel", "neuron", "row"])


@settings(max_examples=100)
@given(strategies.shapes(), KINDS, KINDS, strategies.scales(), st.sampled_from(list(strategies.LAYOUTS)), st.data())
def test_states_equal_the_integers(shape, decay_kind, state_kind, scale, layout, data):
    """Any shape, any layout in memory, any input, any decay."""
    x = data.draw(strategies.inputs(shape, scale))
    decay = data.draw(strategies.decays(parameter_shape(decay_kind, shape)))
    state = data.draw(strategies.inputs(parameter_shape(state_kind, shape), scale))
    level = data.draw(st.none() | strategies.levels(scale))
    y = leaky_integrator.dynamics(
        strategies.laid_out(x, layout), torch.from_numpy(decay), torch.from_numpy(state), scale, level=level
    )
    # -1 does not tell the number of rows of nothing
    rows = x.reshape(int(np.prod(shape[:-1])), shape[-1])
    truth = fixed_point.leaky(rows, as_rows(decay, shape), as_rows(state, shape), scale, level)
    assert y.shape == shape
    assert y.dtype == torch.float32
    np.testing.assert_array_equal(y.numpy().astype(np.float64) * scale, truth.reshape(shape))


@settings(max_examples=100)
@given(strategies.shapes(smallest=1), st.data())
def test_chunks_equal_the_whole(shape, data):
    """With the last state, reset by ``persistent_state``, each chunk goes on where the one before ended."""
    x = torch.from_numpy(data.draw(strategies.grid_inputs(shape)))
    decay = torch.from_numpy(data.draw(strategies.decays((1,))))
    whole = leaky_integrator.dynamics(x, decay, ZERO, SCALE, threshold=1.5)
    state, parts = ZERO.expand(shape[:-1]), []
    for part in x.split(data.draw(strategies.chunks(shape[-1])), -1):
        parts.append(leaky_integrator.dynamics(part, decay, state, SCALE, threshold=1.5))
        if part.shape[-1]:
            last = parts[-1][..., -1]
            state = leaky_integrator.persistent_state(last, (last >= 1.5).float())
    assert torch.equal(torch.cat(parts, -1), whole)


@pytest.mark.parametrize(
    ("x", "options", "truth"),
    [
        (GOLDEN, {}, [4096, 5734, 4136, 3721, 11540, 10384, 9344, 8408]),
        (-GOLDEN, {}, [-4096, -5734, -4136, -3721, -11540, -10384, -9344, -8408]),
        (GOLDEN, {"threshold": 1.25}, [4096, 5734, -1024, -921, 7364, 0, 0, 0]),
        (GOLDEN, {"threshold": torch.tensor([1.25])}, [4096, 5734, -1024, -921, 7364, 0, 0, 0]),
        (GOLDEN, {"level": 5120}, [4096, 5734, -1024, -921, 7364, 0, 0, 0]),
        (GOLDEN, {"threshold": 0}, [4096, 5734, 4136, 3721, 11540, 10384, 9344, 8408]),
        (GOLDEN, {"threshold": -1}, [4096, 5734, 4136, 3721, 11540, 10384, 9344, 8408]),
        (GOLDEN, {"threshold": float("inf")}, [4096, 5734, 4136, 3721, 11540, 10384, 9344, 8408]),
        (GOLDEN, {"threshold": 1e30}, [4096, 5734, 4136, 3721, 11540, 10384, 9344, 8408]),
        (GOLDEN, {"level": 1 << 40}, [4096, 5734, 4136, 3721, 11540, 10384, 9344, 8408]),
        (GOLDEN, {"debug": True}, [4096, 5734, 4136, 3721, 11540, 10384, 9344, 8408]),
    ],
)
def test_golden_vectors(x, options, truth):
    y = leaky_integrator.dynamics(x, torch.tensor([410.0]), ZERO, SCALE, **options)
    assert (y * SCALE).tolist() == truth


@pytest.mark.parametrize("decay", [409.0, 409.6, 409.99])
def test_a_decay_is_rounded_toward_zero(decay):
    x = torch.ones(3)
    y = leaky_integrator.dynamics(x, torch.tensor([decay]), ZERO, SCALE)
    assert torch.equal(y, leaky_integrator.dynamics(x, torch.tensor([409]), ZERO, SCALE))


@pytest.mark.parametrize(("outside", "held"), [(5000, 4096), (-3, 0), (float("inf"), 4096), (float("nan"), 0)])
def test_a_decay_outside_its_range_is_held_to_it(outside, held):
    x = torch.ones(5)
    y, truth = (leaky_integrator.dynamics(x, torch.tensor([float(d)]), ZERO, SCALE) for d in (outside, held))
    assert torch.equal(y, truth)


def test_a_threshold_off_the_grid_fires_from_the_next_state_on():
    """``state >= ceil(threshold * scale)``, in integers."""
    x = torch.tensor([1 / 4, 0.0])
    for threshold, after in ((0.2, 0), (0.25, 0), (0.2500001, 1 / 4)):
        y = leaky_integrator.dynamics(x, ZERO, ZERO, 4, threshold=threshold)
        assert y.tolist() == [1 / 4, after]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_are_computed_in_float32_and_come_back(dtype):
    x = torch.randn(2, 3, 70).to(dtype).requires_grad_()
    decay = torch.tensor([410.0], dtype=dtype, requires_grad=True)
    y = leaky_integrator.dynamics(x, decay, ZERO.to(dtype), SCALE)
    assert y.dtype == dtype
    narrow = leaky_integrator.dynamics(x.detach().float(), decay.detach().float(), ZERO, SCALE)
    assert torch.equal(y, narrow.to(dtype))
    y.sum().backward()
    assert x.grad.dtype == decay.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float64, torch.float16])
def test_parameters_may_have_another_type(dtype):
    x = torch.randn(2, 3, 70)
    y = leaky_integrator.dynamics(x, torch.tensor([410], dtype=dtype), torch.tensor([1], dtype=dtype), SCALE)
    assert torch.equal(y, leaky_integrator.dynamics(x, torch.tensor([410.0]), torch.ones(1), SCALE))


# --------------------------------------------------------------------------------------------------------- gradients
def relative(ours, truth):
    """Largest difference over the largest gradient."""
    return float((ours.double() - truth).abs().max() / truth.abs().max())


def compare(shape, kinds, scale, level, rng):
    """Largest relative error of the gradients by input, decay and state."""
    decay_shape, state_shape = (parameter_shape(kind, shape) for kind in kinds)
    inputs = rng.normal(0.3, 1, shape), rng.uniform(0, 2500, decay_shape), rng.normal(0, 1, state_shape)
    weight = torch.from_numpy(rng.uniform(0.5, 1.5, shape))
    ours = [torch.tensor(v, dtype=torch.float32, requires_grad=True) for v in inputs]
    truth = [v.detach().double().requires_grad_() for v in ours]
    y = leaky_integrator.dynamics(*ours, scale, level=level)
    (y * weight.float()).sum().backward()
    rows = [truth[0].reshape(-1, shape[-1]), *(as_rows(v, shape) for v in truth[1:])]
    z = gradients.leaky(*rows, scale, level)
    assert torch.equal(y.detach().double(), z.detach().reshape(shape))
    (z.reshape(shape) * weight.float().double()).sum().backward()
    assert all(a.grad.shape == a.shape for a in ours)
    return [relative(a.grad, b.grad) for a, b in zip(ours, truth, strict=True) if b.grad.any()]


@pytest.mark.parametrize("kinds", [("shared", "shared"), ("channel", "row"), ("neuron", "channel"), ("row", "neuron")])
@pytest.mark.parametrize("threshold", [None, 2.5])
@settings(max_examples=15)
@given(shape=strategies.shapes(smallest=1), rng=strategies.generators())
def test_gradients_equal_float64_autograd(kinds, threshold, shape, rng):
    level = None if threshold is None else int(threshold * SCALE)
    assert max(compare(shape, kinds, SCALE, level, rng)) < 1e-5


@pytest.mark.parametrize("shape", [(2, 3, 1), (17, 5, 64), (4, 3, 2, 5, 65), (3, 40, 300)])
@pytest.mark.parametrize("threshold", [None, 2.5])
def test_gradients_equal_float64_autograd_for_layers(shape, threshold):
    level = None if threshold is None else int(threshold * SCALE)
    for kind in ("shared", "channel", "neuron"):
        assert max(compare(shape, (kind, kind), SCALE, level, np.random.default_rng(0))) < 1e-5


def test_the_gradient_of_a_decay_has_the_sign_and_size_of_finite_differences():
    """D1: lava-dl's is -4096 times this one.  The differences are of the integer dynamics themselves."""
    scale = 1 << 14
    x, weight = torch.rand(5, 3, 60) + 0.2, torch.rand(5, 3, 60)

    def loss(decay):
        return (weight * leaky_integrator.dynamics(x, decay, ZERO, scale)).sum()

    decay = torch.tensor([700.0, 1500.0, 3000.0], requires_grad=True)
    loss(decay).backward()
    for channel in range(3):
        step = torch.zeros(3)
        step[channel] = 4
        with torch.no_grad():
            slope = (loss(decay + step).double() - loss(decay - step).double()) / 8
        assert slope < 0
        assert float(decay.grad[channel]) == pytest.approx(float(slope), rel=0.02)


def test_gradients_go_only_where_they_are_wanted():
    x, decay, state = torch.rand(2, 3, 5), torch.tensor([410.0]), torch.zeros(1)
    for wanted in range(3):
        inputs = [v.clone().requires_grad_(i == wanted) for i, v in enumerate((x, decay, state))]
        leaky_integrator.dynamics(*inputs, SCALE).sum().backward()
        assert [v.grad is not None for v in inputs] == [i == wanted for i in range(3)]
    assert not leaky_integrator.dynamics(x, decay, state, SCALE).requires_grad
    with torch.no_grad():
        assert not leaky_integrator.dynamics(x.requires_grad_(), decay, state, SCALE).requires_grad


def test_a_second_derivative_is_refused():
    x = torch.rand(2, 3, 5, requires_grad=True)
    y = leaky_integrator.dynamics(x, torch.tensor([410.0]), ZERO, SCALE)
    (g,) = torch.autograd.grad(y.pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        g.sum().backward()


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0,), (0, 0, 0)])
def test_nothing_in_nothing_out(shape):
    x, decay = torch.zeros(shape, requires_grad=True), torch.tensor([410.0], requires_grad=True)
    y = leaky_integrator.dynamics(x, decay, ZERO, SCALE)
    assert y.shape == shape
    y.sum().backward()
    assert x.grad.shape == shape
    assert decay.grad.tolist() == [0]


def test_the_callers_tensors_stay_as_they_are():
    threshold, decay, state, x = torch.tensor([1.25]), torch.tensor([409.6]), torch.tensor([0.3]), torch.rand(2, 3, 5)
    given_as = [v.clone() for v in (threshold, decay, state, x)]
    leaky_integrator.dynamics(x, decay, state, SCALE, threshold=threshold)
    assert all(torch.equal(a, b) for a, b in zip(given_as, (threshold, decay, state, x), strict=True))


# --------------------------------------------------------------------------------------------------------- bad input
X = torch.ones(2, 3, 5)


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (ParameterError, "floating-point type, got torch.int32", {"input": X.int()}),
        (ParameterError, "floating-point type, got torch.bool", {"input": X.bool()}),
        (ParameterError, "floating-point type, got torch.complex64", {"input": X.to(torch.complex64)}),
        (ParameterError, "expected input to be a tensor, got ndarray", {"input": X.numpy()}),
        (ShapeError, "without axes", {"input": torch.tensor(1.0)}),
        (ShapeError, r"expected decay of shape \(1,\) or \(3,\) for an input \(2, 3, 'T'\), got \(2,\)",
         {"decay": torch.zeros(2)}),
        (ShapeError, "expected state of shape", {"state": torch.zeros(2, 3, 5)}),
        (ParameterError, "expected decay to be a tensor of real numbers, got float", {"decay": 410.0}),
        (ParameterError, "expected state to be a tensor of real numbers, got NoneType", {"state": None}),
        (ParameterError, "real numbers, got torch.complex64", {"decay": torch.zeros(1, dtype=torch.complex64)}),
        (ParameterError, "w_scale to be a power of two", {"w_scale": 100}),
        (ParameterError, "w_scale to be a power of two", {"w_scale": 0}),
        (ParameterError, "threshold to be a number, got nan", {"threshold": float("nan")}),
        (ParameterError, r"one threshold, got a tensor of shape \(2,\)", {"threshold": torch.ones(2)}),
        (ParameterError, "finite input", {"input": X * float("nan"), "debug": True}),
        (ParameterError, "states below 2047", {"input": X * 1e9, "debug": True}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(error, words, arguments):
    good = {"input": X, "decay": torch.tensor([410.0]), "state": ZERO, "w_scale": SCALE}
    with pytest.raises(error, match=words):
        leaky_integrator.dynamics(**(good | arguments))


def test_persistent_state_forgets_where_a_spike_was():
    state = torch.tensor([1.0, 2.0, 3.0])
    assert leaky_integrator.persistent_state(state, torch.tensor([0.0, 1.0, 2.5])).tolist() == [1, 0, 0]
