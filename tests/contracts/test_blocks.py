"""What holds for the blocks of every family: copies, state dictionaries, streaming, shapes, export."""

import copy
import inspect
import itertools
import pickle
from functools import partial

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from lavadl_lite import exchange
from lavadl_lite.errors import ExchangeError, ParameterError, ShapeError
from lavadl_lite.slayer import neuron as neurons
from tests import strategies
from tests.contracts.families import (
    BLOCKS,
    FAMILIES,
    READ_OUTS,
    SPIKING,
    WITHOUT_NEURONS,
    Case,
    block_cases,
    block_module,
    family_id,
    params,
    snapshot,
    spikes,
)

FAMILY = pytest.mark.parametrize("neuron", FAMILIES, ids=family_id)
PER_CHANNEL = pytest.mark.parametrize("per_channel", [False, True], ids=["shared", "per channel"])
DELAYED = tuple(case for case in BLOCKS if "delay" in case.options and case.options.get("out_neurons") != 1)


def at(block, case, when):
    """``block`` as it is made, with its shapes fixed, or after a forward and a backward."""
    if when == "materialized":
        block.materialize(case.spatial)
    if when == "used":
        with torch.random.fork_rng():
            y = call(block, case.input(T=30, seed=9).requires_grad_())
        y.sum().backward()
        block.zero_grad()
    return block


def call(block, x, seed=5):
    torch.manual_seed(seed)  # for what is drawn at a first forward
    y = block(x)
    return y[0] if isinstance(y, tuple) else y


def longer_delays(block):
    """Delays that move something: those that are drawn lie below one step."""
    if block.delay is not None and block.delay.init:
        block.delay.delay.data += torch.arange(len(block.delay.delay)) * 3.0 % 62
    return block


# ---------------------------------------------------------------------------------------------------------- classes
@FAMILY
def test_a_block_says_nothing_but_its_neuron(neuron):
    """Real classes without code: nothing to go wrong in a copy."""
    module = block_module(neuron)
    for name in module.__all__:
        cls = getattr(module, name)
        assert {n for n in vars(cls) if not n.startswith("__")} == {"neuron_type"}
        assert cls.neuron_type is neuron
        assert cls.__doc__
        assert len(cls.__mro__[1].__name__) > len("Abstract")
        assert cls.__mro__[1].__name__.startswith("Abstract")


@FAMILY
def test_abstract_blocks_cannot_run(neuron):
    module = block_module(neuron)
    for name in module.__all__:
        with pytest.raises((TypeError, AttributeError, ParameterError)):
            getattr(module, name).__mro__[1](params(neuron), 3, 2)(torch.zeros(1, 3, 4))


@block_cases()
def test_arguments_work_by_position_too(neuron, case):
    """lava-dl swallows ``delay``, ``delay_shift`` and ``pre_hook_fx`` that are given by position."""
    cls = getattr(block_module(neuron), case.name)
    by_name = case.make(neuron)
    names = list(inspect.signature(cls).parameters.values())
    options = dict(case.options)
    if case.name not in WITHOUT_NEURONS and not options.pop("no_neuron", False):
        options["neuron_params"] = params(neuron)
    torch.manual_seed(3)
    by_position = cls(*[options.get(p.name, p.default) for p in names])
    x = case.input()
    assert torch.equal(call(by_position, x), call(by_name, x))


# ------------------------------------------------------------------------------------------------------------ copies
@block_cases()
@pytest.mark.parametrize("when", ["fresh", "used"])
def test_copies_and_pickles_behave_alike(neuron, case, when):
    block = longer_delays(at(case.make(neuron, persistent_state=True), case, when))
    x = case.input()
    others = [copy.deepcopy(block), pickle.loads(pickle.dumps(block))]
    truth = [call(block, x), call(block, x)]
    for other in others:
        assert all(torch.equal(call(other, x), y) for y in truth)
        assert not {p.data_ptr() for p in other.parameters()} & {p.data_ptr() for p in block.parameters()}
        if other.synapse is not None:
            assert other.synapse.pre_hook_fx == other.neuron.weight_grid


