"""The CUBA neuron: spikes and states equal the integers, with all its options; the gradient of its own surrogate."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.axon import delay
from lavadl_lite.slayer.neuron import Dropout
from lavadl_lite.slayer.neuron.cuba import Neuron, neuron_params
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm
from tests import strategies
from tests.reference import fixed_point, gradients

GOLDEN = torch.tensor([[[1, 0.5, -0.25, 0, 2, 0, 0, 0]]])


class Nothing(torch.nn.Module):
    """A norm that does nothing: the path through separate integrators."""

    def forward(self, x):
        return x


def rows(x):
    return x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])


def channel_rows(decay, shape):
    """One value of a decay of shape (1,) or (C,) for each row."""
    return np.broadcast_to(decay.reshape(-1, *[1] * (len(shape) - 3)), shape[:-1]).reshape(-1)


@settings(max_examples=300)
@given(
    strategies.shapes(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([1, 16, 64, 2**17]),
    st.sampled_from([0, 0.5, 1.25, 10]), st.data(),
)  # fmt: skip
def test_spikes_equal_the_integers(shape, shared, graded, separate, scale, threshold, data):
    """For any input, fused and with separate integrators, shared and per channel."""
    x = data.draw(strategies.inputs(shape, 64 * scale))
    options = {"shared_param": shared, "graded_spike": graded, "scale": scale, "norm": Nothing if separate else None}
    layer = Neuron(threshold, data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1)), **options)
    layer.materialize(shape[1:-1])
    spikes = layer(torch.from_numpy(x))
    decays = [channel_rows(p.detach().numpy().round(), shape) for p in (layer.current_decay, layer.voltage_decay)]
    level = int(layer.threshold * 64 * scale) + 1
    _, voltage = fixed_point.cuba(rows(x), *decays, 0, 0, 64 * scale, level)
    fired = voltage >= level
    truth = fired * voltage if graded else fired * (64 * scale)
    np.testing.assert_array_equal(spikes.numpy().astype(np.float64) * 64 * scale, truth.reshape(shape))


@pytest.mark.parametrize("norm", [None, Nothing])
def test_golden_vectors(norm):
    binary = Neuron(2, 0.25, 0.1, norm=norm)
    assert binary(GOLDEN).tolist() == [[[0, 1, 0, 0, 1, 0, 1, 0]]]
    current, voltage = binary.dynamics(GOLDEN)
    assert (current * 4096).tolist() == [[[4096, 5120, 2816, 2112, 9776, 7332, 5499, 4124]]]
    assert (voltage * 4096).tolist() == [[[4096, 8806, 2816, 4646, 13956, 7332, 12097, 4124]]]
    assert binary.spike(voltage).tolist() == [[[0, 1, 0, 0, 1, 0, 1, 0]]]
    graded = Neuron(1.5, 0.25, 0.1, graded_spike=True, norm=norm)
    assert graded(GOLDEN).tolist() == [[[0, 2.14990234375, 0, 0, 3.4072265625, 1.7900390625, 0, 2.21484375]]]


@pytest.mark.parametrize("norm", [None, Nothing])
def test_golden_gradients(norm):
    """D1: the gradients by the decays are the true ones."""
    layer, x = Neuron(2, 0.25, 0.1, requires_grad=True, norm=norm), GOLDEN.clone().requires_grad_()
    layer(x).sum().backward()
    truth = [0.00402497, 0.00347687, 0.00290443, 0.00231871, 0.00173292, 0.00116953, 0.00065924, 0.00024876]
    np.testing.assert_allclose(x.grad[0, 0], truth, atol=5e-9)
    assert layer.current_decay.grad.item() == pytest.approx(-0.0139004327 / 4096, rel=1e-6)
    assert layer.voltage_decay.grad.item() == pytest.approx(-0.0038159 / 4096, rel=1e-4)


@pytest.mark.parametrize("norm", [None, Nothing])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tau_grad", [0.02, 1, 3])
@pytest.mark.parametrize("threshold", [0, 1.25])
def test_gradients_equal_float64_autograd(norm, graded, shared, tau_grad, threshold):
    """tau = 100 * threshold * tau_grad and rho = 0.1 * scale_grad; a threshold of 0 has the width of 1 / scale."""
    rng = np.random.default_rng(0)
    shape = (2, 3, 2, 5, 70)
    layer = Neuron(
        threshold, 0.3, 0.1, tau_grad, scale_grad=2, shared_param=shared, requires_grad=True, graded_spike=graded,
        norm=norm,
    )  # fmt: skip
    layer.materialize(shape[1:-1])
    x = torch.from_numpy(rng.normal(0.2, 1, shape).astype(np.float32)).requires_grad_()
    weight = torch.from_numpy(rng.uniform(0.5, 1.5, shape).astype(np.float32))
    (layer(x) * weight).sum().backward()
    ours = x, layer.current_decay, layer.voltage_decay
    truth = [v.detach().double().requires_grad_() for v in ours]
    held = [v + (v.round() - v).detach() for v in truth[1:]]  # a neuron rounds its decays
    held = [v.reshape(-1, 1, 1).expand(shape[:-1]).reshape(-1) for v in held]
    zero = torch.zeros(60, dtype=torch.float64)
    tau = 100 * tau_grad * (threshold or 1 / 64)
    spikes, *_ = gradients.cuba(rows(truth[0]), *held, zero, zero, 4096, threshold, tau, 0.2, graded)
    (spikes.reshape(shape) * weight.double()).sum().backward()
    for a, b in zip(ours, truth, strict=True):
        assert a.grad.shape == a.shape
        assert float((a.grad - b.grad).abs().max() / b.grad.abs().max()) < 1e-5


def test_a_threshold_of_0_has_finite_gradients():
    layer, x = Neuron(0, 0.25, 0.1, requires_grad=True), GOLDEN.clone().requires_grad_()
    spikes = layer(x)
    assert spikes.tolist() == [[[1, 1, 1, 1, 1, 1, 1, 1]]]
    assert layer(torch.zeros(1, 1, 3)).tolist() == [[[0, 0, 0]]]  # strictly above
    spikes.sum().backward()
    assert x.grad.isfinite().all()
    assert layer.current_decay.grad.isfinite().all()


@pytest.mark.parametrize("norm", [None, Nothing])
@pytest.mark.parametrize("threshold", [1, 63, 64, 100, 1500])
def test_spike_and_reset_agree_at_the_threshold(norm, threshold):
    """D9: at equality neither, one state above both; lava-dl loses its epsilon from 64 on."""
    layer = Neuron(threshold, 1, 0, norm=norm)
    x = torch.tensor([[[threshold, 0, 1 / 4096, 0]]])
    assert layer(x).tolist() == [[[0, 0, 1, 0]]]
    voltage = layer.dynamics(x)[1] * 4096
    assert voltage.tolist() == [[[threshold * 4096, threshold * 4096, threshold * 4096 + 1, 0]]]


@pytest.mark.parametrize("norm", [None, Nothing])
@pytest.mark.parametrize("threshold", [1e5, 1e9])
def test_a_threshold_beyond_all_states_never_fires(norm, threshold):
    layer = Neuron(threshold, 0, 0, norm=norm)
    assert not layer(torch.full((1, 2, 70), 1e3)).any()


def test_per_channel_decays_go_along_channels():
    """D2: also where the last spatial axis is as long as that of the channels."""
    torch.manual_seed(0)
    x = torch.rand(2, 3, 3, 3, 40)
    layer = Neuron(1, np.array([0.1, 0.5, 0.9]), np.array([0.05, 0.2, 0.7]), requires_grad=True)
    spikes = layer(x)
    spikes.sum().backward()
    for c, (current, voltage) in enumerate([(0.1, 0.05), (0.5, 0.2), (0.9, 0.7)]):
        alone = Neuron(1, current, voltage, requires_grad=True)
        one = alone(x[:, c : c + 1])
        assert torch.equal(one, spikes[:, c : c + 1])
        one.sum().backward()
        torch.testing.assert_close(layer.current_decay.grad[c], alone.current_decay.grad[0])
        torch.testing.assert_close(layer.voltage_decay.grad[c], alone.voltage_decay.grad[0])


@pytest.mark.parametrize("flag", [1, np.True_])
def test_any_true_value_is_true(flag):
    """Section C: lava-dl takes only the object True."""
    layer = Neuron(1, 0.25, 0.1, persistent_state=flag, requires_grad=flag, graded_spike=flag, shared_param=flag)
    assert layer.persistent_state is layer.requires_grad is layer.graded_spike is layer.shared_param is True
    assert layer(GOLDEN).max() > 1
    assert layer.current_state.item() != 0


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_late_spikes_and_their_gradients_are_those_of_a_step_delay(graded, trained):
    layer = Neuron(1, 0.25, 0.1, graded_spike=graded, requires_grad=trained)
    assert layer.sends_late
    x = (torch.randn(2, 5, 70) + 0.3).requires_grad_()
    weight = torch.rand(2, 5, 70)
    found = []
    for spikes in (layer(x, late=True), delay(layer(x), 1)):
        learnt = [p for p in (x, *layer.parameters()) if p.requires_grad]
        found.append((spikes, *torch.autograd.grad((spikes * weight).sum(), learnt)))
    assert len(found[0]) == 4 if trained else 2
    assert 0 < (found[0][0] != 0).sum() < x.numel()
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    "other", [{"norm": Nothing}, {"dropout": Dropout(0.5)}, {"persistent_state": True}, {"surrogate": torch.exp}]
)
def test_late_is_refused_where_more_than_a_pass_is_to_be_delayed(other):
    layer = Neuron(1, 0.25, 0.1, **other)
    assert not layer.sends_late
    with pytest.raises(ParameterError, match="expected late of neurons without norm, dropout, state and hooks"):
        layer(GOLDEN, late=True)


# ------------------------------------------------------------------------------------------------------------- state
def in_chunks(layer, x, lengths):
    return torch.cat([layer(part) for part in x.split(lengths, -1)], -1)


@settings(max_examples=150)
@given(strategies.shapes(), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_chunks_equal_the_whole(shape, shared, graded, separate, data):
    x = torch.from_numpy(data.draw(strategies.inputs(shape)))
    options = {"shared_param": shared, "graded_spike": graded, "norm": Nothing if separate else None}
    torch.manual_seed(0)
    whole = Neuron(1.5, 0.1, 0.05, **options)(x)
    torch.manual_seed(0)
    layer = Neuron(1.5, 0.1, 0.05, persistent_state=True, **options)
    assert torch.equal(in_chunks(layer, x, data.draw(strategies.chunks(shape[-1]))), whole)


def test_chunks_equal_the_whole_with_a_norm():
    """D10: the integrator goes on from the current before the norm."""
    x = torch.rand(3, 4, 60)
    whole, chunked = (Neuron(0.5, 0.1, 0.05, norm=MeanOnlyBatchNorm, persistent_state=p).eval() for p in (False, True))
    for layer in (whole, chunked):
        layer.norm.running_mean = torch.tensor([0.5, -0.25, 1.0, 0.0])
        layer.norm.num_features = 4
    assert torch.equal(in_chunks(chunked, x, [1, 20, 0, 39]), whole(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("norm", [None, Nothing])
def test_other_types_keep_float32_inside(dtype, norm):
    """Fused or not, chunked or not: rounding to the type of the input comes last."""
    x = (torch.randn(2, 3, 90) * 1.7).to(dtype)
    spikes = Neuron(1.5, 0.1, 0.05, graded_spike=True, norm=norm)(x)
    assert spikes.dtype == dtype
    assert torch.equal(spikes, Neuron(1.5, 0.1, 0.05, graded_spike=True)(x.float()).to(dtype))
    layer = Neuron(1.5, 0.1, 0.05, graded_spike=True, norm=norm, persistent_state=True)
    assert torch.equal(in_chunks(layer, x, [30, 1, 59]), spikes)
    assert layer.voltage_state.dtype == torch.float32
    current, voltage = layer.dynamics(x)
    assert current.dtype == voltage.dtype == dtype


@pytest.mark.parametrize("norm", [None, Nothing])
def test_a_new_batch_size_begins_anew(norm):
    layer, fresh = (Neuron(1.5, 0.1, 0.05, persistent_state=True, norm=norm) for _ in range(2))
    layer(torch.rand(2, 3, 10))
    x = torch.rand(5, 3, 10)
    assert torch.equal(layer(x), fresh(x))
    assert layer.voltage_state.shape == (5, 3)
    layer(torch.zeros(0, 3, 10))
    assert layer.voltage_state.shape == (0, 3)


def test_reset_state_begins_anew():
    layer, x = Neuron(1.5, 0.1, 0.05, persistent_state=True), torch.rand(2, 3, 10)
    first = layer(x)
    assert not torch.equal(layer(x), first)
    layer.reset_state()
    assert torch.equal(layer(x), first)
    layer.current_state *= 0  # as lava-dl's users write it
    layer.voltage_state *= 0
    assert torch.equal(layer(x), first)


def test_without_persistent_state_every_call_begins_anew():
    layer, x = Neuron(1.5, 0.1, 0.05), torch.rand(2, 3, 10)
    assert torch.equal(layer(x), layer(x))
    assert layer.current_state.tolist() == [0]


def test_gradients_end_at_the_border_of_a_chunk():
    layer = Neuron(1.5, 0.1, 0.05, persistent_state=True)
    first, second = torch.rand(2, 2, 3, 10).requires_grad_()
    layer(first)
    (g,) = torch.autograd.grad(layer(second).sum(), first, allow_unused=True)
    assert g is None


@pytest.mark.parametrize("norm", [None, Nothing])
def test_dropout_comes_after_the_state(norm):
    """The reset follows what the neuron did, not what was let through."""
    torch.manual_seed(0)
    x = torch.rand(2, 30, 40)
    whole = Neuron(1.5, 0.1, 0.05, norm=norm)(x)
    layer = Neuron(1.5, 0.1, 0.05, persistent_state=True, dropout=Dropout(0.5), norm=norm)
    parts = [layer(part) for part in x.split(20, -1)]
    for part, truth in zip(parts, whole.split(20, -1), strict=True):
        assert ((part == 0) | (part == 2 * truth)).all()  # what is kept is scaled by 1 / (1 - p)
        assert 0 < (part != 0).sum() < (truth != 0).sum()
    layer.eval()
    layer.reset_state()
    assert torch.equal(layer(x), whole)


# ------------------------------------------------------------------------------------------------------------ device
def test_device_params():
    layer = Neuron(1.3, 0.25, 0.1, graded_spike=True)
    assert layer.device_params == {
        "type": "CUBA", "iDecay": 1024, "vDecay": 410, "vThMant": 83, "refDelay": 1, "gradedSpike": True
    }  # fmt: skip
    assert isinstance(layer.cx_current_decay, np.int64)
    assert isinstance(layer.device_params["gradedSpike"], bool)
    per_channel = Neuron(1, np.array([0.1, 0.2]), 0.1)
    assert per_channel.cx_current_decay.tolist() == [410, 819]
    assert per_channel.cx_current_decay.dtype == np.int64


def test_device_integers_are_rounded_half_to_even():
    layer = Neuron(1, 0, 0)
    for value, integer in ((409.5, 410), (410.5, 410), (-3.0, 0), (4099.0, 4096)):
        layer.current_decay.data.fill_(value)
        assert layer.cx_current_decay == integer
        assert layer.current_decay.item() == value  # reading holds nothing


def test_neuron_params():
    params = neuron_params({"type": "CUBA", "iDecay": 1024, "vDecay": 410, "vThMant": 83, "refDelay": 1})
    assert params == {"threshold": 83 / 64, "current_decay": 0.25, "voltage_decay": 410 / 4096}
    arrays = neuron_params({"iDecay": np.array([0, 4096]), "vDecay": np.array([1024, 2048]), "vThMant": 2}, scale=2)
    assert arrays["threshold"] == 1
    np.testing.assert_array_equal(arrays["current_decay"], [0, 1])


def test_a_neuron_learns_the_decays_of_another():
    """From its response below the threshold; a gradient of the wrong sign would lead away."""
    torch.manual_seed(0)
    drive = (torch.rand(4, 1, 120) < 0.15).float()
    truth = Neuron(1, 0.3, 0.06)
    layer = Neuron(1, 0.15, 0.15, requires_grad=True)
    target = [response.detach() for response in truth.dynamics(drive, spiking=False)]
    optimizer = torch.optim.Adam(layer.parameters(), lr=20)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 20 * (1 - step / 400)
        optimizer.zero_grad()
        responses = layer.dynamics(drive, spiking=False)
        sum((a - b).square().mean() for a, b in zip(responses, target, strict=True)).backward()
        optimizer.step()
    for name in ("current_decay", "voltage_decay"):
        np.testing.assert_allclose(getattr(layer, name).item(), getattr(truth, name).item(), rtol=0.05)
