"""What is measured: each case offers the same work by several contenders, ours first; nothing about how it is timed."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import rivals
import torch

from lavadl_lite import netx, slayer

__all__ = ["CASES", "COPY", "LAVA", "LOOP", "OURS", "SCALED", "Case", "scaled"]

OURS, COPY, LOOP, LAVA = "lavadl_lite", "copy", "torch loop", "lava-dl"

LARGE, WIDE, SMALL, FAMILY = (32, 512, 300), (8, 64, 32, 32, 32), (128, 128, 64), (8, 256, 200)
NEURON = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03, "tau_grad": 0.03, "scale_grad": 3}


@dataclass(frozen=True)
class Case:
    """A piece of work.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the tensor that goes in, and that is copied for comparison.
    build : callable
        ``build(shape)`` returns ``{contender: callable without arguments}``.
    """

    name: str
    shape: tuple[int, ...]
    build: Callable[[tuple[int, ...]], dict[str, Callable[[], object]]]

    @property
    def size(self):
        return "x".join(map(str, self.shape))

    def contenders(self):
        torch.manual_seed(0)
        return self.build(self.shape)


def _offered(functions, x, learnt, backward):
    """Contenders that compute ``function(x)``, with ``backward`` also all gradients; without, in ``torch.no_grad``."""
    gradient, target = torch.randn(x.shape), torch.zeros_like(x)

    def forward(function):
        with torch.no_grad():
            function(x)

    def both(function, leaves):
        for leaf in leaves:
            leaf.grad = None
        function(leaves[0]).backward(gradient)

    contenders = {}
    for name, function in functions.items():
        leaves = [x.clone().requires_grad_(), *learnt[name]] if backward else []
        contenders[name] = partial(both, function, leaves) if backward else partial(forward, function)
    contenders[COPY] = lambda: target.copy_(x)
    return contenders


def _modules(build):
    """``build(slayer)`` of ours, and of lava-dl where it is installed."""
    modules = {OURS: build(slayer)}
    if rivals.lava_dl() is not None:
        modules[LAVA] = build(rivals.lava_dl())
    return modules


def cuba(shape, backward):
    """CUBA neurons with learnable decays, one for each channel; on planes shared, where lava-dl has no others."""
    x = torch.randn(shape) * 0.4
    shared = len(shape) > 3
    functions = _modules(
        lambda slayer: slayer.neuron.cuba.Neuron(1.0, 0.25, 0.03, shared_param=shared, requires_grad=True)
    )
    with torch.no_grad():
        for module in functions.values():
            module(x[..., :2])  # draws the decays
    learnt = {name: list(module.parameters()) for name, module in functions.items()}
    channels = 1 if shared else shape[1]
    learnt[LOOP] = [torch.full((channels, *[1] * (len(shape) - 3)), d).requires_grad_() for d in (1024.0, 123.0)]
    functions[LOOP] = lambda x: rivals.cuba_loop(x, *learnt[LOOP])
    return _offered(functions, x, learnt, backward)


ROTATION = {"threshold": 1.0, "period": 10, "decay": 0.05}
ADAPTATION = {"threshold_step": 0.5, "threshold_decay": 0.1, "refractory_decay": 0.2}
FAMILIES = {
    "alif": {"threshold": 1.0, "current_decay": 0.25, "voltage_decay": 0.03} | ADAPTATION,
    "rf": ROTATION,
    "rf_iz": ROTATION,
    "adrf": ROTATION | ADAPTATION,
    "adrf_iz": ROTATION | ADAPTATION,
    "sigma_delta": {"threshold": 0.1, "activation": torch.relu},
}


def family(shape, name, backward=True):
    """Neurons of a family with learnable parameters; lava-dl's adrf_iz fails, so its adrf stands there."""
    x = torch.randn(shape) * 0.4
    other, target = torch.randn(shape) * 0.4, torch.zeros_like(x)
    complex_input = name not in ("alif", "sigma_delta")
    contenders = {}
    for label, source in ((OURS, slayer), (LAVA, rivals.lava_dl())):
        if source is None:
            continue
        theirs = "adrf" if label == LAVA and name == "adrf_iz" else name
        neuron = getattr(source.neuron, theirs).Neuron(**FAMILIES[name], requires_grad=True)
        leaves = [v.clone().requires_grad_() for v in ((x, other) if complex_input else (x,))]
        learnt = [p for p in neuron.parameters() if p.requires_grad]
        function = neuron if complex_input else partial(_first, neuron)
        contenders[label] = partial(_both, function, leaves, learnt, torch.randn(shape))
    contenders[COPY] = lambda: target.copy_(x)
    return contenders


def _first(function, values):
    return function(values[0])


def _both(function, leaves, learnt, gradient):
    for leaf in (*leaves, *learnt):
        leaf.grad = None
    function(leaves).backward(gradient)


