"""What neurons derive from their declarations: parameters and their spread, shapes, quantisation, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron.cuba import Neuron
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm


def neuron(**options):
    return Neuron(**({"threshold": 1, "current_decay": 0.25, "voltage_decay": 0.1} | options))


# ------------------------------------------------------------------------------------------------------- parameters
@given(st.floats(0, 1))
def test_a_decay_is_kept_in_4096ths(decay):
    parameter = neuron(current_decay=decay).current_decay
    assert parameter.shape == (1,)
    assert parameter.dtype == torch.float32
    assert parameter.item() == np.float32(4096 * decay)


def test_a_pair_is_the_range_of_the_channels_values():
    torch.manual_seed(0)
    layer = neuron(current_decay=(0.1, 0.4), voltage_decay=[0.05, 0.05], shared_param=False)
    assert layer.current_decay.tolist() == [np.float32(409.6)]  # the smallest, until drawn
    layer.materialize((500,))
    drawn = layer.current_decay.detach() / 4096
    assert drawn.shape == (500,)
    assert 0.1 <= drawn.min() < 0.12
    assert 0.38 < drawn.max() <= 0.4
    assert layer.voltage_decay.unique().tolist() == [np.float32(204.8)]


def test_one_number_is_spread_by_a_hundredth():
    torch.manual_seed(0)
    layer = neuron(current_decay=0.5, voltage_decay=1, shared_param=False)
    layer.materialize((500,))
    current, voltage = layer.current_decay.detach() / 4096, layer.voltage_decay.detach() / 4096
    assert 0.495 <= current.min() < 0.4955
    assert 0.5045 < current.max() <= 0.505
    # drawn from 0.99..1.01 and held to 1, so that lava-dl's draws come out: half of them are 1
    assert 0.99 <= voltage.min() < 0.991
    assert 0.4 < (voltage == 1).double().mean() < 0.6


def test_draws_are_uniform_numbers_of_torch_current_before_voltage():
    """The same seed gives lava-dl's values."""
    torch.manual_seed(11)
    layer = neuron(current_decay=(0.1, 0.4), voltage_decay=(0.2, 0.3), shared_param=False)
    layer(torch.zeros(1, 6, 2))
    torch.manual_seed(11)
    current, voltage = torch.rand(6), torch.rand(6)
    torch.testing.assert_close(layer.current_decay.detach(), 4096 * (0.1 + 0.3 * current), rtol=1e-6, atol=0)
    torch.testing.assert_close(layer.voltage_decay.detach(), 4096 * (0.2 + 0.1 * voltage), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_an_array_gives_each_channel_its_own(kind):
    layer = neuron(current_decay=kind([0.25, 0.5, 1.0]))
    assert layer.current_decay.tolist() == [1024, 2048, 4096]
    assert not layer.shared_param
    with pytest.raises(ShapeError, match="expected 3 channels as in current_decay"):
        layer(torch.zeros(2, 4, 5))


@pytest.mark.parametrize("kind", [int, np.float32, np.int64, np.array, torch.tensor, lambda v: torch.tensor([v])])
def test_any_kind_of_number_is_a_number(kind):
    layer = neuron(threshold=kind(1), current_decay=kind(1), voltage_decay=kind(0))
    assert (layer.threshold, layer.current_decay.item(), layer.voltage_decay.item()) == (1, 4096, 0)


def test_only_decays_that_ask_for_it_are_trained():
    for wanted in (False, True):
        layer = neuron(requires_grad=wanted)
        assert [p.requires_grad for p in layer.parameters()] == [wanted] * 2


def test_trained_decays_are_held_in_their_range():
    layer = neuron(requires_grad=True)
    layer.current_decay.data.fill_(-3)
    layer.voltage_decay.data.fill_(5000)
    layer(torch.zeros(1, 2, 3))
    assert layer.current_decay.item() == 0
    assert layer.voltage_decay.item() == 4096


# -------------------------------------------------------------------------------------------------- what others read
@pytest.mark.parametrize("scale", [1, 16, 64, 1024])
def test_scales_and_threshold(scale):
    layer = neuron(threshold=2.7, scale=scale)
    assert layer.w_scale == layer.scale == scale
    assert layer.s_scale == 64 * scale
    assert layer.p_scale == 4096
    assert layer.threshold == int(2.7 * scale) / scale
    assert layer.v_th_mant == int(2.7 * scale)
    assert layer.weight_exponent == 0
    assert layer.device == torch.device("cpu")


def test_a_threshold_is_rounded_down_to_the_grid():
    assert neuron(threshold=0.1).threshold == 6 / 64


@pytest.mark.parametrize("scale", [16, 64, 1024])
@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=20))
def test_quantize_8bit_gives_even_integers_of_9_bits(scale, weight):
    weight = torch.tensor(weight, requires_grad=True)
    held = neuron(scale=scale).quantize_8bit(weight)
    integers = np.clip(2 * np.round(weight.detach().double().numpy() * scale / 2), -256, 254)
    np.testing.assert_array_equal(held.detach().numpy() * scale, integers)
    np.testing.assert_array_equal(neuron(scale=scale).quantize_8bit(weight, descale=True).detach().numpy(), integers)
    held.sum().backward()
    rounded = 2 * np.round(weight.detach().double().numpy() * scale / 2)
    inside = (rounded >= -256) & (rounded <= 254)
    np.testing.assert_array_equal(weight.grad.numpy(), inside)


