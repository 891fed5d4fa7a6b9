"""Direct training of spiking networks: neurons, synapses, delays, blocks, losses and what training needs."""

from . import auto, axon, block, classifier, dendrite, io, loss, neuron, spike, synapse, utils
from .utils import recurrent as _recurrent  # noqa: F401 - slayer.utils.recurrent, which stands on neurons

__all__ = ["auto", "axon", "block", "classifier", "dendrite", "io", "loss", "neuron", "spike", "synapse", "utils"]
