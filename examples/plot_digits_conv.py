"""
Digits with convolutions
========================

The same handwritten digits as in :doc:`plot_digits`, now kept as planes of pixels: a convolution, a pooling and two
dense layers. Data, code of spikes and training are those of the demo, in ``lavadl_lite/demo.py``.
"""

import matplotlib.pyplot as plt
import torch

from lavadl_lite import demo, slayer, viz
from lavadl_lite.slayer.block import cuba

EPOCHS = 10

# %%
# Network
# -------
# Tensors are ``[N, C, H, W, T]``. Three by three pixels reach each neuron of the convolution, and each pooling neuron
# sums four of those. Convolution and hidden layer have delays, one for each channel, which are learnt. The table tells
# what all this needs: 12 kernels serve 768 neurons, so most of the memory is in the dense layer.


def build() -> torch.nn.Sequential:
    """Network from spikes (N, 64, T) of 8 by 8 pixels to those of ten neurons."""
    net = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 8, 8)),
        cuba.Conv(demo.NEURON, 1, 12, kernel_size=3, padding=1, weight_norm=True, delay=True),
        cuba.Pool(demo.NEURON, kernel_size=2, weight_scale=1.1),
        cuba.Flatten(),
        cuba.Dense(demo.NEURON, 12 * 4 * 4, 64, weight_norm=True, delay=True),
        cuba.Dense(demo.NEURON, 64, 10, weight_norm=True),
    )
    slayer.utils.summary(net, shape=(1, 8, 8))  # fixes the shapes, which draws the delays
    return net


print(slayer.utils.summary(build()))

# %%
# Training
# --------
# The loss wants the digit's own output to spike in seven steps of ten, and the others hardly at all. Validation chooses
# the epoch; the test part is looked at once, at the end.


def learn(seed: int) -> tuple[torch.nn.Module, demo.Learnt, float]:
    """A network trained from ``seed``, what validation chose, and the accuracy in the test."""
    torch.manual_seed(seed)
    digits, net = demo.load_digits(seed), build()
    learnt = demo.learn(net, digits, EPOCHS)
    images, labels = digits.test
    with torch.no_grad():
        predicted = slayer.classifier.Rate.predict(net(demo.encode(images)))
    return net, learnt, (predicted == labels).float().mean().item()


threads = torch.get_num_threads()
torch.set_num_threads(1)  # batches this small gain nothing from a second one
net, learnt, accuracy = learn(seed=0)
torch.set_num_threads(threads)
print(f"test accuracy: {accuracy:.4f}, at epoch {learnt.epoch + 1}")
demo.draw_learning(plt.figure(figsize=(9, 3.5), layout="constrained"), learnt)
plt.show()

# %%
# What the kernels look for
# -------------------------
# One digit's spikes, added up over time: as they come from the pixels, and as each of the twelve kernels answers.

images, labels = demo.load_digits().test
spikes = demo.encode(images[:1])
with torch.no_grad(), slayer.utils.record(net) as seen:
    output = net(spikes)
counts = seen["1"].spikes[0][0].sum(-1)
kernels = net[1].synapse.effective_weight().detach()[:, 0, :, :, 0]
limit = kernels.abs().max()

figure = plt.figure(figsize=(9, 4.2), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1, 4))
axis = left.subplots()
axis.imshow(spikes[0].sum(-1).reshape(8, 8), cmap="gray_r")
axis.set_title(f"a {labels[0]}, in spikes")
axis.set_axis_off()
grid = right.subplots(4, 6)
for channel, (kernel, count) in enumerate(zip(kernels, counts, strict=True)):
    row, column = channel // 6 * 2, channel % 6
    grid[row, column].imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
    grid[row + 1, column].imshow(count, cmap="gray_r", vmin=0, vmax=counts.max())
for axis in grid.flat:
    axis.set_axis_off()
plt.show()

# %%
# Spikes of the hidden layer and of the outputs
# ---------------------------------------------

figure, axes = plt.subplots(2, 1, figsize=(9, 5), height_ratios=(3, 1), sharex=True, layout="constrained")
viz.raster(seen["4"].spikes[0][0], axes[0])
viz.raster(output[0], axes[1], color=[viz.ORANGE if i == labels[0] else viz.BLUE for i in range(10)])
axes[0].set(xlabel="", ylabel="hidden neuron")
axes[1].set(ylabel="digit", yticks=range(0, 10, 3))
plt.show()

# %%
# Events
# ------
# Only events cost anything on the chip: so many in the whole test.

with torch.no_grad(), slayer.utils.count(net) as counts:
    net(demo.encode(images))
print(counts)
