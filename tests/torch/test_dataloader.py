"""Workers of a DataLoader, forked after kernels have run here, run kernels themselves."""

import os
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lavadl_lite.slayer.neuron import cuba
from tests.torch.networks import spikes, two_blocks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")


class Responses(Dataset):
    """Outputs and gradients of a whole network, or of neurons alone: torch's own threads do not survive a fork."""

    def __init__(self, threads):
        self.module = two_blocks(hidden=64) if threads == 1 else cuba.Neuron(1, 0.3, 0.1)
        self.threads = threads

    def __len__(self):
        return 4

    def __getitem__(self, index):
        torch.set_num_threads(self.threads)
        x = spikes(4, 6 if self.threads == 1 else 40, 70, seed=index).requires_grad_()
        y = self.module(x)
        y.sum().backward()
        return y.detach(), x.grad


@pytest.mark.parametrize("threads", [1, 2])
def test_forked_workers_give_what_this_process_gives(threads, monkeypatch):
    monkeypatch.setattr("lavadl_lite.kernels.cpu.SERIAL_BELOW", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        data = Responses(threads)
        here = [data[i] for i in range(len(data))]
        loader = DataLoader(data, batch_size=None, num_workers=2, timeout=60, multiprocessing_context="fork")
        for (output, gradient), (want, want_gradient) in zip(loader, here, strict=True):
            assert torch.equal(output, want)
            assert torch.equal(gradient, want_gradient)
    finally:
        torch.set_num_threads(before)


def test_a_fork_between_forward_and_backward(monkeypatch):
    monkeypatch.setattr("lavadl_lite.kernels.cpu.SERIAL_BELOW", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        x = spikes(16, 6, 70).requires_grad_()
        y = two_blocks(hidden=64)(x)
        child = os.fork()
        if child == 0:
            try:
                torch.set_num_threads(1)  # torch's own threads do not survive a fork
                (gradient,) = torch.autograd.grad(y.sum(), x)
                os._exit(0 if bool(gradient.abs().sum() > 0) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        y.sum().backward()
        assert x.grad.abs().sum() > 0
    finally:
        torch.set_num_threads(before)
