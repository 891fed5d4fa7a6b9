"""Lava's network from a file: what it offers, what it refuses, and what each entry becomes."""

import numpy as np
import pytest

from lavadl_lite.errors import ExchangeError, ParameterError
from lavadl_lite.exchange import Layer, save
from lavadl_lite.netx import Simulator
from tests.lava.entries import cuba, dense, flatten, input_layer, plane, rf, sdnn
from tests.lava.running import Network, axes, run

RNG = np.random.default_rng(3)
BEFORE = (2, 6, 5)
LAYERS = [
    input_layer(BEFORE, cuba(RNG)),
    plane(RNG, "conv", BEFORE, 4, cuba(RNG), (3, 2), 2, stride=(1, 2), padding=(1, 0)),
    plane(RNG, "pool", (4, 6, 2), 4, cuba(RNG), (2, 2), stride=(2, 2)),
    flatten(12),
    dense(RNG, 12, 10, cuba(RNG), delay=np.arange(10)),
]
TABLE = """\
|   Type   |  W  |  H  |  C  | ker | str | pad | dil | grp |delay|
|Input     |    5|    6|    2|     |     |     |     |     |False|
|Conv      |    2|    6|    4| 2, 3| 2, 1| 0, 1| 1, 1|    2|False|
|Pool      |    1|    3|    4| 2, 2| 2, 2| 0, 0| 1, 1|     |False|
|Dense     |    1|    1|   10|     |     |     |     |     |True |"""


def kind(process):
    return type(process).__name__


@pytest.fixture
def path(tmp_path):
    save(tmp_path / "network.net", LAYERS)
    return str(tmp_path / "network.net")


def test_what_a_network_offers(path):
    net = Network(path)
    assert str(net) == net.net_str == TABLE
    assert len(net) == len(net.layers) == 4
    assert [layer.block for layer in net.layers] == ["Input", "Conv", "Unrolled", "Dense"]
    assert (net.in_layer, net.out_layer) == (net.layers[0], net.layers[-1])
    assert (net.inp.shape, net.out.shape) == ((5, 6, 2), (10,))
    assert net.in_layer.transform == {"weight": 64, "bias": 0}
    assert net.net_config["layer"][4]["outFeatures"] == 10
    assert (net.filename, net.spike_exp, net.input_message_bits, net.output_message_bits) == (path, 6, 0, 0)
    assert net.lag == -1
    assert kind(net.layers[3].synapse) == "DelayDense"
    with pytest.raises(ExchangeError, match=r"netx\.save"):
        net.out_layer.export_hdf5(None)


def test_a_part_of_a_network(path):
    net = Network(path, num_layers=3, skip_layers=1)
    assert [layer.block for layer in net.layers] == ["Conv", "Unrolled"]
    assert net.inp.shape == (5, 6, 2)
    assert Network(path, skip_layers=4).inp.shape == (12,)
    with pytest.raises(ParameterError, match="layer with neurons among the entries from 3"):
        Network(path, num_layers=4, skip_layers=3)


def test_a_network_in_memory_and_sparse_weights():
    net = Network(
        [dense(RNG, 4, 3, cuba(RNG), delay=np.array([1, 0, 2])), dense(RNG, 3, 2, cuba(RNG))], sparse_fc_layer=True
    )
    assert [kind(layer.synapse) for layer in net.layers] == ["DelaySparse", "Sparse"]
    assert net.net_config is None


def test_a_driven_port_and_an_own_bias(path):
    """An input block is fed through the port of the network, or by its neurons' bias, as users of lava-dl do."""
    x = RNG.integers(0, 40, (*BEFORE, 12))
    x[..., 1:] = x[..., :1]
    driven = run(Network(path, num_layers=1), x)[0]
    net = Network(path, num_layers=1)
    net.in_layer.neuron.du.init = 4095
    both = Network(path, num_layers=1)
    both.in_layer.neuron.du.init = 4095
    both.in_layer.neuron.bias_mant.init = axes(x)[..., 0]
    np.testing.assert_array_equal(run(net, x)[0], run(both, np.zeros_like(x))[0])
    assert driven.any()


