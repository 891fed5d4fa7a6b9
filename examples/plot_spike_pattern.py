"""
A picture in spikes
===================

A network learns when to spike: noise comes in, and its 200 outputs are to draw a horse. Network and loss are those of
lava-dl's Oxford tutorial, 200-256-200 neurons over 2000 steps. The target is a substitute for its raster, which cannot
be shipped: the outline of ``horse``, a picture that comes with scikit-image.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from skimage import data, morphology, transform

from lavadl_lite import slayer, viz
from lavadl_lite.slayer.block import cuba

STEPS, EPOCHS = 2000, 150

# %%
# Data
# ----
# One row of the picture is one neuron, one column one step. The input is random, about one spike each step in all 200
# trains together, and always the same: from it the network has to know what time it is.


def pattern() -> torch.Tensor:
    """Spikes (1, 200, STEPS) along the outline of the horse, with 50 steps of silence on both sides."""
    horse = transform.resize(~data.horse(), (200, STEPS - 100), order=0)
    outline = horse & ~morphology.erosion(horse, np.ones((3, 9)))
    return torch.from_numpy(np.pad(outline, ((0, 0), (50, 50)))).float()[None]


def noise(seed: int) -> torch.Tensor:
    """Random spikes (1, 200, STEPS)."""
    return (torch.rand(1, 200, STEPS, generator=torch.Generator().manual_seed(seed)) < 0.005).float()


spikes, target = noise(0), pattern()
print("spikes in the input:", int(spikes.sum()), "in the target:", int(target.sum()))

# %%
# Loss
# ----
# Both spike trains pass a low-pass filter before they are compared, so that a spike that comes a little late costs less
# than one that is missing. An output without any spike has a loss too: it is what the network has to beat.

error = slayer.loss.SpikeTime(time_constant=2, filter_order=2)
silent = error(torch.zeros_like(target), target).item()
print(f"loss of a silent output: {silent:.0f}")

# %%
# Network and training
# --------------------
# Hidden neurons have axonal delays, which are learnt with the weights and the neurons' decays. The weights begin small:
# where everything spikes, it takes long to unlearn. The surrogate derivative is as wide as the threshold is high.

neuron = {
    "threshold": 0.1,
    "current_decay": 1,
    "voltage_decay": 0.1,
    "tau_grad": 0.1,
    "scale_grad": 1,
    "requires_grad": True,
}


def learn(seed: int, epochs: int = EPOCHS) -> tuple[torch.nn.Module, slayer.utils.LearningStats]:
    """A network with first weights and noise of ``seed``, and its loss over the epochs."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        cuba.Dense(neuron, 200, 256, weight_scale=0.5, delay=True),
        cuba.Dense(neuron, 256, 200, weight_scale=0.5),
    )
    slayer.utils.summary(net, shape=(200,))  # fixes the shapes, which draws the delays
    optimizer = torch.optim.Adam(slayer.utils.param_groups(net, lr=0.003, delay_lr=0.03))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    stats = slayer.utils.LearningStats()
    assistant = slayer.utils.Assistant(net, error, optimizer, stats)
    assistant.fit([(noise(seed), target)], epochs, on_epoch=lambda _: schedule.step())
    return net, stats


threads = torch.get_num_threads()
torch.set_num_threads(1)  # one sample is too little work for two
net, stats = learn(seed=0)
torch.set_num_threads(threads)
print(slayer.utils.summary(net))

# %%
# What it has learnt
# ------------------

with torch.no_grad(), slayer.utils.record(net) as seen:
    output = net(spikes)
hidden = seen["0"].spikes[0]
loss = error(output, target).item()
print(f"loss: {loss:.0f}, {1 - loss / silent:.0%} below that of a silent output")

figure, axes = plt.subplots(4, 1, figsize=(9, 14), height_ratios=(2, 2, 4, 4), sharex=True, layout="constrained")
rasters = {"input": spikes, "hidden neurons": hidden, "output": output, "target": target}
for axis, (title, raster) in zip(axes, rasters.items(), strict=True):
    viz.raster(raster[0], axis, linelengths=1.5, color=viz.ORANGE if title == "target" else viz.BLUE)
    axis.set(title=title, xlabel="")
axes[-1].set_xlabel("time step")
plt.show()

# %%
# The learning curve
# ------------------

figure, axis = plt.subplots(figsize=(9, 3.5), layout="constrained")
axis.semilogy(range(1, EPOCHS + 1), stats.training.loss_log, color=viz.BLUE, label="training")
axis.axhline(silent, color=viz.ORANGE, linestyle="--", label="silent output")
axis.set(xlabel="epoch", ylabel="loss", xlim=(0, EPOCHS))
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()
