"""The fused ALIF pass as a torch function: spikes equal the integers, gradients float64 autograd of the same model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron.dynamics import adaptive_threshold, alif, leaky_integrator
from lavadl_lite.slayer.spike import Spike
from tests import strategies
from tests.reference import fixed_point, gradients

SCALE = 4096
X = torch.ones(2, 3, 5)
DECAY = torch.tensor([410.0])
DECAYS = [DECAY] * 4
NUMBERS = SCALE, 1.0, 0.5, 100.0, 0.1
NAMES = ("current", "voltage", "threshold", "refractory")


def parameter_shape(kind, shape):
    return {"shared": (1,), "channel": shape[1:2], "neuron": shape[1:-1], "row": shape[:-1]}[kind]


def as_rows(parameter, shape):
    if parameter.shape == shape[1:2]:  # channels stand second, also where other axes are as long
        parameter = parameter.reshape(shape[1:2] + (1,) * (len(shape) - 3))
    spread = torch.broadcast_to if isinstance(parameter, torch.Tensor) else np.broadcast_to
    return spread(parameter, shape[:-1]).reshape(-1)


@settings(max_examples=100)
@given(
    strategies.shapes(), st.sampled_from(["shared", "channel", "neuron", "row"]), strategies.scales(),
    st.booleans(), st.sampled_from(list(strategies.LAYOUTS)), st.data(),
)  # fmt: skip
def test_spikes_and_states_equal_the_integers(shape, kind, scale, graded, layout, data):
    """Any shape, any layout in memory, any input, any decay; with initial states and without."""
    x = data.draw(strategies.inputs(shape, scale))
    decays = [data.draw(strategies.decays(parameter_shape(kind, shape))) for _ in range(4)]
    base, rise = (data.draw(st.integers(-1, 4 * scale)) / scale for _ in range(2))
    states = []
    if data.draw(st.booleans()):
        states = [data.draw(strategies.inputs(shape[:-1], scale)) for _ in range(4)]
    spikes, *final = alif.spikes(
        strategies.laid_out(x, layout), *map(torch.from_numpy, decays), scale, base, rise, 1.0, 1.0, graded,
        *map(torch.from_numpy, states),
    )  # fmt: skip
    rows = x.reshape(int(np.prod(shape[:-1])), shape[-1])
    start = [s.reshape(-1) for s in states] or (0, 0, base, 0)
    current, voltage, threshold, refractory, *left = fixed_point.alif(
        rows, [as_rows(d, shape) for d in decays], start, scale, base, rise
    )
    fired = voltage >= threshold + refractory
    truth = fired * voltage if graded else fired * scale
    np.testing.assert_array_equal(spikes.numpy().astype(np.float64) * scale, truth.reshape(shape))
    assert [tuple(f.shape) for f in final] == [shape[:-1] if states else (0,)] * 4
    if states:
        end = [fixed_point.to_integer(s.reshape(-1), scale) for s in states]
        if shape[-1]:
            end = current[:, -1], voltage[:, -1], *left
        for ours, held in zip(final, end, strict=True):
            np.testing.assert_array_equal(ours.numpy().astype(np.float64) * scale, held.reshape(shape[:-1]))


@settings(max_examples=100)
@given(strategies.shapes(), st.booleans(), st.data())
def test_chunks_equal_the_whole(shape, graded, data):
    x = torch.from_numpy(data.draw(strategies.inputs(shape)))
    decays = [torch.from_numpy(data.draw(strategies.decays((1,)))) for _ in range(4)]
    states = torch.tensor([[0.0], [0.0], [1.5], [0.0]])
    numbers = SCALE, 1.5, 0.25, 1.0, 1.0
    whole, *end = alif.spikes(x, *decays, *numbers, graded, *states)
    parts = []
    for part in x.split(data.draw(strategies.chunks(shape[-1])), -1):
        spikes, *states = alif.spikes(part, *decays, *numbers, graded, *states)
        parts.append(spikes)
    assert torch.equal(torch.cat(parts, -1), whole)
    assert all(torch.equal(a, b) for a, b in zip(states, end, strict=True))


def test_a_missing_state_is_the_first_one():
    one, first = torch.ones(1), dict.fromkeys((f"{name}_state" for name in NAMES), torch.zeros(1))
    first["threshold_state"] = torch.ones(1)
    for name in first:
        given = {name: 3 * one}
        ours, truth = (alif.spikes(X, *DECAYS, *NUMBERS, **s) for s in (given, first | given))
        assert all(torch.equal(a, b) for a, b in zip(ours, truth, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("graded", [False, True])
def test_other_types_are_computed_in_float32_and_come_back(dtype, graded):
    x = (torch.randn(2, 3, 70) + 0.3).to(dtype).requires_grad_()
    decays = [DECAY.to(dtype)] * 4
    spikes, *_ = alif.spikes(x, *decays, *NUMBERS, graded)
    narrow, *_ = alif.spikes(x.detach().float(), *[d.float() for d in decays], *NUMBERS, graded)
    assert spikes.dtype == dtype
    assert torch.equal(spikes, narrow.to(dtype))
    assert 0 < (spikes != 0).sum() < spikes.numel()
    spikes.sum().backward()
    assert x.grad.dtype == dtype


# --------------------------------------------------------------------------------------------------------- gradients
def fused(x, decays, states, threshold, step, tau, rho, graded):
    return alif.spikes(x, *decays, SCALE, threshold, step, tau, rho, graded, *states)[0]


def unfused(x, decays, states, threshold, step, tau, rho, graded):
    """As ``dynamics`` and ``spike`` of the neuron compute it."""
    current = leaky_integrator.dynamics(x, decays[0], states[0], SCALE)
    voltage = leaky_integrator.dynamics(current, decays[1], states[1], SCALE)
    th, r = adaptive_threshold.dynamics(voltage, states[3], decays[3], states[2], decays[2], step, threshold, SCALE)
    return Spike.apply(voltage, th + r, tau, rho, graded, 0, 1)


def relative(ours, truth):
    """Largest difference over the largest gradient."""
    return float((ours.double() - truth).abs().max() / truth.abs().max())


def compare(run, shape, kind, threshold, tau, rho, graded, initial, rng):
    """Relative errors of the gradients by input and the decays of current and voltage."""
    size = parameter_shape(kind, shape)
    inputs = rng.normal(0.25, 1, shape), rng.uniform(100, 2500, size), rng.uniform(100, 2500, size)
    fixed = [torch.tensor(rng.uniform(100, 2500, size), dtype=torch.float32) for _ in range(2)]
    states = [torch.tensor([v]) for v in (0.0, 0.0, threshold, 0.0)]
    if initial:
        states = [torch.tensor(rng.normal(0, 1, shape[:-1]), dtype=torch.float32) for _ in range(4)]
    weight = torch.from_numpy(rng.uniform(0.5, 1.5, shape)).float()
    ours = [torch.tensor(v, dtype=torch.float32, requires_grad=True) for v in inputs]
    truth = [v.detach().double().requires_grad_() for v in ours]
    spikes = run(ours[0], [*ours[1:], *fixed], states, threshold, 0.25, tau, rho, graded)
    (spikes * weight).sum().backward()
    rows = [truth[0].reshape(-1, shape[-1]), *(as_rows(v, shape) for v in truth[1:])]
    held = [s.double().expand(shape[:-1]).reshape(-1) for s in states]
    decays = [*rows[1:], *(as_rows(d.double(), shape) for d in fixed)]
    z, *_ = gradients.alif(rows[0], decays, held, SCALE, threshold, 0.25, tau, rho, graded)
    assert torch.equal(spikes.detach().double(), z.detach().reshape(shape))
    (z.reshape(shape) * weight.double()).sum().backward()
    assert all(a.grad.shape == a.shape for a in ours)
    return [relative(a.grad, b.grad) for a, b in zip(ours, truth, strict=True) if b.grad.any()]


@pytest.mark.parametrize("run", [fused, unfused])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("initial", [False, True])
@settings(max_examples=15)
@given(
    shape=strategies.shapes(smallest=1), kind=st.sampled_from(["shared", "channel", "neuron", "row"]),
    threshold=st.sampled_from([0.5, 1.25, 2.5]), tau=st.sampled_from([0.5, 3.0, 125.0]), rng=strategies.generators(),
)  # fmt: skip
def test_gradients_equal_float64_autograd(run, graded, initial, shape, kind, threshold, tau, rng):
    assert max(compare(run, shape, kind, threshold, tau, 0.1, graded, initial, rng), default=0) < 1e-5


@pytest.mark.parametrize("run", [fused, unfused])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("shape", [(3, 7, 64), (2, 17, 129), (2, 3, 2, 5, 65), (3, 30, 300)])
def test_gradients_equal_float64_autograd_for_layers(run, graded, shape):
    """With the neuron's own surrogate (tau = 100 thresholds) and with narrow ones."""
    for kind, tau in (("shared", 125.0), ("channel", 12.5), ("neuron", 1.25)):
        assert max(compare(run, shape, kind, 1.25, tau, 0.1, graded, False, np.random.default_rng(0))) < 1e-5


