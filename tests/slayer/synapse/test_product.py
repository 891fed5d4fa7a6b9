"""The product of a dense synapse: events alone or everything, the same sums, the same gradients."""

import pytest
import torch

from lavadl_lite.slayer.synapse import product as module
from lavadl_lite.slayer.synapse.product import product

WEIGHT = (70, 40, 1, 1, 1)


@pytest.fixture
def small(monkeypatch):
    """Lists events however little there is to do."""
    monkeypatch.setattr(module, "_MANY", 0)


def drawn(rate=0.05, shape=(3, 40, 50)):
    torch.manual_seed(0)
    weight = torch.randint(-128, 128, WEIGHT).div(32).requires_grad_()
    x = (torch.rand(shape) < rate).float().requires_grad_()
    return weight, x


def everything(weight, x):
    return module._Product.apply(weight, x)


def node(y):
    return type(y.grad_fn).__name__


@pytest.mark.parametrize("transposed", [False, True])
def test_events_alone_give_the_sums_and_gradients_of_everything(small, transposed):
    weight, x = drawn()
    given = x.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_() if transposed else x
    y, truth = product(weight, given), everything(weight, x)
    assert (node(y), node(truth)) == ("_EventProductBackward", "_ProductBackward")
    assert torch.equal(y, truth)
    upstream = torch.randn_like(y)
    ours = torch.autograd.grad(y, (weight, given), upstream)
    exact = [v.detach().double().requires_grad_() for v in (weight, x)]
    exact_y = exact[0].flatten(1) @ exact[1]
    for a, b in zip(ours, torch.autograd.grad(exact_y, exact, upstream.double()), strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max() / b.abs().max()) < 1e-6


def test_only_the_gradients_that_are_wanted(small):
    weight, x = drawn()
    for wanted in (weight, x):
        inputs = [v if v is wanted else v.detach() for v in (weight, x)]
        (ours,) = torch.autograd.grad(product(*inputs).sum(), wanted)
        (truth,) = torch.autograd.grad(everything(*inputs).sum(), wanted)
        assert torch.equal(ours, truth)  # sums of integers and of 32nds
    assert not product(weight.detach(), x.detach()).requires_grad


def test_a_second_derivative_is_that_of_everything(small):
    weight, x = drawn()
    found = []
    for run in (product, everything):
        first = torch.autograd.grad(run(weight, x).square().sum(), (weight, x), create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), (weight, x)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))


def test_everything_is_multiplied_where_events_do_not_pay(small, monkeypatch):
    weight, x = drawn()
    dense, single = drawn(rate=0.5)[1], x[..., :1]
    for y in (product(weight, dense), product(weight, single), product(weight[:31], x)):
        assert node(y) == "_ProductBackward"
    double = product(weight.double(), x.double())
    assert node(double) == "_ProductBackward"
    assert double.dtype == torch.float64
    # few among those looked at first, but many in all
    x = torch.zeros(1, 40, 410, requires_grad=True)
    looked_at = torch.arange(0, x.numel(), x.numel() // module._SAMPLE | 1)
    hidden = torch.ones(x.numel()).index_fill_(0, looked_at, 0).view(x.shape)
    assert node(product(weight, (x + hidden))) == "_ProductBackward"
    monkeypatch.undo()
    assert node(product(weight, drawn()[1])) == "_ProductBackward"


def test_a_large_layer_takes_events_by_itself():
    weight = torch.randint(-128, 128, (512, 700, 1, 1, 1)).div(32).requires_grad_()
    x = (torch.rand(2, 700, 100) < 0.03).float()
    y = product(weight, x)
    assert node(y) == "_EventProductBackward"
    assert torch.equal(y, everything(weight, x))
