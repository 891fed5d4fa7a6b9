"""Running a network in Lava: messages of every layer and states after each step; nothing is tested here."""

import sys

import numpy as np
import pytest

if sys.platform == "win32":
    pytest.skip("Lava starts its processes by fork, which Windows lacks", allow_module_level=True)
try:
    from lavadl_lite.netx.hdf5 import Network
except ImportError as error:
    pytest.skip(str(error), allow_module_level=True)

from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

__all__ = ["STATES", "Network", "axes", "run"]

# Lava's name of each state of ours
STATES = {
    "current": "u",
    "voltage": "v",
    "real": "real",
    "imag": "imag",
    "sigma": "sigma",
    "activation": "act",
    "residue": "residue",
}
CONFIG = {"select_tag": "fixed_pt"}


def axes(values):
    """(C, H, W, T) as Lava's (W, H, C, T), or back; the same for (C, T)."""
    return values.transpose((*range(values.ndim - 2, -1, -1), values.ndim - 1))


def run(net, x, states=False):
    """What each layer of a Lava network sends, (C, ..., T), and, where asked for, its states by our names."""
    steps = x.shape[-1]
    source = Source(data=axes(np.asarray(x, np.int32)))
    source.s_out.connect(net.inp)
    sinks = []
    for layer in net.layers:
        sinks.append(Sink(shape=layer.out.shape, buffer=steps))
        layer.out.connect(sinks[-1].a_in)
    found = [{name: getattr(layer.neuron, var, None) for name, var in STATES.items()} for layer in net.layers]
    found = [{name: var for name, var in each.items() if var is not None and states} for each in found]
    held = [{name: [] for name in each} for each in found]
    try:
        for _ in range(steps if states else 1):
            net.run(condition=RunSteps(num_steps=1 if states else steps), run_cfg=Loihi2SimCfg(**CONFIG))
            for each, kept in zip(found, held, strict=True):
                for name, var in each.items():
                    kept[name].append(var.get())
        sent = [axes(sink.data.get().astype(np.int64)) for sink in sinks]
    finally:
        net.stop()
    traces = [{name: axes(np.stack(values, -1).astype(np.int64)) for name, values in kept.items()} for kept in held]
    return (sent, traces) if states else sent
