"""The format: every old variant that is read, in its present form, and what is refused."""

import h5py
import numpy as np
import pytest

from lavadl_lite import exchange
from lavadl_lite.errors import ExchangeError
from tests.exchange.networks import (
    CUBA,
    LOIHI,
    LOIHI_EXTRAS,
    WEIGHT,
    check_is_the_usual_dense,
    dense,
    flatten,
    input_layer,
    layer_type,
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"type": "dense"},
        {"type": b"dense"},
        {"type": np.bytes_("dense")},
        {"type": np.array(["dense"], dtype=object)},
        {"shape": np.array([2, 1, 1])},
        {"shape": np.array([1, 1, 2])},
        {"shape": np.array([2], np.int32)},
        {"weight": WEIGHT.astype(np.float64)},
        {"weight": WEIGHT.astype(np.int16)},
        {"weight": WEIGHT.astype(">f4")},
        {"weight": WEIGHT.reshape(-1)},
        {"inFeatures": np.array([3]), "outFeatures": np.int32(2)},
        {"neuron": {"type": "LOIHI", **LOIHI, **LOIHI_EXTRAS}},
        {"neuron": {"type": "LOIHI", **LOIHI}},
        {"neuron": {"type": np.bytes_("CUBA"), **CUBA}},
        {"neuron": {"type": layer_type("CUBA"), **CUBA}},
        {"neuron": {"type": "CUBA", **CUBA, "gradedSpike": 0}},
        {"neuron": {"type": "CUBA", **CUBA, "vThMant": np.float32(80), "iDecay": np.array([1024])}},
    ],
    ids=str,
)
def test_old_variants_of_dense(store, changes):
    check_is_the_usual_dense(exchange.read(store(dense(**changes))).layers[0])


def test_bias_of_f8(store):
    layer = exchange.read(store(dense(bias=np.array([4.0, -8.0])))).layers[0]
    check_is_the_usual_dense(layer, bias=[4, -8])
    assert layer.fields["bias"].dtype == np.float32


def test_one_dimensional_weight_of_one_output(store):
    """The last layer of lava-dl's PilotNet."""
    weight = np.array([1, 2, -3], np.float32)
    fields = dense(weight=weight, outFeatures=1, shape=np.array([1, 1, 1]), bias=np.zeros(1))
    layer = exchange.read(store(fields)).layers[0]
    np.testing.assert_array_equal(layer.fields["weight"], weight[None])
    assert layer.fields["shape"].tolist() == [1]


def test_dense_without_neuron_group(store):
    assert exchange.read(store(dense(neuron=None))).layers[0].neuron is None


def test_decays_of_each_channel(store):
    neuron = {"type": "CUBA", **CUBA, "iDecay": np.array([3, 4]), "vDecay": np.array([0, 4096])}
    found = exchange.read(store(dense(neuron=neuron))).layers[0].neuron
    assert found["iDecay"].tolist() == [3, 4]
    assert found["vDecay"].tolist() == [0, 4096]


@pytest.mark.parametrize("shape", [(24, 1, 1), (1, 1, 24), (1, 24, 1)])
def test_flatten_shapes(store, shape):
    layer = exchange.read(store(input_layer(shape=np.array([2, 3, 4])), flatten(shape))).layers[1]
    assert layer.fields["shape"].tolist() == [24, 1, 1]


@pytest.mark.parametrize("form", [np.float32, lambda v: np.array([v], np.float32), int])
def test_scalar_weight_and_bias_of_input(store, form):
    fields = input_layer(weight=form(40), bias=form(-36), neuron={"type": "LOIHI", **LOIHI, **LOIHI_EXTRAS})
    found = exchange.read(store(fields)).layers[0].fields
    assert found["weight"].tolist() == [40]
    assert found["bias"].tolist() == [-36]
    assert found["weight"].dtype == found["bias"].dtype == np.float32


# --- what is refused -------------------------------------------------------------------------------------------------

