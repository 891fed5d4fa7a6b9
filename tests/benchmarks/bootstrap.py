"""Bootstrap against what it replaces: accuracies of the example, a race to an accuracy, and the cost of each mode.

``accuracy``: test accuracies of the example's network from five seeds, validation chooses the epoch.
``race``: seconds of training until the test with spikes reaches 0.96, by Bootstrap and by slayer's blocks directly.
``cycle``: seconds of a training step in each mode for the network of the MNIST tutorial, 32 samples and 16 steps,
beside loops in plain torch and NumPy as the method is usually written, and beside lava-dl where it is installed.
"""

import argparse
import importlib
import importlib.util
import statistics
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rivals import integer_cuba
from timing import interleaved
from torch.nn import functional

from lavadl_lite import demo, slayer
from lavadl_lite.bootstrap import Mode, block

__all__ = ["accuracy", "cycle", "main", "race"]

EXAMPLES = Path(__file__).parents[2] / "examples"
NEURON = {"threshold": 1.25, "current_decay": 1, "voltage_decay": 0.03, "tau_grad": 1, "scale_grad": 1}
WEIGHTS = {"weight_scale": 2, "weight_norm": True}
SAMPLES, STEPS = 32, 16
EPOCH = 60_000 // SAMPLES  # batches of MNIST


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def example():
    """The definitions of the example, without what it runs."""
    source = (EXAMPLES / "plot_bootstrap.py").read_text(encoding="utf-8").partition("threads = torch.get")[0]
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("example", None))
    exec(compile(source, "plot_bootstrap.py", "exec"), vars(module))
    return module


# ------------------------------------------------------------------------------------------------------------ accuracy
def accuracy(seeds):
    """Test accuracies with 4, 8, 16 and 32 steps and without time, for each seed and on average."""
    digits, rows = example(), []
    for seed in seeds:
        net, epoch, _ = digits.learn(seed)
        images, labels = demo.load_digits(seed).test
        test = digits.enlarged(images), labels
        runs = [(Mode.ANN, 1), *((Mode.SNN, steps) for steps in (4, 8, 16, 32))]
        rows.append([digits.measure(net, test, *run)[0] for run in runs])
        say(f"seed {seed}, epoch {epoch + 1}: {_named(rows[-1])}")
    say(f"mean of {len(rows)}: {_named([statistics.mean(column) for column in zip(*rows, strict=True)])}")


def _named(row):
    return ", ".join(
        f"{name} {value:.4f}" for name, value in zip(["ANN", "T=4", "T=8", "T=16", "T=32"], row, strict=True)
    )


# ---------------------------------------------------------------------------------------------------------------- race
class Direct(torch.nn.Module):
    """The example's network of slayer's blocks: the same weights, neurons and read-out, with spikes only."""

    def __init__(self, digits):
        super().__init__()
        cuba, neuron = slayer.block.cuba, digits.NEURON
        self.blocks = torch.nn.Sequential(
            cuba.Input(neuron, weight=1, bias=0, delay_shift=False),
            cuba.Dense(neuron, 24 * 24, 128, **WEIGHTS, delay_shift=False),
            cuba.Dense(neuron, 128, 128, **WEIGHTS, delay_shift=False),
            cuba.Affine(neuron, 128, 10, **WEIGHTS, dynamics=False),
        )

    def forward(self, images, modes, steps=STEPS):
        return self.blocks(slayer.utils.time.replicate(images.flatten(1), steps)).mean(-1)


def reach(digits, net, seed, level, most):
    """Seconds and epochs of training until ``level`` in the test; infinity where ``most`` epochs do not."""
    torch.manual_seed(seed)
    train, _, test = ((digits.enlarged(images), labels) for images, labels in demo.load_digits(seed))
    scheduler, optimizer = digits.Scheduler(2, 1), torch.optim.Adam(net.parameters(), digits.RATE, fused=True)
    seconds = 0.0
    for epoch in range(most):
        images = digits.varied(train[0])
        start = time.perf_counter()
        for iteration, chosen in enumerate(torch.randperm(len(train[1])).split(SAMPLES)):
            output = net(images[chosen], scheduler.mode(epoch, iteration))
            optimizer.zero_grad()
            functional.cross_entropy(output, train[1][chosen]).backward()
            optimizer.step()
        seconds += time.perf_counter() - start
        if digits.measure(net, test, Mode.SNN)[0] >= level:
            return seconds, epoch + 1
    return float("inf"), most


