"""From entries to stages: shapes, what messages stand for, where they come from, and what cannot be run."""

import numpy as np
import pytest

from lavadl_lite.errors import ExchangeError, ParameterError
from lavadl_lite.exchange import Layer, check_layer
from lavadl_lite.netx import Simulator
from lavadl_lite.netx._plan import MESSAGE_MAX, Form, plan
from tests.netx.networks import conv, dense, input_layer, neuron

RNG = np.random.default_rng(0)
SDNN = {"type": "SDNN", "activation": "relu", "vThMant": 3}


def averaging(outputs):
    return Layer("average", {"shape": np.array([outputs])})


def decimation(shape, factor):
    return Layer("decimation", {"shape": np.array(shape), "factor": factor})


def concat(shape, *layers):
    return Layer("concat", {"shape": np.array(shape), "layers": np.array(layers)})


def stages(layers, *arguments, **options):
    return plan([check_layer(layer) for layer in layers], *arguments, **options).stages


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


# --- what messages stand for ------------------------------------------------------------------------------------------

SPIKE, GRADED = Form(), Form(12, top=1 << 23, wraps=False)


@pytest.mark.parametrize(
    ("cell", "spike_exp", "form"),
    [
        (neuron(), 6, SPIKE),
        (neuron(graded=True), 6, GRADED),
        (None, 6, SPIKE),
        (SDNN, 6, Form(12, top=(1 << 31) - 1)),
        (SDNN, 2, Form(8, top=(1 << 31) - 1)),
        ({"type": "SDNN", "sigma_output": True}, 2, Form(14, top=(1 << 31) - 1)),
    ],
)
def test_neurons_send(cell, spike_exp, form):
    first, second = stages([dense([[2]], cell), dense([[2]], neuron())], spike_exp=spike_exp)
    assert first.sends == second.takes == form
    assert Simulator([dense([[2]], cell)], spike_exp=spike_exp).output_scale == 2.0**-form.bits


@pytest.mark.parametrize(
    ("layers", "bits", "port", "spikes"),
    [
        ([dense([[2]], neuron())], 0, Form(), True),
        ([dense([[2]], neuron())], 3, Form(top=MESSAGE_MAX), False),
        ([dense([[2]], SDNN)], 3, Form(12, top=MESSAGE_MAX), False),
        ([input_layer((1,), None), dense([[2]], SDNN)], 0, Form(12), True),
        ([input_layer((1,), neuron())], 0, Form(6, top=MESSAGE_MAX * 64), False),
        ([input_layer((1,), SDNN), dense([[2]], neuron())], 3, Form(6, top=MESSAGE_MAX * 64), False),
    ],
)
def test_the_in_port_carries(layers, bits, port, spikes):
    found = plan([check_layer(layer) for layer in layers], 0, bits)
    assert (found.port, found.spikes) == (port, spikes)


@pytest.mark.parametrize(
    ("count", "form"),
    [(1, Form(12, 1, 5)), (8, Form(15, 1, 40)), (6, Form(13, 3, 30)), (1 << 31, Form(43, 1, (1 << 31) - 1))],
)
def test_sums_stand_for_means(count, form):
    found = Form(12, 1, 5).mean(count)
    assert found == form
    assert found.scale == 2.0**-12 / count


def test_means_keep_their_meaning_on_their_way():
    layers = [dense(np.ones((12, 1)), neuron()), decimation((12,), 4), averaging(3), concat((6,), 2, 2)]
    assert [stage.sends for stage in stages(layers)] == [SPIKE, Form(2, top=4), Form(4, top=16), Form(4, top=16)]
    assert Simulator(layers[:3]).output_scale == 1 / 16


# --- where they come from ---------------------------------------------------------------------------------------------


def test_sources():
    layers = [
        input_layer((2,), None),
        dense(np.ones((3, 2)), neuron()),
        concat((5,), 1, 0),
        dense(np.ones((1, 5)), None),
    ]
    assert [stage.sources for stage in stages(layers)] == [(-1,), (0,), (1, 0), (2,)]
    assert [stage.order for stage in stages(layers)] == [None, 0, None, 1]
    assert [stage.before for stage in stages(layers)] == [(2,), (2,), (3,), (5,)]
    assert [stage.sources for stage in stages(layers, 1)] == [(0,), (1, 0), (2,)]
    with pytest.raises(ParameterError, match=r"/layer/2/layers: expected entries from 1 on, .* got \(1, 0\)"):
        stages(layers, 2)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            neuron(),
            neuron(graded=True),
            r"/layer/3/layers: expected entries with messages of the same size, got \[\(0, 1\)",
        ),
        (neuron(), SDNN, "/layer/3/layers: expected entries with messages"),
    ],
)
def test_messages_that_cannot_be_joined(first, second, message):
    layers = [input_layer((1,), None), dense([[1]], first), dense([[1]], second), concat((2,), 1, 2)]
    with pytest.raises(ParameterError, match=message):
        Simulator(layers)