@pytest.mark.parametrize("graded", [False, True])
def test_the_surrogate_is_centred_at_threshold_and_refractory_state(graded):
    """One step's whole gradient is rho / (2 tau) exp(-|v - theta - r| / tau), one-sided where spikes are graded."""
    threshold, tau, rho = 1.0, 0.25, 0.3
    voltage = torch.arange(-8, 24).reshape(1, -1, 1) / 8.0
    x = voltage.clone().requires_grad_()
    refractory, none = torch.full((1,), 0.5), torch.zeros(1)
    numbers = SCALE, threshold, 0.5, tau, rho, graded
    spikes, *_ = alif.spikes(x, DECAY, DECAY, none, none, *numbers, refractory_state=refractory)
    spikes.sum().backward()
    above = voltage.double() - 1.5
    truth = rho * torch.exp(above.clamp(max=0) / tau) if graded else rho / (2 * tau) * torch.exp(-above.abs() / tau)
    assert relative(x.grad, truth) < 1e-6


def test_gradients_go_only_where_they_are_wanted():
    for wanted in range(5):
        inputs = [v.clone().requires_grad_(i == wanted) for i, v in enumerate((X, *DECAYS))]
        spikes, *_ = alif.spikes(*inputs, *NUMBERS)
        assert spikes.requires_grad == (wanted < 3)  # threshold and refractory state are constants
        if wanted < 3:
            spikes.sum().backward()
            assert [v.grad is not None for v in inputs] == [i == wanted for i in range(5)]


