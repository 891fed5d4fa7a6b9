"""
Sending changes: sigma and delta
================================

A signal that changes slowly need not be sent at every step. A delta encoder sends by how much it has changed, once that
reaches a threshold; a sigma decoder adds the changes up. A sigma-delta neuron has an activation function in between.
"""

import matplotlib.pyplot as plt
import torch

from lavadl_lite import slayer

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

blue, orange, grey = "#2f6db3", "#e0742b", "#8a8f98"
figure, axes = plt.subplots(3, 1, figsize=(9, 6.2), sharex=True, height_ratios=(3, 2, 2), layout="constrained")
axes[0].plot(signal, color=grey, label="input")
axes[0].step(range(steps), back[0, 0], where="post", color=blue, label="sum of the messages")
axes[0].set(ylabel="signal")
axes[0].legend(frameon=False)
sent = messages[0, 0].nonzero()[:, 0]
axes[1].vlines(sent, 0, messages[0, 0, sent], color=orange)
axes[1].plot(sent, messages[0, 0, sent], "o", color=orange, markersize=3)
axes[1].set(ylabel="messages")
axes[2].plot((x - back)[0, 0], color=blue)
for level in (-0.15, 0.15):
    axes[2].axhline(level, color=grey, linestyle="--", linewidth=0.8)
axes[2].set(ylabel="missing", xlabel="time step", xlim=(-1, steps))
for axis in axes:
    axis.axhline(0, color=grey, linewidth=0.6)
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
for carry, colour in ((False, orange), (True, blue)):
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

neuron = slayer.neuron.sigma_delta.Neuron(threshold=0.15, activation=torch.relu)
output = neuron(messages).detach()
error = (slayer.dendrite.Sigma()(output) - torch.relu(back)).abs().max()
print(f"{int(torch.count_nonzero(output))} messages leave the neuron, their sum is at most {error:.3f} off")
print("on the chip:", neuron.device_params)
