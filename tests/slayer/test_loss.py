import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.loss import SparsityEnforcer, SpikeMax, SpikeMoid, SpikeRate, SpikeTime

N, C, T, W = 4, 6, 40, 10
REDUCTIONS = {"sum": np.sum, "mean": np.mean, "none": np.ravel}


def spikes(*shape, rate=0.3, seed=0):
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.float32)


def labels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, C, shape)


def rates(x, window):
    """Rates (N, C) or, with a window, (N, C, T), in float64."""
    x = x.reshape(len(x), -1, x.shape[-1]).astype(np.float64)
    if window is None:
        return x.mean(-1)
    total = np.concatenate([np.zeros((*x.shape[:-1], window)), x], axis=-1).cumsum(-1)
    return (total[..., window:] - total[..., :-window]) / window


def one_hot(label):
    """Axis of classes second."""
    return np.moveaxis(np.eye(C)[label], -1, 1)


def per_step(label):
    return label if label.ndim == 2 else np.repeat(label[:, None], T, 1)


windows = pytest.mark.parametrize("window", [None, W])
reductions = pytest.mark.parametrize("reduction", REDUCTIONS)


def value(loss, x, target):
    return loss(torch.from_numpy(x), torch.from_numpy(target)).numpy()


# SpikeTime


@reductions
@pytest.mark.parametrize("order", [1, 2, 3])
def test_spike_time_is_the_distance_of_filtered_trains(order, reduction):
    x, desired = spikes(N, 2, 3, T), spikes(N, 2, 3, T, seed=1)
    response = once = np.exp(-np.arange(20) / 3)
    for _ in range(order - 1):
        response = np.convolve(response, once)[:20]
    filtered = [np.array([np.convolve(row, response)[:T] for row in z.reshape(-1, T)]) for z in (x, desired)]
    expected = REDUCTIONS[reduction]((filtered[0] - filtered[1]) ** 2)
    loss = SpikeTime(3, 20, order, reduction)
    np.testing.assert_allclose(value(loss, x, desired), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss.filter.filter.flatten(), response, rtol=1e-5)


def test_spike_time_compares_across_axes_of_length_one():
    x, desired = torch.randn(2, 3, 1, 1, 9), torch.randn(2, 3, 9)
    assert torch.equal(SpikeTime()(x, desired), SpikeTime()(x.flatten(1, 3), desired))


def test_spike_time_filter_can_be_called_on_one_train():
    assert SpikeTime(filter_order=2).filter(torch.zeros(30)).shape == (1, 30)


# SpikeRate


@windows
@reductions
def test_spike_rate_is_the_distance_from_target_rates(window, reduction):
    x, label = spikes(N, 2, 3, T), labels(N) if window is None else labels(N, T)
    target = np.where(one_hot(label) == 1, 0.7, 0.1)
    expected = REDUCTIONS[reduction]((rates(x, window) - target) ** 2)
    np.testing.assert_allclose(
        value(SpikeRate(0.7, 0.1, window, reduction), x, label), expected, rtol=1e-5, atol=1e-7
    )  # fmt: skip


def test_windowed_spike_rate_accepts_one_label_per_sample():
    x, label = spikes(N, C, T), labels(N)
    for dtype in (np.int64, np.int32, np.uint8):
        one = value(SpikeRate(0.2, 0.03, W), x, label.astype(dtype))
        assert one == value(SpikeRate(0.2, 0.03, W), x, per_step(label))
        assert one == value(SpikeRate(0.2, 0.03, W), x, label[:, None])


@pytest.mark.parametrize("rates", [(1.1, 0), (-0.1, 0), (0.5, 2), (0.5, math.nan)])
def test_rates_outside_of_0_to_1_raise(rates):
    with pytest.raises(AssertionError, match="rate from 0 to 1"):
        SpikeRate(*rates)


# SpikeMax


@windows
@reductions
@pytest.mark.parametrize("mode", ["probability", "softmax", "logsoftmax"])
def test_spike_max_is_the_negative_log_likelihood(window, reduction, mode):
    x, label = spikes(N, 2, 3, T, rate=0.5), labels(N) if window is None else labels(N, T)
    x[..., 0] = 1  # none is silent
    x[..., ::W] = 1
    r = rates(x, window)
    p = r / (r.sum(1, keepdims=True) + 1e-6) if mode == "probability" else np.exp(r) / np.exp(r).sum(1, keepdims=True)
    expected = REDUCTIONS[reduction](-np.log(np.take_along_axis(p, np.expand_dims(label, 1), 1)))
    np.testing.assert_allclose(value(SpikeMax(window, mode, reduction), x, label), expected, rtol=1e-5)


