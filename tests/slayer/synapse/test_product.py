"""The product of a dense synapse: events alone or everything, at once or in parts, the same sums and gradients."""

import pytest
import torch

from lavadl_lite.slayer.synapse import product as module
from lavadl_lite.slayer.synapse.product import normed_product, product
from lavadl_lite.slayer.utils.quantize import Grid

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


GRID = Grid(1 / 32, -128, 127)


def normalised(out=70, inputs=60, steps=5, rate=0.5):
    """Directions, and gains with which some of the weights leave the range, and an input."""
    torch.manual_seed(1)
    direction = torch.randn(out, inputs, 1, 1, 1).requires_grad_()
    gain = (3 + 3 * torch.rand(out, 1, 1, 1, 1)).mul(inputs**0.5).requires_grad_()
    return direction, gain, (torch.rand(3, inputs, steps) < rate).float().requires_grad_()


def in_parts(direction, gain, x):
    return product(GRID(torch._weight_norm(direction, gain, 0)), x)


@pytest.mark.parametrize("sizes", [(70, 60, 5), (2100, 2, 1), (2, 2100, 1), (400, 350, 1), (300, 500, 20)])
def test_a_normalised_weight_gives_the_sums_and_gradients_of_its_parts(sizes):
    leaves = normalised(*sizes)
    y, truth = normed_product(*leaves, GRID), in_parts(*leaves)
    assert (node(y), node(truth)) == ("_NormedProductBackward", "_ProductBackward")
    assert torch.equal(y, truth)
    with torch.no_grad():
        steps = (32 * torch._weight_norm(*leaves[:2], 0)).round()
        inside, held = (steps >= -128) & (steps <= 127), steps.clamp(-128, 127) / 32
    assert inside.any()
    assert not inside.all()
    exact = [v.detach().double().requires_grad_() for v in leaves]
    turned = exact[1] / exact[0].flatten(1).norm(dim=1).view_as(exact[1])
    passed = turned * exact[0] * inside
    weight = passed + (held - passed).detach()  # rounded as it was
    upstream = torch.randn_like(y)
    truths = torch.autograd.grad(everything(weight, exact[2]), (*exact, weight), upstream.double())
    scales = [g.abs().max() for g in (truths[3] * turned.detach(), *truths[1:3])]
    for given in (leaves, leaves[:2], leaves[2:], leaves[1:2]):
        inputs = [v if any(v is g for g in given) else v.detach() for v in leaves]
        found = torch.autograd.grad(normed_product(*inputs, GRID), given, upstream)
        for leaf, ours in zip(given, found, strict=True):
            place = next(i for i, v in enumerate(leaves) if v is leaf)
            assert ours.shape == leaf.shape
            assert float((ours - truths[place]).abs().max() / scales[place]) < 1e-6


def test_a_second_derivative_of_a_normalised_weight_is_that_of_its_parts():
    leaves, found = normalised(), []
    for made in (lambda *given: normed_product(*given, GRID), in_parts):
        first = torch.autograd.grad(made(*leaves).square().sum(), leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def test_a_gradient_that_somebody_keeps_is_left_as_it_is():
    direction, gain, x = normalised()
    weight, upstream = GRID.normed(direction, gain), torch.randn(70, 60, 1, 1, 1)
    kept = upstream.clone()
    torch.autograd.grad(weight, (direction, gain), upstream)
    y, upstream_y = normed_product(direction, gain, x, GRID), torch.randn(3, 70, 5)
    kept_y = upstream_y.clone()
    torch.autograd.grad(y, (direction, gain, x), upstream_y, retain_graph=True)
    torch.autograd.grad(y, (direction, gain, x), upstream_y)
    assert torch.equal(upstream, kept)
    assert torch.equal(upstream_y, kept_y)


def test_parts_are_taken_where_torch_has_rules_and_where_events_are_few(small):
    direction, gain, x = normalised(steps=50, rate=0.05)
    events = normed_product(direction, gain, x, GRID)
    assert node(events) == "_EventProductBackward"
    assert torch.equal(events, everything(GRID.normed(direction, gain), x))
    few = normed_product(direction[:, :40], gain, x[:, :40], GRID)  # weights that torch rounds
    assert node(few) == "_EventProductBackward"
    assert node(normed_product(direction[:, :40], gain, x[:, :40, :1], GRID)) == "_ProductBackward"
    double = normed_product(direction.double(), gain.double(), x.double(), GRID)
    assert double.dtype == torch.float64
    assert node(double) == "_ProductBackward"
    with torch.autocast("cpu", torch.bfloat16):
        assert normed_product(direction, gain, x, GRID).dtype == torch.bfloat16
    given = direction.detach(), gain.detach(), x.detach()
    ours, theirs = (
        torch.func.grad(lambda v, made=made: made(v, *given[1:]).square().sum())(given[0])
        for made in (lambda *given: normed_product(*given, GRID), in_parts)
    )
    torch.testing.assert_close(ours, theirs)


def by_everything(direction, gain, x):
    return everything(GRID.normed(direction, gain), x)


@pytest.mark.parametrize("sizes", [(70, 40, 5), (512, 512, 64), (600, 700, 100)])
def test_mixed_precision_around_the_backward_alone_changes_nothing(sizes):
    direction, gain, x = normalised(*sizes, rate=0.03)
    weight = GRID.normed(direction, gain).detach().requires_grad_()
    for made, leaves in (
        (lambda: normed_product(direction, gain, x, GRID), (direction, gain, x)),
        (lambda: product(weight, x), (weight, x)),
    ):
        upstream = torch.randn_like(made())
        plain = torch.autograd.grad(made(), leaves, upstream)
        y = made()
        with torch.autocast("cpu", torch.bfloat16):
            mixed = torch.autograd.grad(y, leaves, upstream)
        assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


@pytest.mark.parametrize("sizes", [(70, 40, 5), (100, 100, 5)])  # weights that torch rounds, or a kernel
def test_hooks_run_once_where_a_second_derivative_is_wanted(sizes):
    leaves, calls = normalised(*sizes), []
    for leaf in leaves:
        leaf.register_hook(lambda grad: calls.append(grad) or 2 * grad)
    for made in (lambda *given: normed_product(*given, GRID), by_everything):
        plain = torch.autograd.grad(made(*leaves).square().sum(), leaves)
        calls.clear()
        again = torch.autograd.grad(made(*leaves).square().sum(), leaves, create_graph=True)
        assert len(calls) == len(leaves)
        for a, b in zip(plain, again, strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-5 * float(a.abs().max()))


@pytest.mark.parametrize("sizes", [(70, 40, 5), (100, 100, 5)])
@pytest.mark.parametrize("trained", [0, 1])
def test_a_frozen_part_has_no_part_in_a_second_derivative(sizes, trained):
    leaves, seconds = normalised(*sizes), []
    given = [leaf if i in (trained, 2) else leaf.detach() for i, leaf in enumerate(leaves)]
    for made in (lambda *given: normed_product(*given, GRID), by_everything, in_parts):
        (first,) = torch.autograd.grad(made(*given).square().sum(), given[trained], create_graph=True)
        seconds.append(torch.autograd.grad(first.square().sum(), (given[trained], given[2])))
    for a in seconds[:2]:
        for found, expected in zip(a, seconds[2], strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
