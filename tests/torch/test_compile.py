"""torch.compile gives one graph, and in it the numbers of eager mode."""

import shutil
import subprocess
import sys

import pytest
import torch

from lavadl_lite import slayer
from lavadl_lite.slayer.neuron.dynamics import leaky_integrator, recurrent
from tests.torch.networks import NEURON, gradients, spikes, two_blocks

# inside torch's own compiler
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:The .grad attribute of a Tensor:UserWarning"
)

has_compiler = any(map(shutil.which, ("g++", "clang++", "cl")))


@pytest.fixture(autouse=True)
def _forget_graphs():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(module, backend="aot_eager"):
    return torch.compile(module, backend=backend, fullgraph=True)


@pytest.mark.parametrize("options", [{}, {"graded_spike": True}, {"shared_param": False}], ids=str)
def test_forward_and_gradients_are_those_of_eager_mode(options):
    x = spikes(3, 6, 70)
    want = gradients(two_blocks(**options), x)
    assert want[0].any()
    assert all(grad.any() for grad in want[1:])
    for got, wanted in zip(gradients(compiled(two_blocks(**options)), x), want, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.skipif(not has_compiler, reason="no C++ compiler for inductor")
def test_inductor_spikes_as_eager_mode_does():
    x = spikes(3, 6, 70)
    want = gradients(two_blocks(), x)
    got = gradients(compiled(two_blocks(), "inductor"), x)
    assert torch.equal(got[0], want[0])
    for one, other in zip(got[1:], want[1:], strict=True):  # the weights' normalisation is inductor's own
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.abs().max()))


def test_the_graph_has_no_breaks():
    report = torch._dynamo.explain(two_blocks())(spikes(3, 6, 70))
    assert (report.graph_count, report.graph_break_count) == (1, 0), report.break_reasons


def test_other_sizes_need_no_breaks_either():
    network, twin = two_blocks(), two_blocks()
    run = compiled(network)
    for N, T in ((3, 70), (4, 70), (4, 130), (2, 64)):
        assert torch.equal(run(spikes(N, 6, T)), twin(spikes(N, 6, T)))
    with torch.no_grad():
        assert torch.equal(run(spikes(4, 6, 70)), twin(spikes(4, 6, 70)))


def test_a_persistent_state_is_carried_from_graph_to_graph():
    network, twin = two_blocks(persistent_state=True), two_blocks(persistent_state=True)
    run = compiled(network)
    for seed in range(3):
        x = spikes(2, 6, 40, seed=seed)
        assert torch.equal(run(x), twin(x))
    assert torch.equal(network[0].neuron.voltage_state, twin[0].neuron.voltage_state)


def test_separate_integrators_compile():
    def network():
        torch.manual_seed(0)
        block = slayer.block.cuba.Dense({**NEURON, "norm": slayer.neuron.norm.MeanOnlyBatchNorm}, 6, 5)
        block.materialize((6,))
        return block

    for got, want in zip(*(gradients(n, spikes(3, 6, 70)) for n in (compiled(network()), network())), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize(("family", "persistent"), [("cuba", False), ("adrf", True)])
def test_feedback_compiles(family, persistent):
    """The whole time loop is one op of the graph."""
    made = {"cuba": (1.0, 0.25, 0.1), "adrf": (0.5, 0.25, 8, 0.05, 0.2, 0.5)}[family]
    network, twin = (
        getattr(slayer.neuron, family).Neuron(*made, persistent_state=persistent, requires_grad=True) for _ in range(2)
    )
    generator = torch.Generator().manual_seed(0)
    parts = 1 + network.complex
    x = [torch.randn(3, 20, 30, generator=generator).requires_grad_() for _ in range(parts)]
    weights = [(torch.randn(20, 20, generator=generator) / 8).requires_grad_() for _ in range(parts)]
    arguments = (tuple(x), tuple(weights)) if network.complex else (x[0], weights[0])
    network.materialize((20,))

    def everything(function, neuron):
        spikes = [function(neuron, *arguments) for _ in range(2)]
        leaves = [*x, *weights, *(parameter for parameter in neuron.parameters() if parameter.requires_grad)]
        return *spikes, *torch.autograd.grad(spikes[1].sum(), leaves)

    wanted = everything(recurrent.spikes, twin)
    assert wanted[0].any()
    for got, want in zip(everything(compiled(recurrent.spikes), network), wanted, strict=True):
        assert torch.equal(got, want)


def test_numbers_may_vary_from_call_to_call():
    x = spikes(2, 3, 40)
    shift = compiled(slayer.axon.delay)
    for steps in (1, 2, 5, -3):
        assert torch.equal(shift(x, steps), slayer.axon.delay(x, steps))
    decay, state = torch.tensor([410.0]), torch.zeros(1)
    integrate = compiled(leaky_integrator.dynamics)
    for threshold in (None, 1.5, 2.5):
        want = leaky_integrator.dynamics(x, decay, state, 4096, threshold)
        assert torch.equal(integrate(x, decay, state, 4096, threshold), want)


def test_shapes_are_made_outside_the_graph():
    def block():
        return slayer.block.cuba.Dense(NEURON, 6, 20, delay=True)

    x = spikes(2, 6, 40)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="graph_break"):
        compiled(block())(x)
    torch._dynamo.reset()
    network = block()
    run = torch.compile(network, backend="aot_eager")
    first = run(x)
    assert network.shape == (20,)
    assert torch.equal(run(x), first)


def test_a_process_may_begin_with_a_compiled_call():
    """Kernels load at their first use: here that is inside torch's tracer."""
    code = """
import torch
from tests.torch.networks import spikes, two_blocks
run = torch.compile(two_blocks(), backend="aot_eager", fullgraph=True)
run(spikes(3, 6, 70).requires_grad_()).sum().backward()
"""
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"], check=True)
