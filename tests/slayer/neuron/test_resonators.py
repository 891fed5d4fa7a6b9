"""The four complex neurons: parameters, what they draw, golden responses, states, learning."""

import inspect
import math

import numpy as np
import pytest
import torch

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron import adrf, adrf_iz, rf, rf_iz
from lavadl_lite.slayer.neuron.dynamics import resonator
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm
from tests.contracts.families import make_neuron, params

NEURONS = (rf.Neuron, rf_iz.Neuron, adrf.Neuron, adrf_iz.Neuron)
EACH = pytest.mark.parametrize("neuron", NEURONS, ids=lambda n: n.type_name)
ADAPTIVE = {"threshold_step": 0.5, "threshold_decay": 0.2, "refractory_decay": 0.3}


def impulse(value, T):
    x = torch.zeros(1, 1, T)
    x[..., 0] = value
    return x, torch.zeros_like(x)


def pair(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(torch.from_numpy(rng.normal(0, 1, shape).astype(np.float32)) for _ in range(2))


def integers(tensor):
    return (4096 * tensor).int()[0, 0].tolist()


# ----------------------------------------------------------------------------------------- values of slayer-core's text
def test_golden_responses_of_fixed_thresholds():
    x = impulse(1.5, 12)
    layer = rf_iz.Neuron(1, 8, 0.1)
    assert (layer.cx_sin_decay, layer.cx_cos_decay) == (2607, 2607)
    real, imag = layer.dynamics(x)
    assert integers(real) == [6144, 3910, 0, -2606, -3316, -2110, 0, 1708, 2174, 1383, 0, -1120]
    assert integers(imag) == [0, 3910, 4976, 2606, 0, -2110, -2684, -1708, 0, 1383, 1760, 1120]
    assert layer(x).flatten().nonzero().flatten().tolist() == [2]
    layer = rf.Neuron(1, 8, 0.1)
    real, imag = layer.dynamics(x)
    assert integers(real) == [6144, 3910, 0, -3167, -4030, -2564, 0, 2076, 2642, 1681, 0, -1360]
    assert integers(imag) == [0, 3910, 4976, 3167, 0, -2564, -3262, -2076, 0, 1681, 2138, 1360]
    assert layer(x).sum() == 0


def test_golden_responses_of_adaptive_thresholds():
    x = impulse(3, 10)
    layer = adrf.Neuron(1, 0.5, 8, 0.1, 0.2, 0.3)
    real, imag, threshold, refractory = layer.dynamics(x)
    assert integers(real) == [12288, 7821, 0, -6335, -8064, -5132, 0, 4157, 5290, 3366]
    assert integers(imag) == [0, 7821, 9954, 6335, 0, -5132, -6532, -4157, 0, 3366]
    assert integers(threshold) == [4096] * 9 + [5734]
    assert integers(refractory) == [0] * 9 + [5734]
    assert layer(x).flatten().nonzero().flatten().tolist() == [8]
    layer = adrf_iz.Neuron(1, 0.5, 8, 0.1, 0.2, 0.3)
    _, _, threshold, refractory = layer.dynamics(x)
    assert integers(threshold) == [4096, 4096, 5734, 5406, 5144, 4934, 4766, 4632, 4524, 4438]
    assert integers(refractory) == [0, 0, 5734, 4013, 2808, 1965, 1375, 962, 673, 471]
    assert layer(x).flatten().nonzero().flatten().tolist() == [1]


@pytest.mark.parametrize("module", [rf, rf_iz, adrf, adrf_iz])
def test_positions_of_arguments_are_those_of_lava_dl(module):
    adaptive = module in (adrf, adrf_iz)
    head = ["threshold", "threshold_step"] if adaptive else ["threshold"]
    head += ["period", "decay"] + (["threshold_decay", "refractory_decay"] if adaptive else [])
    tail = ["tau_grad", "scale_grad", "scale", "norm", "dropout", "shared_param", "persistent_state", "requires_grad"]
    names = [*head, *tail, "graded_spike", "log_init", "surrogate"]
    assert list(inspect.signature(module.Neuron).parameters) == names


# ------------------------------------------------------------------------------------------------------- the two ways
@EACH
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("norm", [None, MeanOnlyBatchNorm])
def test_forward_is_dynamics_and_spike(neuron, graded, persistent, norm):
    options = {"graded_spike": graded, "persistent_state": persistent, "norm": norm, "requires_grad": True}
    fused, parts = (make_neuron(neuron, **options) for _ in range(2))
    for seed in (1, 2):
        x = tuple(v.requires_grad_() for v in pair(2, 3, 90, seed=seed))
        y, z = fused(x), parts.spike(*parts.dynamics(x))
        assert torch.equal(y, z)
        assert y.count_nonzero() > 5
        g = torch.from_numpy(np.random.default_rng(seed).normal(size=y.shape).astype(np.float32))
        ours, theirs = (torch.autograd.grad(out, (*x, layer.sin_decay, layer.cos_decay), g) for out, layer in
                        ((y, fused), (z, parts)))  # fmt: skip
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
    for state in neuron.states:
        assert torch.equal(getattr(fused, state.name), getattr(parts, state.name))


# --------------------------------------------------------------------------------------------------------- parameters
@EACH
def test_shared_parameters_are_a_rotation(neuron):
    layer = make_neuron(neuron)
    period, decay = params(neuron)["period"], params(neuron)["decay"]
    turn, gain = 2 * math.pi / period, 4096 * (1 - decay)
    np.testing.assert_allclose(layer.sin_decay.item(), gain * math.sin(turn), rtol=1e-6)
    np.testing.assert_allclose(layer.cos_decay.item(), gain * math.cos(turn), rtol=1e-6)
    np.testing.assert_allclose(layer.period, period, rtol=1e-3)
    np.testing.assert_allclose(layer.frequency, 1 / period, rtol=1e-3)
    np.testing.assert_allclose(layer.decay, decay, atol=3e-4)
    np.testing.assert_allclose(layer.lam, -math.log(1 - decay), atol=3e-4)


@EACH
def test_channels_have_frequencies_on_a_logarithmic_scale(neuron):
    options = params(neuron) | {"period": (5, 50), "decay": (0.02, 0.2), "shared_param": False, "log_init": True}
    layer = neuron(**options)
    torch.manual_seed(7)
    layer.materialize((9,))
    torch.manual_seed(7)
    decay = 0.02 + 0.18 * torch.rand(9).numpy()
    frequency = np.geomspace(1 / 50, 1 / 5, 9)
    gain = 4096 * (1 - decay)
    np.testing.assert_allclose(layer.sin_decay.detach(), gain * np.sin(2 * np.pi * frequency), rtol=1e-5)
    np.testing.assert_allclose(layer.cos_decay.detach(), gain * np.cos(2 * np.pi * frequency), rtol=1e-5)


@EACH
def test_channels_draw_frequencies_evenly(neuron):
    options = params(neuron) | {"period": (5, 50), "decay": 0.1, "shared_param": False, "log_init": False}
    layer = neuron(**options)
    torch.manual_seed(7)
    layer.materialize((4000,))
    np.testing.assert_allclose(layer.frequency.mean(), (1 / 5 + 1 / 50) / 2, rtol=0.03)
    assert layer.frequency.min() > 0.99 / 50
    assert layer.frequency.max() < 1.01 / 5
    assert 0.098 < layer.decay.min() < layer.decay.max() < 0.102


@EACH
def test_arrays_give_each_channel_its_own(neuron):
    period = np.array([5.0, 10.0, 20.0])
    layer = neuron(**params(neuron) | {"period": period})
    np.testing.assert_allclose(layer.period, period, rtol=2e-3)
    assert not layer.shared_param
    with pytest.raises(ShapeError, match="3 channels"):
        layer.materialize((4,))


@EACH
def test_a_gain_of_nothing_or_too_much_is_held_without_nan(neuron):
    """Section C: a decay of 1 divided 0 by 0."""
    layer = neuron(**params(neuron) | {"decay": 1.0}, requires_grad=True)
    assert (layer.sin_decay.item(), layer.cos_decay.item()) == (1, 0)
    layer.sin_decay.data.fill_(5000)
    layer.cos_decay.data.fill_(5000)
    x = pair(1, 1, 20)
    layer(x).sum().backward()
    np.testing.assert_allclose(math.hypot(layer.sin_decay.item(), layer.cos_decay.item()), 4095, rtol=1e-5)
    assert layer.sin_decay.item() == layer.cos_decay.item()
    layer.sin_decay.data.fill_(-7)
    layer.cos_decay.data.fill_(-7)
    assert torch.isfinite(layer(x)).all()
    assert (layer.sin_decay.item(), layer.cos_decay.item()) == (1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"period": 3.9}, "period"),
        ({"period": (3.0, 9.0), "shared_param": False}, "period"),
        ({"period": (9.0, 5.0), "shared_param": False}, "period"),
        ({"period": (9.0, 10.0, 11.0), "shared_param": False}, "smallest, largest"),
        ({"period": np.array([8.0, 2.0])}, "period"),
        ({"period": float("nan")}, "period"),
        ({"decay": 1.5}, "decay"),
        ({"decay": -0.1}, "decay"),
        ({"decay": (0.1, 0.2)}, "decay"),
        ({"threshold": -1}, "threshold"),
        ({"norm": 3}, "norm"),
        ({"scale": 63}, "power of two"),
    ],
)
@EACH
def test_arguments_outside_their_range(neuron, change, message):
    with pytest.raises(ParameterError, match=message):
        neuron(**params(neuron) | change)


