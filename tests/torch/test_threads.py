"""The same bits for any number of threads, and from four Python threads at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.torch.networks import gradients, spikes, two_blocks


@pytest.fixture(autouse=True)
def _threads_are_put_back(monkeypatch):
    monkeypatch.setattr("lavadl_lite.kernels.cpu.SERIAL_BELOW", 0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def of_neurons(threads, backward_threads=None):
    """Spikes and gradients of input, decays and delays; no product, which torch may split its own way."""
    torch.set_num_threads(threads)
    first = two_blocks(hidden=50, shared_param=False)[0]
    torch.manual_seed(1)
    x = torch.randn(7, 50, 130).requires_grad_()
    y = first.delay(first.neuron(x))
    if backward_threads is not None:
        torch.set_num_threads(backward_threads)
    (y * torch.linspace(-1, 1, 130)).sum().backward()
    return [
        y.detach(),
        x.grad,
        first.neuron.current_decay.grad,
        first.neuron.voltage_decay.grad,
        first.delay.delay.grad,
    ]


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_any_number_of_threads_gives_the_same_bits(threads):
    for got, want in zip(of_neurons(threads), of_neurons(1), strict=True):
        assert torch.equal(got, want)
        assert got.abs().max() > 0


def test_threads_may_change_between_forward_and_backward():
    for got, want in zip(of_neurons(4, backward_threads=2), of_neurons(1), strict=True):
        assert torch.equal(got, want)


def test_four_python_threads_at_once():
    torch.set_num_threads(2)
    inputs = [spikes(16, 6, 70, seed=seed) for seed in range(4)]
    want = [gradients(two_blocks(hidden=64), x) for x in inputs]
    networks = [two_blocks(hidden=64) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, expected in zip(pool.map(gradients, networks, inputs), want, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