def test_states_carry_no_gradient():
    x, state = X.clone().requires_grad_(), torch.ones(1, requires_grad=True)
    spikes, *final = alif.spikes(x, *DECAYS, *NUMBERS, False, *[state] * 4)
    assert not any(f.requires_grad for f in final)
    spikes.sum().backward()
    assert state.grad is None


def test_a_second_derivative_is_refused():
    x = X.clone().requires_grad_()
    spikes, *_ = alif.spikes(x, *DECAYS, *NUMBERS, graded_spike=True)
    (g,) = torch.autograd.grad(spikes.pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        g.sum().backward()


def test_it_compiles_in_one_graph():
    torch._dynamo.reset()
    x = torch.randn(2, 3, 70, requires_grad=True)

    def run(x):
        return alif.spikes(x, *DECAYS, *NUMBERS, False, *[torch.zeros(1)] * 4)

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    assert all(torch.equal(a, b) for a, b in zip(compiled(x), run(x), strict=True))
    (ours,), (truth,) = (torch.autograd.grad(f(x)[0].sum(), x) for f in (compiled, run))
    assert torch.equal(ours, truth)
    torch._dynamo.reset()


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0,), (7,)])
def test_nothing_in_nothing_out(shape):
    x, decay = torch.zeros(shape, requires_grad=True), DECAY.clone().requires_grad_()
    spikes, *_ = alif.spikes(x, decay, *DECAYS[1:], *NUMBERS)
    spikes.sum().backward()
    assert spikes.shape == x.grad.shape == shape
    assert decay.grad.tolist() == [0]


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (ParameterError, "floating-point type, got torch.int64", {"input": X.long()}),
        (ParameterError, "expected input to be a tensor, got list", {"input": [1.0]}),
        (ShapeError, "without axes", {"input": torch.tensor(1.0)}),
        *[
            (ShapeError, rf"expected {name}_decay of shape \(1,\) or \(3,\)", {f"{name}_decay": torch.zeros(2)})
            for name in NAMES
        ],
        *[(ShapeError, f"expected {name}_state of shape", {f"{name}_state": torch.zeros(2, 3, 5)}) for name in NAMES],
        (ParameterError, "expected current_decay to be a tensor of real numbers", {"current_decay": 0.5}),
        (ParameterError, "w_scale to be a power of two", {"w_scale": 1000}),
        (ParameterError, "threshold to be a number, got nan", {"threshold": float("nan")}),
        (ParameterError, "threshold_step to be a number, got nan", {"threshold_step": float("nan")}),
        (ParameterError, "tau_rho above 0, got 0", {"tau_rho": 0}),
        (ParameterError, "tau_rho above 0", {"tau_rho": float("nan")}),
    ],
)
def test_bad_input_is_refused(error, words, arguments):
    good = {"input": X, "w_scale": SCALE, "threshold": 1.0, "threshold_step": 0.5, "tau_rho": 1.0, "scale_rho": 1.0}
    with pytest.raises(error, match=words):
        alif.spikes(**(good | dict.fromkeys((f"{name}_decay" for name in NAMES), DECAY) | arguments))
