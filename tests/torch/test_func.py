"""What may be differentiated and how: torch.func.grad gives backward's gradients, everything else is refused aloud."""

import pytest
import torch

from lavadl_lite import slayer
from lavadl_lite.slayer.neuron.dynamics import cuba, leaky_integrator
from tests.torch.networks import spikes, two_blocks

DECAY, OTHER = torch.tensor([410.0]), torch.tensor([100.0])
STATE = torch.zeros(1)

FUNCTIONS = {
    "leaky": lambda x: leaky_integrator.dynamics(x, DECAY, STATE, 4096, 1.25),
    "cuba": lambda x: cuba.spikes(x, DECAY, OTHER, 4096, 1.0, 1.0, 0.5)[0],
    "delay": lambda x: slayer.axon.delay(x, 2),
}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def signal():
    return torch.randn(2, 3, 70, generator=torch.Generator().manual_seed(0))


def energy(function):
    return lambda x: function(x).square().sum()


@every_function
def test_func_grad_is_backward(function):
    x = signal().requires_grad_()
    (want,) = torch.autograd.grad(energy(function)(x), x)
    assert torch.equal(torch.func.grad(energy(function))(x.detach()), want)
    _, pull = torch.func.vjp(energy(function), x.detach())
    assert torch.equal(pull(torch.tensor(1.0))[0], want)


def test_func_grad_of_a_networks_parameters():
    network, x = two_blocks(), spikes(3, 6, 70)
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    got = torch.func.grad(lambda values: torch.func.functional_call(network, values, (x,)).sum())(parameters)
    network(x).sum().backward()
    for name, parameter in network.named_parameters():  # sums over weights may run in another order
        torch.testing.assert_close(got[name], parameter.grad, rtol=0, atol=1e-6 * float(parameter.grad.abs().max()))


@every_function
def test_a_second_derivative_is_refused(function):
    x = signal().requires_grad_()
    (grad,) = torch.autograd.grad(energy(function)(x), x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(grad.sum(), x)
    with pytest.raises(RuntimeError, match="second derivative"):
        grad.sum().backward()
    once = torch.func.grad(energy(function))
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.func.grad(lambda x: once(x).sum())(x.detach())


def test_a_second_derivative_of_the_compiled_op_is_refused():
    x = signal().requires_grad_()
    rows = x.shape[:-1]
    y = leaky_integrator._leaky.compiled(x, DECAY.expand(rows), STATE.expand(rows), 4096, 5000)
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(grad.sum(), x)


@every_function
def test_a_graph_that_is_created_but_not_differentiated_gives_the_same(function):
    x = signal().requires_grad_()
    (want,) = torch.autograd.grad(energy(function)(x), x)
    (got,) = torch.autograd.grad(energy(function)(x), x, create_graph=True)
    assert torch.equal(got, want)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@every_function
def test_maps_and_forward_mode_are_refused(function):
    x = signal()
    with pytest.raises(RuntimeError, match="vmap"):
        torch.vmap(function)(torch.stack([x, x]))
    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(function, (x,), (x,))
    y = x.requires_grad_()
    with pytest.raises(TypeError, match=r"a kernel, got a Tensor without, as torch\.vmap"):
        torch.autograd.grad(function(y), y, torch.ones(5, *x.shape), is_grads_batched=True)


def test_two_calls_before_one_backward():
    """Chunks of time: the second call leaves alone what the first one's backward waits for."""
    network = two_blocks(persistent_state=True)
    parts = [network(chunk) for chunk in spikes(3, 6, 80).split(40, -1)]
    torch.cat(parts, -1).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
