"""The ALIF neuron: spikes and states equal the integers, with all its options; its decays can be learnt."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron import Dropout
from lavadl_lite.slayer.neuron.alif import Neuron, neuron_params
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm
from lavadl_lite.slayer.utils import param_groups
from tests import strategies
from tests.reference import fixed_point, gradients

GOLDEN = torch.ones(1, 1, 8)
DECAYS = {"current_decay": 0.25, "voltage_decay": 0.1, "threshold_decay": 0.2, "refractory_decay": 0.3}
STATES = ["current_state", "voltage_state", "threshold_state", "refractory_state"]


def neuron(threshold=1.5, threshold_step=0.5, **options):
    return Neuron(threshold, threshold_step, **(DECAYS | options))


def whole(layer, x):
    """All in one pass."""
    return layer(x)


def parts(layer, x):
    """By the neuron's own two halves."""
    return layer.spike(*layer.dynamics(x)[1:])


BOTH = pytest.mark.parametrize("run", [whole, parts])


def rows(x):
    return x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])


def channel_rows(decay, shape):
    """One value of a decay of shape (1,) or (C,) for each row."""
    return np.broadcast_to(decay.reshape(-1, *[1] * (len(shape) - 3)), shape[:-1]).reshape(-1)


@settings(max_examples=300)
@given(
    strategies.shapes(), st.booleans(), st.booleans(), st.sampled_from([whole, parts]),
    st.sampled_from([1, 16, 64, 2**17]), st.sampled_from([0, 0.5, 1.25, 10]), st.sampled_from([0, 0.25, 3]), st.data(),
)  # fmt: skip
def test_spikes_equal_the_integers(shape, shared, graded, run, scale, threshold, step, data):
    """For any input, in one pass and in two, shared and per channel."""
    x = data.draw(strategies.inputs(shape, 64 * scale))
    fractions = {name: data.draw(st.floats(0, 1)) for name in DECAYS}
    layer = neuron(threshold, step, **fractions, shared_param=shared, graded_spike=graded, scale=scale)
    layer.materialize(shape[1:-1])
    spikes = run(layer, torch.from_numpy(x))
    decays = [channel_rows(getattr(layer, name).detach().numpy().round(), shape) for name in DECAYS]
    threshold, step = (int(value * scale) / scale for value in (threshold, step))
    _, voltage, th, r, *_ = fixed_point.alif(rows(x), decays, (0, 0, threshold, 0), 64 * scale, threshold, step)
    fired = voltage >= th + r
    truth = fired * voltage if graded else fired * (64 * scale)
    np.testing.assert_array_equal(spikes.numpy().astype(np.float64) * 64 * scale, truth.reshape(shape))


@BOTH
def test_golden_vector(run):
    layer = neuron()
    current, voltage, threshold, refractory = layer.dynamics(GOLDEN)
    assert (current * 4096).tolist() == [[[4096, 7168, 9472, 11200, 12496, 13468, 14197, 14743]]]
    assert (voltage * 4096).tolist() == [[[4096, 10854, 19239, 28513, 38154, 47802, 57214, 66230]]]
    assert (threshold * 4096).tolist() == [[[6144, 6144, 7782, 9092, 10141, 10980, 11651, 12188]]]
    assert (refractory * 4096).tolist() == [[[0, 0, 8601, 16914, 24566, 31391, 37343, 42448]]]
    assert run(layer, GOLDEN).tolist() == [[[0, 1, 1, 1, 1, 1, 1, 1]]]
    graded = run(neuron(graded_spike=True), GOLDEN)
    assert (graded * 4096).tolist() == [[[0, 10854, 19239, 28513, 38154, 47802, 57214, 66230]]]


