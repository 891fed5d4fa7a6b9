"""The demo: a spiking network learns handwritten digits, is exported, and runs again as integers.

``lavadl-lite demo`` runs all of it; each step is a function that can be used alone.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from . import netx, viz
from .errors import ParameterError
from .slayer import classifier, loss, utils
from .slayer.block import cuba

__all__ = [
    "Digits", "Learnt", "add_arguments", "batches", "build", "deploy", "draw_activity", "draw_confusion",
    "draw_learning", "encode", "learn", "load_digits", "main",
]  # fmt: skip

EPOCHS = 30
STEPS = 32  # time steps that a digit is shown for
DRIVE = 0.25  # spikes per step from the brightest pixel
NEURON = {
    "threshold": 1.25,
    "current_decay": 0.25,
    "voltage_decay": 0.1,
    "tau_grad": 0.01,
    "scale_grad": 3,
    "requires_grad": True,
}

ERROR = loss.SpikeRate(true_rate=0.7, false_rate=0.03, reduction="mean")

Part = tuple[Tensor, Tensor]


class Digits(NamedTuple):
    """Images (N, 8, 8) of values 0..1 and labels (N,): to learn from, to choose an epoch by, to judge the result by."""

    train: Part
    valid: Part
    test: Part


def load_digits(seed: int = 0) -> Digits:
    """scikit-learn's 1797 digits: always the same quarter for the test, a part of the rest for validation."""
    try:
        from sklearn import datasets
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError("the demo needs scikit-learn: pip install 'lavadl-lite[examples]'") from error
    data = datasets.load_digits()
    images, labels = torch.from_numpy(data.images).float() / 16, torch.from_numpy(data.target).long()
    rest, test = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=0, stratify=labels)
    train, valid = train_test_split(rest, test_size=0.15, random_state=seed, stratify=labels[rest])
    return Digits(*((images[part], labels[part]) for part in (train, valid, test)))


def encode(images: Tensor) -> Tensor:
    """Spikes (N, 64, STEPS) of integrate-and-fire neurons, each driven by a pixel, that begin half full."""
    charge = 0.5 + DRIVE * images.flatten(1).unsqueeze(-1) * torch.arange(STEPS + 1)
    return charge.floor().diff(dim=-1)


def batches(part: Part, shuffle: bool = False) -> DataLoader:
    """Encoded digits and their labels, 32 at a time."""
    images, labels = part
    return DataLoader(TensorDataset(encode(images), labels), batch_size=32, shuffle=shuffle)


def build() -> torch.nn.Sequential:
    """Network of 64 pixels, 128 neurons with delays that are learnt, and a neuron for each digit."""
    hidden = cuba.Dense(NEURON, 64, 128, weight_norm=True, delay=True)
    output = cuba.Dense(NEURON, 128, 10, weight_norm=True)
    output.materialize(hidden.materialize((64,)))  # draws the delays: an optimizer needs to see them
    return torch.nn.Sequential(hidden, output)


class Learnt(NamedTuple):
    """What :func:`learn` tells: loss and accuracy of all epochs, the chosen epoch, and how long each took."""

    stats: utils.LearningStats
    epoch: int
    seconds: list[float]


def learn(net: torch.nn.Module, digits: Digits, epochs: int = EPOCHS) -> Learnt:
    """Train ``net``, and leave it with the weights of the epoch that had the smallest loss on the validation part."""
    if epochs < 1:
        raise ParameterError(f"expected at least one epoch, got {epochs}")
    optimizer = torch.optim.Adam(utils.param_groups(net, lr=0.005))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    stats = utils.LearningStats()
    assistant = utils.Assistant(net, ERROR, optimizer, stats, classifier.Rate.predict)
    best: dict[str, Any] = {}
    ends = [time.perf_counter()]

    def after(epoch: int) -> None:
        schedule.step()
        ends.append(time.perf_counter())
        if stats.validation.best_loss:
            best.update(epoch=epoch, weights=copy.deepcopy(net.state_dict()))

    assistant.fit(batches(digits.train, shuffle=True), epochs, batches(digits.valid), on_epoch=after)
    net.load_state_dict(best["weights"])
    return Learnt(stats, best["epoch"], [end - start for start, end in pairwise(ends)])


