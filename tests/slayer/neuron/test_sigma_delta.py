"""The sigma-delta neuron: its parts in a row, with all options; what it holds on the device; streaming and loading."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ExchangeError, ParameterError, ShapeError
from lavadl_lite.exchange import ACTIVATIONS as ACTIVATION_NAMES
from lavadl_lite.slayer import axon
from lavadl_lite.slayer.block import sigma_delta as sigma_delta_block
from lavadl_lite.slayer.neuron import Dropout
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm
from lavadl_lite.slayer.neuron.sigma_delta import Neuron, neuron_params
from tests import strategies
from tests.reference import sigma_delta

GOLDEN = torch.tensor([[[0.1, 0.3, 0.32, 0.7, -2]]])
ACTIVATIONS = {"relu": F.relu, "identity": torch.nn.Identity(), "negative": torch.neg}


def in_numpy(name, x):
    return {"relu": np.maximum(x, np.float32(0)), "identity": x, "negative": -x}[name]


@settings(max_examples=300)
@given(
    strategies.shapes(), st.sampled_from(list(ACTIVATIONS)), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from([1, 16, 64, 2**17]), st.floats(0, 3), st.data(),
)  # fmt: skip
def test_messages_equal_the_reference(shape, name, cumulative, carry, shared, scale, threshold, data):
    x = data.draw(strategies.inputs(shape, 64 * scale))
    layer = Neuron(
        threshold, ACTIVATIONS[name], scale=scale, cum_error=cumulative, carry_rounding=carry, shared_param=shared
    )
    y = layer(torch.from_numpy(x))
    rows = x.reshape(int(np.prod(shape[:-1])), shape[-1])
    level = np.full(len(rows), max(int(threshold * scale) / scale, 1 / (64 * scale)), np.float32)
    activation = in_numpy(name, sigma_delta.sigma(rows)[0])
    zeros = np.zeros((3, len(rows)), np.float32)
    truth, *_ = sigma_delta.delta(activation, level, zeros, 64 * scale, cumulative, carry)
    np.testing.assert_array_equal(y.detach().numpy(), truth.reshape(shape))


def test_a_read_out_says_nothing_of_how_messages_are_made():
    neuron = Neuron(0.25, F.relu, cum_error=True, carry_rounding=True)
    assert neuron.read_out_params == {"type": "SDNN", "activation": "relu", "vThMant": 16, "sigma_output": True}


def test_golden_vector():
    y = Neuron(0.25, F.relu)(GOLDEN)
    assert y.tolist() == [[[0, 0.39990234375, 0.31982421875, 0.699951171875, -1.420166015625]]]


def lava(arriving, threshold, bias, cumulative, exponent=6):
    """Lava's integers for one layer: inputs carry 6 + ``exponent`` fractional bits, messages too."""
    total = activation = residue = error = np.zeros(len(arriving), np.int64)
    out = np.zeros(arriving.shape, np.int64)
    level, offset = threshold << exponent + 6, bias << exponent + 6
    for t in range(arriving.shape[1]):
        total = total + arriving[:, t]
        x = np.maximum(total + offset, 0)
        d = x - activation + residue
        error = error + d if cumulative else d
        sent = np.where(np.abs(error) >= level, d, 0)
        error = np.where(sent != 0, 0, error)
        residue, activation = d - sent, x
        out[:, t] = sent >> 6
    return out


@settings(max_examples=300)
@given(st.integers(1, 20), strategies.times(), st.integers(1, 100), st.integers(-50, 50), st.booleans(), st.data())
def test_integers_are_those_of_the_chip(rows, T, threshold, bias, cumulative, data):
    """Messages of 12 fractional bits times weights of 6, as Lava's process computes them."""
    rng = data.draw(strategies.generators())
    arriving = rng.integers(-(2**16), 2**16, (rows, T)) * (rng.random((rows, T)) < 0.3)
    layer = Neuron(threshold / 64, F.relu, cum_error=cumulative)
    layer.set_bias(torch.full((rows,), bias / 64))
    x = torch.from_numpy((arriving / 2**18).astype(np.float32))
    truth = lava(arriving, threshold, bias, cumulative)
    np.testing.assert_array_equal(layer(x[None])[0].detach().numpy() * 4096.0, truth)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("bias", [None, (1,), (5,), (5, 3)])
