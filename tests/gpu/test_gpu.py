"""On a real GPU: the same numbers as on the CPU, on the right stream and device, and how near to a copy they run.

Run with ``pytest -m gpu tests/gpu``; elsewhere numba's simulator stands in (tests/cudasim), and tests/kernels/test_ptx.
"""

import itertools
import statistics
import time

import pytest
import torch

from lavadl_lite import kernels
from lavadl_lite.errors import DeviceError
from lavadl_lite.slayer import axon, io, neuron
from lavadl_lite.slayer.neuron.dynamics import (
    adaptive_phase_th,
    adaptive_threshold,
    alif,
    cuba,
    delta,
    leaky_integrator,
    recurrent,
    resonate,
    resonator,
    sigma,
    sigma_delta,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]

SHAPES = [(1, 1, 1), (2, 5, 33), (4, 37, 300), (3, 16, 0), (0, 4, 8), (2, 3, 5, 7, 65), (1, 4099, 64), (65, 3, 129)]
NEURON = {"w_scale": 64, "threshold": 1.0, "tau_rho": 0.8, "scale_rho": 0.3}


def on(device, *tensors):
    """Copies on ``device``, as leaves that want a gradient where the originals do."""
    return [t.detach().to(device).requires_grad_(t.requires_grad) for t in tensors]


def assert_same(function, leaves, exact=1):
    """The first ``exact`` outputs are equal on both devices, gradients of the first to rounding."""
    results = []
    for device in ("cpu", "cuda"):
        mine = on(device, *leaves)
        outputs = function(*mine)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        assert all(o.device.type == device for o in outputs)
        torch.manual_seed(1)
        outputs[0].backward(torch.randn(outputs[0].shape).to(device))
        results.append(([o.detach().cpu() for o in outputs], [leaf.grad.cpu() for leaf in mine if leaf.requires_grad]))
    (outputs, grads), (outputs_gpu, grads_gpu) = results
    for index in range(exact):
        assert torch.equal(outputs_gpu[index], outputs[index])
    for grad, grad_gpu in zip(grads, grads_gpu, strict=True):
        if grad.numel():
            assert (grad_gpu - grad).abs().max() <= 1e-5 * grad.abs().max()


def drawn(shape):
    torch.manual_seed(0)
    return (torch.randn(shape) * 0.6 + 0.05).requires_grad_()


def per_channel(shape, low, high):
    return torch.randint(low, high, (shape[1],)).float().requires_grad_()


def test_probe_finds_no_problem():
    assert kernels.cuda.problem() is None


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_cuba_equals_cpu(shape, persistent, graded):
    leaves = [drawn(shape), per_channel(shape, 0, 4097), per_channel(shape, 0, 4097)]
    if persistent:
        leaves += [torch.randn(shape[:-1]), torch.randn(shape[:-1])]

    def spikes(x, decay_c, decay_v, *states):
        named = dict(zip(("current_state", "voltage_state"), states, strict=False))
        return cuba.spikes(x, decay_c, decay_v, **NEURON, graded_spike=graded, **named)

    assert_same(spikes, leaves, exact=3)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_alif_equals_cpu(shape, persistent, graded):
    leaves = [drawn(shape), *(per_channel(shape, 0, 4097) for _ in range(2))]
    leaves += [per_channel(shape, 0, 4097).detach() for _ in range(2)]
    if persistent:
        leaves += [torch.randn(shape[:-1]) for _ in range(4)]
    names = "current_state", "voltage_state", "threshold_state", "refractory_state"

    def spikes(x, *parameters):
        states = dict(zip(names, parameters[4:], strict=False))
        return alif.spikes(x, *parameters[:4], **NEURON, threshold_step=0.25, graded_spike=graded, **states)

    assert_same(spikes, leaves, exact=5)


