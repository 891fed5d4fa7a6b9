"""What ``netx.check`` finds: for each limit a network that breaks it and one that does not; before training too."""

import dataclasses

import numpy as np
import pytest

from lavadl_lite import netx
from lavadl_lite.errors import ExchangeError, ParameterError, ShapeError
from lavadl_lite.exchange import Layer, save
from lavadl_lite.netx import Finding, Findings, check
from tests.netx.networks import dense, input_layer, neuron

QUIET = neuron(4095, 4095, 80)


def places(findings, severity=None):
    return [(f.layer, f.field) for f in findings if severity in (None, f.severity)]


def sdnn(activation="relu", threshold=6, **more):
    return {"type": "SDNN", "activation": activation, "vThMant": threshold, **more}


# --- what a finding is -----------------------------------------------------------------------------------------------


def test_nothing_to_find():
    for target in ("lava", "loihi2", "simulator"):
        findings = check([dense(np.full((2, 3), 64), QUIET)], target)
        assert findings == ()
        assert str(findings) == "nothing found"


def test_a_report_names_place_limit_consequence_and_rewrite():
    findings = check([dense([[64]], neuron(graded=True)), dense([[3, 254]], neuron(0, 1, 1 << 17))][:1], "lava")
    assert isinstance(findings, Findings)
    (finding,) = findings
    assert (finding.layer, finding.field, finding.severity) == (0, "neuron/gradedSpike", "error")
    assert str(findings).splitlines() == [
        f"error: /layer/0/neuron/gradedSpike: {finding.limit}",
        f"    {finding.consequence}",
        f"    -> {finding.rewrite}",
        "1 error",
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.layer = 2


def test_findings_come_by_layer_and_severity():
    layers = [dense([[64]], neuron(0, 4096, 1 << 17)), dense([[64]], neuron(4096, 0, 3, graded=True), bias=[3])]
    findings = check(layers, "loihi2")
    keys = [(f.layer, ("error", "warning", "note").index(f.severity)) for f in findings]
    assert keys == sorted(keys)
    assert findings.errors == tuple(f for f in findings if f.severity == "error") != ()
    assert str(findings).splitlines()[-1] == "2 errors, 3 warnings, 2 notes"
    assert str(Finding(None, "shape", "note", "limit", "consequence")) == "note: network: limit\n    consequence"


@pytest.mark.parametrize("target", ["loihi", None, 3])
def test_unknown_targets(target):
    with pytest.raises(ParameterError, match="expected target to be one of lava, loihi2, simulator, got"):
        check([dense([[64]], QUIET)], target)


def test_files_and_entries_give_the_same(tmp_path):
    layers = [dense([[64]], neuron(graded=True)), dense([[64]], neuron(0, 128, 80), bias=[2])]
    save(tmp_path / "a.net", layers)
    for target in ("lava", "loihi2", "simulator"):
        assert check(tmp_path / "a.net", target) == check(str(tmp_path / "a.net"), target) == check(layers, target)
        assert check(netx.load(tmp_path / "a.net"), target) == check(layers, target)
    with pytest.raises(ExchangeError):
        check([])
    with pytest.raises(ExchangeError):
        check([layers[0], dense([[1, 2]], QUIET)])


# --- Lava ------------------------------------------------------------------------------------------------------------


def test_lava_finds_what_lava_refuses():
    layers = [input_layer((1,), sdnn("identity")), dense([[64]], sdnn("tanh")), dense([[64]], neuron())]
    assert places(check(layers, "lava"), "error") == [(1, "neuron/activation"), (2, "neuron/type")]


def test_lava_notes_a_bias():
    (finding,) = check([dense([[64]], QUIET, bias=[3])], "lava")
    assert (finding.layer, finding.field, finding.severity) == (0, "bias", "note")
    assert check([dense([[64]], QUIET, bias=[0])], "lava") == ()


# --- the chip --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "good"),
    [
        ([254, -256], True), ([253, -256], False), ([253, -2], False), ([127, -128], True), ([129, -1], False),
        ([253, 1], True), ([-255, -1], True), ([0, 0], True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("target", ["lava", "loihi2"])
def test_weights_have_eight_bits(weights, good, target):
    findings = check([dense([weights], QUIET)], target)
    assert places(findings, "error") == ([] if good else [(0, "weight")])
    assert check([dense([weights], QUIET)], "simulator") == ()


def test_lavas_convolution_takes_any_weight():
    """Where it is built connection by connection, for its delays, it does not."""
    sizes = {"inChannels": 1, "outChannels": 1, "groups": 1, "shape": [1, 2, 1], "kernelSize": [1, 2]}
    sizes |= {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
    layer = Layer("conv", {**sizes, "weight": np.array([[[[-255, 2]]]])}, QUIET)
    assert check([layer], "lava") == ()
    assert places(check([layer], "loihi2")) == [(0, "weight")]
    delayed = dataclasses.replace(layer, fields={**layer.fields, "delay": [3], "delaySide": "input"})
    assert places(check([delayed], "lava")) == [(0, "weight")]


def test_weights_of_feedback_and_complex_ones():
    fields = {"inFeatures": 1, "outFeatures": 1, "shape": [1], "weight": [[64]], "weight_rec": np.array([[-255]])}
    assert check([Layer("dense_rec", fields, QUIET)], "loihi2").errors == ()
    fields["weight_rec"] = np.array([[-255, 2], [0, 0]])
    fields |= {"outFeatures": 2, "shape": [2], "weight": [[64], [1]]}
    assert places(check([Layer("dense_rec", fields, QUIET)], "loihi2"), "error") == [(0, "weight_rec")]
    parts = {"weight/real": np.array([[64, 2]]), "weight/imag": np.array([[253, -2]])}
    cell = {"type": "RF_PHASE", "sinDecay": 400, "cosDecay": 3000, "vThMant": 64}
    fields = {"inFeatures": 2, "outFeatures": 1, "shape": [1], **parts}
    assert places(check([Layer("dense", fields, cell)], "loihi2"), "error") == [(0, "weight")]


def test_thresholds_have_seventeen_bits():
    assert check([dense([[64]], neuron(4095, 4095, (1 << 17) - 1))], "loihi2") == ()
    (finding,) = check([dense([[64]], neuron(4095, 4095, 1 << 17))], "loihi2")
    assert (finding.field, finding.severity) == ("neuron/vThMant", "error")
    (finding,) = check([dense([[64]], neuron(4095, 4095, (1 << 18) - 1))], "loihi2")
    assert (finding.field, finding.severity) == ("neuron/vThMant", "warning")
    assert "never" in finding.consequence
    assert check([dense([[64]], neuron(4095, 4095, 1 << 17))], "lava") == ()


@pytest.mark.parametrize(
    ("current", "voltage", "fields"),
    [
        (1, 0, []), (4096, 4095, []), (0, 4095, ["neuron/iDecay"]), (4096, 4096, ["neuron/vDecay"]),
        ([4, 0], [4095, 4096], ["neuron/iDecay", "neuron/vDecay"]),
    ],
)  # fmt: skip
def test_decays_have_twelve_bits(current, voltage, fields):
    cell = neuron(np.array(current), np.array(voltage), 80)
    findings = check([dense([[0], [0]], cell)], "loihi2")
    assert places(findings) == [(0, field) for field in fields]
    assert all(f.severity == "warning" for f in findings)


def test_what_arrives_has_sixteen_bits():
    assert check([dense(np.full((1, 129), 254), QUIET)], "loihi2") == ()
    (finding,) = check([dense(np.full((1, 130), 254), QUIET)], "loihi2")
    assert (finding.field, finding.severity) == ("weight", "warning")
    assert "515.938" in finding.consequence
    graded = dense(np.full((130, 1), 64), neuron(4095, 4095, 80, graded=True))
    findings = check([graded, dense(np.full((1, 130), 254), QUIET)], "loihi2")
    assert "16 bits for what arrives in a step" not in [f.limit for f in findings]


def test_sigma_delta_messages_and_sums():
    """A weight of 1 after a signal of ±4: sums of 24 bits hold ±32, messages of 16 bits ±8."""
    layers = [input_layer((1,), sdnn("identity", 1), weight=32), dense([[64]], sdnn())]
    assert check(layers, "loihi2") == ()
    layers = [input_layer((9,), sdnn("identity", 1), weight=32), dense(np.full((1, 9), 254), sdnn())]
    assert places(check(layers, "loihi2"), "warning") == [(1, "weight"), (1, "weight"), (1, "neuron/activation")]
    assert check(layers, "lava") == ()


def test_a_chip_has_a_million_neurons():
    layers = [input_layer((1, 1024, 1024), QUIET)]
    (finding,) = check(layers, "loihi2")
    assert (finding.layer, finding.severity) == (None, "note")
    assert "1,048,576 neurons need several" in finding.consequence


# --- states ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["lava", "loihi2", "simulator"])
def test_currents_may_wrap(target):
    """254 / 64 of 100 inputs through a decay of 512: 3175 where 2048 fit."""
    finding, voltage = check([dense(np.full((1, 100), 254), neuron(512, 4095, 80))], target)
    assert (finding.field, finding.severity) == ("weight", "warning")
    assert voltage.severity == "note"
    assert "3175" in finding.consequence
    assert "65%" in finding.rewrite
    assert check([dense(np.full((1, 60), 254), neuron(512, 4095, 80))], target) == ()


@pytest.mark.parametrize("target", ["lava", "simulator"])
def test_sums_over_planes_may_wrap(target):
    """Messages of 12 fractional bits and weights of 6 leave a sum of 32 in 24 bits: 2 * 254 / 64 * 8.96875 is more."""
    sizes = {"inChannels": 1, "outChannels": 1, "groups": 1, "shape": [1, 2, 1], "kernelSize": [1, 2]}
    sizes |= {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "weight": np.full((1, 1, 1, 2), 254)}
    signal = input_layer((1, 2, 2), sdnn("identity", 64))
    (finding,) = check([signal, Layer("conv", sizes, sdnn())], target)
    assert (finding.layer, finding.field, finding.severity) == (1, "weight", "warning")
    assert "at worst it comes to 71.1895, where 32 fit" in finding.consequence
    assert check([input_layer((1, 2, 2), QUIET), Layer("conv", sizes, QUIET)], target) == ()


def test_voltages_may_saturate():
    (finding,) = check([dense(np.full((1, 100), -254), neuron(4096, 512, 80))], "lava")
    assert finding.severity == "note"
    assert "saturates" in finding.consequence


def test_sums_without_leak():
    (finding,) = [f for f in check([dense([[64]], None)], "lava") if f.field == "weight" and f.severity == "warning"]
    assert "nothing but the length of a run" in finding.consequence


# --- the simulator ----------------------------------------------------------------------------------------------------


def test_the_simulator_is_asked():
    """Whatever it refuses is found, in its own words: here a mean of three channels, which has no binary fraction."""
    average = Layer("average", {"shape": [1]})
    layers = [dense(np.full((3, 1), 64), QUIET), average, dense([[64]], QUIET)]
    assert check(layers[:2], "simulator") == ()
    with pytest.raises(ParameterError) as refused:
        netx.Simulator(layers)
    (finding,) = check(layers, "simulator")
    assert (finding.layer, finding.severity) == (2, "error")
    assert str(refused.value) == f"/layer/2: {finding.consequence}"


def test_a_plane_may_need_its_size_said():
    """Two sizes of a plane give the same output where the stride is 2."""
    sizes = {"inChannels": 1, "outChannels": 1, "groups": 1, "shape": [1, 2, 2], "kernelSize": [1, 1]}
    sizes |= {"stride": [2, 2], "padding": [0, 0], "dilation": [1, 1], "weight": np.full((1, 1, 1, 1), 64)}
    layer = Layer("conv", sizes, QUIET)
    (finding,) = check([layer], "simulator")
    assert "input_shape" in finding.consequence
    assert check([layer], "simulator", shape=(1, 4, 4)) == ()


# --- before training --------------------------------------------------------------------------------------------------


def blocks():
    torch = pytest.importorskip("torch")
    from lavadl_lite.slayer import block

    plain = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03}
    return torch, block, plain


def test_a_network_that_has_not_run():
    torch, block, plain = blocks()
    net = torch.nn.Sequential(
        block.cuba.Conv(plain, 2, 4, 3), block.cuba.Flatten(), block.cuba.Dense({**plain, "graded_spike": True}, 16, 3)
    )
    findings = check(net, "lava")
    assert places(findings) == [(0, "shape"), (2, "neuron/gradedSpike")]
    assert findings[0].severity == "note"
    assert "give shape" in findings[0].rewrite
    assert places(check(net, "lava", shape=(2, 4, 4))) == [(2, "neuron/gradedSpike")]
    assert all(part.shape is None for part in net)
    net(torch.zeros(1, 2, 4, 4, 3))
    assert places(check(net, "lava")) == [(2, "neuron/gradedSpike")]
    with pytest.raises(ShapeError):
        check(net, "lava", shape=(2, 5, 5))


def test_every_block_is_described_before_its_shape_is_known():
    torch, block, plain = blocks()
    sdnn = {"threshold": 0.1, "activation": torch.relu}
    adapting = {"threshold_step": 0.1, "threshold_decay": 0.1, "refractory_decay": 0.1}
    nets = [
        [
            block.cuba.Input(plain, weight=1),
            block.cuba.ConvT(plain, 2, 4, (2, 3), dilation=2),
            block.cuba.Pool(plain, 2),
        ],
        [block.alif.Recurrent({**plain, **adapting}, 4, 4)],
        [block.cuba.KWTA(plain, 4, 6, 2), block.cuba.Average(3)],
        [block.sigma_delta.Unpool(sdnn, 2), block.sigma_delta.Flatten(), block.sigma_delta.Output(sdnn, 8, 2)],
        [block.rf.Dense({"threshold": 1, "period": 8, "decay": 0.1}, 4, 2), block.rf.TimeDecimation(4)],
        [block.cuba.Dense(plain, (3, 3, 2), 4)],
    ]
    for net in nets:
        for target in ("lava", "loihi2"):
            fields = [f.field for f in check(net, target) if f.severity == "error"]
            assert set(fields) <= {"type", "neuron/type"}, check(net, target)
        assert all(part.shape is None for part in net)


def test_some_shapes_are_known():
    """What follows a block whose shape is known gets its own from there; nothing is changed."""
    _, block, plain = blocks()
    net = [block.cuba.Conv(plain, 2, 4, 3), block.cuba.Flatten(), block.cuba.Dense(plain, 16, 3)]
    for part, shape in zip(net[:2], ((2, 4, 4), (4, 2, 2)), strict=True):
        part.materialize(shape)
    net += [block.cuba.Dense(plain, 3, 6), block.cuba.Average(2)]
    assert check(net, "simulator") == ()
    assert net[2].shape is None
    assert [tuple(part.shape) for part in net[:2]] == [(4, 2, 2), (16, 1, 1)]


def test_what_cannot_be_exported_is_found():
    torch, block, plain = blocks()
    net = [
        block.cuba.Dense(plain, 3, 2),
        block.sigma_delta.Dense({"threshold": 0.1, "activation": torch.nn.ELU(2)}, 2, 2),
        block.cuba.Dense(plain, 2, 2, pre_hook_fx=None),
    ]
    findings = check(net, "simulator")
    assert places(findings, "error") == [(1, "neuron/activation"), (2, "weight")]
    assert findings[0].limit == "what the exchange format can say"


def test_a_network_is_left_as_it_is():
    torch, block, plain = blocks()
    net = torch.nn.Sequential(
        block.cuba.Dense(plain, 3, 2, weight_norm=True, delay=True), block.cuba.Affine(plain, 2, 2)
    )
    before = {name: value.clone() for name, value in net.state_dict().items()}
    check(net, "loihi2")
    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
