"""
Handwritten digits
==================

A network of two layers learns scikit-learn's handwritten digits from spikes, is written to a file, and runs again from
that file as integers. This is what ``lavadl-lite demo`` does, step by step; ``lavadl_lite/demo.py`` has the code.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import torch

from lavadl_lite import demo, slayer

torch.manual_seed(0)

# %%
# Data
# ----
# 1797 images of 8 by 8 pixels. A quarter is kept for the test; a part of the rest only chooses the epoch. Each pixel
# drives an integrate-and-fire neuron, so a digit becomes 64 spike trains of 32 steps.

digits = demo.load_digits()
images, labels = digits.test
spikes = demo.encode(images)
print("learnt from:", len(digits.train[1]), "validation:", len(digits.valid[1]), "test:", len(labels))
print("input [N, C, T]:", tuple(spikes.shape))

# %%
# Network and training
# --------------------
# A block is synapses, neurons and, in the first one, delays that are learnt. Few epochs suffice to see it learn; the
# command takes more.

net = demo.build()
print(net)
learnt = demo.learn(net, digits, epochs=10)
demo.draw_learning(plt.figure(figsize=(9, 3.5), layout="constrained"), learnt)

# %%
# What a digit does
# -----------------
# Spikes travel from the pixels to the hidden neurons and on to the ten outputs; the output with the most spikes wins.

demo.draw_activity(plt.figure(figsize=(9, 8), layout="constrained"), net, images[0])

# %%
# The test
# --------

with torch.no_grad():
    output = net(spikes)
predicted = slayer.classifier.Rate.predict(output)
print(f"test accuracy: {(predicted == labels).float().mean():.4f}")
demo.draw_confusion(plt.figure(figsize=(5, 5), layout="constrained"), labels, predicted)

# %%
# The same network as integers
# ----------------------------
# The exported file holds integers only. The simulator runs it with the arithmetic of the chip: every spike is the same.

with TemporaryDirectory() as folder:
    integers = demo.deploy(net, Path(folder) / "digits.net", spikes)
print("entries that differ:", int((integers != output.numpy()).sum()), "of", integers.size)

plt.show()
