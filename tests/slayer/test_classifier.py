import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.classifier import MovingWindow, Rate
from tests import strategies


def spikes(*shape, rate=0.3, seed=0):
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.float32)


def window_rates(x, window):
    """Mean over the steps t - window + 1 .. t, in float64."""
    padded = np.concatenate([np.zeros((*x.shape[:-1], window)), x], axis=-1)
    total = padded.cumsum(-1)
    return (total[..., window:] - total[..., :-window]) / window


def confidences(rate, mode, eps=1e-6):
    """Scores along axis 1, in float64."""
    if mode == "probability":
        return rate / (rate.sum(1, keepdims=True) + eps)
    power = np.exp(rate)
    softmax = power / power.sum(1, keepdims=True)
    return softmax if mode == "softmax" else np.log(softmax)


MODES = ["probability", "softmax", "logsoftmax"]


@given(shape=strategies.shapes(smallest=1), seed=st.integers(0, 99), mode=st.sampled_from(MODES))
def test_rate_scores_and_prediction_follow_the_mean_over_time(shape, seed, mode):
    x = spikes(*shape, seed=seed)
    rate = x.mean(-1, dtype=np.float64)
    flat = rate.reshape(shape[0], -1)
    np.testing.assert_allclose(Rate.rate(torch.from_numpy(x)), rate, rtol=1e-6)
    np.testing.assert_allclose(Rate.confidence(torch.from_numpy(x), mode), confidences(flat, mode), rtol=1e-5)
    for prediction in (Rate.predict(torch.from_numpy(x)), Rate()(torch.from_numpy(x))):
        assert prediction.dtype == torch.int64
        np.testing.assert_array_equal(prediction, flat.argmax(1))


def test_silence_scores_zero():
    assert not Rate.confidence(torch.zeros(2, 3, 4)).any()
    assert not MovingWindow(3).confidence(torch.zeros(2, 3, 4)).any()


@given(
    shape=strategies.shapes(smallest=1), window=st.integers(1, 40), seed=st.integers(0, 99), mode=st.sampled_from(MODES)
)
def test_moving_window_follows_the_mean_over_the_window(shape, window, seed, mode):
    x = spikes(*shape, seed=seed)
    rate = window_rates(x, window)
    classifier = MovingWindow(window, mode)
    tensor = torch.from_numpy(x)
    np.testing.assert_allclose(classifier.rate(tensor), rate, rtol=1e-6, atol=1e-9)
    scores = confidences(rate.reshape(shape[0], -1, shape[-1]), mode)
    np.testing.assert_allclose(classifier.confidence(tensor), scores, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(MovingWindow(window).confidence(tensor, mode), scores, rtol=1e-5, atol=1e-9)
    counts = np.rint(rate * window)
    np.testing.assert_array_equal(classifier.predict(tensor), counts.argmax(1))


def test_moving_window_forward_returns_prediction():
    x = torch.from_numpy(spikes(3, 4, 50))
    prediction = MovingWindow(10)(x)
    assert (prediction.dtype, prediction.shape) == (torch.int64, (3, 50))
    assert torch.equal(prediction, MovingWindow(10).predict(x))
    assert MovingWindow(10)(torch.from_numpy(spikes(2, 3, 4, 5, 20))).shape == (2, 4, 5, 20)


@pytest.mark.parametrize("steps", [300, 900])
def test_equal_counts_are_ties_wherever_the_spikes_are(steps):
    x = spikes(8, 10, steps)
    rate = MovingWindow(49).rate(torch.from_numpy(x)).numpy()
    counts = np.rint(window_rates(x, 49) * 49)
    assert all(len(np.unique(rate[counts == count])) == 1 for count in np.unique(counts))


def test_integer_and_boolean_spikes_are_numbers():
    x = torch.from_numpy(spikes(3, 4, 20))
    for dtype in (torch.int64, torch.uint8, torch.bool):
        assert torch.equal(Rate.confidence(x.to(dtype)), Rate.confidence(x))
        assert torch.equal(Rate.predict(x.to(dtype)), Rate.predict(x))
        assert torch.equal(MovingWindow(5).confidence(x.to(dtype)), MovingWindow(5).confidence(x))


def test_gradient_of_rates_is_true():
    x = torch.rand(2, 3, 8, dtype=torch.float64, requires_grad=True)
    for mode in MODES:
        assert torch.autograd.gradcheck(lambda x, mode=mode: Rate.confidence(x, mode), x)
        assert torch.autograd.gradcheck(MovingWindow(3, mode).confidence, x)


def test_unknown_mode_raises():
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ParameterError, match="'entropy'"):
        Rate.confidence(x, "entropy")
    with pytest.raises(ParameterError, match="'entropy'"):
        MovingWindow(5, "entropy")
    with pytest.raises(ParameterError, match="'entropy'"):
        MovingWindow(5).confidence(x, "entropy")
    with pytest.raises(ParameterError, match="time_window"):
        MovingWindow(0)


def test_names_of_the_state_are_those_of_lava_dl():
    classifier = MovingWindow(4)
    classifier.load_state_dict({"filter.filter": torch.full((4,), 0.25)})
    assert Rate().state_dict() == {}


@pytest.mark.parametrize("classifier", [Rate(), MovingWindow(5, "softmax")], ids=["rate", "window"])
def test_classifiers_survive_copy_and_pickle(classifier):
    x = torch.from_numpy(spikes(3, 4, 20))
    for other in (copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):
        assert torch.equal(other(x), classifier(x))
