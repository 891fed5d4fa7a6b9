"""The threshold: its values by the definition, its surrogate by autograd through the surrogate's integral."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.spike import Spike, surrogate
from tests import strategies
from tests.reference import gradients


@settings(max_examples=300)
@given(strategies.shapes(), st.floats(-3, 3, width=32), st.booleans(), st.sampled_from([1, 2, 64]), st.data())
def test_a_spike_is_sent_from_the_threshold_on(shape, threshold, graded, scale, data):
    voltage = data.draw(strategies.inputs(shape))
    with np.errstate(over="ignore"):
        value = voltage / np.float32(scale) if graded else np.ones_like(voltage)
        silent = np.where(np.isfinite(voltage), 0, np.nan) if graded else 0  # 0 times an infinite voltage
        truth = np.where(voltage >= np.float32(threshold), value, silent)
    ours = Spike.apply(torch.from_numpy(voltage), threshold, 1, 1, graded, 0, scale)
    np.testing.assert_array_equal(ours.numpy(), truth)


def test_graded_spikes_of_the_reference():
    """Equality fires; a graded spike is the voltage over its scale."""
    voltage = torch.tensor([-1.0, 0.99, 1.0, 3.0])
    assert Spike.apply(voltage, 1.0, 1, 1, False, 0, 1).tolist() == [0, 0, 1, 1]
    assert Spike.apply(voltage, 1.0, 1, 1, True, 0, 4).tolist() == [0, 0, 0.25, 0.75]


@pytest.mark.parametrize("flag", [1, np.True_])
def test_any_true_flag_means_graded(flag):
    """Section C: lava-dl takes only the object True."""
    assert Spike.apply(torch.tensor([3.0]), 1.0, 1, 1, flag, 0, 1).tolist() == [3]


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("tau", [0.1, 1.0, 100.0])
@given(rng=strategies.generators())
@settings(max_examples=25)
def test_the_surrogate_equals_float64_autograd(graded, tau, rng):
    voltage = torch.from_numpy(rng.normal(size=(3, 20)).astype(np.float32)).requires_grad_()
    threshold = torch.from_numpy(rng.normal(size=(20,)).astype(np.float32))  # as neurons that adapt have it
    weight = torch.from_numpy(rng.normal(size=(3, 20)).astype(np.float32))
    (Spike.apply(voltage, threshold, tau, 0.3, graded, 0, 1) * weight).sum().backward()
    exact = voltage.detach().double().requires_grad_()
    fired = (exact >= threshold).double()
    (gradients.spike(exact, fired, threshold.double(), tau, 0.3, graded) * weight).sum().backward()
    assert float((voltage.grad - exact.grad).abs().max() / exact.grad.abs().max()) < 1e-5


def test_the_centre_of_the_surrogate_may_stand_apart():
    voltage = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
    for centre in (2.0, torch.tensor([2.0])):
        voltage.grad = None
        spikes = Spike.apply(voltage, 0.5, 1.0, 1.0, False, 0, 1, centre)
        assert spikes.tolist() == [0, 1, 1]
        spikes.sum().backward()
        np.testing.assert_allclose(voltage.grad, 0.5 * np.exp([-2, -1, 0]), rtol=1e-6)


def test_a_threshold_receives_no_gradient():
    voltage, threshold = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    Spike.apply(voltage, threshold, 1, 1, False, 0, 1).sum().backward()
    assert threshold.grad is None
    assert voltage.grad is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_type_of_the_voltage_is_kept(dtype):
    voltage = torch.tensor([0.5, 1.5], dtype=dtype, requires_grad=True)
    spikes = Spike.apply(voltage, 1.0, 1, 1, True, 0, 1)
    assert spikes.dtype == dtype
    spikes.sum().backward()
    assert voltage.grad.dtype == dtype


@pytest.mark.parametrize("tau", [0, -1.0, float("nan")])
def test_a_surrogate_without_width_is_refused(tau):
    """A threshold of 0 gave lava-dl's neurons tau = 0 and gradients of NaN."""
    with pytest.raises(ParameterError, match="expected tau_rho above 0"):
        Spike.apply(torch.ones(3), 1.0, tau, 1, False, 0, 1)


# --------------------------------------------------------------------------------------------- shapes of the surrogate
def slope_by_integral(name, distance):
    """What each name promises, as the derivative by autograd of a function that is easier to get right."""
    d = distance.clone().requires_grad_()
    a = d.abs()
    integral = {
        "exponential": lambda: d.sign() * (1 - torch.exp(-a)),
        "fast_sigmoid": lambda: d / (1 + a),
        "arctan": lambda: torch.atan(d),
        "triangle": lambda: torch.where(a < 1, d - d * a / 2, d.sign() / 2),
    }[name]()
    return torch.autograd.grad(integral.sum(), d)[0]


@pytest.mark.parametrize("name", surrogate.KINDS)
def test_named_surrogates_are_what_they_say(name):
    distance = torch.linspace(-3, 3, 61, dtype=torch.float64) + 0.013
    torch.testing.assert_close(surrogate.bell(distance, name), slope_by_integral(name, distance))
    assert surrogate.bell(torch.zeros(1), name) == 1


@pytest.mark.parametrize("name", surrogate.KINDS)
@pytest.mark.parametrize("graded", [False, True])
def test_surrogates_are_finite_far_from_the_threshold(name, graded):
    voltage = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4], requires_grad=True)
    Spike.apply(voltage, 0.5, 1e-3, 1.0, graded, 0, 1, None, name).sum().backward()
    assert torch.isfinite(voltage.grad).all()
    assert (voltage.grad >= 0).all()
    if name in ("fast_sigmoid", "arctan"):  # their tails never end
        assert (voltage.grad > 0).all()


def test_a_callable_takes_the_distance_with_its_sign():
    voltage = torch.tensor([-1.0, 2.0], requires_grad=True)
    Spike.apply(voltage, 1.0, 0.5, 3.0, False, 0, 1, None, lambda distance: 10 + distance).sum().backward()
    assert voltage.grad.tolist() == [3 * (10 - 4), 3 * (10 + 2)]


def test_an_unknown_surrogate_is_refused():
    with pytest.raises(ParameterError, match="exponential, fast_sigmoid, arctan, triangle"):
        Spike.apply(torch.zeros(2), 1.0, 1.0, 1.0, False, 0, 1, None, "sigmoid")
