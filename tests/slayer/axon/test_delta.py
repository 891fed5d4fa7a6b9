"""The delta encoder as a module: messages, thresholds shared and per channel, state, loading."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.axon import Delta
from lavadl_lite.slayer.dendrite import Sigma
from tests import strategies
from tests.reference import sigma_delta

GOLDEN = torch.tensor([[[0.1, 0.3, 0.32, 0.7, -0.1]]])


def per_channel(threshold, shape):
    """One value for each row."""
    return np.broadcast_to(threshold.reshape(-1, *[1] * (len(shape) - 3)), shape[:-1]).reshape(-1)


@settings(max_examples=100)
@given(strategies.shapes(), strategies.scales(), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_messages_equal_the_reference(shape, scale, cumulative, carry, shared, data):
    """D11: with the cumulative error and with a threshold for each channel too."""
    x = data.draw(strategies.inputs(shape, scale))
    channels = 1 if shared else max(shape[1], 1)
    threshold = data.draw(strategies.generators()).uniform(0, 2, channels).astype(np.float32)
    if shape[1] == 0:
        threshold = threshold[:1]
    layer = Delta(threshold, scale, cum_error=cumulative, carry_rounding=carry, shared_param=shared)
    y = layer(torch.from_numpy(x))
    held = np.maximum(threshold, np.float32(1 / scale))
    rows = x.reshape(int(np.prod(shape[:-1])), shape[-1])
    levels = per_channel(np.resize(held, shape[1]) if not shared else held, shape)
    truth, *_ = sigma_delta.delta(rows, levels, np.zeros((3, len(rows)), np.float32), scale, cumulative, carry)
    np.testing.assert_array_equal(y.detach().numpy(), truth.reshape(shape))


@settings(max_examples=100)
@given(strategies.shapes(), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_chunks_equal_the_whole(shape, cumulative, carry, shared, data):
    x = torch.from_numpy(data.draw(strategies.inputs(shape)))
    options = {"cum_error": cumulative, "carry_rounding": carry, "shared_param": shared}
    whole = Delta(0.7, **options)(x)
    layer = Delta(0.7, persistent_state=True, **options)
    parts = [layer(part) for part in x.split(data.draw(strategies.chunks(shape[-1])), -1)]
    assert torch.equal(torch.cat(parts, -1), whole)


def test_golden_vector():
    assert Delta(0.25, scale=64)(GOLDEN).tolist() == [[[0, 0.296875, 0, 0.390625, -0.8125]]]


@pytest.mark.parametrize("spatial", [(1,), (5,), (5, 3), (5, 1), (5, 2, 3), (5, 5, 5)])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("cumulative", [False, True])
def test_gradients_equal_float64_autograd(spatial, shared, cumulative):
    """D11: lava-dl has none for thresholds of each channel, and none with the cumulative error."""
    rng = np.random.default_rng(0)
    shape = (3, *spatial, 130)
    x, weight = (torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for _ in range(2))
    x.requires_grad_()
    options = {"tau_grad": 0.7, "scale_grad": 1.5, "cum_error": cumulative, "requires_grad": True}
    layer = Delta(0.8, shared_param=shared, **options)
    layer.materialize(spatial)
    layer.threshold.data += torch.linspace(0, 0.5, len(layer.threshold))
    (layer(x) * weight).sum().backward()
    assert layer.threshold.grad.shape == ((1,) if shared else (spatial[0],))

    leaves = [v.detach().double().requires_grad_() for v in (x, layer.threshold)]
    levels = leaves[1].reshape(-1, *[1] * (len(spatial) - 1)).expand(shape[:-1]).reshape(-1)
    zeros = np.zeros((3, len(levels)), np.float32)
    held = levels.detach().float().numpy()
    message, difference, _ = sigma_delta.delta(x.detach().flatten(0, -2).numpy(), held, zeros, 64, cumulative)
    model = sigma_delta.delta_model(
        leaves[0].flatten(0, -2), levels[:, None], torch.zeros(len(levels)).double(),
        torch.from_numpy(message).double(), torch.from_numpy(difference).double(), 0.7, 1.5,
    )  # fmt: skip
    (model.reshape(shape) * weight.double()).sum().backward()
    for ours, truth in zip((x, layer.threshold), leaves, strict=True):
        assert float((ours.grad - truth.grad).abs().max() / truth.grad.abs().max()) < 1e-5


def test_per_channel_thresholds_go_along_channels():
    """Also where the last spatial axis is as long as that of the channels."""
    x = torch.randn(2, 3, 3, 3, 40)
    levels = [0.1, 0.5, 0.9]
    y = Delta(np.array(levels))(x)
    for c, level in enumerate(levels):
        assert torch.equal(Delta(level)(x[:, c : c + 1]), y[:, c : c + 1])


def test_a_drift_appears_unless_remainders_are_carried():
    """D8: what Sigma makes of the messages falls behind the input by half a unit for each of them."""
    x = torch.rand(1, 3, 4000, generator=torch.Generator().manual_seed(0))
    behind = {c: (x - Sigma()(Delta(0.25, carry_rounding=c)(x)))[..., -500:].mean().item() for c in (False, True)}
    assert behind[False] > 1000 / 64 / 2
    assert abs(behind[True]) < 0.25


def test_the_threshold_is_held_at_one_unit():
    layer = Delta(0.0, scale=16)
    layer(GOLDEN)
    assert layer.threshold.item() == 1 / 16


def test_training_moves_the_threshold():
    """Messages that should be sparser ask for a higher threshold."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 50).cumsum(-1) / 10
    layer = Delta(0.1, shared_param=False, requires_grad=True)
    layer.materialize((3,))
    optimizer = torch.optim.SGD(layer.parameters(), 1e-3)
    before = torch.count_nonzero(layer(x))
    for _ in range(20):
        optimizer.zero_grad()
        layer(x).abs().sum().backward()
        optimizer.step()
    assert (layer.threshold > 0.1).all()
    assert torch.count_nonzero(layer(x)) < before