HUGE = 1 << 40
MESSAGES = [
    (
        {"type": layer_type("residual")},
        "/layer/0/type: expected a layer type out of input, .*, got 'residual'",
    ),
    ({"type": 3}, "/layer/0/type: expected a layer type out of .*, got type int64"),
    ({"type": np.zeros(2000)}, "/layer/0/type: expected a layer type out of .*, got type float64"),
    ({"type": None}, "/layer/0/type: missing"),
    ({"type": np.array(["dense", "dense"], "S10")}, "/layer/0/type: expected one string, got 2"),
    ({"type": np.bytes_("dense" * 100)}, "/layer/0/type: expected at most 64 characters"),
    ({"type": "dense" * 100}, "/layer/0/type: expected at most 64 characters"),
    ({"weight": None}, "/layer/0/weight: missing"),
    ({"weight": WEIGHT.T}, r"/layer/0/weight: expected shape \(2, 3\), got \(3, 2\)"),
    ({"weight": WEIGHT[None]}, r"/layer/0/weight: expected shape \(2, 3\), got \(1, 2, 3\)"),
    ({"weight": {"real": WEIGHT, "imag": WEIGHT}}, "/layer/0/weight: expected one array for this CUBA neuron"),
    ({"inFeatures": {"real": 3}}, "/layer/0/inFeatures: expected a dataset, got a group"),
    ({"weight": WEIGHT + 0.5}, r"/layer/0/weight: expected integers in \[-256, 254\], got 2.5 at \[0, 0\]"),
    ({"weight": np.where(WEIGHT == 4, 255, WEIGHT)}, r"got 255.0 at \[1, 1\]"),
    ({"weight": np.where(WEIGHT == 4, -257, WEIGHT)}, r"got -257.0 at \[1, 1\]"),
    ({"weight": np.where(WEIGHT == 4, np.nan, WEIGHT)}, r"got nan at \[1, 1\]"),
    ({"weight": np.where(WEIGHT == 4, np.inf, WEIGHT)}, r"got inf at \[1, 1\]"),
    ({"weight": WEIGHT.astype(np.complex64)}, "/layer/0/weight: expected numbers or a string, got "),
    ({"weight": WEIGHT.astype("S8")}, "/layer/0/weight: expected one string, got 6"),
    ({"weight": WEIGHT > 0}, "/layer/0/weight: expected numbers, got type bool"),
    ({"weight": np.zeros((2, 3), [("a", "f4")])}, "/layer/0/weight: expected numbers or a string, got "),
    ({"weight": h5py.Empty("f4")}, "/layer/0/weight: expected data, got an empty dataspace"),
    ({"inFeatures": HUGE}, "/layer/0/inFeatures: expected integers in"),
    ({"inFeatures": 0}, "/layer/0/inFeatures: expected integers in"),
    ({"inFeatures": 2.5}, "/layer/0/inFeatures: expected integers in"),
    ({"inFeatures": "3"}, "/layer/0/inFeatures: expected numbers, got '3'"),
    ({"inFeatures": 1 << 20, "outFeatures": 1 << 20}, r"/layer/0/shape: expected \(1048576,\), got \(2,\)"),
    ({"shape": np.array([3])}, r"/layer/0/shape: expected \(2,\), got \(3,\)"),
    ({"shape": np.array([2, 2, 1])}, r"/layer/0/shape: expected \(2,\), got \(2, 2, 1\)"),
    ({"bias": np.zeros(3)}, r"/layer/0/bias: expected shape \(2,\), got \(3,\)"),
    ({"bias": np.array([1, 4096.0])}, r"/layer/0/bias: expected integers in \[-4096, 4095\], got 4096.0 at \[1\]"),
    ({"delay": np.array([0, 63])}, r"/layer/0/delay: expected integers in \[0, 62\], got 63 at \[1\]"),
    ({"delay": np.array([-1, 0])}, r"/layer/0/delay: .* got -1 at \[0\]"),
    ({"delay": np.zeros(4)}, r"/layer/0/delay: expected shape \(2,\) or \(3,\) or \(2, 3\), got \(4,\)"),
    ({"delaySide": "left"}, "/layer/0/delaySide: expected one of 'input', 'output', got 'left'"),
    ({"delaySide": 1}, "/layer/0/delaySide: expected one of 'input', 'output', got type int64"),
    ({"weight_rec": np.zeros((2, 2))}, "/layer/0/weight_rec: expected only fields that are known here"),
    ({"neuron": WEIGHT}, "/layer/0/neuron: expected a group, got a dataset"),
    ({"neuron": {}}, "/layer/0/neuron/type: missing"),
    (
        {"neuron": {"type": "GLIF", **CUBA}},
        "/layer/0/neuron/type: expected a neuron type out of CUBA, LOIHI, .*, got 'GLIF'",
    ),
    ({"neuron": {"type": "CUBA", **CUBA, "iDecay": -1}}, "/layer/0/neuron/iDecay: expected integers in"),
    ({"neuron": {"type": "CUBA", **CUBA, "iDecay": np.zeros(3)}}, r"neuron/iDecay: expected shape \(\) or \(2,\), got"),
    ({"neuron": {"type": "CUBA", **CUBA, "vThMant": -1}}, "/layer/0/neuron/vThMant: expected integers in"),
    ({"neuron": {"type": "CUBA", **CUBA, "refDelay": 2}}, r"neuron/refDelay: expected integers in \[1, 1\], got 2"),
    ({"neuron": {"type": "CUBA", **CUBA, "gradedSpike": 2}}, "/layer/0/neuron/gradedSpike: expected integers in"),
    ({"neuron": {"type": "CUBA", **CUBA, "gradedSpike": 0.0}}, "gradedSpike: expected true or false, got type float64"),
    ({"neuron": {"type": "CUBA", **CUBA, "messageBits": 8}}, "/layer/0/neuron/messageBits: expected only fields"),
    ({"neuron": {"type": "LOIHI", **LOIHI, "wgtExp": 1}}, "/layer/0/neuron/wgtExp: expected integers in"),
    ({"neuron": {"type": "CUBA", **CUBA, "weight_exp": np.array([0.5])}}, "neuron/weight_exp: expected integers in"),
]


