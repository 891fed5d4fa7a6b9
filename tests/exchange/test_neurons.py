"""Every neuron type: ranges, shapes, and what is refused beside what."""

import h5py
import numpy as np
import pytest

from lavadl_lite import exchange
from lavadl_lite.errors import ExchangeError
from lavadl_lite.exchange import Layer
from tests.exchange import drawn

DECAYS = {
    "CUBA": ("iDecay", "vDecay"),
    "ALIF": ("iDecay", "vDecay", "thDecay", "refDecay"),
    "RF_PHASE": ("sinDecay", "cosDecay"),
    "RF_IZHIKEVICH": ("sinDecay", "cosDecay"),
    "ADRF_PHASE": ("sinDecay", "cosDecay", "thDecay", "refDecay"),
    "ADRF_IZHIKEVICH": ("sinDecay", "cosDecay", "thDecay", "refDecay"),
    "SDNN": (),
}
THRESHOLDS = {kind: ("vThMant", "vThStep") if kind.startswith("A") else ("vThMant",) for kind in DECAYS}
WEIGHT = np.array([[2, -256, 254], [0, 4, -6]])
READ_OUT = {"type": "SDNN", "sigma_output": True}


def usual(kind, **changes):
    """A neuron with nothing but what it must have."""
    fields = {"type": kind, **dict.fromkeys(DECAYS[kind], 1000), **dict.fromkeys(THRESHOLDS[kind], 80)}
    if kind == "SDNN":
        fields["activation"] = "relu"
    return fields | changes


def layer(neuron, **fields):
    weights = {"weight": WEIGHT}
    if neuron["type"] in drawn.COMPLEX:
        weights = {"weight/real": WEIGHT, "weight/imag": WEIGHT[::-1]}
    return Layer("dense", {"inFeatures": 3, "outFeatures": 2, "shape": np.array([2]), **weights, **fields}, neuron)


def checked(neuron, **fields):
    return exchange.check_layer(layer(neuron, **fields)).neuron


@pytest.mark.parametrize("kind", DECAYS)
def test_what_a_neuron_must_have(kind):
    found = checked(usual(kind))
    graded = {} if kind == "SDNN" else {"gradedSpike": False}
    refractory = {"refDelay": 1} if kind in ("CUBA", "ALIF") else {}
    assert found == usual(kind) | graded | refractory
    for name in usual(kind):
        missing = {key: value for key, value in usual(kind).items() if key != name}
        with pytest.raises(ExchangeError, match=rf"/neuron/{name}: (missing|expected a value where sigma_output)"):
            exchange.check_layer(Layer("dense", layer(usual(kind)).fields, missing))


@pytest.mark.parametrize("kind", DECAYS)
def test_ranges(kind):
    for names, high in ((DECAYS[kind], 4096), (THRESHOLDS[kind], 2**24 - 1)):
        for name in names:
            for value in (0, high):
                assert checked(usual(kind, **{name: value}))[name] == value
            for value in (-1, high + 1, 0.5, np.nan):
                with pytest.raises(ExchangeError, match=rf"/neuron/{name}: expected integers in \[0, {high}\], got"):
                    checked(usual(kind, **{name: value}))


@pytest.mark.parametrize("kind", DECAYS)
def test_values_of_each_channel(kind):
    names = ("vThMant",) if kind == "SDNN" else DECAYS[kind]
    for name in names:
        assert checked(usual(kind, **{name: [3, 4]}))[name].tolist() == [3, 4]
        with pytest.raises(ExchangeError, match=rf"/neuron/{name}: expected shape \(\) or \(2,\), got \(3,\)"):
            checked(usual(kind, **{name: [3, 4, 5]}))
    for name in set(THRESHOLDS[kind]) - set(names):
        with pytest.raises(ExchangeError, match=rf"/neuron/{name}: expected shape \(\), got \(2,\)"):
            checked(usual(kind, **{name: [3, 4]}))