@given(seed=st.integers(0, 999), rate=st.sampled_from([0.0, 0.02, 0.2]), window=st.sampled_from([None, 1, W, 2 * T]))
def test_spike_max_is_finite_with_silent_neurons(seed, rate, window):
    x = torch.from_numpy(spikes(N, C, T, rate=rate, seed=seed)).requires_grad_()
    label = labels(N, seed=seed)
    loss = SpikeMax(window, reduction="none")(x, torch.from_numpy(label))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert x.grad.isfinite().all()
    r = rates(x.detach().numpy(), window)
    own = np.take_along_axis(r, np.expand_dims(label if window is None else per_step(label), 1), 1).ravel()
    probability = (own / (r.sum(1).ravel() + 1e-6))[own > 0]
    np.testing.assert_allclose(loss.detach()[own > 0], -np.log(probability), rtol=1e-4, atol=1e-6)


@windows
def test_silence_costs_more_than_one_spike_and_wakes_the_label_neuron(window):
    x = torch.zeros(1, C, T)
    x[0, 1, -3:] = 1
    one = x.clone()
    one[0, 0, -1] = 1
    x.requires_grad_()
    last = slice(None) if window is None else slice(-1, None)
    label = torch.zeros(1, dtype=torch.int64)
    silent = SpikeMax(window, reduction="none")(x, label)[last]
    assert silent.item() > SpikeMax(window, reduction="none")(one, label)[last].item()
    # every neuron had one spike more: -log((0 + 1) / (3 + C)), and its derivative by a spike of each neuron
    assert silent.item() == pytest.approx(math.log(3 + C), rel=1e-6)
    silent.sum().backward()
    expected = [1 / (3 + C) - 1] + [1 / (3 + C)] * (C - 1)
    assert x.grad[0, :, -1].tolist() == pytest.approx(expected, rel=1e-5)
    assert x.grad.abs().max() <= 1


def test_spike_max_with_one_label_per_sample_or_per_step():
    x, label = spikes(N, C, T), labels(N)
    for mode in ("probability", "softmax"):
        assert value(SpikeMax(W, mode), x, label) == value(SpikeMax(W, mode), x, per_step(label))


def test_unknown_modes_raise():
    with pytest.raises(ParameterError, match="'entropy'"):
        SpikeMax(mode="entropy")


# SpikeMoid


@windows
@reductions
@pytest.mark.parametrize(("alpha", "theta"), [(1, 0), (0.2, 0.3)])
def test_spike_moid_is_the_binary_cross_entropy(window, reduction, alpha, theta):
    x, label = spikes(N, 2, 3, T), spikes(N, C, seed=2) if window is None else spikes(N, C, T, seed=2)
    p = 1 / (1 + np.exp(-(rates(x, window) - theta) / alpha))
    expected = REDUCTIONS[reduction](-(label * np.log(p) + (1 - label) * np.log(1 - p)))
    np.testing.assert_allclose(
        value(SpikeMoid(window, reduction, alpha, theta), x, label), expected, rtol=1e-5, atol=1e-7
    )


def test_windowed_spike_moid_accepts_one_label_per_sample():
    x, label = spikes(N, C, T), spikes(N, C, seed=2)
    assert value(SpikeMoid(W), x, label) == value(SpikeMoid(W), x, np.repeat(label[..., None], T, -1))


@windows
def test_spike_moid_accepts_integer_labels(window):
    x, label = spikes(N, C, T), spikes(N, C, seed=2)
    for dtype in (np.int64, np.uint8, bool, np.float64):
        assert value(SpikeMoid(window), x, label.astype(dtype)) == value(SpikeMoid(window), x, label)


def test_spike_moid_stays_accurate_far_from_the_threshold():
    x = torch.ones(1, 1, T, requires_grad=True)
    loss = SpikeMoid(alpha=0.02)(x, torch.zeros(1, 1))
    loss.backward()
    assert loss.item() == pytest.approx(50)
    assert x.grad.sum().item() == pytest.approx(50)


# SparsityEnforcer


def test_sparsity_is_penalised_above_the_limit():
    enforcer = SparsityEnforcer(max_rate=0.1, lam=2.0)
    assert enforcer.loss == 0.0
    layers = [torch.full((2, 3, 4), amplitude, requires_grad=True) for amplitude in (0.05, 0.3, -0.5)]
    for layer in layers:
        enforcer.append(layer)
    assert enforcer.loss.item() == pytest.approx(2 * (0.2**2 + 0.4**2))
    enforcer.loss.backward()
    assert not layers[0].grad.any()
    torch.testing.assert_close(layers[2].grad, torch.full((2, 3, 4), -2 * 2 * 0.4 / 24))
    enforcer.clear()
    assert (enforcer.loss_list, enforcer.loss) == ([], 0.0)


# all


LOSSES = [
    pytest.param(loss, label, id=f"{type(loss).__name__}-{i}")
    for i, (loss, label) in enumerate(
        [
            (SpikeTime(3, 20, 2), spikes(N, C, T, seed=1)),
            (SpikeRate(0.2, 0.03), labels(N)),
            (SpikeRate(0.2, 0.03, W), labels(N)),
            (SpikeMax(), labels(N)),
            (SpikeMax(W), labels(N, T)),
            (SpikeMax(mode="softmax"), labels(N)),
            (SpikeMax(W, "softmax"), labels(N)),
            (SpikeMoid(), spikes(N, C)),
            (SpikeMoid(W, alpha=0.5, theta=0.2), spikes(N, C, T)),
        ]
    )
]
every_loss = pytest.mark.parametrize(("loss", "label"), LOSSES)


