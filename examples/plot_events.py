"""
Digits seen by an event camera
==============================

An event camera has no frames: each pixel sends an event when the logarithm of its intensity has changed by a threshold.
Here such a camera looks at scikit-learn's handwritten digits while it moves, and a network learns to read its events.

The recordings are a *synthetic substitute for N-MNIST*, which was made in this way from MNIST with a real camera. They
are smaller, free of noise, and results on them are not results on N-MNIST.
"""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample
from torch.utils.data import DataLoader, TensorDataset

from lavadl_lite import demo, slayer, viz

# %%
# The camera
# ----------
# Three saccades of 10 ms move the digit along a triangle, as in N-MNIST. From one half millisecond to the next the
# logarithm of the intensity is taken to be linear: a pixel whose logarithm passes one level after the other sends an
# event for each, at the time that this line gives. ON events (1) tell of more light, OFF events (0) of less.

SIDE = 12  # pixels of the sensor; a digit covers 8 of them
SACCADE, DURATION = 10, 30  # milliseconds
CORNERS = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0], [-1.0, -1.0]]) * 2  # pixels
CONTRAST = 0.3  # change of the logarithm that makes an event
DARK = 0.3  # intensity of black; white is 1 more


def seen(images, time):
    """Intensities (N, SIDE, SIDE) at a time in milliseconds."""
    saccade = min(int(time / SACCADE), 2)
    shift = torch.lerp(CORNERS[saccade], CORNERS[saccade + 1], time / SACCADE - saccade)
    zoom = SIDE / 8
    view = torch.tensor([[zoom, 0, -zoom * shift[0] * 2 / SIDE], [0, zoom, -zoom * shift[1] * 2 / SIDE]])
    grid = affine_grid(view.expand(len(images), 2, 3), (len(images), 1, SIDE, SIDE), align_corners=False)
    return grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def record(images):
    """One event recording for each image."""
    before = level = torch.log(seen(images, 0) + DARK)
    found = []
    for time in np.arange(0.5, DURATION + 0.5, 0.5):
        now = torch.log(seen(images, time) + DARK)
        count = torch.trunc((now - level) / CONTRAST)
        for k in range(1, int(count.abs().max()) + 1):
            sample, y, x = torch.nonzero(count.abs() >= k, as_tuple=True)
            sign = count[sample, y, x].sign()
            passed = level[sample, y, x] + k * CONTRAST * sign
            start, end = before[sample, y, x], now[sample, y, x]
            t = time - 0.5 + 0.5 * (passed - start) / (end - start)
            found.append(torch.stack([sample, t, x, y, sign > 0]))
        level = level + count * CONTRAST
        before = now
    sample, t, x, y, polarity = torch.cat(found, dim=1).double().numpy()
    order = np.lexsort((t, sample))
    ends = np.searchsorted(sample[order], np.arange(1, len(images)))
    return [slayer.io.Event(x[i], y[i], polarity[i], t[i]) for i in np.split(order, ends)]


digits = demo.load_digits()
images = torch.cat([part[0] for part in digits])
recordings = record(images)
print(f"{sum(len(event.x) for event in recordings) / len(recordings):.0f} events per digit")

# %%
# Files
# -----
# Five bytes hold an event, in the layout of N-MNIST's files. Reading gives back every event, its time to a microsecond.

with TemporaryDirectory() as folder:
    paths = [Path(folder) / f"{number}.bs2" for number in range(len(recordings))]
    for path, event in zip(paths, recordings, strict=True):
        slayer.io.encode_2d_spikes(path, event)
    size = sum(path.stat().st_size for path in paths)
    events = [slayer.io.read_2d_spikes(path) for path in paths]
print(f"{len(paths)} files of {size / len(paths):.0f} bytes on average")
for event, original in zip(events, recordings, strict=True):
    assert (event.x == original.x).all()
    assert (event.y == original.y).all()
    assert (event.c == original.c).all()
    assert abs(event.t - original.t).max() < 0.000_501

# %%
# One of them, in space and time, and as the pictures of 5 ms that ``event.anim()`` would show one after the other:

