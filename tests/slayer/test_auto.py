"""Networks from files give what the exported ones gave, hold what the file holds, and refuse what they cannot hold."""

import copy
import inspect
import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite import exchange, netx
from lavadl_lite.errors import ExchangeError, ShapeError
from lavadl_lite.exchange import Layer, Network
from lavadl_lite.slayer import auto, block
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm, WgtScaleBatchNorm
from tests import strategies
from tests.contracts.families import FAMILIES, block_cases, block_module, family_id, params
from tests.exchange import drawn

FAMILY = pytest.mark.parametrize("family", FAMILIES, ids=family_id)
CUBA = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.1}
READ_OUT = (1 << 18) - 1


def outputs(net, x):
    """What a network gives, as a tuple, without the axes of length 1 that a plane leaves behind."""
    with torch.no_grad():
        y = net(x)
    return [part.reshape(*part.shape[:2], -1, part.shape[-1]) for part in (y if isinstance(y, tuple) else (y,))]


def same(net, other, x, theirs=None):
    ours, truth = outputs(net, x if theirs is None else theirs), outputs(other, x)
    return len(ours) == len(truth) and all(map(torch.equal, ours, truth))


def stepped(made):
    """A block with the step delay of its family, which a file cannot say."""
    if "delay_shift" in inspect.signature(type(made)).parameters and made.neuron is not None:
        made.delay_shift = made.neuron_type.step_delay
    return made


def exported(family, case, per_channel=False, **options):
    """A block with its shapes fixed and long delays; what its copy from a file takes for the case's input."""
    made = stepped(case.make(family, per_channel, **options)).eval()
    made.materialize(case.spatial)
    if made.delay is not None:
        made.delay.delay.data += torch.arange(len(made.delay.delay)) * 2.5
    if case.options.get("out_neurons") == 1:  # which is silent otherwise
        for weight in made.synapse.parameters():
            weight.data.abs_()
    x = case.input()
    return made, x, x.flatten(1, -2) if case.name == "Dense" else x


def reloaded(made, path, **options):
    netx.save(made, path)
    return auto.SequentialNetwork(path, **options)


# -------------------------------------------------------------------------------------------------------- exact copies
@block_cases()
def test_a_block_comes_back_with_its_bits(neuron, case, tmp_path):
    per_channel = len(case.options) % 2 == 1
    made, x, theirs = exported(neuron, case, per_channel)
    net = reloaded(made, tmp_path / "a.net")
    assert same(net, made, x, theirs)
    assert same(net.eval(), made, x, theirs)
    drawn.check_equal(net.blocks[0].exchange_layer(), exchange.read(tmp_path / "a.net").layers[0])
    assert same(auto.SequentialNetwork(netx.load(tmp_path / "a.net"), weight_norm=True), made, x, theirs)
    with h5py.File(tmp_path / "a.net", "r+"):  # nobody else has it open
        pass


