"""Entries over a batch: threads and chunks change nothing; what keeps no state, bins of steps, resets, feedback."""

import numpy as np
import pytest

from lavadl_lite.errors import ParameterError
from lavadl_lite.exchange import Layer
from lavadl_lite.netx import Simulator, simulator
from tests.netx.networks import conv, dense, input_layer, neuron, recurrent, wide_network


def averaging(outputs):
    return Layer("average", {"shape": np.array([outputs])})


def decimation(shape, factor):
    return Layer("decimation", {"shape": np.array(shape), "factor": factor})


def concat(shape, *layers):
    return Layer("concat", {"shape": np.array(shape), "layers": np.array(layers)})


def test_neither_threads_nor_chunks_change_anything(monkeypatch):
    from lavadl_lite.kernels import cpu

    rng = np.random.default_rng(2)
    layers = [*wide_network(rng), decimation((3,), 4), recurrent(rng, 3, 5), averaging(5)]
    x = rng.integers(-40, 41, (7, 2, 3, 4, 50))
    record = [(0, "voltage"), (2, "current"), (3, "spike"), (5, "voltage")]
    arguments = {"reset_interval": 13, "reset_offset": 2}
    truth, states = Simulator(layers, **arguments).run(x, record=record)
    assert truth.any()
    assert truth.shape == (7, 5, 13)
    monkeypatch.setattr(cpu, "SERIAL_BELOW", 0)
    for threads, chunk, steps in ((1, 1, 1), (2, 24 * 11, 1), (5, 24 * 7 * 3, 9), (64, 1 << 30, 16)):
        monkeypatch.setattr(cpu, "threads", lambda threads=threads: threads)
        monkeypatch.setattr(simulator, "CHUNK", chunk)
        monkeypatch.setattr(simulator, "STEPS", steps)
        found, recorded = Simulator(layers, **arguments).run(x, record=record)
        np.testing.assert_array_equal(found, truth)
        for key in record:
            np.testing.assert_array_equal(recorded[key], states[key])


def test_currents_that_lava_cannot_hold():
    """Beyond 32 bits Lava's arithmetic has no defined result."""
    layers = [dense(np.full((1, 9), 254), neuron())]
    with pytest.raises(ParameterError, match=r"/layer/0: expected currents and messages of 32 bits, got larger ones"):
        Simulator(layers, input_message_bits=24).run(np.array([[[0, 0]] * 9, [[16000, 0]] * 9]))


def test_sums_that_no_message_holds():
    layers = [dense([[64]], neuron()), decimation((1,), 1 << 9)]
    assert Simulator(layers).run(np.ones((1, 600))).shape == (1, 2)
    graded = [dense([[64]], neuron(4096, 4096, 1, graded=True)), decimation((1,), 1 << 16)]
    with pytest.raises(ParameterError, match=r"/layer/1: expected messages of 32 bits, got 3072000000"):
        Simulator(graded, input_message_bits=24).run(np.full((1, 501), 1500))


# --- entries without neurons ------------------------------------------------------------------------------------------


def test_flatten_joins_channels_then_rows_then_columns():
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5) % 7
    layers = [input_layer((2, 3, 4), None), Layer("flatten", {"shape": np.array([24, 1, 1])}), dense(np.eye(24), None)]
    _, states = Simulator(layers, input_message_bits=8).run(x, record=[(1, "spike")])
    np.testing.assert_array_equal(states[1, "spike"], x.reshape(24, 5))


def test_averages_are_sums_that_stand_for_means():
    spiking = [dense(np.full((6, 1), 64), neuron(4096, 4096, 63)), averaging(2)]
    simulated = Simulator(spiking)
    found = simulated.run([[0, 1, 0]], "slayer")
    assert found.tolist() == [[0, 0, 3]] * 2
    assert simulated.output_scale == 1 / 3
    assert simulated.recordable[1] == ("spike",)


@pytest.mark.parametrize(("align", "bins"), [(None, [[2, 4, 3]]), ("slayer", [[2, 4, 3]])])
def test_decimation_sums_steps_and_completes_the_last_bin(align, bins):
    simulated = Simulator([dense([[64]], neuron(4096, 4096, 63)), decimation((1,), 4)])
    found = simulated.run([[0, 1, 1] + [1] * 8], align)
    assert found.tolist() == bins
    assert simulated.output_scale == 0.25


def test_synapses_divide_what_a_mean_stands_for():
    """3 of 4 channels and 2 of 4 steps: a mean of 3/8 times a weight of 1 adds 1536 of 4096."""
    layers = [dense([[64], [64], [64], [0]], neuron(4096, 4096, 63)), averaging(1), decimation((1,), 4)]
    layers.append(dense([[64], [-5]], neuron(4096, 4096, 1 << 18)))
    _, states = Simulator(layers).run([[0, 1, 1, 0, 0]], "slayer", [(3, "current")])
    assert states[3, "current"][:, 0].tolist() == [1536, -120]


def test_concat_joins_in_the_named_order():
    first, second = dense([[64]], neuron(4096, 4096, 63)), dense([[64], [0]], neuron(4096, 4096, 63))
    layers = [input_layer((1,), None), first, second, concat((4,), 2, 0, 1), dense(np.eye(4), None)]
    _, states = Simulator(layers).run([[1, 0, 1, 1]], record=[(3, "spike")])
    assert states[3, "spike"].tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 1], [0, 1, 0, 1]]