def leaky(shape, backward):
    """Leaky integrators with a learnable decay for each channel."""
    x, zero = torch.randn(shape) * 0.4, torch.zeros(1)
    decay = torch.full((shape[1],), 123.0).requires_grad_()
    functions = _modules(lambda slayer: partial(_leaky, slayer.neuron.dynamics.leaky_integrator.dynamics, decay, zero))
    functions[LOOP] = partial(rivals.leaky_loop, decay=decay)
    return _offered(functions, x, {name: [decay] for name in functions}, backward)


def _leaky(dynamics, decay, state, x):
    return dynamics(x, decay, state, 4096)


def delay(shape, backward):
    """Delays of 0 to 62 steps, learnt for each channel."""
    x = (torch.rand(shape) < 0.1).float()
    functions = _modules(lambda slayer: slayer.axon.Delay(max_delay=62))
    delays = 62 * torch.rand(shape[1])
    for module in functions.values():
        with torch.no_grad():
            module(x)  # draws delays
        module.delay.data = delays.clone()
    learnt = {name: [module.delay] for name, module in functions.items()}
    learnt[LOOP] = [delays.requires_grad_()]
    functions[LOOP] = lambda x: rivals.delay_gather(x, *learnt[LOOP])
    return _offered(functions, x, learnt, backward)


def dense(shape, outputs):
    """A training step of one dense block with weight norm and delays: forward, backward, Adam."""
    x, target = (torch.rand(shape) < 0.1).float(), torch.zeros(shape)
    blocks = _modules(lambda slayer: slayer.block.cuba.Dense(NEURON, shape[1], outputs, weight_norm=True, delay=True))

    def step(block, optimizer):
        optimizer.zero_grad()
        block(x).square().mean().backward()
        optimizer.step()

    contenders = {}
    for name, block in blocks.items():
        block(x)
        contenders[name] = partial(step, block, torch.optim.Adam(block.parameters()))
    contenders[COPY] = lambda: target.copy_(x)
    return contenders


def simulator(shape):
    """A network of two dense blocks, run from its file as integers."""
    x = (torch.rand(shape) < 0.1).float()
    net = torch.nn.Sequential(
        slayer.block.cuba.Dense(NEURON, shape[1], 128, weight_norm=True, delay=True),
        slayer.block.cuba.Dense(NEURON, 128, 10, weight_norm=True),
    )
    with torch.no_grad():
        net(x)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.net"
        netx.save(net, path)
        integers = netx.Simulator(path)
    spikes, target = x.int().numpy(), torch.zeros_like(x)
    return {OURS: lambda: integers.run(spikes), COPY: lambda: target.copy_(x)}


def events(shape):
    """Two million events in a tensor that is there already; the rival is NumPy's assignment to the same memory."""
    rng = np.random.default_rng(0)
    C, H, W, T = shape
    columns = [rng.integers(0, n, 2_000_000) for n in (W, H, C)]
    event = slayer.io.Event(*columns, np.sort(rng.uniform(0, T - 1, 2_000_000)))
    filled, target = torch.from_numpy(np.full(shape, 0, np.float32)), torch.zeros(shape)
    contenders = {OURS: lambda: event.fill_tensor(filled), LOOP: lambda: rivals.numpy_fill(event, filled.numpy())}
    if rivals.lava_dl() is not None:
        theirs = rivals.lava_dl().io.Event(*columns, event.t)
        contenders[LAVA] = lambda: theirs.fill_tensor(filled)
    return contenders | {COPY: lambda: target.copy_(filled)}


def _both_ways(name, build, *shapes):
    ways = ((f"{name}, forward", False), (f"{name}, forward + backward", True))
    return [Case(way, shape, partial(build, backward=backward)) for shape in shapes for way, backward in ways]


CASES = [
    *_both_ways("CUBA", cuba, LARGE, WIDE, SMALL),
    *[
        Case(f"{name}, forward + backward", shape, partial(family, name=name))
        for name in FAMILIES
        for shape in (FAMILY, LARGE)
    ],
    *_both_ways("leaky integrator", leaky, LARGE, SMALL),
    *_both_ways("delay", delay, LARGE, SMALL),
    Case("train step of cuba.Dense, 512 outputs", LARGE, partial(dense, outputs=512)),
    Case("train step of cuba.Dense, 128 outputs", (32, 64, 32), partial(dense, outputs=128)),
    Case("2 million events to a tensor", (2, 260, 346, 300), events),
    Case("Simulator, 64-128-10", (32, 64, 32), simulator),
]

SCALED = {
    "CUBA, forward": partial(cuba, backward=False),
    "CUBA, forward + backward": partial(cuba, backward=True),
    **{f"{name}, forward + backward": partial(family, name=name) for name in FAMILIES},
}


def scaled(build):
    """Work at one size, with twice the neurons, and with twice the steps."""
    sizes = {"base": (16, 512, 300), "twice the neurons": (32, 512, 300), "twice the steps": (16, 512, 600)}
    return {label: Case(label, shape, build) for label, shape in sizes.items()}
