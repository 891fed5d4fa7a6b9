"""Blocks over planes: they are their synapse, then their neuron; pooling leaves a norm out."""

import pytest
import torch

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm
from tests.contracts.families import BLOCKS, FAMILIES, block_cases, block_module, params

PLANES = [c for c in BLOCKS if c.name in ("Conv", "ConvT", "Pool", "Unpool")]


@block_cases(PLANES)
def test_a_block_is_its_synapse_then_its_neuron(neuron, case):
    options = {k: v for k, v in case.options.items() if k != "delay"} | {"delay_shift": False}
    block = type(case)(case.name, options, case.spatial).make(neuron)
    x = case.input()
    alone = neuron(**params(neuron))
    truth = alone(block.synapse(x))
    assert truth.any()
    assert torch.equal(block(x), truth)


def test_pooling_has_no_mean_to_take_away():
    own = params(FAMILIES[0], norm=MeanOnlyBatchNorm)
    module = block_module(FAMILIES[0])
    assert module.Pool(own, 2).neuron.norm is module.Unpool(own, 2).neuron.norm is None
    assert isinstance(module.Conv(own, 2, 3, 3).neuron.norm, MeanOnlyBatchNorm)
    assert own["norm"] is MeanOnlyBatchNorm


def test_bad_arguments_are_refused():
    module, own = block_module(FAMILIES[0]), params(FAMILIES[0])
    for cls, arguments in (
        (module.Conv, (2, 3, 3)),
        (module.ConvT, (2, 3, 3)),
        (module.Pool, (2,)),
        (module.Unpool, (2,)),
    ):
        with pytest.raises(ParameterError, match="neuron_params to be a dict, got None"):
            cls(None, *arguments)
        with pytest.raises(ParameterError, match="pre_hook_fx"):
            cls(own, *arguments, pre_hook_fx="other")
    with pytest.raises(ParameterError, match="groups that divide"):
        module.Conv(own, 2, 3, 3, groups=2)
    with pytest.raises(ShapeError, match=r"spatial shape \(2, H, W\)"):
        module.Conv(own, 2, 3, 3).materialize((3, 5, 5))
    with pytest.raises(ShapeError, match=r"expected an input \(N, 2, H, W, T\)"):
        module.Conv(own, 2, 3, 3)(torch.zeros(1, 2, 5))
