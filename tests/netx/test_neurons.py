"""The compiled steps over blocks of neurons: where a block ends changes nothing, nor which thread runs it."""

import numpy as np
import pytest

from lavadl_lite.exchange import Layer
from lavadl_lite.netx import Simulator
from lavadl_lite.netx._neurons import BLOCK
from tests.exchange.drawn import COMPLEX, REAL


def population(rng, kind, size):
    """Neurons with parameters of their own."""
    decays = ("sinDecay", "cosDecay") if kind in COMPLEX else ("iDecay", "vDecay")
    cell = {"type": kind, "vThMant": 60, **{name: rng.integers(0, 4097, size) for name in decays}}
    if kind == "SDNN":
        cell = {"type": kind, "activation": "relu", "vThMant": rng.integers(0, 100, size)}
    if kind.startswith("A"):
        cell |= {name: rng.integers(0, 4097, size) for name in ("thDecay", "refDecay")} | {"vThStep": 9}
    names = ("weight/real", "weight/imag") if kind in COMPLEX else ("weight",)
    return cell, {name: rng.integers(-256, 255, (size, 5)) for name in names}


def some(values, part):
    """The values of a part of the neurons, where they have one each."""
    return {name: value[part] if np.ndim(value) else value for name, value in values.items()}


@pytest.mark.parametrize("kind", [*REAL, *COMPLEX])
def test_blocks_are_their_neurons(kind, monkeypatch):
    from lavadl_lite.kernels import cpu

    size = 2 * BLOCK + 17
    cell, weights = population(np.random.default_rng(0), kind, size)
    x = np.random.default_rng(1).integers(0, 9, (3, 5, 12))

    def run(part):
        fields = {"inFeatures": 5, "outFeatures": len(part), "shape": [len(part)], **some(weights, part)}
        return Simulator([Layer("dense", fields, some(cell, part))], input_message_bits=8).run(x)

    monkeypatch.setattr(cpu, "SERIAL_BELOW", 0)
    monkeypatch.setattr(cpu, "threads", lambda: 3)
    whole = run(np.arange(size))
    monkeypatch.setattr(cpu, "threads", lambda: 1)
    for part in np.split(np.arange(size), [100, BLOCK + 1, 2 * BLOCK]):
        np.testing.assert_array_equal(run(part), whole[:, part])
    assert whole.any()
