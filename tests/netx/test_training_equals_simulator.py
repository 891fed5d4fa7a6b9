"""What blocks compute in training is what the simulator makes of their entries, bit for bit, states below 2**23."""

import numpy as np
import pytest
import torch

from lavadl_lite.netx import Simulator
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm, WgtScaleBatchNorm
from tests.contracts.families import (
    FAMILIES,
    FULL,
    block_cases,
    block_module,
    family_id,
    params,
    spikes,
    variant,
)

FAMILY = pytest.mark.parametrize("neuron", FAMILIES, ids=family_id)
HELD = ("current", "voltage", "real", "imag")


def prepared(net, x, seed=0, lift=0.0):
    """``net`` after a forward, which draws what has to be drawn: delays and norms do something, weights are lifted."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    outputs(net, x)
    for block in net:
        for name, weight in block.named_parameters():
            if weight.dim() == 5:  # not those that come back, which would let states grow for ever
                weight.data += 0 if "recurrent" in name else lift
        if block.delay is not None:
            block.delay.delay.data = torch.as_tensor(rng.uniform(0, 9, len(block.delay.delay)), dtype=torch.float32)
        norm = None if block.neuron is None else block.neuron.norm
        for part in () if norm is None else norm if isinstance(norm, tuple) else (norm,):
            part.running_mean.uniform_(-1, 1)
            if isinstance(part, WgtScaleBatchNorm):
                part.running_var.fill_(2.0 ** rng.integers(-3, 5))
        block.eval()
    return net


def outputs(net, x):
    """What each block gives, without event rates."""
    found = []
    with torch.no_grad():
        for block in net:
            x = block(x)
            found.append(x)
    return found


def check(net, neuron, x):
    """All that is sent and read out equals the simulator's; returns how much of it is not 0."""
    sums_up = neuron.type_name == "SDNN"
    simulator = Simulator(net, input_message_bits=16 if sums_up else 0)
    port = x.numpy()
    if net[0].neuron is not None and net[0].layer_type == "input":
        port = simulator.encode(port)
    elif sums_up:  # messages are multiples of 1 / 4096
        port = port * 4096
    record = [(i, name) for i, names in simulator.recordable.items() for name in names]
    output, states = simulator.run(port, "slayer", record)
    for (i, name), values in states.items():
        assert name not in HELD or np.abs(values).max(initial=0) < 1 << 23, f"{name} of layer {i}"
    truths = [truth.numpy() for truth in outputs(net, x)]
    for i, (block, truth) in enumerate(zip(net, truths, strict=True)):
        if block.neuron is not None:
            name, one = "spike", 4096 if block.neuron.graded_spike else 1
            if not block.sends:
                name, one = ("sigma", 1 << 18) if sums_up else ("imag" if neuron.complex else "voltage", 4096)
            np.testing.assert_array_equal(states[i, name] / one, truth, f"{name} of layer {i}")
    if net[-1].sends or net[-1].neuron is None:
        np.testing.assert_array_equal(output * simulator.output_scale, truths[-1])
    return [np.count_nonzero(truth) for truth in truths]


@block_cases()
def test_every_block(neuron, case):
    if isinstance(case.options.get("in_neurons"), tuple) or not case.options.get("dynamics", True):
        pytest.skip("has a test of its own")
    family = block_module(neuron)
    fired = 0
    other = {} if case.name == "KWTA" else variant(neuron, on=True)  # inhibition by graded messages grows for ever
    for per_channel, options in ((False, {}), (True, other)):
        block = case.make(neuron, per_channel, **options)
        for weight in (parameter.data for parameter in block.parameters() if parameter.dim() == 5):
            if options and neuron.decays:  # float32 holds sums of graded messages below 128
                weight.mul_(0.4)
            if len(weight) == 1:  # a single neuron, which should fire
                weight.abs_()
        net = [block] if case.name == "Input" else [family.Input(), block]
        if block.neuron is None:
            size = int(np.prod(block.materialize(case.spatial)))
            net += [family.Flatten()] if len(case.spatial) == 3 else []
            net += [family.Dense(params(neuron, per_channel, **options), size, 5, weight_scale=3)]
        x = case.input(T=40, N=2, seed=1) * (1 if block.neuron is None or case.name != "Input" else 3)
        fired += check(prepared(net, x), neuron, x)[-1]
    assert fired


