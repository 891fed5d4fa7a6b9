"""The example on MNIST, with a few images of noise in its files."""

import gzip
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lavadl_lite import netx
from lavadl_lite.bootstrap.routine import LayerMode, Mode

PATH = Path(__file__).parents[2] / "examples" / "mnist_bootstrap.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("mnist_bootstrap", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def idx(numbers):
    """Bytes as an idx file: two zeros, the type 8, the number of axes, their lengths of four bytes, the bytes."""
    head = bytes([0, 0, 8, numbers.ndim]) + b"".join(length.to_bytes(4, "big") for length in numbers.shape)
    return head + numbers.astype(np.uint8).tobytes()


@pytest.fixture
def data(tmp_path):
    """Two pairs of files, plain for training and packed for the test; images and labels by part."""
    rng = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", 40), ("t10k", 20)):
        images, labels = rng.integers(0, 256, (count, 28, 28)), rng.integers(0, 10, count)
        parts[part] = images, labels
        for name, numbers in (("images-idx3", images), ("labels-idx1", labels)):
            if part == "train":
                (tmp_path / f"{part}-{name}-ubyte").write_bytes(idx(numbers))
            else:
                (tmp_path / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(numbers)))
    return parts


def test_files_are_read_plain_and_packed(script, data, tmp_path):
    for part, (images, labels) in data.items():
        found, found_labels = script.load(tmp_path, part)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found, 2 * images[:, None] / 255 - 1, atol=1e-6)
        np.testing.assert_array_equal(found_labels, labels)
    with pytest.raises(FileNotFoundError, match="absent-images-idx3-ubyte"):
        script.load(tmp_path, "absent")


def test_an_image_that_is_not_varied_stays(script, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.full(shape, 0.5))  # the middle of what is drawn
    images = 2 * torch.randint(0, 256, (3, 1, 28, 28)) / 255 - 1
    torch.testing.assert_close(script.varied(images), images, atol=1e-4, rtol=0)


def call(script, folder, epochs, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["mnist_bootstrap.py", str(folder), "--epochs", str(epochs)])
    script.main()


@pytest.mark.usefixtures("data")
def test_the_network_that_is_written_has_the_accuracy_that_is_told(script, tmp_path, monkeypatch, capsys):
    call(script, tmp_path, 2, monkeypatch)
    first, second, best = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 0, tested in SNN: ")
    assert second.startswith("epoch 1, tested in ANN: ")
    net = script.Network().eval()
    net.load_state_dict(torch.load(tmp_path / "network.pt", weights_only=True))
    images, labels = script.load(tmp_path, "t10k")
    with torch.no_grad():
        hits = net(images, LayerMode(0, Mode.SNN)).argmax(1) == labels
    assert best == f"best with spikes: {hits.double().mean():.4f}"
    assert [layer.type for layer in netx.load(tmp_path / "network.net").layers] == ["input", *["dense"] * 3]


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs_are_refused(script, tmp_path, monkeypatch, capsys, epochs):
    with pytest.raises(SystemExit):
        call(script, tmp_path, epochs, monkeypatch)
    assert f"argument --epochs: expected 1 or more, got {epochs}" in capsys.readouterr().err


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"])
def test_a_file_that_was_cut_is_named(script, tmp_path, name):
    path = tmp_path / name
    whole = path.read_bytes()
    for length in (0, 2, 4, 9, 12, 15, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"{name}: expected"):
            script.load(tmp_path, name.partition("-")[0])


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_each_image_has_a_label(script, data, tmp_path, part):
    (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(data[part][1][1:]))
    count = len(data[part][1])
    with pytest.raises(ValueError, match=f"{part}: expected a label .*, got {count} images and {count - 1} labels"):
        script.load(tmp_path, part)
