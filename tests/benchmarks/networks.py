"""Training steps of whole networks, ours and lava-dl's: forward, backward, Adam; neurons alone are in cases."""

import itertools
from functools import partial

import torch
from cases import COPY, LAVA, LOOP, NEURON, OURS, Case
from rivals import lava_dl

from lavadl_lite import slayer

__all__ = ["NETWORKS"]

SIGMA_DELTA = {"threshold": 0.1, "tau_grad": 0.5, "requires_grad": True, "activation": torch.nn.functional.relu}


def n_mnist(block):
    options = {"weight_norm": True, "delay": True}
    sizes = (2312, 512, 512, 10)
    return [block.cuba.Dense(dict(NEURON), a, b, **options) for a, b in itertools.pairwise(sizes)]


def convolutional(block):
    return [
        block.cuba.Conv(dict(NEURON), 2, 16, 5, weight_scale=4, weight_norm=True),
        block.cuba.Pool(dict(NEURON), 2, weight_scale=1.5),
        block.cuba.Conv(dict(NEURON), 16, 32, 3, weight_scale=4, weight_norm=True),
        block.cuba.Flatten(),
        block.cuba.Dense(dict(NEURON), 32 * 13 * 13, 10, weight_norm=True),
    ]


def pilotnet(block):
    kind, params = block.sigma_delta, SIGMA_DELTA
    return [
        kind.Input(dict(params)),
        kind.Conv(dict(params), 3, 24, 3, stride=2, weight_scale=2, weight_norm=True),
        kind.Conv(dict(params), 24, 36, 3, stride=2, weight_scale=2, weight_norm=True),
        kind.Conv(dict(params), 36, 64, 3, padding=(1, 0), stride=(2, 1), weight_scale=2, weight_norm=True),
        kind.Conv(dict(params), 64, 64, 3, weight_scale=2, weight_norm=True),
        kind.Flatten(),
        kind.Dense(dict(params), 64 * 40, 100, weight_scale=2, weight_norm=True),
        kind.Output(dict(params), 100, 1, weight_scale=2, weight_norm=True),
    ]


def recurrent(block):
    return [block.cuba.Recurrent(dict(NEURON), 64, 128)]


def kwta(block):
    return [block.cuba.KWTA(dict(NEURON), 64, 128, 8)]


def _step(net, optimizer, x):
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()


def _products(x, sizes):
    """The bare matrix products of fully connected layers: forward, by the weights, and by all inputs but the first."""
    weights = [torch.randn(b, a) for a, b in itertools.pairwise(sizes)]
    held = [torch.randn(x.shape[0], size, x.shape[-1]) for size in sizes[1:]]

    def run():
        for i, (weight, grad) in enumerate(zip(weights, held, strict=True)):
            inputs = x if i == 0 else held[i - 1]
            torch.matmul(weight, inputs)
            sum(g @ v.T for g, v in zip(grad, inputs, strict=True))
            if i:
                torch.matmul(weight.T, grad)

    return run


def network(shape, layers, rival=None, rate=0.1, sizes=()):
    """Ours, lava-dl's (of ``rival`` layers, where those of ``layers`` cannot be trained there), and bare products."""
    x, target = (torch.rand(shape) < rate).float(), torch.zeros(shape)
    contenders = {}
    for name, source, build in ((OURS, slayer, layers), (LAVA, lava_dl(), rival or layers)):
        if source is None:
            continue
        net = torch.nn.Sequential(*build(source.block))
        with torch.no_grad():
            net(x)
        learnt = [p for p in net.parameters() if p.requires_grad]
        contenders[name] = partial(_step, net, torch.optim.Adam(learnt, 1e-3), x)
    if sizes:
        contenders[LOOP] = _products(x, sizes)
    contenders[COPY] = lambda: target.copy_(x)
    return contenders


NETWORKS = [
    Case("N-MNIST network", (8, 2312, 300), partial(network, layers=n_mnist, rate=0.02, sizes=(2312, 512, 512, 10))),
    Case("convolutional network", (4, 2, 34, 34, 50), partial(network, layers=convolutional)),
    Case("sigma-delta PilotNet", (2, 3, 33, 100, 16), partial(network, layers=pilotnet, rate=0.5)),
    Case("Recurrent, 128 neurons", (16, 64, 100), partial(network, layers=recurrent)),
    Case("KWTA, 128 neurons", (16, 64, 100), partial(network, layers=kwta, rival=recurrent)),
]