def race(seeds, level=0.96, most=60):
    """Both ways in turn, from the same first weights and with the same batches."""
    digits, found = example(), []
    for seed in seeds:
        torch.manual_seed(seed)
        ways = {"bootstrap": digits.Network()}
        torch.manual_seed(seed)
        ways["direct"] = Direct(digits)
        times = {name: reach(digits, net, seed, level, most) for name, net in ways.items()}
        found.append({name: seconds for name, (seconds, _) in times.items()})
        say(f"seed {seed}: " + ", ".join(f"{name} {s:.2f} s in {e} epochs" for name, (s, e) in times.items()))
    ratio = statistics.median(row["direct"] / row["bootstrap"] for row in found)
    say(f"median ratio of {len(found)}: {ratio:.2f}")


# --------------------------------------------------------------------------------------------------------------- cycle
class _Lines(torch.autograd.Function):
    """The activation as a loop over its lines."""

    @staticmethod
    def forward(ctx, z, centers, slopes, ceiling, eps):
        ctx.save_for_backward(z)
        ctx.numbers = centers, slopes, eps
        y = torch.zeros_like(z)
        for (x, start), (end, _), slope in zip(centers[:-1], centers[1:], slopes, strict=True):
            y = torch.where((z > x) & (z <= end), start + slope * (z - x), y)
        return torch.where(z > centers[-1][0], torch.full_like(z, ceiling), y)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        centers, slopes, eps = ctx.numbers
        gain = centers[-1][0] / centers[-1][1]
        derivative = torch.full_like(z, eps)
        for (x, _), (end, _), slope in zip(centers[:-1], centers[1:], slopes, strict=True):
            inside = (z > x) & (z <= end)
            derivative = torch.where(inside, torch.full_like(z, slope * gain + eps), derivative)
        return grad * derivative, None, None, None, None


class _Sampler:
    """Samples in arrays that grow by joining, halved at each fit; the fit bin by bin."""

    def __init__(self):
        self.z, self.a, self.centers = np.array([]), np.array([]), None

    def append(self, a, z):
        self.a = np.concatenate([self.a, a.detach().mean(-1).cpu().numpy().flatten()])
        self.z = np.concatenate([self.z, z.detach().mean(-1).cpu().numpy().flatten()])

    def fit(self):
        self.ceiling = max(self.a[self.a > 0.9 * self.a.max()].mean(), 0.8)
        edges, centers = np.linspace(0.1 * self.ceiling, 0.9 * self.ceiling, 6), []
        for low, high in pairwise(edges):
            inside = (self.a > low) & (self.a <= high)
            old = [c for c in self.centers or () if low < c[1] <= high]
            new = (np.median(self.z[inside]), np.median(self.a[inside])) if inside.any() else None
            if new and old:
                new = 0.1 * np.array(new) + 0.9 * np.mean(old, 0)
            if new is not None or old:
                centers.append(tuple(np.mean(old, 0) if new is None else new))
        centers = centers if len(centers) > 1 else [(0.0, 0.0), *(centers or [(1.0, 1.0)])]
        slopes = [abs((b[1] - a[1]) / (b[0] - a[0])) for a, b in pairwise(centers)]
        slopes = [slopes[0], *slopes, slopes[-1]]
        front = (centers[0][0] - centers[0][1] / slopes[0], 0.0)
        behind = (centers[-1][0] + (self.ceiling - centers[-1][1]) / slopes[-1], self.ceiling)
        self.centers, self.slopes = [front, *centers, behind], slopes
        kept = np.random.default_rng().permutation(len(self.z))[len(self.z) // 2 :]
        self.z, self.a = self.z[kept], self.a[kept]

    def __call__(self, z):
        return _Lines.apply(z, self.centers, self.slopes, self.ceiling, 1e-5)


class _Rounded(torch.autograd.Function):
    """The nearest multiple of 1/32, the gradient passed on."""

    @staticmethod
    def forward(ctx, x):
        return torch.round(x / (1 / 32)) * (1 / 32)

    @staticmethod
    def backward(ctx, grad):
        return grad


def _held(weight):
    """8 bits with sign."""
    return _Rounded.apply(weight).clamp(-4, 254 / 64)


class Loop(torch.nn.Module):
    """The network of the tutorial in plain torch: convolutions as synapses, neurons step by step, lines one by one."""

    def __init__(self, sizes):
        super().__init__()
        layers = [torch.nn.Conv3d(a, b, 1, bias=False) for a, b in pairwise(sizes)]
        for layer in layers:
            layer.weight.data *= 2
        self.layers = torch.nn.ModuleList(torch.nn.utils.parametrizations.weight_norm(layer) for layer in layers)
        self.gain, self.bias = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.zeros(1))
        self.samplers = [_Sampler() for _ in layers]

    def forward(self, x, mode):
        x = self._neurons(_held(x) * _held(self.gain) + _held(self.bias), self.samplers[0], mode)
        for layer, sampler in zip(self.layers[:-1], self.samplers[1:], strict=True):
            x = self._neurons(self._summed(layer, x), sampler, mode)
        return self._summed(self.layers[-1], x).mean(-1)

    @staticmethod
    def _summed(layer, x):
        return functional.conv3d(x[:, :, None, None], _held(layer.weight))[:, :, 0, 0]

    @staticmethod
    def _neurons(z, sampler, mode):
        if mode is Mode.FIT:
            sampler.fit()
        if mode in (Mode.ANN, Mode.FIT):
            return sampler(z)
        spikes = integer_cuba(z, 4096, 123, 1.25, 125.0, 0.1)
        if mode is Mode.SAMPLE:
            sampler.append(spikes, z)
        return functional.pad(spikes, (1, -1))