def offsets(net):
    return [layer.neuron.proc_params.get("reset_offset") for layer in net.layers]


def test_resets_are_staggered_or_as_in_training(path):
    def phases(**options):
        return offsets(Network(path, reset_interval=7, **options))

    assert phases() == [1, 2, 3, 4]
    assert phases(reset_offset=3) == [4, 5, 6, 7]
    with pytest.raises(ParameterError, match="/layer/4/delay: expected none behind neurons that are reset"):
        phases(align="slayer")


def test_training_resets_spiking_layers_together_and_sigma_delta_ones_in_turn():
    spiking = Network([dense(RNG, 3, 3, cuba(RNG)) for _ in range(3)], reset_interval=7, align="slayer")
    assert offsets(spiking) == [2, 2, 2]
    changes = Network([dense(RNG, 3, 3, sdnn(RNG)) for _ in range(3)], align="slayer")
    assert (spiking.lag, changes.lag) == (0, 3)


REFUSED = {
    "average": ([*LAYERS[4:], Layer("average", {"shape": np.array([5])})], "/layer/1/type: .*num_layers"),
    "graded": ([dense(RNG, 3, 3, {**cuba(RNG), "gradedSpike": True})], "/layer/0/neuron/gradedSpike: .*graded_spike"),
    "kinds": ([dense(RNG, 3, 3, cuba(RNG)), dense(RNG, 3, 3, sdnn(RNG))], "/layer/1/neuron/type: .*one|alone"),
    "bias": ([dense(RNG, 3, 3, cuba(RNG), bias=np.ones(3), delay=np.ones(3))], "/layer/0/delay: .*delaySide"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_lava_would_compute_differently_is_refused(case):
    layers, message = REFUSED[case]
    with pytest.raises(ParameterError, match=message):
        Network(layers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"align": "netx"}, "align"),
        ({"skip_layers": 9}, "layer with neurons"),
        ({"num_layers": 9, "reset_interval": 0}, "reset_interval"),
    ],
)
def test_wrong_arguments(path, options, message):
    with pytest.raises(ParameterError, match=message):
        Network(path, **options)


def test_planes_without_a_known_shape():
    layers = [LAYERS[1]]
    with pytest.raises(ParameterError, match=r"input_shape \(W, H, C\)"):
        Network(layers)
    assert Network(layers, input_shape=(5, 6, 2)).inp.shape == (5, 6, 2)
    with pytest.raises(ExchangeError, match="/layer/0/shape"):
        Network(layers, input_shape=(9, 6, 2))


def test_neurons_that_a_bias_alone_fires_at_once_cannot_wait():
    neuron = {"type": "CUBA", "iDecay": 4096, "vDecay": 4096, "vThMant": 5}
    for size, refused in ((4, False), (6, True)):
        layers = [dense(RNG, 3, 3, neuron, bias=np.full(3, size))]
        if refused:
            with pytest.raises(ParameterError, match="/layer/0/bias"):
                Network(layers, align="slayer")
        else:
            assert len(Network(layers, align="slayer")) == 1


def test_neurons_of_a_file():
    own = Network.get_neuron_params
    neuron = cuba(RNG)
    params = own(neuron)
    assert params["neuron_proc"].__name__ == "LIF"
    assert (params["du"], params["dv"], params["vth"]) == (neuron["iDecay"] - 1, neuron["vDecay"], neuron["vThMant"])
    assert own({**neuron, "type": "LOIHI"}, reset_interval=4, reset_offset=2)["neuron_proc"].__name__ == "LIFReset"
    assert own(sdnn(RNG), input=True)["neuron_proc"].__name__ == "Delta"
    assert own(sdnn(RNG))["neuron_proc"].__name__ == "SigmaDelta"
    assert own({"type": "SDNN", "sigma_output": True})["neuron_proc"].__name__ == "Sigma"
    params = own(rf(RNG))
    assert params["neuron_proc"].__name__ == "RF"
    rotation = (1 - params["alpha"]) * np.exp(2j * np.pi / params["period"]) * 4096
    np.testing.assert_allclose([rotation.imag, rotation.real], [params["sin_decay"], params["cos_decay"]])
    with pytest.raises(ParameterError, match="ALIF"):
        own({**neuron, "type": "ALIF"})


