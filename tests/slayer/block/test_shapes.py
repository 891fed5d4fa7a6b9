"""Blocks without weights: means over groups of channels and of steps."""

import pytest
import torch

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer import block
from tests.contracts.families import FAMILIES, block_module, family_id, params, spikes


def test_average_takes_consecutive_channels():
    x = torch.arange(12.0).reshape(1, 6, 2)
    assert block.cuba.Average(3)(x).tolist() == [[[1, 2], [5, 6], [9, 10]]]
    with pytest.raises(ShapeError, match=r"spatial shape \(C,\) that 4 divides, got \(6,\)"):
        block.cuba.Average(4)(x)
    with pytest.raises(ShapeError, match=r"expected an input \(N, C, T\)"):
        block.cuba.Average(3)(x[None])
    for wrong in (0, 2.0, True):
        with pytest.raises(ParameterError, match="num_outputs"):
            block.cuba.Average(wrong)


def test_time_decimation_fills_the_last_bin_with_zeros():
    x = torch.arange(10.0).reshape(1, 2, 5)
    assert block.cuba.TimeDecimation(2)(x).tolist() == [[[0.5, 2.5, 2], [5.5, 7.5, 4.5]]]
    assert torch.equal(block.cuba.TimeDecimation(1)(x), x)
    for wrong, words in ((3, "power of two"), (0, "factor of 1 or more"), (2.0, "an int")):
        with pytest.raises(ParameterError, match=words):
            block.cuba.TimeDecimation(wrong)


def test_time_decimation_of_whole_bins_can_be_cut():
    decimation, x = block.cuba.TimeDecimation(4), spikes(2, 3, 24)
    assert torch.equal(torch.cat([decimation(part) for part in x.split(8, -1)], -1), decimation(x))


@pytest.mark.parametrize("neuron", FAMILIES, ids=family_id)
def test_a_signal_is_a_complex_neurons_real_input(neuron):
    x = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    found = block_module(neuron).Input(params(neuron, threshold=0.25), delay_shift=False)(x)
    alone = neuron(**params(neuron, threshold=0.25))
    signal = alone.quantize_8bit(x)
    if neuron.type_name == "SDNN":
        truth = alone.delta(signal)
    else:
        truth = alone((signal, torch.zeros_like(signal)) if neuron.complex else signal)
    assert found.any()
    assert torch.equal(found, truth)


def test_a_step_of_delay_is_the_families_own():
    for neuron in FAMILIES:
        held = block_module(neuron).Dense(params(neuron), 3, 2)
        assert held.delay_shift == (neuron.type_name != "SDNN")
        assert block_module(neuron).Dense(params(neuron), 3, 2, delay_shift=True).delay_shift