@pytest.mark.parametrize(("changes", "message"), MESSAGES, ids=[f"{m[1][:50]}" for m in MESSAGES])
def test_what_a_dense_layer_may_not_hold(store, changes, message):
    with pytest.raises(ExchangeError, match=message):
        exchange.read(store(dense(**changes)))


@pytest.mark.parametrize("missing", ["inFeatures", "outFeatures", "shape", "weight", "iDecay", "vDecay", "vThMant"])
def test_missing_fields(store, missing):
    fields = dense()
    for place in (fields, fields["neuron"]):
        place.pop(missing, None)
    with pytest.raises(ExchangeError, match=f"/layer/0/.*{missing}: missing"):
        exchange.read(store(fields))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [input_layer(shape=np.array([4])), dense()],
            r"/layer/1/inFeatures: expected 4 after a layer of shape \(4,\), got 3",
        ),
        ([input_layer(shape=np.array([3, 2, 1])), dense()], "/layer/1/inFeatures: expected a flatten after a layer"),
        ([input_layer(shape=np.array([3, 2, 2])), flatten((11, 1, 1))], r"/layer/1/shape: expected \(12, 1, 1\)"),
        ([dense(), input_layer(shape=np.array([2]))], "/layer/1/type: expected the input as first layer"),
        ([input_layer(shape=np.array([2, 3]))], r"/layer/0/shape: expected shape \(3,\) or \(1,\), got \(2,\)"),
        ([input_layer(shape=np.array([1 << 15] * 3))], "/layer/0/shape: expected at most 4194304 neurons"),
        ([input_layer(bias=np.float32(1))], "/layer/0/bias: expected together with a neuron"),
        ([flatten((2, 3, 4))], r"/layer/0/shape: expected \(N, 1, 1\), got \(2, 3, 4\)"),
        ([{**flatten((3, 1, 1)), "neuron": {"type": "CUBA", **CUBA}}], "/layer/0/neuron: expected only fields"),
        ([], "/layer: expected at least one layer"),
    ],
)
def test_layers_that_do_not_fit(store, layers, message):
    with pytest.raises(ExchangeError, match=message):
        exchange.read(store(*layers))
