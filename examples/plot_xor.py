"""
Exclusive or
============

The smallest task that needs a hidden layer: one output is to be 1 where exactly one of two inputs is, and 0 elsewhere.
Network and settings are those of lava-dl's tutorial.
"""

import time

import matplotlib.pyplot as plt
import torch

from lavadl_lite import slayer, viz
from lavadl_lite.slayer.block import cuba

EPOCHS = 500

# %%
# Data
# ----
# All there is: four pairs of inputs, each held for ten steps.

pairs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
truth = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
signal = pairs.unsqueeze(-1).repeat(1, 1, 10)  # [N, C, T]

# %%
# Network and training
# --------------------
# Spikes go through two layers; the last block only adds its weights up. What it gives at the last step is the answer.

neuron = {
    "threshold": 0.1,
    "current_decay": 0.9,
    "voltage_decay": 0.9,
    "tau_grad": 1,
    "scale_grad": 1,
    "scale": 64,
}


def answer(output: torch.Tensor) -> torch.Tensor:
    """Value (N, 1) at the last step."""
    return output[..., -1]


def error(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared distance of the answers from the truth."""
    return torch.nn.functional.mse_loss(answer(output), target)


def learn(seed: int, epochs: int = EPOCHS) -> tuple[torch.nn.Module, slayer.utils.LearningStats]:
    """A network with first weights of ``seed``, and its loss and accuracy over the epochs."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        cuba.Input(neuron),
        cuba.Dense(neuron, 2, 32),
        cuba.Dense(neuron, 32, 32),
        cuba.Affine(neuron, 32, 1, dynamics=False),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    stats = slayer.utils.LearningStats()
    assistant = slayer.utils.Assistant(net, error, optimizer, stats, lambda output: answer(output).round())
    assistant.fit([(signal, truth)], epochs)
    return net, stats


threads = torch.get_num_threads()
torch.set_num_threads(1)  # four samples are too little work for two
learn(seed=666, epochs=1)  # compiles the kernels, the first time that they run on a machine
start = time.perf_counter()
net, stats = learn(seed=666)
print(f"{EPOCHS} epochs in {time.perf_counter() - start:.1f} s")
torch.set_num_threads(threads)
print(f"smallest loss: {stats.training.min_loss:.2g}, accuracy at the end: {stats.training.accuracy_log[-1]}")

# %%
# Weights are integers of 8 bits, so that the answer is a multiple of 1/32 and the loss falls in steps.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
axes[0].semilogy(stats.training.loss_log, color=viz.BLUE)
axes[0].set(ylabel="loss", xlabel="epoch")
axes[1].plot(stats.training.accuracy_log, color=viz.BLUE)
axes[1].set(ylabel="accuracy", xlabel="epoch")
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# The four answers
# ----------------

with torch.no_grad(), slayer.utils.record(net) as seen, slayer.utils.count(net) as counts:
    output = net(signal)
for pair, value in zip(pairs.tolist(), answer(output).flatten().tolist(), strict=True):
    print(f"{pair[0]:.0f} xor {pair[1]:.0f} = {value:.3f}")

names = {"0": "input", "1": "first layer", "2": "second layer"}
figure, axes = plt.subplots(4, 4, figsize=(9, 8), sharex=True, sharey="row", layout="constrained")
figure.get_layout_engine().set(hspace=0.05)
for column, pair in zip(range(4), pairs.tolist(), strict=True):
    for row, (layer, name) in enumerate(names.items()):
        spikes = seen[layer].spikes[0][column]
        viz.raster(spikes, axes[row, column])
        axes[row, column].set(xlabel="", ylabel=name if column == 0 else "", yticks=range(0, len(spikes), 10))
    viz.traces(output[column], axes[3, column], color=viz.ORANGE)
    axes[3, column].set(ylabel="output" if column == 0 else "")
    axes[0, column].set_title(f"{pair[0]:.0f} xor {pair[1]:.0f}")
plt.show()

# %%
# Its blocks, and the events of these four runs
# ---------------------------------------------

print(slayer.utils.summary(net))
print()
print(counts)