@pytest.mark.parametrize("kind", DECAYS)
def test_exponents(kind):
    assert checked(usual(kind, weight_exp=-16))["weight_exp"].tolist() == [-16]
    if kind in drawn.COMPLEX:
        assert checked(usual(kind, weight_exp=[3, 16]))["weight_exp"].tolist() == [3, 16]
    else:
        with pytest.raises(ExchangeError, match=r"/neuron/weight_exp: expected shape \(1,\), got \(2,\)"):
            checked(usual(kind, weight_exp=[3, 16]))
    with pytest.raises(ExchangeError, match=r"/neuron/weight_exp: expected integers in \[-16, 16\]"):
        checked(usual(kind, weight_exp=17))


@pytest.mark.parametrize("kind", DECAYS)
def test_fields_of_other_neurons_are_refused(kind):
    row = {field.name for field in exchange.NEURONS[kind].fields}
    for other in DECAYS:
        for name in {field.name for field in exchange.NEURONS[other].fields} - row:
            with pytest.raises(ExchangeError, match=rf"/neuron/{name}: expected only fields that are known here"):
                checked(usual(kind, **{name: 1}))


@pytest.mark.parametrize("kind", DECAYS)
def test_weights_are_complex_where_the_neuron_is(kind):
    other = "CUBA" if kind in drawn.COMPLEX else "RF_PHASE"
    given, wanted = ("one array", "parts") if kind in drawn.COMPLEX else ("parts", "one array")
    with pytest.raises(ExchangeError, match=f"^/weight: expected {wanted}.* for this {kind} neuron, got {given}"):
        exchange.check_layer(Layer("dense", layer(usual(other)).fields, usual(kind)))


@pytest.mark.parametrize("kind", DECAYS)
def test_written_types(tmp_path, kind):
    extras = {"cumError": True, "carryRounding": False, "sigma_output": False} if kind == "SDNN" else {}
    exchange.save(tmp_path / "a.net", [layer(usual(kind, weight_exp=2, **extras))])
    with h5py.File(tmp_path / "a.net") as file:
        group = file["layer/0/neuron"]
        for name in (*DECAYS[kind], *THRESHOLDS[kind]):
            assert (group[name].dtype, group[name].shape) == (np.int64, ())
        assert (group["weight_exp"].dtype, group["weight_exp"].shape) == (np.float32, (1,))
        for name in ("type", "activation") if kind == "SDNN" else ("type",):
            text = h5py.check_string_dtype(group[name].dtype)
            assert (text.encoding, text.length, group[name].shape) == ("utf-8", None, ())
        for name in extras or ("gradedSpike",):
            assert (group[name].dtype, group[name].shape) == (np.bool_, ())


# --- sigma-delta -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", exchange.ACTIVATIONS)
def test_activations(activation):
    assert checked(usual("SDNN", activation=activation))["activation"] == activation


@pytest.mark.parametrize("activation", ["", "Relu", "<lambda>", "leakyrelu", 1])
def test_unknown_activations(activation):
    with pytest.raises(ExchangeError, match=r"/neuron/activation: expected one of 'identity', 'elu'"):
        checked(usual("SDNN", activation=activation))


def test_read_outs_of_sums():
    assert checked(READ_OUT) == READ_OUT
    as_lava_dl_writes = {**READ_OUT, "activation": "relu", "vThMant": 6}
    assert checked(as_lava_dl_writes) == as_lava_dl_writes


@pytest.mark.parametrize("name", ["weight_exp", "cumError", "carryRounding"])
def test_a_read_out_has_no_encoder(name):
    with pytest.raises(ExchangeError, match=rf"^/neuron/{name}: expected none where sigma_output is true"):
        checked({**READ_OUT, name: 1})


def test_a_read_out_has_no_bias():
    with pytest.raises(ExchangeError, match=r"^/bias: expected none where neuron/sigma_output is true, got a bias"):
        checked(READ_OUT, bias=np.zeros(2))


def test_an_input_sums_nothing():
    with pytest.raises(ExchangeError, match="/neuron/sigma_output: expected a layer with synapses, got an input"):
        exchange.check_layer(Layer("input", {"shape": np.array([2])}, READ_OUT))
