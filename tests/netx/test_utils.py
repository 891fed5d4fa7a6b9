"""Network files as dictionaries, and weights as Lava's synapses hold them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError
from lavadl_lite.netx import Simulator, save
from lavadl_lite.netx.utils import SYNAPSE_SIGN_MODE, NetDict, num_delay_bits, optimize_weight_bits
from tests.netx.networks import dense, input_layer, neuron
from tests.strategies import examples


def held_by_lava(weight, bits, mode):
    """What a synapse makes of weights: clipped, its last bits cut off."""
    mixed = mode == SYNAPSE_SIGN_MODE.MIXED
    size = -weight if mode == SYNAPSE_SIGN_MODE.INHIBITORY else weight
    cut = 8 - bits + mixed
    size = (np.clip(size, -256 * mixed, 255) >> cut) << cut
    return -size if mode == SYNAPSE_SIGN_MODE.INHIBITORY else size


@settings(max_examples=examples(300))
@given(low=st.integers(-128, 127), high=st.integers(-128, 127), common=st.integers(0, 7), seed=st.integers(0, 99))
def test_a_synapse_holds_the_weights_without_loss(low, high, common, seed):
    low, high = sorted((low, high))
    weight = 2 * np.random.default_rng(seed).integers(low >> common, (high >> common) + 1, (3, 4)) << common
    scaled, bits, exponent, mode = optimize_weight_bits(weight)
    assert 1 <= bits <= 8
    np.testing.assert_array_equal(held_by_lava(scaled, bits, mode), scaled)
    np.testing.assert_array_equal(scaled * 2.0**exponent, weight)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ([0, 0], ([0, 0], 8, 0, SYNAPSE_SIGN_MODE.EXCITATORY)),
        ([2, 2], ([128, 128], 1, -6, SYNAPSE_SIGN_MODE.EXCITATORY)),
        ([-256, 254], ([-256, 254], 8, 0, SYNAPSE_SIGN_MODE.MIXED)),
        ([-2, -6], ([-64, -192], 2, -5, SYNAPSE_SIGN_MODE.INHIBITORY)),
        ([-256, -2], ([-128, -1], 8, 1, SYNAPSE_SIGN_MODE.INHIBITORY)),  # Lava holds no -256 beside negative ones alone
        ([512, 2048], ([32, 128], 3, 4, SYNAPSE_SIGN_MODE.EXCITATORY)),
    ],
)
def test_known_weights(weight, expected):
    scaled, *rest = optimize_weight_bits(np.array(weight))
    assert (scaled.tolist(), *rest) == expected


@pytest.mark.parametrize("weight", [[0.5], [-255, 255], [257], [np.nan]])
def test_weights_that_a_synapse_cannot_hold(weight):
    with pytest.raises(ParameterError, match=r"expected (integers as )?weights"), np.errstate(invalid="ignore"):
        optimize_weight_bits(np.array(weight))


@pytest.mark.parametrize(("delays", "bits"), [([0], 0), ([1], 1), ([3, 0], 2), ([4], 3), ([62], 6)])
def test_bits_of_delays(delays, bits):
    assert num_delay_bits(np.array(delays)) == bits


@pytest.mark.parametrize("delays", [[-1], [63], [0.5]])
def test_delays_out_of_range(delays):
    with pytest.raises(ParameterError, match="delays"):
        num_delay_bits(np.array(delays))


def test_a_file_as_dictionaries(tmp_path):
    path = tmp_path / "a.net"
    save([input_layer((2,), neuron(), 32, 3), dense([[2, -4], [6, 8]], neuron(threshold=7))], path)
    net = NetDict(path)
    assert list(net.keys()) == ["layer"]
    assert len(net["layer"]) == 2
    layer = net["layer"][1]
    assert layer["type"] == "dense"
    assert layer["weight"].dtype == np.int32
    assert layer["weight"].tolist() == [[2, -4], [6, 8]]
    assert layer["neuron"]["type"] == "CUBA"
    assert layer["neuron"]["vThMant"] == 7
    assert NetDict(f=layer.f)["outFeatures"] == 2
    with pytest.raises(ParameterError, match=r"written by netx\.save"):
        layer["weight"] = 0
    assert Simulator(path).output_shape == (2,)


@pytest.mark.parametrize("arguments", [{}, {"filename": "a", "f": "b"}, {"filename": "a", "mode": "w"}])
def test_what_opens_no_file(arguments):
    with pytest.raises(ParameterError, match="expected"):
        NetDict(**arguments)
