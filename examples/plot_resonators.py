"""
Resonate-and-fire neurons
=========================

A resonator swings. Its state is a complex number that turns by :math:`2\\pi / p` and shrinks a little at each step, so
it answers an input of its own period and stays calm for others. Four neurons are made of it; they differ in when they
fire and in what a spike does.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from lavadl_lite import slayer

blue, orange, grey = "#2f6db3", "#e0742b", "#8a8f98"

# %%
# One impulse, four answers
# -------------------------
# Complex neurons take two inputs, one for the real part and one for the imaginary part. Here three impulses arrive at
# the real part.

steps = 90
real_input = torch.zeros(1, 1, steps)
real_input[..., 2], real_input[..., 30], real_input[..., 34] = 2.5, 1.5, 1.5
x = real_input, torch.zeros(1, 1, steps)

rotation = {"period": 16, "decay": 0.04}
adaptation = {"threshold_step": 0.5, "threshold_decay": 0.05, "refractory_decay": 0.1}
neuron = slayer.neuron
neurons = {
    "rf: phase": neuron.rf.Neuron(threshold=1, **rotation),
    "rf_iz: reset": neuron.rf_iz.Neuron(threshold=1, **rotation),
    "adrf: phase, adaptive": neuron.adrf.Neuron(threshold=0.5, **rotation, **adaptation),
    "adrf_iz: adaptive": neuron.adrf_iz.Neuron(threshold=0.5, **rotation, **adaptation),
}

figure, axes = plt.subplots(4, 1, figsize=(9, 9), sharex=True, layout="constrained")
for axis, (name, layer) in zip(axes, neurons.items(), strict=True):
    real, imag, *adaptive = layer.dynamics(x)
    level = sum(adaptive) if adaptive else torch.full_like(real, layer.threshold)
    axis.step(range(steps), real[0, 0], where="post", color=grey, label="real")
    axis.step(range(steps), imag[0, 0], where="post", color=blue, label="imaginary")
    axis.step(range(steps), level[0, 0], where="post", color=orange, linestyle="--", label="threshold")
    fired = layer(x)[0, 0].nonzero()[:, 0].tolist()
    axis.plot(fired, [-2.6] * len(fired), "|", markersize=12, markeredgewidth=2, color=orange, label="spikes")
    axis.set(ylabel=name, ylim=(-3.2, 4))
    axis.spines[["top", "right"]].set_visible(False)
axes[0].legend(ncols=4, loc="upper right", frameon=False)
axes[-1].set(xlabel="time step", xlim=(-1, steps))
plt.show()

# %%
# ``rf`` and ``adrf`` fire where the phase passes zero, once a turn, while the real part is at or above the threshold.
# ``rf_iz`` and ``adrf_iz`` fire where the imaginary part reaches it. Only ``rf_iz`` is reset by its spikes; the
# adaptive ones raise their threshold instead, together with a refractory part that dies away faster.

# %%
# A bank of filters
# -----------------
# With ``shared_param=False`` each channel has a frequency of its own, evenly on a logarithmic scale. Fed with a tone
# that rises from a period of 60 steps to one of 8, the channels respond one after another.

torch.manual_seed(0)
channels, steps = 32, 1500
bank = neuron.rf.Neuron(threshold=2, period=(6, 80), decay=0.03, shared_param=False)
period = np.geomspace(60, 8, steps)
tone = torch.from_numpy(0.25 * np.cos(np.cumsum(2 * np.pi / period))).float().expand(1, channels, steps)
spikes = bank((tone, torch.zeros(1, channels, steps)))[0]

figure, axis = plt.subplots(figsize=(9, 4.5), layout="constrained")
channel, time = spikes.nonzero().T
axis.semilogy(time, bank.period[channel], "|", color=blue, label="spikes, at the channel's period")
axis.semilogy(period, color=orange, linestyle="--", label="period of the tone")
axis.set(xlabel="time step", ylabel="steps of a turn")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()
