"""The adaptive thresholds as torch functions: states equal the integers, nothing carries a gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron.dynamics import adaptive_phase_th, adaptive_threshold
from tests import strategies
from tests.reference import fixed_point

SCALE = 4096
X = torch.ones(2, 3, 5)
ZERO, DECAY = torch.zeros(1), torch.tensor([410.0])
GOOD = {
    "ref_state": ZERO, "ref_decay": DECAY, "th_state": ZERO + 1, "th_decay": DECAY, "th_scale": 0.5, "th0": 1.0,
    "w_scale": SCALE,
}  # fmt: skip


def plain(x, **options):
    return adaptive_threshold.dynamics(x, **(GOOD | options))


def phase(x, im=None, im_state=ZERO, **options):
    return adaptive_phase_th.dynamics(x, -x if im is None else im, im_state, **(GOOD | options))


BOTH = pytest.mark.parametrize("run", [plain, phase])
KINDS = st.sampled_from(["shared", "channel", "neuron", "row"])


def parameter_shape(kind, shape):
    return {"shared": (1,), "channel": shape[1:2], "neuron": shape[1:-1], "row": shape[:-1]}[kind]


def as_rows(parameter, shape):
    if parameter.shape == shape[1:2]:  # channels stand second, also where other axes are as long
        parameter = parameter.reshape(shape[1:2] + (1,) * (len(shape) - 3))
    return np.broadcast_to(parameter, shape[:-1]).reshape(-1)


@settings(max_examples=100)
@given(
    strategies.shapes(), KINDS, strategies.scales(), st.booleans(), st.sampled_from(list(strategies.LAYOUTS)), st.data()
)
def test_states_equal_the_integers(shape, kind, scale, with_phase, layout, data):
    """Any shape, any layout in memory, any input, any decay; with a second input and without."""
    x, im = (data.draw(strategies.inputs(shape, scale)) for _ in range(2))
    size = parameter_shape(kind, shape)
    decays = [data.draw(strategies.decays(size)) for _ in range(2)]
    states = [data.draw(strategies.inputs(size, scale)) for _ in range(3)]
    base, rise = (data.draw(st.integers(-scale, 4 * scale)) / scale for _ in range(2))
    options = {
        "ref_state": torch.from_numpy(states[1]), "ref_decay": torch.from_numpy(decays[1]),
        "th_state": torch.from_numpy(states[0]), "th_decay": torch.from_numpy(decays[0]),
        "th_scale": rise, "th0": torch.tensor([base]), "w_scale": scale,
    }  # fmt: skip
    inputs = [strategies.laid_out(x, layout)]
    if with_phase:
        inputs += [strategies.laid_out(im, layout), torch.from_numpy(states[2])]
    ours = (phase if with_phase else plain)(*inputs, **options)
    # -1 does not tell the number of rows of nothing
    rows = [v.reshape(int(np.prod(shape[:-1])), shape[-1]) for v in (x, im)]
    second = (rows[1], as_rows(states[2], shape)) if with_phase else ()
    parameters = [as_rows(p, shape) for p in (*decays, *states[:2])]
    truth = fixed_point.adaptive_threshold(rows[0], *parameters, scale, base, rise, *second)
    for found, integers in zip(ours, truth, strict=False):
        assert found.shape == shape
        np.testing.assert_array_equal(found.numpy().astype(np.float64) * scale, integers.reshape(shape))


@settings(max_examples=100)
@given(strategies.shapes(smallest=1), st.booleans(), st.data())
def test_chunks_equal_the_whole(shape, with_phase, data):
    """With the last states, raised by the persistent helpers, each chunk goes on where the one before ended."""
    x, im = (torch.from_numpy(data.draw(strategies.grid_inputs(shape))) for _ in range(2))
    whole = phase(x, im) if with_phase else plain(x)
    ref, th, before, parts = ZERO.expand(shape[:-1]), (ZERO + 1).expand(shape[:-1]), ZERO.expand(shape[:-1]), []
    lengths = data.draw(strategies.chunks(shape[-1]))
    for part, second in zip(x.split(lengths, -1), im.split(lengths, -1), strict=True):
        held = {"ref_state": ref, "th_state": th}
        parts.append(phase(part, second, before, **held) if with_phase else plain(part, **held))
        if part.shape[-1]:
            th, ref = (state[..., -1] for state in parts[-1])
            spike = part[..., -1] >= th + ref
            if with_phase:
                last = second[..., -2] if part.shape[-1] > 1 else before
                spike, before = spike & (second[..., -1] >= 0) & (last < 0), second[..., -1]
            ref = adaptive_phase_th.persistent_ref_state(ref, spike.float(), th)
            th = adaptive_phase_th.persistent_th_state(th, spike.float(), 0.5)
    for part, truth in zip(zip(*parts, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(part, -1), truth)


def test_golden_vector():
    """The reference's alif.Neuron(1.5, .5, .25, .1, .2, .3)."""
    voltage = torch.tensor([4096, 10854, 19239, 28513, 38154, 47802, 57214, 66230]) / SCALE
    decays = {"th_decay": torch.tensor([819.0]), "ref_decay": torch.tensor([1229.0])}
    threshold, refractory = plain(voltage, th0=1.5, th_state=ZERO + 1.5, **decays)
    assert (threshold * SCALE).tolist() == [6144, 6144, 7782, 9092, 10141, 10980, 11651, 12188]
    assert (refractory * SCALE).tolist() == [0, 0, 8601, 16914, 24566, 31391, 37343, 42448]


