"""Trains the networks of the examples from several seeds and prints what each reaches.

Only figures are compared here; that the examples run is shown by the documentation, which is built from them.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import torch

__all__ = ["FIGURES", "main"]

EXAMPLES = Path(__file__).parents[2] / "examples"


def xor(example, seed):
    """Accuracy after all epochs, smallest loss, seconds of training."""
    start = time.perf_counter()
    _, stats = example.learn(seed)
    seconds = time.perf_counter() - start
    return {"accuracy": stats.training.accuracy_log[-1], "min loss": stats.training.min_loss, "seconds": seconds}


def spike_pattern(example, seed):
    """By what part of a silent output's loss the network stays below it."""
    net, _ = example.learn(seed)
    with torch.no_grad():
        loss = float(example.error(net(example.noise(seed)), example.target))
    return {"below silent": 1 - loss / example.silent}


def digits_conv(example, seed):
    """Accuracy in the test, and in validation at the epoch that it chose."""
    _, learnt, accuracy = example.learn(seed)
    return {"accuracy": accuracy, "validation": learnt.stats.validation.accuracy_log[learnt.epoch]}


def digits_sigma_delta(example, seed):
    """Accuracy in the test, and how many times fewer events and operations than frame by frame."""
    accuracy, events, operations, _ = example.measure(example.learn(seed)[0])
    return {"accuracy": accuracy, "fewer events": events, "fewer operations": operations}


def events(example, seed):
    """Accuracy in the test of what validation chose."""
    net, _, _ = example.learn(seed)
    with torch.no_grad():
        return {"accuracy": example.right(net(example.test[0]))}


FIGURES = {
    "xor": (xor, [666, *range(10)]),
    "spike_pattern": (spike_pattern, range(5)),
    "digits_conv": (digits_conv, range(5)),
    "digits_sigma_delta": (digits_sigma_delta, range(5)),
    "events": (events, range(5)),
}


def load(name):
    """An example as a module; it runs as a whole, without showing its pictures."""
    import matplotlib as mpl

    mpl.use("agg")
    spec = importlib.util.spec_from_file_location(f"plot_{name}", EXAMPLES / f"plot_{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("examples", nargs="*", default=list(FIGURES), help=f"default: {' '.join(FIGURES)}")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 0 1 2 3 4; for xor 666, as well as 0 to 9")
    options = parser.parse_args()
    for name in options.examples:
        measure, seeds = FIGURES[name]
        example = load(name)
        torch.set_num_threads(1)  # as the examples do while they train
        found = []
        for seed in options.seeds or seeds:
            found.append(measure(example, seed))
            show(f"{name}, seed {seed}", found[-1])
        show(f"{name}, mean of {len(found)}", {key: statistics.mean(row[key] for row in found) for key in found[0]})


def show(what, figures):
    sys.stdout.write(f"{what}: {', '.join(f'{key} {value:.5g}' for key, value in figures.items())}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
