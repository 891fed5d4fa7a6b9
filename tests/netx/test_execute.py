"""One population over a batch: threads and chunks change nothing, currents stay inside 32 bits."""

import numpy as np
import pytest

from lavadl_lite.errors import ParameterError
from lavadl_lite.netx import Simulator, simulator
from lavadl_lite.netx._execute import STATES, execute
from lavadl_lite.netx._plan import plan
from tests.netx.networks import dense, neuron, wide_network


def test_neither_threads_nor_chunks_change_anything(monkeypatch):
    from lavadl_lite.kernels import cpu

    rng = np.random.default_rng(2)
    layers = wide_network(rng)
    x = rng.integers(-40, 41, (37, 2, 3, 4, 50))
    record = [(0, "voltage"), (2, "current"), (3, "spike")]
    truth, states = Simulator(layers).run(x, record=record)
    assert truth.any()
    monkeypatch.setattr(cpu, "SERIAL_BELOW", 0)
    for threads in (1, 2, 5, 64):
        monkeypatch.setattr(cpu, "threads", lambda threads=threads: threads)
        for chunk in (1, 24 * 50 * 7, 1 << 30):
            monkeypatch.setattr(simulator, "CHUNK", chunk)
            found, recorded = Simulator(layers).run(x, record=record)
            np.testing.assert_array_equal(found, truth)
            for key in record:
                np.testing.assert_array_equal(recorded[key], states[key])


def test_currents_that_lava_cannot_hold():
    """Beyond 32 bits Lava's arithmetic has no defined result."""
    layers = [dense(np.full((1, 9), 254), neuron())]
    with pytest.raises(ParameterError, match=r"/layer/0: expected currents of 32 bits, got 2340864000 in sample 1"):
        Simulator(layers, input_message_bits=24).run(np.array([[[0, 0]] * 9, [[16000, 0]] * 9]))


def test_only_the_states_that_are_wanted_are_kept():
    _, (stage,) = plan([dense([[64]], neuron())], 0, 0)
    x = np.ones((3, 5, 1), np.int32)
    whole = execute(stage, x, (0, 0), slayer=False, wanted=STATES)
    assert set(whole) == set(STATES)
    for wanted in ((), ("voltage",), ("spike", "current")):
        found = execute(stage, x, (0, 0), slayer=False, wanted=wanted)
        assert set(found) == {"spike", *wanted}
        for name, values in found.items():
            assert values.dtype == np.int32
            np.testing.assert_array_equal(values, whole[name])
