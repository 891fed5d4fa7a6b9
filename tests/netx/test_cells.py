"""Neurons one by one, against what was measured in Lava; :mod:`.test_simulator_lava` compares all there can be."""

import numpy as np
import pytest

from lavadl_lite.exchange import Layer
from lavadl_lite.netx import Simulator
from tests.netx.networks import dense, input_layer, neuron


def one_neuron(x, **parameters):
    """States of one neuron fed through its in-port, as lists."""
    layer = input_layer((1,), neuron(**parameters))
    _, states = Simulator([layer]).run([x], record=[(0, "current"), (0, "voltage"), (0, "spike")])
    return [states[0, name][0].tolist() for name in ("current", "voltage", "spike")]


@pytest.mark.parametrize(("current_decay", "second"), [(1, 6398), (1024, 4800), (4096, 0), (0, 6400)])
def test_current_decay_as_lava_measured(current_decay, second):
    assert one_neuron([100, 0], current_decay=current_decay, threshold=1 << 17)[0] == [6400, second]


@pytest.mark.parametrize(("a", "u"), [(131072, 8388608), (-131072, 8388608), (131073, -8388544)])
def test_current_wraps_at_24_bits_as_lava_measured(a, u):
    assert one_neuron([a], threshold=1 << 18)[0] == [u]


def test_voltage_saturates():
    _, voltages, _ = one_neuron([131072, 131072, -131071, 0], current_decay=4096, voltage_decay=0, threshold=1 << 18)
    assert voltages == [(1 << 23) - 1, (1 << 23) - 1, 63, 63]


@pytest.mark.parametrize(("a", "spike", "voltage"), [(10, 0, 640), (11, 1, 0)])
def test_threshold_is_strict_as_lava_measured(a, spike, voltage):
    _, voltages, spikes = one_neuron([a], threshold=10)
    assert (spikes, voltages) == ([spike], [voltage])


