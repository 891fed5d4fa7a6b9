"""What holds for the neurons of every family: copies, state dictionaries, streaming, shapes, the way to the device."""

import copy
import inspect
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer import neuron as neurons
from lavadl_lite.slayer.neuron import Dropout
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm, WgtScaleBatchNorm
from lavadl_lite.slayer.spike import surrogate
from tests import strategies
from tests.contracts.families import WITH_DECAYS, family_id, make_neuron, params, run, snapshot, spikes

pytestmark = pytest.mark.parametrize("neuron", WITH_DECAYS, ids=family_id)
NORMS = pytest.mark.parametrize("norm", [None, MeanOnlyBatchNorm, WgtScaleBatchNorm])
WHEN = pytest.mark.parametrize("when", ["fresh", "materialized", "used"])
PER_CHANNEL = pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per channel"])
SPATIAL = (3, 2)


def at(layer, when):
    """``layer`` as it is made, with its shapes fixed, or after a forward and a backward."""
    if when == "materialized":
        layer.materialize(SPATIAL)
    if when == "used":
        x = spikes(2, *SPATIAL, 20, seed=9).requires_grad_()
        run(layer, x).sum().backward()
        layer.zero_grad()
    return layer


def call(layer, x, seed=5):
    torch.manual_seed(seed)  # for what is drawn at a first forward
    return run(layer, x)


def test_it_is_among_the_families(neuron):
    assert getattr(neurons, neuron.__module__.rsplit(".", 1)[-1]).Neuron is neuron
    assert neuron.type_name
    assert neuron.__doc__


@NORMS
@WHEN
@PER_CHANNEL
def test_copies_and_pickles_behave_alike(neuron, per_channel, when, norm):
    layer = at(make_neuron(neuron, per_channel, norm=norm, persistent_state=True, requires_grad=True), when).eval()
    x = spikes(2, *SPATIAL, 20)
    others = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    truth = [call(layer, x), call(layer, x)]
    for other in others:
        assert all(torch.equal(call(other, x), y) for y in truth)
        assert not {p.data_ptr() for p in other.parameters()} & {p.data_ptr() for p in layer.parameters()}


@NORMS
@WHEN
@PER_CHANNEL
@pytest.mark.parametrize("into", ["fresh", "materialized", "used"])
def test_state_dict_round_trips(neuron, per_channel, when, norm, into):
    """From a neuron in any condition into one in any condition, where shapes allow it."""
    options = {"norm": norm, "requires_grad": True}
    layer = at(make_neuron(neuron, per_channel, **options), when)
    if when == "used":
        for name, buffer in layer.named_buffers():
            buffer.add_(0.5 * name.endswith("running_mean"))
    saved = layer.state_dict()
    other = at(make_neuron(neuron, per_channel, **options), into)
    sizes = [getattr(other, d.name).shape == saved[d.name].shape for d in neuron.decays]
    if into != "fresh" and not all(sizes):
        with pytest.raises(RuntimeError, match="size mismatch"):
            other.load_state_dict(saved)
        return
    other.load_state_dict(saved)
    again = other.state_dict()
    assert list(again) == list(saved)
    assert all((again[k] == saved[k]).all() for k in saved)  # a mean of no channels yet counts for all
    x = spikes(2, *SPATIAL, 20)
    assert torch.equal(call(other.eval(), x), call(layer.eval(), x))


@PER_CHANNEL
def test_a_layer_of_one_neuron_keeps_what_it_loads(neuron, per_channel):
    """Section C: one value may be that of one neuron; it is not drawn again."""
    layer, other = (make_neuron(neuron, per_channel) for _ in range(2))
    layer.materialize((1,))
    other.load_state_dict(layer.state_dict())
    call(other, spikes(2, 1, 5))
    for decay in neuron.decays:
        assert torch.equal(getattr(other, decay.name), getattr(layer, decay.name))


def test_states_are_not_in_the_state_dict(neuron):
    layer = at(make_neuron(neuron, persistent_state=True), "used")
    assert set(layer.state_dict()) == {decay.name for decay in neuron.decays}
    assert {name for name, _ in layer.named_buffers()} == {state.name for state in neuron.states}


@PER_CHANNEL
def test_materialize_draws_what_the_first_forward_draws(neuron, per_channel):
    early, late = (make_neuron(neuron, per_channel) for _ in range(2))
    torch.manual_seed(5)
    assert early.materialize(SPATIAL) == SPATIAL
    call(late, spikes(2, *SPATIAL, 5))
    assert early.shape == late.shape == SPATIAL
    assert early.num_neurons == late.num_neurons == 6
    for decay in neuron.decays:
        assert torch.equal(getattr(early, decay.name), getattr(late, decay.name))


def test_an_optimizer_made_after_materialize_trains_what_is_used(neuron):
    layer = make_neuron(neuron, per_channel=True, requires_grad=True)
    layer.materialize(SPATIAL)
    optimizer = torch.optim.SGD(layer.parameters(), 1e3)
    before = [p.detach().clone() for p in layer.parameters()]
    call(layer, spikes(2, *SPATIAL, 30)).sum().backward()
    optimizer.step()
    assert all((p != b).any() for p, b in zip(layer.parameters(), before, strict=True) if p.requires_grad)
    assert any(p.requires_grad for p in layer.parameters())


