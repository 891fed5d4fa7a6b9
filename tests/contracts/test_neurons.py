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

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer import neuron as neurons
from lavadl_lite.slayer.neuron import Dropout
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm, WgtScaleBatchNorm
from lavadl_lite.slayer.spike import surrogate
from tests import strategies
from tests.contracts.families import (
    FAMILIES,
    WITH_DECAYS,
    family_id,
    make_neuron,
    parameter_fields,
    parameter_names,
    params,
    run,
    snapshot,
    spikes,
    state_names,
    variant,
)

NORMS = pytest.mark.parametrize("norm", [None, MeanOnlyBatchNorm, WgtScaleBatchNorm])
WHEN = pytest.mark.parametrize("when", ["fresh", "materialized", "used"])
PER_CHANNEL = pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per channel"])
SPATIAL = (3, 2)


def pytest_generate_tests(metafunc):
    """``neuron`` is that of each family, ``spiking`` that of each one that spikes."""
    for name, families in (("neuron", FAMILIES), ("spiking", WITH_DECAYS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, families, ids=family_id)


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
    sizes = [other.get_parameter(name).shape == saved[name].shape for name in parameter_names(neuron)]
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
    for name in parameter_names(neuron):
        assert torch.equal(other.get_parameter(name), layer.get_parameter(name))


def test_states_are_not_in_the_state_dict(neuron):
    layer = at(make_neuron(neuron, persistent_state=True), "used")
    assert set(layer.state_dict()) == parameter_names(neuron)
    assert {name for name, _ in layer.named_buffers()} == state_names(neuron)


@PER_CHANNEL
def test_materialize_draws_what_the_first_forward_draws(neuron, per_channel):
    early, late = (make_neuron(neuron, per_channel) for _ in range(2))
    torch.manual_seed(5)
    assert early.materialize(SPATIAL) == SPATIAL
    call(late, spikes(2, *SPATIAL, 5))
    assert early.shape == late.shape == SPATIAL
    assert early.num_neurons == late.num_neurons == 6
    for name in parameter_names(neuron):
        assert torch.equal(early.get_parameter(name), late.get_parameter(name))


def test_an_optimizer_made_after_materialize_trains_what_is_used(neuron):
    layer = make_neuron(neuron, per_channel=True, requires_grad=True)
    layer.materialize(SPATIAL)
    if hasattr(layer, "set_bias"):
        layer.set_bias(torch.zeros(3))
    optimizer = torch.optim.SGD(layer.parameters(), 1e3)
    before = [p.detach().clone() for p in layer.parameters()]
    call(layer, spikes(2, *SPATIAL, 30)).sum().backward()
    optimizer.step()
    assert all((p != b).any() for p, b in zip(layer.parameters(), before, strict=True) if p.requires_grad)
    assert any(p.requires_grad for p in layer.parameters())


@NORMS
@pytest.mark.parametrize(("per_channel", "persistent"), [(True, False), (False, True)])
def test_what_inference_mode_leaves_behind_trains(neuron, per_channel, persistent, norm):
    """Statistics, drawn parameters and states: gradients are those of a layer that first ran without gradients."""
    found = []
    for mode in (torch.inference_mode, torch.no_grad):
        layer = make_neuron(neuron, per_channel, norm=norm, persistent_state=persistent, requires_grad=True)
        with mode():
            call(layer, spikes(2, *SPATIAL, 20, seed=1))
        for _ in range(2):  # the second begins with what training left
            x = spikes(2, *SPATIAL, 20).requires_grad_()
            y = run(layer, x)
            y.square().sum().backward()
        found.append([y, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()])
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("persistent", [False, True])
def test_a_state_that_inference_mode_reset_trains(neuron, persistent):
    found = []
    for mode in (torch.inference_mode, torch.no_grad):
        layer = make_neuron(neuron, persistent_state=persistent, requires_grad=True)
        with mode():
            layer.reset_state()
        x = spikes(2, *SPATIAL, 20).requires_grad_()
        drive = (x, 0.5 * x) if layer.complex else x
        sum(state.square().sum() for state in layer.dynamics(drive)).backward()
        found.append([x.grad, *(p.grad for p in layer.parameters())])
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(*found, strict=True))


