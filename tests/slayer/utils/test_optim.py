import pytest
import torch
from torch import nn

from lavadl_lite.kernels import fixed_point
from lavadl_lite.slayer.utils import optim, param_groups


class Neuron(nn.Module):
    def __init__(self, learns=True):
        super().__init__()
        self.current_decay = nn.Parameter(torch.tensor([1024.0]), requires_grad=learns)
        self.voltage_decay = nn.Parameter(torch.tensor([128.0]), requires_grad=learns)


class Axon(nn.Module):
    def __init__(self):
        super().__init__()
        self.delay = nn.Parameter(torch.zeros(3))


class Block(nn.Module):
    def __init__(self, learns=True):
        super().__init__()
        self.synapse = nn.Linear(4, 3)
        self.neuron = Neuron(learns)
        self.delay = Axon()


def by_name(groups):
    return {group["name"]: group for group in groups}


def test_each_trainable_parameter_is_in_exactly_one_group():
    net = nn.Sequential(Block(), Block(learns=False))
    net[1].synapse = net[0].synapse  # shared
    net[0].synapse.bias.requires_grad = False
    listed = [id(parameter) for group in param_groups(net, 0.1, delay_lr=1.0) for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(parameter) for parameter in net.parameters() if parameter.requires_grad}


def test_rates():
    groups = by_name(param_groups(Block(), lr=1e-3))
    assert {name: group["lr"] for name, group in groups.items()} == {"rest": 1e-3, "decays": 4.096, "delays": 1e-3}
    assert [parameter.shape for parameter in groups["delays"]["params"]] == [(3,)]
    groups = by_name(param_groups(Block(), 1e-3, decay_lr=2.0, delay_lr=0.5))
    assert {name: group["lr"] for name, group in groups.items()} == {"rest": 1e-3, "decays": 2.0, "delays": 0.5}


def test_groups_without_parameters_are_left_out():
    assert [group["name"] for group in param_groups(nn.Linear(2, 2), 0.1)] == ["rest"]
    assert [group["name"] for group in param_groups(Block(learns=False), 0.1)] == ["rest", "delays"]
    assert param_groups(nn.ReLU(), 0.1) == []


def test_adam_moves_a_decay_as_far_as_a_weight_in_units_of_one():
    net = Block()
    optimizer = torch.optim.Adam(param_groups(net, lr=1e-3))
    weight, decay = net.synapse.weight.detach().clone(), net.neuron.current_decay.detach().clone()
    (net.synapse.weight.sum() + net.neuron.current_decay.sum() / 4096).backward()
    optimizer.step()
    step = (net.synapse.weight - weight).abs().mean()
    assert step.item() == pytest.approx(1e-3, rel=1e-3)
    assert (net.neuron.current_decay - decay).abs().item() / 4096 == pytest.approx(step.item(), rel=1e-3)


def test_range_of_decays_is_that_of_the_kernels():
    assert optim._DECAY_ONE == fixed_point.DECAY_ONE
