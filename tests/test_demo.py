"""The demo on a few digits: its data, its code of spikes, its choice of an epoch, its files."""

import argparse
import sys

import numpy as np
import pytest
import torch

from lavadl_lite import demo
from lavadl_lite.errors import ParameterError


def few(seed=0, load=demo.load_digits):
    digits = load(seed)
    return demo.Digits(*((images[:n], labels[:n]) for (images, labels), n in zip(digits, (96, 32, 40), strict=True)))


@pytest.fixture(scope="module")
def learnt():
    torch.manual_seed(0)
    net, digits = demo.build(), few()
    return net, digits, demo.learn(net, digits, epochs=3)


def test_parts_share_no_digit_and_hold_each_class_in_proportion():
    digits = demo.load_digits(1)
    sizes = [len(labels) for _, labels in digits]
    assert sum(sizes) == 1797
    assert sizes[2] == 450
    everything = torch.cat([images for images, _ in digits]).flatten(1)
    assert len(everything.unique(dim=0)) == 1797
    share = torch.stack([labels.bincount(minlength=10) / len(labels) for _, labels in digits])
    assert (share - share.mean(0)).abs().max() < 0.01


def test_seed_changes_validation_and_never_the_test():
    first, second = demo.load_digits(0), demo.load_digits(1)
    assert torch.equal(first.test[0], second.test[0])
    assert not torch.equal(first.valid[0], second.valid[0])


def test_code_is_integrate_and_fire():
    """A neuron that begins at half of its threshold, adds the drive of its pixel and subtracts the threshold."""
    images = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[0, 0] = torch.linspace(0, 1, 8)
    potential = np.full((3, 64), 0.5)
    expected = np.zeros((3, 64, demo.STEPS))
    for t in range(demo.STEPS):
        potential += demo.DRIVE * images.flatten(1).double().numpy()
        expected[..., t] = potential >= 1 - 1e-9
        potential -= expected[..., t]
    assert np.array_equal(demo.encode(images).numpy(), expected)


def test_network_keeps_the_epoch_that_validation_chose(learnt):
    net, digits, result = learnt
    losses = result.stats.validation.loss_log
    assert len(losses) == len(result.seconds) == 3
    assert result.epoch == int(np.argmin(losses))
    images, labels = digits.valid
    with torch.no_grad():
        assert float(demo.ERROR(net(demo.encode(images)), labels)) == pytest.approx(losses[result.epoch], rel=1e-5)


def test_it_learns(learnt):
    losses = learnt[2].stats.training.loss_log
    assert losses[-1] < 0.8 * losses[0]


def test_exported_network_sends_the_same_spikes(learnt, tmp_path):
    net, digits, _ = learnt
    spikes = demo.encode(digits.test[0])
    with torch.no_grad():
        expected = net(spikes)
    assert expected.sum() > 0
    assert np.array_equal(demo.deploy(net, tmp_path / "digits.net", spikes), expected.numpy())


def test_command_tells_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "load_digits", few)
    monkeypatch.setattr(demo, "draw", lambda *_: False)
    folder = tmp_path / "new" / "folder"
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    assert demo.main(parser.parse_args(["--output", str(folder), "--epochs", "1", "--seed", "3"])) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["accuracy.txt", "digits.net", "loss.txt"]
    told = capsys.readouterr().out
    assert "0 of 12800 output entries of the simulator differ" in told
    assert "1 of 1, which has the smallest loss" in told


def test_without_epochs_there_is_nothing_to_choose():
    with pytest.raises(ParameterError, match="at least one epoch"):
        demo.learn(demo.build(), few(), epochs=0)


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"lavadl-lite\[examples\]"):
        demo.load_digits()


def test_pictures_are_written_whole(learnt, tmp_path):
    pytest.importorskip("matplotlib")
    net, digits, result = learnt
    assert demo.draw(tmp_path, net, digits, result, predicted=digits.test[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["activity.png", "confusion.png", "learning.png"]


def test_missing_matplotlib_leaves_the_pictures_out(learnt, tmp_path, monkeypatch):
    net, digits, result = learnt
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not demo.draw(tmp_path, net, digits, result, predicted=digits.test[1])
    assert not list(tmp_path.iterdir())