def test_dense_without_neuron_integrates_and_never_fires():
    weight = np.array([[254, -256]])
    spikes, states = Simulator([dense(weight, None)]).run([[1] * 9, [0, 1] + [0] * 7], record=[(0, "voltage")])
    assert not spikes.any()
    assert (states[0, "voltage"] // 64).tolist() == [[0, 254, 252, 506, 760, 1014, 1268, 1522, 1776]]


def test_graded_spikes_carry_the_voltage():
    """Training multiplies weights by voltages: 4096 * trunc-free sums of w * v, cut once."""
    graded = neuron(4096, 4096, 10, graded=True)
    layers = [input_layer((2,), graded), dense([[3, -5]], neuron(4096, 4096, 1 << 18))]
    x = np.array([[11, 0, 10], [0, 13, 2000]])
    spikes, states = Simulator(layers).run(x, "slayer", [(0, "spike"), (1, "current")])
    assert states[0, "spike"].tolist() == [[0, 704, 0], [0, 0, 832]]
    assert states[1, "current"].tolist() == [[0, 33, -65]]  # 3 * 704 / 64 and -5 * 832 / 64
    assert not spikes.any()


def test_payload_is_a_factor_and_a_spike_is_not():
    layers = [dense([[2]], neuron(4096, 4096, 1 << 18))]
    for bits, currents in ((0, [0, 128, 128, 0]), (5, [0, 128 * 7, -128, 0])):
        _, states = Simulator(layers, input_message_bits=bits).run([[7, -1, 0, 0]], record=[(0, "current")])
        assert states[0, "current"].tolist() == [currents]


@pytest.mark.parametrize(("side", "native", "aligned"), [("output", 4, 4), ("input", 4, 4), (None, 4, 4)])
def test_delay_without_bias(side, native, aligned):
    simulated = Simulator([dense([[64]], neuron(4096, 4096, 63), delay=[3], side=side)])
    x = np.eye(1, 10, dtype=int)
    assert simulated.run(x)[0].nonzero()[0].tolist() == [native]
    assert simulated.run(x, "slayer")[0].nonzero()[0].tolist() == [aligned]


@pytest.mark.parametrize(("side", "first"), [("output", 5), (None, 5), ("input", 2)])
def test_delay_after_a_neuron_with_bias_holds_back_its_own_spikes(side, first):
    """The bias fires in the second step; a delay on the input side does not touch that."""
    layers = [dense([[0]], neuron(4096, 0, 63), bias=[32], delay=[3], side=side)]
    spikes = Simulator(layers).run(np.zeros((1, 8)), "slayer")
    assert spikes[0].nonzero()[0][0] == first


def test_resets_are_staggered_natively_and_together_when_aligned():
    """Integrators under constant bias: a reset shows as a step back to one bias."""
    layers = [dense([[0]], neuron(4096, 0, 1 << 18), bias=[1]) for _ in range(3)]
    record = [(i, "voltage") for i in range(3)]
    x = np.zeros((1, 12))
    for align, offsets in ((None, (2, 3, 4)), ("slayer", (2, 2, 2))):
        _, states = Simulator(layers, reset_interval=5, reset_offset=2).run(x, align, record)
        for i, offset in enumerate(offsets):
            starts = (states[i, "voltage"][0] == 64).nonzero()[0].tolist()
            assert starts == sorted({0, *range(offset, 12, 5)})


def test_samples_after_each_other_equal_single_samples_when_aligned():
    """A reset at each sample's first step, and silence for what is still under way at its end."""
    rng = np.random.default_rng(0)
    layers = [dense(2 * rng.integers(-128, 128, (6, 6)), neuron(), rng.integers(-20, 20, 6)) for _ in range(3)]
    samples = rng.random((5, 6, 30)) < 0.4
    samples[..., -4:] = False
    single = Simulator([dense(layers[0].fields["weight"], neuron(), layers[0].fields["bias"])]).run(samples, "slayer")
    stream = np.concatenate(list(samples), axis=1)
    whole = Simulator(layers[:1], reset_interval=30).run(stream, "slayer")
    for n in range(5):
        np.testing.assert_array_equal(whole[:, 30 * n + 1 : 30 * n + 30], single[n, :, 1:])


# --- neurons that Lava lacks, and its resonators ----------------------------------------------------------------------


def adaptive(threshold, step, decay=(4096, 4096), **more):
    """An ALIF neuron that forgets its inputs at once."""
    cell = {"type": "ALIF", "iDecay": 4096, "vDecay": 4096, "vThMant": threshold, "vThStep": step}
    return cell | {"thDecay": decay[0], "refDecay": decay[1], **more}


def states_of(layer, x, **options):
    """Everything that can be recorded of one layer, by name, in training's timing."""
    simulated = Simulator([layer], **options)
    record = [(0, name) for name in simulated.recordable[0]]
    return {name: values.tolist() for (_, name), values in simulated.run(x, "slayer", record)[1].items()}


def test_a_spike_raises_the_threshold_and_starts_a_refractory_part():
    """Half of both is left a step later; the neuron fires at their sum."""
    found = states_of(dense([[64]], adaptive(16, 8, (2048, 2048), gradedSpike=True)), [[1, 1, 0, 1]])
    assert found["voltage"] == [[4096, 4096, 0, 4096]]
    assert found["threshold"] == [[1024 + 512, 1024 + 256 + 512, 1024 + 384, 1024 + 192 + 512]]
    assert found["refractory"] == [[2048, 1024 + 2 * 1280, 1792, 896 + 2 * 1216]]
    assert found["spike"] == [[0, 4096, 4096, 0]]  # a step later


def test_bias_and_exponent_act_on_what_arrives():
    """(5 * 1 + 2) / 4 of 64ths is cut once."""
    cell = adaptive(1 << 17, 0, weight_exp=[2])
    assert states_of(dense([[5]], cell, bias=[2]), [[1, 0]])["current"] == [[112, 32]]
    graded = [dense([[1]], neuron(4096, 4096, 0, graded=True)), dense([[1]], cell, bias=[-1])]
    _, states = Simulator(graded).run([[1, 0]], "slayer", [(1, "current")])
    assert states[1, "current"].tolist() == [[-16, -15]]  # (1 - 64) / 4 of 4096ths, toward zero


def rotating(kind, **changes):
    cell = {"type": kind, "sinDecay": 0, "cosDecay": 4096, "vThMant": 16, **changes}
    fields = {"inFeatures": 2, "outFeatures": 1, "shape": [1], "weight/real": [[64, 0]], "weight/imag": [[0, 64]]}
    return Layer("dense", fields, cell)


def test_a_resonator_turns_and_shrinks():
    found = states_of(rotating("RF_PHASE", sinDecay=2048, cosDecay=1024, vThMant=1 << 18), [[1, 0, 0], [0, 0, 0]])
    assert found["real"] == [[4096, 1024, 256 - 1024]]
    assert found["imag"] == [[0, 2048, 512 + 512]]


def test_a_phase_fires_where_it_passes_zero():
    x = [[1, 0, 0, 0, 0], [-1, 1, 0, -1, 2]]
    found = states_of(rotating("RF_PHASE", gradedSpike=True), x, input_message_bits=4)
    assert found["imag"] == [[-4096, 0, 0, -4096, 4096]]
    assert found["spike"] == [[0, 0, 4096, 0, 0]]
    assert Simulator([rotating("RF_PHASE")], input_message_bits=4).run(x).tolist() == [[0, 0, 1, 0, 0]]


def test_izhikevichs_resonator_is_left_below_its_threshold():
    x = [[3, 0, 0], [1, 0, 1]]
    found = states_of(rotating("RF_IZHIKEVICH", gradedSpike=True), x, input_message_bits=4)
    assert found["real"] == [[0, 0, 0]]
    assert found["imag"] == [[1023, 1023, 1023]]
    assert found["spike"] == [[0, 4096, 0]]


@pytest.mark.parametrize("kind", ["ADRF_PHASE", "ADRF_IZHIKEVICH"])
def test_an_adaptive_resonator_is_not_reset(kind):
    adaptation = {"vThStep": 64, "thDecay": 0, "refDecay": 4096}
    found = states_of(rotating(kind, **adaptation), [[2, 0, 0], [-1, 3, 0]], input_message_bits=4)
    assert found["real"] == [[8192, 8192, 8192]]
    assert found["imag"] == [[-4096, 8192, 8192]]
    fires = [False, True, kind != "ADRF_PHASE"]
    assert found["spike"] == [[0, 0, 1]]
    assert found["threshold"] == [(1024 + np.cumsum(fires) * 4096).tolist()]
    assert found["refractory"][0][:2] == [0, 2048]


def test_an_input_of_resonators_is_real():
    layer = input_layer((1,), {"type": "RF_IZHIKEVICH", "sinDecay": 4096, "cosDecay": 0, "vThMant": 10})
    found = states_of(layer, [[11, 0, 0]])
    assert found["spike"] == [[0, 0, 1]]
    assert found["real"] == [[704, 0, -639]]


def test_complex_weights_without_neuron_are_two_integrators():
    layer = rotating("RF_PHASE")
    fields = layer.fields | {"bias/real": [2], "bias/imag": [-3]}
    found = states_of(Layer("dense", fields), [[1, 0, 1], [0, 0, 3]], input_message_bits=4)
    assert found["real"] == [[4096 + 128, 4096 + 128, 8192 + 128]]
    assert found["imag"] == [[-192, -192, 3 * 4096 - 192]]
    assert found["spike"] == [[0, 0, 0]]