@EACH
def test_inputs_that_do_not_fit(neuron):
    layer, (real, imag) = make_neuron(neuron), pair(2, 3, 10)
    with pytest.raises(ParameterError, match="pair"):
        layer(real)
    with pytest.raises(ShapeError, match="one shape"):
        layer((real, imag[..., 1:]))
    layer((real, imag))
    with pytest.raises(ShapeError, match="expected an input"):
        layer(pair(2, 4, 10))


@EACH
def test_thresholds_are_truncated_to_the_grid(neuron):
    layer = neuron(**params(neuron) | {"threshold": 0.1})
    assert layer.threshold == 6 / 64
    assert layer.v_th_mant == 6
    if layer.adaptive:
        assert neuron(**params(neuron) | {"threshold_step": 0.1}).v_th_step == 6
        assert layer.device_params["vThStep"] == 16


@EACH
def test_two_norms_for_two_inputs(neuron):
    layer = make_neuron(neuron, norm=MeanOnlyBatchNorm)
    assert layer.norm == (layer.real_norm, layer.imag_norm)
    x = pair(4, 3, 50)
    layer((x[0] + 5, x[1] - 3))
    assert (layer.real_norm.running_mean > 0.3).all()
    assert (layer.imag_norm.running_mean < -0.1).all()
    assert make_neuron(neuron).norm is None


