"""Direct training of spiking networks: neurons, synapses, delays, blocks, losses and what training needs."""

from . import axon, block, classifier, dendrite, io, loss, neuron, spike, synapse, utils

__all__ = ["axon", "block", "classifier", "dendrite", "io", "loss", "neuron", "spike", "synapse", "utils"]