event, image = events[0], images[0]
frames = viz.Frames(event, frame_rate=200, shape=(SIDE, SIDE))
figure = plt.figure(figsize=(9, 5.6), layout="constrained")
upper, lower = figure.subfigures(2, 1, height_ratios=(3, 1))
space = upper.add_subplot(projection="3d")
space.scatter(event.t, event.x, SIDE - 1 - event.y, c=np.where(event.c == 1, viz.ORANGE, viz.BLUE), s=3)
space.set(xlabel="ms", ylabel="x", zlabel="height", title="ON events orange, OFF events blue")
space.set_box_aspect((3, 1, 1), zoom=1.3)
space.view_init(18, -65)
for index, axes in enumerate(lower.subplots(1, 7)):
    if index:
        axes.imshow(frames[index - 1])
    else:
        axes.imshow(image, cmap="gray")
    axes.set(xticks=[], yticks=[], title=f"{5 * index - 5}-{5 * index} ms" if index else "digit")
plt.show()

# %%
# Tensors
# -------
# In bins of 1 ms the recordings become tensors ``[N, C, Y, X, T]``. A quarter of the digits is kept for the test, a
# part of the rest only chooses the epoch.

tensors = torch.zeros(len(events), 2, SIDE, SIDE, DURATION)
for event, tensor in zip(events, tensors, strict=True):
    event.fill_tensor(tensor, sampling_time=1)
labels = torch.cat([part[1] for part in digits])
sizes = [len(part[1]) for part in digits]
train, valid, test = zip(tensors.split(sizes), labels.split(sizes), strict=True)
print(f"{tensors.mean():.1%} of the bins hold an event")

# %%
# Network and training
# --------------------

NEURON = {
    "threshold": 1.25,
    "current_decay": 0.25,
    "voltage_decay": 0.1,
    "tau_grad": 0.01,
    "scale_grad": 3,
    "requires_grad": True,
    "dropout": slayer.neuron.Dropout(0.05),
}
EPOCHS = 25

block = slayer.block.cuba


def learn(seed):
    """The network of ``seed`` with its weights of the epoch with the smallest validation loss, statistics, epoch."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        block.Flatten(),
        block.Dense(NEURON, 2 * SIDE * SIDE, 128, weight_norm=True, delay=True),
        block.Dense(NEURON, 128, 10, weight_norm=True),
    )
    shape = tensors.shape[1:-1]
    for layer in net:
        shape = layer.materialize(shape)
    optimizer = torch.optim.Adam(slayer.utils.param_groups(net, lr=0.005))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    stats = slayer.utils.LearningStats()
    error = slayer.loss.SpikeRate(true_rate=0.5, false_rate=0.03, reduction="mean")
    assistant = slayer.utils.Assistant(net, error, optimizer, stats, slayer.classifier.Rate.predict)
    best = {}

    def after(epoch):
        schedule.step()
        if stats.validation.best_loss:
            best.update(epoch=epoch, weights=copy.deepcopy(net.state_dict()))

    batches = DataLoader(TensorDataset(*train), batch_size=32, shuffle=True)
    assistant.fit(batches, EPOCHS, DataLoader(TensorDataset(*valid), batch_size=128), on_epoch=after)
    net.load_state_dict(best["weights"])
    return net.eval(), stats, best["epoch"]


def right(output):
    """The part of the test's recordings that an output (N, 10, T) tells the digit of."""
    return (slayer.classifier.Rate.predict(output) == test[1]).float().mean().item()


threads = torch.get_num_threads()
torch.set_num_threads(1)  # batches this small gain nothing from a second one
net, stats, epoch = learn(seed=0)
torch.set_num_threads(threads)

demo.draw_learning(plt.figure(figsize=(9, 3.5), layout="constrained"), demo.Learnt(stats, epoch, []))
plt.show()

# %%
# The test
# --------

inputs = test[0]
with torch.no_grad():
    hidden = net[1](net[0](inputs))
    output = net[2](hidden)
accuracy = right(output)
print(f"test accuracy: {accuracy:.4f} on {len(inputs)} recordings")
assert accuracy >= 0.95

# %%
# The first of them on its way through the network:

figure, axes = plt.subplots(3, 1, figsize=(9, 7), sharex=True, height_ratios=(3, 3, 1), layout="constrained")
pixels = inputs[0].flatten(0, 2)
viz.raster(pixels, axes[0], color=np.repeat([viz.BLUE, viz.ORANGE], SIDE * SIDE), linelengths=4)
viz.raster(hidden[0], axes[1], linelengths=3, linewidths=2)
viz.raster(output[0], axes[2], linewidths=2)
for axis, name in zip(axes, ("OFF, then ON pixels", "hidden neurons", "outputs"), strict=True):
    axis.set(ylabel=name, xlabel="")
axes[2].set(xlabel="time in ms", yticks=range(0, 10, 3))
plt.show()
