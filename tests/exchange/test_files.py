"""Whole files: what is written, in which order it is read back, and that nothing is written in part."""

import io
import random
import subprocess
import sys

import h5py
import numpy as np
import pytest

from lavadl_lite import __version__, exchange
from lavadl_lite.errors import ExchangeError
from lavadl_lite.exchange import Layer
from tests.exchange.networks import CUBA, WEIGHT, check_is_the_usual_dense, dense, layer_type, plain_layer, put


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


INTERRUPTED = """
import sys, time
from lavadl_lite import exchange
from lavadl_lite.exchange import files as writing

def stops(*args):
    original(*args)
    print("half", flush=True)
    time.sleep(60)

original, writing._put_layer = writing._put_layer, stops
exchange.save(sys.argv[1], exchange.read(sys.argv[1]).layers)
"""


def test_a_killed_process_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.net"
    exchange.save(path, [plain_layer()])
    before = path.read_bytes()
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.kill()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


FULL = """
import resource, sys
from lavadl_lite import exchange
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as a full disk: the system takes no more bytes
try:
    exchange.save(sys.argv[1], exchange.read(sys.argv[1]).layers)
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.net"
    exchange.save(path, [plain_layer()])
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("File too large\n", "")
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


def test_simulation_group_is_ignored(store):
    path = store(dense(), simulation={"Ts": 1, "tSample": 64})
    check_is_the_usual_dense(exchange.read(path).layers[0])


def test_more_than_ten_layers_keep_their_order(store):
    square = {"inFeatures": 2, "outFeatures": 2}
    layers = [dense(**square, weight=np.full((2, 2), float(i))) for i in range(12)]
    read = exchange.read(store(*layers)).layers
    assert [layer.fields["weight"][0, 0] for layer in read] == list(range(12))


def test_only_the_first_entries_are_looked_at(store):
    path = store(dense(), {"type": layer_type("residual"), "shape": np.array([1, 1, 1])})
    assert len(exchange.read(path, num_layers=1).layers) == 1
    with pytest.raises(ExchangeError, match=r"/layer/1/type: expected a layer type out of .*, got 'residual'"):
        exchange.read(path)


def test_layers_are_numbered_without_gaps(tmp_path):
    with h5py.File(tmp_path / "a.net", "w") as file:
        put(file, {"layer": {"0": dense(), "2": dense()}})
    with pytest.raises(ExchangeError, match="/layer/1: missing, while /layer has 2 members"):
        exchange.read(tmp_path / "a.net")


def test_more_layers_than_a_file_may_have(tmp_path):
    with h5py.File(tmp_path / "a.net", "w", libver="latest") as file:
        for i in range(4097):
            file.create_group(f"layer/{i}")
    with pytest.raises(ExchangeError, match="/layer: expected at least one layer and at most 4096, got 4097"):
        exchange.read(tmp_path / "a.net")


def test_no_layers_at_all(tmp_path):
    h5py.File(tmp_path / "a.net", "w").close()
    with pytest.raises(ExchangeError, match="/layer: missing"):
        exchange.read(tmp_path / "a.net")


@pytest.mark.parametrize("version", [2, 0, 1.0, "1", np.array([1])])
def test_files_of_a_later_format_are_refused(store, version):
    path = store(dense())
    with h5py.File(path, "a") as file:
        file.attrs["formatVersion"] = version
    with pytest.raises(ExchangeError, match="formatVersion"):
        exchange.read(path)
