"""Trains the demo's network from five seeds and prints each test accuracy and their mean.

The test part is the same for all; seeds vary the first weights, the order of batches and the validation part, which
chooses the epoch.
"""

import argparse
import statistics
import sys
import time

import torch

from lavadl_lite import demo, slayer

__all__ = ["accuracy", "main"]


def accuracy(seed, epochs):
    """Test accuracy at the epoch that validation chose, of a network trained from ``seed``, and that epoch from 1."""
    torch.manual_seed(seed)
    digits, net = demo.load_digits(seed), demo.build()
    learnt = demo.learn(net, digits, epochs)
    images, labels = digits.test
    with torch.no_grad():
        predicted = slayer.classifier.Rate.predict(net(demo.encode(images)))
    return float((predicted == labels).float().mean()), learnt.epoch + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5), help="default: 0 1 2 3 4")
    parser.add_argument("--epochs", type=int, default=demo.EPOCHS, help=f"default: {demo.EPOCHS}")
    options = parser.parse_args()
    found = []
    for seed in options.seeds:
        start = time.perf_counter()
        right, epoch = accuracy(seed, options.epochs)
        found.append(right)
        sys.stdout.write(f"seed {seed}: {right:.4f} (epoch {epoch}, {time.perf_counter() - start:.0f} s)\n")
        sys.stdout.flush()
    sys.stdout.write(f"mean of {len(found)}: {statistics.mean(found):.4f}, worst {min(found):.4f}\n")


if __name__ == "__main__":
    main()
