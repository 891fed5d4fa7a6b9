"""Networks from files give what the exported ones gave, hold what the file holds, and refuse what they cannot hold."""

import copy
import json
import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite import exchange, netx
from lavadl_lite.errors import ExchangeError, ParameterError, ShapeError
from lavadl_lite.exchange import Layer, Network
from lavadl_lite.slayer import auto, block, neuron, utils
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm, WgtScaleBatchNorm
from tests import strategies
from tests.contracts.families import BLOCKS, FAMILIES, Case, block_cases, block_module, family_id, params
from tests.exchange import drawn, networks

FAMILY = pytest.mark.parametrize("family", FAMILIES, ids=family_id)
CUBA = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.1}
READ_OUT = (1 << 18) - 1
# one case of each block, those with most fields, and all inputs
RICH = sorted(BLOCKS, key=lambda case: (case.options.get("delay", False), case.options.get("out_neurons") != 1))
FIELDS = (*(c for c in BLOCKS if c.name == "Input"), *{c.name: c for c in RICH if c.name != "Input"}.values())


def outputs(net, x):
    """What a network gives, as a tuple, without the axes of length 1 that a plane leaves behind."""
    with torch.no_grad():
        y = net(x)
    return [part.reshape(*part.shape[:2], -1, part.shape[-1]) for part in (y if isinstance(y, tuple) else (y,))]


def same(net, other, x, theirs=None):
    ours, truth = outputs(net, x if theirs is None else theirs), outputs(other, x)
    return len(ours) == len(truth) and all(map(torch.equal, ours, truth))


def exported(family, case, per_channel=False, **options):
    """A block with its shapes fixed and long delays; what its copy from a file takes for the case's input."""
    made = case.make(family, per_channel, **options).eval()
    made.materialize(case.spatial)
    if made.delay is not None:
        made.delay.delay.data += torch.arange(len(made.delay.delay)) * 2.5
    if case.options.get("out_neurons") == 1:  # which is silent otherwise
        for weight in made.synapse.parameters():
            weight.data.abs_().mul_(0.5)
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


@block_cases(FIELDS)
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
    for part, variance in zip(made._norms(), (3.0, 0.2), strict=False):
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
    made = getattr(block.cuba, kind)(CUBA, *sizes, pre_hook_fx=torch.clone)
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


def test_entries_that_are_no_blocks():
    layers = Layer("input", {"shape": np.array([2])}), Layer("concat", {"shape": np.array([4]), "layers": [0, 0]})
    with pytest.raises(ExchangeError, match=r"/layer/1/type: expected one of input, .*, which are blocks, got concat"):
        auto.SequentialNetwork(Network(layers))


def test_delays_that_blocks_do_not_have():
    fields = {"inFeatures": 3, "outFeatures": 2, "shape": np.array([2]), "weight": np.zeros((2, 3))}
    cell = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80}
    with pytest.raises(ExchangeError, match=r"/layer/0/delay: expected one for each neuron, .* got shape \(2, 3\)"):
        auto.SequentialNetwork(Network((Layer("dense", fields | {"delay": np.ones((2, 3))}, cell),)))


