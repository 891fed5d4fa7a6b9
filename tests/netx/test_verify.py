"""Equal runs are found equal, and one changed number is found where it is: layer, step, neuron and both values."""

import dataclasses
import importlib.util
import sys

import numpy as np
import pytest

from lavadl_lite import netx
from lavadl_lite.errors import ParameterError
from lavadl_lite.netx.verify import compare
from tests.netx.networks import dense, neuron
from tests.reference import lava

verify = sys.modules["lavadl_lite.netx.verify"]  # the function of this name hides the module
PLAIN = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03}


# --- comparing arrays -------------------------------------------------------------------------------------------------


def pair(layer, state, changes=(), shape=(2, 3, 4, 5)):
    left = np.arange(np.prod(shape), dtype=float).reshape(shape)
    right = left.copy()
    for place in changes:
        right[place] = -1
    return (layer, state), left, right


def test_equal_arrays():
    result = compare("one", "other", [pair(0, "spike"), pair(2, "voltage"), pair(2, "spike")])
    assert result
    assert result.difference is None
    assert str(result) == "one and other are equal: 360 values of layers 0, 2"
    assert str(compare("one", "other", [pair(None, "output")])) == "one and other are equal: 120 values"


def test_the_first_layer_then_the_first_step_then_the_first_neuron():
    wrong = [(1, 0, 0, 2), (1, 2, 3, 1), (0, 2, 3, 1), (1, 0, 1, 1), (0, 0, 0, 4)]
    pairs = [pair(0, "spike"), pair(1, "current", wrong[:1]), pair(1, "spike", wrong), pair(2, "spike", [(0, 0, 0, 0)])]
    result = compare("one", "other", pairs)
    assert not result
    first = result.difference
    assert (first.layer, first.state, first.sample, first.neuron, first.step) == (1, "spike", 0, (2, 3), 1)
    assert (first.expected, first.found, first.count) == (56.0, -1.0, 5)
    assert str(result) == (
        "one and other differ first in /layer/1, step 1, neuron (2, 3), sample 0: spike 56 in one, -1 in other "
        "(5 values of this layer differ)"
    )
    assert result.layers == (0, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.layer = 2


def test_shapes_that_differ():
    key, left, right = pair(0, "spike")
    with pytest.raises(
        ParameterError, match=r"expected values of shape \(2, 3, 4, 5\) as one has them, got \(2, 3, 4\)"
    ):
        compare("one", "other", [(key, left, right[..., 0])])


# --- training and the simulator ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """A network, its input, and its entries."""
    torch = pytest.importorskip("torch")
    from lavadl_lite.slayer import block, neuron

    torch.manual_seed(0)
    norm = {**PLAIN, "norm": neuron.norm.MeanOnlyBatchNorm}
    net = torch.nn.Sequential(
        block.cuba.Input(PLAIN, weight=1.2, bias=-0.3),
        block.cuba.Flatten(),
        block.cuba.Dense(norm, 12, 9, weight_scale=12, delay=True),
        block.cuba.Dense({**PLAIN, "graded_spike": True, "dropout": neuron.Dropout(0.5)}, 9, 8, weight_scale=6),
        block.cuba.Affine(PLAIN, 8, 4),
    )
    x = 2 * torch.randn(3, 3, 2, 2, 40)
    net(x)
    net[2].delay.delay.data.uniform_(0, 9)
    return net, x, netx._files.layers_of(net)


def changed(layers, index, name, place, by):
    """Entries with one number changed."""
    layer = layers[index]
    fields = {**layer.fields, **layer.neuron}
    values = np.array(fields[name])
    values[place] += by
    part = {name: values if values.shape else values.item()}
    if name in layer.fields:
        new = dataclasses.replace(layer, fields={**layer.fields, **part})
    else:
        new = dataclasses.replace(layer, neuron={**layer.neuron, **part})
    return [*layers[:index], new, *layers[index + 1 :]]


def test_a_network_equals_its_file(trained, tmp_path):
    net, x, layers = trained
    netx.save(net, tmp_path / "a.net")
    for file in (tmp_path / "a.net", net, layers):
        result = netx.verify(net, file, x)
        assert result, result
    assert result.layers[-1] == 4
    assert result.values > 3 * 40 * (12 + 9 + 8 + 4)
    assert netx.verify(net, layers, x[0].numpy())  # without a batch, as an array
    assert netx.verify(list(net), layers, x)


def test_the_network_is_left_as_it_is(trained):
    net, x, layers = trained
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert netx.verify(net, layers, x)
    assert all(part.training for part in net)
    assert all((net.state_dict()[name] == value).all() for name, value in before.items())


@pytest.mark.parametrize(
    ("index", "name", "place", "states"),
    [
        (0, "vThMant", (), {"spike"}), (2, "weight", (4, 7), {"voltage"}), (2, "bias", (3,), {"voltage"}),
        (3, "weight", (5, 2), {"current"}), (3, "iDecay", (), {"current"}), (4, "weight", (1, 1), {"voltage"}),
    ],
)  # fmt: skip
def test_one_changed_number_is_found_in_its_layer(trained, index, name, place, states):
    """In the first state that it changes; where a norm or a read-out hides the current, that is the voltage.

    Another threshold first shows in a spike, since voltages of training that are reset are not compared.
    """
    net, x, layers = trained
    result = netx.verify(net, changed(layers, index, name, place, 2), x)
    assert not result
    first = result.difference
    assert first.layer == index
    assert first.state in states
    assert first.expected != first.found
    assert first.neuron[: len(place[:1])] == place[:1]


def test_both_values_are_those_of_the_two_runs(trained):
    net, x, layers = trained
    other = changed(layers, 3, "weight", (5, 2), 2)
    first = netx.verify(net, other, x).difference
    assert first.state == "current"
    for entries, value in ((layers, first.expected), (other, first.found)):
        simulator = netx.Simulator(entries)
        _, seen = simulator.run(simulator.encode(x), "slayer", [(3, "current")])
        here = seen[3, "current"]
        assert here[(first.sample, *first.neuron, first.step)] / 4096 == value
        before = here[:, :, : first.step]
        np.testing.assert_array_equal(before, _currents(layers, x)[:, :, : first.step])


def _currents(layers, x):
    simulator = netx.Simulator(layers)
    return simulator.run(simulator.encode(x), "slayer", [(3, "current")])[1][3, "current"]


def test_sums_without_neurons_are_compared_too():
    torch = pytest.importorskip("torch")
    from lavadl_lite.slayer import block

    torch.manual_seed(1)
    net = torch.nn.Sequential(
        block.cuba.Dense(PLAIN, 4, 6, weight_scale=8), block.cuba.Affine(PLAIN, 6, 3, dynamics=False)
    )
    x = (torch.rand(2, 4, 30) < 0.4).float()
    net(x)
    layers = netx._files.layers_of(net)
    result = netx.verify(net, layers, x)
    assert result, result
    assert result.layers == (0, 1)
    weight = layers[1].fields["weight"].copy()
    weight[2] += 2
    wrong = [layers[0], dataclasses.replace(layers[1], fields={**layers[1].fields, "weight": weight})]
    first = netx.verify(net, wrong, x).difference
    assert (first.layer, first.neuron) == (1, (2,))


def test_means_and_changes_are_compared_in_their_units():
    """Sigma-delta from the first layer on; a mean of nine, which float32 holds only nearly; a plane to be told."""
    torch = pytest.importorskip("torch")
    from lavadl_lite.slayer import block

    torch.manual_seed(2)
    plain = {"threshold": 0.05, "activation": torch.relu}
    net = torch.nn.Sequential(
        block.sigma_delta.Conv(plain, 2, 2, 2, stride=2, weight_scale=2),
        block.sigma_delta.Flatten(),
        block.sigma_delta.Average(2),
    )
    x = (torch.randn(2, 2, 7, 7, 9) * 64).round() / 4096
    net(x)
    layers = netx._files.layers_of(net)
    result = netx.verify(net, layers, x)
    assert result, result
    assert result.layers == (0, 1, 2)
    assert not netx.verify(net, changed(layers, 0, "weight", (0, 0, 0, 0), 2), x)


# --- bad arguments ----------------------------------------------------------------------------------------------------


def test_wrong_arguments(trained):
    net, x, layers = trained
    with pytest.raises(ParameterError, match="against to be 'lava', got net=None, against='simulator'"):
        netx.verify(None, layers, x)
    with pytest.raises(ParameterError, match="against='loihi'"):
        netx.verify(net, layers, x, "loihi")
    with pytest.raises(ParameterError, match="expected a network of input, flatten, dense, dense, as the file"):
        netx.verify(net, layers[:4], x)
    with pytest.raises(ParameterError, match="expected a network of blocks, which can run, got tuple"):
        netx.verify(layers, layers, x)


def test_blocks_run_once():
    torch = pytest.importorskip("torch")
    from lavadl_lite.slayer import block

    shared = block.cuba.Dense(PLAIN, 3, 3)
    net = torch.nn.Sequential(shared, shared)
    net(torch.zeros(1, 3, 4))
    with pytest.raises(ParameterError, match="expected blocks that run once, got 2 runs of 0"):
        netx.verify(net, [shared], torch.zeros(1, 3, 4))


# --- Lava -------------------------------------------------------------------------------------------------------------


def in_equations(layers, sample, options):
    """What Lava's network does, by the transcription of its equations."""
    _, states = lava.run_lava(layers, sample, 0, options["reset_interval"], options["reset_offset"])
    indices = sorted({index for index, _ in states})
    names = ("current", "voltage", "spike")
    return [{name: states[index, name] for name in names if (index, name) in states} for index in indices]


@pytest.fixture
def chain():
    rng = np.random.default_rng(0)
    first = dense(2 * rng.integers(-100, 100, (5, 4)), neuron())
    layers = [first, dense(2 * rng.integers(-100, 100, (3, 5)), neuron(), [9, 8, 7])]
    return layers, rng.random((2, 4, 30)) < 0.5


def test_lava_is_compared_state_by_state(chain, monkeypatch):
    layers, x = chain
    monkeypatch.setattr(verify, "_lava_run", in_equations)
    result = netx.verify(None, layers, x, "lava", reset_interval=11, reset_offset=2)
    assert result, result
    assert str(result) == f"simulator and Lava are equal: {2 * 30 * (5 + 3) * 3} values of layers 0, 1"

    def off_by_one(layers, sample, options):
        runs = in_equations(layers, sample, options)
        runs[1]["voltage"][2, 20] += 1
        return runs

    monkeypatch.setattr(verify, "_lava_run", off_by_one)
    first = netx.verify(None, layers, x, "lava").difference
    assert (first.layer, first.state, first.sample, first.step, first.neuron) == (1, "voltage", 0, 20, (2,))
    assert first.found == first.expected + 1


def test_training_equals_lava_where_timings_agree(chain, monkeypatch):
    """With biases or resets both timings differ, so that the result is about the simulator."""
    torch = pytest.importorskip("torch")
    from lavadl_lite.slayer import block

    monkeypatch.setattr(verify, "_lava_run", in_equations)
    _, x = chain
    norm = importlib.import_module("lavadl_lite.slayer.neuron").norm.MeanOnlyBatchNorm
    for params, resets, side in (({}, None, "training"), ({}, 9, "simulator"), ({"norm": norm}, None, "simulator")):
        net = block.cuba.Dense({**PLAIN, **params}, 4, 3, weight_scale=4)
        net(torch.from_numpy(x).float())
        result = netx.verify(net, net, x, "lava", reset_interval=resets)
        assert result, result
        assert (result.expected, result.found) == (side, "Lava")


def test_training_is_compared_before_lava(trained, monkeypatch):
    net, x, layers = trained
    monkeypatch.setattr(verify, "_lava_run", lambda *_: pytest.fail("Lava has run"))
    result = netx.verify(net, changed(layers, 2, "weight", (4, 7), 2), x, "lava")
    assert (result.expected, result.found, bool(result)) == ("training", "simulator", False)


def test_lava_has_to_be_there(chain):
    if importlib.util.find_spec("lava"):
        pytest.skip("Lava is installed")
    with pytest.raises(ImportError, match="lava"):
        netx.verify(None, *chain, "lava")
