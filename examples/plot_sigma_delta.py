"""
Sending changes: sigma and delta
================================

A signal that changes slowly need not be sent at every step. A delta encoder sends by how much it has changed, once that
reaches a threshold; a sigma decoder adds the changes up. A sigma-delta neuron has an activation function in between.
"""

import matplotlib.pyplot as plt
import torch

from lavadl_lite import slayer, viz

# %%
# There and back
# --------------
# Tensors are ``[N, C, T]``: here one sample, one channel, 200 steps.

torch.manual_seed(0)
steps = 200
time = torch.arange(steps) / steps
signal = torch.sin(2 * torch.pi * 1.5 * time) * torch.exp(-time) + 0.4 * (time > 0.6)
x = signal[None, None]

delta = slayer.axon.Delta(threshold=0.15, scale=1 << 12)
sigma = slayer.dendrite.Sigma()
messages = delta(x).detach()
back = sigma(messages)
count = int(torch.count_nonzero(messages))
print(f"{count} messages for {steps} steps, at most {(back - x).abs().max():.3f} off")

# %%
# What is missing at the other end stays within the threshold:

figure, axes = plt.subplots(3, 1, figsize=(9, 6.2), sharex=True, height_ratios=(3, 2, 2), layout="constrained")
axes[0].plot(signal, color=viz.GREY, label="input")
axes[0].step(range(steps), back[0, 0], where="post", color=viz.BLUE, label="sum of the messages")
axes[0].set(ylabel="signal")
axes[0].legend(frameon=False)
sent = messages[0, 0].nonzero()[:, 0]
axes[1].vlines(sent, 0, messages[0, 0, sent], color=viz.ORANGE)
axes[1].plot(sent, messages[0, 0, sent], "o", color=viz.ORANGE, markersize=3)
axes[1].set(ylabel="messages")
axes[2].plot((x - back)[0, 0], color=viz.BLUE)
for level in (-0.15, 0.15):
    axes[2].axhline(level, color=viz.GREY, linestyle="--", linewidth=0.8)
axes[2].set(ylabel="missing", xlabel="time step", xlim=(-1, steps))
for axis in axes:
    axis.axhline(0, color=viz.GREY, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Rounding
# --------
# A message is an integer on the chip: it is rounded down to a multiple of ``1 / scale``, and what that takes is lost.
# Over many messages, and with a coarse scale of 64, the sum falls behind the input. ``carry_rounding`` keeps the
# remainder for the next message.

restless = torch.rand(1, 1, 2000)
figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
for carry, colour in ((False, viz.ORANGE), (True, viz.BLUE)):
    encoder = slayer.axon.Delta(threshold=0.15, carry_rounding=carry)
    missing = restless - slayer.dendrite.Sigma()(encoder(restless).detach())
    axis.plot(missing[0, 0], color=colour, label=f"carry_rounding={carry}")
axis.set(ylabel="missing", xlabel="time step", xlim=(0, 2000))
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# A neuron
# --------
# A sigma-delta neuron is these two around an activation function. Changes come in, changes of the activation go out,
# and adding those up gives what a plain network would have computed.

neuron = slayer.neuron.sigma_delta.Neuron(threshold=0.25, activation=torch.relu)
output = neuron(messages).detach()
activation, sent = torch.relu(back)[0, 0], slayer.dendrite.Sigma()(output)[0, 0]
count = int(torch.count_nonzero(output))
print(f"{count} messages leave the neuron, their sum is at most {(sent - activation).abs().max():.3f} off")
print("on the chip:", neuron.device_params)

# %%
# What has not been sent yet stays below the threshold. While the activation rests at 0, nothing is sent at all.

figure, axes = plt.subplots(4, 1, figsize=(9, 7), sharex=True, height_ratios=(1.2, 3, 2, 1.2), layout="constrained")
for axis, values, name in ((axes[0], messages[0, 0], "arrive"), (axes[3], output[0, 0], "leave")):
    where = values.nonzero()[:, 0]
    axis.vlines(where, 0, values[where], color=viz.ORANGE)
    axis.plot(where, values[where], "o", color=viz.ORANGE, markersize=3)
    axis.set(ylabel=name)
axes[1].step(range(steps), back[0, 0], where="post", color=viz.GREY, label="sum of what arrived")
axes[1].step(range(steps), activation, where="post", color=viz.BLUE, label="activation")
axes[1].set(ylabel="state")
axes[1].legend(frameon=False)
axes[2].step(range(steps), activation - sent, where="post", color=viz.BLUE, label="activation not sent yet")
level = neuron.threshold.item()
axes[2].hlines([-level, level], 0, steps, color=viz.ORANGE, linestyle="--", label="threshold")
axes[2].set(ylabel="missing", ylim=(-0.3, 0.45))
axes[2].legend(ncols=2, loc="upper right", frameon=False)
axes[3].set(xlabel="time step", xlim=(-1, steps))
for axis in axes:
    axis.axhline(0, color=viz.GREY, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
figure.align_ylabels(axes)
plt.show()
