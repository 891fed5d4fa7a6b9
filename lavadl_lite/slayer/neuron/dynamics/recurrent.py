"""Neurons whose spikes come back to them one step later: all steps in one pass, or step by step where no kernel fits.

The product with the input and that with the spikes are the caller's and ours; delays are the caller's.
"""

import threading
from typing import Any

import torch
from torch import Tensor

from .... import kernels
from ....errors import ParameterError, ShapeError
from ....kernels.torch_op import torch_op, unmixed
from ...utils.quantize import quantize
from .adaptive_threshold import to_integer

__all__ = ["spikes", "stepwise"]

_Three = tuple[Tensor, Tensor, Tensor]
_Pair = tuple[Tensor, Tensor]

_FUSED = ("CUBA", "ALIF", "RF_PHASE", "RF_IZHIKEVICH", "ADRF_PHASE", "ADRF_IZHIKEVICH")
_DROPOUTS = (torch.nn.Dropout, torch.nn.Dropout3d)  # which do nothing but in training


def _forward(
    x: Tensor,
    feedback: Tensor,
    decays: Tensor,
    slow: Tensor,
    initial: Tensor,
    previous: Tensor,
    scale: int,
    base: int,
    rise: int,
    slope: float,
    offset: float,
    height_a: float,
    height_b: float,
    phase: bool,
    graded: bool,
    kind: int,
    keep: bool,
    final: bool,
) -> _Three:
    launch, kernel = kernels.launch, kernels.recurrent
    (parts, N, T, P), adaptive = x.shape, slow.numel() > 0
    sent = launch.empty((N, 1 + T, P), x)
    sent[:, 0] = previous
    kept = launch.empty((N, T, kernel.kept_lines(adaptive), P) if keep else (0,), x)
    states = x.new_empty(initial.shape if final else (0,))
    work = x.new_empty((N, kernel.INTS, P), dtype=torch.int32), x.new_empty((N, 2, P))
    on, unit = (0.0, 1 / scale) if graded else (1.0, 0.0)
    kernel.forward(
        launch.ready(x), sent, kept, states, launch.ready(feedback.mT), *map(launch.ready, (decays, slow, initial)),
        *work, N, T, P, float(scale), base, rise, _rest(base, parts), on, unit, parts == 2, phase, adaptive,
        rows=N * kernel.LANES, elements=x.numel(),
    )  # fmt: skip
    return sent, kept, states


def _rest(base: int, parts: int) -> int:
    """What a reset leaves: nothing of a voltage, of an imaginary part the last value below the threshold."""
    return base - 1 if parts == 2 else 0


def _fake_forward(
    x, feedback, decays, slow, initial, previous, scale, base, rise, slope, offset, height_a, height_b, phase, graded,
    kind, keep, final,
):  # fmt: skip
    _, N, T, P = x.shape
    kept = x.new_empty((N, T, kernels.recurrent.kept_lines(slow.numel() > 0), P) if keep else (0,))
    return x.new_empty((N, 1 + T, P)), kept, x.new_empty(initial.shape if final else (0,))


def _backward(
    grad: Tensor,
    sent: Tensor,
    kept: Tensor,
    feedback: Tensor,
    decays: Tensor,
    slow: Tensor,
    initial: Tensor,
    scale: int,
    base: int,
    slope: float,
    offset: float,
    height_a: float,
    height_b: float,
    phase: bool,
    graded: bool,
    kind: int,
) -> _Three:
    launch, kernel = kernels.launch, kernels.recurrent
    (N, steps, P), parts = sent.shape, len(feedback)
    g_x = launch.empty((parts, N, steps, P), sent)
    g_decays = sent.new_empty((2, N, P))
    work = sent.new_empty((N, 5, P))
    kernel.backward(
        launch.ready(grad), kept, g_x, g_decays, *map(launch.ready, (feedback, decays, initial)), work, N, steps - 1,
        P, float(scale), base, _rest(base, parts), slope, offset, height_a, height_b, parts == 2, phase,
        slow.numel() > 0, graded, kind, rows=N * kernel.LANES, elements=g_x.numel() * P // kernel.LANES,
    )  # fmt: skip
    # both have a place more than steps: the input's gradient of step t stands beside the spikes of step t - 1
    with unmixed(grad):
        g_feedback = g_x.reshape(parts, N * steps, P).mT @ launch.ready(sent).reshape(N * steps, P)
    return g_x[:, :, :-1], g_feedback, g_decays.sum(1)


def _fake_backward(
    grad, sent, kept, feedback, decays, slow, initial, scale, base, slope, offset, height_a, height_b, phase, graded,
    kind,
):  # fmt: skip
    (N, steps, P), parts = sent.shape, len(feedback)
    return sent.new_empty((parts, N, steps, P))[:, :, :-1], sent.new_empty((parts, P, P)), sent.new_empty((2, P))