def test_a_resonator_learns_the_rotation_of_another():
    """From its response alone; a gradient of the wrong sign would lead away."""
    torch.manual_seed(0)
    drive = (torch.rand(1, 1, 100) < 0.05).float(), torch.zeros(1, 1, 100)
    truth, layer = rf.Neuron(1, 10, 0.05), rf.Neuron(1, 8.5, 0.12, requires_grad=True)
    target = torch.cat(truth.dynamics(drive)).detach()
    optimizer = torch.optim.Adam(layer.parameters(), lr=15)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 15 * (1 - step / 300)
        optimizer.zero_grad()
        (torch.cat(layer.dynamics(drive)) - target).square().mean().backward()
        optimizer.step()
    np.testing.assert_allclose(layer.decay, truth.decay, rtol=0.05)
    np.testing.assert_allclose(layer.period, truth.period, rtol=0.01)


def test_what_spike_leaves_behind_follows_the_reset():
    layer = rf_iz.Neuron(1, 8, 0.1, persistent_state=True)
    x = impulse(1.5, 3)
    real, imag = layer.dynamics(x)
    assert layer.spike(real, imag)[0, 0, -1] == 1
    assert layer.real_state.tolist() == [[0]]
    assert layer.imag_state.tolist() == [[1 - 1 / 4096]]
    rest = resonator.dynamics(
        *impulse(0, 4), layer.sin_decay.round(), layer.cos_decay.round(), layer.real_state, layer.imag_state, 4096
    )
    whole = rf_iz.Neuron(1, 8, 0.1).dynamics(impulse(1.5, 7))
    for a, b in zip(rest, whole, strict=True):
        assert torch.equal(a, b[..., 3:])


@EACH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_rotation_is_held_in_any_type(neuron, dtype):
    layer = make_neuron(neuron, requires_grad=True, decay=0.25)
    layer.sin_decay.data.fill_(1536)
    layer.cos_decay.data.fill_(2048)  # a gain of 2560: nothing to hold
    layer.to(dtype)
    layer.clamp()
    assert (layer.sin_decay.item(), layer.cos_decay.item()) == (1536, 2048)
    layer.sin_decay.data.fill_(3072)
    layer.cos_decay.data.fill_(4096)
    layer.clamp()
    tolerance = 2.0**-7 if dtype == torch.bfloat16 else 2.0**-10 if dtype == torch.float16 else 1e-6
    assert layer.sin_decay.item() == pytest.approx(3072 * 4095 / 5120, rel=tolerance)
    assert layer.cos_decay.item() == pytest.approx(4096 * 4095 / 5120, rel=tolerance)