def test_quantize_8bit_of_the_reference():
    weight = torch.tensor([-5, -4, -3.99, 0.01, 0.016, 3.95, 3.97, 5])
    assert neuron().quantize_8bit(weight, descale=True).tolist() == [-256, -256, -256, 0, 2, 252, 254, 254]


# --------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("threshold of 0 or more, got -1", {"threshold": -1}),
        ("threshold to be finite, got nan", {"threshold": float("nan")}),
        ("threshold to be finite, got inf", {"threshold": float("inf")}),
        ("threshold to be one number, got '1'", {"threshold": "1"}),
        ("threshold to be one number, got None", {"threshold": None}),
        ("threshold to be one number, got True", {"threshold": True}),
        (r"current_decay in 0\.\.1, got 1\.1", {"current_decay": 1.1}),
        (r"voltage_decay in 0\.\.1, got -0\.1", {"voltage_decay": -0.1}),
        ("current_decay to be finite, got nan", {"current_decay": float("nan")}),
        ("current_decay to be one number", {"current_decay": (0.1, 0.2)}),
        ("current_decay to be one number", {"current_decay": np.array([[0.1, 0.2]])}),
        (r"every current_decay in 0\.\.1", {"current_decay": np.array([0.1, 0.2, 2.0])}),
        (r"every current_decay in 0\.\.1", {"current_decay": torch.tensor([0.1, float("nan")])}),
        (r"current_decay in 0\.\.1, got \(0\.3, 0\.2\)", {"current_decay": (0.3, 0.2), "shared_param": False}),
        (r"\(smallest, largest\)", {"current_decay": (0.1, 0.2, 0.3), "shared_param": False}),
        (r"scale to be a power of two in 1\.\.2\*\*17, got 100", {"scale": 100}),
        ("scale to be a power of two", {"scale": 0}),
        ("scale to be a power of two", {"scale": 0.5}),
        ("scale to be a power of two", {"scale": float("nan")}),
        ("scale to be a power of two", {"scale": 1 << 18}),
        ("scale to be a number, got '64'", {"scale": "64"}),
        ("tau_grad above 0, got 0", {"tau_grad": 0}),
        ("tau_grad to be finite, got nan", {"tau_grad": float("nan")}),
        ("scale_grad to be finite, got inf", {"scale_grad": float("inf")}),
        ("norm to be a class or function", {"norm": 3}),
        ("dropout to be a module, got 3", {"dropout": 3}),
    ],
)
def test_bad_arguments_are_refused(words, options):
    with pytest.raises(ParameterError, match=words):
        neuron(**options)


def test_errors_are_what_lava_dls_users_catch():
    with pytest.raises(AssertionError):
        neuron(current_decay=2)
    with pytest.raises(ValueError):
        neuron(current_decay=2)
    with pytest.raises(AssertionError):
        neuron()(torch.zeros(2, 3))


X = torch.zeros(2, 3, 5)


@pytest.mark.parametrize("norm", [None, MeanOnlyBatchNorm])
@pytest.mark.parametrize(
    ("error", "words", "x"),
    [
        (ShapeError, r"expected an input \(N, C, \.\.\., T\), got shape \(3,\)", X[0, :, 0]),
        (ShapeError, r"expected an input \(N, C, \.\.\., T\), got shape \(2, 3\)", X[..., 0]),
        (ShapeError, "without axes", torch.tensor(1.0)),
        (ParameterError, "floating-point type, got torch.int32", X.int()),
        (ParameterError, "floating-point type, got torch.bool", X.bool()),
        (ParameterError, "floating-point type, got torch.complex64", X.to(torch.complex64)),
        (ParameterError, "expected input to be a tensor, got ndarray", X.numpy()),
        (ParameterError, "expected input to be a tensor, got NoneType", None),
    ],
)
def test_bad_input_is_refused_and_leaves_no_trace(error, words, x, norm):
    for run in ("forward", "dynamics"):
        layer = neuron(norm=norm, shared_param=False, persistent_state=True)
        with pytest.raises(error, match=words):
            getattr(layer, run)(x)
        assert layer.shape is None
        assert layer.current_decay.shape == layer.current_state.shape == (1,)


def test_a_later_input_has_the_shape_of_the_first():
    layer = neuron()
    layer(torch.zeros(2, 3, 4, 5))
    for shape in ((2, 4, 4, 5), (2, 3, 5), (2, 3, 4, 1, 5)):
        with pytest.raises(ShapeError, match=r"expected an input \(N, 3, 4, T\), got shape"):
            layer(torch.zeros(shape))
    layer(torch.zeros(7, 3, 4, 1))


def test_materialize_refuses_no_axes():
    with pytest.raises(ShapeError, match=r"expected a spatial shape \(C,\) or \(C, H, W\), got \(\)"):
        neuron().materialize(())
