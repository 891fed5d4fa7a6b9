"""Blocks of CUBA neurons against the integers, written out by NumPy from what each block promises."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ExchangeError
from lavadl_lite.slayer.block import cuba
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm, WgtScaleBatchNorm
from tests import strategies
from tests.reference import fixed_point

PARAMS = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.1}
CURRENT, VOLTAGE, LEVEL = 1024, 410, 5 * 1024 + 1  # of PARAMS, in integers


def even_integers(weight):
    """What 8 bits with sign hold: even, in -256..254, in 64ths."""
    return np.clip(2 * np.round(weight.astype(np.float64) * 32), -256, 254)


def states(x, level=LEVEL):
    """Current and voltage of the neurons of PARAMS for x of any shape, in 4096ths."""
    rows = x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
    return [s.reshape(x.shape) for s in fixed_point.cuba(rows, CURRENT, VOLTAGE, 0, 0, 4096, level)]


def shifted(x, steps=1):
    rows = x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
    return fixed_point.delay(rows, np.broadcast_to(steps, len(rows))).reshape(x.shape)


def values(module):
    return module.synapse.weight.detach().numpy()[..., 0, 0, 0]


@settings(max_examples=60)
@given(
    st.integers(0, 3), st.integers(1, 12), st.integers(1, 20), strategies.times(), st.booleans(), st.booleans(),
    st.booleans(), st.booleans(), strategies.generators(),
)  # fmt: skip
def test_dense(N, inputs, outputs, T, delay, delay_shift, graded, masked, rng):
    """y = axon(shift(neuron(W x))), W quantised after its mask, all in integers."""
    mask = (rng.random((outputs, inputs)) < (0.7 if masked else 2)).astype(np.float32)
    block = cuba.Dense(
        PARAMS | {"graded_spike": graded}, inputs, outputs, weight_scale=4, delay=delay, delay_shift=delay_shift,
        mask=torch.from_numpy(mask) if masked else None,
    )  # fmt: skip
    block.materialize((inputs,))
    x = (rng.random((N, inputs, T)) < 0.4).astype(np.float32)
    arriving = np.einsum("oi,nit->not", even_integers(values(block) * mask), x) / 64
    _, voltage = states(arriving)
    spikes = (voltage >= LEVEL) * (voltage / 4096 if graded else 1)
    if delay_shift:
        spikes = shifted(spikes)
    if delay:
        block.delay.delay.data = torch.from_numpy(rng.uniform(0, 70, outputs).astype(np.float32))
        held = np.minimum(block.delay.delay.detach().numpy(), 62)
        spikes = shifted(spikes, np.broadcast_to(np.floor(held).astype(int), (N, outputs)).reshape(-1))
    np.testing.assert_array_equal(block(torch.from_numpy(x)).detach().numpy(), spikes)


@settings(max_examples=30)
@given(
    shape=strategies.shapes(), weight=st.sampled_from([None, 1.0, -0.6]), bias=st.sampled_from([None, 0.5, -0.26]),
    delay_shift=st.booleans(), data=st.data(),
)  # fmt: skip
def test_input(shape, weight, bias, delay_shift, data):
    """y = shift(neuron(q(x) q(w) + q(b))), the signal held in 8 bits as well."""
    x = data.draw(strategies.float_inputs(shape)) * 3
    block = cuba.Input(PARAMS, weight, bias, delay_shift)
    signal = even_integers(x) / 64
    signal = signal * (1 if weight is None else even_integers(np.float32([weight])) / 64)
    signal = signal + (0 if bias is None else even_integers(np.float32([bias])) / 64)
    _, voltage = states(signal)
    spikes = (voltage >= LEVEL).astype(np.float32)
    ours = block(torch.from_numpy(x))
    np.testing.assert_array_equal(ours.detach().numpy(), shifted(spikes) if delay_shift else spikes)


def test_input_trains_weight_and_bias_only_where_given():
    x = torch.rand(2, 3, 20)
    block = cuba.Input(PARAMS, weight=2, bias=0.5)
    block(x).sum().backward()
    assert block.weight.shape == block.bias.shape == (1,)
    assert block.weight.grad.any()
    assert block.bias.grad.any()
    assert [n for n, _ in cuba.Input(PARAMS).named_parameters()] == ["neuron.current_decay", "neuron.voltage_decay"]


def test_input_without_a_neuron_passes_on():
    """Defect 2: lava-dl fails here."""
    block, x = cuba.Input(), torch.rand(2, 3, 4, 5, 6)
    assert torch.equal(block(x), x)
    assert block.shape == (3, 4, 5)
    assert not list(block.parameters())


def test_input_takes_integers_as_numbers():
    x = torch.randint(-3, 4, (2, 3, 20))
    assert torch.equal(cuba.Input(PARAMS)(x), cuba.Input(PARAMS)(x.float()))


@given(strategies.shapes(), strategies.generators())
def test_flatten(shape, rng):
    x = rng.random(shape).astype(np.float32)
    block = cuba.Flatten()
    channels = int(np.prod(shape[1:-1]))
    truth = x.reshape(shape[0], channels, shape[-1])
    np.testing.assert_array_equal(block(torch.from_numpy(x)).numpy(), truth)
    assert block.shape == (channels, 1, 1)


@pytest.mark.parametrize("dynamics", [True, False])
def test_affine(dynamics):
    """The voltage that no spike resets, or the sums; not shifted."""
    rng = np.random.default_rng(0)
    block = cuba.Affine(PARAMS, 6, 5, weight_scale=4, dynamics=dynamics)
    x = (rng.random((3, 6, 80)) < 0.4).astype(np.float32)
    sums = np.einsum("oi,nit->not", even_integers(values(block)), x) / 64
    _, voltage = states(sums, level=None)
    assert (voltage > LEVEL).any()
    truth = voltage / 4096 if dynamics else sums
    np.testing.assert_array_equal(block(torch.from_numpy(x)).detach().numpy(), truth)


def test_output_reads_the_voltage():
    x = torch.from_numpy((np.random.default_rng(0).random((3, 6, 80)) < 0.4).astype(np.float32))
    torch.manual_seed(0)
    output = cuba.Output(PARAMS, 6, 5, weight_scale=4)
    torch.manual_seed(0)
    affine = cuba.Affine(PARAMS, 6, 5, weight_scale=4)
    assert torch.equal(output(x), affine(x))


def test_a_hook_is_applied_instead_of_the_quantiser():
    x = torch.rand(2, 6, 9)
    block = cuba.Affine(PARAMS, 6, 5, pre_hook_fx=None, dynamics=False)
    torch.testing.assert_close(block(x), torch.einsum("oi,nit->not", block.synapse.weight[..., 0, 0, 0], x))
    block = cuba.Affine(PARAMS, 6, 5, pre_hook_fx=torch.sign, dynamics=False)
    torch.testing.assert_close(block(x), torch.einsum("oi,nit->not", block.synapse.weight.sign()[..., 0, 0, 0], x))


def test_who_watches_the_neurons_sees_their_spikes_before_the_step_delay():
    block = cuba.Dense(PARAMS, 6, 5, weight_scale=4)
    x = torch.rand(2, 6, 40).round()
    sent, seen = block(x), []
    hook = block.neuron.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert torch.equal(block(x), sent)
    assert torch.equal(seen[0][..., :-1], sent[..., 1:])
    assert sent.any()
    hook.remove()
    block.neuron.register_full_backward_hook(lambda module, inputs, outputs: seen.append(outputs[0]))
    grad = torch.rand_like(sent)
    block(x).backward(grad)
    assert torch.equal(seen[1][..., :-1], grad[..., 1:])
    assert not seen[1][..., -1].any()


def test_neurons_with_a_forward_of_their_own_are_delayed_by_a_pass():
    class Silenced(cuba.Dense.neuron_type):
        def forward(self, input):
            return super().forward(input) * 0.5

    block, x = cuba.Dense(PARAMS, 6, 5, weight_scale=4), torch.rand(2, 6, 40).round()
    sent = block(x)
    block.neuron.__class__ = Silenced
    assert sent.any()
    assert torch.equal(block(x), sent * 0.5)


@pytest.mark.parametrize("norm", [MeanOnlyBatchNorm, WgtScaleBatchNorm])
def test_a_norm_stands_between_the_integrators(norm):
    """The current less the quantised mean, over a power of two, is what the voltage integrates."""
    rng = np.random.default_rng(0)
    block = cuba.Dense(PARAMS | {"norm": norm}, 6, 5, weight_scale=4, delay_shift=False).eval()
    block.materialize((6,))
    mean = torch.tensor([0.5, -0.25, 1.0, 0.0, 0.1])
    block.neuron.norm.running_mean.copy_(mean)
    exponent = 0
    if norm is WgtScaleBatchNorm:
        block.neuron.norm.running_var.fill_(3.0)
        exponent = 1  # the power of two at or above the root of 3
    x = (rng.random((3, 6, 80)) < 0.4).astype(np.float32)
    sums = np.einsum("oi,nit->not", even_integers(values(block)), x) / 64
    current = fixed_point.leaky(sums.reshape(15, 80), CURRENT, 0, 4096, None).reshape(3, 5, 80) / 4096
    bias = even_integers(mean.numpy())[None, :, None] / 64
    filtered = ((current - bias) / 2**exponent).reshape(15, 80)
    voltage = fixed_point.leaky(filtered, VOLTAGE, 0, 4096, LEVEL).reshape(3, 5, 80)
    np.testing.assert_array_equal(block(torch.from_numpy(x)).detach().numpy(), voltage >= LEVEL)
    assert block.exchange_layer().fields["bias"].tolist() == (-even_integers(mean.numpy())).tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_come_back(dtype):
    x = (torch.rand(2, 6, 40) < 0.5).to(dtype)
    torch.manual_seed(0)
    for block in (
        cuba.Dense(PARAMS, 6, 5, weight_scale=4, delay=True), cuba.Affine(PARAMS, 6, 5), cuba.Input(PARAMS, 2, 0.5),
        cuba.Flatten(), cuba.Output(PARAMS, 6, 5),
    ):  # fmt: skip
        y = block(x)
        assert y.dtype == dtype
        if isinstance(block, cuba.Dense | cuba.Input):
            assert torch.equal(y, block(x.float()).to(dtype))


# ------------------------------------------------------------------------------------------------------------ export
def test_dense_fields():
    block = cuba.Dense(PARAMS, 6, 5, weight_scale=4, delay=True)
    block.materialize((6,))
    block.delay.delay.data = torch.tensor([0.0, 0.99, 1.0, 61.9, 80.0])
    layer = block.exchange_layer()
    assert layer.type == "dense"
    assert layer.fields["shape"].tolist() == [5]
    assert layer.fields["shape"].dtype == np.int64
    assert (layer.fields["inFeatures"], layer.fields["outFeatures"]) == (6, 5)
    np.testing.assert_array_equal(layer.fields["weight"], even_integers(values(block)))
    assert layer.fields["weight"].dtype == np.float32
    assert layer.fields["delay"].tolist() == [0, 0, 1, 61, 62]
    assert layer.fields["delay"].dtype == np.float32
    assert "bias" not in layer.fields
    assert layer.neuron == block.neuron.device_params
    assert block.delay.delay.tolist()[-1] == 80  # reading holds nothing


def test_what_weight_norm_and_mask_make_is_written():
    mask = torch.tensor([[1.0, 0, 1, 1, 0, 1]] * 5)
    block = cuba.Dense(PARAMS, 6, 5, weight_scale=4, weight_norm=True, mask=mask)
    block.materialize((6,))
    block.synapse.weight_g.data *= 1.5
    truth = even_integers(values(block) * mask.numpy())
    np.testing.assert_array_equal(block.exchange_layer().fields["weight"], truth)
    assert not np.signbit(block.exchange_layer().fields["weight"][:, 1]).any()


def test_a_plane_is_written_in_the_order_of_flatten():
    """lava-dl cannot export it.  Flattened, the same input through the written matrix gives the same sums."""
    block = cuba.Affine(PARAMS, (3, 2, 4), 5, dynamics=False)
    x = torch.rand(2, 4, 2, 3, 7)
    sums = block(x)[:, :, 0, 0]
    weight = torch.from_numpy(block.exchange_layer().fields["weight"]) / 64
    torch.testing.assert_close(torch.einsum("oi,nit->not", weight, x.flatten(1, 3)), sums)
    several = cuba.Affine(PARAMS, (2, 2, 4), 5)
    several(x)
    with pytest.raises(ExchangeError, match="expected one neuron a channel"):
        several.exchange_layer()


def test_read_outs_never_fire_on_the_device():
    for block in (cuba.Affine(PARAMS, 6, 5), cuba.Output(PARAMS, 6, 5)):
        block.materialize((6,))
        assert block.exchange_layer().neuron["vThMant"] == 2**18 - 1
    block = cuba.Affine(PARAMS | {"norm": MeanOnlyBatchNorm}, 6, 5, dynamics=False)
    block.materialize((6,))
    assert block.exchange_layer().neuron is None
    assert "bias" not in block.exchange_layer().fields  # the norm is not part of the sums


def test_input_fields():
    block = cuba.Input(PARAMS, 2, 0.51)
    block.materialize((1, 3, 2))
    layer = block.exchange_layer()
    assert layer.fields["shape"].tolist() == [1, 3, 2]
    assert layer.fields["weight"].tolist() == [128]
    assert layer.fields["bias"].tolist() == [32]
    passing = cuba.Input()
    passing.materialize((1, 3, 2))
    assert passing.exchange_layer().neuron is None


def test_the_clamped_exponent_of_training_is_written():
    """D14: training holds it in -3..3."""
    block = cuba.Dense(PARAMS | {"norm": WgtScaleBatchNorm}, 6, 5)
    block.materialize((6,))
    for variance, exponent in ((1e-4, -3), (3.0, 1), (1e6, 3)):
        block.neuron.norm.running_var.fill_(variance)
        assert block.exchange_layer().neuron["weight_exp"].tolist() == [exponent]
