"""What one fused layer of neurons keeps for its backward: its input and little else."""

import ctypes
import gc

import pytest
import torch

from lavadl_lite.kernels import memory
from lavadl_lite.slayer import axon, dendrite
from lavadl_lite.slayer.neuron import adrf, adrf_iz, alif, cuba, rf, rf_iz, sigma_delta
from tests.contracts.families import make_neuron

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


@pytest.mark.parametrize("steps", [64, 65, 100, 300])
def test_an_adaptive_neuron_keeps_two_states_more(steps):
    neuron = alif.Neuron(1, 0.25, 0.3, 0.1, 0.2, 0.5, requires_grad=True)
    x = torch.randn(*ROWS, steps, requires_grad=True)
    y, kept = kept_bytes(neuron, x)
    assert 4 * x.numel() <= kept <= 4 * x.numel() + 0.5 * x.numel()
    y.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("steps", [64, 65, 100, 300])
@pytest.mark.parametrize("neuron", [rf, rf_iz, adrf, adrf_iz], ids=lambda module: module.Neuron.type_name)
def test_a_complex_neuron_keeps_its_inputs(neuron, steps):
    layer = make_neuron(neuron.Neuron, requires_grad=True)
    inputs = [torch.randn(*ROWS, steps, requires_grad=True) for _ in range(2)]
    y, kept = kept_bytes(layer, inputs)
    size = sum(x.numel() for x in inputs)
    # a state of 8 or 16 bytes for every 64 steps of both inputs, and the initial ones with the adaptation's decays
    assert 4 * size <= kept <= 4 * size + 0.125 * size + 24 * ROWS[0] * ROWS[1]
    y.sum().backward()
    assert all(x.grad is not None for x in inputs)


@pytest.mark.parametrize("steps", [64, 65, 100, 300])
@pytest.mark.parametrize("cumulative", [False, True], ids=["single", "cumulative"])
@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
def test_a_sigma_delta_neuron_keeps_its_input_and_a_quarter_byte_per_element(steps, cumulative, bias):
    neuron = sigma_delta.Neuron(0.1, torch.relu, cum_error=cumulative, shared_param=False, requires_grad=True)
    if bias:
        neuron.set_bias(torch.randn(ROWS[1]))
    x = torch.randn(*ROWS, steps, requires_grad=True)
    y, kept = kept_bytes(neuron, x)
    assert 4 * x.numel() <= kept <= 4 * x.numel() + 0.25 * x.numel()
    y.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("learnt", [False, True])
def test_an_encoder_keeps_its_input_to_learn_its_threshold_and_a_decoder_nothing(learnt):
    x = torch.randn(*ROWS, 100, requires_grad=True)
    _, kept = kept_bytes(axon.Delta(0.1, requires_grad=learnt), x)
    assert kept == (4 * x.numel() if learnt else 0)
    _, kept = kept_bytes(dendrite.Sigma(), x)
    assert kept == 0


def test_nothing_is_kept_without_a_gradient():
    neuron = cuba.Neuron(1, 0.3, 0.1)
    _, kept = kept_bytes(neuron, torch.randn(*ROWS, 300))
    assert kept == 0
    with torch.no_grad():
        _, kept = kept_bytes(cuba.Neuron(1, 0.3, 0.1, requires_grad=True), torch.randn(*ROWS, 300))
    assert kept == 0


class Allocated(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "top",
        )
    ]


@pytest.fixture
def allocated():
    """Bytes that this process has asked the C library for and not given back, whoever did."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("no glibc of 2.33 or newer")
    library.mallinfo2.restype = Allocated
    memory.set_pooling(enabled=False)

    def count():
        gc.collect()
        found = library.mallinfo2()
        return found.uordblks + found.hblkhd

    yield count
    memory.set_pooling(enabled=True)


@pytest.mark.parametrize("steps", [64, 65, 100, 300])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "per_channel"])
def test_no_more_than_that_is_allocated(steps, shared, allocated):
    rows = (8, 512)
    neuron = cuba.Neuron(1, 0.3, 0.1, requires_grad=True, shared_param=shared)
    x = torch.randn(*rows, steps, requires_grad=True)
    neuron(x).sum().backward()  # what is allocated once
    x.grad = None
    neuron.zero_grad()
    before = allocated()
    root = neuron(x).grad_fn  # without the spikes themselves
    kept = allocated() - before
    assert kept <= 0.25 * x.numel() + 16_384  # Python's objects
    del root

    with torch.no_grad():
        before = allocated()
        y = neuron(x)
        assert allocated() - before <= 4 * y.numel() + 16_384