# ------------------------------------------------------------------------------------------------------------- state
def test_state_persists_resets_and_is_cut_from_the_graph():
    layer = Delta(0.25, persistent_state=True, cum_error=True)
    first, second = torch.rand(2, 2, 3, 10).requires_grad_()
    y = layer(first)
    (g,) = torch.autograd.grad(layer(second).sum(), first, allow_unused=True)
    assert g is None
    assert torch.equal(layer.pre_state, second[..., -1])
    layer.reset_state()
    assert torch.equal(layer(first), y)
    layer.pre_state *= 0  # as lava-dl's users write it
    layer.residual_state *= 0
    layer.error_state *= 0
    assert torch.equal(layer(first), y)
    assert torch.equal(layer(first[:1]), y[:1])  # another batch size begins anew
    assert layer.residual_state.shape == (1, 3)


def test_without_persistent_state_nothing_is_kept():
    """D11: lava-dl adds to the error state in place."""
    layer, x = Delta(0.25, cum_error=True), torch.rand(2, 3, 10)
    assert torch.equal(layer(x), layer(x))
    assert {name: b.tolist() for name, b in layer.named_buffers()} == {
        "pre_state": [0], "residual_state": [0], "error_state": [0]
    }  # fmt: skip


@pytest.mark.parametrize("flag", [1, np.True_])
def test_any_true_value_is_true(flag):
    layer = Delta(1, cum_error=flag, shared_param=flag, persistent_state=flag, requires_grad=flag, carry_rounding=flag)
    assert layer.cum_error is layer.shared_param is layer.persistent_state is layer.requires_grad is True
    assert layer.carry_rounding is True


# ----------------------------------------------------------------------------------------------------------- loading
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("lava_dl", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_thresholds_are_loaded(channels, lava_dl, shared):
    """Into a fresh module, in our shape and in lava-dl's (C, 1, 1)."""
    values = torch.linspace(0.1, 0.9, channels)
    fresh = Delta(0.5, shared_param=shared)
    fresh.load_state_dict({"threshold": values.reshape(-1, 1, 1) if lava_dl else values})
    x = torch.randn(2, channels, 2, 2, 12)
    assert torch.equal(fresh(x), Delta(values)(x))
    assert list(fresh.state_dict()) == ["threshold"]
    other = Delta(0.5, shared_param=False)
    other.materialize((channels, 2, 2))
    other.load_state_dict(fresh.state_dict())
    assert torch.equal(other(x), fresh(x))


def test_another_number_of_channels_is_refused():
    layer = Delta(np.array([0.1, 0.2]))
    with pytest.raises(ShapeError, match=r"expected 2 channels as in threshold, got a spatial shape \(3,\)"):
        layer(torch.ones(1, 3, 5))
    assert layer.shape is None
    layer.materialize((2,))
    with pytest.raises(RuntimeError, match="size mismatch"):
        layer.load_state_dict({"threshold": torch.ones(3)})


def test_materialize_gives_each_channel_its_threshold():
    layer = Delta(0.5, shared_param=False)
    assert layer.threshold.shape == (1,)
    assert layer.materialize((3, 2)) == (3, 2)
    assert layer.threshold.tolist() == [0.5] * 3
    assert Delta(0.5).materialize((3, 2)) == (3, 2)
    with pytest.raises(ShapeError, match="expected a spatial shape"):
        layer.materialize(())


def test_copies_and_pickles_go_on_alike():
    layer, x = Delta(np.array([0.1, 0.2, 0.3]), persistent_state=True, cum_error=True), torch.rand(2, 3, 10)
    layer(x)
    others = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    truth = layer(x)
    for other in others:
        assert torch.equal(other(x), truth)
        assert other.threshold.data_ptr() != layer.threshold.data_ptr()


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_in_nothing_out(shape, persistent):
    layer, x = Delta(0.5, persistent_state=persistent, requires_grad=True), torch.zeros(shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape
    assert layer.threshold.grad.tolist() == [0]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("threshold of 0 or more, got -1", {"threshold": -1}),
        ("threshold of 0 or more, got nan", {"threshold": float("nan")}),
        ("expected threshold to be a number or an array", {"threshold": "1"}),
        ("expected threshold to be a number or an array", {"threshold": None}),
        (r"an array \(C,\), got shape \(2, 2\)", {"threshold": np.ones((2, 2))}),
        ("scale to be a power of two", {"threshold": 1, "scale": 10}),
        ("tau_grad above 0, got 0", {"threshold": 1, "tau_grad": 0}),
        ("tau_grad above 0, got nan", {"threshold": 1, "tau_grad": float("nan")}),
        ("finite scale_grad, got inf", {"threshold": 1, "scale_grad": float("inf")}),
    ],
)
def test_bad_options_are_refused(words, options):
    with pytest.raises(ParameterError, match=words):
        Delta(**options)


def test_bad_input_is_refused():
    with pytest.raises(ShapeError, match=r"expected an input \(N, C, \.\.\., T\), got shape \(2, 3\)"):
        Delta(1)(torch.ones(2, 3))
    with pytest.raises(ParameterError, match=r"floating-point type, got torch\.int64"):
        Delta(1)(torch.ones(2, 3, 4, dtype=torch.int64))
    layer = Delta(1)
    layer(torch.ones(1, 3, 4))
    with pytest.raises(ShapeError, match=r"expected an input \(N, 3, T\), got shape \(1, 4, 4\)"):
        layer(torch.ones(1, 4, 4))