@block_cases()
def test_a_network_from_a_file_trains_and_copies(neuron, case, tmp_path):
    net = reloaded(exported(neuron, case)[0], tmp_path / "a.net")
    x = exported(neuron, case)[2].requires_grad_()
    truth = outputs(net, x)
    y = net(x)
    sum(part.square().sum() + part.sum() for part in (y if isinstance(y, tuple) else (y,))).backward()
    trained = [p for p in net.parameters() if p.requires_grad and not (p.numel() == 1 and case.name == "KWTA")]
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in trained)
    other = auto.SequentialNetwork(tmp_path / "a.net")
    for part in other.parameters():
        part.data.zero_()
    other.load_state_dict(net.state_dict())
    for again in (other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert all(map(torch.equal, outputs(again, x), truth))


@FAMILY
@pytest.mark.parametrize("norm", [MeanOnlyBatchNorm, WgtScaleBatchNorm])
def test_normalisations_come_back(family, norm, tmp_path):
    torch.manual_seed(0)
    made = block_module(family).Conv(params(family, norm=norm), 2, 4, 3, weight_scale=3, delay=True)
    x = (torch.rand(3, 2, 5, 4, 30) < 0.4).float()
    for _ in range(20):
        made(x)
    for part, variance in zip(made._norms(), (3.0, 0.2)):
        if norm is WgtScaleBatchNorm:
            part.running_var.fill_(variance)  # of exponents 1 and -1
    made.eval()
    truth = exchange.check_layer(made.exchange_layer())
    assert any("bias" in name and np.any(value) for name, value in truth.fields.items())
    assert norm is MeanOnlyBatchNorm or np.any(truth.neuron["weight_exp"])
    net = reloaded(made, tmp_path / "a.net")
    assert same(net, made, x)  # in training mode, too
    assert same(net, made, x)
    drawn.check_equal(net.blocks[0].exchange_layer(), truth)
    assert same(reloaded(net, tmp_path / "b.net"), made, x)


def test_a_sigma_delta_bias_before_and_after_the_scaling():
    made = block.sigma_delta.Dense({"threshold": 0.5, "activation": torch.relu, "norm": WgtScaleBatchNorm}, 3, 2)
    made.materialize((3,))
    made.neuron.norm.running_var.fill_(3.0)  # of exponent 1
    made.neuron.norm.running_mean.fill_(0.5)
    made.neuron.set_bias(torch.tensor([1.0, 2.0]))
    made.eval()
    assert made.exchange_layer().fields["bias"].tolist() == [2 * 64 - 32, 4 * 64 - 32]
    x = torch.randn(2, 3, 20).mul(64).round() / 16
    assert same(auto.SequentialNetwork(Network((made.exchange_layer(),))), made, x)
    assert any(part.any() for part in outputs(made, x))


@pytest.mark.parametrize("kind", ["Dense", "Conv", "Recurrent"])
def test_odd_weights_stay_odd(kind):
    """The 8-bit quantiser holds even ones only; files may have any."""
    rng = np.random.default_rng(0)
    sizes = {"Conv": (2, 3, 2)}.get(kind, (6, 5))
    made = getattr(block.cuba, kind)(CUBA, *sizes, pre_hook_fx=None)
    made.materialize((2, 4, 4) if kind == "Conv" else (6,))
    for weight in (p for name, p in made.named_parameters() if "weight" in name):
        weight.data = torch.from_numpy(rng.integers(-60, 60, weight.shape).astype(np.float32) * 2 + 1) / 64
    net = auto.SequentialNetwork(Network((made.exchange_layer(),)))
    x = (torch.rand(2, 2, 4, 4, 40) < 0.4).float() if kind == "Conv" else (torch.rand(2, 6, 40) < 0.4).float()
    assert same(net, made, x)
    drawn.check_equal(net.blocks[0].exchange_layer(), made.exchange_layer())
    net(x).sum().backward()
    assert all(p.grad.any() for name, p in net.named_parameters() if "weight" in name)
    assert same(pickle.loads(pickle.dumps(net)), made, x)


def test_integer_hook():
    x = torch.tensor([-5.0, -4.0, 1 / 64, 0.4 / 64, 2.0, 3.99]).requires_grad_()
    y = auto.integer_hook_fx(x, -256, 254)
    assert (y * 64).tolist() == [-256, -256, 1, 0, 128, 254]
    assert torch.equal(auto.integer_hook_fx(x, -256, 254, descale=True), y * 64)
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]


@settings(max_examples=200)
@given(kind=st.sampled_from(drawn.LAYERS), cell=st.sampled_from([None, *drawn.REAL, *drawn.COMPLEX]),
       rng=strategies.generators())  # fmt: skip
