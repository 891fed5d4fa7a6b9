"""Every layer type: round trips, what is written, old variants, what is refused."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from lavadl_lite import exchange
from lavadl_lite.errors import ExchangeError
from lavadl_lite.exchange import Layer
from tests.exchange import drawn
from tests.strategies import generators

REAL_FILES = os.environ.get("LAVADL_LITE_NETWORKS")  # a folder with network files of lava-dl
CUBA = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1, "gradedSpike": False}
RF = {"type": "RF_PHASE", "sinDecay": 3, "cosDecay": 4000, "vThMant": 80, "gradedSpike": False}
KERNEL = {name: np.array(value) for name, value in
          {"kernelSize": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}.items()}  # fmt: skip
WEIGHTS = np.arange(4 * 1 * 3 * 2).reshape(4, 1, 3, 2)
SQUARE = np.array([[0, -64], [64, 2]])


def conv(**changes):
    fields = {"shape": np.array([4, 2, 3]), "inChannels": 2, "outChannels": 4, "groups": 2, "weight": WEIGHTS, **KERNEL}
    return fields | changes


def conv_transposed(**changes):
    weight = WEIGHTS.reshape(2, 2, 3, 2)
    return conv(weight=weight, **changes)


def pool(**changes):
    return {"shape": np.array([2, 3, 3]), "weight": np.full((1, 1, 3, 2), 64), **KERNEL, **changes}


def dense(**changes):
    return {"inFeatures": 2, "outFeatures": 2, "shape": np.array([2]), "weight": SQUARE, **changes}


def recurrent(**changes):
    return dense(**{"weight_rec": SQUARE.T, **changes})


def decimation(**changes):
    return {"shape": np.array([2, 3, 3]), "factor": 4, **changes}


def stored(path, kind, fields, neuron=None, name_type=np.bytes_):
    """A file with one layer, written with nothing but h5py; None leaves a field out."""
    with h5py.File(path, "w") as file:
        group = file.create_group("layer/0")
        group["type"] = np.array([kind], "S10") if name_type is np.bytes_ else name_type(kind)
        places = [(group, fields)] + ([] if neuron is None else [(group.create_group("neuron"), neuron)])
        for place, values in places:
            for name, value in values.items():
                if value is not None:
                    place[name] = value
    return path


def a_layer(kind, generator):
    """A random layer, with every sort of neuron that it may have."""
    neurons = {"input": (None, *drawn.REAL, *drawn.COMPLEX), "dense": (None, *drawn.REAL, *drawn.COMPLEX)}
    if kind in ("flatten", "average", "decimation", "concat"):
        return drawn.draw_layer(generator, kind)
    choices = neurons.get(kind, (*drawn.REAL, *drawn.COMPLEX))
    return drawn.draw_layer(generator, kind, choices[generator.integers(len(choices))])


# --- round trips -----------------------------------------------------------------------------------------------------


def test_the_table_is_what_is_tested():
    assert tuple(exchange.LAYERS) == drawn.LAYERS
    assert set(exchange.NEURONS) == {*drawn.REAL, *drawn.COMPLEX}


@pytest.mark.parametrize("kind", drawn.LAYERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(generator=generators())
def test_any_layer_is_read_as_it_was_written(tmp_path, kind, generator):
    layer = a_layer(kind, generator)
    exchange.save(tmp_path / "a.net", drawn.alone(layer))
    found = exchange.read(tmp_path / "a.net").layers
    drawn.check_equal(found[-1], layer)
    drawn.check_equal(exchange.check_layer(found[-1]), layer)
    exchange.save(tmp_path / "b.net", found)
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()


# --- what is written -------------------------------------------------------------------------------------------------

PAIRS = ("kernelSize", "stride", "padding", "dilation")


@pytest.mark.parametrize(
    ("kind", "fields", "shapes"),
    [
        ("conv", conv(bias=np.zeros(4), delay=np.ones(4)), {"weight": (4, 1, 3, 2), "bias": (4,), "delay": (4,)}),
        ("convT", conv_transposed(), {"weight": (2, 2, 3, 2)}),
        ("pool", pool(), {"weight": (1, 1, 3, 2)}),
        ("unpool", pool(), {"weight": (1, 1, 3, 2)}),
        ("dense_rec", recurrent(inputBias=np.ones(2)), {"weight": (2, 2), "weight_rec": (2, 2), "inputBias": (2,)}),
    ],
)
def test_written_types_and_shapes(tmp_path, kind, fields, shapes):
    exchange.save(tmp_path / "a.net", [Layer(kind, fields, CUBA)])
    with h5py.File(tmp_path / "a.net") as file:
        group = file["layer/0"]
        assert set(group) == {"type", "neuron", *fields}
        assert group["type"][()].tolist() == [kind.encode()]
        assert group["type"].dtype == "S10"
        for name, shape in shapes.items():
            assert (group[name].dtype, group[name].shape) == (np.float32, shape)
        for name in set(fields) - set(shapes):
            expected = (2,) if name in PAIRS else np.shape(fields[name])
            assert (group[name].dtype, group[name].shape) == (np.int64, expected)


def test_complex_weights_are_groups_of_two(tmp_path):
    fields = {f"{name}/{part}": SQUARE for name in ("weight", "weight_rec") for part in ("real", "imag")}
    fields |= {"bias/real": np.ones(2), "bias/imag": np.zeros(2)}
    layer = Layer("dense_rec", dense(weight=None) | fields, {**RF, "weight_exp": np.array([1, 2])})
    layer.fields.pop("weight")
    exchange.save(tmp_path / "a.net", [layer])
    with h5py.File(tmp_path / "a.net") as file:
        for name in ("weight", "weight_rec", "bias"):
            assert set(file["layer/0"][name]) == {"real", "imag"}
            assert file["layer/0"][name]["real"].dtype == np.float32
        assert file["layer/0/neuron/weight_exp"][()].tolist() == [1, 2]


# --- old variants ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "fields"), [("conv", conv()), ("convT", conv_transposed()), ("pool", pool())])
def test_kernels_of_five_axes(tmp_path, kind, fields):
    path = stored(tmp_path / "a.net", kind, {**fields, "weight": fields["weight"][..., None]}, CUBA)
    drawn.check_equal(exchange.read(path).layers[0], Layer(kind, fields, CUBA))


def test_a_head_that_only_sums_its_messages(tmp_path):
    """As lava-dl's object detection writes its last layer: five axes, and a neuron group that says nothing else."""
    neuron = {"type": "SDNN", "sigma_output": True}
    path = stored(tmp_path / "a.net", "conv", conv(weight=WEIGHTS[..., None].astype(np.float32)), neuron)
    drawn.check_equal(exchange.read(path).layers[0], Layer("conv", conv(), neuron))