def test_concat_of_planes_joins_channels():
    rng = np.random.default_rng(0)
    layers = [input_layer((2, 3, 3), None), conv(rng, (2, 3, 3), 3, padding=(1, 1)), concat((5, 3, 3), 1, 0)]
    x = rng.random((2, 3, 3, 9)) < 0.5
    _, states = Simulator(layers).run(x, record=[(1, "spike"), (2, "spike")])
    np.testing.assert_array_equal(states[2, "spike"], np.concatenate([states[1, "spike"], x]))
    assert states[1, "spike"].any()


# --- populations ------------------------------------------------------------------------------------------------------


def test_neurons_hear_what_they_sent_a_step_before():
    """A ring of two neurons passes one spike on for ever; the second input bias makes its own current."""
    cell = neuron(4096, 4096, 63)
    fields = {"inFeatures": 1, "outFeatures": 2, "shape": [2], "weight": [[64], [0]], "weight_rec": [[0, 64], [64, 0]]}
    x = np.eye(1, 6, dtype=int)
    for align in (None, "slayer"):
        layers = [Layer("dense_rec", fields, cell)]
        assert Simulator(layers).run(x, align).tolist() == [[0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 1, 0]]
    layers = [Layer("dense_rec", fields | {"inputBias": [0, 3]}, cell)]
    _, states = Simulator(layers).run(np.zeros((1, 3)), record=[(0, "current")])
    assert states[0, "current"].tolist() == [[0, 0, 0], [192, 192, 192]]


def test_feedback_of_graded_neurons_is_counted_in_4096ths():
    fields = {"inFeatures": 1, "outFeatures": 1, "shape": [1], "weight": [[64]], "weight_rec": [[-3]], "delay": [2]}
    layers = [Layer("dense_rec", fields, neuron(4096, 4096, 10, graded=True))]
    found = Simulator(layers).run(np.eye(1, 6, dtype=int), "slayer")
    assert found.tolist() == [[0, 0, 0, 4096, 0, 0]]  # late by its delay and a step, and inhibited without either
    _, states = Simulator(layers).run(np.eye(1, 3, dtype=int), "slayer", [(0, "voltage"), (0, "current")])
    assert states[0, "current"].tolist() == [[4096, -192, 0]]


@pytest.mark.parametrize("align", [None, "slayer"])
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_delays_of_synapses(align, shape):
    """One spike at each input: what arrives is a weight at its own step."""
    delay = np.array([[0, 5, 2], [7, 1, 1]])[: len(shape)][-1 if len(shape) == 1 else slice(None)]
    weight = np.array([[10, -20, 30], [40, 50, -60]])
    layers = [dense(weight, neuron(4096, 4096, 1 << 18), delay=delay, side="input")]
    _, states = Simulator(layers).run(np.eye(3, 12, dtype=int), align, [(0, "current")])
    expected = np.zeros((2, 12))
    for k, i in np.ndindex(2, 3):
        expected[k, i + np.broadcast_to(delay, (2, 3))[k, i] + (align is None)] += 64 * weight[k, i]
    np.testing.assert_array_equal(states[0, "current"], expected)


@pytest.mark.parametrize(("shift", "first"), [(None, 1), (True, 1), (False, 0)])
def test_training_shifts_what_a_layer_sends(shift, first):
    layer = dense([[64]], neuron(4096, 4096, 63))
    fields = layer.fields | ({} if shift is None else {"delayShift": shift})
    simulated = Simulator([Layer("dense", fields, layer.neuron)])
    x = np.eye(1, 4, dtype=int)
    assert simulated.run(x, "slayer")[0].nonzero()[0].tolist() == [first]
    assert simulated.run(x)[0].nonzero()[0].tolist() == [1]  # Lava's synapses take their step all the same


def test_sums_of_planes_wrap_in_lavas_timing_only():
    """A payload of 2**18 times 64 leaves 24 bits; training has none."""
    cell = {"type": "SDNN", "sigma_output": True}
    layer = conv(np.random.default_rng(0), (1, 1, 1), 1, weight=np.full((1, 1, 1, 1), 64), cell=cell)
    simulated = Simulator([layer], input_message_bits=20)
    x = np.array([[[[1 << 18, 1, 0]]]])
    assert simulated.run(x).ravel().tolist() == [0, 0, 64]
    assert simulated.run(x, "slayer").ravel().tolist() == [1 << 24, (1 << 24) + 64, (1 << 24) + 64]


@pytest.mark.parametrize("align", [None, "slayer"])
def test_sums_of_graded_states_do_not_wrap(align):
    """2**21 (512.0) times 10 (0.15625) leaves 24 bits; the 80.0 that it stands for does not."""
    rng = np.random.default_rng(0)
    first = conv(rng, (1, 1, 1), 1, weight=np.full((1, 1, 1, 1), 2), cell=neuron(4096, 4096, 0, graded=True))
    second = conv(rng, (1, 1, 1), 1, weight=np.full((1, 1, 1, 1), 10), cell=neuron(4096, 4096, 1 << 18))
    simulated = Simulator([first, second], input_message_bits=20)
    x = np.array([[[[1 << 14, 0, 0]]]])
    _, states = simulated.run(x, align, [(0, "spike"), (1, "current")])
    assert states[0, "spike"].max() == 1 << 21
    assert states[1, "current"].max() == 80 << 12
