"""What lava-dl recorded of its own networks comes out of the simulator without one error.

Files and recordings are those of lava-dl's tests, in its wheel.  They are looked for in the folder that
``LAVADL_LITE_ORACLE`` names (the wheel unpacked), or fetched; where neither is possible the tests are skipped.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lavadl_lite import netx
from lavadl_lite.exchange import Layer
from tests.netx.networks import dense, input_layer, neuron

WHEEL = "lava-dl==0.6.0"
INSIDE = Path("tests/lava/lib/dl/netx")
CACHE = Path(tempfile.gettempdir()) / "lavadl-lite-oracle"


def fetched():
    """The unpacked wheel, fetched once a machine; None where that is not possible."""
    if not (CACHE / INSIDE).is_dir():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        with tempfile.TemporaryDirectory() as folder:
            command += ["--disable-pip-version-check", "--ignore-requires-python", "--retries", "0", "--timeout", "10"]
            try:
                subprocess.run([*command, "--dest", folder, WHEEL], check=True, capture_output=True, timeout=60)
            except (subprocess.SubprocessError, OSError):
                return None
            unpacked = Path(folder) / "unpacked"
            for wheel in Path(folder).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    names = [name for name in archive.namelist() if name.startswith(INSIDE.as_posix())]
                    archive.extractall(unpacked, names)
            CACHE.parent.mkdir(exist_ok=True, parents=True)
            if not (CACHE / INSIDE).is_dir():  # another process may have been faster
                unpacked.replace(CACHE)
    return CACHE


@pytest.fixture(scope="module")
def root():
    given = os.environ.get("LAVADL_LITE_ORACLE")
    folder = fetched() if given is None else Path(given)
    if folder is None or not (folder / INSIDE).is_dir():
        pytest.skip(f"no {WHEEL}: LAVADL_LITE_ORACLE names no folder with it, and it cannot be fetched")
    return folder / INSIDE


def ours(array):
    """[x, y, channel, ...] as [channel, y, x, ...]."""
    return np.asarray(array).transpose(2, 1, 0, *range(3, np.ndim(array)))


@pytest.mark.parametrize(
    ("name", "entries", "output"),
    [
        ("tiny.net", 3, (36, 1, 1)),
        ("mnist.net", 4, (10,)),
        ("gts/ntidigits/ntidigits.net", 6, (11,)),
        ("gts/pilotnet_lif/network.net", 11, (1,)),
        ("gts/pilotnet_sdnn/network.net", 10, (1,)),
        ("gts/pilotnet_sdnn/square_network.net", 5, (64, 2, 2)),
    ],
)
def test_every_file_runs(root, name, entries, output):
    simulated = netx.Simulator(root / name)
    assert (len(simulated.layers), simulated.output_shape) == (entries, output)
    x = np.random.default_rng(0).integers(0, 40, (*simulated.input_shape, 2))
    assert simulated.run(x).shape == (*output, 2)


def test_tiny_network(root):
    """36 outputs over 15 steps, its image as constant current."""
    image = ours(np.load(root / "gts/tinynet/input_bias.npy"))
    truth = np.load(root / "gts/tinynet/output.npy")[0]
    found = netx.Simulator(root / "tiny.net", reset_interval=17).run(np.repeat(image[..., None], 17, -1))
    np.testing.assert_array_equal(found[..., 2:], truth[..., 1:])
    assert truth[..., 1:].sum() == 92


def test_layers_of_the_tiny_network(root):
    folder = root / "gts/tinynet"
    cell = neuron(4096, 1024, 25)
    image = ours(np.load(folder / "input_bias.npy"))
    spikes = np.load(folder / "input.npy")[0]
    found = netx.Simulator([input_layer((3, 16, 16), cell)]).run(np.repeat(image[..., None], 15, -1))
    np.testing.assert_array_equal(found, spikes[..., 1:])
    simulated = netx.Simulator([input_layer((3, 16, 16), None), tiny_convolution(folder, cell)])
    found, states = simulated.run(spikes[..., 1:], "slayer", [(1, "current")])
    # the recording begins a step late, its first step empty
    np.testing.assert_array_equal(found[..., 1:], np.load(folder / "layer1.npy")[0, ..., 1:15])
    np.testing.assert_array_equal(states[1, "current"], 64 * np.load(folder / "current.npy")[0, ..., 1:16])


def tiny_convolution(folder, cell):
    """Lava's weights are [output, x, y, input], for a convolution in the strict sense."""
    weight = np.load(folder / "layer1_kernel.npy")[:, ::-1, ::-1].transpose(0, 3, 2, 1)
    fields = {"shape": [24, 6, 6], "inChannels": 3, "outChannels": 24, "groups": 1, "weight": weight}
    moves = {"kernelSize": [5, 5], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1]}
    return Layer("conv", fields | moves | {"bias": np.load(folder / "layer1_bias.npy")}, cell)


