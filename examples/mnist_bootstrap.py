"""
MNIST by Bootstrap
==================

The network, neuron and schedule of lava-dl's tutorial, on the files that are usually called
``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``,
with ``.gz`` behind or not. Nothing is downloaded::

    python mnist_bootstrap.py FOLDER

The best network by the accuracy with spikes is written as ``network.pt`` and ``network.net``.
"""

import argparse
import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from lavadl_lite import netx, slayer
from lavadl_lite.bootstrap import Mode
from lavadl_lite.bootstrap.block import cuba
from lavadl_lite.bootstrap.routine import Scheduler

STEPS = 16
NEURON = {"threshold": 1.25, "current_decay": 1, "voltage_decay": 0.03, "tau_grad": 1, "scale_grad": 1}
BYTES = 8  # the type of the numbers in an idx file


def read_idx(folder: Path, name: str) -> torch.Tensor:
    """The bytes of an idx file, packed or not, in the shape that its head tells."""
    paths = [folder / name, folder / f"{name}.gz"]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        raise FileNotFoundError(f"expected {paths[0]} or {paths[1].name} beside it")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole file of gzip: {error}") from error
    head = 4 + 4 * data[3] if len(data) > 3 else 4
    if len(data) < head or data[:3] != bytes([0, 0, BYTES]):
        raise ValueError(f"{path}: expected an idx file of bytes")
    shape = np.frombuffer(data[4:head], ">i4")
    if len(data) - head != math.prod(shape.tolist()):
        raise ValueError(f"{path}: expected {shape.tolist()} numbers, got {len(data) - head}")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=head).reshape(shape).copy())


def load(folder: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 28, 28) of -1..1 and labels (N,) of ``train`` or ``t10k``."""
    images, labels = (read_idx(folder, f"{part}-{name}-ubyte") for name in ("images-idx3", "labels-idx1"))
    if len(images) != len(labels):
        raise ValueError(f"{part}: expected a label for each image, got {len(images)} images and {len(labels)} labels")
    return images[:, None].float() / 127.5 - 1, labels.long()


def varied(images: torch.Tensor) -> torch.Tensor:
    """Each image turned by up to 10°, moved by 5 %, scaled by 5 % and sheared by 5°, at random."""
    turn, shear = (2 * torch.rand(2, len(images)) - 1) * torch.tensor([[math.radians(10)], [math.radians(5)]])
    scale = 1 + 0.05 * (2 * torch.rand(len(images)) - 1)
    shift = 0.1 * (2 * torch.rand(len(images), 2, 1) - 1)
    rows = [torch.stack([turn.cos(), shear - turn.sin()], 1), torch.stack([turn.sin(), turn.cos()], 1)]
    matrix = torch.cat([torch.stack(rows, 1) / scale[:, None, None], shift], 2)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images + 1, grid, align_corners=False) - 1


class Network(torch.nn.Module):
    """784 pixels, two layers of 512 neurons, and ten sums that are averaged over time."""

    def __init__(self):
        super().__init__()
        weights = {"weight_scale": 2, "weight_norm": True}
        self.blocks = torch.nn.ModuleList([
            cuba.Input(NEURON, weight=1, bias=0),
            cuba.Dense(NEURON, 28 * 28, 512, **weights),
            cuba.Dense(NEURON, 512, 512, **weights),
            cuba.Affine(NEURON, 512, 10, **weights),
        ])  # fmt: skip

    def forward(self, images, modes):
        x = slayer.utils.time.replicate(images.flatten(1), STEPS if modes.spiking else 1)
        for block, mode in zip(self.blocks, modes, strict=False):
            x = block(x, mode=mode)
        return x.mean(-1)


def run(net, optimizer, scheduler, stat, part, epoch):
    """One epoch over (images, labels): training with an optimizer, a test without one; ``stat`` counts."""
    images, labels = part
    training = optimizer is not None
    net.train(training)
    order = torch.randperm(len(labels)) if training else torch.arange(len(labels))
    for iteration, chosen in enumerate(order.split(32 if training else 256)):
        modes = scheduler.mode(epoch, iteration, training)
        with torch.set_grad_enabled(training):
            output = net(varied(images[chosen]) if training else images[chosen], modes)
            loss = functional.cross_entropy(output, labels[chosen])
        if training:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        stat.num_samples += len(chosen)
        stat.loss_sum += loss.item() * len(chosen)
        stat.correct_samples += (output.argmax(1) == labels[chosen]).sum().item()
    return modes.base_mode


def count(text):
    """An argument that counts: 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("folder", type=Path, help="holds the four files")
    parser.add_argument("--epochs", type=count, default=100, help="default: 100")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    train, test = (load(options.folder, part) for part in ("train", "t10k"))
    net, scheduler, stats = Network(), Scheduler(), slayer.utils.LearningStats()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for epoch in range(options.epochs):
        run(net, optimizer, scheduler, stats.training, train, epoch)
        mode = run(net, None, scheduler, stats.testing, test, epoch)
        print(f"epoch {epoch}, tested in {mode.name}: {stats}", flush=True)
        if mode is Mode.SNN:
            scheduler.sync_snn_stat(stats.testing)
            scheduler.update_snn_stat()
            if scheduler.snn_stat.best_accuracy:
                torch.save(net.state_dict(), "network.pt")
                netx.save(net, "network.net")
        stats.update()
    print(f"best with spikes: {scheduler.snn_stat.max_accuracy:.4f}")


if __name__ == "__main__":
    main()
