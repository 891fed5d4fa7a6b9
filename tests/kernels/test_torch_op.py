"""A forward and a backward body as torch sees them, on an op that is easy to check: ``factor * x ** 2``."""

import pytest
import torch
from torch import Tensor

from lavadl_lite.kernels.torch_op import forward_op, torch_op


def _forward(x: Tensor, bias: Tensor, factor: float) -> Tensor:
    return factor * x.detach() ** 2 + bias.detach()


def _backward(g: Tensor, x: Tensor, factor: float) -> Tensor:
    return 2 * factor * g.detach() * x.detach()


def _remember(ctx, inputs, output):
    ctx.save_for_backward(inputs[0])
    ctx.factor = inputs[2]


square = torch_op(
    "test_square", _forward, lambda x, bias, factor: torch.empty_like(x), _backward,
    lambda g, x, factor: torch.empty_like(x), _remember, lambda ctx, g: (g, *ctx.saved_tensors, ctx.factor), inputs=3,
)  # fmt: skip


def _signs(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.detach() < 0, x.detach().abs()


signs = forward_op("test_signs", _signs, lambda x: (x < 0, torch.empty_like(x)))
X = torch.tensor([1.0, -2.0, 3.0])


@pytest.fixture(autouse=True)
def _forget_graphs():
    yield
    torch._dynamo.reset()


def compiled(function):
    return torch.compile(function, backend="aot_eager", fullgraph=True)


@pytest.mark.parametrize("run", [square, compiled(square)], ids=["eager", "compiled"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_values_and_gradients_are_those_of_the_bodies(run):
    x, bias = X.clone().requires_grad_(), torch.ones(3, requires_grad=True)
    y = run(x, bias, 3.0)
    assert y.tolist() == [4, 13, 28]
    (g,) = torch.autograd.grad((y * X).sum(), x)
    assert g.tolist() == (6 * X * X).tolist()
    y = run(x, bias, 3.0)
    assert torch.autograd.grad(y.sum(), bias, allow_unused=True) == (None,)  # the body gives no gradient for it


def test_nothing_is_recorded_where_no_gradient_is_wanted():
    assert not square(X, X, 1.0).requires_grad
    with torch.no_grad():
        assert not square(X.clone().requires_grad_(), X, 1.0).requires_grad


def test_the_node_of_the_graph_has_the_name_of_the_op():
    y = square(X.clone().requires_grad_(), X, 1.0)
    assert "Test_square" in type(y.grad_fn).__name__
    assert square.__name__ == "test_square"


def test_a_second_derivative_is_refused():
    x = X.clone().requires_grad_()
    (g,) = torch.autograd.grad(square(x, X, 1.0).sum(), x, create_graph=True)
    assert g.tolist() == (2 * X).tolist()
    with pytest.raises(RuntimeError, match="a second derivative was asked for"):
        g.sum().backward()


def test_torch_func_takes_the_gradient():
    g = torch.func.grad(lambda x: square(x, X, 2.0).sum())(X)
    assert g.tolist() == (4 * X).tolist()


@pytest.mark.parametrize("run", [signs, compiled(signs)], ids=["eager", "compiled"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_op_without_a_gradient_carries_none(run):
    negative, size = run(X)
    assert negative.tolist() == [False, True, False]
    assert size.tolist() == [1, 2, 3]
    if run is signs:
        assert not any(y.requires_grad for y in run(X.clone().requires_grad_()))


def test_torch_finds_nothing_wrong_with_them():
    torch.library.opcheck(square.compiled, (X.clone().requires_grad_(), X, 2.0))
    torch.library.opcheck(signs.compiled, (X,))
