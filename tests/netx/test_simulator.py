"""The simulator as it is called: shapes, types, parts of a network, encoding, and what is refused."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ExchangeError, ParameterError, ShapeError
from lavadl_lite.exchange import Layer, Network, save
from lavadl_lite.netx import Simulator
from tests.netx.networks import dense, input_layer, neuron, wide_network
from tests.strategies import examples


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
    assert drawn == [15, 15]


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
        file["layer/1/type"] = np.array([b"residual"], "S10")
    assert Simulator(tmp_path / "a.net", num_layers=1).run([[1, 1]]).shape == (1, 2)
    with pytest.raises(ExchangeError, match="/layer/1/type"):
        Simulator(tmp_path / "a.net")


# --- encoding --------------------------------------------------------------------------------------------------------

SIGNALS = st.one_of(
    st.floats(-5, 5, width=32),
    st.integers(-400, 400).map(lambda half: half / 64),  # halfway between two steps
    st.sampled_from([np.inf, -np.inf, -0.0, 1e-30, 3.96875, 3.984375, -4.015625]),
)


@settings(max_examples=examples(100))
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


# --- bad input --------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("source", [[], 3, [3], object(), [Layer("conv", {})], [Layer("none", {})]])
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


@pytest.mark.parametrize("record", [[(1, "voltage")], [(0, "spikes")], ["voltage"], [(0,)], [0]])
def test_wrong_records(record):
    with pytest.raises(
        ParameterError, match=r"expected pairs of a layer and a state out of \{0: \('spike', 'current', 'voltage'\)\}"
    ):
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