def test_every_number_of_a_layer_is_held_or_refused(kind, cell, rng):
    if kind in ("flatten", "average", "decimation"):
        cell = None
    if cell is None and kind not in ("flatten", "average", "decimation", "input", "dense"):
        cell = "CUBA"
    layer = exchange.check_layer(drawn.draw_layer(rng, kind, cell))
    fields, held = layer.fields, layer.neuron or {}
    refused = (
        fields.get("delaySide") == "input"
        or ("delay" in fields and (cell is None or "inputBias" in fields or read_out(layer)))
        or (kind == "dense" and cell is None and any("bias" in name for name in fields))
        or (kind != "dense" and held.get("sigma_output", False))
        or (kind in ("pool", "unpool", "input") and np.any(held.get("weight_exp", 0)))
        or "inputBias" in fields
    )
    if refused:
        with pytest.raises(ExchangeError, match="/layer/0/"):
            auto.SequentialNetwork(Network((layer,)))
        return
    again = auto.SequentialNetwork(Network((layer,))).blocks[0].exchange_layer()
    assert again.type == kind
    for values, found in ((fields, again.fields), (held, again.neuron or {})):
        for name, value in values.items():
            np.testing.assert_array_equal(
                np.broadcast_to(found.get(name, False), np.shape(found.get(name, False))), value
            )


def read_out(layer):
    held = layer.neuron or {}
    never = layer.type == "dense" and held.get("type") != "SDNN" and held.get("vThMant") == READ_OUT
    return held.get("sigma_output", False) or never


# ------------------------------------------------------------------------------------------------- every field matters
RANGES = {"weight": (-256, 254), "weight_rec": (-256, 254), "bias": (-4096, 4095), "inputBias": (-4096, 4095)}
OTHER_TYPES = {
    "CUBA": "ALIF", "ALIF": "CUBA", "RF_PHASE": "RF_IZHIKEVICH", "RF_IZHIKEVICH": "RF_PHASE",
    "ADRF_PHASE": "ADRF_IZHIKEVICH", "ADRF_IZHIKEVICH": "ADRF_PHASE", "SDNN": "CUBA",
}  # fmt: skip


def changed(name, value):
    """Another value of a field, inside its range, far enough to be seen."""
    if name == "type":
        return OTHER_TYPES[value]
    if isinstance(value, str):
        return {"relu": "sigmoid", "output": "input"}[value]
    if isinstance(value, bool):
        return not value
    if name.split("/")[0] in RANGES:
        low, high = RANGES[name.split("/")[0]]
        return np.clip(np.where(value > 64, value - 100, value + 100), low, high)
    if name == "delay":
        return (value + 7) % 62
    if "Decay" in name and name != "refDelay":
        return np.where(np.asarray(value) > 2048, 0, 4096)
    if name in ("vThMant", "vThStep"):
        return value + 100
    if name == "factor":
        return value * 2
    return value + 1


# what a read-out never uses: it sends no spike, so that none of this can be seen
UNUSED = {"gradedSpike", "vThStep", "thDecay", "refDecay"}


@block_cases()
def test_a_changed_field_is_seen_or_refused(neuron, case):
    made, _, x = exported(neuron, case)
    layer = exchange.check_layer(made.exchange_layer())
    head = () if layer.type == "input" else (Layer("input", {"shape": np.array(x.shape[1:-1])}),)
    truth = outputs(auto.SequentialNetwork(Network((*head, layer))), x)
    assert any(part.any() for part in truth)
    silent = set()
    for place in ("fields", "neuron"):
        for name, value in (getattr(layer, place) or {}).items():
            other = replace(layer, **{place: {**getattr(layer, place), name: changed(name, value)}})
            try:
                found = outputs(auto.SequentialNetwork(Network((*head, other))), x)
            except (ExchangeError, ShapeError):
                continue
            if [part.shape for part in found] == [part.shape for part in truth] and all(map(torch.equal, found, truth)):
                silent.add(name)
    unused = UNUSED & layer.neuron.keys() if read_out(layer) else set()
    assert silent == (unused if neuron.decays else {"activation", "vThMant"} if read_out(layer) else set())