def test_entries_one_by_one(path):
    config = Network(path).net_config["layer"]
    made = [
        Network.create_input(config[0]),
        Network.create_conv(config[1], (5, 6, 2)),
        Network.create_pool(config[2], (2, 6, 4)),
        Network.create_dense(config[4], sparse_synapse=True),
        Network.create_dense(dense(RNG, 2, 2, cuba(RNG), feedback=True), rec=True),
    ]
    assert [block.block for block, _ in made] == ["Input", "Conv", "Unrolled", "Dense", "RecurrentDense"]
    assert [row for _, row in made[:4]] == TABLE.splitlines()[1:]
    assert kind(made[3][0].synapse) == "DelaySparse"
    assert kind(made[4][0].synapse_rec) == "Dense"
    for create in (Network.create_average, Network.create_concat, Network.create_dense):
        with pytest.raises(ParameterError, match="expected an entry of type"):
            create(config[0])
    with pytest.raises(ParameterError, match="Lava has no process for a layer of type average"):
        Network.create_average(Layer("average", {"shape": np.array([5])}))


def test_resonators_rotate_by_what_the_file_holds():
    """Lava's own constructor rounds a period; 35 in 100 of all files would rotate by other integers."""
    for _ in range(20):
        neuron = rf(RNG)
        process = Network([dense(RNG, 2, 2, neuron)]).in_layer.neuron
        assert (process.sin_decay.init, process.cos_decay.init) == (neuron["sinDecay"], neuron["cosDecay"])


def test_wide_images():
    """Sizes above 127 do not overflow, whatever NumPy makes of Lava's 8 bits."""
    layers = [input_layer((1, 2, 200)), plane(RNG, "conv", (1, 2, 200), 3, {**cuba(RNG), "vThMant": 1}, (1, 2))]
    x = RNG.integers(0, 2, (1, 2, 200, 6))
    (sent,) = run(Network(layers), x)
    assert sent[..., 150:, :].any()
    np.testing.assert_array_equal(sent, Simulator(layers).run(x))


def test_weights_of_zero():
    layer = dense(RNG, 3, 2, {**cuba(RNG), "vThMant": 1})
    zero = Layer("dense", {**layer.fields, "weight": 0 * layer.fields["weight"]}, layer.neuron)
    assert not run(Network([zero]), RNG.integers(0, 2, (3, 6)))[0].any()


def test_encode_gives_what_the_port_takes(path):
    x = RNG.normal(size=(*BEFORE, 4)).astype(np.float32)
    encoded = Network(path).encode(x)
    np.testing.assert_array_equal(axes(encoded), 64 * np.clip(np.rint(x * 32) / 32, -4, 4 - 1 / 32))
    spikes = RNG.integers(0, 2, (12, 4))
    np.testing.assert_array_equal(Network(path, skip_layers=4).encode(spikes), spikes)
    plane = RNG.integers(0, 2, (*BEFORE, 3))
    np.testing.assert_array_equal(axes(Network([LAYERS[1]], input_shape=(5, 6, 2)).encode(plane)), plane)


def test_odd_weights_that_no_synapse_holds():
    layer = dense(RNG, 3, 2, cuba(RNG))
    odd = Layer("dense", {**layer.fields, "weight": np.array([[-255, 253, 1], [2, 3, 4]])}, layer.neuron)
    with pytest.raises(ParameterError, match="/layer/0/weight: expected weights that fit 8 bits"):
        Network([odd])
