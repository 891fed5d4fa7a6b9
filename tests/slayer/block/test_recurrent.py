"""Blocks with feedback: their equations, step by step from the parts, and their gradients from autograd."""

import pytest
import torch

from lavadl_lite.errors import ParameterError, ShapeError
from tests.contracts.families import FAMILIES, block_module, family_id, params, spikes

FAMILY = pytest.mark.parametrize("neuron", FAMILIES, ids=family_id)
SPIKING = [n for n in FAMILIES if n.type_name != "SDNN"]


def step_by_step(block, sums, feedback, own, bias=0.0):
    """``s[t] = f(sums[t] + feedback s[t - 1] + bias)`` with one call of a persistent neuron for each step."""
    neuron = type(block.neuron)(**own | {"persistent_state": True})
    neuron.load_state_dict(block.neuron.state_dict())
    parts = sums if neuron.complex else (sums,)
    last, found = torch.zeros_like(parts[0][..., :1]), []
    for t in range(parts[0].shape[-1]):
        drive = [part[..., t : t + 1] + feedback @ last + bias for part in parts]
        last = neuron(tuple(drive) if neuron.complex else drive[0])
        found.append(last)
    return torch.cat(found, -1)


@FAMILY
@pytest.mark.parametrize("threshold", [None, 4.0])
def test_k_winners_follow_their_equation(neuron, threshold):
    """With a large threshold the quantised bias is not 0 any more."""
    own = params(neuron) if threshold is None else params(neuron, threshold=threshold)
    block = block_module(neuron).KWTA(own, 6, 5, 2, self_excitation=0.3, weight_scale=6, delay_shift=False)
    x = spikes(2, 6, 40)
    found = block(x)
    excitation = round(0.3 * 32) / 32
    matrix = torch.full((5, 5), -1.0) + torch.eye(5) * (1 + excitation)
    held = float(torch.as_tensor(block.neuron.threshold).detach().reshape(-1)[0])
    bias = round(held * (5 - 4) / 5 / 64 * 32) / 32
    assert (bias != 0) == (threshold is not None and held >= 4.0 and held / 5 / 64 * 32 > 0.5)
    assert found.any()
    assert torch.equal(found, step_by_step(block, block.synapse(x), matrix, own, bias))


@FAMILY
def test_feedback_hears_itself_a_step_later(neuron):
    block = block_module(neuron).Recurrent(params(neuron), 6, 5, weight_scale=4, delay_shift=False)
    x = spikes(2, 6, 30)
    found = block(x)
    assert found.any()
    if neuron.complex:  # one matrix for both parts here
        block.recurrent_synapse.imag.weight.data.copy_(block.recurrent_synapse.real.weight.data)
        found = block(x)
    matrix = block.feedback()[0] if neuron.complex else block.feedback()
    assert torch.equal(found, step_by_step(block, block.input_synapse(x), matrix, params(neuron)))


@FAMILY
def test_the_same_input_twice_gives_the_same_answer(neuron):
    """Defect 4: lava-dl's neuron remembers the batch before, its feedback does not."""
    module = block_module(neuron)
    for block in (module.Recurrent(params(neuron), 6, 5, weight_scale=4), module.KWTA(params(neuron), 6, 5, 2)):
        x = spikes(2, 6, 30)
        assert torch.equal(block(x), block(x))


@pytest.mark.parametrize("neuron", SPIKING, ids=family_id)
def test_gradients_flow_to_all_that_is_trained(neuron):
    own = params(neuron, scale_grad=0.1) | {"requires_grad": True}
    module = block_module(neuron)
    recurrent, kwta = module.Recurrent(own, 6, 5, weight_scale=4), module.KWTA(own, 6, 5, 2, weight_scale=4)
    for block in (recurrent, kwta):
        block(spikes(2, 6, 30)).sum().backward()
        learnt = {name: p for name, p in block.named_parameters() if p.requires_grad}
        assert all(p.grad is not None and p.grad.isfinite().all() for p in learnt.values())
        assert all(p.grad.any() for name, p in learnt.items() if "weight" in name or "excitation" in name)
    held = module.Recurrent(own, 6, 5, requires_grad=False)
    assert not any(p.requires_grad for p in held.recurrent_synapse.parameters())
    assert not module.KWTA(own, 6, 5, 2, requires_grad=False).self_excitation.requires_grad


def test_self_excitation_stays_in_its_range():
    block = block_module(FAMILIES[0]).KWTA(params(FAMILIES[0]), 6, 5, 2)
    for value, held in ((-3.0, 0.0), (7.0, 1.0)):
        block.self_excitation.data.fill_(value)
        assert block.feedback().diagonal().unique().tolist() == [held]
        block(spikes(1, 6, 3))
        assert block.self_excitation.item() == held


def test_bad_arguments_are_refused():
    module, own = block_module(FAMILIES[0]), params(FAMILIES[0])
    for words, options in (
        (r"num_winners in 1\.\.5, got 6", {"num_winners": 6}),
        ("num_winners of 1 or more", {"num_winners": 0}),
        (r"self_excitation in 0\.\.1, got 2", {"num_winners": 2, "self_excitation": 2}),
    ):
        with pytest.raises(ParameterError, match=words):
            module.KWTA(own, 6, 5, **options)
    for cls, arguments in ((module.KWTA, (5, 2)), (module.Recurrent, (5,))):
        with pytest.raises(ParameterError, match="neuron_params to be a dict"):
            cls(None, 6, *arguments)
        with pytest.raises(ShapeError, match="input of 6 channels"):
            cls(own, 6, *arguments).materialize((7,))


@FAMILY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_winners_come_in_the_type_of_their_input(neuron, dtype):
    block = block_module(neuron).KWTA(params(neuron), 6, 5, 2, weight_scale=6).to(dtype)
    assert block(spikes(2, 6, 20).to(dtype)).dtype == dtype


@FAMILY
def test_states_are_those_of_the_spikes_in_mixed_precision(neuron):
    block = block_module(neuron).Recurrent(params(neuron), 6, 5, weight_scale=4)
    x = spikes(2, 6, 30)
    heard = block.input_synapse(x), block.feedback()
    plain = block._states(*heard)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = block._states(*heard)
    assert all(torch.equal(plain[name], mixed[name]) for name in plain)
