"""
A CUBA neuron, step by step
===========================

A current-based leaky integrate-and-fire neuron adds up what arrives, forgets a fraction of it at each step, and sends a
spike when its voltage passes the threshold. Here is one of them, at work and in pieces.
"""

import matplotlib.pyplot as plt
import torch

from lavadl_lite import slayer, viz

# %%
# Input and states
# ----------------
# Tensors are ``[N, C, T]``: here one sample, one neuron, 120 steps. Spikes arrive through two synapses, one that
# excites and one that inhibits.

torch.manual_seed(3)
steps = 120
arriving = (torch.rand(2, steps) < torch.tensor([[0.35], [0.12]])).float()
weights = torch.tensor([0.3, -0.4])
x = (weights @ arriving)[None, None]

neuron = slayer.neuron.cuba.Neuron(threshold=1.0, current_decay=0.3, voltage_decay=0.08)
current, voltage = neuron.dynamics(x)
spikes = neuron(x)

# %%
# The current :math:`u` leaks and feeds the voltage :math:`v`, which leaks too, and which a spike sets to 0:
#
# .. math::
#     u[t] = (1 - \alpha_u)\,u[t-1] + x[t], \qquad v[t] = (1 - \alpha_v)\,v[t-1]\,(1 - s[t-1]) + u[t], \qquad
#     s[t] = [v[t] > \vartheta]

figure, axes = plt.subplots(4, 1, figsize=(9, 6.5), sharex=True, height_ratios=(1, 2, 3, 0.6), layout="constrained")
viz.raster(arriving, axes[0], color=[viz.BLUE, viz.GREY], linelengths=0.7)
axes[0].set(yticks=[0, 1], yticklabels=["excites", "inhibits"], ylabel="")
viz.traces(current[0], axes[1])
axes[1].axhline(0, color=viz.GREY, linewidth=0.6)
axes[1].set(ylabel="current")
viz.traces(voltage[0], axes[2], threshold=neuron.threshold)
axes[2].set(ylabel="voltage, threshold")
viz.raster(spikes[0], axes[3], color=viz.ORANGE, linelengths=0.7)
axes[3].set(yticks=[0], yticklabels=["spikes"], ylabel="")
for axis in axes[:-1]:
    axis.set_xlabel("")
plt.show()

# %%
# Integers underneath
# -------------------
# On the chip all of this is integer arithmetic, and so it is here: states are multiples of 1/4096, results are exact.

print("current in units of 1/4096:", (current[0, 0, :8] * 4096).tolist())
print("decays on the chip:", neuron.cx_current_decay, neuron.cx_voltage_decay)

# %%
# In pieces
# ---------
# With ``persistent_state`` the neuron goes on where the call before left it, so a stream can be fed in chunks of any
# length. Not a single spike differs from feeding it whole.

streaming = slayer.neuron.cuba.Neuron(threshold=1.0, current_decay=0.3, voltage_decay=0.08, persistent_state=True)
chunks = [streaming(chunk) for chunk in x.split([1, 7, 32, 50, 30], dim=-1)]
assert torch.equal(torch.cat(chunks, dim=-1), spikes)
print(f"{int(spikes.sum())} spikes, whole and in {len(chunks)} chunks")

# %%
# Gradients
# ---------
# A spike has no derivative, so training uses a smooth stand-in for it. Everything else is differentiated as it is,
# decays included: this asks which way to move them for more spikes.

learning = slayer.neuron.cuba.Neuron(threshold=1.0, current_decay=0.3, voltage_decay=0.08, requires_grad=True)
learning(x).sum().backward()
for name, parameter in learning.named_parameters():
    print(f"{name}: {parameter.item():.0f}, gradient {parameter.grad.item():+.2e}")
