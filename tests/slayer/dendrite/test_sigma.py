"""The sigma decoder as a module: sums, state, shapes."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite import slayer
from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.dendrite import Sigma
from tests import strategies


@settings(max_examples=100)
@given(strategies.shapes(), st.data())
def test_it_sums_over_time_whole_and_in_chunks(shape, data):
    x = torch.from_numpy(data.draw(strategies.inputs(shape)))
    whole = Sigma()(x)
    torch.testing.assert_close(whole, torch.cumsum(x, -1), rtol=0, atol=0, equal_nan=True)
    layer = Sigma(persistent_state=True)
    parts = [layer(part) for part in x.split(data.draw(strategies.chunks(shape[-1])), -1)]
    torch.testing.assert_close(torch.cat(parts, -1), whole, rtol=0, atol=0, equal_nan=True)


def test_it_is_offered_by_slayer():
    assert slayer.dendrite.Sigma is Sigma


def test_without_persistent_state_every_call_begins_anew():
    layer, x = Sigma(), torch.rand(2, 3, 10)
    assert torch.equal(layer(x), layer(x))
    assert layer.pre_state.tolist() == [0]


def test_reset_state_and_a_new_batch_size_begin_anew():
    layer, x = Sigma(persistent_state=True), torch.rand(2, 3, 10)
    first = layer(x)
    assert not torch.equal(layer(x), first)
    layer.reset_state()
    assert torch.equal(layer(x), first)
    layer.pre_state *= 0  # as lava-dl's users write it
    assert torch.equal(layer(x), first)
    assert torch.equal(layer(x[:1]), first[:1])
    assert layer.pre_state.shape == (1, 3)


def test_gradients_flow_within_a_chunk_and_end_at_its_border():
    layer = Sigma(persistent_state=True)
    first, second = torch.rand(2, 2, 3, 10).requires_grad_()
    layer(first)
    g_first, g_second = torch.autograd.grad(layer(second).sum(), (first, second), allow_unused=True)
    assert g_first is None
    assert g_second[0, 0].tolist() == list(range(10, 0, -1))


def test_device_params():
    assert Sigma().device_params == {"type": "SDNN", "sigma_output": True}


def test_state_is_not_in_the_state_dict():
    layer = Sigma(persistent_state=True)
    layer(torch.rand(2, 3, 4))
    assert not layer.state_dict()
    assert [name for name, _ in layer.named_buffers()] == ["pre_state"]


def test_copies_and_pickles_go_on_alike():
    layer, x = Sigma(persistent_state=True), torch.rand(2, 3, 10)
    layer(x)
    others = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    truth = layer(x)
    assert all(torch.equal(other(x), truth) for other in others)


def test_shapes_are_fixed_at_once_or_at_the_first_call():
    layer = Sigma()
    assert layer.shape is None
    assert layer.materialize((3, 2)) == (3, 2)
    with pytest.raises(ShapeError, match=r"expected an input \(N, 3, 2, T\), got shape \(1, 4, 2, 5\)"):
        layer(torch.ones(1, 4, 2, 5))
    layer = Sigma()
    layer(torch.ones(1, 4, 5))
    assert layer.shape == (4,)
    with pytest.raises(ShapeError, match=r"expected an input \(N, 4, T\)"):
        layer(torch.ones(1, 3, 5))


def test_bad_input_is_refused():
    with pytest.raises(ShapeError, match=r"expected an input \(N, C, \.\.\., T\), got shape \(2, 3\)"):
        Sigma()(torch.ones(2, 3))
    with pytest.raises(ParameterError, match=r"floating-point type, got torch\.int64"):
        Sigma()(torch.ones(2, 3, 4, dtype=torch.int64))
    with pytest.raises(ShapeError, match="expected a spatial shape"):
        Sigma().materialize(())


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0)])
def test_nothing_in_nothing_out(shape, persistent):
    layer, x = Sigma(persistent), torch.zeros(shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape
