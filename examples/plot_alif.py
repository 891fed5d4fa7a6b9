"""
A neuron that tires
===================

An adaptive leaky integrate-and-fire (ALIF) neuron has no reset. Each spike raises its threshold instead, and starts a
refractory state on top of it; both decay, the one slowly, the other fast. So it answers a change at once and a constant
input less and less.
"""

import matplotlib.pyplot as plt
import torch

from lavadl_lite import slayer, viz

# %%
# A constant input
# ----------------
# Tensors are ``[N, C, T]``: here one sample, one neuron, 160 steps. The input is switched on and off, and on again.

steps = 160
x = torch.zeros(1, 1, steps)
x[..., 10:90] = 0.06
x[..., 120:] = 0.06

neuron = slayer.neuron.alif.Neuron(
    threshold=0.5,
    threshold_step=0.25,
    current_decay=0.3,
    voltage_decay=0.1,
    threshold_decay=0.03,
    refractory_decay=0.25,
)
current, voltage, threshold, refractory = neuron.dynamics(x)
spikes = neuron(x)

# %%
# The neuron fires where its voltage :math:`v` reaches threshold and refractory state together:
#
# .. math::
#     s[t] = [v[t] \ge \theta[t] + r[t]]
#
# A spike adds :math:`\Delta` to the threshold, and twice the threshold to the refractory state, which lifts the sum out
# of the voltage's reach for a while:
#
# .. math::
#     \theta[t+1] = (1 - \alpha_\theta)\,(\theta[t] + \Delta\,s[t] - \theta_0) + \theta_0, \qquad
#     r[t+1] = (1 - \alpha_r)\,(r[t] + 2\,\theta[t]\,s[t])

figure, axes = plt.subplots(3, 1, figsize=(9, 5.5), sharex=True, height_ratios=(1, 4, 0.6), layout="constrained")
viz.traces(x[0], axes[0], color=viz.GREY)
axes[0].set(ylabel="input", xlabel="")
viz.traces(voltage[0], axes[1], label="voltage")
viz.traces(threshold[0], axes[1], color=viz.ORANGE, linestyle="--", label="threshold")
viz.traces((threshold + refractory)[0], axes[1], color=viz.ORANGE, label="with refractory state")
axes[1].set(xlabel="", ylim=(-0.2, 5.3))
axes[1].legend(loc="upper left", ncols=3, frameon=False)
viz.raster(spikes[0], axes[2], color=viz.ORANGE, linelengths=0.7)
axes[2].set(yticks=[0], yticklabels=["spikes"], ylabel="")
plt.show()

# %%
# The intervals between spikes grow while the input stays as it is:

times = spikes[0, 0, :100].nonzero()[:, 0]
print("spikes at", times.tolist())
print("intervals", times.diff().tolist())

# %%
# On the chip
# -----------
# Decays are integers out of 4096, the threshold and its step multiples of 1/64.

for name, value in neuron.device_params.items():
    print(f"{name}: {value}")
