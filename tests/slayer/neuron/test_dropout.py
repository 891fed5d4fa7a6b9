import pickle

import pytest
import torch
from hypothesis import given

from lavadl_lite.errors import ShapeError
from lavadl_lite.slayer.neuron.dropout import Dropout
from tests import strategies


@given(shape=strategies.shapes())
def test_neurons_are_silent_or_scaled_for_the_whole_sequence(shape):
    y = Dropout(0.25)(torch.ones(shape))
    assert y.shape == shape
    if y.numel():
        first = y[..., :1]
        assert torch.equal(y, first.expand(shape))
        assert torch.isin(first, torch.tensor([0, 1 / 0.75])).all()


def test_each_neuron_of_each_sample_is_drawn():
    torch.manual_seed(0)
    kept = Dropout(0.3)(torch.ones(50, 10, 10, 2))[..., 0] > 0
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert not torch.equal(kept[0], kept[1])
    assert 0 < kept[0].float().mean() < 1


def test_same_seed_draws_what_torch_draws():
    x = torch.randn(4, 6, 9)
    torch.manual_seed(3)
    y = Dropout(0.5)(x)
    torch.manual_seed(3)
    assert torch.equal(y, torch.nn.functional.dropout3d(x.reshape(4, 6, 1, 1, 9), 0.5).reshape(4, 6, 9))


@pytest.mark.parametrize("p", [0, 1])
def test_certain_cases(p):
    x = torch.randn(3, 4, 5)
    assert torch.equal(Dropout(p)(x), (1 - p) * x)
    assert torch.equal(Dropout(p).eval()(x), x)


def test_in_place():
    x = torch.ones(20, 10, 5)
    y = Dropout(0.5, inplace=True)(x)
    assert torch.equal(x, y)
    assert not y.all()


def test_gradient_is_that_of_the_scaling():
    x = torch.randn(5, 4, 6, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), y.detach())


def test_module():
    assert isinstance(Dropout(), torch.nn.Dropout3d)
    assert pickle.loads(pickle.dumps(Dropout(0.3))).p == 0.3
    with pytest.raises(ShapeError, match="N"):
        Dropout()(torch.ones(3))


def test_compiled_runs_without_a_break():
    y = torch.compile(Dropout(0.5), backend="aot_eager", fullgraph=True)(torch.ones(3, 4, 5))
    assert torch.isin(y, torch.tensor([0.0, 2.0])).all()
