"""What one fused layer of neurons keeps for its backward: its input and little else."""

import pytest
import torch

from lavadl_lite.slayer.neuron import cuba

ROWS = (4, 48)  # samples, channels


def kept_bytes(neuron, x):
    """Bytes of the distinct storages that autograd holds after a forward, without those of the parameters."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = neuron(x)
    for parameter in neuron.parameters():
        storages.pop(parameter.untyped_storage().data_ptr(), None)
    return y, sum(storages.values())


@pytest.mark.parametrize("steps", [64, 65, 100, 300])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "per_channel"])
@pytest.mark.parametrize("graded", [False, True], ids=["binary", "graded"])
def test_input_and_a_quarter_byte_per_element(steps, shared, graded):
    neuron = cuba.Neuron(1, 0.3, 0.1, requires_grad=True, shared_param=shared, graded_spike=graded)
    x = torch.randn(*ROWS, steps, requires_grad=True)
    y, kept = kept_bytes(neuron, x)
    assert kept >= 4 * x.numel()  # the input itself is among them
    assert kept <= 4 * x.numel() + 0.25 * x.numel()
    y.sum().backward()
    assert x.grad is not None


def test_nothing_is_kept_without_a_gradient():
    neuron = cuba.Neuron(1, 0.3, 0.1)
    _, kept = kept_bytes(neuron, torch.randn(*ROWS, 300))
    assert kept == 0
    with torch.no_grad():
        _, kept = kept_bytes(cuba.Neuron(1, 0.3, 0.1, requires_grad=True), torch.randn(*ROWS, 300))
    assert kept == 0
