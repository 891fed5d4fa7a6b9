"""Milliseconds a time step of lava-dl's own networks: the simulator, dense NumPy, and Lava where it is installed.

Run it from the root: ``python -m tests.benchmarks.simulator``.  The files come from lava-dl's wheel, see
``tests/netx/test_real_files.py``.  By activity, every layer is fed apart, with as many messages at random, and the
times are added up; as it is used, the whole network runs on an image.
"""

import argparse
import math
import time
from functools import partial

import numpy as np

from lavadl_lite import exchange
from lavadl_lite.netx import Simulator
from tests.benchmarks.timing import interleaved
from tests.netx.test_real_files import INSIDE, fetched

__all__ = ["as_used", "by_activity", "lava_seconds"]

FILES = {
    "tiny.net": "tiny.net",
    "mnist.net": "mnist.net",
    "PilotNet LIF": "gts/pilotnet_lif/network.net",
    "PilotNet SDNN": "gts/pilotnet_sdnn/network.net",
}
ACTIVITIES = (0.01, 0.05, 0.2, 1.0)
FEW = 4  # time steps that dense NumPy runs, which has nothing to do once for all
MUST, GOAL = 30, 100  # times faster than Lava


class Dense:
    """One layer as a dense transcription: matrix products of BLAS, then the neurons' equations over whole arrays."""

    def __init__(self, layer, after):
        self.layer, self.after = layer, after
        fields, self.cell = layer.fields, layer.neuron or {"iDecay": 0, "vDecay": 4096, "vThMant": 1 << 17}
        self.weight = np.asarray(fields["weight"], np.float32)
        self.bias = np.asarray(fields.get("bias", 0), np.int64).reshape(-1, *(1,) * (len(after) - 1))

    def run(self, x):
        """Messages (C, ..., T) of messages."""
        self.states = [np.zeros(self.after, np.int64) for _ in range(3)]
        return np.stack([self.step(x[..., t]).reshape(self.after) for t in range(x.shape[-1])], -1)

    def sums(self, message):
        if self.weight.ndim == 2:
            return self.weight @ message.ravel()
        (kh, kw), (sh, sw), (ph, pw) = (self.layer.fields[name] for name in ("kernelSize", "stride", "padding"))
        padded = np.pad(message, ((0, 0), (ph, ph), (pw, pw)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))[:, ::sh, ::sw]
        return np.tensordot(self.weight, windows, axes=([1, 2, 3], [0, 3, 4]))

    def step(self, message):
        total = self.sums(message.astype(np.float32)).astype(np.int64)
        if self.cell.get("type") == "SDNN":
            return self.encode(total)
        u, v, _ = self.states
        u = np.sign(u) * (np.abs(u * (4096 - self.cell["iDecay"])) >> 12) + (total << 6)
        v = np.sign(v) * (np.abs(v * (4096 - self.cell["vDecay"])) >> 12) + u + (self.bias << 6)
        v = np.clip(v, 1 - (1 << 23), (1 << 23) - 1)
        fired = v > self.cell["vThMant"] << 6
        self.states[:2] = u, np.where(fired, 0, v)
        return fired.astype(np.int64)

    def encode(self, total):
        sigma, last, residue = self.states
        sigma = sigma + total
        if self.cell.get("sigma_output"):
            self.states[0] = sigma
            return sigma
        active = np.maximum(sigma + (self.bias << 12), 0)
        difference = active - last + residue
        sent = np.where(np.abs(difference) >= self.cell["vThMant"] << 12, difference, 0)
        self.states = [sigma, active, difference - sent]
        return sent >> 6


def by_activity(path, steps):
    """Seconds a step of the simulator and of dense NumPy for each of ``ACTIVITIES``."""
    layers = exchange.read(path).layers
    shapes = exchange.output_shapes(layers)
    rng = np.random.default_rng(0)
    found = {activity: {"simulator": 0.0, "NumPy": 0.0} for activity in ACTIVITIES}
    for index, layer in enumerate(layers):
        if "weight" not in layer.fields or layer.type == "input":
            continue
        graded = layer.neuron is not None and layer.neuron["type"] == "SDNN"
        simulator = Simulator(layers, index + 1, index, input_message_bits=16 if graded else 0)
        for activity, seconds in found.items():
            x = (rng.random((*shapes[index - 1], steps)) < activity) * (rng.integers(-99, 99) if graded else 1)
            dense, late = Dense(layer, shapes[index]), np.roll(x, 1, -1) * (np.arange(steps) > 0)
            run, transcribed = partial(simulator.run, x), partial(dense.run, late[..., :FEW])
            np.testing.assert_array_equal(run()[..., :FEW], transcribed())  # Lava's synapses take a step
            times = interleaved({"simulator": run, "NumPy": transcribed}, rounds=3)
            for name, taken in times.items():
                seconds[name] += taken.median / (FEW if name == "NumPy" else steps)
    return found


def as_used(path, steps):
    """Seconds a step of the whole network, the first layer under constant input, and the share of neurons that send."""
    simulator = Simulator(path)
    x = np.random.default_rng(0).integers(0, 40, (*simulator.input_shape, 1)).repeat(steps, -1)
    _, states = simulator.run(x, record=[(i, "spike") for i in simulator.recordable])
    active = sum(np.count_nonzero(values) for values in states.values())
    taken = interleaved({"simulator": lambda: simulator.run(x)}, rounds=5)["simulator"].median / steps
    return taken, active / steps / sum(math.prod(values.shape[:-1]) for values in states.values())


def lava_seconds(path, steps=5):
    """Seconds a step that Lava's Python models take for the same file; None where Lava is not installed."""
    try:
        from lava.magma.core.run_conditions import RunSteps
        from lava.magma.core.run_configs import Loihi2SimCfg

        from lavadl_lite.netx import hdf5

        net = hdf5.Network(str(path))
    except ImportError:
        return None
    config = Loihi2SimCfg(select_tag="fixed_pt")
    net.run(condition=RunSteps(num_steps=2), run_cfg=config)
    start = time.perf_counter()
    net.run(condition=RunSteps(num_steps=steps), run_cfg=config)
    taken = time.perf_counter() - start
    net.stop()
    return taken / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=32, help="time steps of a run by activity")
    steps = parser.parse_args().steps
    root = fetched()
    if root is None:
        parser.error("lava-dl's wheel cannot be fetched; see tests/netx/test_real_files.py")
    for name, file in FILES.items():
        path = root / INSIDE / file
        ours, active = as_used(path, 4 * steps)
        lava = lava_seconds(path)
        there = "Lava not installed" if lava is None else f"Lava {1e3 * lava:.1f} ms, {lava / ours:.0f} times as long"
        print(f"{name}: {1e3 * ours:.4f} ms a step, {active:.0%} of neurons send; {there} (must {MUST}, goal {GOAL})")
        for activity, seconds in by_activity(path, steps).items():
            mine, dense = (1e3 * seconds[key] for key in ("simulator", "NumPy"))
            times = f"{mine:.4f} ms, dense NumPy {dense:.3f} ms, {dense / mine:.1f} times as long"
            print(f"  activity {activity:4.0%}: {times}")


if __name__ == "__main__":
    main()
