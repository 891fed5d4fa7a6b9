"""The exchange format: what is written, every old variant that is read, and what is refused."""

import io
import random

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lavadl_lite import __version__, exchange
from lavadl_lite.errors import ExchangeError
from lavadl_lite.exchange import Layer

CUBA = {"iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1, "gradedSpike": False}
LOIHI = {"iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1}
LOIHI_EXTRAS = {"scaleRho": np.float64(10), "tauRho": np.float64(0.5), "theta": 5120, "wgtExp": 0}
WEIGHT = np.array([[2, -256, 254], [0, 4, -6]], np.float32)


def put(group, values):
    """Fields as h5py stores them; a dictionary becomes a group."""
    for name, value in values.items():
        if isinstance(value, dict):
            put(group.create_group(name), value)
        else:
            group[name] = value
    return group


def layer_type(name):
    return np.array([name], "S10")


def dense(**changes):
    """The fields of a dense layer as lava-dl writes them; None leaves one out."""
    fields = {"type": layer_type("dense"), "shape": np.array([2]), "inFeatures": 3, "outFeatures": 2, "weight": WEIGHT}
    fields |= {"neuron": {"type": "CUBA", **CUBA}, **changes}
    return {name: value for name, value in fields.items() if value is not None}


def input_layer(**changes):
    fields = {"type": layer_type("input"), "shape": np.array([3]), **changes}
    return {name: value for name, value in fields.items() if value is not None}


def flatten(shape):
    return {"type": layer_type("flatten"), "shape": np.array(shape)}


@pytest.fixture
def store(tmp_path):
    """Write layers, as dictionaries of fields, into a file; returns its path."""

    def write(*layers, **top):
        path = tmp_path / "network.net"
        with h5py.File(path, "w") as file:
            put(file, {"layer": {str(i): layer for i, layer in enumerate(layers)}, **top})
        return path

    return write


def plain_layer(**changes):
    fields = {"inFeatures": 3, "outFeatures": 2, "shape": np.array([2]), "weight": WEIGHT}
    neuron = {"type": "CUBA", **CUBA}
    neuron |= changes.pop("neuron", {})
    return Layer("dense", {**fields, **changes}, neuron)


# --- what is written -------------------------------------------------------------------------------------------------


def test_written_fields_have_the_types_and_shapes_of_lava_dl(tmp_path):
    extras = {"bias": np.array([-4, 6]), "delay": np.array([0, 62]), "delaySide": "output"}
    path = tmp_path / "a.net"
    exchange.save(path, [plain_layer(**extras, neuron={"weight_exp": np.array([-2])})])
    with h5py.File(path) as file:
        group = file["layer/0"]
        assert set(group) == {"type", "shape", "inFeatures", "outFeatures", "weight", "neuron", *extras}
        assert set(group["neuron"]) == {"type", "weight_exp", *CUBA}
        assert group["type"].dtype == "S10"
        assert group["type"].shape == (1,)
        assert group["type"][0] == b"dense"
        for name, shape in (("shape", (1,)), ("inFeatures", ()), ("outFeatures", ())):
            assert group[name].dtype == np.int64
            assert group[name].shape == shape
        for name, shape in (("weight", (2, 3)), ("bias", (2,)), ("delay", (2,)), ("neuron/weight_exp", (1,))):
            assert group[name].dtype == np.float32
            assert group[name].shape == shape
        for name in ("iDecay", "vDecay", "vThMant", "refDelay"):
            assert group["neuron"][name].dtype == np.int64
            assert group["neuron"][name].shape == ()
        assert group["neuron/gradedSpike"].dtype == np.bool_
        text = h5py.check_string_dtype(group["neuron/type"].dtype)
        assert text.encoding == "utf-8"
        assert text.length is None
        for data in (group["weight"], group["type"]):
            assert data.chunks is None
            assert data.compression is None
            assert not data.attrs
        assert file.attrs["formatVersion"] == exchange.FORMAT_VERSION == 1
        assert file.attrs["libraryVersion"] == f"lavadl_lite {__version__}".encode()


def test_what_is_written_is_read_back(tmp_path):
    cell = {"type": "CUBA", **CUBA}
    layers = [
        Layer("input", {"shape": np.array([3, 2, 4]), "weight": np.array([76.0]), "bias": np.array([-3.0])}, cell),
        Layer("flatten", {"shape": np.array([24, 1, 1])}),
        Layer(
            "dense",
            {"inFeatures": 24, "outFeatures": 2, "shape": np.array([2]), "weight": np.ones((2, 24))},
            {**cell, "iDecay": np.array([1, 4096]), "gradedSpike": True},
        ),
        Layer("dense", {"inFeatures": 2, "outFeatures": 1, "shape": np.array([1]), "weight": np.ones((1, 2))}),
    ]
    exchange.save(tmp_path / "a.net", layers)
    network = exchange.read(tmp_path / "a.net")
    assert network.format_version == 1
    assert network.library_version == f"lavadl_lite {__version__}"
    assert exchange.output_shapes(network.layers) == [(3, 2, 4), (24,), (2,), (1,)]
    for written, found in zip(layers, network.layers, strict=True):
        assert (found.type, set(found.fields)) == (written.type, set(written.fields))
        for name, value in written.fields.items():
            np.testing.assert_array_equal(found.fields[name], value)
        if written.neuron is None:
            assert found.neuron is None
        else:
            assert set(found.neuron) == set(written.neuron)
            for name, value in written.neuron.items():
                np.testing.assert_array_equal(found.neuron[name], value)


def test_a_saved_file_is_saved_again_byte_for_byte(tmp_path):
    """Reading loses nothing, and writing adds nothing that changes by itself."""
    exchange.save(tmp_path / "a.net", [plain_layer()])
    exchange.save(tmp_path / "b.net", exchange.read(tmp_path / "a.net").layers)
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.net"
    exchange.save(path, [plain_layer()])
    before = path.read_bytes()
    with pytest.raises(ExchangeError, match="/layer/1/inFeatures: expected 2 after a layer of shape"):
        exchange.save(path, [plain_layer(), plain_layer()])
    with pytest.raises(ExchangeError, match="/layer/0/weight"):
        exchange.save(path, [plain_layer(weight=WEIGHT / 4)])
    with pytest.raises(ExchangeError, match="at least one layer"):
        exchange.save(path, [])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.net"
    exchange.save(path, [plain_layer()])
    before = path.read_bytes()

    def fails(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(h5py.Group, "create_dataset", fails)
    with pytest.raises(OSError, match="disk full"):
        exchange.save(path, [plain_layer()])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_layer_is_written_whole_or_not_at_all():
    with h5py.File(io.BytesIO(), "w") as file:
        group = file.create_group("layer/0")
        with pytest.raises(ExchangeError, match=r"/layer/0/neuron/iDecay: expected integers in \[0, 4096\], got 4097"):
            exchange.write_layer(group, plain_layer(neuron={"iDecay": 4097}))
        assert list(group) == []
        exchange.write_layer(group, plain_layer())
        with pytest.raises(ExchangeError, match="/layer/0: expected an empty group"):
            exchange.write_layer(group, plain_layer())


def test_a_written_layer_is_read_in_a_file_without_versions(tmp_path):
    """As users of lava-dl export: their own loop over the blocks of a network."""
    with h5py.File(tmp_path / "a.net", "w") as file:
        exchange.write_layer(file.create_group("layer/0"), plain_layer())
    network = exchange.read(tmp_path / "a.net")
    assert (network.format_version, network.library_version) == (None, None)
    np.testing.assert_array_equal(network.layers[0].fields["weight"], WEIGHT)


# --- old variants ----------------------------------------------------------------------------------------------------


def check_is_the_usual_dense(layer, **fields):
    """Every old spelling comes out in the present one."""
    assert layer.type == "dense"
    expected = {"inFeatures": 3, "outFeatures": 2, "shape": [2], "weight": WEIGHT, **fields}
    assert set(layer.fields) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(layer.fields[name], value)
    assert layer.fields["weight"].dtype == np.float32
    assert layer.neuron == {"type": "CUBA", **CUBA}


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


def test_simulation_group_is_ignored(store):
    path = store(dense(), simulation={"Ts": 1, "tSample": 64})
    check_is_the_usual_dense(exchange.read(path).layers[0])


def test_more_than_ten_layers_keep_their_order(store):
    square = {"inFeatures": 2, "outFeatures": 2}
    layers = [dense(**square, weight=np.full((2, 2), float(i))) for i in range(12)]
    read = exchange.read(store(*layers)).layers
    assert [layer.fields["weight"][0, 0] for layer in read] == list(range(12))


def test_only_the_first_entries_are_looked_at(store):
    average = {"type": layer_type("average"), "shape": np.array([1, 1, 1])}
    path = store(dense(), average)
    assert len(exchange.read(path, num_layers=1).layers) == 1
    with pytest.raises(ExchangeError, match=r"/layer/1/type: expected a layer type out of .*, got 'average'"):
        exchange.read(path)


# --- what is refused -------------------------------------------------------------------------------------------------

HUGE = 1 << 40
MESSAGES = [
    ({"type": layer_type("conv")}, "/layer/0/type: expected a layer type out of input, flatten, dense, got 'conv'"),
    ({"type": 3}, "/layer/0/type: expected a layer type"),
    ({"type": None}, "/layer/0/type: missing"),
    ({"type": np.array(["dense", "dense"], "S10")}, "/layer/0/type: expected one string, got 2"),
    ({"type": np.bytes_("dense" * 100)}, "/layer/0/type: expected at most 64 characters"),
    ({"type": "dense" * 100}, "/layer/0/type: expected at most 64 characters"),
    ({"weight": None}, "/layer/0/weight: missing"),
    ({"weight": WEIGHT.T}, r"/layer/0/weight: expected shape \(2, 3\), got \(3, 2\)"),
    ({"weight": WEIGHT[None]}, r"/layer/0/weight: expected shape \(2, 3\), got \(1, 2, 3\)"),
    ({"weight": {"real": WEIGHT, "imag": WEIGHT}}, "/layer/0/weight: expected a dataset, got a group"),
    ({"weight": WEIGHT + 0.5}, r"/layer/0/weight: expected integers in \[-256, 254\], got 2.5 at \[0, 0\]"),
    ({"weight": np.where(WEIGHT == 4, 255, WEIGHT)}, r"got 255.0 at \[1, 1\]"),
    ({"weight": np.where(WEIGHT == 4, -257, WEIGHT)}, r"got -257.0 at \[1, 1\]"),
    ({"weight": np.where(WEIGHT == 4, np.nan, WEIGHT)}, r"got nan at \[1, 1\]"),
    ({"weight": np.where(WEIGHT == 4, np.inf, WEIGHT)}, r"got inf at \[1, 1\]"),
    ({"weight": WEIGHT.astype(np.complex64)}, "/layer/0/weight: expected numbers or a string, got type"),
    ({"weight": WEIGHT.astype("S8")}, "/layer/0/weight: expected one string, got 6"),
    ({"weight": WEIGHT > 0}, "/layer/0/weight: expected numbers, got type bool"),
    ({"weight": np.zeros((2, 3), [("a", "f4")])}, "/layer/0/weight: expected numbers or a string, got type"),
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
    ({"delay": np.zeros(3)}, r"/layer/0/delay: expected shape \(2,\), got \(3,\)"),
    ({"delaySide": "left"}, "/layer/0/delaySide: expected one of 'input', 'output', got 'left'"),
    ({"delaySide": 1}, "/layer/0/delaySide: expected one of 'input', 'output', got type int64"),
    ({"weight_rec": np.zeros((2, 2))}, "/layer/0/weight_rec: expected only fields that are known here"),
    ({"neuron": WEIGHT}, "/layer/0/neuron: expected a group, got a dataset"),
    ({"neuron": {}}, "/layer/0/neuron/type: missing"),
    (
        {"neuron": {"type": "ALIF", **CUBA}},
        "/layer/0/neuron/type: expected a neuron type out of CUBA, LOIHI, got 'ALIF'",
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


def test_layers_are_numbered_without_gaps(tmp_path):
    with h5py.File(tmp_path / "a.net", "w") as file:
        put(file, {"layer": {"0": dense(), "2": dense()}})
    with pytest.raises(ExchangeError, match="/layer/1: missing, while /layer has 2 members"):
        exchange.read(tmp_path / "a.net")


@pytest.mark.parametrize("version", [2, 0, 1.0, "1", np.array([1])])
def test_files_of_a_later_format_are_refused(store, version):
    path = store(dense())
    with h5py.File(path, "a") as file:
        file.attrs["formatVersion"] = version
    with pytest.raises(ExchangeError, match="formatVersion"):
        exchange.read(path)


# --- hostile and damaged files ---------------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        exchange.read(tmp_path / "none.net")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"not a network" * 100])
def test_what_is_no_hdf5(tmp_path, content):
    path = tmp_path / "a.net"
    path.write_bytes(content)
    with pytest.raises(ExchangeError, match=r"a\.net: the file is damaged or truncated"):
        exchange.read(path)


def test_no_layers_at_all(tmp_path):
    h5py.File(tmp_path / "a.net", "w").close()
    with pytest.raises(ExchangeError, match="/layer: missing"):
        exchange.read(tmp_path / "a.net")


def test_truncated_anywhere(store, tmp_path):
    whole = store(input_layer(), dense(), dense(inFeatures=2, weight=WEIGHT[:, :2])).read_bytes()
    path = tmp_path / "cut.net"
    for length in range(0, len(whole), 61):
        path.write_bytes(whole[:length])
        with pytest.raises(ExchangeError):
            exchange.read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_damaged_bytes_give_a_clear_error_or_a_valid_network(store, tmp_path, data):
    whole = bytearray(store(input_layer(), dense(), simulation={"Ts": 1}).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.net"
    path.write_bytes(whole)
    try:
        network = exchange.read(path)
    except ExchangeError as error:
        assert len(str(error)) < 2000  # noqa: PT017
    else:
        exchange.output_shapes([exchange.check_layer(layer) for layer in network.layers])


def change_weight(path, make):
    """Replace the weight of the only layer by what ``make(group)`` stores under that name."""
    with h5py.File(path, "a") as file:
        group = file["layer/0"]
        del group["weight"]
        make(group)
    return path


def sparse_claim(group):
    """A dataset that declares its shape and holds nothing: HDF5 would fill it with zeros."""
    space = h5py.h5s.create_simple((2, 3))
    h5py.h5d.create(group.id, b"weight", h5py.h5t.IEEE_F32LE, space)


def external(group):
    group.create_dataset("weight", (2, 3), "f4", external=[("other.bin", 0, 24)])


def virtual(group):
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource("other.net", "weight", (2, 3))
    group.create_virtual_dataset("weight", layout)


def soft_loop(group):
    group["weight"] = h5py.SoftLink("/layer/0/weight")


def external_link(group):
    group["weight"] = h5py.ExternalLink("other.net", "/layer/0/weight")


def reference(group):
    group.create_dataset("weight", (2, 3), h5py.ref_dtype)


def objects(group):
    group.create_dataset("weight", (2, 3), h5py.vlen_dtype(np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (sparse_claim, r"expected data inside the file, got 0 bytes for shape \(2, 3\)"),
        (external, "expected data of this file, got external storage"),
        (virtual, "expected plain contiguous storage"),
        (soft_loop, "got a soft or external link"),
        (external_link, "got a soft or external link"),
        (reference, "expected numbers or a string"),
        (objects, "expected numbers or a string"),
        (
            lambda group: group.create_dataset("weight", data=WEIGHT, compression="gzip"),
            "expected plain contiguous storage",
        ),
        (lambda group: group.create_dataset("weight", data=WEIGHT, chunks=(1, 1)), "expected plain contiguous storage"),
        (lambda group: group.create_dataset("weight", (HUGE, HUGE >> 20), "f4"), "expected data inside the file"),
        (lambda group: group.__setitem__("weight", np.dtype("f4")), "got a named type"),
    ],
)
def test_hostile_storage_is_refused_before_it_is_read(store, make, message):
    with pytest.raises(ExchangeError, match=f"/layer/0/weight: .*{message}"):
        exchange.read(change_weight(store(dense()), make))


def test_links_are_not_followed_at_any_level(store):
    path = store(dense())
    with h5py.File(path, "a") as file:
        file.move("layer", "hidden")
        file["layer"] = h5py.SoftLink("/hidden")
    with pytest.raises(ExchangeError, match="/layer: expected data of this file, got a soft or external link"):
        exchange.read(path)


def test_a_group_that_contains_itself_is_no_loop(store):
    path = store(dense(neuron=None))
    with h5py.File(path, "a") as file:
        file["layer/0/neuron"] = file["layer/0"]
    with pytest.raises(ExchangeError, match="/layer/0/neuron/type"):
        exchange.read(path)


def test_many_names_for_the_same_data_do_not_multiply_it(store):
    """Hard links make a small file claim any number of layers: more bytes than it has are refused."""
    size = 200
    path = store(dense(inFeatures=size, outFeatures=size, shape=np.array([size]), weight=np.ones((size, size), "f4")))
    with h5py.File(path, "a") as file:
        for i in range(1, 20):
            file[f"layer/{i}"] = file["layer/0"]
    with pytest.raises(
        ExchangeError, match=r"/layer/1/weight: expected data inside the file, got a claim of 160000 bytes"
    ):
        exchange.read(path)


def test_claims_of_size_cost_no_memory(store):
    """What a file declares is compared with what it holds before anything is read."""
    import tracemalloc

    size = 1 << 20
    path = store(dense(inFeatures=size, outFeatures=size, shape=np.array([size]), weight=None))
    with h5py.File(path, "a") as file:
        space = h5py.h5s.create_simple((size, size))
        h5py.h5d.create(file["layer/0"].id, b"weight", h5py.h5t.IEEE_F32LE, space)
    tracemalloc.start()
    with pytest.raises(ExchangeError, match="/layer/0/weight: expected data inside the file"):
        exchange.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_random_layers_survive_a_round_trip(tmp_path):
    """Any order in which fields were written, any layout of the file."""
    rng = random.Random(0)
    for _ in range(20):
        fields = dense(bias=np.array([1.0, -4096.0]), delay=np.array([62, 0]))
        names = list(fields)
        rng.shuffle(names)
        with h5py.File(tmp_path / "a.net", "w", libver=rng.choice(["earliest", "latest"])) as file:
            put(file, {"layer": {"0": {name: fields[name] for name in names}}})
        check_is_the_usual_dense(exchange.read(tmp_path / "a.net").layers[0], bias=[1, -4096], delay=[62, 0])


def test_damaged_string_heaps_are_searched_to_an_end(store, tmp_path):
    """HDF5's own search for a variable-length string can loop for ever there."""
    whole = store(dense()).read_bytes()
    heap = whole.index(b"GCOL")
    path = tmp_path / "damaged.net"
    for place in range(heap, heap + 72):
        for value in (0, 1, 0x7F, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                layer = exchange.read(path).layers[0]
            except ExchangeError:
                continue
            check_is_the_usual_dense(layer)