@settings(max_examples=100)
@given(
    kind=st.sampled_from([kind for kind in drawn.LAYERS if kind != "concat"]),
    cell=st.sampled_from([None, *drawn.REAL, *drawn.COMPLEX]),
    rng=strategies.generators(),
)
def test_every_number_of_a_layer_is_held_or_refused(kind, cell, rng):
    if kind in ("flatten", "average", "decimation"):
        cell = None
    if cell is None and kind not in ("flatten", "average", "decimation", "input", "dense"):
        cell = "CUBA"
    layer = exchange.check_layer(drawn.draw_layer(rng, kind, cell))
    fields, held = layer.fields, layer.neuron or {}
    refused = (
        fields.get("delaySide") == "input"
        or np.shape(fields.get("delay", [0] * int(fields["shape"][0]))) != (int(fields["shape"][0]),)
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
            assert np.all(np.asarray(found.get(name, 0)) == np.asarray(value)), name


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


def changes(name, value):
    """Other values of a field, inside its range; one of them is far enough to be seen, if any can be."""
    if name == "type":
        return [OTHER_TYPES[value]]
    if isinstance(value, str):
        return {"relu": ["sigmoid", "identity"], "output": ["input"]}[value]
    if isinstance(value, bool):
        return [not value]
    if name.split("/")[0] in RANGES:
        low, high = RANGES[name.split("/")[0]]
        return [0 * value, np.clip(np.where(value > 64, value - 100, value + 100), low, high)]
    if name == "delay":
        return [(value + 7) % 62]
    if name.endswith("Decay"):
        return [np.zeros_like(value), np.full_like(value, 4096), np.full_like(value, 500)]
    if name in ("vThMant", "vThStep"):
        return [value + 100, value * 0, value + 1000]
    return [value * 2 if name == "factor" else value + 1]


# what a read-out never uses: it sends no spike, so that none of this can be seen; an encoder applies no function
UNUSED = {
    "CUBA": {"gradedSpike"}, "ALIF": {"gradedSpike", "vThStep", "thDecay", "refDecay"},
    "RF_PHASE": {"gradedSpike", "type"}, "RF_IZHIKEVICH": {"gradedSpike", "type"},
    "ADRF_PHASE": {"gradedSpike", "type", "vThStep", "thDecay", "refDecay"},
    "ADRF_IZHIKEVICH": {"gradedSpike", "type", "vThStep", "thDecay", "refDecay"},
    "SDNN": {"activation", "vThMant"},
}  # fmt: skip

# with other thresholds, so that those which adapt do, and spikes are encoded as changes
LIVELY = {
    **{name: {"threshold": 0.5, "threshold_step": 1} for name in ("ALIF", "ADRF_PHASE", "ADRF_IZHIKEVICH")},
    "SDNN": {"threshold": 0.5},
}


@block_cases(FIELDS)
def test_a_changed_field_is_seen_or_refused(neuron, case):
    made, _, x = exported(neuron, case, **LIVELY.get(neuron.type_name, {}))
    layer = exchange.check_layer(made.exchange_layer())
    head = () if layer.type == "input" else (Layer("input", {"shape": np.array(x.shape[1:-1])}),)
    truth = outputs(auto.SequentialNetwork(Network((*head, layer))), x)
    assert any(part.any() for part in truth)

    def seen_or_refused(place, name, value):
        other = replace(layer, **{place: {**getattr(layer, place), name: value}})
        try:
            found = outputs(auto.SequentialNetwork(Network((*head, other))), x)
        except (ExchangeError, ShapeError):
            return True
        return len(found) != len(truth) or not all(map(torch.equal, found, truth))

    silent = {
        name
        for place in ("fields", "neuron")
        for name, value in (getattr(layer, place) or {}).items()
        if not any(seen_or_refused(place, name, other) for other in changes(name, value))
    }
    encoder = layer.type == "input" and neuron.type_name == "SDNN" and layer.neuron is not None
    assert silent == (UNUSED[neuron.type_name] if read_out(layer) else {"activation"} if encoder else set())


def test_switches_of_sigma_delta_neurons_matter(tmp_path):
    case = Case("Dense", {"in_neurons": 6, "out_neurons": 5, "weight_scale": 3, "pre_hook_fx": None})
    found = []
    for options in ({}, {"cum_error": True}, {"carry_rounding": True}):
        made = case.make(neuron.sigma_delta.Neuron, **options)
        made.synapse.weight.data.mul_(64).floor_().div_(64)
        made.materialize((6,))
        x = torch.randn(3, 6, 60, generator=torch.Generator().manual_seed(0))
        net = reloaded(made, tmp_path / "a.net")
        assert same(net, made, x)
        found.append(outputs(net, x)[0])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


# ---------------------------------------------------------------------------------------------------- winner-take-all
@pytest.mark.parametrize("family", ["cuba", "rf_iz", "sigma_delta"])
@pytest.mark.parametrize("winners", [1, 3, 5])
def test_winner_take_all_comes_back(family, winners):
    module = getattr(block, family)
    given = params(module.KWTA.neuron_type, threshold=20)
    torch.manual_seed(0)
    made = module.KWTA(given, 6, 5, winners, self_excitation=0.25, weight_scale=20)
    made.materialize((6,))
    layer = made.exchange_layer()
    net = auto.SequentialNetwork(Network((layer,)))
    assert type(net.blocks[0]) is module.KWTA
    x = (torch.rand(2, 6, 60) < 0.6).float()
    assert same(net, made, x)
    drawn.check_equal(net.blocks[0].exchange_layer(), layer)
    net(x).sum().backward()
    assert net.blocks[0].self_excitation.grad is not None

    for name, change in [
        ("weight_rec", np.eye(5)), ("weight_rec", -18 * np.eye(5)), ("weight_rec", np.eye(5, k=1) * 2),
        ("inputBias", np.ones(5)), ("inputBias", np.eye(5)[0] * 2), ("inputBias", np.full(5, 60)),
    ]:  # fmt: skip
        fields = {k: v + change if k.split("/")[0] == name else v for k, v in layer.fields.items()}
        with pytest.raises(ExchangeError, match=f"/layer/0/{name}.*block {family}.KWTA"):
            auto.SequentialNetwork(Network((Layer("dense_rec", fields, layer.neuron),)))


# ------------------------------------------------------------------------------------------------ against the simulator
@pytest.mark.parametrize("odd", [False, True])
def test_the_simulator_gives_the_same(odd, tmp_path):
    """An encoder with gain and offset, biases, delays, decays for each channel: all of what a CUBA file may hold."""
    rng = np.random.default_rng(1)

    def dense(inputs, out, **more):
        weight = rng.integers(-20, 28, (out, inputs)) * 2 + odd
        fields = {"shape": [out], "inFeatures": inputs, "outFeatures": out, "weight": weight, **more}
        decays = {"iDecay": rng.integers(500, 4097, out), "vDecay": rng.integers(0, 2000, out)}
        return Layer("dense", fields, {"type": "CUBA", **decays, "vThMant": 80, "gradedSpike": False, "refDelay": 1})

    encoder = {"type": "CUBA", "iDecay": 4096, "vDecay": 400, "vThMant": 80, "gradedSpike": False, "refDelay": 1}
    layers = (
        Layer("input", {"shape": [2, 3, 2], "weight": [64 + odd], "bias": [14 + odd]}, encoder),
        Layer("flatten", {"shape": [12, 1, 1]}),
        dense(12, 8, bias=rng.integers(-9, 20, 8), delay=rng.integers(0, 9, 8)),
        dense(8, 5, delay=rng.integers(0, 9, 5)),
    )
    exchange.save(tmp_path / "a.net", layers)
    net, simulator = auto.SequentialNetwork(tmp_path / "a.net"), netx.Simulator(tmp_path / "a.net")
    x = rng.random((3, 2, 3, 2, 50)).astype(np.float32)
    truth = simulator.run(simulator.encode(x), align="slayer")
    assert truth.any()
    np.testing.assert_array_equal(outputs(net, torch.from_numpy(x))[0].squeeze(2).numpy(), truth)


def test_old_files_are_read(tmp_path):
    """LOIHI neurons, weights with an axis for time or without outputs, flat shapes, a last layer without neurons."""
    neuron = {"type": "LOIHI", **networks.LOIHI, **networks.LOIHI_EXTRAS}
    pair = np.array([1, 1])
    conv = {
        "type": networks.layer_type("conv"), "shape": np.array([2, 1, 2]), "inChannels": 1, "outChannels": 2,
        "kernelSize": np.array([2, 1]), "stride": pair, "padding": 0 * pair, "dilation": pair, "groups": 1,
        "weight": np.arange(40, 84, 11).reshape(2, 1, 2, 1, 1), "bias": np.array([3.0, 20.0]), "neuron": neuron,
    }  # fmt: skip
    dense = {"inFeatures": 4, "outFeatures": 1, "shape": np.array([1, 1, 1]), "weight": np.array([100, 3, 51, 40])}
    with h5py.File(tmp_path / "old.net", "w") as file:
        networks.put(file.create_group("layer/0"), networks.input_layer(shape=np.array([1, 2, 2])))
        networks.put(file.create_group("layer/1"), conv)
        networks.put(file.create_group("layer/2"), networks.flatten((1, 1, 4)))
        networks.put(file.create_group("layer/3"), networks.dense(**dense, neuron=neuron, bias=np.float64(7)))
        networks.put(
            file.create_group("layer/4"),
            networks.dense(**{**dense, "inFeatures": 1, "weight": np.array([3])}, neuron=None),
        )
    net = auto.SequentialNetwork(tmp_path / "old.net")
    assert [type(each) for each in net.blocks] == [
        block.cuba.Input, block.cuba.Conv, block.cuba.Flatten, block.cuba.Dense, block.cuba.Affine,
    ]  # fmt: skip
    x = (torch.rand(2, 1, 2, 2, 40, generator=torch.Generator().manual_seed(0)) < 0.6).float()
    y = net(x)
    assert y.shape == (2, 1, 40)
    assert set(y.unique().tolist()) == {0, 3 / 64}
    assert same(reloaded(net, tmp_path / "new.net"), net, x)


# --------------------------------------------------------------------------------------------------- from descriptions
SIGMA = {"threshold": 0.1, "activation": "relu"}
DESCRIPTION = [
    {"block": "sigma_delta.Input", "neuron_params": SIGMA},
    {"block": "sigma_delta.Conv", "neuron_params": {**SIGMA, "norm": "MeanOnlyBatchNorm"}, "in_features": 2,
     "out_features": 3, "kernel_size": [2, 1], "weight_scale": 3},
    {"block": "sigma_delta.Flatten"},
    {"block": "cuba.Dense", "neuron_params": CUBA, "in_neurons": 18, "out_neurons": 6, "weight_scale": 4,
     "delay": True},
]  # fmt: skip


def by_hand(persistent=False):
    sigma = {"threshold": 0.1, "activation": torch.nn.functional.relu, "persistent_state": persistent}
    return torch.nn.Sequential(
        block.sigma_delta.Input(sigma),
        block.sigma_delta.Conv(sigma | {"norm": MeanOnlyBatchNorm}, 2, 3, (2, 1), weight_scale=3),
        block.sigma_delta.Flatten(),
        block.cuba.Dense({**CUBA, "persistent_state": persistent}, 18, 6, weight_scale=4, delay=True),
    )


def described(*more, **options):
    torch.manual_seed(0)
    return auto.SequentialNetwork([*json.loads(json.dumps(DESCRIPTION)), *more], **options)


@pytest.fixture
def images():
    return torch.rand(2, 2, 4, 2, 30, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("persistent", [False, True])
def test_a_description_is_what_was_written_by_hand(persistent, images):
    net = described(persistent_state=persistent)
    torch.manual_seed(0)
    truth = by_hand(persistent)
    for _ in range(2):
        torch.manual_seed(1)  # of the delays, which are drawn at the first call
        y = net(images)
        torch.manual_seed(1)
        assert torch.equal(y, truth(images))
    assert y.any()
    assert y.requires_grad
    if persistent:
        net.eval().reset_state()
        whole = net(images)
        net.reset_state()
        assert torch.equal(torch.cat([net(part) for part in images.split(7, -1)], -1), whole)


def test_a_network_from_a_file_streams(tmp_path, images):
    net = described().eval()
    net(images)
    netx.save(net, tmp_path / "a.net")
    streaming = auto.SequentialNetwork(tmp_path / "a.net", persistent_state=True)
    assert torch.equal(torch.cat([streaming(part) for part in images.split(7, -1)], -1), net(images))


def test_weight_norm_trains_gains(images):
    net, truth = described(weight_norm=True).eval(), described().eval()
    torch.manual_seed(1)
    y = net(images)
    torch.manual_seed(1)
    assert torch.equal(y, truth(images))
    assert {name.rpartition(".")[2] for name, _ in net.named_parameters() if "synapse" in name} == {
        "weight_g",
        "weight_v",
    }


def test_weight_norm_of_weights_of_zero():
    made = block.cuba.Dense(CUBA, 6, 5)
    made.materialize((6,))
    made.synapse.weight.data[1] = 0
    net = auto.SequentialNetwork(Network((made.exchange_layer(),)), weight_norm=True)
    x = torch.ones(1, 6, 20)
    assert same(net, made, x)
    net(x).sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.requires_grad)
    assert net.blocks[0].synapse.weight_g.grad[1] != 0


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_reduction_of_groups(reduction, images):
    net = described(reduction=reduction, num_outputs=3).eval()
    y = net(images)
    net.reduction = net.num_outputs = None
    pairs = net(images).reshape(2, 3, 2, 30)
    assert torch.equal(y, pairs.sum(2) if reduction == "sum" else pairs.mean(2))


def test_reduction_of_complex_sums():
    affine = {"block": "rf.Affine", "neuron_params": params(neuron.rf.Neuron), "in_neurons": 3, "out_neurons": 4}
    net = auto.SequentialNetwork([{**affine, "dynamics": False}], reduction="sum", num_outputs=2, count_log=True)
    (real, imag), rates = net(torch.ones(1, 3, 5))
    assert real.shape == imag.shape == (1, 2, 5)
    assert rates.shape == (1, 0)


def test_count_log_gives_a_rate_for_each_block_that_sends_events(images):
    net = described(count_log=True).eval()
    y, rates = net(images)
    truth = []
    x = images
    for each in net.blocks:
        x, _ = each(x)
        truth += [] if type(each).__name__ == "Flatten" else [(x != 0).float().mean()]
    assert torch.equal(y, x)
    assert torch.equal(rates, torch.stack(truth)[None])
    utils.Assistant(net, lambda output, _: output.sum(), None, count_log=True).test(images, images)


def test_bad_networks_are_refused(tmp_path):
    for words, config, options in [
        ("reduction None, 'sum' or 'mean', got 'max'", DESCRIPTION, {"reduction": "max", "num_outputs": 3}),
        ("num_outputs beside a reduction, got None", DESCRIPTION, {"reduction": "sum"}),
        ("num_outputs beside a reduction, got 3", DESCRIPTION, {"num_outputs": 3}),
        ("num_outputs", DESCRIPTION, {"reduction": "sum", "num_outputs": 1.5}),
        ("at least one block", [], {}),
        ("expected a path, a Network or a sequence of dicts, got 3", 3, {}),
        ("expected a path, a Network or a sequence of dicts", DESCRIPTION[0], {}),
        ("entry 1: expected a dict with 'block'", [DESCRIPTION[0], {}], {}),
        ("entry 0: expected a dict with 'block'", ["cuba.Dense"], {}),
        ("expected a block out of adrf.*got 'lif.Dense'", [{"block": "lif.Dense"}], {}),
        ("expected a block out of adrf.*got 'cuba.Neuron'", [{"block": "cuba.Neuron"}], {}),
        ("expected a block out of adrf.*got 'cuba'", [{"block": "cuba"}], {}),
        ("entry 0, cuba.Flatten: got an unexpected keyword", [{"block": "cuba.Flatten", "size": 3}], {}),
        ("entry 0, cuba.Dense: missing a required argument", [{"block": "cuba.Dense"}], {}),
        ("entry 0: expected count_log as an argument", [{"block": "cuba.Flatten", "count_log": True}], {}),
        ("activation out of identity.*got 'step'", [{**DESCRIPTION[0], "neuron_params": {"activation": "step"}}], {}),
        ("norm out of Mean.*got 'Batch'", [{**DESCRIPTION[0], "neuron_params": {**SIGMA, "norm": "Batch"}}], {}),
    ]:
        with pytest.raises(ParameterError, match=words):
            auto.SequentialNetwork(config, **options)
    with pytest.raises(OSError):
        auto.SequentialNetwork(tmp_path / "missing.net")
    with pytest.raises(ShapeError, match="a multiple of 4"):
        described(reduction="sum", num_outputs=4)(torch.rand(1, 2, 4, 2, 5))


def test_layers_that_do_not_fit_are_refused():
    made = block.cuba.Recurrent(CUBA, 4, 3)
    made.materialize((4,))
    with pytest.raises(
        ExchangeError, match="/layer/1: expected a layer that fits the one before; expected an input of 4"
    ):
        auto.SequentialNetwork(Network((Layer("input", {"shape": np.array([4, 1, 1])}), made.exchange_layer())))
    with pytest.raises(ExchangeError, match="/layer/1/inFeatures: expected 5"):
        auto.SequentialNetwork(Network((Layer("input", {"shape": np.array([5])}), made.exchange_layer())))


# -------------------------------------------------------------------------------------------------- names of lava-dl
@FAMILY
def test_neuron_params_from_a_file(family, tmp_path):
    made = block_module(family).Dense(params(family), 3, 2)
    made.materialize((3,))
    netx.save(made, tmp_path / "a.net")
    classes = auto.get_classes(family.type_name)
    assert classes == (getattr(neuron, classes[0].__name__.rpartition(".")[2]), block_module(family))
    with h5py.File(tmp_path / "a.net") as file:
        found = auto.get_neuron_params(file["layer/0/neuron"], classes[0])
    assert found == auto.get_neuron_params(made.exchange_layer().neuron, classes[0])
    assert classes[0].Neuron(**found).device_params.keys() == made.neuron.device_params.keys()
    integers = classes[0].Neuron(**found).device_params
    assert all(
        np.all(np.abs(v - integers[k]) <= 1) for k, v in made.neuron.device_params.items() if k.endswith("Decay")
    )


def test_names_of_neurons():
    assert auto.get_classes() == auto.get_classes("LOIHI") == auto.get_classes("CUBA") == (neuron.cuba, block.cuba)
    with pytest.raises(ParameterError, match=r"expected neuron_type out of CUBA, .*, LOIHI, got 'LIF'"):
        auto.get_classes("LIF")