class Blocks(torch.nn.Module):
    """The same of blocks: ours, or lava-dl's."""

    def __init__(self, sizes, cuba, mode):
        super().__init__()
        self.mode = mode
        denses = [cuba.Dense(NEURON, a, b, **WEIGHTS) for a, b in pairwise(sizes[:-1])]
        affine = cuba.Affine(NEURON, *sizes[-2:], **WEIGHTS)
        self.blocks = torch.nn.ModuleList([cuba.Input(NEURON, weight=1, bias=0), *denses, affine])

    def forward(self, x, mode):
        for layer in self.blocks:
            x = layer(x, mode=self.mode[mode.name])
        return x.mean(-1)


def contenders(sizes):
    found = {"lavadl_lite": Blocks(sizes, block.cuba, Mode), "torch loop": Loop(sizes)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = importlib.import_module("lava.lib.dl.bootstrap")
        except ImportError:
            return found
    return found | {"lava-dl": Blocks(sizes, theirs.block.cuba, theirs.Mode)}


def cycle(rounds, sizes=(784, 512, 512, 10)):
    """Milliseconds of a step in each mode, of one of each, of what an epoch samples and fits, and of all that epoch."""
    torch.manual_seed(0)
    nets = contenders(sizes)
    optimizers = {name: torch.optim.Adam(net.parameters(), 1e-3, fused=True) for name, net in nets.items()}

    def step(name, mode, batches=1):
        for _ in range(batches):  # never the same, so that there is always something to learn
            images, labels = 2 * torch.rand(SAMPLES, sizes[0]) - 1, torch.randint(sizes[-1], (SAMPLES,))
            output = nets[name](slayer.utils.time.replicate(images, 1 if mode is Mode.ANN else STEPS), mode)
            optimizers[name].zero_grad()
            functional.cross_entropy(output, labels).backward()
            optimizers[name].step()

    def measured(mode, batches=1):
        work = {name: (lambda name=name: step(name, mode, batches)) for name in nets}
        return {name: times.median / batches for name, times in interleaved(work, rounds).items()}

    found = {Mode.SAMPLE: measured(Mode.SAMPLE, 5)}
    found[Mode.FIT] = measured(Mode.FIT)
    found[Mode.ANN] = measured(Mode.ANN, 20)  # many in a row, as in training: what they work on stays in the cache
    for mode, seconds in found.items():
        say(f"{mode.name:7} {_ratios(seconds)}")
    turns = {
        "each": dict.fromkeys(found, 1),
        "refit": {Mode.SAMPLE: 10, Mode.FIT: 1},
        "epoch": {Mode.SAMPLE: 10, Mode.FIT: 1, Mode.ANN: EPOCH - 11},
    }
    for turn, counts in turns.items():
        total = {name: sum(n * found[mode][name] for mode, n in counts.items()) for name in nets}
        say(f"{turn:7} {_ratios(total)}")


def _ratios(seconds):
    ours = seconds["lavadl_lite"]
    return ", ".join(f"{name} {1000 * s:.2f} ms ({s / ours:.1f}x)" for name, s in seconds.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", default=["accuracy", "race", "cycle"], help="default: accuracy race cycle")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5), help="default: 0 1 2 3 4")
    parser.add_argument("--rounds", type=int, default=5, help="of the cycle, default: 5")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for what in options.what:
        say(f"{what}:")
        {"accuracy": accuracy, "race": race}[what](options.seeds) if what != "cycle" else cycle(options.rounds)


if __name__ == "__main__":
    main()