def test_gradients_equal_float64_autograd(name, shared, cumulative, bias):
    rng = np.random.default_rng(0)
    shape = (2, 5, 3, 90)
    x, weight = (torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for _ in range(2))
    x.requires_grad_()
    layer = Neuron(
        0.8, ACTIVATIONS[name], 0.7, 1.5, cum_error=cumulative, shared_param=shared, requires_grad=True
    )  # fmt: skip
    if bias is not None:
        layer.set_bias(torch.from_numpy(rng.normal(size=bias).astype(np.float32)))
    layer.materialize(shape[1:-1])
    layer.threshold.data += torch.linspace(0, 0.5, len(layer.threshold))
    (layer(x) * weight).sum().backward()

    ours = [x, layer.threshold, *([] if bias is None else [layer.bias])]
    leaves = [v.detach().double().requires_grad_() for v in ours]
    total = torch.cumsum(leaves[0], -1)
    if bias is not None:
        total = total + leaves[2].reshape(*bias, *[1] * (3 - len(bias)))
    activation = ACTIVATIONS[name](total).flatten(0, -2)
    levels = leaves[1].reshape(-1, 1).expand(shape[:-1]).reshape(-1)
    held = levels.detach().float().numpy()
    singles = torch.cumsum(x.detach(), -1)
    if bias is not None:
        singles = singles + layer.bias.detach().reshape(*bias, *[1] * (3 - len(bias)))
    values = in_numpy(name, singles.flatten(0, -2).numpy())
    message, difference, _ = sigma_delta.delta(values, held, np.zeros((3, 30), np.float32), 4096, cumulative)
    model = sigma_delta.delta_model(
        activation, levels[:, None], torch.zeros(30).double(),
        *(torch.from_numpy(a).double() for a in (message, difference)), 0.7, 1.5,
    )  # fmt: skip
    (model.reshape(shape) * weight.double()).sum().backward()
    for a, b in zip(ours, leaves, strict=True):
        assert a.grad.shape == a.shape
        assert float((a.grad - b.grad).abs().max() / b.grad.abs().max()) < 1e-5


# -------------------------------------------------------------------------------------------------------------- fused
FUSED = {
    "identity": torch.nn.Identity(),
    "relu": F.relu,
    "torch.relu": torch.relu,
    "ReLU": torch.nn.ReLU(),
    "ReLU in place": torch.nn.ReLU(inplace=True),
    "relu6": F.relu6,
    "ReLU6": torch.nn.ReLU6(),
    "hardtanh": F.hardtanh,
    "Hardtanh": torch.nn.Hardtanh(-0.3, 0.7),
    "leaky_relu": F.leaky_relu,
    "LeakyReLU": torch.nn.LeakyReLU(0.3),
}


