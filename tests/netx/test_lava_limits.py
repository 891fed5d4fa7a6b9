"""What Lava cannot compute as training does.  That Lava computes the rest so is tests/lava."""

import numpy as np
import pytest

from lavadl_lite.exchange import Layer, check_layer
from lavadl_lite.netx._lava_limits import CONNECTIONS_MAX, refusals, unrolled

CUBA = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80}
RF = {"type": "RF_PHASE", "sinDecay": 300, "cosDecay": 3000, "vThMant": 80}
SDNN = {"type": "SDNN", "activation": "relu", "vThMant": 8}
ADAPTATION = {"thDecay": 1, "refDecay": 1, "vThStep": 1}


def dense(neuron, outputs=3, inputs=3, **fields):
    sizes = {"inFeatures": inputs, "outFeatures": outputs, "shape": np.array([outputs])}
    weight = np.full((outputs, inputs), 2)
    is_complex = neuron is not None and "sinDecay" in neuron
    weights = {"weight/real": weight, "weight/imag": weight} if is_complex else {"weight": weight}
    return check_layer(Layer(fields.pop("type", "dense"), {**sizes, **weights, **fields}, neuron))


def plane(kind, neuron, shape=(2, 4, 4), kernel=(3, 3), groups=1, **fields):
    moves = {"kernelSize": kernel, "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)} | fields
    if kind in ("pool", "unpool"):
        own = {"weight": np.full((1, 1, *kernel), 2)}
    else:
        channels = (2, shape[0])
        rows = channels[::-1] if kind == "conv" else channels
        weight = np.full((rows[0], rows[1] // groups, *kernel), 2)
        own = {"inChannels": 2, "outChannels": shape[0], "groups": groups, "weight": weight}
    values = {name: np.array(value) if isinstance(value, tuple) else value for name, value in moves.items()}
    return check_layer(Layer(kind, {"shape": np.array(shape), **own, **values}, neuron))


FLAT = Layer("flatten", {"shape": np.array([32, 1, 1])})
GOOD = {
    "spiking": [plane("conv", CUBA), plane("pool", CUBA, kernel=(1, 1)), FLAT, dense(CUBA, inputs=32), dense(None)],
    "resonators": [dense(RF), dense({**RF, "type": "RF_IZHIKEVICH"}), dense(CUBA)],
    "sigma-delta": [
        Layer("input", {"shape": np.array([3]), "bias": np.array([1])}, {**SDNN, "activation": "tanh"}),
        dense({**SDNN, "activation": "identity", "cumError": True}, bias=np.array([1, 2, 3])),
        dense({"type": "SDNN", "sigma_output": True}),
    ],
    "graded in-port": [dense(SDNN)],
    "delay": [dense(CUBA, delay=np.array([1, 2, 3]))],
    "delay of inputs": [dense(CUBA, delay=np.array([1, 2, 3]), delaySide="input", bias=np.ones(3))],
    "delay and feedback": [dense(CUBA, type="dense_rec", weight_rec=np.full((3, 3), 2), delay=np.array([2, 2, 2]))],
    "delay of planes": [plane("convT", CUBA, delay=np.array([1, 2]))],
}


@pytest.mark.parametrize("case", GOOD)
def test_what_lava_runs_as_trained(case):
    assert refusals(GOOD[case]) == []


BAD = {
    "average": (Layer("average", {"shape": np.array([1])}), "type", "num_layers"),
    "decimation": (Layer("decimation", {"shape": np.array([3]), "factor": 2}), "type", "num_layers"),
    "alif": (dense({**CUBA, "type": "ALIF", **ADAPTATION}), "neuron/type", "CUBA"),
    "adrf": (dense({**RF, "type": "ADRF_PHASE", **ADAPTATION}), "neuron/type", "RF_PHASE"),
    "graded": (dense({**CUBA, "gradedSpike": True}), "neuron/gradedSpike", "graded_spike=False"),
    "exponent": (dense({**CUBA, "weight_exp": np.array([1])}), "neuron/weight_exp", "MeanOnlyBatchNorm"),
    "bias of a resonator": (dense(RF, **{"bias/real": [1, 0, 0], "bias/imag": [0, 0, 0]}), "bias/real", "norm"),
    "bias of a current": (
        dense(CUBA, type="dense_rec", weight_rec=np.full((3, 3), 2), inputBias=np.ones(3)), "inputBias", "num_winners",
    ),
    "bias and delay": (dense(CUBA, bias=np.ones(3), delay=np.array([0, 1, 0])), "delay", "delaySide"),
    "feedback and delay": (
        dense(CUBA, type="dense_rec", weight_rec=np.full((3, 3), 2), delay=np.array([0, 1, 0])), "delay", "delaySide",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case):
    layer, field, rewrite = BAD[case]
    (found,) = refusals([dense(CUBA), layer])
    assert (found.layer, found.field) == (1, field)
    assert rewrite in found.rewrite
    assert len(found.message) > 20


@pytest.mark.parametrize(("field", "value"), [("activation", "tanh"), ("carryRounding", True)])
def test_sigma_delta_neurons_of_another_kind(field, value):
    (found,) = refusals([dense(SDNN), dense({**SDNN, field: value})])
    assert (found.layer, found.field) == (1, f"neuron/{field}")


@pytest.mark.parametrize("first", [CUBA, SDNN, {"type": "SDNN", "sigma_output": True}])
@pytest.mark.parametrize("second", [CUBA, SDNN, RF, None])
def test_only_one_kind_of_messages(first, second):
    fits = first is SDNN if second is SDNN else first is CUBA
    found = refusals([dense(first), dense(second)])
    assert found == [] if fits else (found[0].layer, found[0].field) == (1, "neuron/type")


def test_a_complex_sum_without_neuron():
    layer = dense(RF)
    (found,) = refusals([Layer("dense", layer.fields, None)])
    assert found.field == "weight"


def test_layers_that_are_built_connection_by_connection():
    assert not unrolled(dense(CUBA, delay=np.array([1, 2, 3])))
    assert not unrolled(plane("conv", CUBA))
    assert not unrolled(plane("conv", CUBA, delay=np.array([0, 0])))
    assert unrolled(plane("conv", CUBA, delay=np.array([0, 1])))
    assert unrolled(plane("conv", CUBA, (2, 4, 4), stride=(1, 128)))
    assert all(unrolled(plane(kind, CUBA)) for kind in ("pool", "convT", "unpool"))


def test_too_many_connections():
    side = 1 << 11
    count = side * side * 25
    assert count > CONNECTIONS_MAX
    (found,) = refusals([plane("pool", CUBA, (1, side, side), kernel=(5, 5))])
    assert found.field == "shape"
    assert str(count) in found.message
