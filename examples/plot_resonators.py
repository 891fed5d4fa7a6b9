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

from lavadl_lite import slayer, viz

# %%
# One tone, four answers
# ----------------------
# Complex neurons take two inputs, one for the real part and one for the imaginary part. Here a tone of the neurons' own
# period arrives at the real part, for six turns, and three times as loud for six more.

steps, period = 240, 16
time = torch.arange(steps)
loudness = 0.1 * ((time >= 10) & (time < 106)) + 0.3 * ((time >= 106) & (time < 202))
tone = (loudness * torch.cos(2 * torch.pi * (time - 10) / period))[None, None]
x = tone, torch.zeros_like(tone)

rotation = {"period": period, "decay": 0.06}


def draw(neuron, fires) -> None:
    """Input, state, threshold and spikes of one neuron; ``fires`` is the part that is held against the threshold."""
    real, imag, *adaptive = (state[0, 0] for state in neuron.dynamics(x))
    spikes = neuron(x)[0, 0].nonzero()[:, 0]
    parts = {"real part": real, "imaginary part": imag}
    top = 1.3 * max(curve.max() for curve in (real, imag, sum(adaptive, torch.zeros(1))))
    figure, axes = plt.subplots(3, 1, figsize=(9, 5), sharex=True, height_ratios=(1, 4, 0.6), layout="constrained")
    axes[0].step(time, tone[0, 0], where="post", color=viz.GREY)
    axes[0].set(ylabel="input")
    for name, part in parts.items():
        axes[1].step(time, part, where="post", label=name, color=viz.BLUE if name == fires else viz.GREY)
    if adaptive:
        threshold, refractory = adaptive
        axes[1].step(time, threshold, where="post", color=viz.ORANGE, linestyle="--", label="threshold")
        axes[1].step(time, threshold + refractory, where="post", color=viz.ORANGE, label="with refractory part")
    else:
        axes[1].axhline(neuron.threshold, color=viz.ORANGE, linestyle="--", label="threshold")
    axes[1].plot(spikes, parts[fires][spikes], "o", markersize=4, color=viz.ORANGE)
    axes[1].set(ylabel="state", ylim=(1.2 * min(real.min(), imag.min()), top))
    axes[1].legend(ncols=4, loc="upper left", frameon=False)
    axes[2].eventplot(spikes.tolist(), colors=viz.ORANGE, linelengths=0.7)
    axes[2].set(yticks=[1], yticklabels=["spikes"], xlabel="time step", xlim=(-1, steps))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels(axes[:2])
    plt.show()


# %%
# ``rf`` fires where its phase passes zero, that is where the imaginary part (grey) rises through zero, if the real part
# is at or above the threshold then. A spike changes nothing: one spike a turn, as long as the swing is large enough.

neurons = slayer.neuron
draw(neurons.rf.Neuron(threshold=0.75, **rotation), fires="real part")

# %%
# ``rf_iz`` fires where the imaginary part reaches the threshold, a quarter of a turn later, and a spike resets the
# state: the real part to 0, the imaginary part to just below the threshold. So the swing starts anew after each spike
# and never grows as large.

draw(neurons.rf_iz.Neuron(threshold=0.75, **rotation), fires="imaginary part")

# %%
# With a threshold that moves
# ---------------------------
# ``adrf`` and ``adrf_iz`` are these two with the threshold of :doc:`plot_alif`: a spike raises it, starts a refractory
# part on top of it, and leaves the state alone. The quiet tone makes them fire in two of its six turns, the loud one in
# every turn, until the threshold has followed its loudness.

adaptation = {"threshold_step": 0.4, "threshold_decay": 0.01, "refractory_decay": 0.15}
draw(neurons.adrf.Neuron(threshold=0.5, **rotation, **adaptation), fires="real part")

# %%

draw(neurons.adrf_iz.Neuron(threshold=0.5, **rotation, **adaptation), fires="imaginary part")

# %%
# A bank of filters
# -----------------
# With ``shared_param=False`` each channel has a frequency of its own, evenly on a logarithmic scale. Fed with a tone
# that rises from a period of 60 steps to one of 8, the channels respond one after another.

torch.manual_seed(0)
channels, steps = 32, 1500
bank = neurons.rf.Neuron(threshold=2, period=(6, 80), decay=0.03, shared_param=False)
period = np.geomspace(60, 8, steps)
tone = torch.from_numpy(0.25 * np.cos(np.cumsum(2 * np.pi / period))).float().expand(1, channels, steps)
spikes = bank((tone, torch.zeros(1, channels, steps)))[0]

figure, axis = plt.subplots(figsize=(9, 4.5), layout="constrained")
channel, time = spikes.nonzero().T
axis.semilogy(time, bank.period[channel], "|", color=viz.BLUE, label="spikes, at the channel's period")
axis.semilogy(period, color=viz.ORANGE, linestyle="--", label="period of the tone")
axis.set(xlabel="time step", ylabel="steps of a turn")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)
plt.show()
