"""The simulator against a transcription of Lava's equations: equality, for whatever a file can hold."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ExchangeError, ParameterError, ShapeError
from lavadl_lite.exchange import Layer, Network, save
from lavadl_lite.netx import Simulator, simulator
from tests.reference import lava_lif

MANY = settings(max_examples=300)
STATES = ("current", "voltage", "spike")


# --- networks: as layers of a file, and as entries of the transcription ----------------------------------------------


def neuron(current_decay=1024, voltage_decay=128, threshold=80, graded=False, exponent=None):
    values = {"type": "CUBA", "iDecay": current_decay, "vDecay": voltage_decay, "vThMant": threshold, "refDelay": 1}
    values["gradedSpike"] = graded
    return values if exponent is None else {**values, "weight_exp": np.array([exponent], np.float32)}


def input_layer(shape, cell, weight=None, bias=None):
    fields = {"shape": np.array(shape)}
    fields |= {name: np.array([v], np.float32) for name, v in (("weight", weight), ("bias", bias)) if v is not None}
    return Layer("input", fields, cell)


def dense(weight, cell, bias=None, delay=None, side=None):
    weight = np.asarray(weight, np.float32)
    fields = {"inFeatures": weight.shape[1], "outFeatures": weight.shape[0], "shape": np.array(weight.shape[:1])}
    fields |= {"weight": weight}
    fields |= {} if bias is None else {"bias": np.asarray(bias, np.float32)}
    fields |= {} if delay is None else {"delay": np.asarray(delay, np.float32)}
    fields |= {} if side is None else {"delaySide": side}
    return Layer("dense", fields, cell)


def entry_of(layer):
    """A layer as the transcription has it."""
    entry = {}
    if layer.neuron is not None:
        cell = layer.neuron
        entry |= {"current_decay": cell["iDecay"], "voltage_decay": cell["vDecay"], "threshold": cell["vThMant"]}
        entry |= {"graded": cell["gradedSpike"], "exponent": int(cell.get("weight_exp", [0])[0])}
    if layer.type == "dense":
        fields = layer.fields
        entry["weight"] = fields["weight"].astype(np.int64)
        entry |= {name: fields[name].astype(np.int64) for name in ("bias", "delay") if name in fields}
    return entry


decays = st.one_of(st.integers(0, 4096), st.sampled_from([0, 1, 4095, 4096]))


@st.composite
def cells(draw, size):
    """A neuron; its decays shared, or one for each of ``size`` channels."""

    def decay():
        if draw(st.booleans()):
            return draw(decays)
        return np.array(draw(st.lists(decays, min_size=size, max_size=size)))

    return neuron(
        decay(),
        decay(),
        draw(st.one_of(st.integers(0, 400), st.integers(0, 1 << 17))),
        draw(st.booleans()),
        draw(st.one_of(st.none(), st.integers(-4, 4))),
    )


@st.composite
def networks(draw, plain=False):
    """Layers; ``plain`` ones start with synapses and have neither bias nor delays that only one side knows."""
    size = draw(st.integers(1, 5))
    layers = []
    if not plain and draw(st.booleans()):
        layers.append(input_layer((size,), draw(cells(size))))
    for _ in range(draw(st.integers(0 if layers else 1, 3))):
        before, size = size, draw(st.integers(1, 5))
        rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
        weight = rng.integers(-256, 255, (size, before))
        bias = (
            None if plain or draw(st.booleans()) else rng.integers(-4096, 4096, size) // draw(st.sampled_from([1, 99]))
        )
        delay = None if draw(st.booleans()) else rng.integers(0, 63, size)
        layers.append(dense(weight, draw(st.one_of(st.none(), cells(size), cells(size))), bias, delay))
    return layers


@st.composite
def inputs(draw, layers):
    """What goes into a network: spikes or integers, sparse or dense, of any length."""
    first = layers[0]
    size = int(first.fields["shape"][0]) if first.type == "input" else first.fields["inFeatures"]
    steps = draw(st.sampled_from([0, 1, 2, 7, 40, 90]))
    high = draw(st.sampled_from([1, 1, 100, 3000]))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    active = rng.random((size, steps)) < draw(st.sampled_from([0.1, 0.5, 1]))
    return rng.integers(-high, high + 1, (size, steps)) * active


@st.composite
def runs(draw):
    """A network, input for it, message bits and resets."""
    layers = draw(networks())
    bits = draw(st.sampled_from([0, 0, 8]))
    reset = draw(st.one_of(st.just((None, 0)), st.tuples(st.integers(1, 20), st.integers(0, 25))))
    return layers, draw(inputs(layers)), bits, reset


def check(layers, x, bits, reset, align):
    """Output and all states, or an error where Lava would leave its 32 bits."""
    reference = lava_lif.run_training if align else lava_lif.run_lava
    # an input layer of the training side takes units of the state; the simulator takes those of Lava's in-port
    scale = 64 if align and layers[0].type == "input" else 1
    run = Simulator(Network(tuple(layers)), None, 0, bits, *reset).run
    record = [(i, name) for i in range(len(layers)) for name in STATES]
    try:
        expected, states = reference([entry_of(layer) for layer in layers], x * scale, bits, *reset)
    except OverflowError:
        with pytest.raises(ParameterError, match="expected currents of 32 bits"):
            run(x, align)
        return
    found, recorded = run(x, align, record)
    assert found.dtype == np.int32
    for i, name in record:
        np.testing.assert_array_equal(recorded[i, name], states[i][name], f"{name} of layer {i}")
    np.testing.assert_array_equal(found, expected)


# --- equality with the equations -------------------------------------------------------------------------------------


@MANY
@given(run=runs())
def test_native_run_equals_lavas_processes(run):
    check(*run, align=None)


@MANY
@given(run=runs())
def test_aligned_run_equals_the_training_order(run):
    check(*run, align="slayer")


@MANY
@given(data=st.data())
def test_without_bias_and_resets_both_timings_agree(data):
    """Delaying what a neuron receives or what it sends is the same where the neuron knows no time of its own."""
    layers = data.draw(networks(plain=True))
    x = data.draw(inputs(layers)) != 0
    simulated = Simulator(layers)
    try:
        np.testing.assert_array_equal(simulated.run(x), simulated.run(x, "slayer"))
    except ParameterError as error:
        assert "32 bits" in str(error)  # noqa: PT017


@MANY
@given(data=st.data())
def test_an_input_neuron_runs_one_step_ahead_of_training(data):
    layer = input_layer((3,), data.draw(cells(3)))
    x = data.draw(inputs([layer]))
    simulated = Simulator([layer])
    np.testing.assert_array_equal(simulated.run(x)[:, :-1], simulated.run(x, "slayer")[:, 1:])


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


# --- resets ----------------------------------------------------------------------------------------------------------


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


# --- shapes, types, threads ------------------------------------------------------------------------------------------


def wide_network(rng):
    return [
        input_layer((2, 3, 4), neuron(iDecay_of(2), 200, 20), weight=40, bias=-7),
        Layer("flatten", {"shape": np.array([24, 1, 1])}),
        dense(2 * rng.integers(-128, 128, (7, 24)), neuron(), rng.integers(-9, 9, 7), rng.integers(0, 63, 7)),
        dense(2 * rng.integers(-128, 128, (3, 7)), neuron()),
    ]


def iDecay_of(channels):
    return np.linspace(0, 4096, channels).astype(int)


def test_axes_come_back_in_their_order():
    """A spatial network equals its flat twin: channels first, then rows, then columns."""
    rng = np.random.default_rng(1)
    layers = wide_network(rng)
    x = rng.integers(-40, 41, (5, 2, 3, 4, 60))
    spatial, states = Simulator(layers).run(x, record=[(0, "spike")])
    assert spatial.shape == (5, 3, 60)
    assert states[0, "spike"].shape == x.shape
    each = {**layers[0].neuron, "iDecay": np.repeat(layers[0].neuron["iDecay"], 12)}
    flat = [input_layer((24,), each), *layers[2:]]
    np.testing.assert_array_equal(Simulator(flat).run(x.reshape(5, 24, 60)), spatial)
    assert spatial.any()
    np.testing.assert_array_equal(Simulator(layers).run(x.reshape(5, 24, 60)), spatial)
    for n in range(5):
        np.testing.assert_array_equal(Simulator(layers).run(x[n]), spatial[n])
    assert Simulator(layers[:1]).run(x[0]).shape == (2, 3, 4, 60)


@pytest.mark.parametrize(
    "shape", [(4, 9), (1, 4, 9), (6, 4, 9), (4, 1, 1, 9), (6, 4, 1, 1, 9), (0, 4, 9), (4, 0), (0, 4, 0)]
)
def test_shapes_of_a_flat_network(shape):
    x = np.random.default_rng(0).random(shape) < 0.5
    batch = shape[:1] if len(shape) in (3, 5) else ()
    assert Simulator([dense(np.ones((2, 4)), neuron())]).run(x).shape == (*batch, 2, shape[-1])


@pytest.mark.parametrize("shape", [(), (4,), (5, 9), (6, 5, 9), (2, 2, 9), (4, 1, 9), (1, 6, 4, 9), (2, 6, 4, 1, 1, 9)])
def test_wrong_shapes(shape):
    with pytest.raises(ShapeError, match=r"expected input of shape \(\[N,\] 4, T\), got"):
        Simulator([dense(np.ones((2, 4)), neuron())]).run(np.zeros(shape))


@pytest.mark.parametrize("dtype", ["bool", "i1", "u1", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i4"])
def test_any_numeric_type_counts(dtype):
    x = np.random.default_rng(0).random((2, 4, 20)) < 0.5
    run = Simulator([dense(np.full((2, 4), 64), neuron())]).run
    np.testing.assert_array_equal(run(x.astype(dtype)), run(x))
    np.testing.assert_array_equal(run(np.asfortranarray(x.astype(dtype))), run(x))


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


def test_run_leaves_its_input_as_it_was():
    x = np.random.default_rng(0).integers(0, 2, (4, 20))
    before = x.copy()
    Simulator([dense(np.full((2, 4), 64), neuron())]).run(x)
    np.testing.assert_array_equal(x, before)


def test_progress_is_drawn_on_a_terminal_only(monkeypatch):
    tqdm = pytest.importorskip("tqdm")
    drawn = []

    class Bar:
        def __init__(self, **settings):
            drawn.append(settings["total"])
            self.update = drawn.append

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    run = Simulator([dense(np.full((2, 4), 64), neuron())]).run
    run(np.zeros((3, 4, 5)))
    assert drawn == []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(np.zeros((3, 4, 5)))
    assert drawn == [3, 3]


# --- part of a network, and where it comes from ----------------------------------------------------------------------


def test_parts_of_a_network():
    rng = np.random.default_rng(3)
    layers = wide_network(rng)
    x = rng.integers(-40, 41, (2, 3, 4, 60))
    whole, states = Simulator(layers).run(x, record=[(0, "spike"), (2, "spike")])
    np.testing.assert_array_equal(Simulator(layers, num_layers=3).run(x), states[2, "spike"])
    np.testing.assert_array_equal(Simulator(layers, num_layers=99).run(x), whole)
    spikes = states[0, "spike"]
    np.testing.assert_array_equal(Simulator(layers, skip_layers=1).run(spikes), whole)
    np.testing.assert_array_equal(Simulator(layers, skip_layers=2).run(spikes.reshape(24, 60)), whole)
    np.testing.assert_array_equal(Simulator(layers, skip_layers=3).run(states[2, "spike"]), whole)
    assert Simulator(layers, skip_layers=1).input_shape == (2, 3, 4)
    assert Simulator(layers, skip_layers=2).input_shape == (24,)
    assert Simulator(layers, num_layers=1).output_shape == (2, 3, 4)


def test_skipped_layers_tell_what_their_messages_are():
    graded = neuron(4096, 4096, 10, graded=True)
    layers = [input_layer((1,), graded), dense([[64]], neuron(4096, 4096, 1 << 18))]
    _, states = Simulator(layers, skip_layers=1).run([[4096, 0]], record=[(1, "current")])
    assert states[1, "current"].tolist() == [[0, 4096]]


def test_resets_count_the_kept_layers_only():
    layers = [dense([[0]], neuron(4096, 0, 1 << 18), bias=[1]) for _ in range(3)]
    arguments = {"reset_interval": 5, "reset_offset": 2}
    _, kept = Simulator(layers, skip_layers=1, **arguments).run(np.zeros((1, 12)), record=[(1, "voltage")])
    _, first = Simulator(layers, **arguments).run(np.zeros((1, 12)), record=[(0, "voltage")])
    np.testing.assert_array_equal(kept[1, "voltage"], first[0, "voltage"])


def test_files_networks_and_layers_are_the_same(tmp_path):
    rng = np.random.default_rng(4)
    layers = wide_network(rng)
    save(tmp_path / "a.net", layers)
    x = rng.integers(-40, 41, (2, 3, 4, 60))
    truth = Simulator(layers).run(x)
    for source in (tmp_path / "a.net", str(tmp_path / "a.net"), Network(tuple(layers)), tuple(layers)):
        np.testing.assert_array_equal(Simulator(source).run(x), truth)
    assert repr(Simulator(layers)) == "Simulator((2, 3, 4) -> (2, 3, 4) -> (7,) -> (3,))"


def test_the_first_entries_of_a_file_that_is_not_supported_whole(tmp_path):
    import h5py

    save(tmp_path / "a.net", [dense([[64]], neuron())])
    with h5py.File(tmp_path / "a.net", "a") as file:
        file["layer/1/type"] = np.array([b"average"], "S10")
    assert Simulator(tmp_path / "a.net", num_layers=1).run([[1, 1]]).shape == (1, 2)
    with pytest.raises(ExchangeError, match="/layer/1/type"):
        Simulator(tmp_path / "a.net")


# --- encoding --------------------------------------------------------------------------------------------------------

SIGNALS = st.one_of(
    st.floats(-5, 5, width=32),
    st.integers(-400, 400).map(lambda half: half / 64),  # halfway between two steps
    st.sampled_from([np.inf, -np.inf, -0.0, 1e-30, 3.96875, 3.984375, -4.015625]),
)


@MANY
@given(
    x=st.lists(SIGNALS, min_size=1, max_size=8),
    weight=st.one_of(st.none(), st.integers(-256, 254)),
    bias=st.one_of(st.none(), st.integers(-4096, 4095)),
)
def test_encoded_input_is_what_training_adds_to_the_current(x, weight, bias):
    """``trunc(4096 * (q(x) * q(w) + q(b)))`` in float32, as the block computes it."""
    x = np.array([x], np.float32)
    quantised = np.clip(np.round(x * np.float32(32)) / np.float32(32), np.float32(-4), np.float32(3.96875))
    real = quantised * np.float32((64 if weight is None else weight) / 64) + np.float32((bias or 0) / 64)
    expected = np.trunc(real * np.float32(4096)).astype(np.int64)
    simulated = Simulator([input_layer((1,), neuron(4096, 4096, 1 << 18), weight, bias)])
    encoded = simulated.encode(x)
    assert encoded.shape == x.shape
    np.testing.assert_array_equal(encoded.astype(np.float64) * 64, expected)
    assert encoded.dtype == (np.int32 if weight is None or weight % 64 == 0 else np.float32)
    _, states = simulated.run(encoded, record=[(0, "current")])
    np.testing.assert_array_equal(states[0, "current"], expected)
    whole = simulated.encode(x, whole=True)
    assert whole.dtype == np.int32
    np.testing.assert_array_equal(whole, np.trunc(expected / 64))


def test_without_input_neuron_there_is_nothing_to_encode():
    simulated = Simulator([dense([[64]], neuron())])
    encoded = simulated.encode([[0.0, 1.0, 3.0]])
    assert encoded.dtype == np.int32
    assert encoded.tolist() == [[0, 1, 3]]
    with pytest.raises(ParameterError, match=r"expected integers, got 0\.5"):
        simulated.encode([[0.5]])


def test_not_a_number_is_not_encoded():
    with pytest.raises(ParameterError, match="expected numbers, got NaN"):
        Simulator([input_layer((1,), neuron())]).encode([[np.nan]])


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_layers": 0}, "expected num_layers to be an integer of at least 1, got 0"),
        ({"num_layers": 1.5}, "expected num_layers"),
        ({"skip_layers": -1}, "expected skip_layers"),
        ({"skip_layers": 1}, "expected skip_layers below the 1 entries, got 1"),
        ({"skip_layers": None}, "expected skip_layers"),
        ({"input_message_bits": -1}, "expected input_message_bits"),
        ({"input_message_bits": 33}, "expected input_message_bits to be an integer of at least 0 and at most 24"),
        ({"reset_interval": 0}, "expected reset_interval"),
        ({"reset_offset": -1}, "expected reset_offset"),
        ({"reset_offset": True}, "expected reset_offset"),
        ({"spike_exp": -1}, "expected spike_exp"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ParameterError, match=message):
        Simulator([dense([[64]], neuron())], **arguments)


@pytest.mark.parametrize("source", [[], 3, [3], object(), [Layer("conv", {})]])
def test_what_is_no_network(source):
    with pytest.raises(ExchangeError):
        Simulator(source)


def test_a_network_without_neurons():
    layers = [input_layer((2, 1, 1), None), Layer("flatten", {"shape": np.array([2, 1, 1])})]
    with pytest.raises(ParameterError, match="expected a layer with neurons among entries 0 to 1, got none"):
        Simulator(layers)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.5]], r"expected integers, got 0\.5"),
        ([[np.nan]], "expected messages of at most 24 bits, got nan"),
        ([[np.inf]], "expected messages of at most 24 bits, got inf"),
        ([[1 << 24]], "expected messages of at most 24 bits, got 16777216"),
        ([[-(1 << 40)]], "expected messages of at most 24 bits"),
        ([["a"]], "expected numbers"),
        ([[1j]], "expected numbers"),
        ([[None]], "expected numbers"),
    ],
)
def test_wrong_messages(x, message):
    with pytest.raises(ParameterError, match=message):
        Simulator([dense([[64]], neuron())]).run(x)


def test_messages_between_the_steps_of_an_input_port():
    with pytest.raises(ParameterError, match=r"expected multiples of 1/64 \(see encode\), got 0\.3"):
        Simulator([input_layer((1,), neuron())]).run([[0.3]])


def test_currents_that_lava_cannot_hold():
    """Beyond 32 bits Lava's arithmetic has no defined result."""
    layers = [dense(np.full((1, 9), 254), neuron())]
    with pytest.raises(ParameterError, match=r"/layer/0: expected currents of 32 bits, got 2340864000 in sample 1"):
        Simulator(layers, input_message_bits=24).run(np.array([[[0, 0]] * 9, [[16000, 0]] * 9]))


