"""Sums and differences, apart and in one pass: any shape, any layout, any state; gradients of the stated model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron.dynamics import delta, sigma
from lavadl_lite.slayer.neuron.dynamics import sigma_delta as fused
from tests import strategies
from tests.reference import sigma_delta

KINDS = st.sampled_from(["shared", "channel", "neuron", "row"])
LAYOUTS = st.sampled_from(list(strategies.LAYOUTS))


def parameter_shape(kind, shape):
    """Shape of a parameter that is one for all, or one for each channel, neuron or row."""
    return {"shared": (1,), "channel": shape[1:2], "neuron": shape[1:-1], "row": shape[:-1]}[kind]


def rows_of(x):
    return x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])


def as_rows(parameter, shape):
    if parameter.shape == shape[1:2]:
        parameter = parameter.reshape(shape[1:2] + (1,) * (len(shape) - 3))
    spread = torch.broadcast_to if isinstance(parameter, torch.Tensor) else np.broadcast_to
    return spread(parameter, shape[:-1]).reshape(-1)


def normal(rng, shape):
    return rng.normal(size=shape).astype(np.float32)


# --------------------------------------------------------------------------------------------------------------- sigma
@settings(max_examples=100)
@given(strategies.shapes(), LAYOUTS, st.none() | KINDS, strategies.generators(), st.data())
def test_sums_equal_the_reference(shape, layout, kind, rng, data):
    x = data.draw(strategies.inputs(shape))
    state = None if kind is None else torch.from_numpy(rng.normal(size=parameter_shape(kind, shape)))
    y, end = sigma.dynamics(strategies.laid_out(x, layout), state)
    truth, last = sigma_delta.sigma(rows_of(x), 0 if state is None else as_rows(state.numpy(), shape))
    np.testing.assert_array_equal(y.numpy(), truth.reshape(shape))
    if state is None:
        assert end.shape == (0,)
    else:
        np.testing.assert_array_equal(end.numpy(), last.reshape(shape[:-1]))


@settings(max_examples=100)
@given(strategies.shapes(), st.data())
def test_sums_equal_those_of_torch(shape, data):
    """On a CPU torch sums in float64 too."""
    x = torch.from_numpy(data.draw(strategies.inputs(shape)))
    torch.testing.assert_close(sigma.dynamics(x)[0], torch.cumsum(x, -1), rtol=0, atol=0, equal_nan=True)


@settings(max_examples=100)
@given(strategies.shapes(), LAYOUTS, strategies.generators())
def test_the_gradient_of_a_sum_is_the_sum_from_the_end(shape, layout, rng):
    x = strategies.laid_out(normal(rng, shape), layout).requires_grad_()
    weight = torch.from_numpy(normal(rng, shape))
    (sigma.dynamics(x)[0] * weight).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), torch.cumsum(weight.flip(-1), -1).flip(-1).numpy())


# --------------------------------------------------------------------------------------------------------------- delta
@settings(max_examples=100)
@given(
    strategies.shapes(), LAYOUTS, KINDS, st.none() | KINDS, strategies.scales(), st.booleans(), st.booleans(),
    strategies.generators(), st.data(),
)  # fmt: skip
def test_messages_equal_the_reference(shape, layout, kind, state_kind, scale, cumulative, carry, rng, data):
    x = data.draw(strategies.inputs(shape, scale))
    threshold = rng.uniform(0.01, 2, parameter_shape(kind, shape)).astype(np.float32)
    states = [] if state_kind is None else [normal(rng, parameter_shape(state_kind, shape)) for _ in range(3)]
    y, *end = delta.dynamics(
        strategies.laid_out(x, layout), torch.from_numpy(threshold), scale, 1, 1, cumulative, carry,
        *map(torch.from_numpy, states),
    )  # fmt: skip
    held = np.stack([as_rows(s, shape) for s in states or [np.zeros(1, np.float32)] * 3])
    truth, _, last = sigma_delta.delta(rows_of(x), as_rows(threshold, shape), held, scale, cumulative, carry)
    np.testing.assert_array_equal(y.numpy(), truth.reshape(shape))
    for found, expected in zip(end, last, strict=True):
        if state_kind is None:
            assert found.shape == (0,)
        else:
            np.testing.assert_array_equal(found.numpy(), expected.reshape(shape[:-1]))


@settings(max_examples=100)
@given(strategies.shapes(smallest=1), KINDS, st.booleans(), st.booleans(), st.booleans(), strategies.generators())
def test_gradients_equal_float64_autograd(shape, kind, cumulative, carry, persistent, rng):
    x, weight = (torch.from_numpy(normal(rng, shape)) for _ in range(2))
    x.requires_grad_()
    threshold = torch.from_numpy(rng.uniform(0.1, 1.5, parameter_shape(kind, shape)).astype(np.float32))
    threshold.requires_grad_()
    states = [torch.from_numpy(normal(rng, shape[:-1])) for _ in range(3)] if persistent else []
    y, *_ = delta.dynamics(x, threshold, 64, 0.7, 1.5, cumulative, carry, *states)
    (y * weight).sum().backward()
    leaves = [v.detach().double().requires_grad_() for v in (x, threshold)]
    held = np.stack([s.numpy().reshape(-1) for s in states or [torch.zeros(shape[:-1])] * 3])
    message, difference, _ = sigma_delta.delta(
        rows_of(x.detach().numpy()), as_rows(threshold.detach(), shape).numpy(), held, 64, cumulative, carry
    )
    levels = as_rows(leaves[1], shape)[:, None].expand(-1, shape[-1])
    levels.retain_grad()
    model = sigma_delta.delta_model(
        rows_of(leaves[0]), levels, torch.from_numpy(held[0]).double(),
        torch.from_numpy(message).double(), torch.from_numpy(difference).double(), 0.7, 1.5,
    )  # fmt: skip
    (model.reshape(shape) * weight.double()).sum().backward()
    # rounding of the threshold's gradient is bounded by the terms, which may cancel in the sum
    for ours, truth, terms in ((x, leaves[0], weight), (threshold, leaves[1], levels.grad)):
        assert ours.grad.shape == ours.shape
        size = terms.abs().max() if ours is x else terms.abs().sum()
        assert float((ours.grad - truth.grad).abs().max()) <= 1e-6 * float(size)


def test_a_lower_threshold_is_asked_for_where_more_should_be_sent():
    """The surrogate points down for a message that should be larger, up for one that should be smaller."""
    x = torch.full((1, 1, 1), 0.4)
    for sign, direction in ((1, -1), (-1, 1)):
        threshold = torch.tensor([0.5], requires_grad=True)
        y, *_ = delta.dynamics(sign * x, threshold, 64)
        (g,) = torch.autograd.grad(y.sum(), threshold)
        assert g.sign().item() == direction


# --------------------------------------------------------------------------------------------------------- in one pass
@settings(max_examples=100)
@given(
    strategies.shapes(), LAYOUTS, KINDS, st.none() | KINDS, st.none() | KINDS, strategies.scales(), st.booleans(),
    st.booleans(), st.sampled_from(list(sigma_delta.LINES)), strategies.generators(), st.data(),
)  # fmt: skip
def test_messages_of_one_pass_equal_the_reference(
    shape, layout, kind, bias_kind, state_kind, scale, cumulative, carry, name, rng, data
):
    x = data.draw(strategies.inputs(shape, scale))
    threshold = rng.uniform(0.01, 2, parameter_shape(kind, shape)).astype(np.float32)
    bias = normal(rng, (1,) if bias_kind is None else parameter_shape(bias_kind, shape))
    states = [normal(rng, (1,) if state_kind is None else parameter_shape(state_kind, shape)) for _ in range(4)]
    given = {} if state_kind is None else dict(zip(STATES, map(torch.from_numpy, states), strict=True))
    y, *end = fused.messages(
        strategies.laid_out(x, layout), torch.from_numpy(threshold), scale, sigma_delta.LINES[name], 1, 1, cumulative,
        carry, None if bias_kind is None else torch.from_numpy(bias), **given,
    )  # fmt: skip
    start, *held = (as_rows(np.zeros_like(s) if state_kind is None else s, shape) for s in states)
    truth, _, last, total = sigma_delta.sigma_delta(
        rows_of(x), name, as_rows(np.zeros_like(bias) if bias_kind is None else bias, shape),
        as_rows(threshold, shape), start, np.stack(held), scale, cumulative, carry,
    )  # fmt: skip
    np.testing.assert_array_equal(y.numpy(), truth.reshape(shape))
    for found, expected in zip(end, (total, *last), strict=True):
        if state_kind is None:
            assert found.shape == (0,)
        else:
            np.testing.assert_array_equal(found.numpy(), expected.reshape(shape[:-1]))


STATES = "sum_state", "pre_state", "residual_state", "error_state"


@pytest.mark.parametrize("name", STATES)
def test_one_state_alone_is_enough(name):
    """The others are 0."""
    x, line = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0)), sigma_delta.LINES["relu"]
    zeros = {other: torch.zeros(1) for other in STATES}
    start = {name: torch.tensor([0.3])}
    y, *end = fused.messages(x, ONE / 8, 64, line, cum_error=True, **start)
    z, *end_of_all = fused.messages(x, ONE / 8, 64, line, cum_error=True, **zeros | start)
    assert torch.equal(y, z)
    assert not torch.equal(y, fused.messages(x, ONE / 8, 64, line, cum_error=True)[0])
    for a, b in zip(end, end_of_all, strict=True):
        assert torch.equal(a, b)


def test_states_carry_no_gradient():
    x, state = torch.randn(2, 3, 40), torch.ones(1, requires_grad=True)
    y, *end = fused.messages(x, ONE, 64, sigma_delta.LINES["relu"], sum_state=state, error_state=state)
    assert not any(v.requires_grad for v in (y, *end))


def test_known_activations():
    functional = torch.nn.functional
    for name, line in sigma_delta.LINES.items():
        for activation in (getattr(functional, name, None), getattr(torch, name, None)):
            if activation is not None:
                np.testing.assert_equal(fused.line_of(activation), line)
    np.testing.assert_equal(fused.line_of(torch.nn.LeakyReLU(-0.5)), (0.0, np.nan, -0.5))
    for other in (torch.tanh, torch.neg, torch.Tensor.abs, len, torch.nn.Tanh(), torch.nn.Sequential()):
        assert fused.line_of(other) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_computed_in_float32_and_returned_in_their_own(dtype):
    x, threshold = torch.randn(2, 3, 40).to(dtype), torch.tensor([0.25])
    y = delta.dynamics(x, threshold, 64)[0]
    assert y.dtype == dtype
    assert torch.equal(y, delta.dynamics(x.float(), threshold, 64)[0].to(dtype))
    y = fused.messages(x, threshold, 64, sigma_delta.LINES["relu"])[0]
    assert y.dtype == dtype
    assert torch.equal(y, fused.messages(x.float(), threshold, 64, sigma_delta.LINES["relu"])[0].to(dtype))
    y = sigma.dynamics(x)[0]
    assert y.dtype == dtype
    assert torch.equal(y, sigma.dynamics(x.float())[0].to(dtype))


ONE, RELU = torch.ones(1), sigma_delta.LINES["relu"]


@pytest.mark.parametrize(
    ("error", "words", "call"),
    [
        (ParameterError, r"floating-point type, got torch\.int64", lambda: sigma.dynamics(torch.ones(2, 3).long())),
        (ShapeError, r"expected pre_state of shape \(1,\)", lambda: sigma.dynamics(torch.ones(2, 3), torch.ones(7))),
        (ParameterError, r"floating-point type, got", lambda: delta.dynamics(torch.ones(2, 3).int(), ONE, 64)),
        (ParameterError, "expected scale to be a power of two", lambda: delta.dynamics(torch.ones(2, 3), ONE, 10)),
        (ParameterError, "expected tau_grad above 0, got 0", lambda: delta.dynamics(torch.ones(2, 3), ONE, 64, 0)),
        (ParameterError, "got nan", lambda: delta.dynamics(torch.ones(2, 3), ONE, 64, float("nan"))),
        (ShapeError, "expected threshold of shape", lambda: delta.dynamics(torch.ones(2, 3), torch.ones(7), 64)),
        (
            ShapeError,
            "expected error_state of shape",
            lambda: delta.dynamics(torch.ones(2, 3), ONE, 64, error_state=torch.ones(7)),
        ),
        (
            ParameterError,
            r"floating-point type, got torch\.int64",
            lambda: fused.messages(torch.ones(2, 3).long(), ONE, 64, RELU),
        ),
        (ParameterError, "scale to be a power of two", lambda: fused.messages(torch.ones(2, 3), ONE, 10, RELU)),
        (ParameterError, "tau_grad above 0, got -1", lambda: fused.messages(torch.ones(2, 3), ONE, 64, RELU, -1)),
        (
            ShapeError,
            "expected bias of shape",
            lambda: fused.messages(torch.ones(2, 3), ONE, 64, RELU, bias=torch.ones(7)),
        ),
        (
            ShapeError,
            "expected sum_state of shape",
            lambda: fused.messages(torch.ones(2, 3), ONE, 64, RELU, sum_state=torch.ones(7)),
        ),
    ],
)
def test_bad_arguments_are_refused(error, words, call):
    with pytest.raises(error, match=words):
        call()
