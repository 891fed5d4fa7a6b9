"""The recurrence that a caller builds equals the block that does the same."""

import pytest
import torch

from lavadl_lite.errors import ShapeError
from lavadl_lite.slayer import neuron, synapse
from lavadl_lite.slayer.utils.recurrent import custom_recurrent
from tests.contracts.families import FAMILIES, block_module, family_id, params, spikes


@pytest.mark.parametrize("family", FAMILIES, ids=family_id)
def test_it_equals_the_block(family):
    block = block_module(family).Recurrent(params(family), 6, 5, weight_scale=4, delay_shift=False)
    x = spikes(2, 6, 30)
    truth = block(x)
    assert truth.any()
    assert torch.equal(custom_recurrent(block.input_synapse(x), block.neuron, block.recurrent_synapse), truth)


def test_the_synapse_leads_back():
    cuba = neuron.cuba.Neuron(**params(FAMILIES[0]))
    with pytest.raises(ShapeError, match="from C to C"):
        custom_recurrent(torch.zeros(2, 5, 7), cuba, synapse.Dense(6, 5))