@settings(max_examples=100)
@given(shape=strategies.shapes(), per_channel=st.booleans(), graded=st.booleans(), data=st.data())
def test_chunks_equal_the_whole(neuron, shape, per_channel, graded, data):
    x = torch.from_numpy(data.draw(strategies.inputs(shape)))
    whole, chunked = (make_neuron(neuron, per_channel, graded_spike=graded, persistent_state=p) for p in (False, True))
    lengths = data.draw(strategies.chunks(shape[-1]))
    torch.manual_seed(0)
    truth = run(whole, x)
    torch.manual_seed(0)
    assert torch.equal(torch.cat([run(chunked, part) for part in x.split(lengths, -1)], -1), truth)


def test_reset_state_begins_anew(neuron):
    layer, x = make_neuron(neuron, persistent_state=True), spikes(2, *SPATIAL, 20)
    first = run(layer, x)
    assert not torch.equal(run(layer, x), first)
    layer.reset_state()
    assert torch.equal(run(layer, x), first)


@PER_CHANNEL
@WHEN
def test_reading_does_not_write(neuron, per_channel, when):
    layer = at(make_neuron(neuron, per_channel, persistent_state=True, requires_grad=True), when)
    for decay in neuron.decays:
        getattr(layer, decay.name).data.add_(0.3)  # reading must not round either
    before = snapshot(layer)
    _ = layer.device_params, repr(layer), layer.state_dict()
    for name, _ in inspect.getmembers(type(layer), lambda m: isinstance(m, property)):
        getattr(layer, name)
    layer.quantize_8bit(torch.ones(3))
    assert snapshot(layer) == before


def test_the_callers_arguments_stay_as_they_are(neuron):
    given_as = params(neuron, per_channel=True, norm=MeanOnlyBatchNorm, dropout=Dropout(0.1))
    before = dict(given_as)
    at(neuron(**given_as), "used")
    assert given_as == before


@PER_CHANNEL
def test_device_params_make_the_same_neuron_again(neuron, per_channel):
    """device_params -> neuron_params -> Neuron, bit for bit."""
    layer = at(make_neuron(neuron, per_channel), "materialized")
    module = inspect.getmodule(neuron)
    again = neuron(**module.neuron_params(layer.device_params))
    x = spikes(2, *SPATIAL, 50)
    assert torch.equal(run(again, x), run(layer, x))
    for field, value in layer.device_params.items():
        np.testing.assert_array_equal(again.device_params[field], value)


def test_device_params_are_plain_integers(neuron):
    for per_channel in (False, True):
        held = at(make_neuron(neuron, per_channel), "materialized").device_params
        assert held["type"] == neuron.type_name
        for decay in neuron.decays:
            value = np.asarray(held[decay.field])
            assert value.dtype == np.int64
            assert value.shape == ((3,) if per_channel else ())
            assert ((value >= 0) & (value <= 4096)).all()


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0, 0, 0), (2, 3, 0, 0)])
@PER_CHANNEL
def test_nothing_in_nothing_out(neuron, per_channel, shape):
    for persistent in (False, True):
        layer = make_neuron(neuron, per_channel, persistent_state=persistent, requires_grad=True)
        x = torch.zeros(shape, requires_grad=True)
        y = run(layer, x)
        y.sum().backward()
        assert y.shape == x.grad.shape == shape


def test_it_can_be_moved_and_cast(neuron):
    layer, x = make_neuron(neuron), spikes(2, *SPATIAL, 20)
    truth = run(layer, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(run(layer.to("cpu"), x), truth)
        assert torch.equal(run(layer.double(), x), truth)
        assert torch.equal(run(layer.float(), x), truth)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("name", surrogate.KINDS)
def test_named_surrogates_equal_the_same_ones_as_callables(neuron, name, graded):
    """A name runs inside the fused pass, a callable in separate ones; the same forward, the same gradients."""
    x = spikes(2, *SPATIAL, 150) - 0.3
    options = {"tau_grad": 1 / neuron.surrogate.tau, "requires_grad": True, "graded_spike": graded}
    grads = []
    for shape in (name, partial(surrogate.bell, surrogate=name)):
        layer, leaf = make_neuron(neuron, surrogate=shape, **options), x.clone().requires_grad_()
        y = run(layer, leaf)
        learnt = [p for p in layer.parameters() if p.requires_grad]
        grads.append((y, *torch.autograd.grad((y * (x + 1)).sum(), (leaf, *learnt))))
    (y, *fused), (z, *separate) = grads
    assert torch.equal(y, z)
    assert y.count_nonzero() > 10
    for a, b in zip(fused, separate, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def test_an_unknown_surrogate_is_refused(neuron):
    with pytest.raises(ParameterError, match="surrogate"):
        make_neuron(neuron, surrogate="sigmoid")


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:The .grad attribute of a Tensor:UserWarning"
)
def test_a_compiled_neuron_is_one_graph_with_the_numbers_of_eager_mode(neuron):
    x = 2 * spikes(2, *SPATIAL, 70) - 0.3
    found = []
    for wrap in (lambda layer: layer, partial(torch.compile, backend="aot_eager", fullgraph=True)):
        layer, leaf = at(make_neuron(neuron, requires_grad=True), "materialized"), x.clone().requires_grad_()
        y = run(wrap(layer), leaf)
        learnt = [p for p in layer.parameters() if p.requires_grad]
        found.append((y.detach(), *torch.autograd.grad((y * (x + 1)).sum(), (leaf, *learnt), allow_unused=True)))
    torch._dynamo.reset()
    eager, compiled = found
    assert eager[0].any()
    assert eager[1].any()
    for got, wanted in zip(compiled, eager, strict=True):
        assert got is wanted is None or torch.equal(got, wanted)
