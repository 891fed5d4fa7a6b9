"""Networks of our blocks: what training computes, the simulator's integers and Lava's processes are the same."""

import numpy as np
import pytest
import torch

from lavadl_lite.netx import Simulator, save
from lavadl_lite.slayer import axon, block, neuron
from tests.lava.running import Network, run

STEPS = 50
CUBA = {"threshold": 1.0, "current_decay": 0.3, "voltage_decay": 0.1}
OWN = {**CUBA, "current_decay": (0.1, 1), "voltage_decay": (0.05, 0.9), "shared_param": False}
NORM = {**CUBA, "norm": neuron.norm.MeanOnlyBatchNorm}
RF = {"threshold": 0.5, "period": 9, "decay": 0.1}
OWN_RF = {**RF, "period": (5, 30), "decay": (0.01, 0.3), "shared_param": False}
SDNN = {"threshold": 0.1, "activation": torch.nn.functional.relu}
SDNN_NORM = {**SDNN, "norm": neuron.norm.MeanOnlyBatchNorm}
PLANE = (2, 6, 8)


def masked():
    mask = (torch.arange(6 * 8).reshape(6, 8) % 3 != 0).float()
    return [block.cuba.Dense(CUBA, 8, 6, weight_scale=3, mask=mask), block.cuba.Dense(CUBA, 6, 4, weight_scale=3)]


CASES = {
    "dense, weight norm": lambda: [
        block.cuba.Dense(CUBA, 8, 6, weight_scale=3, weight_norm=True),
        block.cuba.Dense(CUBA, 6, 4, weight_scale=3),
    ],
    "dense, decays of each channel": lambda: [block.cuba.Dense(OWN, 8, 4, weight_scale=4)],
    "dense, mask": masked,
    "dense, bias": lambda: [block.cuba.Dense(NORM, a, b, weight_scale=3) for a, b in ((8, 10), (10, 10), (10, 4))],
    "dense, delay": lambda: [
        block.cuba.Dense(CUBA, 8, 6, weight_scale=3, delay=True),
        block.cuba.Dense(CUBA, 6, 4, weight_scale=3, delay=True),
    ],
    "input, dense": lambda: [block.cuba.Input(CUBA, weight=1.0), block.cuba.Dense(CUBA, 8, 6, weight_scale=3)],
    "conv, groups, flatten": lambda: [
        block.cuba.Conv(CUBA, 2, 4, (3, 2), stride=(1, 2), padding=(1, 0), groups=2, weight_scale=4),
        block.cuba.Conv(OWN, 4, 4, (2, 3), dilation=(2, 1), weight_scale=3),
        block.cuba.Flatten(),
        block.cuba.Dense(CUBA, 32, 4, weight_scale=3),
    ],
    "conv, bias": lambda: [
        block.cuba.Conv(NORM, 2, 4, (3, 2), weight_scale=4),
        block.cuba.Conv(NORM, 4, 2, 2, weight_scale=4),
    ],
    "conv, delay": lambda: [block.cuba.Conv(CUBA, 2, 4, (3, 2), weight_scale=4, delay=True)],
    "pool, convT, unpool": lambda: [
        block.cuba.Pool(CUBA, (3, 4), weight_scale=1.2),
        block.cuba.ConvT(CUBA, 2, 3, (2, 3), stride=(2, 1), weight_scale=3),
        block.cuba.Unpool(CUBA, 2, weight_scale=1.5),
    ],
    "recurrent": lambda: [
        block.cuba.Recurrent(CUBA, 8, 10, weight_scale=2),
        block.cuba.Dense(CUBA, 10, 4, weight_scale=3),
    ],
    "resonators": lambda: [
        block.rf.Dense(OWN_RF, 8, 6, weight_scale=3),
        block.rf_iz.Dense(RF, 6, 6, weight_scale=3),
        block.rf_iz.Recurrent(RF, 6, 4, weight_scale=3),
    ],
    "resonators, planes": lambda: [
        block.rf_iz.Conv(RF, 2, 4, (3, 2), weight_scale=3),
        block.rf.Pool(RF, 2, weight_scale=2),
    ],
    "sigma-delta": lambda: [
        block.sigma_delta.Input(SDNN),
        block.sigma_delta.Dense({**SDNN, "activation": torch.nn.Identity()}, 8, 10),
        block.sigma_delta.Dense({**SDNN, "cum_error": True}, 10, 6),
        block.sigma_delta.Output(SDNN, 6, 3),
    ],
    "sigma-delta, planes, bias": lambda: [
        block.sigma_delta.Input(SDNN),
        block.sigma_delta.Conv(SDNN_NORM, 2, 4, (3, 2), stride=(1, 2)),
        block.sigma_delta.Flatten(),
        block.sigma_delta.Dense(SDNN_NORM, 64, 6),
        block.sigma_delta.Output(SDNN, 6, 3),
    ],
    "graded input": lambda: [
        block.cuba.Dense(CUBA, 8, 6, weight_scale=0.5),
        block.cuba.Dense(CUBA, 6, 4, weight_scale=3),
    ],
}  # fmt: skip