def test_steps_that_cannot_be_joined():
    layers = [dense([[1]], neuron()), decimation((1,), 2), dense([[1]], neuron()), concat((2,), 0, 2)]
    with pytest.raises(
        ParameterError, match=r"/layer/3/layers: expected entries with steps of the same size, got \[1, 2\]"
    ):
        Simulator(layers)


# --- shapes -----------------------------------------------------------------------------------------------------------


def moved(kind, shape, stride, before=(1, 4, 4), kernel=(2, 2)):
    pairs = {"kernelSize": kernel, "stride": stride, "padding": (0, 0), "dilation": (1, 1), "shape": shape}
    weight = np.ones((1, 1, *kernel))
    channels = {} if "pool" in kind else {"inChannels": 1, "outChannels": 1, "groups": 1}
    return Layer(kind, pairs | {"weight": weight} | channels, neuron())


@pytest.mark.parametrize(
    ("layer", "before"),
    [
        (conv(RNG, (2, 7, 9), 3, padding=(1, 0)), (2, 7, 9)),
        (moved("convT", (1, 6, 4), (2, 1)), (1, 3, 3)),
        (moved("unpool", (1, 6, 4), (2, 1)), (1, 3, 3)),
        (moved("pool", (1, 3, 3), (1, 1)), (1, 4, 4)),
        (averaging(3), None),
        (moved("conv", (1, 3, 3), (2, 1)), None),
        (moved("pool", (1, 3, 3), (2, 2)), None),
    ],
)
def test_the_first_layer_tells_what_it_takes_where_that_is_certain(layer, before):
    rest = [] if layer.neuron else [dense(np.ones((1, 3)), neuron())]
    if before is not None:
        assert Simulator([layer, *rest]).input_shape == before
        return
    with pytest.raises(ParameterError, match="/layer/0: expected input_shape beside a network that starts with"):
        Simulator([layer, *rest])


def test_a_given_input_shape():
    layer = moved("conv", (1, 3, 3), (2, 1))
    for shape in ((1, 6, 4), (1, 7, 4)):
        simulated = Simulator([layer], input_shape=shape)
        assert simulated.input_shape == shape
        assert simulated.run(np.ones((*shape, 5))).shape == (1, 3, 3, 5)
    with pytest.raises(ExchangeError, match=r"shape: expected \(1, 2, 3\) after a layer of shape \(1, 5, 4\)"):
        Simulator([layer], input_shape=(1, 5, 4))
    with pytest.raises(ParameterError, match=r"expected input_shape \(2,\) as the input entry has it, got \(3,\)"):
        Simulator([input_layer((2,), neuron())], input_shape=(3,))
    with pytest.raises(ParameterError, match="expected each of input_shape to be an integer of at least 1, got 0"):
        Simulator([layer], input_shape=(1, 0, 4))


# --- what cannot be run -----------------------------------------------------------------------------------------------


def test_no_neuron_is_left():
    layers = [dense([[1]], neuron()), Layer("flatten", {"shape": np.array([1, 1, 1])})]
    with pytest.raises(ParameterError, match="expected a layer with neurons among entries 1 to 1, got none"):
        stages(layers, 1)


def test_synapses_take_no_third():
    layers = [dense(np.ones((3, 1)), neuron()), averaging(1), dense([[1]], neuron())]
    with pytest.raises(
        ParameterError, match=r"/layer/2: expected .* a power of two of channels, got multiples of 1 / \(3 \*"
    ):
        Simulator(layers)


def test_sums_that_do_not_fit():
    layers = [dense(np.full((1, 1 << 12), 254), {**SDNN, "activation": "identity"})]
    assert Simulator(layers, input_message_bits=24).output_shape == (1,)
    layers = [input_layer((1 << 12,), None), decimation((1 << 12,), 1 << 16), dense(np.full((1, 1 << 12), 254), SDNN)]
    assert Simulator(layers).output_shape == (1,)
    with pytest.raises(ParameterError, match=r"/layer/0: expected sums of messages below 2\*\*62, got up to"):
        Simulator(
            [
                dense(
                    np.full((1, 1 << 16), 254),
                    {**neuron(exponent=-16), "type": "ALIF", "thDecay": 1, "refDecay": 1, "vThStep": 1},
                )
            ],
            input_message_bits=24,
        )