@BOTH
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tau_grad", [0.02, 1])
@pytest.mark.parametrize("threshold", [0, 1.25])
def test_gradients_equal_float64_autograd(run, graded, shared, tau_grad, threshold):
    """tau = 100 * threshold * tau_grad and rho = 0.1 * scale_grad; a threshold of 0 has the width of 1 / scale."""
    rng = np.random.default_rng(0)
    shape = (2, 3, 2, 5, 70)
    layer = neuron(
        threshold, tau_grad=tau_grad, scale_grad=2, shared_param=shared, requires_grad=True, graded_spike=graded
    )
    layer.materialize(shape[1:-1])
    x = torch.from_numpy(rng.normal(0.2, 1, shape).astype(np.float32)).requires_grad_()
    weight = torch.from_numpy(rng.uniform(0.5, 1.5, shape).astype(np.float32))
    (run(layer, x) * weight).sum().backward()
    ours = x, layer.current_decay, layer.voltage_decay
    truth = [v.detach().double().requires_grad_() for v in ours]
    held = [v.double() for v in (layer.threshold_decay, layer.refractory_decay)]
    held = [v + (v.round() - v).detach() for v in (*truth[1:], *held)]  # a neuron rounds its decays
    held = [v.reshape(-1, 1, 1).expand(shape[:-1]).reshape(-1) for v in held]
    zero = torch.zeros(60, dtype=torch.float64)
    tau = 100 * tau_grad * (threshold or 1 / 64)
    states = zero, zero, zero + threshold, zero
    spikes, *_ = gradients.alif(rows(truth[0]), held, states, 4096, threshold, 0.5, tau, 0.2, graded)
    (spikes.reshape(shape) * weight.double()).sum().backward()
    for a, b in zip(ours, truth, strict=True):
        assert a.grad.shape == a.shape
        assert float((a.grad - b.grad).abs().max() / b.grad.abs().max()) < 1e-5
    assert layer.threshold_decay.grad is layer.refractory_decay.grad is None


def test_threshold_and_refractory_decays_are_never_trained():
    layer = neuron(requires_grad=True)
    assert [n for n, p in layer.named_parameters() if p.requires_grad] == ["current_decay", "voltage_decay"]
    assert list(layer.state_dict()) == list(DECAYS)


@BOTH
def test_a_neuron_fires_at_its_threshold(run):
    """Unlike CUBA, and then tires: the next spike needs the refractory state and the higher threshold."""
    layer = neuron(1, 0.25, current_decay=1, voltage_decay=1, threshold_decay=0, refractory_decay=0)
    x = torch.tensor([[[1 - 1 / 4096, 1, 1, 3.25 - 1 / 4096, 3.25, 3.25, 6]]])
    assert run(layer, x).tolist() == [[[0, 1, 0, 0, 1, 0, 1]]]


@pytest.mark.parametrize("fused", [True, False])
def test_the_norm_comes_before_the_current(fused):
    layer = neuron(norm=MeanOnlyBatchNorm).eval()
    layer.norm.running_mean = torch.tensor([0.5, -0.25])
    layer.norm.num_features = 2
    x = torch.rand(3, 2, 40)
    run = whole if fused else parts
    assert torch.equal(run(layer, x), neuron()(x - torch.tensor([[0.5], [-0.25]])))


def test_per_channel_decays_go_along_channels():
    """D2: also where the last spatial axis is as long as that of the channels."""
    x = torch.rand(2, 3, 3, 3, 40, generator=torch.Generator().manual_seed(0))
    fractions = np.array([0.1, 0.5, 0.9])
    layer = neuron(1, **{name: fractions[::-1].copy() if i % 2 else fractions for i, name in enumerate(DECAYS)})
    spikes = layer(x)
    for c in range(3):
        alone = neuron(1, **{name: fractions[2 - c if i % 2 else c] for i, name in enumerate(DECAYS)})
        assert torch.equal(alone(x[:, c : c + 1]), spikes[:, c : c + 1])


# -------------------------------------------------------------------------------------------------------- parameters
def test_draws_are_in_the_order_of_the_arguments():
    """The same seed gives lava-dl's values; one number is spread for current and voltage only, but draws for all."""
    torch.manual_seed(11)
    layer = neuron(threshold_decay=(0.2, 0.6), shared_param=False)
    layer(torch.zeros(1, 6, 2))
    torch.manual_seed(11)
    current, voltage, threshold, _ = torch.rand(4, 6)
    following = torch.rand(1)
    for name, truth in (
        ("current_decay", 0.25 * (0.99 + 0.02 * current)),
        ("voltage_decay", 0.1 * (0.99 + 0.02 * voltage)),
        ("threshold_decay", 0.2 + 0.4 * threshold),
        ("refractory_decay", torch.full((6,), 0.3)),
    ):
        torch.testing.assert_close(getattr(layer, name).detach(), 4096 * truth, rtol=1e-6, atol=0)
    torch.manual_seed(11)
    neuron(threshold_decay=(0.2, 0.6), shared_param=False).materialize((6,))
    assert torch.rand(1) == following


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("threshold_decay in 0..1, got 5.0", {"threshold_decay": 5.0}),
        ("refractory_decay in 0..1", {"refractory_decay": -0.1}),
        ("refractory_decay to be one number", {"refractory_decay": (0.1, 0.2)}),
        ("threshold_step to be one number", {"threshold_step": "much"}),
        ("threshold_step to be finite", {"threshold_step": float("nan")}),
        ("threshold of 0 or more", {"threshold": -1}),
        ("tau_grad above 0", {"tau_grad": 0}),
    ],
)
def test_bad_arguments_are_refused(words, options):
    with pytest.raises(ParameterError, match=words):
        neuron(**options)