def deploy(net: torch.nn.Module, path: Path, spikes: Tensor) -> np.ndarray:
    """Export ``net``, and run the exported file as integers: its output spikes (N, 10, STEPS)."""
    netx.save(net, path)
    return netx.Simulator(path).run(spikes.numpy(), align="slayer")


# --------------------------------------------------------------------------------------------------------- pictures


def draw_learning(figure: Any, learnt: Learnt) -> None:
    """Loss and accuracy over the epochs."""
    stats, chosen = learnt.stats, learnt.epoch + 1
    epochs = range(1, len(stats.training.loss_log) + 1)
    logs = {"loss": "loss_log", "accuracy": "accuracy_log"}
    for axes, (title, log) in zip(figure.subplots(1, 2), logs.items(), strict=True):
        axes.plot(epochs, getattr(stats.training, log), color=viz.GREY, label="training")
        axes.plot(epochs, getattr(stats.validation, log), color=viz.BLUE, label="validation")
        axes.axvline(chosen, color=viz.ORANGE, linestyle=":", label=f"chosen epoch {chosen}")
        axes.set(title=title.capitalize(), xlabel="epoch", xlim=(1, max(chosen, len(epochs))))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    axes.legend(loc="center", frameon=False)


def draw_activity(figure: Any, net: torch.nn.Sequential, image: Tensor) -> None:
    """What one digit does to the network: spikes of pixels, hidden neurons and outputs, and one neuron's voltage."""
    spikes = encode(image[None])
    block: Any = net[0]
    with torch.no_grad():
        hidden = block(spikes)
        output = net[1](hidden)
        _, voltage = block.neuron.dynamics(block.synapse(spikes))
    threshold = block.neuron.threshold
    fires = voltage[0] > threshold
    shown = int(fires.sum(-1).argsort()[-len(fires) // 4])  # busier than three quarters of its layer
    left, right = figure.subplots(4, 2, width_ratios=(1, 5), height_ratios=(3, 4, 2, 2)).T

    left[0].imshow(image.numpy(), cmap="gray_r")
    left[0].set(xticks=[], yticks=[], title="digit")
    left[1].set_axis_off()
    left[2].set_axis_off()
    left[3].barh(range(10), output[0].sum(-1).tolist(), color=viz.BLUE)
    left[3].set(yticks=range(0, 10, 3), ylim=(9.6, -0.6), xlabel="spikes")

    rasters = ("pixels", spikes, 1.4), ("hidden neurons", hidden, 2.5), ("outputs", output, 0.8)
    for axes, (title, raster, length) in zip(right[[0, 1, 3]], rasters, strict=True):
        viz.raster(raster[0], axes, linelengths=length, linewidths=1.3)
        axes.set(ylabel=title, xlabel="")
    trace = torch.stack([voltage[0, shown], voltage[0, shown] * ~fires[shown]], 1)  # a spike sets it to 0
    right[2].plot(np.arange(STEPS).repeat(2), trace.flatten().numpy(), color=viz.BLUE)
    right[2].axhline(threshold, color=viz.ORANGE, linestyle="--")
    right[2].text(STEPS - 0.4, threshold, " threshold", color=viz.ORANGE, va="center")
    right[2].set(ylabel=f"voltage of {shown}")
    right[3].set(xlabel="time step", yticks=range(0, 10, 3))
    for axes in right:
        axes.set_xlim(-0.5, STEPS - 0.5)
        axes.tick_params(labelbottom=axes is right[3])
    for axes in (*right, left[3]):
        axes.spines[["top", "right"]].set_visible(False)


def draw_confusion(figure: Any, labels: Tensor, predicted: Tensor) -> None:
    """How often each digit was taken for each."""
    counts = torch.bincount(10 * labels + predicted, minlength=100).reshape(10, 10).numpy()
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(column, row, count, ha="center", va="center", color="white" if count > 20 else "black")
    axes.set(xlabel="read as", ylabel="digit", xticks=range(10), yticks=range(10))


def draw(folder: Path, net: torch.nn.Sequential, digits: Digits, learnt: Learnt, predicted: Tensor) -> bool:
    """Write all pictures into ``folder``, each whole or not at all; whether matplotlib is there to do it."""
    try:
        Figure = viz.matplotlib("figure").Figure
    except ImportError:
        return False
    images, labels = digits.test
    for name, size, function, arguments in (
        ("learning.png", (9, 3.5), draw_learning, (learnt,)),
        ("activity.png", (9, 8), draw_activity, (net, images[0])),
        ("confusion.png", (5, 5), draw_confusion, (labels, predicted)),
    ):
        figure = Figure(figsize=size, layout="constrained")
        function(figure, *arguments)
        unfinished = folder / f".{os.getpid()}.{name}"
        figure.savefig(unfinished, dpi=150)
        unfinished.replace(folder / name)
    return True


# --------------------------------------------------------------------------------------------------------- the command
def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``lavadl-lite demo``."""
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, default=Path("lavadl_lite_demo"),
        help="where network, curves and pictures go (default: lavadl_lite_demo)",
    )  # fmt: skip
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="seed of everything random (default: 0)")
    parser.add_argument("--epochs", metavar="N", type=int, default=EPOCHS, help=f"default: {EPOCHS}")


def main(options: argparse.Namespace) -> int:
    """Learn, export, run as integers, compare, draw; 0 where network and integers agree."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # batches this small gain nothing from a second one, and lose a lot on a busy machine
    try:
        return _run(options)
    finally:
        torch.set_num_threads(threads)


def _run(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    digits, net = load_digits(options.seed), build()
    print(f"learning {len(digits.train[1])} digits; the first batch compiles the kernels, which takes some seconds")
    learnt = learn(net, digits, options.epochs)

    images, labels = digits.test
    spikes = encode(images)
    with torch.no_grad():
        hidden = net[0](spikes)
        output = net[1](hidden)
    integers = deploy(net, folder / "digits.net", spikes)
    predicted = classifier.Rate.predict(output)
    learnt.stats.save(folder)
    drawn = draw(folder, net, digits, learnt, predicted)

    events = [float(layer.sum()) / len(labels) for layer in (spikes, hidden, output)]
    operations = events[0] * hidden.shape[1] + events[1] * output.shape[1]
    differences = int(np.count_nonzero(integers != output.numpy()))
    validation, accuracy = learnt.stats.validation, (predicted == labels).float().mean()
    loss_valid, accuracy_valid = validation.loss_log[learnt.epoch], validation.accuracy_log[learnt.epoch]
    seconds = statistics.median(learnt.seconds), learnt.seconds[0], time.perf_counter() - start
    table = {
        "accuracy": f"{accuracy:.4f} on {len(labels)} test digits, {accuracy_valid:.4f} in validation",
        "loss": f"{ERROR(output, labels):.5f} in the test, {loss_valid:.5f} in validation",
        "epoch": f"{learnt.epoch + 1} of {options.epochs}, which has the smallest loss in validation",
        "time": "{:.2f} s an epoch, {:.1f} s the first one, which compiles; {:.1f} s in all".format(*seconds),
        "spikes per digit": "{:.0f} from pixels, {:.0f} from hidden neurons, {:.0f} from outputs".format(*events),
        "synaptic operations": f"{operations:.0f} per digit",
        "integers": f"{differences} of {integers.size} output entries of the simulator differ from the network",
    }
    print()
    for name, value in table.items():
        print(f"{name:19}  {value}")
    pictures = "learning.png, activity.png, confusion.png" if drawn else "no pictures: pip install 'lavadl-lite[viz]'"
    print(f"\nin {folder}: digits.net, loss.txt, accuracy.txt, {pictures}")
    return 0 if differences == 0 else 1