@settings(max_examples=300)
@given(
    strategies.shapes(), st.sampled_from(list(FUSED)), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from([None, "one", "channels", "neurons"]), st.sampled_from(list(strategies.LAYOUTS)), st.data(),
)  # fmt: skip
def test_the_fused_pass_gives_the_bits_of_separate_ones(
    shape, name, cumulative, carry, shared, persistent, bias, layout, data
):
    """What is wrapped is no known function: it runs in separate passes."""
    rng = data.draw(strategies.generators())
    x = data.draw(strategies.inputs(shape, 4096))
    weight = torch.from_numpy(rng.normal(size=shape).astype(np.float32))
    sizes = {"one": (1,), "channels": shape[1:2], "neurons": shape[1:-1]}
    offset = None if bias is None else torch.from_numpy(rng.normal(size=sizes[bias]).astype(np.float32))
    results = []
    for activation in (FUSED[name], partial(FUSED[name])):
        layer = Neuron(
            0.3, activation, cum_error=cumulative, carry_rounding=carry, shared_param=shared,
            persistent_state=persistent, requires_grad=True,
        )  # fmt: skip
        if offset is not None:
            layer.set_bias(offset)
        leaf = strategies.laid_out(x, layout).requires_grad_()
        chunks = [layer(part) for part in leaf.split([shape[-1] // 3, shape[-1] - shape[-1] // 3], -1)]
        y = torch.cat(chunks, -1) if persistent else layer(leaf)
        (y * weight).sum().backward()
        held = [*layer.sigma.buffers(), *layer.delta.buffers()]
        results.append((y, [leaf.grad, *held], [p.grad for p in layer.parameters() if p.grad is not None]))
    (y, exact, sums), (truth, exact_truth, sums_truth) = results
    assert torch.equal(y, truth)
    if np.isfinite(x).all():  # else sums are not a number
        for a, b in zip(exact, exact_truth, strict=True):
            assert torch.equal(a, b)
        for a, b in zip(sums, sums_truth, strict=True):
            # the same terms, of at most 4 weights each, in another order
            torch.testing.assert_close(a, b, rtol=0, atol=4e-6 * float(weight.abs().sum()))


def passes(layer, x):
    """Names of the operators in the graph of a forward."""
    names, waiting = set(), [layer(x.requires_grad_()).grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None:
            names.add(node.name())
            waiting += [child for child, _ in node.next_functions]
    return {name.removesuffix("Backward") for name in names if "igma" in name or "elta" in name}


class Shifted(torch.nn.ReLU):
    def forward(self, input):
        return super().forward(input) + 1


@pytest.mark.parametrize(
    ("fused", "activation", "options"),
    [(True, activation, {}) for activation in FUSED.values()]
    + [
        (True, F.relu, {"persistent_state": True, "cum_error": True, "dropout": Dropout(0.1)}),
        (False, torch.tanh, {}),
        (False, partial(F.relu), {}),
        (False, Shifted(), {}),
        (False, torch.nn.LeakyReLU(0.0), {}),
        (False, F.relu, {"norm": MeanOnlyBatchNorm}),
    ],
)
def test_what_runs_in_one_pass(fused, activation, options):
    found = passes(Neuron(0.1, activation, requires_grad=True, **options), torch.randn(2, 3, 20))
    assert found == ({"Sigma_delta"} if fused else {"Sigma", "Delta"})


class Late(axon.Delta):
    def forward(self, input):
        return super().forward(input).roll(1, -1)


def test_other_parts_are_used():
    layer, x = Neuron(0.1, F.relu), torch.randn(2, 3, 20)
    truth = layer(x).roll(1, -1)
    layer.delta = Late(layer.threshold, layer.s_scale)
    assert torch.equal(layer(x), truth)


@pytest.mark.parametrize("part", ["sigma", "delta", "activation"])
@pytest.mark.parametrize("hook", ["forward_hook", "forward_pre_hook", "full_backward_hook"])
def test_hooks_of_the_parts_are_called(part, hook):
    calls = []
    layer, x = Neuron(0.1, torch.nn.ReLU()), torch.randn(2, 3, 20, requires_grad=True)
    truth = layer(x)
    handle = getattr(getattr(layer, part), f"register_{hook}")(lambda *_: calls.append(1))
    y = layer(x)
    y.sum().backward()
    assert calls == [1]
    assert torch.equal(y, truth)
    handle.remove()
    layer(x).sum().backward()
    assert calls == [1]


def test_a_bias_compiles():
    """Without one and with states it is among the contracts."""
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        layer, x = Neuron(0.1, F.relu, requires_grad=True), torch.randn(2, 3, 100).requires_grad_()
        layer.set_bias(torch.randn(3))
        layer.materialize((3,))
        torch._dynamo.reset()
        y = (torch.compile(layer, fullgraph=True, backend="aot_eager") if compiled else layer)(x)
        y.square().sum().backward()
        results.append((y, x.grad, layer.threshold.grad, layer.bias.grad))
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


# -------------------------------------------------------------------------------------------------------------- bias
def test_a_bias_for_each_channel_goes_along_channels():
    """Also where the last spatial axis is as long as that of the channels."""
    x, bias = torch.randn(2, 3, 3, 3, 20), torch.tensor([0.5, -1.0, 2.0])
    layer = Neuron(0.1, F.relu)
    layer.set_bias(bias)
    for c in range(3):
        alone = Neuron(0.1, F.relu)
        alone.set_bias(bias[c : c + 1])
        assert torch.equal(alone(x[:, c : c + 1]), layer(x)[:, c : c + 1])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_bias_takes_the_spatial_shape(when):
    layer, bias = Neuron(0.1, F.relu), torch.arange(6.0)
    if when == "after":
        layer.materialize((3, 2))
    layer.set_bias(bias)
    layer.materialize((3, 2))
    assert layer.bias.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert layer.bias_is_set
    bias += 1
    assert layer.bias[0, 0] == 0


def test_a_bias_of_another_shape_is_refused():
    layer = Neuron(0.1, F.relu)
    layer.materialize((3, 2))
    with pytest.raises(ShapeError, match=r"expected a bias of shape \(1,\), \(3,\) or \(3, 2\), got \(4,\)"):
        layer.set_bias(torch.ones(4))
    early = Neuron(0.1, F.relu)
    early.set_bias(torch.ones(4))
    with pytest.raises(ShapeError, match="expected a bias"):
        early(torch.ones(1, 3, 2, 5))


# ------------------------------------------------------------------------------------------------------------- state
@settings(max_examples=300)
@given(strategies.shapes(), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_chunks_equal_the_whole(shape, shared, cumulative, carry, data):
    x = torch.from_numpy(data.draw(strategies.inputs(shape)))
    options = {"shared_param": shared, "cum_error": cumulative, "carry_rounding": carry}
    whole = Neuron(0.5, F.relu, **options)(x)
    layer = Neuron(0.5, F.relu, persistent_state=True, **options)
    parts = [layer(part) for part in x.split(data.draw(strategies.chunks(shape[-1])), -1)]
    assert torch.equal(torch.cat(parts, -1), whole)


def test_reset_state_and_a_new_batch_size_begin_anew():
    layer, x = Neuron(0.1, F.relu, persistent_state=True), torch.randn(2, 3, 10)
    first = layer(x)
    assert not torch.equal(layer(x), first)
    layer.reset_state()
    assert torch.equal(layer(x), first)
    assert torch.equal(layer(x[:1]), first[:1])


def test_gradients_flow_within_a_chunk_and_end_at_its_border():
    layer = Neuron(0.1, F.relu, persistent_state=True)
    first, second = torch.rand(2, 2, 3, 10).requires_grad_()
    layer(first)
    g_first, g_second = torch.autograd.grad(layer(second).sum(), (first, second), allow_unused=True)
    assert g_first is None
    assert g_second.any()


def test_dropout_comes_last_and_norm_before_the_activation():
    layer = Neuron(0.1, F.relu, norm=MeanOnlyBatchNorm, dropout=Dropout(0.5))
    x = torch.rand(2, 30, 40)
    torch.manual_seed(0)
    y = layer(x)
    total = torch.cumsum(x, -1)
    plain = Neuron(0.1, F.relu)
    plain.set_bias(-layer.norm.pre_hook_fx(total.mean((0, 2))))
    truth = plain(x)
    kept = (y != 0).any(-1, keepdim=True)
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(y, 2 * truth * kept, atol=0.5, rtol=0)  # a rounding may move a message by one step
    layer.eval()
    assert (layer(x) != 0).any(-1).all()


# ------------------------------------------------------------------------------------------------------------ device
def test_device_params():
    layer = Neuron(1.3, F.relu)
    assert layer.device_params == {"type": "SDNN", "activation": "relu", "vThMant": 83}
    assert layer.v_th_mant == 83
    assert layer.weight_exponent == 0
    assert layer.scale == 64
    assert layer.threshold is layer.delta.threshold
    assert layer.threshold.tolist() == [1.296875]
    assert layer.device.type == "cpu"
    layer.threshold.data.fill_(0.999)
    assert layer.v_th_mant == 63


def test_device_params_name_the_class_of_a_module():
    """lava-dl raises an AttributeError about device_params."""
    assert Neuron(1, torch.nn.ReLU()).device_params["activation"] == "relu"
    assert Neuron(1, torch.nn.LeakyReLU()).device_params["activation"] == "leakyrelu"
    assert "relu" in repr(Neuron(1, F.relu))
    assert "ReLU()" in repr(Neuron(1, torch.nn.ReLU()))


def relu(x):
    return x.clamp(0, 1)


@pytest.mark.parametrize(
    "activation",
    [F.relu, torch.relu, torch.tanh, F.elu, F.softplus, torch.nn.ELU(), torch.nn.ReLU(inplace=True), torch.nn.GELU()],
)
def test_a_name_says_what_is_computed(activation):
    assert Neuron(1, activation).device_params["activation"] in ACTIVATION_NAMES


@pytest.mark.parametrize(
    "activation",
    [
        torch.nn.ELU(alpha=2), torch.nn.Hardtanh(-2, 2), torch.nn.Softplus(threshold=3), relu,
        torch.nn.GELU(approximate="tanh"), type("Tanh", (torch.nn.Tanh,), {})(),
    ],
    ids=["argument", "limits", "keyword", "function", "variant", "class"],
)  # fmt: skip
def test_what_a_name_does_not_say_is_not_exported(activation):
    block = sigma_delta_block.Dense({"threshold": 1, "activation": activation}, 2, 2)
    block.materialize((2,))
    with pytest.raises(ExchangeError, match=r"neuron/activation: expected torch's .* without further arguments"):
        block.exchange_layer()
    read_out = sigma_delta_block.Output({"threshold": 1, "activation": activation}, 2, 2)
    read_out.materialize((2,))
    assert read_out.exchange_layer().neuron["sigma_output"]


def test_a_hook_is_no_part_of_the_name():
    activation = torch.nn.ReLU()
    handle = activation.register_forward_hook(lambda module, inputs, output: -output)
    with pytest.raises(ExchangeError, match="neuron/activation"):
        _ = Neuron(1, activation).device_params
    handle.remove()
    assert Neuron(1, activation).device_params["activation"] == "relu"


def test_thresholds_of_channels_on_the_device():
    """D11: lava-dl raises a ValueError."""
    layer = Neuron(np.array([0.1, 0.5, 1.3]), F.relu)
    assert layer.v_th_mant.tolist() == [6, 32, 83]
    assert layer.v_th_mant.dtype == np.int64
    assert not layer.shared_param
    spread = Neuron(0.5, F.relu, shared_param=False)
    assert spread.v_th_mant == 32
    spread.materialize((3,))
    assert spread.v_th_mant.tolist() == [32, 32, 32]


@pytest.mark.parametrize("threshold", [0.0, 0.7, np.array([0.1, 0.5, 1.3])])
@pytest.mark.parametrize("activation", [F.relu, torch.nn.ReLU(), torch.nn.Identity(), F.leaky_relu])
def test_device_params_make_the_same_neuron_again(threshold, activation):
    layer = Neuron(threshold, activation)
    again = Neuron(**neuron_params(layer.device_params))
    np.testing.assert_equal(again.device_params, layer.device_params)
    x = torch.randn(2, 3, 40)
    assert torch.equal(again(x), layer(x))


def test_neuron_params():
    assert neuron_params({"vThMant": 83}) == {"threshold": 83 / 64}
    assert neuron_params({"vThMant": 2, "activation": "<lambda>"}, scale=2) == {"threshold": 1}


# ----------------------------------------------------------------------------------------------------------- loading
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_state_dict_round_trips_into_a_fresh_neuron(shared, bias):
    layer = Neuron(0.3, F.relu, shared_param=shared, requires_grad=True)
    if bias:
        layer.set_bias(torch.linspace(-1, 1, 6))
    layer.materialize((3, 2))
    layer.threshold.data += torch.linspace(0, 0.5, len(layer.threshold))
    assert list(layer.state_dict()) == ["bias", "delta.threshold"]
    fresh = Neuron(0.5, F.relu, shared_param=shared)
    fresh.load_state_dict(layer.state_dict())
    x = torch.randn(2, 3, 2, 30)
    assert torch.equal(fresh(x), layer(x))


@pytest.mark.parametrize("used", [False, True])
def test_copies_and_pickles_go_on_alike(used):
    layer = Neuron(0.3, F.relu, persistent_state=True, norm=MeanOnlyBatchNorm, shared_param=False).eval()
    layer.set_bias(torch.ones(3))
    x = torch.randn(2, 3, 10)
    if used:
        layer(x)
    others = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    truth = layer(x)
    assert all(torch.equal(other(x), truth) for other in others)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("threshold of 0 or more, got -1", {"threshold": -1}),
        ("threshold of 0 or more", {"threshold": np.array([0.1, -1])}),
        ("threshold to be one number", {"threshold": "1"}),
        ("activation to be a function or a module, got 'relu'", {"activation": "relu"}),
        ("scale to be a power of two", {"scale": 10}),
        ("tau_grad above 0, got 0", {"tau_grad": 0}),
        ("norm to be a class or function", {"norm": 3}),
        ("dropout to be a module", {"dropout": 0.5}),
    ],
)
def test_bad_options_are_refused(words, options):
    with pytest.raises(ParameterError, match=words):
        Neuron(**{"threshold": 1, "activation": F.relu} | options)


def test_bad_input_is_refused():
    layer = Neuron(1, F.relu)
    with pytest.raises(ShapeError, match=r"expected an input \(N, C, \.\.\., T\), got shape \(2, 3\)"):
        layer(torch.ones(2, 3))
    layer(torch.ones(1, 3, 4))
    with pytest.raises(ShapeError, match=r"expected an input \(N, 3, T\), got shape \(1, 4, 4\)"):
        layer(torch.ones(1, 4, 4))
    with pytest.raises(ParameterError, match=r"floating-point type, got torch\.int64"):
        layer(torch.ones(1, 3, 4, dtype=torch.int64))
