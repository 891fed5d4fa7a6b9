"""Blocks with modes are slayer's with an activation: same constructors, spikes, state_dict and export."""

import dataclasses
import importlib
import inspect

import numpy as np
import pytest
import torch

from lavadl_lite.bootstrap import Mode, block
from lavadl_lite.bootstrap.ann_sampler import AnnSampler, GainSampler
from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.neuron import alif, cuba, rf
from tests.contracts.families import BLOCKS, PARAMS, WITHOUT_NEURONS, block_module

NEURONS = (cuba.Neuron, alif.Neuron)
SAMPLED = ("Input", "Dense", "Conv", "ConvT", "Pool", "Unpool")
FAMILY = pytest.mark.parametrize("neuron", NEURONS, ids=lambda neuron: neuron.type_name)


def module_of(neuron):
    return importlib.import_module(neuron.__module__.replace("slayer.neuron", "bootstrap.block"))


def cases():
    """Those of slayer's contracts that are offered here; every block of ALIF once, every case of CUBA."""
    offered = [case for case in BLOCKS if case.name in block.cuba.__all__ and "no_neuron" not in case.options]
    last = {case.name: case for case in offered}.values()
    pairs = [(n, case) for n, some in zip(NEURONS, (offered, last), strict=True) for case in some]
    return [pytest.param(n, case, id=f"{n.type_name}-{case}") for n, case in pairs]


def pair(neuron, case):
    """The block of ours and that of slayer from the same draws."""
    if case.name == "Affine":
        case = dataclasses.replace(case, options={"dynamics": True} | case.options)
    theirs = case.make(neuron)
    options = {} if case.name in WITHOUT_NEURONS else {"neuron_params": dict(PARAMS[neuron.type_name])}
    torch.manual_seed(3)
    return getattr(module_of(neuron), case.name)(**options, **case.options | _dynamics(case)), theirs


def _dynamics(case):
    return {"dynamics": case.options.get("dynamics", True)} if case.name == "Affine" else {}


@FAMILY
def test_a_block_says_nothing_but_its_neuron(neuron):
    module = module_of(neuron)
    assert set(module.__all__) == {*SAMPLED, "Flatten", "Average", "Affine", "Output"}
    for name in module.__all__:
        cls = getattr(module, name)
        assert {n for n in vars(cls) if not n.startswith("__")} == {"neuron_type"}
        assert cls.neuron_type is neuron
        assert cls.__mro__[1].__name__ == f"Abstract{name}"
        assert issubclass(cls, getattr(block_module(neuron), name).__mro__[1])


@pytest.mark.parametrize("name", block.cuba.__all__)
def test_arguments_are_those_of_slayer_and_then_a_sampler(name):
    ours = list(inspect.signature(getattr(block.cuba, name)).parameters.values())
    theirs = list(inspect.signature(getattr(block_module(cuba.Neuron), name)).parameters.values())
    if name in SAMPLED:
        assert ours.pop().name == "sampler"
    if name == "Affine":  # defect B15: read without dynamics, exported with them
        at = [p.name for p in ours].index("dynamics")
        assert ours.pop(at).default is False
        theirs.pop(at)
    assert ours == theirs


@pytest.mark.parametrize(("neuron", "case"), cases())
def test_spikes_states_and_export_are_those_of_slayer(neuron, case):
    ours, theirs = pair(neuron, case)
    x = case.input()
    torch.manual_seed(0)
    found = ours(x, Mode.SNN)
    torch.manual_seed(0)
    assert torch.equal(found, theirs(x))
    saved = theirs.state_dict()
    assert {name for name in ours.state_dict() if not name.startswith("f.")} == set(saved)
    ours.load_state_dict(saved)  # and lava-dl's, whose names slayer's are
    ours, theirs = ours.exchange_layer(), theirs.exchange_layer()
    assert ours.type == theirs.type
    for fields, expected in ((ours.fields, theirs.fields), (ours.neuron or {}, theirs.neuron or {})):
        assert fields.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(fields[name], value)


@pytest.mark.parametrize("name", SAMPLED)
def test_the_sampler_is_the_one_given(name):
    """Defect B18: no argument reached it."""
    case = next(case for case in BLOCKS if case.name == name and "no_neuron" not in case.options)
    sampler = AnnSampler(num_centers=3)
    made = getattr(block.cuba, name)(PARAMS["CUBA"], **case.options, sampler=sampler)
    assert made.f is sampler
    other = getattr(block.cuba, name)(PARAMS["CUBA"], **case.options)
    assert (other.f.num_centers, other.f.sample_range, other.f.eps) == (5, (0.1, 0.9), 1e-5)


@pytest.mark.parametrize("name", SAMPLED)
def test_what_is_no_sampler_of_rates_is_refused(name):
    case = next(case for case in BLOCKS if case.name == name and "no_neuron" not in case.options)
    for sampler in (AnnSampler, {"num_centers": 3}, 0, GainSampler()):
        with pytest.raises(ParameterError, match="expected sampler to be an AnnSampler, got"):
            getattr(block.cuba, name)(PARAMS["CUBA"], **case.options, sampler=sampler)


def test_read_outs_have_a_gain_where_they_have_dynamics():
    assert block.cuba.Affine(PARAMS["CUBA"], 3, 2).f is None
    assert isinstance(block.cuba.Affine(PARAMS["CUBA"], 3, 2, dynamics=True).f, GainSampler)
    assert isinstance(block.cuba.Output(PARAMS["CUBA"], 3, 2).f, GainSampler)


def test_a_complex_neuron_is_refused():
    """Defect B9: the check never ran."""
    from lavadl_lite.bootstrap.block.shapes import AbstractDense

    class Dense(AbstractDense):
        neuron_type = rf.Neuron

    with pytest.raises(ParameterError, match="one real input, got RF_PHASE"):
        Dense(PARAMS["RF_PHASE"], 3, 2)


def test_an_input_needs_its_neuron():
    with pytest.raises(AssertionError, match="neuron_params"):
        block.cuba.Input()