@block_cases()
@pytest.mark.parametrize(("when", "into"), [("materialized", "fresh"), ("used", "fresh"), ("used", "used")])
def test_state_dict_round_trips(neuron, case, when, into):
    per_channel = when == "used"
    block = longer_delays(at(case.make(neuron, per_channel), case, when))
    other = at(case.make(neuron, per_channel, seed=4), case, into)
    saved = block.state_dict()
    if any(other.state_dict()[k].shape != v.shape for k, v in saved.items()) and into != "fresh":
        with pytest.raises(RuntimeError, match="size mismatch"):
            other.load_state_dict(saved)
        return
    other.load_state_dict(saved)
    assert list(other.state_dict()) == list(saved)
    assert all(torch.equal(other.state_dict()[k], v) for k, v in saved.items())
    x = case.input()
    assert torch.equal(call(other, x), call(block, x))


@FAMILY
def test_what_is_loaded_in_inference_mode_trains(neuron):
    case = Case("Dense", {"in_neurons": 6, "out_neurons": 5, "weight_scale": 3, "delay": True})
    block = longer_delays(at(case.make(neuron, per_channel=True, requires_grad=True), case, "materialized"))
    found = []
    for mode in (torch.inference_mode, torch.no_grad):
        other = case.make(neuron, per_channel=True, requires_grad=True, seed=4)
        with mode():
            other.load_state_dict(block.state_dict())
        y = other(case.input())
        y.square().sum().backward()
        found.append([y, *(p.grad for p in other.parameters())])
    assert torch.equal(found[0][0], block(case.input()))
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(*found, strict=True))


@FAMILY
@PER_CHANNEL
def test_lava_dls_names_load(neuron, per_channel):
    """Weight-normed in torch's old way or in its new one, with the last batch's ``spike_state``, alone or in a net."""
    case = Case("Dense", {"in_neurons": 6, "out_neurons": 5, "weight_norm": True, "delay": True})
    block = longer_delays(at(case.make(neuron, per_channel), case, "used"))
    learnt = {f"neuron.{d.name}" for d in neuron.decays} or {"neuron.bias", "neuron.delta.threshold"}
    parts = ("synapse.real", "synapse.imag") if neuron.complex else ("synapse",)
    ours = block.state_dict()
    assert set(ours) == {f"{part}.weight_{k}" for part in parts for k in "gv"} | {"delay.delay"} | learnt
    for part in parts:
        assert ours[f"{part}.weight_g"].shape == (5, 1, 1, 1, 1)
        assert ours[f"{part}.weight_v"].shape == (5, 6, 1, 1, 1)
    new = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    renamed = {k.replace(name := k.rsplit(".")[-1], new.get(name, name)): v for k, v in ours.items()}
    assert set(renamed) != set(ours)
    x = case.input()
    for given_as in (ours | {"spike_state": torch.rand(7, 5)}, renamed | {"spike_state": torch.rand(7, 5)}):
        keys = list(given_as)
        fresh = case.make(neuron, per_channel, seed=4)
        fresh.load_state_dict(given_as)
        assert list(given_as) == keys  # the caller's dictionary stays as it is
        assert torch.equal(call(fresh, x), call(block, x))
        net = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([case.make(neuron, per_channel, seed=4)])})
        net.load_state_dict({f"blocks.0.{k}": v for k, v in given_as.items()})
        assert torch.equal(call(net["blocks"][0], x), call(block, x))


# ------------------------------------------------------------------------------------------------------------ shapes
@block_cases()
def test_materialize_draws_what_the_first_forward_draws(neuron, case):
    early, late = (case.make(neuron, per_channel=True) for _ in range(2))
    torch.manual_seed(5)
    out = early.materialize(case.spatial)
    y = call(late, case.input())
    assert isinstance(out, tuple)
    assert out == y.shape[1:-1]
    assert early.shape == late.shape
    ours, truth = early.state_dict(), late.state_dict()
    assert list(ours) == list(truth)
    assert all(torch.equal(ours[k], truth[k]) for k in truth)


@block_cases()
def test_materialized_parameters_are_the_ones_that_train(neuron, case):
    block = case.make(neuron, per_channel=True, requires_grad=True)
    block.materialize(case.spatial)
    made = [id(p) for p in block.parameters()]
    data = [p.data_ptr() for p in block.parameters()]
    y = call(block, case.input())
    assert [id(p) for p in block.parameters()] == made
    assert [p.data_ptr() for p in block.parameters()] == data
    if y.requires_grad:
        y.sum().backward()


