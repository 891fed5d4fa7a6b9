"""To NIR and back gives the same integers, a graph's equations the same spikes; the rest is refused by name."""

import dataclasses
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite import netx
from lavadl_lite.errors import ExchangeError, ParameterError
from lavadl_lite.exchange import Layer, save
from tests.netx.networks import dense, input_layer, neuron

nir = pytest.importorskip("nir", reason="the package nir is not installed (extra nir)")

NEVER = (1 << 18) - 1
MOVES = {"stride": np.array([1, 1]), "padding": np.array([0, 0]), "dilation": np.array([1, 1])}


def flatten(size):
    return Layer("flatten", {"shape": np.array([size, 1, 1])})


def conv(rng, shape, before, kernel, cell, *, groups=1, **more):
    weight = rng.integers(-256, 255, (shape[0], before // groups, *kernel)).astype(np.float32)
    sizes = {"inChannels": before, "outChannels": shape[0], "groups": groups, "kernelSize": np.array(kernel)}
    return Layer("conv", {**sizes, "shape": np.array(shape), "weight": weight, **MOVES, **more}, cell)


def pool(shape, kernel, value, cell, **more):
    weight = np.full((1, 1, *kernel), value, np.float32)
    fields = {"kernelSize": np.array(kernel), "shape": np.array(shape), "weight": weight, **MOVES}
    return Layer("pool", {**fields, "stride": np.array(kernel), **more}, cell)


def planes(rng):
    """Planes of all kinds that both sides have: oblong kernels, groups, strides, pooling, delays, biases."""
    delay = rng.integers(1, 63, 6).astype(np.float32)
    bias = rng.integers(-300, 300, 6).astype(np.float32)
    moves = {"stride": np.array([2, 1]), "padding": np.array([1, 0]), "dilation": np.array([1, 2])}
    return [
        input_layer((2, 9, 8), neuron(4096, 300, 40), weight=100, bias=-7),
        conv(rng, (6, 5, 4), 2, (3, 3), neuron(700, 300, 40), groups=2, **moves, bias=bias, delay=delay),
        pool((6, 1, 2), (5, 2), 18, neuron(4096, np.arange(1, 7), 40)),
        conv(rng, (4, 1, 1), 6, (1, 2), neuron(4096, 4096, 9), bias=bias[:4]),
        flatten(4),
        dense(rng.integers(-256, 255, (3, 4)), neuron(1, 1, NEVER)),
    ]


def check_equal(given_layers, found):
    """The same entries, whatever types NumPy has for them; a bias or a delay of 0 may be left out."""
    given_layers = netx._files.layers_of(given_layers)
    assert [layer.type for layer in found] == [layer.type for layer in given_layers]
    for one, other in zip(given_layers, found, strict=True):
        for left, right in ((one.fields, other.fields), (one.neuron or {}, other.neuron or {})):
            for name in left.keys() | right.keys():
                if name == "delaySide" and not np.any(left.get("delay", 0)):
                    continue
                usual = {"weight": 64, "delaySide": "output"}.get(name, 0)
                np.testing.assert_array_equal(left.get(name, usual), right.get(name, usual), f"{one.type} {name}")
        assert (one.neuron is None) == (other.neuron is None)


# --- there and back ---------------------------------------------------------------------------------------------------

decays = st.one_of(st.integers(1, 4096), st.sampled_from([1, 4095, 4096]))


@st.composite
def chains(draw):
    """Dense layers with everything that NIR can say of them."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    size = draw(st.integers(1, 5))
    layers = []
    for last in [False] * draw(st.integers(0, 2)) + [True]:
        before, size = size, draw(st.integers(1, 5))
        each = rng.integers(1, 4097, (2, size))
        current, voltage = (draw(decays) if draw(st.booleans()) else row for row in each)
        cell = neuron(current, voltage, draw(st.one_of(st.integers(0, 1000), st.integers(0, (1 << 24) - 1))))
        cell = None if last and draw(st.booleans()) else cell
        bias = rng.integers(-4096, 4096, size) if draw(st.booleans()) else None
        delay = rng.integers(0, 63, size) if cell and draw(st.booleans()) else None
        side = draw(st.sampled_from(["input", "output"])) if delay is not None else None
        layers.append(dense(rng.integers(-256, 255, (size, before)), cell, bias, delay, side))
    return layers


@settings(max_examples=50)
@given(chains(), st.sampled_from([1e-4, 1e-3, 1.0, 0.3]))
def test_there_and_back(layers, dt):
    check_equal(layers, netx.from_nir(netx.to_nir(layers, dt), dt).layers)


@pytest.mark.parametrize("seed", range(3))
def test_planes_there_and_back_through_a_file(seed, tmp_path):
    layers = planes(np.random.default_rng(seed))
    nir.write(tmp_path / "a.nir", netx.to_nir(layers))
    check_equal(layers, netx.from_nir(tmp_path / "a.nir").layers)
    check_equal(layers, netx.from_nir(str(tmp_path / "a.nir")).layers)


def test_files_networks_and_blocks(tmp_path):
    torch = pytest.importorskip("torch")
    from lavadl_lite.slayer import auto, block

    plain = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03}
    net = torch.nn.Sequential(block.cuba.Dense(plain, 4, 6, delay=True), block.cuba.Affine(plain, 6, 2))
    net(torch.zeros(1, 4, 3))
    net[0].delay.delay.data.uniform_(1, 20)
    netx.save(net, tmp_path / "a.net")
    for source in (net, tmp_path / "a.net", netx.load(tmp_path / "a.net")):
        back = netx.from_nir(netx.to_nir(source))
        check_equal(net, back.layers)
    again = auto.SequentialNetwork(back)
    x = (torch.rand(2, 4, 40) < 0.4).float()
    assert torch.equal(net.eval()(x), again.eval()(x))


# --- what the numbers mean --------------------------------------------------------------------------------------------


def test_constants_follow_the_equations():
    """Decays of 1/4 and 1/8 in steps of 0.1 ms are time constants of 0.4 and 0.8 ms, a bias of 1/2 a leak toward 4."""
    graph = netx.to_nir([dense([[64, -32]], neuron(1024, 512, 96), bias=[32])])
    assert list(graph.nodes) == ["input", "weight_0", "neuron_0", "output"]
    assert graph.edges == [("input", "weight_0"), ("weight_0", "neuron_0"), ("neuron_0", "output")]
    weight, cell = graph.nodes["weight_0"], graph.nodes["neuron_0"]
    assert isinstance(weight, nir.Linear)
    assert weight.weight.tolist() == [[1, -0.5]]
    assert isinstance(cell, nir.CubaLIF)
    expected = {"tau_syn": 4e-4, "tau_mem": 8e-4, "r": 8, "w_in": 4, "v_leak": 4, "v_threshold": 1.5, "v_reset": 0}
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(cell, name), [value], rtol=1e-6)
        assert getattr(cell, name).dtype == np.float32


def test_a_current_without_memory_is_a_lif():
    graph = netx.to_nir([dense([[64]], neuron(4096, 512, 96), bias=[32])], dt=1)
    weight, cell = graph.nodes["weight_0"], graph.nodes["neuron_0"]
    assert isinstance(weight, nir.Affine)
    assert weight.bias.tolist() == [0.5]
    assert isinstance(cell, nir.LIF)
    assert (cell.tau, cell.r, cell.v_leak, cell.v_threshold) == (8, 8, 0, 1.5)


def test_read_outs_have_no_threshold():
    for current, kind in ((4096, nir.LI), (512, nir.CubaLI)):
        graph = netx.to_nir([dense([[64]], neuron(current, 512, NEVER))])
        assert type(graph.nodes["neuron_0"]) is kind


def euler(graph, x, dt):
    """Spikes of a graph of dense layers, after its definition and Euler's method, in float64; x: (in, time)."""
    nodes = [graph.nodes[name] for name, _ in graph.edges][1:]
    for node in nodes:
        if isinstance(node, nir.Linear | nir.Affine):
            x = node.weight.astype(float) @ x + np.reshape(getattr(node, "bias", 0), (-1, 1))
        elif isinstance(node, nir.Delay):
            shifts = np.rint(node.delay / dt).astype(int)
            x = np.stack([np.concatenate([np.zeros(d), row])[: x.shape[1]] for d, row in zip(shifts, x, strict=True)])
        else:
            current, voltage, out = np.zeros(len(x)), np.zeros(len(x)), np.zeros_like(x)
            for t in range(x.shape[1]):
                if isinstance(node, nir.CubaLIF):
                    current = current + dt / node.tau_syn * (-current + node.w_in * x[:, t])
                    tau = node.tau_mem
                else:
                    current, tau = x[:, t], node.tau
                voltage = voltage + dt / tau * (node.v_leak - voltage + node.r * current)
                out[:, t] = voltage > node.v_threshold
                voltage = np.where(out[:, t], node.v_reset, voltage)
            x = out
    return x


@pytest.mark.parametrize("seed", range(8))
def test_the_equations_give_the_same_spikes(seed):
    """Over a few steps and with decays of 1/2, where integers round nothing off: each layer of ours answers later."""
    rng = np.random.default_rng(seed)
    T, dt = 6, 2.0**-10
    half = neuron(*rng.choice([2048, 4096], 2), 33)
    delay = rng.integers(0, 3, 5)
    side = ["input", "output"][seed % 2]
    layers = [
        dense(8 * rng.integers(-16, 31, (5, 4)), half, 8 * rng.integers(-4, 8, 5), delay, side),
        dense(8 * rng.integers(-16, 31, (3, 5)), neuron(2048, 4096, 17)),
    ]
    x = (rng.random((4, T)) < 0.5).astype(int)
    truth = euler(netx.to_nir(layers, dt), x, dt)
    ours = netx.Simulator(layers).run(np.pad(x, ((0, 0), (0, 2))), "slayer")
    assert truth.any()
    np.testing.assert_array_equal(ours[:, 2:], truth)


# --- graphs of others -------------------------------------------------------------------------------------------------


def graph_of(*nodes, shape=(2,)):
    return nir.NIRGraph.from_list(nir.Input({"input": np.array(shape)}), *nodes)


def lif(size=1, tau=4e-4, r=4.0, threshold=1.0, leak=0.0, **more):
    full = [np.full(size, value, np.float32) for value in (tau, r, leak, threshold)]
    return nir.LIF(*full, **{name: np.full(size, value, np.float32) for name, value in more.items()})


def linear(*rows):
    return nir.Linear(np.array(rows, np.float32))


def test_factors_go_into_weights_where_they_stay_integers():
    (layer,) = netx.from_nir(graph_of(linear([1, 0.5]), lif(r=8.0))).layers
    assert layer.fields["weight"].tolist() == [[128, 64]]
    assert layer.neuron["vThMant"] == 64


def test_factors_go_into_the_threshold_otherwise():
    (layer,) = netx.from_nir(graph_of(linear([1, 33 / 64]), lif(tau=1.6e-3, r=1.0, leak=4))).layers
    assert layer.fields["weight"].tolist() == [[64, 33]]
    assert layer.neuron["vThMant"] == 64 * 16
    assert layer.neuron["vDecay"] == 256
    assert layer.fields["bias"].tolist() == [4 * 64]


def test_the_nearest_is_named_and_taken_on_demand():
    graph = graph_of(linear([0.3, 9]), lif())
    with pytest.raises(ExchangeError, match=r"/node/linear \(Linear\): weight: expected multiples of 1/64 in .*0\.3"):
        netx.from_nir(graph)
    (layer,) = netx.from_nir(graph, round=True).layers
    assert layer.fields["weight"].tolist() == [[19, 254]]
    graph = graph_of(linear([1, 1]), lif(tau=4.001e-4, r=4.001))
    with pytest.raises(ExchangeError, match=r"/node/lif \(LIF\): vDecay, .* integers in \[0, 4096\], .* being 1024"):
        netx.from_nir(graph)
    assert netx.from_nir(graph, round=True).layers[0].neuron["vDecay"] == 1024
    graph = graph_of(linear([1, 1]), lif(threshold=1.01))
    with pytest.raises(ExchangeError, match=r"v_threshold of its neurons: .* got 1\.0.*, the nearest being 1\.015625"):
        netx.from_nir(graph)
    assert netx.from_nir(graph, round=True).layers[0].neuron["vThMant"] == 65


def test_what_float32_loses_is_no_fault():
    """1 - 0.75 in float32, as other libraries keep a decay."""
    beta = np.float32(1) - np.float32(1000 / 4096)
    tau = np.float32(1e-4) / (np.float32(1) - beta)
    (layer,) = netx.from_nir(graph_of(linear([1, 1]), lif(tau=tau, r=tau / np.float32(1e-4)))).layers
    assert layer.neuron["vDecay"] == 1000
    assert layer.fields["weight"].tolist() == [[64, 64]]


def test_padding_by_name():
    weight = np.ones((1, 1, 3, 3), np.float32)
    for padding, pixels, size in (("same", 1, 4), ("valid", 0, 2)):
        node = nir.Conv2d((4, 4), weight, 1, padding, 1, 1, np.zeros(1, np.float32))
        _, layer = netx.from_nir(graph_of(node, lif((1, size, size)), shape=(1, 4, 4))).layers
        assert layer.fields["padding"].tolist() == [pixels, pixels]
        assert layer.fields["shape"].tolist() == [1, size, size]


def test_neurons_at_the_input():
    first, second = netx.from_nir(graph_of(lif(2, r=2.0), linear([1, 1]), lif())).layers
    assert (first.type, first.fields["weight"].tolist(), second.type) == ("input", [32], "dense")


REFUSED = {
    "several thresholds": (
        lambda: [linear([1, 1], [1, 1]), lif(2, threshold=[1, 2])],
        "one v_threshold for all",
    ),
    "reset": (lambda: [linear([1, 1]), lif(v_reset=0.5)], "expected v_reset of 0, got 0.5"),
    "bias before a current": (
        lambda: [nir.Affine(np.ones((1, 2)), np.ones(1)), netx.to_nir([dense([[1]], neuron())]).nodes["neuron_0"]],
        "expected no bias in front of a delay or a current with memory",
    ),
    "bias before a delay": (
        lambda: [nir.Affine(np.ones((1, 2)), np.ones(1)), nir.Delay(np.array([1e-4])), lif()],
        "expected no bias in front of a delay",
    ),
    "no neuron": (lambda: [linear([1, 1]), linear([1])], "expected neurons behind it, got /node/linear_1"),
    "scale": (lambda: [nir.Scale(np.ones(2))], r"/node/scale \(Scale\): cannot be expressed"),
    "lone delay": (lambda: [nir.Delay(np.ones(2))], r"/node/delay \(Delay\): cannot be expressed"),
    "long delay": (lambda: [linear([1, 1]), lif(), nir.Delay(np.array([63e-4]))], r"in \[0, 62\], got 63"),
    "part of a step": (lambda: [linear([1, 1]), lif(), nir.Delay(np.array([1.5e-4]))], r"got 1\.5"),
    "two delays": (
        lambda: [linear([1, 1]), nir.Delay(np.array([1e-4])), lif(), nir.Delay(np.array([1e-4]))],
        "a delay before or behind it, got both",
    ),
    "short time": (lambda: [linear([1, 1]), lif(tau=5e-5, r=0.5)], r"in \[0, 4096\], got 8192"),
    "integrate and fire": (lambda: [linear([1, 1]), nir.IF(np.ones(1), np.ones(1))], "/node/if"),
}


@pytest.mark.parametrize(("nodes", "message"), REFUSED.values(), ids=REFUSED)
def test_graphs_that_are_refused(nodes, message):
    with pytest.raises(ExchangeError, match=message):
        netx.from_nir(graph_of(*nodes()))


def test_only_chains_are_read():
    nodes = {"input": nir.Input({"input": np.array([2])}), "a": linear([1, 1]), "b": lif()}
    nodes["output"] = nir.Output({"output": np.array([1])})
    edges = [("input", "a"), ("a", "b"), ("b", "output")]
    two = nir.NIRGraph(dict(nodes), [*edges, ("a", "output")], type_check=False)
    with pytest.raises(ExchangeError, match=r"/node/a \(Linear\): expected one node behind it, got b, output"):
        netx.from_nir(two)
    loop = nir.NIRGraph(dict(nodes), [*edges[:2], ("b", "a")], type_check=False)
    with pytest.raises(ExchangeError, match=r"/node/b \(LIF\): expected one node behind it, got a loop"):
        netx.from_nir(loop)
    beside = nir.NIRGraph({**nodes, "c": lif()}, edges, type_check=False)
    with pytest.raises(ExchangeError, match=r"/node/c \(LIF\): expected a chain of nodes, got one beside it"):
        netx.from_nir(beside)
    for nothing in (None, 3, nir.NIRGraph({}, [], type_check=False)):
        with pytest.raises(ExchangeError, match="expected a graph of NIR with one input, got 0"):
            netx.from_nir(nothing)


def test_files_that_are_no_graphs(tmp_path):
    save(tmp_path / "a.net", [dense([[64]], neuron())])
    with pytest.raises(ExchangeError, match=r"a\.net: expected a graph that nir can read"):
        netx.from_nir(tmp_path / "a.net")
    with pytest.raises(FileNotFoundError):
        netx.from_nir(tmp_path / "none.nir")


# --- networks that NIR has no words for -------------------------------------------------------------------------------

SDNN = {"type": "SDNN", "activation": "relu", "vThMant": 6}
RF = {"type": "RF_PHASE", "sinDecay": 5, "cosDecay": 6, "vThMant": 7}
ONE = {"inFeatures": 1, "outFeatures": 1, "shape": np.array([1]), "weight": np.array([[64]])}
COMPLEX = {**{k: v for k, v in ONE.items() if k != "weight"}, "weight/real": [[1]], "weight/imag": [[1]]}
REST = [dense([[64]], neuron())]
PLANE = [input_layer((1, 5, 5), None)]

UNSPEAKABLE = {
    "sigma-delta": ([Layer("dense", ONE, SDNN)], "/layer/0/neuron/type: .* NIR has no SDNN neuron"),
    "complex": ([Layer("dense", COMPLEX, RF)], "/layer/0/neuron/type: .* RF_PHASE"),
    "recurrent": ([Layer("dense_rec", {**ONE, "weight_rec": [[1]]}, neuron())], "/layer/0/type: .* dense_rec"),
    "graded": ([dense([[64]], neuron(graded=True))], "/layer/0/neuron/gradedSpike"),
    "exponent": ([dense([[64]], neuron(exponent=2))], "/layer/0/neuron/weight_exp"),
    "no leak": ([dense([[64]], neuron(0))], "/layer/0/neuron/iDecay: .* 1 is the nearest"),
    "no leak of the voltage": ([dense([[64]], neuron(9, np.array([0])))], "/layer/0/neuron/vDecay"),
    "sum in between": ([dense([[64]], None), *REST], "/layer/0/neuron: .* the end of a graph"),
    "no shift": ([Layer("dense", {**ONE, "delayShift": False}, neuron())], "/layer/0/delayShift"),
    "average": ([*REST, Layer("average", {"shape": [1]})], "/layer/1/type: .* average"),
    "no plane": ([conv(np.random.default_rng(0), (1, 2, 2), 1, (2, 2), neuron())], "/layer/0/type: expected an input"),
    "kernel": ([*PLANE, pool((1, 3, 3), (2, 2), 64, neuron())], "/layer/1/shape: .* leaves out kernels"),
    "offset": ([input_layer((1,), neuron(9), bias=3)], "/layer/0/bias: .* adds nothing to an input"),
}


@pytest.mark.parametrize(("layers", "message"), UNSPEAKABLE.values(), ids=UNSPEAKABLE)
def test_networks_that_are_refused(layers, message):
    with pytest.raises(ExchangeError, match=message):
        netx.to_nir(layers)


def test_pools_with_several_weights_or_holes():
    layer = pool((1, 2, 2), (2, 2), 64, neuron())
    plane = [input_layer((1, 4, 4), None)]
    netx.to_nir([*plane, layer])
    weight = layer.fields["weight"].copy()
    weight[0, 0, 0, 0] = 2
    with pytest.raises(ExchangeError, match=r"/layer/1/kernelSize: .* the same weight everywhere"):
        netx.to_nir([*plane, dataclasses.replace(layer, fields={**layer.fields, "weight": weight})])
    wide = {**layer.fields, "dilation": np.array([2, 2]), "stride": np.array([1, 1])}
    with pytest.raises(ExchangeError, match=r"/layer/1/dilation: .* a sum pool has none"):
        netx.to_nir([*plane, dataclasses.replace(layer, fields=wide)])


@pytest.mark.parametrize("dt", [0, -1, np.inf, np.nan, True, "1", None])
def test_steps_that_are_none(dt):
    with pytest.raises(ParameterError, match="expected dt to be a positive number of seconds"):
        netx.to_nir([dense([[64]], neuron())], dt)
    with pytest.raises(ParameterError, match="expected dt"):
        netx.from_nir(None, dt)


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ImportError, match=r"pip install 'lavadl-lite\[nir\]'"):
        netx.to_nir([dense([[64]], neuron())])
    with pytest.raises(ImportError, match="nir"):
        netx.from_nir(tmp_path / "a.nir")
