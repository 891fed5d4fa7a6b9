"""
Digits by Bootstrap
===================

A network of spikes is trained as one without time, whose activations are fitted to its own neurons' rates now and then.
A step of it costs a fraction of a step with spikes, and the weights are those of the spiking network all the time.
See :doc:`/bootstrap` for the method. The digits of scikit-learn stand in for MNIST here; ``mnist_bootstrap.py`` reads
the real ones.
"""

import copy
import math

import matplotlib.pyplot as plt
import torch
from torch.nn import functional

from lavadl_lite import demo
from lavadl_lite.bootstrap import Mode
from lavadl_lite.bootstrap.ann_sampler import AnnSampler
from lavadl_lite.bootstrap.block import cuba
from lavadl_lite.bootstrap.routine import LayerMode, Scheduler
from lavadl_lite.slayer.utils.time import replicate

STEPS = 16
EPOCHS = 41
RATE = 5e-3
CROSSOVERS = (0, 28, 34)
NEURON = {"threshold": 1.25, "current_decay": 1, "voltage_decay": 0.03, "tau_grad": 0.03, "scale_grad": 3}

# %%
# Data
# ----
# Images of 8 by 8 pixels are enlarged to 24 by 24, so that grey becomes a place as well as a rate. While the network
# learns, each is turned by up to 10°, moved by up to 5 %, scaled by up to 5 % and sheared by up to 5°.


def enlarged(images: torch.Tensor) -> torch.Tensor:
    """Images (N, 8, 8) of 0..1 as (N, 1, 24, 24) of -1..1."""
    return functional.interpolate(2 * images[:, None] - 1, scale_factor=3, mode="bilinear")


def varied(images: torch.Tensor) -> torch.Tensor:
    """Each image turned, moved, scaled and sheared at random."""
    turn, shear = (2 * torch.rand(2, len(images)) - 1) * torch.tensor([[math.radians(10)], [math.radians(5)]])
    scale = 1 + 0.05 * (2 * torch.rand(len(images)) - 1)
    shift = 0.1 * (2 * torch.rand(len(images), 2, 1) - 1)  # 5 % of a width of 2
    rows = [torch.stack([turn.cos(), shear - turn.sin()], 1), torch.stack([turn.sin(), turn.cos()], 1)]
    matrix = torch.cat([torch.stack(rows, 1) / scale[:, None, None], shift], 2)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images + 1, grid, align_corners=False) - 1  # black behind the border


# %%
# Network
# -------
# The blocks take a mode beside their input: with spikes (``SNN``, ``SAMPLE``) the image is shown for 16 steps, without
# (``ANN``, ``FIT``) for one. Spikes are not delayed by a step, so that none of the few steps is lost in each layer.


class Network(torch.nn.Module):
    """24 by 24 pixels, two layers of 128 neurons, and sums that are averaged over time."""

    def __init__(self):
        super().__init__()
        weights = {"weight_scale": 2, "weight_norm": True}
        self.blocks = torch.nn.ModuleList([
            cuba.Input(NEURON, weight=1, bias=0, delay_shift=False, sampler=AnnSampler(alpha=0.5)),
            cuba.Dense(NEURON, 24 * 24, 128, **weights, delay_shift=False, sampler=AnnSampler(alpha=0.5)),
            cuba.Dense(NEURON, 128, 128, **weights, delay_shift=False, sampler=AnnSampler(alpha=0.5)),
            cuba.Affine(NEURON, 128, 10, **weights),
        ])  # fmt: skip

    def forward(self, images, modes, steps=STEPS):
        x = replicate(images.flatten(1), steps if modes.spiking else 1)
        for block, mode in zip(self.blocks, modes, strict=False):
            x = block(x, mode=mode)
        return x.mean(-1)


def measure(net: Network, part, mode: Mode, steps: int = STEPS) -> tuple[float, float]:
    """Accuracy and loss of (images, labels)."""
    net.eval()
    with torch.no_grad():
        output = net(part[0], LayerMode(0, mode), steps)
    net.train()
    loss = functional.cross_entropy(output, part[1])
    return (output.argmax(1) == part[1]).float().mean().item(), loss.item()


# %%
# Training
# --------
# Four batches of every fifth epoch are sampled, that is run with spikes; then the activations are fitted, and all other
# batches run without time. Only the input's neurons, which are cheap, spike from the beginning; near the end, when the
# learning rate is small, the two layers join them. The loss in validation, with spikes, chooses the epoch.


def learn(seed: int, epochs: int = EPOCHS):
    """A network trained from ``seed`` as it was in the best epoch, that epoch, and accuracy and loss of both modes."""
    torch.manual_seed(seed)
    train, valid, _ = ((enlarged(images), labels) for images, labels in demo.load_digits(seed))
    net, scheduler = Network(), Scheduler(4, 5, crossover_epochs=CROSSOVERS)
    optimizer = torch.optim.Adam(net.parameters())
    batches = -(-len(train[1]) // 32)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, epochs=epochs, steps_per_epoch=batches, pct_start=0.1
    )  # fmt: skip
    curves, best = {Mode.SNN: [], Mode.ANN: []}, (math.inf, 0, None)
    for epoch in range(epochs):
        images = varied(train[0])
        for iteration, chosen in enumerate(torch.randperm(len(train[1])).split(32)):
            output = net(images[chosen], scheduler.mode(epoch, iteration))
            optimizer.zero_grad()
            functional.cross_entropy(output, train[1][chosen]).backward()
            optimizer.step()
            rates.step()
        for mode, curve in curves.items():
            curve.append(measure(net, valid, mode))
        if curves[Mode.SNN][-1][1] < best[0]:
            best = curves[Mode.SNN][-1][1], epoch, copy.deepcopy(net.state_dict())
    net.load_state_dict(best[2])
    return net, best[1], curves


threads = torch.get_num_threads()
torch.set_num_threads(1)  # batches this small gain nothing from a second one
net, epoch, curves = learn(0)
torch.set_num_threads(threads)
print("chosen epoch:", epoch + 1, "of", EPOCHS)

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
for mode, curve in curves.items():
    axes.plot(range(1, EPOCHS + 1), [right for right, _ in curve], label=mode.name)
axes.axvline(epoch + 1, color="grey", linestyle=":")
axes.set(xlabel="epoch", ylabel="accuracy in validation", ylim=(0.8, 1))
axes.legend()

# %%
# What was fitted
# ---------------
# A dot is a neuron of a sample: its weighted input and its rate, both means over 16 steps. The line is what the network
# without time uses in its place. A rate is one spike every so many steps, hence the levels.

figure = plt.figure(figsize=(10, 3.2), layout="constrained")
for place, (name, block) in enumerate(zip(["input", "first layer", "second layer"], net.blocks, strict=False)):
    figure.add_subplot(1, 3, place + 1, title=name)
    block.f.plot()

# %%
# Accuracy and latency
# --------------------
# The same weights, shown for 4 to 32 steps. The test part is looked at here for the first time.

images, labels = demo.load_digits(0).test
test = enlarged(images), labels
without, _ = measure(net, test, Mode.ANN)
found = {steps: measure(net, test, Mode.SNN, steps)[0] for steps in (4, 8, 16, 32)}
print(f"without time: {without:.4f}")
for steps, value in found.items():
    print(f"{steps:2} steps:     {value:.4f}")

figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
axes.axhline(without, color="tab:orange", label="ANN")
axes.plot([str(steps) for steps in found], found.values(), "o-", label="SNN")
axes.set(xlabel="steps", ylabel="accuracy in the test")
axes.legend()

plt.show()