@pytest.mark.parametrize("record", [[(1, "voltage")], [(0, "spikes")], ["voltage"], [(0,)], [0]])
def test_wrong_records(record):
    with pytest.raises(ParameterError, match=r"expected pairs of a layer in \[0\] and a state in"):
        Simulator([dense([[64]], neuron())]).run([[1]], record=record)


@pytest.mark.parametrize("align", ["lava", True, 0, "SLAYER"])
def test_wrong_alignment(align):
    with pytest.raises(ParameterError, match="expected align to be None or 'slayer'"):
        Simulator([dense([[64]], neuron())]).run([[1]], align)


# --- with the training side ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_aligned_run_equals_a_trained_network(seed, tmp_path):
    """Blocks with everything that a file can say: scaling, bias, delays, normalisation, graded spikes, read-out."""
    torch = pytest.importorskip("torch")
    from lavadl_lite import netx, slayer

    torch.manual_seed(seed)
    plain = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03}
    several = {**plain, "shared_param": False, "current_decay": (0.1, 0.9)}
    block = slayer.block.cuba
    net = torch.nn.Sequential(
        block.Input(plain, weight=1.2, bias=-0.3),
        block.Flatten(),
        block.Dense({**plain, "norm": slayer.neuron.norm.MeanOnlyBatchNorm}, 12, 9, weight_scale=3, delay=True),
        block.Dense({**several, "norm": slayer.neuron.norm.WgtScaleBatchNorm}, 9, 8, weight_scale=3, weight_norm=True),
        block.Dense({**plain, "graded_spike": True}, 8, 8, weight_scale=3),
        block.Dense(several, 8, 6, weight_scale=3, delay=True),
        block.Affine(plain, 6, 4),
    )
    x = 2 * torch.randn(5, 3, 2, 2, 60)
    for _ in range(3):
        net(x)
    net[2].delay.delay.data.uniform_(0, 20)
    net.eval()
    netx.save(net, tmp_path / "a.net")
    simulated = Simulator(tmp_path / "a.net")
    record = [(i, "spike") for i in (0, 2, 3, 4, 5)] + [(6, "voltage")]
    _, states = simulated.run(simulated.encode(x), "slayer", record)
    messages = x
    with torch.no_grad():
        for i, part in enumerate(net):
            messages = part(messages)
            if i == 1:
                continue
            if i == 6:
                messages = messages[0] if isinstance(messages, tuple) else messages
            real = np.array(messages.tolist())
            found = states[i, "voltage" if i == 6 else "spike"]
            np.testing.assert_array_equal(found / (4096 if i in (4, 6) else 1), real, f"layer {i}")
            assert real.any()
