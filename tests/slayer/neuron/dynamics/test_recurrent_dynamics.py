"""Recurrent layers as torch functions: every family equals its neuron run step by step, gradients float64 autograd."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer import neuron as neurons
from lavadl_lite.slayer.neuron.dynamics import recurrent
from lavadl_lite.slayer.spike.surrogate import KINDS, bell
from tests import strategies
from tests.contracts.families import FAMILIES, WITH_DECAYS, make_neuron
from tests.reference import recurrent_gradients

SIGMA_DELTA = next(n for n in FAMILIES if n not in WITH_DECAYS)


def made(family, **options):
    """A neuron with surrogates so wide and low that no gradient explodes."""
    if family is SIGMA_DELTA:
        return family(0.1, torch.tanh, **options)
    return make_neuron(
        family, **{"tau_grad": 1, "scale_grad": 0.3 if family.type_name != "RF_PHASE" else 0.02} | options
    )


def drawn(neuron, shape, seed=0, requires_grad=True):
    """Input and feedback of a layer, quantised weights among them."""
    rng = np.random.default_rng(seed)
    C, parts = shape[1], 1 + neuron.complex
    x = [torch.from_numpy(rng.normal(0.1, 0.6, shape).astype(np.float32)) for _ in range(parts)]
    # graded spikes must not wake each other more and more: beyond 24 bits their sums depend on the order
    largest = 3 if neuron.graded_spike else 24
    sizes = (rng.integers(-largest, largest + 1, (C, C)) // C**0.5 for _ in range(parts))
    weights = [torch.from_numpy((size / 32).astype(np.float32)) for size in sizes]
    for leaf in (*x, *weights):
        leaf.requires_grad_(requires_grad)
    return x, weights


def run(function, neuron, x, weights, previous=None, late=False):
    inputs = (tuple(x), tuple(weights)) if neuron.complex else (*x, *weights)
    return function(neuron, *inputs, previous, late)


def trained(neuron):
    return [parameter for name, parameter in neuron.named_parameters() if parameter.requires_grad and name != "bias"]


def gradients(function, neuron, x, weights, previous=None, late=False):
    spikes = run(function, neuron, x, weights, previous, late)
    weight = torch.from_numpy(np.random.default_rng(9).normal(1, 0.5, spikes.shape).astype(np.float32))
    return spikes, torch.autograd.grad((spikes * weight).sum(), [*x, *weights, *trained(neuron)])


def states(neuron):
    return [buffer for _, buffer in neuron.named_buffers()]


def relative(ours, truth):
    return float((ours.double() - truth).abs().max() / truth.abs().max().clamp(min=1e-30))


@pytest.mark.parametrize("options", [{}, {"graded_spike": True}, {"persistent_state": True}], ids=str)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda n: n.type_name)
def test_all_steps_at_once_equal_one_by_one(family, options):
    """Spikes and states bit for bit, gradients of everything, twice: what is persistent goes on."""
    if family is SIGMA_DELTA:
        options = {key: value for key, value in options.items() if key != "graded_spike"}
    ours = made(family, requires_grad=True, **options)
    ours.materialize((19,))
    twin = copy.deepcopy(ours)
    x, weights = drawn(ours, (2, 19, 20))
    previous = None
    for _ in range(2):
        found, grads = gradients(recurrent.spikes, ours, x, weights, previous)
        wanted, truth = gradients(recurrent.stepwise, twin, x, weights, previous)
        assert torch.equal(found, wanted)
        assert 0 < (found != 0).float().mean() < 1
        assert all(torch.equal(a, b) for a, b in zip(states(ours), states(twin), strict=True))
        assert max(relative(a, b) for a, b in zip(grads, truth, strict=True)) < 1e-5
        previous = found.detach()[..., -1] if ours.persistent_state else None


@pytest.mark.parametrize("function", [recurrent.spikes, recurrent.stepwise])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda n: n.type_name)
def test_without_feedback_it_is_the_neuron_alone(family, function):
    neuron = made(family, requires_grad=True)
    neuron.materialize((7,))
    x, weights = drawn(neuron, (2, 7, 25))
    weights = [torch.zeros_like(weight) for weight in weights]
    upstream = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 7, 25)).astype(np.float32))
    leaves = [*x, *trained(neuron)]
    wanted = neuron(tuple(x) if neuron.complex else x[0])
    truth = torch.autograd.grad(wanted, leaves, upstream)
    found = run(function, neuron, x, weights)
    assert torch.equal(found, wanted)
    grads = torch.autograd.grad(found, leaves, upstream)
    assert max(relative(a, b) for a, b in zip(grads, truth, strict=True)) < 1e-5


@pytest.mark.parametrize("function", [recurrent.spikes, recurrent.stepwise])
@pytest.mark.parametrize("family", [WITH_DECAYS[0], WITH_DECAYS[2]], ids=lambda n: n.type_name)
def test_late_spikes_and_their_gradients_are_those_of_a_step_before(family, function):
    neuron = made(family, requires_grad=True)
    neuron.materialize((7,))
    x, weights = drawn(neuron, (2, 7, 25))
    previous = torch.rand(2, 7).round()
    upstream = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 7, 25)).astype(np.float32))
    leaves = [*x, *weights, *trained(neuron)]
    sent = run(function, neuron, x, weights, previous)
    found = run(function, neuron, x, weights, previous, late=True)
    wanted = torch.cat([previous[..., None], sent[..., :-1]], -1)
    assert sent.any()
    assert torch.equal(found, wanted)
    grads, truth = (torch.autograd.grad(s, leaves, upstream) for s in (found, wanted))
    assert all(torch.equal(a, b) for a, b in zip(grads, truth, strict=True))


def test_a_dropout_acts_on_what_comes_back():
    """In training each step draws anew, and what is silenced wakes nobody; otherwise nothing changes."""
    neuron, plain = (
        made(WITH_DECAYS[0], per_channel=False, dropout=neurons.Dropout(1.0)),
        made(WITH_DECAYS[0], per_channel=False),
    )
    x, weights = drawn(neuron, (2, 6, 30), requires_grad=False)
    assert not run(recurrent.spikes, neuron, x, weights).any()
    wanted = run(recurrent.spikes, plain, x, weights)
    assert wanted.any()
    assert torch.equal(run(recurrent.spikes, neuron.eval(), x, weights), wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", WITH_DECAYS, ids=lambda n: n.type_name)
def test_every_surrogate(family, kind):
    """By name in the kernel, as a function step by step."""
    shapes = kind, lambda d: bell(d, kind)
    named, called = (made(family, per_channel=False, surrogate=s, requires_grad=True) for s in shapes)
    x, weights = drawn(named, (2, 7, 15))
    (found, grads), (wanted, truth) = (gradients(recurrent.spikes, n, x, weights) for n in (named, called))
    assert torch.equal(found, wanted)
    assert max(relative(a, b) for a, b in zip(grads, truth, strict=True)) < 1e-5


# --------------------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("family", WITH_DECAYS, ids=lambda n: n.type_name)
def test_gradients_equal_float64_autograd(family, graded, per_channel):
    """Of the input, the feedback and the decays, from states and spikes before the first step on."""
    neuron = made(family, graded_spike=graded, per_channel=per_channel, requires_grad=True, persistent_state=True)
    neuron.materialize((20,))
    for decay in neuron.decays:  # whole ones: rounding is another test's
        getattr(neuron, decay.name).data.round_()
    x, weights = drawn(neuron, (3, 20, 66), seed=4)
    rng = np.random.default_rng(5)
    previous = torch.from_numpy(rng.integers(0, 2, (3, 20)).astype(np.float32))
    for state in neuron.states:
        setattr(neuron, state.name, torch.from_numpy(rng.integers(0, 3000, (3, 20)).astype(np.float32) / 4096))
    begun = torch.stack(states(neuron)).double()
    found, grads = gradients(recurrent.spikes, neuron, x, weights, previous)

    cuba = family.type_name == "CUBA"
    level = round(neuron.threshold * 4096)
    rise = round(getattr(neuron, "threshold_step", 0) * 4096)
    leaves = [leaf.detach().double().requires_grad_() for leaf in (*x, *weights, *trained(neuron))]
    parts = len(x)
    slow = [getattr(neuron, d.name).detach().double() for d in neuron.decays[2:]]
    decays = torch.stack([d.expand(20) for d in (*leaves[2 * parts :], *slow)])
    wanted = recurrent_gradients.spikes(
        torch.stack(leaves[:parts]), torch.stack(leaves[parts : 2 * parts]), decays, begun, previous, 4096,
        level + cuba, rise, (neuron.complex, neuron.complex and neuron.phase, len(neuron.states) > 2), neuron._tau,
        neuron._rho, graded, 0.99 / 4096 if cuba else 0.0,
    )  # fmt: skip
    assert torch.equal(found.double(), wanted)
    weight = torch.from_numpy(np.random.default_rng(9).normal(1, 0.5, found.shape).astype(np.float32)).double()
    truth = torch.autograd.grad((wanted * weight).sum(), leaves)
    errors = [relative(a, b) for a, b in zip(grads, truth, strict=True)]
    assert max(errors) < 1e-5, errors
    assert all(t.any() for t in truth)


def test_the_gradient_goes_through_the_feedback():
    """A spike whose only effect is another one, by the weight between them: the chain of both surrogates."""
    neuron = neurons.cuba.Neuron(1.0, 1.0, 1.0, tau_grad=0.01)
    x = torch.zeros(1, 2, 2)
    x[0, 0, 0] = 1.5
    x.requires_grad_()
    weight = torch.tensor([[0.0, 0], [1.25, 0]], requires_grad=True)
    spikes = recurrent.spikes(neuron, x, weight)
    assert spikes.tolist() == [[[1, 0], [0, 1]]]
    spikes[0, 1, 1].backward()
    first, second = (0.1 / 2 * np.exp(-(v - 1 - 0.01 / 4096)) for v in (1.5, 1.25))
    assert float(x.grad[0, 0, 0]) == pytest.approx(first * second * 1.25, rel=1e-6)
    assert float(x.grad[0, 1, 1]) == pytest.approx(second, rel=1e-6)
    assert float(weight.grad[1, 0]) == pytest.approx(second, rel=1e-6)


def test_gradients_go_only_where_they_are_wanted():
    neuron = neurons.cuba.Neuron(1.0, 0.25, 0.1, persistent_state=True)
    x, (weight,) = drawn(neuron, (2, 5, 20), requires_grad=False)
    spikes = recurrent.spikes(neuron, *x, weight, torch.ones(2, 5, requires_grad=True))
    assert not spikes.requires_grad
    recurrent.spikes(neuron, *x, weight.requires_grad_()).sum().backward()
    assert weight.grad.any()
    assert not any(state.requires_grad for state in states(neuron))


# ------------------------------------------------------------------------------------------------------------ states
@pytest.mark.parametrize("function", [recurrent.spikes, recurrent.stepwise])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda n: n.type_name)
@settings(max_examples=4)
@given(data=st.data())
def test_chunks_equal_the_whole(family, function, data):
    whole = made(family, persistent_state=True)
    whole.materialize((6,))
    parts = copy.deepcopy(whole)
    x, weights = drawn(whole, (2, 6, 21), requires_grad=False)
    wanted = run(recurrent.spikes, whole, x, weights)
    previous, found, at = None, [], 0
    for length in data.draw(strategies.chunks(21)):
        found.append(run(function, parts, [part[..., at : at + length] for part in x], weights, previous))
        previous = found[-1][..., -1] if length else previous
        at += length
    assert torch.equal(torch.cat(found, -1), wanted)
    assert all(torch.equal(a, b) for a, b in zip(states(parts), states(whole), strict=True))


@pytest.mark.parametrize("function", [recurrent.spikes, recurrent.stepwise])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda n: n.type_name)
def test_nothing_is_left_of_a_call_without_persistent_state(family, function):
    neuron = made(family)
    x, weights = drawn(neuron, (2, 6, 30), requires_grad=False)
    first = run(function, neuron, x, weights)
    held = [state.clone() for state in states(neuron)]
    assert torch.equal(run(function, neuron, x, weights), first)
    assert all(torch.equal(a, b) for a, b in zip(states(neuron), held, strict=True))
    assert not neuron.persistent_state


def test_what_no_kernel_knows_runs_step_by_step(monkeypatch):
    """Neurons with a normalisation or a dropout, and sigma-delta; with a state, none of them truncates the gradient."""
    monkeypatch.setattr(recurrent, "_recurrent", None)
    for neuron in (
        made(SIGMA_DELTA),
        made(WITH_DECAYS[0], norm=neurons.norm.MeanOnlyBatchNorm),
        made(WITH_DECAYS[1], norm=neurons.norm.MeanOnlyBatchNorm),
        made(WITH_DECAYS[3], norm=neurons.norm.MeanOnlyBatchNorm),
        made(WITH_DECAYS[0], dropout=neurons.Dropout(0.0)),
    ):
        x, weights = drawn(neuron, (2, 6, 12))
        run(recurrent.spikes, neuron, x, weights)[..., -1].sum().backward()
        assert all(part.grad[..., 0].any() for part in x)


def test_a_sigma_delta_layer_is_linear_where_its_activation_is():
    """By hand in float64: sums, and differences of sums, whatever was sent."""
    neuron = SIGMA_DELTA(0.25, lambda v: v)
    x, (weight,) = drawn(neuron, (2, 5, 9))
    x = x[0]
    found = recurrent.spikes(neuron, x, weight)
    upstream = torch.randn_like(found)
    grads = torch.autograd.grad(found, (x, weight), upstream)
    leaves = [leaf.detach().double().requires_grad_() for leaf in (x, weight)]
    total, last, message, sent = 0, 0, torch.zeros(2, 5).double(), []
    for t in range(9):
        total = total + leaves[0][..., t] + message @ leaves[1].T
        difference, last = total - last, total
        message = found[..., t].detach().double() + (difference - difference.detach())
        sent.append(message)
    truth = torch.autograd.grad(torch.stack(sent, -1), leaves, upstream.double())
    assert max(relative(a, b) for a, b in zip(grads, truth, strict=True)) < 1e-5


# ------------------------------------------------------------------------------------------------- types and mistakes
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("function", [recurrent.spikes, recurrent.stepwise])
def test_other_types_are_computed_in_float32_and_come_back(function, dtype):
    neuron = neurons.cuba.Neuron(1.0, 0.25, 0.1)
    (x,), (weight,) = drawn(neuron, (2, 5, 20), requires_grad=False)
    x = x.to(dtype).requires_grad_()
    spikes = function(neuron, x, weight.to(dtype))
    assert spikes.dtype == dtype
    assert torch.equal(spikes, function(neuron, x.detach().float(), weight.to(dtype).float()).to(dtype))
    spikes.sum().backward()
    assert x.grad.dtype == dtype
    assert x.grad.any()


def test_mixed_precision_leaves_the_sums_alone():
    neuron = neurons.cuba.Neuron(1.0, 0.25, 0.1)
    (x,), (weight,) = drawn(neuron, (2, 15, 20), requires_grad=False)
    weight = weight + 2.0**-12  # one that bfloat16 does not have
    with torch.autocast("cpu"):
        found = [function(neuron, x, weight) for function in (recurrent.spikes, recurrent.stepwise)]
    wanted = recurrent.spikes(neuron, x, weight)
    assert all(torch.equal(spikes, wanted) for spikes in found)


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_any_layout_in_memory(layout):
    neuron = neurons.cuba.Neuron(1.0, 0.25, 0.1)
    (x,), (weight,) = drawn(neuron, (2, 6, 20), requires_grad=False)
    found = recurrent.spikes(
        neuron, strategies.laid_out(x.numpy(), layout), strategies.laid_out(weight.numpy(), layout)
    )
    assert torch.equal(found, recurrent.spikes(neuron, x, weight))


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 3, 0), (2, 1, 1)])
@pytest.mark.parametrize("function", [recurrent.spikes, recurrent.stepwise])
def test_small_and_empty_sizes(function, shape):
    neuron = neurons.rf_iz.Neuron(1.0, 8, 0.1)
    x, weights = drawn(neuron, shape)
    spikes = run(function, neuron, x, weights)
    spikes.sum().backward()
    assert spikes.shape == shape
    assert all(part.grad.shape == shape for part in x)


X, W = torch.ones(2, 3, 5), torch.ones(3, 3)


@pytest.mark.parametrize(
    ("error", "words", "family", "arguments"),
    [
        (ParameterError, "floating-point type, got torch.int64", "cuba", (X.long(), W)),
        (ParameterError, "expected feedback to be of a floating-point type", "cuba", (X, W.long())),
        (ParameterError, "input of CUBA neurons to be one tensor, got tuple", "cuba", ((X, X), W)),
        (ParameterError, "feedback of RF_PHASE neurons to be a pair", "rf", ((X, X), W)),
        (ParameterError, "input of RF_PHASE neurons to be a pair", "rf", ((X, X, X), (W, W))),
        (ShapeError, r"expected input \(N, C, T\), got \(2, 3, 5, 1\)", "cuba", (X[..., None], W)),
        (ShapeError, r"expected input \(N, C, T\), got \(2, 3, 5\) and \(2, 3, 4\)", "rf", ((X, X[..., 1:]), (W, W))),
        (ShapeError, r"expected feedback \(3, 3\), got \(3, 2\)", "cuba", (X, W[:, 1:])),
        (ShapeError, r"expected previous \(2, 3\), got \(2, 3, 5\)", "cuba", (X, W, X)),
    ],
)
@pytest.mark.parametrize("function", [recurrent.spikes, recurrent.stepwise])
def test_bad_input_is_refused(function, error, words, family, arguments):
    neuron = {"cuba": lambda: neurons.cuba.Neuron(1, 0.5, 0.5), "rf": lambda: neurons.rf.Neuron(1, 8, 0.1)}[family]()
    with pytest.raises(error, match=words):
        function(neuron, *arguments)


@pytest.mark.parametrize("family", WITH_DECAYS, ids=lambda n: n.type_name)
def test_mixed_precision_around_the_backward_alone_changes_nothing(family):
    neuron = made(family)
    x, weights = drawn(neuron, (2, 15, 20))
    spikes = run(recurrent.spikes, neuron, x, weights)
    upstream, leaves = torch.randn_like(spikes), [*x, *weights]
    plain = torch.autograd.grad(spikes, leaves, upstream, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = torch.autograd.grad(spikes, leaves, upstream)
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


def test_threads_that_run_one_neuron_step_by_step_do_not_meet():
    neuron = made(SIGMA_DELTA)
    x, weights = drawn(neuron, (2, 6, 30), requires_grad=False)
    wanted = run(recurrent.stepwise, neuron, x, weights)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: run(recurrent.stepwise, neuron, x, weights), range(12)))
    assert all(torch.equal(spikes, wanted) for spikes in found)
    assert not neuron.persistent_state


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_states_of_other_types_are_taken_up(dtype):
    neuron = neurons.cuba.Neuron(1.0, 0.25, 0.125, persistent_state=True)
    x = torch.randint(0, 5, (2, 6, 20), generator=torch.Generator().manual_seed(0)) / 8
    weight = torch.eye(6).roll(1, 0) / 4
    last = recurrent.spikes(neuron, x, weight)[..., -1]
    neuron.to(dtype)
    twin = copy.deepcopy(neuron).float()  # states as that type has them
    found = recurrent.spikes(neuron, x.to(dtype), weight.to(dtype), last)
    wanted = recurrent.spikes(twin, x, weight, last)
    assert found.dtype == dtype
    assert wanted.any()
    assert torch.equal(found.float(), wanted)