def signal(case, rng):
    """Spikes, integers, or slow changes, (C, ..., T)."""
    shape = PLANE if any(word in case for word in ("conv", "plane", "pool")) else (8,)
    if "sigma" in case:
        return np.cumsum(rng.normal(size=(*shape, STEPS)), -1).astype(np.float32) / 8
    if "graded" in case:
        return rng.integers(-7, 8, (*shape, STEPS)).astype(np.float32)
    if "input" in case:
        return rng.random((*shape, STEPS)).astype(np.float32)
    return (rng.random((*shape, STEPS)) < 0.4).astype(np.float32)


def encoded(case, x):
    """What the in-port carries: an input layer's signal on the grid that training puts it on, in 64ths."""
    x = np.clip(np.rint(x * 32) / 32, -4, 4 - 1 / 32) * 64 if case.startswith(("input", "sigma")) else x
    assert (x == np.rint(x)).all()
    return x.astype(np.int32)


def trained(case, x):
    """A network in evaluation, its means and delays drawn, and what it gives."""
    torch.manual_seed(1)
    net = torch.nn.Sequential(*CASES[case]())
    with torch.no_grad():
        net(torch.tensor(x[None]))
        for part in net.modules():
            if hasattr(part, "running_mean"):
                part.running_mean.copy_(0.5 * torch.rand_like(part.running_mean) - 0.3)
            if isinstance(part, axon.Delay):
                part.delay.copy_(9 * torch.rand_like(part.delay))
        return net, net.eval()(torch.tensor(x[None]))[0].numpy()


@pytest.mark.parametrize("case", CASES)
def test_training_simulator_and_lava_are_equal(case, tmp_path):
    """Messages of the last layer in the timing of training; states and messages of all layers in that of Lava."""
    x = signal(case, np.random.default_rng(2))
    net, output = trained(case, x)
    assert (output != 0).mean() > 0.02
    path = str(tmp_path / "network.net")
    save(net, path)
    options = {"input_message_bits": 8 * ("graded" in case)}
    shape = None if case.startswith(("input", "sigma")) else x.shape[:-1]
    port = encoded(case, x)

    simulator = Simulator(path, **options, input_shape=shape)
    np.testing.assert_array_equal(simulator.run(port, align="slayer") * simulator.output_scale, output)

    options["input_shape"] = None if shape is None else shape[::-1]
    sent, states = run(Network(path, **options), port, states=True)
    indices = [index for index, layer in enumerate(simulator.layers) if layer.neuron is not None]
    record = [(index, name) for index in indices for name in simulator.recordable[index]]
    _, found = simulator.run(port, record=record)
    for index, messages, each in zip(indices, sent, states, strict=True):
        for name in simulator.recordable[index]:
            values = messages if name == "spike" else each[name]
            np.testing.assert_array_equal(values, found[index, name], f"{name} of entry {index}")

    lava = Network(path, **options, align="slayer")
    if "bias" in case:  # without one, both timings are the same
        sent = run(lava, port)
    assert_later(sent[-1] * simulator.output_scale, output, lava.lag)


def assert_later(found, output, lag):
    """``found`` is ``output``, ``lag`` steps later, or earlier where that is negative."""
    steps = STEPS - abs(lag)
    np.testing.assert_array_equal(found[..., max(lag, 0) :][..., :steps], output[..., max(-lag, 0) :][..., :steps])


def test_read_out_without_neurons(tmp_path):
    """Lava adds its sums up, without a leak, in the current."""
    x = signal("read-out", np.random.default_rng(2))
    net = block.cuba.Affine(CUBA, 8, 4, weight_scale=3, dynamics=False)
    output = net(torch.tensor(x[None]))[0].detach().numpy()
    save(net, tmp_path / "network.net")
    lava = Network(str(tmp_path / "network.net"))
    _, states = run(lava, x, states=True)
    sums = np.diff(states[0]["current"], prepend=0, axis=-1) / 4096
    assert lava.lag == 1
    assert_later(sums, output, 1)