@settings(max_examples=100)
@given(shape=strategies.shapes(), per_channel=st.booleans(), graded=st.booleans(), data=st.data())
def test_chunks_equal_the_whole(neuron, shape, per_channel, graded, data):
    x = torch.from_numpy(data.draw(strategies.inputs(shape)))
    whole, chunked = (
        make_neuron(neuron, per_channel, persistent_state=p, **variant(neuron, graded)) for p in (False, True)
    )
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
    for name in parameter_names(neuron):
        layer.get_parameter(name).data.add_(0.3)  # reading must not round either
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
        for field in parameter_fields(neuron).values():
            value = np.asarray(held[field])
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_computed_in_float32_and_returned_in_their_own(neuron, dtype):
    x = torch.randn(2, *SPATIAL, 40).to(dtype).requires_grad_()
    y = run(make_neuron(neuron), x)
    assert y.dtype == dtype
    assert torch.equal(y, run(make_neuron(neuron), x.detach().float()).to(dtype))
    y.sum().backward()
    assert x.grad.dtype == dtype


# inside torch's own compiler
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:The .grad attribute of a Tensor:UserWarning"
)
def test_it_compiles_in_one_graph(neuron):
    """With the numbers and gradients of eager mode."""
    results = []
    for compiled in (False, True):
        layer = make_neuron(neuron, persistent_state=True, requires_grad=True)
        layer.materialize(SPATIAL)
        torch._dynamo.reset()
        forward = torch.compile(layer, fullgraph=True, backend="aot_eager") if compiled else layer
        x = spikes(2, *SPATIAL, 70).requires_grad_()
        y = forward((x, 0.5 * x)) if layer.complex else forward(x)
        (y * spikes(2, *SPATIAL, 70, seed=1)).sum().backward()
        results.append([y, x.grad, *(p.grad for p in layer.parameters() if p.grad is not None), *layer.buffers()])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_bad_input_is_refused(neuron):
    layer = make_neuron(neuron)
    with pytest.raises(ShapeError, match=r"expected an input \(N, C, \.\.\., T\), got shape \(2, 3\)"):
        run(layer, torch.ones(2, 3))
    with pytest.raises(ParameterError, match=r"floating-point type, got torch\.int64"):
        layer((torch.ones(1, 3, 4).long(),) * 2 if layer.complex else torch.ones(1, 3, 4).long())
    run(layer, torch.ones(1, 3, 4))
    with pytest.raises(ShapeError, match=r"expected an input \(N, 3, T\), got shape \(1, 4, 4\)"):
        run(layer, torch.ones(1, 4, 4))


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("name", surrogate.KINDS)
def test_named_surrogates_equal_the_same_ones_as_callables(spiking, name, graded):
    """A name runs inside the fused pass, a callable in separate ones; the same forward, the same gradients."""
    x = spikes(2, *SPATIAL, 150) - 0.3
    options = {"tau_grad": 1 / spiking.surrogate.tau, "requires_grad": True, "graded_spike": graded}
    grads = []
    for shape in (name, partial(surrogate.bell, surrogate=name)):
        layer, leaf = make_neuron(spiking, surrogate=shape, **options), x.clone().requires_grad_()
        y = run(layer, leaf)
        learnt = [p for p in layer.parameters() if p.requires_grad]
        grads.append((y, *torch.autograd.grad((y * (x + 1)).sum(), (leaf, *learnt))))
    (y, *fused), (z, *separate) = grads
    assert torch.equal(y, z)
    assert y.count_nonzero() > 10
    for a, b in zip(fused, separate, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def test_an_unknown_surrogate_is_refused(spiking):
    with pytest.raises(ParameterError, match="surrogate"):
        make_neuron(spiking, surrogate="sigmoid")
