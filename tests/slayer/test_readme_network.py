"""The network that lava-dl's README shows: typed in, it trains, is exported, and comes back with equal output."""

import pytest
import torch

from lavadl_lite import netx
from lavadl_lite.slayer import auto, block, loss, utils

SIGMA_DELTA = {
    "threshold": 0.1, "tau_grad": 0.5, "scale_grad": 1, "requires_grad": True, "shared_param": True,
    "activation": torch.nn.functional.relu,
}  # fmt: skip
RF = {"threshold": 0.1, "period": 10, "decay": 0.1}
ALIF = {
    "threshold": 0.5, "threshold_step": 0.1, "current_decay": 0.25, "voltage_decay": 0.1, "threshold_decay": 0.1,
    "refractory_decay": 0.1,
}  # fmt: skip
CUBA = {"threshold": 0.5, "current_decay": 0.25, "voltage_decay": 0.1}


def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        block.sigma_delta.Input(SIGMA_DELTA),
        block.sigma_delta.Conv(SIGMA_DELTA, 3, 24, 3, weight_scale=2),
        block.sigma_delta.Conv(SIGMA_DELTA, 24, 36, 3, weight_scale=2),
        block.rf_iz.Conv(RF, 36, 64, 3, delay=True),
        block.rf_iz.Conv(RF, 64, 64, 3, delay=True),
        block.rf_iz.Flatten(),
        block.alif.Dense(ALIF, 64 * 40, 100, delay=True),
        block.cuba.Recurrent(CUBA, 100, 50),
        block.cuba.KWTA(CUBA, 50, 50, num_winners=5),
    )


@pytest.fixture(scope="module")
def trained():
    net = make()
    images = 2 * torch.rand(2, 3, 13, 16, 20, generator=torch.Generator().manual_seed(1))
    error = loss.SpikeRate(true_rate=0.3, false_rate=0.02, reduction="sum")
    labels = torch.tensor([3, 7])
    net(images)  # delays are drawn
    optimizer = torch.optim.Adam(utils.param_groups(net, 2e-3))
    found = []
    for _ in range(6):
        optimizer.zero_grad()
        value = error(net(images), labels)
        value.backward()
        gradients = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
        optimizer.step()
        found.append(value.item())
    return net, images, found, gradients


def test_it_trains(trained):
    net, _, found, gradients = trained
    assert net[4].shape == (64, 5, 8)
    assert sum(found[-3:]) / 3 < 0.7 * found[0]
    assert {name for name, g in gradients.items() if g is None} == {f"{i}.neuron.bias" for i in range(3)}  # never set
    assert all(g.isfinite().all() for g in gradients.values() if g is not None)
    assert all(gradients[name].any() for name in gradients if "weight" in name or "delay.delay" in name)


def test_it_comes_back_from_a_file(trained, tmp_path):
    net, images, _, _ = trained
    for each in net[:3]:  # a file holds thresholds as multiples of 1/64, training does not
        each.neuron.threshold.data.mul_(64).floor_().div_(64)
    netx.save(net, tmp_path / "readme.net")
    again = auto.SequentialNetwork(tmp_path / "readme.net")
    with torch.no_grad():
        truth = net(images)
        assert truth.any()
        assert torch.equal(again(images), truth)
    again(images).sum().backward()
    assert all(p.grad.isfinite().all() for p in again.parameters() if p.grad is not None)
    netx.save(again, tmp_path / "again.net")
    assert (tmp_path / "again.net").read_bytes() == (tmp_path / "readme.net").read_bytes()