@FAMILY
def test_dense_over_a_plane(neuron):
    block = block_module(neuron).Dense(params(neuron), in_neurons=(3, 2, 4), out_neurons=5, weight_scale=3, delay=True)
    x = spikes(2, 4, 2, 3, 24)
    (truth,) = outputs(prepared([block], x), x)
    one = 4096 if neuron.type_name == "SDNN" else 1
    found = Simulator([block], input_message_bits=16).run(x.flatten(1, -2) * one, "slayer")
    np.testing.assert_array_equal(found / one, truth[:, :, 0, 0])
    assert found.any()


@FAMILY
def test_affine_without_dynamics(neuron):
    """The entry sums up what the block gives."""
    block = block_module(neuron).Affine(params(neuron), dynamics=False, **FULL)
    x = spikes(2, 6, 24)
    (truth,) = outputs([block], x)
    names = ("real", "imag") if neuron.complex else ("current",)
    _, states = Simulator([block]).run(x, "slayer", [(0, name) for name in names])
    for name, sums in zip(names, truth if neuron.complex else (truth,), strict=True):
        np.testing.assert_array_equal(np.diff(states[0, name], prepend=0) / 4096, sums)
        assert sums.any()


@FAMILY
@pytest.mark.parametrize("norm", [MeanOnlyBatchNorm, WgtScaleBatchNorm])
def test_normalised_blocks(neuron, norm):
    family = block_module(neuron)
    net = [
        family.Input(),
        family.Conv(params(neuron, norm=norm), 2, 4, (2, 3), groups=2, weight_scale=3, delay=True),
        family.Flatten(),
        family.Dense(params(neuron, norm=norm, **variant(neuron, on=True)), 24, 6, weight_scale=2),
        family.Recurrent(params(neuron, norm=norm), 6, 5, weight_scale=2),
    ]
    x = spikes(2, 2, 4, 4, 24)
    for seed in range(2):
        sent = check(prepared(net, x, seed), neuron, x)
        assert all(sent[:2])


@FAMILY
def test_messages_over_planes(neuron):
    family = block_module(neuron)
    # without a reset by spikes voltages grow from layer to layer
    quick = {"voltage_decay": 0.9} if neuron.type_name == "ALIF" else {}
    plain, graded = params(neuron) | quick, params(neuron, **variant(neuron, on=True)) | quick
    kernel = {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    net = [
        family.Input(plain, weight=2.0, bias=0.25),
        family.Conv(plain, 2, 4, **kernel, weight_norm=True, delay=True),
        family.Pool(graded, 2, weight_scale=0.5),
        family.Unpool(graded, 2, weight_scale=0.25),
        family.ConvT(plain, 4, 4, (2, 1), groups=4, delay_shift=False),
        family.Flatten(),
        family.TimeDecimation(2),
        family.Dense(graded, 40, 5, weight_scale=4),
    ]
    x = 3 * torch.rand(2, 2, 4, 6, 64) - 1
    sent = check(prepared(net, x, lift=0.2), neuron, x)
    assert all(sent)


@FAMILY
def test_messages_of_full_layers(neuron):
    torch.manual_seed(1)  # with which the layers of every family send
    family = block_module(neuron)
    plain, graded = params(neuron, per_channel=True), params(neuron, **variant(neuron, on=True))
    mask = torch.arange(8 * 16).reshape(8, 16) % 3 > 0
    net = [
        family.Dense(graded, 6, 16, delay=True),
        family.Dense(plain, 16, 8, mask=mask),
        family.Average(4),
        family.Recurrent(plain, 4, 8, delay=True),
        family.KWTA(plain, 8, 6, 2),
        family.Output(params(neuron), 6, 3),
    ]
    x = spikes(2, 6, 40)
    sent = check(prepared(net, x, lift=0.2), neuron, x)
    assert all(sent)