@pytest.mark.parametrize("threshold", [None, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_resonator_equals_cpu(shape, threshold):
    rows = shape[:-1]
    inputs = [torch.randn(shape, requires_grad=True) for _ in range(2)]
    turn = [torch.randint(500, 2800, rows).float().requires_grad_() for _ in range(2)]
    states = [torch.randn(rows, requires_grad=True) for _ in range(2)]
    assert_same(lambda *leaves: resonator.dynamics(*leaves, 64, threshold), [*inputs, *turn, *states], exact=2)


@pytest.mark.parametrize("phase", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_resonate_and_fire_equals_cpu(shape, phase, adaptive, graded):
    rows = shape[:-1]
    inputs = [torch.randn(shape, requires_grad=True) for _ in range(2)]
    turn = [torch.randint(500, 2800, rows).float().requires_grad_() for _ in range(2)]
    slow = [torch.randint(100, 1500, rows).float() for _ in range(2)]

    def run(*leaves):
        numbers = 64, 1.0, 0.8, 0.3, phase, graded
        return resonate.spikes(*leaves[:4], *numbers, adaptation=(*leaves[4:], 0.25) if adaptive else None)[0]

    assert_same(run, [*inputs, *turn, *slow])


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("family", ["cuba", "alif", "rf", "rf_iz", "adrf", "adrf_iz"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 37, 100), (200, 16, 9), (2, 300, 20)])
def test_feedback_equals_cpu(shape, family, graded):
    """Weights that are quantised, and small enough for exact sums of graded spikes."""
    arguments = [1.0, 0.25, 0.1] if family in ("cuba", "alif") else [1.0, 8, 0.1]
    if family not in ("cuba", "rf", "rf_iz"):
        arguments[1:1] = [0.25]
        arguments += [0.2, 0.5]
    made = getattr(neuron, family).Neuron(*arguments, graded_spike=graded, scale_grad=0.1)
    parts = 1 + made.complex
    x = [torch.randn(shape).mul(32).round().div(32).requires_grad_() for _ in range(parts)]
    weights = [torch.randint(-2, 3, (shape[1], shape[1])).div(32).requires_grad_() for _ in range(parts)]

    def run(*leaves):
        given = (leaves[:parts], leaves[parts:]) if made.complex else leaves
        return recurrent.spikes(made.to(leaves[0].device), *given)

    assert_same(run, [*x, *weights])


@pytest.mark.parametrize("phase", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_adaptive_threshold_equals_cpu(shape, phase):
    voltage, im, decay = drawn(shape).detach(), torch.randn(shape), per_channel(shape, 0, 4097).detach()
    states = [torch.randn(shape[:-1]) for _ in range(3)]

    def thresholds(device):
        v, i, d, th, r, before = on(device, voltage, im, decay, *states)
        rest = r, d, th, d, 0.25, 1.0, 64
        return adaptive_phase_th.dynamics(v, i, before, *rest) if phase else adaptive_threshold.dynamics(v, *rest)

    for here, there in zip(thresholds("cpu"), thresholds("cuda"), strict=True):
        assert torch.equal(here, there.cpu())


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_sigma_equals_cpu(shape, persistent):
    states = [torch.randn(shape[:-1], dtype=torch.float64)] if persistent else []
    assert_same(sigma.dynamics, [drawn(shape), *states], exact=2)


@pytest.mark.parametrize("mode", list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_delta_equals_cpu(shape, persistent, mode):
    threshold = torch.rand(shape[1]).add(0.1).requires_grad_()
    states = [torch.randn(shape[:-1]) for _ in range(3)] if persistent else []
    assert_same(
        lambda x, threshold, *states: delta.dynamics(x, threshold, 64, 0.7, 1.5, *mode, *states),
        [drawn(shape), threshold, *states],
        exact=4,
    )


@pytest.mark.parametrize("mode", list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_sigma_delta_equals_cpu(shape, persistent, mode):
    threshold, bias = torch.rand(shape[1]).add(0.1), torch.randn(shape[1])
    states = [torch.randn(shape[:-1]) for _ in range(4)] if persistent else []
    numbers = 64, sigma_delta.line_of(torch.relu), 0.7, 1.5, *mode
    assert_same(
        lambda x, threshold, *rest: sigma_delta.messages(x, threshold, *numbers, *rest),
        [drawn(shape), threshold.requires_grad_(), bias.requires_grad_(), *states],
        exact=5,
    )


@pytest.mark.parametrize("threshold", [None, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_leaky_equals_cpu(shape, threshold):
    state = torch.randn(shape[:-1]).requires_grad_()
    assert_same(
        lambda x, decay, s: leaky_integrator.dynamics(x, decay, s, 4096, threshold),
        [drawn(shape), per_channel(shape, 0, 4097), state],
    )


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if 0 not in shape])
def test_delay_equals_cpu(shape):
    def delayed(x, delays):
        module = axon.Delay().to(x.device)
        module.materialize(x.shape[1:-1])
        module.delay = torch.nn.Parameter(delays.detach().clone())
        y = module(x)
        # the gradient reaches the module's parameter, and from there the leaf
        module.delay.register_hook(lambda g: setattr(delays, "grad", g))
        return y

    assert_same(delayed, [drawn(shape), per_channel(shape, 0, 9)])


@pytest.mark.parametrize("steps", [-3, 0, 2, 1000])
def test_constant_delay_equals_cpu(steps):
    assert_same(lambda x: axon.delay(x, steps), [drawn((3, 5, 70))])


def test_extreme_input_equals_cpu():
    x = torch.randn(4, 40, 100)
    extremes = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30, -1e30])
    where = torch.rand(x.shape) < 0.2
    x[where] = extremes[torch.randint(0, 5, (int(where.sum()),))]
    decay = torch.randint(0, 4097, (40,)).float()
    here = cuba.spikes(x, decay, decay, **NEURON, current_state=decay / 4096, voltage_state=decay / 4096)
    there = cuba.spikes(x.cuda(), decay.cuda(), decay.cuda(), **NEURON,
                        current_state=decay.cuda() / 4096, voltage_state=decay.cuda() / 4096)  # fmt: skip
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a, b.cpu())


def test_strided_input_equals_contiguous():
    x = torch.randn(70, 5, 33, device="cuda").permute(2, 1, 0)
    decay = torch.tensor([500.0], device="cuda")
    assert torch.equal(
        cuba.spikes(x, decay, decay, **NEURON)[0], cuba.spikes(x.contiguous(), decay, decay, **NEURON)[0]
    )


def test_kernels_wait_for_torch_and_torch_for_kernels():
    """On a stream that is not the default one, input that is still being written, output read at once."""
    x, decay = torch.randn(8, 64, 256, device="cuda"), torch.tensor([500.0], device="cuda")
    expected = cuba.spikes(x, decay, decay, **NEURON)[0].clone()
    late, copied = torch.zeros_like(x), torch.zeros_like(x)
    cuba.spikes(late, decay, decay, **NEURON)  # compiled by now
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late.copy_(x)
        copied.copy_(cuba.spikes(late, decay, decay, **NEURON)[0])
    stream.synchronize()
    assert torch.equal(copied, expected)


def test_another_device_than_the_current_one():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    x, decay = torch.randn(4, 64, 100), torch.tensor([500.0])
    expected = cuba.spikes(x, decay, decay, **NEURON)[0]
    for device in ("cuda:0", "cuda:1", "cuda:0"):
        y = cuba.spikes(x.to(device), decay.to(device), decay.to(device), **NEURON)[0]
        assert str(y.device) == device
        assert torch.equal(y.cpu(), expected)
        assert torch.cuda.current_device() == 0


def test_tensors_of_two_devices_are_refused():
    with pytest.raises(DeviceError, match="expected every tensor on cuda:0"):
        cuba.spikes(torch.randn(2, 3, 4, device="cuda"), torch.tensor([5.0]), torch.tensor([5.0]), **NEURON)


def test_compiled_graph_equals_eager():
    def step(x, decay):
        return cuba.spikes(x, decay, decay, **NEURON)[0]

    x, decay = torch.randn(4, 64, 100, device="cuda"), torch.tensor([500.0], device="cuda")
    assert torch.equal(torch.compile(step, fullgraph=True, backend="aot_eager")(x, decay), step(x, decay))


def test_more_elements_than_32_bits_count():
    rows, T = (1 << 22) + 3, 513
    if torch.cuda.mem_get_info()[0] < 10 * rows * T:
        pytest.skip("needs 22 GB of GPU memory")
    x = torch.zeros(1, rows, T, device="cuda")
    x[0, -1] = torch.arange(T, device="cuda")
    y = axon.delay(x, 2)
    assert torch.equal(y[0, -1, 2:], x[0, -1, :-2])
    assert y[0, -1, :2].eq(0).all()
    assert y[0, -2].eq(0).all()


# ------------------------------------------------------------------------------------------------------------- speed
def microseconds(function, repeat=9, calls=20):
    """Medians of GPU time between events and of host time per call."""
    for _ in range(3):
        function()
    device, host = [], []
    for _ in range(repeat):
        torch.cuda.synchronize()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        start = time.perf_counter()
        for _ in range(calls):
            function()
        host.append((time.perf_counter() - start) / calls * 1e6)
        end.record()
        end.synchronize()
        device.append(begin.elapsed_time(end) / calls * 1e3)
    return statistics.median(device), statistics.median(host)


@pytest.mark.parametrize("shape", [(32, 512, 300), (8, 64, 32, 32, 32), (64, 4096, 256)], ids=str)
def test_fraction_of_copy_bandwidth(shape, capsys, record_property):
    """Prints and records; buffers rotate, so that nothing stays in the cache of the GPU."""
    size, T = torch.Size(shape).numel(), shape[-1]
    rows, count = size // T, max(2, -(-300_000_000 // (4 * size)))
    xs, ys, gs = ([torch.randn(shape, device="cuda") for _ in range(count)] for _ in range(3))
    turn = itertools.cycle(range(count))
    decay = torch.full((rows,), 500.0, device="cuda")
    nothing, g_rows = decay[:0], torch.empty_like(decay)
    kept = torch.empty(kernels.cuba.checkpoints(rows, T, "cuda"), dtype=torch.int32, device="cuda")
    parameters = (decay, decay, nothing, nothing, T, rows, 4096.0, 4097)
    work = {"rows": rows, "elements": size}

    def copy():
        i = next(turn)
        ys[i].copy_(xs[i])

    def forward(kept):
        i = next(turn)
        kernels.cuba.forward(xs[i], ys[i], kept, nothing, nothing, *parameters, 1.0, 0.0, True, **work)

    def backward():
        i = next(turn)
        numbers = 1e-3, 1e-5, 0.5, False, 0, True
        kernels.cuba.backward(gs[i], xs[i], kept, ys[i], g_rows, g_rows, *parameters, *numbers, **work)

    copying, _ = microseconds(copy)
    per_copy = 8 * size / copying
    passes = {
        "forward": (lambda: forward(kept[:0]), 8 * size),
        "forward, keeping states": (lambda: forward(kept), 8 * size + 4 * kept.numel()),
        "backward": (backward, 12 * size + 4 * kept.numel()),
    }
    lines = [f"\n{shape}: copy {copying:.1f} us, {per_copy / 1e6:.2f} TB/s"]
    for name, (function, moved) in passes.items():
        device, host = microseconds(function)
        fraction = moved / device / per_copy
        record_property(f"{name}: fraction of copy bandwidth", round(fraction, 3))
        lines.append(f"  {name:24s} {device:8.1f} us, {fraction:5.1%} of copy bandwidth, host {host:.1f} us a call")
    with capsys.disabled():
        print("\n".join(lines))
    assert torch.isfinite(ys[0]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("fractions", [False, True])
def test_events_fill_a_tensor_on_the_gpu(dtype, fractions):
    """The same cells; payloads are multiples of 1/4, whose sums are exact in any order."""
    torch.manual_seed(0)
    shape, count = (2, 20, 30, 40), 100_000
    columns = [torch.randint(-1, size + 1, (count,)).numpy() for size in (30, 20, 2)]
    times = (42 * torch.rand(count) - 1).numpy()
    for payload in (None, torch.randint(1, 9, (count,)).numpy() / 4):
        event = io.Event(*columns, times, payload)
        if fractions:
            event.x = event.x + 0.25
        for mode in ("OR", "SUM"):
            on_cpu, on_gpu = (torch.zeros(shape, dtype=dtype, device=device) for device in ("cpu", "cuda"))
            assert event.fill_tensor(on_gpu, binning_mode=mode) is on_gpu
            assert torch.equal(on_gpu.cpu(), event.fill_tensor(on_cpu, binning_mode=mode))
            assert on_cpu.any()
