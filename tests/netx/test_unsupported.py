"""What the simulator takes from a network, and what it says about a layer that it cannot run."""

import numpy as np
import pytest

from lavadl_lite.errors import ParameterError
from lavadl_lite.exchange import Layer, Network
from lavadl_lite.netx import Simulator
from tests.exchange import drawn

CUBA = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80}
DENSE = {"inFeatures": 1, "outFeatures": 1, "shape": np.array([1])}
REST = {
    "dense_rec": {**DENSE, "weight": [[2]], "weight_rec": [[2]]},
    "average": {"shape": [1]},
    "decimation": {"shape": [1], "factor": 2},
}
FIRST = Layer("dense", {**DENSE, "weight": [[64]]}, CUBA)


@pytest.mark.parametrize("kind", REST)
def test_layers_that_are_not_run(kind):
    other = Layer(kind, REST[kind], CUBA if "weight" in REST[kind] else None)
    message = f"^/layer/1: expected one of input, flatten, dense with real weights.* got {kind} with"
    with pytest.raises(ParameterError, match=message):
        Simulator(Network((FIRST, other)))
    assert Simulator(Network((FIRST, other)), num_layers=1).output_shape == (1,)


@pytest.mark.parametrize("kind", ["conv", "convT", "pool", "unpool"])
def test_kernels_are_not_run(kind):
    layer = drawn.draw_layer(np.random.default_rng(1), kind, "CUBA")
    with pytest.raises(ParameterError, match=f"^/layer/0: expected .* got {kind} with CUBA neuron"):
        Simulator(Network((layer,)))


@pytest.mark.parametrize("kind", [*drawn.REAL[1:], *drawn.COMPLEX])
@pytest.mark.parametrize("place", ["input", "dense"])
def test_neurons_that_are_not_run(kind, place):
    layer = drawn.draw_layer(np.random.default_rng(1), place, kind)
    with pytest.raises(ParameterError, match=f"^/layer/0: expected .* CUBA neurons or none.* got {place} with"):
        Simulator(Network((layer,)))


def test_complex_integrators_are_not_run():
    layer = Layer("dense", {**DENSE, "weight/real": [[2]], "weight/imag": [[2]]})
    with pytest.raises(ParameterError, match=r"^/layer/0: expected .* got dense with complex weights"):
        Simulator(Network((layer,)))
