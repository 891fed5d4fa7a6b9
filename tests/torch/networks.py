"""Networks that the tests of the torch layer share; nothing is tested here."""

import torch

from lavadl_lite import slayer

__all__ = ["NEURON", "gradients", "spikes", "two_blocks"]

NEURON = {
    "threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03, "tau_grad": 0.03, "scale_grad": 3,
    "requires_grad": True,
}  # fmt: skip


def two_blocks(inputs=6, hidden=20, outputs=5, **neuron):
    """Dense with weight norm and delays, then Dense with weight norm; materialised, always the same one."""
    generator = torch.get_rng_state()
    torch.manual_seed(0)
    dense = slayer.block.cuba.Dense
    first = dense({**NEURON, **neuron}, inputs, hidden, weight_scale=3, weight_norm=True, delay=True)
    second = dense({**NEURON, **neuron}, hidden, outputs, weight_scale=3, weight_norm=True)
    first.materialize((inputs,))
    second.materialize((hidden,))
    with torch.no_grad():
        first.delay.delay.mul_(5)  # drawn from 0..1, which are no steps at all
    torch.set_rng_state(generator)
    return torch.nn.Sequential(first, second)


def spikes(*shape, seed=0):
    """Zeros and ones."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


def gradients(network, x):
    """Output, then the gradients of the input and of every parameter, of the output's sum of squares."""
    x = x.clone().requires_grad_()
    network.zero_grad()
    y = network(x)
    (y * (1 + torch.arange(y.shape[-1])) / y.shape[-1]).square().sum().backward()
    return [y.detach(), x.grad, *(parameter.grad.clone() for parameter in network.parameters())]