@block_cases()
def test_what_inference_mode_leaves_behind_trains(neuron, case):
    """Drawn parameters and states: outputs and gradients are those of a block that first ran without gradients."""
    for first in ("materialize", "call"):
        found = []
        for mode in (torch.inference_mode, torch.no_grad):
            block = case.make(neuron, per_channel=True, persistent_state=True, requires_grad=True)
            with mode():
                torch.manual_seed(5)
                block.materialize(case.spatial) if first == "materialize" else call(block, case.input(T=9, seed=1))
            x = case.input(T=20).requires_grad_()
            y = call(block, x)
            y.square().sum().backward()
            found.append([y, x.grad, *(p.grad for p in block.parameters()), *block.buffers()])
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(*found, strict=True))


@block_cases()
def test_nothing_in_nothing_out(neuron, case):
    for persistent, (N, T) in itertools.product((False, True), ((0, 8), (3, 0))):
        block = case.make(neuron, persistent_state=persistent)
        out = block.materialize(case.spatial)
        x = torch.zeros(N, *case.spatial, T, requires_grad=True)
        y = call(block, x)
        assert y.shape == (N, *out, T // case.options.get("factor", 1))
        y.sum().backward()
        assert x.grad is None or x.grad.shape == x.shape


@block_cases([c for c in BLOCKS if c.options.get("in_neurons") == 6])
def test_other_inputs_are_refused(neuron, case):
    block = case.make(neuron)
    for shape in ((6,), (3, 6), (3, 5, 7), (3, 6, 2, 7)):
        with pytest.raises(ShapeError, match=r"expected an input \(N, 6, T\)"):
            block(torch.zeros(shape))
    with pytest.raises(ParameterError, match="floating-point type"):
        block(torch.zeros(3, 6, 7, dtype=torch.int64))
    for shape in ((5,), (6, 2), ()):
        with pytest.raises(ShapeError):
            block.materialize(shape)
    assert block.shape is None


@block_cases([c for c in BLOCKS if c.options.get("in_neurons") != 6])
def test_too_few_axes_are_refused(neuron, case):
    block = case.make(neuron)
    for shape in ((6,), (3, 6)):
        with pytest.raises(ShapeError, match="expected an input"):
            block(torch.zeros(shape))
    assert block.shape is None


# ------------------------------------------------------------------------------------------------------------ output
@block_cases()
def test_count_log_adds_the_event_rate(neuron, case):
    """Defect 1: lava-dl cannot compute it.  Blocks that send no events say None."""
    plain = case.make(neuron)
    counting = Case(case.name, {**case.options, "count_log": True}, case.spatial).make(neuron)
    x = case.input()
    torch.manual_seed(5)
    y, rate = counting(x)
    truth = call(plain, x)
    assert torch.equal(y[0] if isinstance(y, tuple) else y, truth)
    if case.name not in (*WITHOUT_NEURONS, *READ_OUTS):
        assert rate.shape == ()
        assert rate.item() == pytest.approx((truth != 0).double().mean().item())
    else:
        assert rate is None


@block_cases(SPIKING)
@settings(max_examples=4)
@given(T=st.integers(0, 70), per_channel=st.booleans(), data=st.data())
def test_chunks_equal_the_whole(neuron, case, T, per_channel, data):
    """Defect 3: step delay and axonal delay reach back into the chunk before, gradients tracked or not."""
    whole, chunked = (case.make(neuron, per_channel, persistent_state=p) for p in (False, True))
    for block in (whole, chunked):
        torch.manual_seed(5)
        block.materialize(case.spatial)
        longer_delays(block)
    x = case.input(T=T)
    lengths = data.draw(strategies.chunks(T))
    with torch.set_grad_enabled(data.draw(st.booleans())):
        truth = call(whole, x)
        parts = [call(chunked, part) for part in x.split(lengths, -1)]
    assert torch.equal(torch.cat(parts, -1), truth)


@block_cases([c for c in DELAYED if c.name in ("Dense", "Conv")][1:])
def test_steps_one_by_one_equal_the_whole(neuron, case):
    whole, chunked = (case.make(neuron, persistent_state=p) for p in (False, True))
    for block in (whole, chunked):
        block.materialize(case.spatial)
        block.delay.delay.data = torch.linspace(0, 62, len(block.delay.delay))
    x = case.input(T=100)
    truth = whole(x)
    assert truth[..., 62:].any()
    assert torch.equal(torch.cat([chunked(part) for part in x.split(1, -1)], -1), truth)


@block_cases(SPIKING)
def test_reset_state_and_new_batches_begin_anew(neuron, case):
    block, fresh = (case.make(neuron, persistent_state=True) for _ in range(2))
    x = case.input()
    first = call(block, x)
    if case.options.get("no_neuron"):
        return
    block.reset_state()
    assert torch.equal(call(block, x), first)
    other = case.input(N=5, seed=1)
    assert torch.equal(call(block, other), call(fresh, other))


@block_cases([c for c in SPIKING if c.name in ("Conv", "ConvT", "Pool", "Unpool")])
def test_another_plane_begins_anew(neuron, case):
    block, fresh = (case.make(neuron, persistent_state=True) for _ in range(2))
    first = call(block, case.input())
    wider = (case.spatial[0], case.spatial[1] + 2, case.spatial[2] + 2)
    for other in (block, fresh):
        torch.manual_seed(5)
        other.materialize(wider)
    if fresh.delay is not None:
        fresh.delay.load_state_dict(block.delay.state_dict())
    x = spikes(len(first), *wider, 30)
    for _ in range(2):  # the second goes on from the first
        assert torch.equal(block(x), fresh(x))


@block_cases([c for c in SPIKING if c.name not in ("Recurrent", "KWTA")][1:])
def test_a_persistent_block_answers_in_the_type_of_its_input(neuron, case):
    """Whatever type the call before had: what the delays remember is cast, as the input is."""
    block, twin = (at(case.make(neuron, persistent_state=True), case, "materialized") for _ in range(2))
    x = case.input()
    for dtype in (torch.float32, torch.float16, torch.float64):
        y = block(x.to(dtype))
        assert y.dtype == dtype
        assert torch.equal(y, twin(x).to(dtype))


@block_cases(SPIKING)
def test_persistent_blocks_train(neuron, case):
    """Defect 3: lava-dl's step delay fails as soon as gradients are tracked."""
    block = case.make(neuron, persistent_state=True)
    for seed in range(3):
        x = case.input(seed=seed).requires_grad_()
        call(block, x).sum().backward()
        assert x.grad.isfinite().all()


@block_cases()
def test_a_checkpoint_gives_the_gradients_of_the_block(neuron, case):
    block, x = at(case.make(neuron), case, "materialized"), case.input(T=30).requires_grad_()
    leaves = [x, *(p for p in block.parameters() if p.requires_grad)]
    found = []
    for run in (block, partial(checkpoint, block, use_reentrant=False)):
        y = run(x)
        y = y[0] if isinstance(y, tuple) else y
        found.append(torch.autograd.grad(y.square().sum(), leaves, allow_unused=True, materialize_grads=True))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@block_cases([c for c in BLOCKS if c.name in READ_OUTS and c.options.get("dynamics", True)], every=True)
def test_a_read_out_is_the_state_of_a_neuron_that_never_fires(neuron, case):
    """Voltage, imaginary part, or the sum of messages, also in chunks."""
    block = case.make(neuron, persistent_state=True)
    x = case.input()
    sums = block.synapse(x, block.mask)
    quiet = neuron(**params(neuron) | {"threshold": 1000})
    states = dict(zip(quiet.trace_names, quiet.dynamics(sums), strict=True))
    truth = states["sum" if neuron.type_name == "SDNN" else "imag" if neuron.complex else "voltage"]
    assert truth.any()
    assert torch.equal(call(block, x), truth)
    block.reset_state()
    assert torch.equal(torch.cat([call(block, part) for part in x.split(7, -1)], -1), truth)


@block_cases(SPIKING)
def test_states_are_those_that_the_spikes_come_from(neuron, case):
    block, other = (longer_delays(at(case.make(neuron), case, "materialized")) for _ in range(2))
    if block.neuron is None:
        assert block.states(case.input()) == {}
        return
    if block.neuron.states:
        states = block.states(case.input())
        assert list(states) == [s.name.removesuffix("_state") for s in neuron.states]
        spikes = block._sent(block.neuron.spike(*(v for k, v in states.items() if neuron.complex or k != "current")))
    else:
        spikes = block._sent(block.neuron.delta(block.states(case.input())["activation"]))
    assert torch.equal(spikes, call(other, case.input()))


@FAMILY
def test_a_shared_dict_stays_as_it_is(neuron):
    """Defect 5: lava-dl's constructors write into it."""
    shared = params(neuron, norm=neurons.norm.MeanOnlyBatchNorm)
    before = dict(shared)
    module = block_module(neuron)
    for cls in (module.Dense, module.Affine, module.Output):
        cls(shared, 6, 5)(torch.zeros(2, 6, 7))
    module.Input(shared)(torch.zeros(2, 6, 7))
    assert shared == before


# ------------------------------------------------------------------------------------------------------------ export
def written(block):
    """What a block writes: dtypes, shapes and values of all its fields."""
    held = {}

    def note(path, item):
        if isinstance(item, h5py.Dataset):
            held[path] = item.dtype, item.shape, np.asarray(item[()]).tolist()

    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        block.export_hdf5(file.create_group("layer/0"))
        file["layer/0"].visititems(note)
    return held


EXPORTED = tuple(c for c in BLOCKS if c.name != "Output")


@block_cases()
@pytest.mark.parametrize("training", [True, False])
def test_export_works_in_any_mode_and_leaves_the_block_as_it_is(neuron, case, training):
    """Defect 6: lava-dl's export takes weight norm away for good."""
    per_channel = training
    block = longer_delays(at(case.make(neuron, per_channel, persistent_state=True), case, "used")).train(training)
    before = snapshot(block)
    first = written(block)
    with torch.no_grad():
        assert written(block) == first
    layer = block.exchange_layer()
    assert isinstance(layer, exchange.Layer)
    repr(block)
    assert snapshot(block) == before
    early = longer_delays(at(case.make(neuron, per_channel), case, "materialized"))
    early.load_state_dict(block.state_dict())
    assert written(early) == first  # no forward needed


@block_cases()
def test_export_before_any_shape_is_known_is_refused(neuron, case):
    block = case.make(neuron)
    if case.name in ("Dense", "Affine", "Output") and block.delay is None and block.synapse.kernel_size == (1, 1, 1):
        assert written(block) == written(at(case.make(neuron), case, "materialized"))  # known from the start
        return
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        group = file.create_group("layer/0")
        with pytest.raises(ExchangeError, match=f"{case.name}, field shape: not known yet; call materialize"):
            block.export_hdf5(group)
        assert not len(group)  # nothing half written


@FAMILY
def test_weights_off_the_grid_are_refused(neuron):
    module = block_module(neuron)
    block = module.Dense(params(neuron), 6, 5, pre_hook_fx=None)
    block.materialize((6,))
    parts = (block.synapse.real, block.synapse.imag) if neuron.complex else (block.synapse,)
    with pytest.raises(ExchangeError, match=r"Dense, field weight: expected multiples of 1/64 in -256\.\.254"):
        block.exchange_layer()
    for value in (4.0, -4.5, float("nan"), float("inf")):
        parts[-1].weight.data.fill_(value)
        with pytest.raises(ExchangeError, match="field weight"):
            block.exchange_layer()
    for part in parts:
        part.weight.data.fill_(-4.0)
    assert (block.exchange_layer().fields["weight/imag" if neuron.complex else "weight"] == -256).all()


@FAMILY
def test_an_input_layer_has_no_place_for_a_norm(neuron):
    block = block_module(neuron).Input(params(neuron, norm=neurons.norm.MeanOnlyBatchNorm))
    block.materialize((6,))
    with pytest.raises(ExchangeError, match="Input, field bias"):
        block.exchange_layer()


@FAMILY
def test_bad_arguments_are_refused(neuron):
    module = block_module(neuron)
    for words, options in [
        (r"mask of shape \(5, 6\), got \(6, 5\)", {"mask": torch.ones(6, 5)}),
        (r"mask of shape \(5, 6\), got \(5,\)", {"mask": torch.ones(5)}),
        ("expected pre_hook_fx callable, None or 'quantize_8bit', got 'other'", {"pre_hook_fx": "other"}),
        ("expected pre_hook_fx callable", {"pre_hook_fx": 3}),
        ("finite weight_scale", {"weight_scale": float("inf")}),
    ]:
        with pytest.raises(ParameterError, match=words):
            module.Dense(params(neuron), 6, 5, **options)
    with pytest.raises(ParameterError, match="expected neuron_params"):
        module.Dense(None, 6, 5)
    with pytest.raises(ParameterError, match="neuron_params beside weight or bias"):
        module.Input(None, weight=1.0)
    with pytest.raises(TypeError, match="unexpected keyword"):
        module.Dense(params(neuron), 6, 5, delays=True)