def test_persistent_states():
    spike, state = torch.tensor([0.0, 1.0, 2.5, -1.0]), torch.full((4,), 3.0)
    assert adaptive_threshold.persistent_ref_state(state, spike, state + 1).tolist() == [3, 11, 11, 3]
    assert adaptive_threshold.persistent_th_state(state, spike, 0.5).tolist() == [3, 3.5, 3.5, 3]


@BOTH
def test_nothing_carries_a_gradient(run):
    x = X.clone().requires_grad_()
    decay = DECAY.clone().requires_grad_()
    for output in run(x, ref_decay=decay, th_decay=decay):
        assert not output.requires_grad
    (gradient,) = torch.autograd.grad((x * run(x)[0]).sum(), x)
    assert torch.equal(gradient, run(X)[0])


@BOTH
def test_it_runs_under_torch_func(run):
    """Its outputs are constants there too."""
    assert torch.equal(torch.func.grad(lambda x: (x * run(x)[1]).sum())(X), run(X)[1])


@BOTH
def test_it_compiles_in_one_graph(run):
    torch._dynamo.reset()
    x = torch.randn(2, 3, 70)
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    assert all(torch.equal(a, b) for a, b in zip(compiled(x), run(x), strict=True))
    torch._dynamo.reset()


@BOTH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_are_computed_in_float32_and_come_back(run, dtype):
    x = torch.randn(2, 3, 70).to(dtype)
    for ours, narrow in zip(run(x), run(x.float()), strict=True):
        assert ours.dtype == dtype
        assert torch.equal(ours, narrow.to(dtype))


@BOTH
@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0,), (7,)])
def test_nothing_in_nothing_out(run, shape):
    assert [tuple(output.shape) for output in run(torch.zeros(shape))] == [shape, shape]


@BOTH
def test_debug_finds_what_the_range_hides(run):
    x = torch.rand(2, 3, 50)
    assert all(torch.equal(a, b) for a, b in zip(run(x, debug=True), run(x), strict=True))
    with pytest.raises(ParameterError, match="expected a finite input"):
        run(torch.tensor([[1.0, float("nan")]]), debug=True)
    firing = torch.tensor([[-1.0, 1500] * 4])
    options = {"ref_decay": torch.tensor([4096.0]), "debug": True} | ({"im": firing} if run is phase else {})
    run(firing, th_scale=1.0, **options)
    with pytest.raises(ParameterError, match="one was limited"):
        run(firing, th_scale=1400.0, **options)


def test_debug_follows_the_phase():
    """What would be limited, did the neuron fire, is not where it does not."""
    firing = torch.tensor([[-1.0, 1500] * 4])
    options = {"ref_decay": torch.tensor([4096.0]), "th_scale": 1400.0, "debug": True}
    phase(firing, -firing, **options)
    with pytest.raises(ParameterError, match="one was limited"):
        phase(firing, firing, **options)
    assert phase(firing[..., 1:2], firing[..., 1:2], **options)[0].item() == 1


@BOTH
@pytest.mark.parametrize(
    ("error", "words", "options"),
    [
        (ShapeError, r"expected ref_decay of shape \(1,\) or \(3,\)", {"ref_decay": torch.zeros(2)}),
        (ShapeError, "expected th_state of shape", {"th_state": torch.zeros(2, 3, 5)}),
        (ParameterError, "expected th_decay to be a tensor of real numbers", {"th_decay": 0.5}),
        (ParameterError, "expected th0 to be one number, got a tensor", {"th0": torch.zeros(3)}),
        (ParameterError, "expected th_scale to be a number, got nan", {"th_scale": float("nan")}),
        (ParameterError, "w_scale to be a power of two", {"w_scale": 1000}),
    ],
)
def test_bad_parameters_are_refused(run, error, words, options):
    with pytest.raises(error, match=words):
        run(X, **options)


@BOTH
def test_bad_inputs_are_refused(run):
    with pytest.raises(ParameterError, match=r"floating-point type, got torch\.int64"):
        run(X.long())
    with pytest.raises(ShapeError, match="without axes"):
        run(torch.tensor(1.0))


def test_parts_of_a_complex_state_have_one_shape():
    with pytest.raises(ShapeError, match=r"expected im_input of shape \(2, 3, 5\), got \(2, 3, 4\)"):
        phase(X, X[..., 1:])
    with pytest.raises(ShapeError, match="expected im_state of shape"):
        phase(X, im_state=torch.zeros(7))