def test_bad_inputs_are_refused():
    layer = neuron()
    layer(torch.zeros(1, 3, 5))
    with pytest.raises(ShapeError, match=r"expected an input \(N, 3, T\), got shape \(1, 4, 5\)"):
        layer(torch.zeros(1, 4, 5))
    with pytest.raises(ShapeError, match=r"expected an input \(N, C, \.\.\., T\)"):
        layer(torch.zeros(3, 5))
    with pytest.raises(ParameterError, match=r"floating-point type, got torch\.int64"):
        layer(torch.zeros(1, 3, 5).long())


def test_threshold_and_step_are_rounded_down_to_the_grid():
    layer = neuron(0.1, 0.3)
    assert (layer.threshold, layer.threshold_step) == (6 / 64, 19 / 64)
    assert (layer.v_th_mant, layer.v_th_step) == (6, 19)


# ------------------------------------------------------------------------------------------------------------- state
def in_chunks(run, layer, x, lengths):
    return torch.cat([run(layer, part) for part in x.split(lengths, -1)], -1)


@BOTH
@settings(max_examples=150)
@given(strategies.shapes(), st.booleans(), st.booleans(), st.sampled_from([0, 0.1, 1.5]), st.data())
def test_chunks_equal_the_whole(run, shape, shared, graded, threshold, data):
    x = torch.from_numpy(data.draw(strategies.inputs(shape)))
    options = {"threshold": threshold, "shared_param": shared, "graded_spike": graded}
    torch.manual_seed(0)
    truth = neuron(**options)(x)
    torch.manual_seed(0)
    layer = neuron(persistent_state=True, **options)
    assert torch.equal(in_chunks(run, layer, x, data.draw(strategies.chunks(shape[-1]))), truth)


@BOTH
def test_states_are_those_after_the_last_spike(run):
    layer = neuron(persistent_state=True)
    for state, start in zip(STATES, (0, 0, 1.5, 0), strict=True):
        assert getattr(layer, state).tolist() == [start]
    run(layer, GOLDEN[..., :3])
    held = [getattr(layer, state).item() * 4096 for state in STATES]
    assert held == [9472, 19239, 7782 + 2048, 8601 + 2 * 7782]


def test_dynamics_leaves_states_before_the_spike():
    layer = neuron(persistent_state=True)
    layer.dynamics(GOLDEN[..., :3])
    assert [getattr(layer, state).item() * 4096 for state in STATES] == [9472, 19239, 7782, 8601]


@BOTH
def test_a_new_batch_size_begins_anew(run):
    layer, fresh = neuron(persistent_state=True), neuron()
    run(layer, torch.rand(2, 3, 10))
    x = torch.rand(5, 3, 10)
    assert torch.equal(run(layer, x), fresh(x))
    assert layer.threshold_state.shape == (5, 3)


@BOTH
def test_reset_state_begins_anew(run):
    layer, x = neuron(persistent_state=True), torch.rand(2, 3, 30) + 0.2
    first = run(layer, x)
    assert not torch.equal(run(layer, x), first)
    layer.reset_state()
    assert torch.equal(run(layer, x), first)
    for state in STATES:  # as lava-dl's users write it
        getattr(layer, state).mul_(0)
    layer.threshold_state += layer.threshold
    assert torch.equal(run(layer, x), first)


def test_without_persistent_state_every_call_begins_anew():
    layer, x = neuron(), torch.rand(2, 3, 30) + 0.2
    assert torch.equal(layer(x), layer(x))
    assert [getattr(layer, state).tolist() for state in STATES] == [[0], [0], [1.5], [0]]