def _setup_context(ctx, inputs, output):
    _, feedback, decays, slow, initial, _, scale, base, _, *numbers = inputs
    sent, kept, states = output
    ctx.mark_non_differentiable(kept, states)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(sent, kept, feedback, decays, slow, initial)
    ctx.numbers = scale, base, *numbers[:-2]


def _arguments_of_backward(ctx, grad, *_):
    sent, *others = ctx.saved_tensors  # once: a checkpoint hands them out no second time
    return (torch.zeros_like(sent) if grad is None else grad, sent, *others, *ctx.numbers)


_recurrent = torch_op(
    "recurrent", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=18
)  # fmt: skip


def _parts(neuron: Any, given: Tensor | _Pair, name: str) -> list[Tensor]:
    """One tensor, or both of a complex neuron."""
    pair = isinstance(given, tuple | list)
    parts: list[Any] = list(given) if pair else [given]
    if pair != neuron.complex or len(parts) != 1 + neuron.complex:
        kind = "a pair (real, imaginary)" if neuron.complex else "one tensor"
        raise ParameterError(f"expected {name} of {neuron.type_name} neurons to be {kind}, got {type(given).__name__}")
    return parts


def _checked(
    neuron: Any, input: Tensor | _Pair, feedback: Tensor | _Pair, previous: Tensor | None
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Parts of the input and of the feedback, and the previous spikes, all in float32."""
    floating = kernels.launch.floating
    inputs = [floating(part) for part in _parts(neuron, input, "input")]
    weights = [floating(part, "feedback") for part in _parts(neuron, feedback, "feedback")]
    shape = inputs[0].shape
    if len(shape) != 3 or inputs[-1].shape != shape:
        raise ShapeError(f"expected input (N, C, T), got {' and '.join(str(tuple(x.shape)) for x in inputs)}")
    for weight in weights:
        if weight.shape != (shape[1], shape[1]):
            raise ShapeError(f"expected feedback {(shape[1], shape[1])}, got {tuple(weight.shape)}")
    previous = inputs[0].new_zeros(shape[:2]) if previous is None else floating(previous, "previous").detach()
    if previous.shape != shape[:2]:
        raise ShapeError(f"expected previous {tuple(shape[:2])}, got {tuple(previous.shape)}")
    return inputs, weights, previous


def _filled(values: Tensor, axes: int = 1) -> Tensor:
    """The last ``axes`` axes, of channels, filled up with zeros to whole lines of the kernel."""
    missing = -values.shape[-1] % kernels.recurrent.LANES
    return torch.nn.functional.pad(values, (0, missing) * axes) if missing else values


def _levels(neuron: Any) -> tuple[int, int]:
    """Integers that a state has to reach to fire, and that a spike adds to a threshold that moves."""
    level = to_integer(neuron.threshold, neuron.s_scale, "threshold")
    if neuron.type_name == "CUBA":  # which fires above its threshold, be it out of reach
        return level + 1, 0
    return level, to_integer(getattr(neuron, "threshold_step", 0.0), neuron.s_scale, "threshold_step")


def _bells(neuron: Any, phase: bool) -> tuple[float, float, float, float, int]:
    """Slope, offset, both heights and kind of the surrogate, as the kernel takes them."""
    tau, rho = neuron._tau, neuron._rho  # noqa: SLF001 - a neuron's own layer
    kind = kernels.kinds.kind_of(neuron.surrogate_shape)
    slope = kernels.kinds.slope_of(kind, tau, neuron.s_scale)
    offset = (1 - neuron.threshold_eps * neuron.s_scale) * slope if neuron.type_name == "CUBA" else 0.0
    height = rho if neuron.graded_spike else rho / (2 * tau)
    heights = (height / (2 * tau), -rho / (2 * tau * tau)) if phase else (0.0, height)
    return slope, offset, *heights, kind


def _fused(neuron: Any, inputs: list[Tensor], weights: list[Tensor], previous: Tensor, late: bool) -> Tensor:
    N, C, T = inputs[0].shape
    neuron._ready_pair(inputs) if neuron.complex else neuron._ready(inputs[0])  # noqa: SLF001 - its own layer
    x = _filled(torch.stack([part.transpose(1, 2) for part in inputs]))
    feedback = _filled(torch.stack(weights), axes=2)
    expand_rows = kernels.launch.expand_rows
    values = [expand_rows(quantize(getattr(neuron, d.name)), (C,), d.name) for d in neuron.decays]
    decays = _filled(torch.stack(values[:2]))
    slow = _filled(torch.stack(values[2:]).detach()) if values[2:] else x.new_empty(0)
    phase, graded, persistent = neuron.complex and neuron.phase, neuron.graded_spike, neuron.persistent_state
    rest = (neuron._initial(state).to(x.device) for state in neuron.states)  # noqa: SLF001 - a neuron's own layer
    held = [getattr(neuron, state.name) for state in neuron.states] if persistent else list(rest)
    initial = _filled(torch.stack([state.expand(N, C) for state in held]).detach().to(x.dtype))
    slope, offset, height_a, height_b, kind = _bells(neuron, phase)
    keep = torch.is_grad_enabled() and (x.requires_grad or feedback.requires_grad or decays.requires_grad)
    sent, _, final = _recurrent(
        x, feedback, decays, slow, initial, _filled(previous), neuron.s_scale, *_levels(neuron), slope, offset,
        height_a, height_b, phase, graded, kind, keep, persistent,
    )  # fmt: skip
    if persistent and T:
        for state, value in zip(neuron.states, final, strict=True):
            setattr(neuron, state.name, value[:, :C].clone())
    first = 0 if late else 1  # step 0 is the one before the first
    return sent[:, first : first + T, :C].transpose(1, 2)


def _knows(neuron: Any) -> bool:
    """Whether the kernel computes all that this neuron does."""
    drop = neuron.drop
    silences = drop is not None and not (isinstance(drop, _DROPOUTS) and not drop.training)
    return neuron.type_name in _FUSED and neuron.norm is None and not silences and not callable(neuron.surrogate_shape)


def spikes(
    neuron: Any,
    input: Tensor | _Pair,
    feedback: Tensor | _Pair,
    previous: Tensor | None = None,
    late: bool = False,
) -> Tensor:
    r"""Spikes of neurons that receive those of their own layer one step later.

    .. math:: s[t] = f(x[t] + R\,s[t-1]),

    with :math:`f` one step of the neuron, which has states of its own.

    Parameters
    ----------
    neuron : AbstractNeuron
        Its parameters, and its states where they are persistent: then they are read, and left as after the last step.
        Otherwise it begins at rest and stays as it is.
    input : Tensor, shape (N, C, T), or a pair of them for complex neurons
        What comes from elsewhere.
    feedback : Tensor, shape (C, C), or a pair of them for complex neurons
        Weights :math:`R`, a row for each neuron that receives; the parts of a pair go to the parts of the input.
    previous : Tensor, shape (N, C), optional
        Spikes before the first step; none if absent.  They carry no gradient.
    late : bool
        Return the spikes a step later than they are sent: ``previous`` in the first step, and not those of the last.

    Returns
    -------
    Tensor, shape (N, C, T)

    Raises
    ------
    ParameterError
        If something is not of a floating-point type, or a pair where one tensor is expected or the reverse.
    ShapeError
        If shapes do not fit.

    Notes
    -----
    The gradient is that of the whole sequence, through the states and through the feedback; reset, threshold and
    surrogate are those of the neuron.  A neuron with a normalisation, with a dropout in training, with a function as
    its surrogate, or of another kind than the six with decays is run by :func:`stepwise`.

    References
    ----------
    .. [1] Shrestha and Orchard, "SLAYER: Spike Layer Error Reassignment in Time", NeurIPS 2018.
    """
    inputs, weights, previous = _checked(neuron, input, feedback, previous)
    run = _fused if _knows(neuron) else _unrolled
    return run(neuron, inputs, weights, previous, late).to(_parts(neuron, input, "input")[0].dtype)


def stepwise(
    neuron: Any,
    input: Tensor | _Pair,
    feedback: Tensor | _Pair,
    previous: Tensor | None = None,
    late: bool = False,
) -> Tensor:
    """The same as :func:`spikes` by a call for each step, whatever the neuron; slow."""
    spikes = _unrolled(neuron, *_checked(neuron, input, feedback, previous), late)
    return spikes.to(_parts(neuron, input, "input")[0].dtype)


_turn = threading.RLock()  # a step takes its state from the neuron: one thread after the other


def _unrolled(neuron: Any, inputs: list[Tensor], weights: list[Tensor], previous: Tensor, late: bool) -> Tensor:
    with _turn:
        return _steps(neuron, inputs, weights, previous, late)


def _steps(neuron: Any, inputs: list[Tensor], weights: list[Tensor], previous: Tensor, late: bool) -> Tensor:
    holders = [part for part in neuron.modules() if hasattr(part, "persistent_state")]
    persistent = neuron.persistent_state
    if not persistent:
        neuron.reset_state()
    for part in holders:
        part.persistent_state = True
    sent, carried = [previous], ()
    try:
        with torch.autocast(previous.device.type, enabled=False):  # sums in float32, as those of the kernel are
            for t in range(inputs[0].shape[-1]):
                back = [(sent[-1] @ weight.mT)[..., None] for weight in weights]
                arriving = tuple(x[..., t : t + 1] + sums for x, sums in zip(inputs, back, strict=True))
                spike, carried = neuron.unrolled_step(arriving if neuron.complex else arriving[0], carried)
                sent.append(spike[..., 0])
    finally:
        for part in holders:
            part.persistent_state = persistent
        if not persistent:
            neuron.reset_state()
    returned = sent[:-1] if late else sent[1:]
    return torch.stack(returned, -1) if returned else inputs[0] + inputs[-1]