@every_loss
def test_gradient_is_true(loss, label):
    x = (0.1 + torch.rand(N, C, T, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.from_numpy(label)), x, fast_mode=True)


@every_loss
def test_axes_between_are_flattened(loss, label):
    x = torch.from_numpy(spikes(N, C, T))
    target = torch.from_numpy(label)
    folded = target.reshape(N, 2, 3, T) if isinstance(loss, SpikeTime) else target
    assert torch.equal(loss(x.reshape(N, 2, 3, T), folded), loss(x, target))


@every_loss
def test_losses_survive_copy_and_pickle(loss, label):
    x, target = torch.from_numpy(spikes(N, C, T)), torch.from_numpy(label)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(other(x, target), loss(x, target))


@every_loss
def test_integer_spikes_are_numbers(loss, label):
    x, target = torch.from_numpy(spikes(N, C, T)), torch.from_numpy(label)
    assert torch.equal(loss(x.to(torch.int64), target), loss(x, target))
    assert torch.equal(loss(x.bool(), target), loss(x, target))


@every_loss
def test_wrong_shapes_raise(loss, label):
    target = torch.from_numpy(label)
    with pytest.raises(ShapeError, match="expected"):
        loss(torch.zeros(N + 1, C, T), target)
    with pytest.raises(ShapeError, match="expected"):
        loss(torch.zeros(T), target)


@pytest.mark.parametrize("loss", [SpikeRate(1, 0), SpikeRate(1, 0, W), SpikeMax(), SpikeMax(W, "softmax")])
def test_wrong_labels_raise(loss):
    x = torch.zeros(N, C, T)
    for label in ([0, 1, 2, C], [0, 1, -1, 2]):
        with pytest.raises(ParameterError, match=r"labels in 0..5"):
            loss(x, torch.tensor(label))
    for label in (torch.zeros(N), torch.zeros(N, dtype=torch.bool)):
        with pytest.raises(ParameterError, match="integer labels"):
            loss(x, label)
    with pytest.raises(ShapeError, match="expected labels"):
        loss(x, torch.zeros(N, T + 1, dtype=torch.int64))


@pytest.mark.parametrize(
    "make", [SpikeTime, lambda reduction: SpikeRate(1, 0, reduction=reduction), SpikeMax, SpikeMoid]
)
def test_unknown_reductions_raise(make):
    with pytest.raises(ParameterError, match="'max'"):
        make(reduction="max")


def test_other_impossible_arguments_raise():
    for make in (lambda: SpikeTime(filter_order=0), lambda: SpikeMoid(alpha=0), lambda: SpikeMax(0)):
        with pytest.raises(ParameterError, match="expected"):
            make()


@pytest.mark.parametrize("loss", [SpikeRate(1, 0), SpikeRate(1, 0, W), SpikeMax(), SpikeMax(W), SpikeMax(W, "softmax")])
def test_empty_batch_costs_nothing(loss):
    assert loss(torch.zeros(0, C, T), torch.zeros(0, dtype=torch.int64)).item() == 0


@every_loss
def test_compiled_equals_eager(loss, label):
    x, target = torch.from_numpy(spikes(N, C, T)).requires_grad_(), torch.from_numpy(label)
    torch.compiler.reset()
    results = [run(x, target) for run in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True))]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(result, x)[0] for result in results))


@pytest.mark.gpu
@every_loss
def test_gpu_equals_cpu(loss, label):
    x = torch.from_numpy(spikes(N, C, T)).requires_grad_()
    z = x.detach().cuda().requires_grad_()
    results = loss(x, torch.from_numpy(label)), copy.deepcopy(loss).cuda()(z, torch.from_numpy(label).cuda()).cpu()
    torch.testing.assert_close(*results)
    torch.testing.assert_close(torch.autograd.grad(results[1], z)[0].cpu(), torch.autograd.grad(results[0], x)[0])


def test_spikes_and_labels_in_another_order_are_refused():
    x = torch.rand(2, 3, 20).round()
    with pytest.raises(ShapeError, match=r"expected desired spikes of shape \(2, 3, 20\), got \(3, 2, 20\)"):
        SpikeTime()(x, x.transpose(0, 1))
    with pytest.raises(ShapeError, match="expected labels"):
        SpikeMoid()(x, torch.ones(3, 2))
    with pytest.raises(ShapeError, match="expected labels"):
        SpikeMoid(W)(x, torch.ones(3, 2, 20))
    plane = torch.rand(2, 3, 1, 4, 20).round()
    assert torch.equal(SpikeTime()(plane, plane[:, :, 0]), SpikeTime()(plane, plane))
    labels = torch.rand(2, 3, 1, 4).round()
    for loss in (SpikeMoid(), SpikeMoid(W)):
        assert torch.equal(loss(plane, labels), loss(plane, labels.flatten(1)))