def test_sigma_delta_layers(root):
    folder = root / "gts/tinynet_sdnn"
    image = ours(np.load(folder / "input_bias.npy"))[..., None]
    signal = (image * np.sin(2 * np.pi * np.arange(15) / 15)).astype(int)
    encoder = {"type": "SDNN", "activation": "relu", "vThMant": 20}
    messages = ours(np.load(folder / "input.npy"))
    simulated = netx.Simulator([input_layer((3, 16, 16), encoder)])
    np.testing.assert_array_equal(simulated.run(signal), messages)
    layers = [input_layer((3, 16, 16), None), tiny_convolution(folder, encoder)]
    sent = ours(np.load(folder / "layer1.npy"))
    np.testing.assert_array_equal(netx.Simulator(layers).run(messages), sent[..., :15])
    assert sent.any()
    weight = np.load(folder / "layer2_weight.npy")
    read_out = dense(weight, {"type": "SDNN", "sigma_output": True})
    flat = np.load(folder / "layer1.npy").reshape(-1, 16)
    found = netx.Simulator([read_out]).run(flat)
    np.testing.assert_array_equal(found, np.load(folder / "layer2.npy"))


def test_dense_layer(root):
    folder = root / "gts/dense"
    layer = dense(np.load(folder / "weight.npy"), neuron(4096, 415, 6))
    found = netx.Simulator([layer]).run(np.load(folder / "in.npy"))
    np.testing.assert_array_equal(found, np.load(folder / "out.npy"))


def resonator(kind, threshold, period, alpha):
    sin, cos = (int((1 - alpha) * f(2 * np.pi / period) * 4096) for f in (np.sin, np.cos))
    return {"type": kind, "sinDecay": sin, "cosDecay": cos, "vThMant": threshold}


def test_complex_layers(root):
    folder = root / "gts/complex_dense"
    weights = {f"weight/{p}": np.load(folder / f"weight_{q}.npy") for p, q in (("real", "r"), ("imag", "img"))}
    fields = {"inFeatures": 200, "outFeatures": 256, "shape": [256], **weights}
    spikes = np.load(folder / "in.npy")
    found = netx.Simulator([Layer("dense", fields, resonator("RF_PHASE", 25, 11, 0.05))]).run(spikes)
    np.testing.assert_array_equal(found, np.load(folder / "out.npy"))


def test_axonal_delays(root):
    """Lava-dl's test compares one step; all are equal, those of the recording a step later."""
    folder = root / "gts/ntidigits"
    found = netx.Simulator(folder / "ntidigits.net", num_layers=5).run(np.load(folder / "input.npy"))
    truth = np.load(folder / "output.npy")
    np.testing.assert_array_equal(found[:, :-1], truth[:, 1:])
    assert truth.sum() == 22572


@pytest.mark.parametrize("first", [0, 1])
def test_sigma_delta_pilotnet(root, first):
    """From the image, which the first layer encodes, and from its recorded messages."""
    folder = root / "gts/pilotnet_sdnn"
    truth = np.load(folder / "output.npy")
    image = np.load(folder / "input.npy").repeat(9, 3) if first == 0 else np.load(folder / "act0.npy")[..., :9]
    simulated = netx.Simulator(folder / "network.net", skip_layers=first)
    record = [(1, "sigma"), (2, "sigma")]
    found, states = simulated.run(ours(image), record=record)
    np.testing.assert_array_equal(found, truth)
    if first == 1:
        for i, name in record:
            np.testing.assert_array_equal(states[i, name], ours(np.load(folder / f"sigma{i}.npy"))[..., :9])


def test_square_sigma_delta_pilotnet(root):
    folder = root / "gts/pilotnet_sdnn"
    simulated = netx.Simulator(folder / "square_network.net", skip_layers=1)
    record = [(i, "sigma") for i in range(1, 5)]
    _, states = simulated.run(ours(np.load(folder / "act0.npy")[:33, :33]), record=record)
    for i, name in record:
        np.testing.assert_array_equal(states[i, name], ours(np.load(folder / f"sigma{i}_square.npy")))


def test_spiking_pilotnet(root):
    """Recorded on the chip, which holds 128 as voltage of a neuron that has just fired; a sample of 16 steps."""
    folder = root / "gts/pilotnet_lif"
    image = ours(np.load(folder / "image.npy"))
    names = {0: "input"} | {1 + i: f"conv-{i}" for i in range(5)} | {7 + i: f"fc-{i}" for i in range(3)}
    record = [(i, state) for i in names for state in ("current", "voltage", "spike")]
    simulated = netx.Simulator(folder / "network.net", reset_interval=16)
    _, states = simulated.run(np.repeat(image[..., None], 16, -1), record=record)

    def recorded(name):
        values = np.load(folder / f"{name}.npy")[..., :16]
        return ours(values) if values.ndim > 2 else values

    for i, name in names.items():
        np.testing.assert_array_equal(states[i, "spike"], recorded(name), name)
        if i:
            np.testing.assert_array_equal(states[i, "current"], recorded(f"{name}-u"), name)
            voltage, truth = states[i, "voltage"], recorded(f"{name}-v")
            differs = voltage != truth
            assert set(voltage[differs].tolist()) <= {0}, name
            assert set(truth[differs].tolist()) <= {128}, name
    assert all(states[i, "spike"].any() for i in range(8) if i in names)