def test_gradients_end_at_the_border_of_a_chunk():
    layer = neuron(persistent_state=True)
    first, second = torch.rand(2, 2, 3, 10).requires_grad_()
    layer(first)
    (g,) = torch.autograd.grad(layer(second).sum(), first, allow_unused=True)
    assert g is None


@BOTH
def test_dropout_comes_after_the_state(run):
    """Threshold and refractory state follow what the neuron did, not what was let through."""
    torch.manual_seed(0)
    x = torch.rand(2, 30, 40)
    truth = neuron()(x)
    layer = neuron(persistent_state=True, dropout=Dropout(0.5))
    for part, wanted in zip([run(layer, p) for p in x.split(20, -1)], truth.split(20, -1), strict=True):
        assert ((part == 0) | (part == 2 * wanted)).all()  # what is kept is scaled by 1 / (1 - p)
        assert 0 < (part != 0).sum() < (wanted != 0).sum()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_keep_float32_inside(dtype):
    x = (torch.randn(2, 3, 90) * 1.7).to(dtype)
    spikes = neuron(graded_spike=True)(x)
    assert spikes.dtype == dtype
    assert torch.equal(spikes, neuron(graded_spike=True)(x.float()).to(dtype))
    layer = neuron(graded_spike=True, persistent_state=True)
    assert torch.equal(in_chunks(whole, layer, x, [30, 1, 59]), spikes)
    assert layer.voltage_state.dtype == torch.float32
    assert {values.dtype for values in layer.dynamics(x)} == {dtype}


# ------------------------------------------------------------------------------------------------------------ device
def test_device_params():
    layer = neuron(1.3, 0.4, graded_spike=True)
    assert layer.device_params == {
        "type": "ALIF", "iDecay": 1024, "vDecay": 410, "thDecay": 819, "refDecay": 1229, "vThMant": 83, "vThStep": 25,
        "refDelay": 1, "gradedSpike": True,
    }  # fmt: skip
    per_channel = neuron(threshold_decay=np.array([0.1, 0.2]))
    assert per_channel.cx_threshold_decay.tolist() == [410, 819]
    assert isinstance(layer.cx_refractory_decay, np.int64)


def test_neuron_params():
    """D4: the step of the threshold comes from vThStep."""
    fields = {
        "type": "ALIF", "iDecay": 1024, "vDecay": 410, "thDecay": 2048, "refDecay": 4096, "vThMant": 83, "vThStep": 32,
    }  # fmt: skip
    assert neuron_params(fields) == {
        "threshold": 83 / 64, "threshold_step": 0.5, "current_decay": 0.25, "voltage_decay": 410 / 4096,
        "threshold_decay": 0.5, "refractory_decay": 1,
    }  # fmt: skip


@settings(max_examples=50)
@given(st.integers(0, 500), st.integers(0, 500), st.lists(st.integers(0, 4096), min_size=4, max_size=4))
def test_device_integers_make_the_same_neuron(threshold, step, decays):
    names = "vThMant", "vThStep", "iDecay", "vDecay", "thDecay", "refDecay"
    fields = dict(zip(names, (threshold, step, *decays), strict=True))
    held = Neuron(**neuron_params(fields)).device_params
    assert {field: held[field] for field in fields} == fields


# ---------------------------------------------------------------------------------------------------------- learning
def test_the_decays_of_a_known_neuron_are_learnt_from_its_spikes():
    """Gradients of the wrong sign would lead away.

    The two integrators may change places in what they compute; the start says which is which.
    """
    torch.manual_seed(0)
    x = (torch.rand(16, 20, 100) < 0.2).float() * torch.rand(16, 20, 1) * 2
    options = {"tau_grad": 0.01, "scale_grad": 10}
    wanted = neuron(1, 0.25, **options)(x)
    assert 0.2 < wanted.mean() < 0.8
    layer = neuron(1, 0.25, current_decay=0.45, voltage_decay=0.04, requires_grad=True, **options)
    optimizer = torch.optim.Adam(param_groups(layer, 0.005))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 120, 0.2)
    for _ in range(200):
        optimizer.zero_grad()
        (layer(x) - wanted).square().mean().backward()
        optimizer.step()
        schedule.step()
    assert layer.cx_current_decay / 4096 == pytest.approx(0.25, rel=0.05)
    assert layer.cx_voltage_decay / 4096 == pytest.approx(0.1, rel=0.05)
