"""
Digits that move, with sigma-delta neurons
==========================================

A network that looks at every frame of a film computes the same again and again. Sigma-delta neurons send changes: what
rests costs nothing. How much is saved is set by their threshold, and paid in accuracy.
"""

import copy

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from lavadl_lite import demo, slayer, viz
from lavadl_lite.slayer.block import sigma_delta

EPOCHS, STEPS = 10, 16

# %%
# Films
# -----
# Each of scikit-learn's digits moves to the right, by one pixel in 16 frames of 12 by 12, before a noisy sensor.


def film(images: torch.Tensor, seed: int) -> torch.Tensor:
    """Frames (N, 1, 12, 12, STEPS) of images (N, 8, 8), with noise of ``seed``."""
    wide = F.pad(images, (2, 2, 2, 2))[:, None, :, :, None]
    way = torch.linspace(0, 1, STEPS)
    frames = (1 - way) * wide + way * wide.roll(1, dims=3)
    return frames + 0.05 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(seed))


# %%
# Network
# -------
# ``Input`` sends how pixels change, the layers how their activations change, and ``Output`` adds up what it receives.
# At every frame it has the ten sums that a network without time would have, as far as the threshold lets them through.
# Messages are graded: one carries a value. Their number is held down by a loss of its own, which the network returns
# beside its output.


def params(threshold: float) -> dict:
    """Arguments of the neurons."""
    return {"threshold": threshold, "tau_grad": 0.1, "scale_grad": 1, "activation": F.relu}


class Network(torch.nn.Module):
    """Two convolutions, a dense layer and a read-out."""

    def __init__(self, threshold: float = 0.2) -> None:
        super().__init__()
        neuron = params(threshold)
        strong = {"weight_scale": 2, "weight_norm": True}
        self.blocks = torch.nn.Sequential(
            sigma_delta.Input(neuron),
            sigma_delta.Conv(neuron, 1, 8, kernel_size=3, padding=1, stride=2, **strong),
            sigma_delta.Conv(neuron, 8, 16, kernel_size=3, padding=1, **strong),
            sigma_delta.Flatten(),
            sigma_delta.Dense(neuron, 16 * 6 * 6, 64, **strong),
            sigma_delta.Output(neuron, 64, 10, **strong),
        )
        self.sparsity = slayer.loss.SparsityEnforcer(max_rate=0.01)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums (N, 10, STEPS), and what the messages cost."""
        self.sparsity.clear()
        for block in self.blocks[:-1]:
            frames = block(frames)
            self.sparsity.append(frames)
        return self.blocks[-1](frames), self.sparsity.loss


print(slayer.utils.summary(Network(), shape=(1, 12, 12)))

# %%
# Training
# --------
# The loss asks for the digit at every frame; what counts is the answer at the last one. Validation chooses the epoch.


def error(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy at every frame."""
    return F.cross_entropy(output, labels[:, None].expand(-1, STEPS))


def predict(output: torch.Tensor) -> torch.Tensor:
    """Labels (N,) at the last frame."""
    return output[..., -1].argmax(1)