@pytest.mark.parametrize("shape", [(), (2,), (3,), (2, 3)])
def test_delays_of_neurons_and_of_synapses(tmp_path, shape):
    """A scalar is one for every neuron."""
    weight = np.zeros((2, 3))
    fields = {"inFeatures": 3, "outFeatures": 2, "shape": np.array([2]), "weight": weight, "delay": np.full(shape, 5)}
    for kind, more in (("dense", {}), ("dense_rec", {"weight_rec": SQUARE})):
        path = stored(tmp_path / f"{kind}.net", kind, fields | more, CUBA)
        found = exchange.read(path).layers[0].fields["delay"]
        np.testing.assert_array_equal(found, np.full(shape or (2,), 5), strict=False)
        assert found.shape == (shape or (2,))
        assert found.dtype == np.float32


@pytest.mark.parametrize("shape", [(6,), (6, 1, 1), (1, 1, 6), (1, 6, 1)])
def test_shapes_of_average(tmp_path, shape):
    path = stored(tmp_path / "a.net", "average", {"shape": np.array(shape)})
    drawn.check_equal(exchange.read(path).layers[0], Layer("average", {"shape": np.array([6])}))


def test_old_convolution(tmp_path):
    """A neuron under its old name, sizes as arrays of one, the type as a string, numbers in double precision."""
    fields = conv(bias=np.arange(4.0), delay=np.array([0, 1, 2, 62.0]), inChannels=np.array([2]), groups=np.array([2]))
    neuron = {"type": "LOIHI", "iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1}
    neuron |= {"scaleRho": 1.0, "tauRho": 0.5, "theta": 5120, "wgtExp": 0}
    path = stored(tmp_path / "a.net", "conv", fields, neuron, name_type=str)
    found = exchange.read(path).layers[0]
    drawn.check_equal(found, Layer("conv", fields | {"inChannels": 2, "groups": 2}, CUBA))
    assert found.fields["bias"].dtype == found.fields["delay"].dtype == np.float32


@pytest.mark.skipif(REAL_FILES is None, reason="LAVADL_LITE_NETWORKS names no folder with files of lava-dl")
def test_files_of_lava_dl():
    paths = sorted(Path(str(REAL_FILES)).rglob("*.net"))
    assert paths
    for path in paths:
        network = exchange.read(path)
        assert len(exchange.output_shapes(network.layers)) == len(network.layers)


# --- what is refused -------------------------------------------------------------------------------------------------

PART = {"weight/real": SQUARE, "weight/imag": SQUARE}


def test_array_and_parts_together():
    with pytest.raises(ExchangeError, match="/weight: expected one array or its parts, got both"):
        exchange.check_layer(Layer("dense", dense() | PART, RF))


REFUSED = [
    ("conv", conv(), None, "/layer/0/neuron: missing"),
    ("pool", pool(), None, "/layer/0/neuron: missing"),
    ("dense_rec", recurrent(), None, "/layer/0/neuron: missing"),
    ("average", {"shape": np.array([6])}, CUBA, "/layer/0/neuron: expected only fields that are known"),
    ("decimation", decimation(), CUBA, "/layer/0/neuron: expected only fields that are known"),
    (
        "conv",
        conv(weight=WEIGHTS.reshape(4, 1, 2, 3)),
        CUBA,
        r"weight: expected shape \(4, 1, 3, 2\), got \(4, 1, 2, 3\)",
    ),
    ("conv", conv(weight=WEIGHTS.reshape(4, 1, 3, 1, 2)), CUBA, r"weight: expected shape \(4, 1, 3, 2\)"),
    ("conv", conv(weight=WEIGHTS.reshape(2, 2, 3, 2)), CUBA, r"weight: expected shape \(4, 1, 3, 2\)"),
    ("convT", conv(), CUBA, r"weight: expected shape \(2, 2, 3, 2\), got \(4, 1, 3, 2\)"),
    (
        "conv",
        conv(weight=WEIGHTS + 0.5),
        CUBA,
        r"weight: expected integers in \[-256, 254\], got 0.5 at \[0, 0, 0, 0\]",
    ),
    ("conv", conv(weight=WEIGHTS - 257), CUBA, "weight: expected integers in"),
    ("conv", conv(groups=3), CUBA, "groups: expected a divisor of 2 and 4 channels, got 3"),
    ("conv", conv(groups=0), CUBA, "groups: expected integers in"),
    ("conv", conv(inChannels=3), CUBA, "groups: expected a divisor of 3 and 4 channels, got 2"),
    ("conv", conv(outChannels=2), CUBA, r"shape: expected \(2, H, W\), got \(4, 2, 3\)"),
    ("conv", conv(shape=np.array([4, 2])), CUBA, r"shape: expected shape \(3,\), got \(2,\)"),
    ("conv", conv(shape=np.array([4, 2000, 2000])), CUBA, "shape: expected at most 4194304 neurons"),
    ("conv", conv(kernelSize=3), CUBA, r"kernelSize: expected shape \(2,\), got \(\)"),
    ("conv", conv(stride=np.array([0, 1])), CUBA, r"stride: expected integers in \[1, 4194304\], got 0 at \[0\]"),
    ("conv", conv(padding=np.array([0, -1])), CUBA, r"padding: expected integers in \[0, 4194304\], got -1 at \[1\]"),
    ("conv", conv(dilation=np.array([1, 0])), CUBA, "dilation: expected integers in"),
    ("conv", conv(bias=np.zeros(2)), CUBA, r"bias: expected shape \(4,\), got \(2,\)"),
    ("conv", conv(delay=np.zeros(2)), CUBA, r"delay: expected shape \(4,\), got \(2,\)"),
    ("conv", conv(delaySide="input"), CUBA, "delaySide: expected together with a delay, got no delay"),
    ("conv", conv(inFeatures=2), CUBA, "inFeatures: expected only fields that are known"),
    ("conv", conv(), RF, "weight: expected parts real and imag for this RF_PHASE neuron, got one array"),
    ("pool", pool(bias=np.zeros(2)), CUBA, "bias: expected only fields that are known"),
    ("pool", pool(inChannels=2), CUBA, "inChannels: expected only fields that are known"),
    ("unpool", pool(weight=np.ones((2, 1, 3, 2))), CUBA, r"weight: expected shape \(1, 1, 3, 2\)"),
    ("pool", pool(delay=np.zeros(3)), CUBA, r"delay: expected shape \(2,\), got \(3,\)"),
    ("dense_rec", recurrent(weight_rec=None), CUBA, "weight_rec: missing"),
    ("dense_rec", recurrent(weight_rec=SQUARE[:1]), CUBA, r"weight_rec: expected shape \(2, 2\), got \(1, 2\)"),
    ("dense_rec", recurrent(inputBias=np.zeros(3)), CUBA, r"inputBias: expected shape \(2,\), got \(3,\)"),
    (
        "dense_rec",
        recurrent(weight=None, **PART),
        RF,
        "weight_rec: expected parts real and imag for this RF_PHASE neuron",
    ),
    (
        "dense",
        dense(inFeatures=3, weight=np.zeros((2, 3)), delay=np.zeros((3, 2))),
        CUBA,
        r"delay: expected shape \(2,\) or \(3,\) or \(2, 3\), got \(3, 2\)",
    ),
    (
        "dense",
        dense(inFeatures=3, weight=np.zeros((2, 3)), delay=np.zeros(3), delaySide="output"),
        CUBA,
        r"delaySide: expected 'input' beside delays of synapses, of shape \(3,\), got 'output'",
    ),
    ("dense", dense(delay=np.zeros((2, 2)), delaySide="output"), CUBA, "delaySide: expected 'input' beside delays"),
    ("dense", dense(delay=np.full((2, 2), 63)), CUBA, r"delay: expected integers in \[0, 62\], got 63"),
    (
        "concat",
        {"shape": np.array([2]), "layers": np.array(0)},
        None,
        r"layers: expected shape \(any number,\), got \(\)",
    ),
    (
        "concat",
        {"shape": np.array([2]), "layers": np.zeros(0, int)},
        None,
        "layers: expected the number of at least one",
    ),
    (
        "concat",
        {"shape": np.array([2]), "layers": np.array([-1])},
        None,
        r"layers: expected integers in \[0, 4194304\]",
    ),
    ("concat", {"shape": np.array([2]), "layers": None}, None, "layers: missing"),
    ("concat", {"shape": np.array([2]), "layers": np.array([0])}, CUBA, "neuron: expected only fields that are known"),
    ("dense", recurrent(), CUBA, "weight_rec: expected only fields that are known"),
    ("dense", dense(weight=None, **PART), CUBA, "weight: expected one array for this CUBA neuron, got parts"),
    ("dense", dense(weight=None, **PART, bias=np.ones(2)), RF, "bias: expected parts real and imag for this RF_PHASE"),
    ("dense", dense(weight=None, **PART, bias=np.ones(2)), None, "bias: expected parts real and imag for this layer"),
    ("dense", {**dense(weight=None), "weight/real": SQUARE}, RF, "weight/imag: missing"),
    ("dense", dense(weight=None, **PART, **{"weight/phase": SQUARE}), RF, "weight/phase: expected only fields"),
    ("dense", {**dense(weight=None), **PART, "weight/imag": SQUARE[:1]}, RF, r"weight/imag: expected shape \(2, 2\)"),
    ("dense", {**dense(weight=None), **PART, "weight/imag": SQUARE + 256}, RF, "weight/imag: expected integers in"),
    ("input", {"shape": np.array([2]), "weight/real": np.ones(1)}, RF, "weight: expected a dataset, got a group"),
    ("average", {"shape": np.array([2, 3, 1])}, None, r"shape: expected \(N,\), got \(2, 3, 1\)"),
    ("decimation", decimation(factor=3), None, "factor: expected a power of two, got 3"),
    ("decimation", decimation(factor=0), None, r"factor: expected integers in \[1, 65536\], got 0"),
    ("decimation", decimation(factor=1 << 17), None, "factor: expected integers in"),
    ("decimation", decimation(factor=None), None, "factor: missing"),
]


@pytest.mark.parametrize(("kind", "fields", "neuron", "message"), REFUSED, ids=[f"{r[0]}-{r[3][:40]}" for r in REFUSED])
def test_what_a_layer_may_not_hold(tmp_path, kind, fields, neuron, message):
    """The same from a file as from memory."""
    path = stored(tmp_path / "a.net", kind, fields, neuron)
    with pytest.raises(ExchangeError, match=message):
        exchange.read(path)
    given = {name: value for name, value in fields.items() if value is not None}
    with pytest.raises(ExchangeError, match=message.removeprefix("/layer/0")):
        exchange.check_layer(Layer(kind, given, neuron))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("conv", conv()), ("convT", conv_transposed()), ("pool", pool()), ("unpool", pool()), ("dense_rec", recurrent())],
)
def test_missing_fields(tmp_path, kind, fields):
    for name in fields:
        path = stored(tmp_path / "a.net", kind, fields | {name: None}, CUBA)
        with pytest.raises(ExchangeError, match=f"/layer/0/{name}: missing"):
            exchange.read(path)
