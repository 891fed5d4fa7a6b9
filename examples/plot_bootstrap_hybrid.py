"""
Hybrid Bootstrap with a crossover
=================================

Training begins without time, as in :doc:`plot_bootstrap`. At each landmark one more block, from the input on, runs with
spikes for good, until the last epochs train the network that is deployed. Where spikes end they are averaged over time.
See :doc:`/bootstrap`.
"""

import time

import matplotlib.pyplot as plt
import torch
from torch.nn import functional

from lavadl_lite import demo
from lavadl_lite.bootstrap import Mode
from lavadl_lite.bootstrap.block import cuba
from lavadl_lite.bootstrap.routine import LayerMode, Scheduler
from lavadl_lite.slayer.utils.time import replicate

STEPS = 16
EPOCHS = 24
LANDMARKS = (10, 14, 18)
NEURON = {"threshold": 1.25, "current_decay": 1, "voltage_decay": 0.03, "tau_grad": 0.03, "scale_grad": 3}

torch.manual_seed(0)

# %%
# Network and schedule
# --------------------
# A loop over what the scheduler gives yields a mode for each block.


class Network(torch.nn.Module):
    """64 pixels, two layers of 128 neurons, and sums that are averaged over time."""

    def __init__(self):
        super().__init__()
        weights = {"weight_scale": 2, "weight_norm": True}
        self.blocks = torch.nn.ModuleList([
            cuba.Input(NEURON, weight=1, bias=0, delay_shift=False),
            cuba.Dense(NEURON, 64, 128, **weights, delay_shift=False),
            cuba.Dense(NEURON, 128, 128, **weights, delay_shift=False),
            cuba.Affine(NEURON, 128, 10, **weights),
        ])  # fmt: skip

    def forward(self, images, modes):
        x = replicate(2 * images.flatten(1), STEPS if modes.spiking else 1)
        self.shapes = [tuple(x.shape)]
        for block, mode in zip(self.blocks, modes, strict=False):
            x = block(x, mode=mode)
            self.shapes.append(tuple(x.shape))
        return x.mean(-1)


net = Network()
scheduler = Scheduler(num_sample_iter=4, sample_period=5, crossover_epochs=LANDMARKS)
digits = demo.load_digits()
net(digits.train[0][:32], LayerMode(0, Mode.SAMPLE))

# %%
# Where spikes end
# ----------------
# Shapes on the way through the network, for each number of blocks that spike: 16 steps become one at the crossover.

for epoch in (0, *LANDMARKS):
    modes = scheduler.mode(epoch, 99)
    net(digits.train[0][:32], modes)
    print(f"{modes!s:25}", " -> ".join(f"{shape[1]} x {shape[2]}" for shape in net.shapes))

# %%
# Training
# --------
# After each epoch the validation part is run in the modes that the epoch was trained in, and with spikes everywhere.


def accuracy(part, modes):
    """Fraction of (images, labels) that the network tells right."""
    with torch.no_grad():
        return (net(part[0], modes).argmax(1) == part[1]).float().mean().item()


threads = torch.get_num_threads()
torch.set_num_threads(1)  # batches this small gain nothing from a second one
spiking = LayerMode(0, Mode.SNN)
optimizer = torch.optim.Adam(net.parameters(), 5e-3)
rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
trained, deployed, seconds = [], [], []
for epoch in range(EPOCHS):
    start = time.process_time()
    for iteration, chosen in enumerate(torch.randperm(len(digits.train[1])).split(32)):
        output = net(digits.train[0][chosen], scheduler.mode(epoch, iteration))
        optimizer.zero_grad()
        functional.cross_entropy(output, digits.train[1][chosen]).backward()
        optimizer.step()
    rates.step()
    seconds.append(time.process_time() - start)
    trained.append(accuracy(digits.valid, LayerMode(scheduler.crossover, Mode.ANN)))
    deployed.append(accuracy(digits.valid, spiking))
torch.set_num_threads(threads)

# %%
# What it brings, and what it costs
# ---------------------------------
# Dotted lines are the landmarks. With every block that spikes an epoch takes longer, and what is trained comes nearer
# to what is deployed, until both are the same.

figure, (upper, lower) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
upper.plot(trained, label="as it is trained")
upper.plot(deployed, label="with spikes everywhere")
lower.bar(range(EPOCHS), seconds, color="tab:gray")
for axes in (upper, lower):
    for landmark in LANDMARKS:
        axes.axvline(landmark - 0.5, color="black", linestyle=":")
upper.set(ylabel="accuracy in validation", ylim=(0.85, 1))
upper.legend()
lower.set(xlabel="epoch", ylabel="CPU seconds")
print(f"test, with spikes: {accuracy(digits.test, spiking):.4f}")

plt.show()