def learn(seed: int) -> tuple[torch.nn.Module, slayer.utils.LearningStats]:
    """A network trained from ``seed``, with the weights of the epoch that validation chose."""
    torch.manual_seed(seed)
    digits, net = demo.load_digits(seed), Network()
    slayer.utils.summary(net, shape=(1, 12, 12))
    train, valid = (TensorDataset(film(part[0], seed=i), part[1]) for i, part in enumerate(digits[:2], start=1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    stats = slayer.utils.LearningStats()
    assistant = slayer.utils.Assistant(net, error, optimizer, stats, predict, lam=10)
    best = {}

    def after(_: int) -> None:
        schedule.step()
        if stats.validation.best_loss:
            best.update(copy.deepcopy(net.state_dict()))

    assistant.fit(DataLoader(train, 32, shuffle=True), EPOCHS, DataLoader(valid, 200), on_epoch=after)
    net.load_state_dict(best)
    return net, stats


threads = torch.get_num_threads()
torch.set_num_threads(1)  # batches this small gain nothing from a second one
net, stats = learn(seed=0)
torch.set_num_threads(threads)

figure, axis = plt.subplots(figsize=(9, 3.5), layout="constrained")
axis.plot(range(1, EPOCHS + 1), stats.training.accuracy_log, color=viz.GREY, label="training")
axis.plot(range(1, EPOCHS + 1), stats.validation.accuracy_log, color=viz.BLUE, label="validation")
axis.set(xlabel="epoch", ylabel="accuracy")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Messages
# --------
# One film: what the sensor sees, and below it what the input sends, red where a pixel rises and blue where it falls.
# The first frame has to be sent as a whole.

images, labels = demo.load_digits().test
frames = film(images, seed=3)
with torch.no_grad(), slayer.utils.record(net, "blocks.0") as seen:
    net(frames[:1])
messages = seen["blocks.0"].spikes[0][0, 0]

figure, axes = plt.subplots(2, 6, figsize=(9, 3.2), layout="constrained")
for column, step in enumerate((0, 1, 4, 8, 12, 15)):
    axes[0, column].imshow(frames[0, 0, :, :, step], cmap="gray_r", vmin=0, vmax=1)
    axes[1, column].imshow(messages[..., step], cmap="RdBu_r", vmin=-0.5, vmax=0.5)
    axes[0, column].set_title(f"frame {step}")
for axis in axes.flat:
    axis.set_axis_off()
plt.show()

# %%
# The bill
# --------
# Counted over the test: events of each layer, and weights other than 0 that they pass. A network that computes every
# frame anew has an event for each neuron and passes all synapses, at every frame; those to the frame's padding are
# counted with them.


def measure(net: torch.nn.Module) -> tuple[float, float, float, slayer.utils.observe.Counts]:
    """Accuracy in the test, how many times fewer events and operations than frame by frame there were, and counts."""
    with torch.no_grad(), slayer.utils.count(net) as counts:
        output, _ = net(frames)
    table = slayer.utils.summary(net)
    senders = [row.layer for row in table.rows if row.type not in ("sigma_delta.Flatten", "sigma_delta.Output")]
    all_events = sum(counts.elements[name] for name in senders)
    all_operations = table.total("synapses") * STEPS * len(labels)
    events, operations = sum(counts.events[name] for name in senders), sum(counts.operations.values())
    accuracy = (predict(output) == labels).float().mean().item()
    return accuracy, all_events / events, all_operations / operations, counts


accuracy, fewer_events, fewer_operations, counts = measure(net)
print(counts)
print(f"\naccuracy: {accuracy:.4f}")
print(f"{fewer_events:.1f} times fewer events, {fewer_operations:.1f} times fewer operations than frame by frame")

# %%
# Accuracy against events
# -----------------------
# The same weights, with other thresholds. A low one sends the noise as well; a high one misses what matters.

found = []
for threshold in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8):
    other = copy.deepcopy(net)
    for block in other.blocks:
        if block.neuron is not None:
            block.neuron.threshold.data.fill_(threshold)
    found.append((threshold, *measure(other)[:3]))

figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
for column, colour, name in ((2, viz.BLUE, "events"), (3, viz.ORANGE, "synaptic operations")):
    axis.semilogx([row[column] for row in found], [row[1] for row in found], "o-", color=colour, label=name)
for threshold, accuracy, fewer, _ in found:
    axis.annotate(f"{threshold}", (fewer, accuracy), textcoords="offset points", xytext=(-4, -14), ha="right")
axis.set(xlabel="times fewer than frame by frame", ylabel="accuracy in the test", ylim=(None, 1))
axis.legend(frameon=False, loc="lower left")
axis.spines[["top", "right"]].set_visible(False)
plt.show()
