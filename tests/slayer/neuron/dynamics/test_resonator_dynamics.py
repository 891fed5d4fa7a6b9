"""Resonators and the neurons made of them as torch functions: gradients equal float64 autograd of the same model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron.dynamics import resonate, resonator
from lavadl_lite.slayer.spike.complex import Spike
from tests import strategies
from tests.reference import resonator_gradients, resonators

SCALE = 4096
X = torch.ones(2, 3, 5)
SIN, COS, ZERO = torch.tensor([2048.0]), torch.tensor([3400.0]), torch.zeros(1)
SHAPES = [(2, 3, 1), (3, 5, 64), (2, 7, 100), (2, 2, 3, 2, 130), (1, 17, 66)]


def drawn(shape, kind, rng, requires_grad=True):
    """Inputs, factors of a rotation that keeps most of the state, slow decays, states, in float32."""
    size = {"shared": (1,), "channel": shape[1:2], "neuron": shape[1:-1]}[kind]
    inputs = [torch.from_numpy(rng.normal(0.1, 0.7, shape).astype(np.float32)) for _ in range(2)]
    turn, gain = rng.uniform(0.2, 1.2, size), rng.uniform(3600, 4090, size)
    decays = [torch.from_numpy(d.round().astype(np.float32)) for d in (gain * np.sin(turn), gain * np.cos(turn))]
    slow = [torch.from_numpy(rng.integers(100, 1500, size).astype(np.float32)) for _ in range(2)]
    states = [torch.from_numpy(rng.normal(0, 1, shape[:-1]).astype(np.float32)) for _ in range(4)]
    for tensor in (*inputs, *decays):
        tensor.requires_grad_(requires_grad)
    return inputs, decays, slow, states


def rows_of(parameter, shape):
    spatial = len(shape) - 2
    if parameter.shape == shape[1:2]:
        parameter = parameter.reshape(-1, *[1] * (spatial - 1))
    return parameter.expand(shape[:-1]).reshape(-1)


def doubled(tensor):
    return tensor.detach().double().requires_grad_(tensor.requires_grad)


def assert_true(ours, truth, terms=None):
    """Within 1e-5 of the largest gradient; a sum of float32 ``terms`` at least within what rounding takes from them.

    That is more only where they cancel to less than 1/84 of their size.
    """
    error, limit = float((ours.double() - truth).abs().max()), 1e-5 * float(truth.abs().max())
    if terms is not None:
        limit = max(limit, float(np.finfo(np.float32).eps * terms.abs().sum()))
    assert error < limit


def check(ours, truth, leaves, rng, shape):
    """Gradients of ``sum(g * output)`` by the float32 leaves, and by their doubles through the reference."""
    outputs = ours(*leaves)
    upstream = [torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for _ in outputs]
    grads = torch.autograd.grad(outputs, leaves, upstream)
    doubles = [doubled(leaf) for leaf in leaves]
    flat = [d.reshape(-1, shape[-1]) if d.shape == shape else rows_of(d, shape) for d in doubles]
    for f in flat:
        f.retain_grad()
    expected = truth(*flat)
    torch.autograd.backward(expected, [u.double().reshape(-1, shape[-1]) for u in upstream])
    for ours_, leaf, row in zip(grads, doubles, flat, strict=True):
        assert leaf.grad.abs().max() > 0 or shape[-1] == 1
        if leaf.grad.abs().max() > 0:
            assert_true(ours_, leaf.grad, row.grad if leaf.numel() == 1 else None)


@pytest.mark.parametrize("kind", ["shared", "channel", "neuron"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threshold", [None, 1.5])
def test_gradients_of_the_resonator_are_true(shape, kind, threshold):
    rng = np.random.default_rng(len(shape) * shape[-1])
    inputs, decays, _, states = drawn(shape, kind, rng)
    leaves = [*inputs, *decays, *[s.requires_grad_() for s in states[:2]]]
    level, rest = (None, 0) if threshold is None else (round(threshold * SCALE), round(threshold * SCALE) - 1)

    def ours(*leaves):
        return resonator.dynamics(*leaves, SCALE, threshold)

    def truth(*leaves):
        return resonator_gradients.resonator(*leaves, SCALE, level, rest)

    check(ours, truth, leaves, rng, shape)


@pytest.mark.parametrize("kind", ["shared", "channel", "neuron"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("phase", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("graded", [False, True])
def test_gradients_of_all_four_neurons_are_true(shape, kind, phase, adaptive, graded):
    rng = np.random.default_rng(len(shape) * shape[-1])
    inputs, decays, slow, states = drawn(shape, kind, rng)
    threshold, jump, tau, rho = 1.0, 0.25, 0.8, 1.7
    states[2] = states[2].abs() + threshold
    states[3] = states[3].abs()
    adaptation = (*slow, jump) if adaptive else None

    def ours(*leaves):
        return resonate.spikes(*leaves, SCALE, threshold, tau, rho, phase, graded, tuple(states), adaptation)[:1]

    def truth(x_real, x_imag, sin, cos):
        rows = [rows_of(d, shape).double() for d in slow], [s.reshape(-1).double() for s in states]
        return resonator_gradients.neuron(
            x_real, x_imag, [sin, cos, *rows[0]], rows[1], SCALE, round(threshold * SCALE), round(jump * SCALE),
            phase, adaptive, tau, rho, graded,
        )  # fmt: skip

    leaves = [*inputs, *decays]
    assert shape[-1] == 1 or 0 < (ours(*leaves)[0] != 0).float().mean() < 0.7
    check(ours, lambda *flat: [truth(*flat)], leaves, rng, shape)


@pytest.mark.parametrize("leaf", ["sin", "cos"])
def test_decay_gradients_have_the_sign_and_size_of_finite_differences(leaf):
    """Without a threshold, in steps of many units: rounding is what is left over."""
    rng = np.random.default_rng(1)
    shape, scale = (1, 6, 60), 1 << 16
    inputs, decays, _, _ = drawn(shape, "channel", rng)
    g = [torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for _ in range(2)]

    def loss(shift):
        sin, cos = (d.detach() + shift * (name == leaf) for d, name in zip(decays, ("sin", "cos"), strict=True))
        outputs = resonator.dynamics(*(x.detach() for x in inputs), sin, cos, ZERO, ZERO, scale)
        return sum((a * b).double().sum((0, 2)) for a, b in zip(g, outputs, strict=True))

    outputs = resonator.dynamics(*inputs, *decays, ZERO, ZERO, scale)
    torch.autograd.backward(outputs, g)
    slope = (loss(4) - loss(-4)) / 8
    np.testing.assert_allclose(decays[leaf == "cos"].grad, slope, rtol=0.02, atol=float(slope.abs().max()) * 0.01)


@settings(max_examples=100)
@given(strategies.shapes(), st.booleans(), st.booleans(), st.data())
def test_any_shape_and_layout_equals_the_integers(shape, phase, adaptive, data):
    inputs = [data.draw(strategies.inputs(shape)) for _ in range(2)]
    layout = data.draw(st.sampled_from(list(strategies.LAYOUTS)))
    kind = data.draw(st.sampled_from([(1,), shape[1:2], shape[1:-1]]))
    decays = [data.draw(strategies.decays(kind)) for _ in range(4)]
    tensors = [torch.from_numpy(d) for d in decays]
    spikes, none = resonate.spikes(
        *(strategies.laid_out(x, layout) for x in inputs), *tensors[:2], SCALE, 1.0, 1.0, 1.0, phase,
        adaptation=(*tensors[2:], 0.5) if adaptive else None,
    )  # fmt: skip
    rows = [x.reshape(int(np.prod(shape[:-1])), shape[-1]) for x in inputs]
    flat = [rows_of(d, shape).numpy() for d in tensors]
    *_, fired, _ = resonators.neuron(*rows, flat, (0, 0, 1, 0), SCALE, SCALE, SCALE // 2, phase, adaptive)
    np.testing.assert_array_equal(spikes.numpy(), fired.reshape(shape))
    assert none == ()


def test_the_complex_spike_has_the_stated_values_and_slopes():
    rng = np.random.default_rng(3)
    real, imag = (torch.from_numpy(rng.normal(size=(4, 6, 30))).requires_grad_() for _ in range(2))
    for graded in (False, True):
        spike = Spike.apply(real, imag, 0.3, 0.7, 2.0, graded, 0.1, 2)
        before = torch.cat([torch.full((4, 6, 1), 0.1), imag.detach()[..., :-1]], -1)
        fired = (real >= 0.3) & (before < 0) & (imag >= 0)
        assert torch.equal(spike, fired * real / 2 if graded else fired.double())
        ours = torch.autograd.grad(spike, (real, imag), torch.ones_like(spike))
        for a, b in zip(ours, resonator_gradients.slopes(real, imag, 0.3, 0.7, 2.0, True, graded), strict=True):
            torch.testing.assert_close(a, b.detach())
    with pytest.raises(ParameterError, match="tau_rho"):
        Spike.apply(real, imag, 0.3, 0.0, 1.0, False, 0, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_are_computed_in_float32_and_come_back(dtype):
    x = (2 * torch.randn(2, 3, 70)).to(dtype).requires_grad_()
    spikes, _ = resonate.spikes(x, x, SIN, COS, SCALE, 1.0, 100, 0.1, False)
    narrow, _ = resonate.spikes(x.detach().float(), x.detach().float(), SIN, COS, SCALE, 1.0, 100, 0.1, False)
    assert spikes.dtype == dtype
    assert torch.equal(spikes, narrow.to(dtype))
    assert 0 < spikes.sum() < spikes.numel()
    spikes.sum().backward()
    assert x.grad.dtype == dtype


def test_errors_say_what_was_expected():
    with pytest.raises(ShapeError, match="one shape"):
        resonator.dynamics(X, X[..., 1:], SIN, COS, ZERO, ZERO, SCALE)
    with pytest.raises(ShapeError, match="sin_decay"):
        resonator.dynamics(X, X, torch.ones(7), COS, ZERO, ZERO, SCALE)
    with pytest.raises(ParameterError, match="power of two"):
        resonator.dynamics(X, X, SIN, COS, ZERO, ZERO, 1000)
    with pytest.raises(ParameterError, match="floating"):
        resonator.dynamics(X.int(), X, SIN, COS, ZERO, ZERO, SCALE)
    with pytest.raises(ParameterError, match="finite"):
        resonator.dynamics(X * float("nan"), X, SIN, COS, ZERO, ZERO, SCALE, debug=True)
    with pytest.raises(ParameterError, match="tau_rho"):
        resonate.spikes(X, X, SIN, COS, SCALE, 1.0, 0.0, 1.0, True)


def test_persistent_states_follow_the_reset():
    state, spike = torch.tensor([1.5, -2.0]), torch.tensor([1.0, 0.0])
    assert resonator.persistent_real_state(state, spike).tolist() == [0, -2]
    assert resonator.persistent_imag_state(state, spike, 1.25, 64).tolist() == [1.25 - 1 / 64, -2]
