"""The resonator as a differentiable function of its inputs, its decays and its initial states."""

import math

import torch
from torch import Tensor

from .... import kernels
from ....errors import ParameterError, ShapeError
from ....kernels.torch_op import torch_op
from .leaky_integrator import _check

__all__ = ["dynamics", "persistent_imag_state", "persistent_real_state"]

_Two = tuple[Tensor, Tensor]
_Six = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _forward(
    x_real: Tensor,
    x_imag: Tensor,
    sin: Tensor,
    cos: Tensor,
    state_real: Tensor,
    state_imag: Tensor,
    scale: int,
    level: int,
    rest: int,
) -> _Two:
    launch = kernels.launch
    inputs = [launch.ready(x) for x in (x_real, x_imag)]
    outputs = [launch.empty(x_real.shape, x_real) for _ in range(2)]
    rows = [launch.ready(p) for p in (sin, cos, state_real, state_imag)]
    kernels.resonator.forward(
        *inputs, *outputs, *rows, x_real.shape[-1], float(scale), level, rest,
        rows=math.prod(x_real.shape[:-1]), elements=x_real.numel(),
    )  # fmt: skip
    return outputs[0], outputs[1]


def _fake_forward(x_real, x_imag, sin, cos, state_real, state_imag, scale, level, rest):
    return x_real.new_empty(x_real.shape), x_real.new_empty(x_real.shape)


def _backward(
    g_real: Tensor,
    g_imag: Tensor,
    real: Tensor,
    imag: Tensor,
    sin: Tensor,
    cos: Tensor,
    state_real: Tensor,
    state_imag: Tensor,
    scale: int,
    level: int,
    rest: int,
) -> _Six:
    launch = kernels.launch
    shape = real.shape
    g_inputs = [launch.empty(shape, real) for _ in range(2)]
    g_rows = [real.new_empty(shape[:-1]) for _ in range(4)]
    rows = [launch.ready(p) for p in (sin, cos, state_real, state_imag)]
    kernels.resonator.backward(
        launch.ready(g_real), launch.ready(g_imag), launch.ready(real), launch.ready(imag), *g_inputs, *g_rows, *rows,
        shape[-1], float(scale), level, rest, rows=math.prod(shape[:-1]), elements=real.numel(),
    )  # fmt: skip
    return g_inputs[0], g_inputs[1], g_rows[0], g_rows[1], g_rows[2], g_rows[3]


def _fake_backward(g_real, g_imag, real, imag, sin, cos, state_real, state_imag, scale, level, rest):
    inputs = [real.new_empty(real.shape) for _ in range(2)]
    return (*inputs, *[real.new_empty(real.shape[:-1]) for _ in range(4)])


def _setup_context(ctx, inputs, output):
    _, _, *rows, scale, level, rest = inputs
    ctx.numbers = scale, level, rest
    ctx.save_for_backward(*output, *rows)


def _arguments_of_backward(ctx, g_real, g_imag):
    return (g_real, g_imag, *ctx.saved_tensors, *ctx.numbers)


_resonator = torch_op(
    "resonator", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=9
)  # fmt: skip


def dynamics(
    real_input: Tensor,
    imag_input: Tensor,
    sin_decay: Tensor,
    cos_decay: Tensor,
    real_state: Tensor,
    imag_state: Tensor,
    w_scale: int,
    threshold: float | Tensor | None = None,
    debug: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Response of resonators, all time steps at once.

    On integers, with :math:`\lfloor\cdot\rceil_0` rounding toward zero, each product by itself,

    .. math::
        a[t] &= \lfloor c\,a'[t-1] / 4096\rceil_0 - \lfloor s\,b'[t-1] / 4096\rceil_0 + \lfloor S\,x_a[t]\rceil_0 \\
        b[t] &= \lfloor s\,a'[t-1] / 4096\rceil_0 + \lfloor c\,b'[t-1] / 4096\rceil_0 + \lfloor S\,x_b[t]\rceil_0

    where :math:`a' = 0` and :math:`b' = S\,\vartheta - 1` after a step with :math:`b \ge S\,\vartheta`, and
    :math:`a' = a, b' = b` otherwise.  States are held inside :math:`\pm(2^{23} - 1)`.

    Parameters
    ----------
    real_input, imag_input : Tensor, shape (..., T)
        What is added to the real and to the imaginary part.
    sin_decay, cos_decay : Tensor, shape (1,), (C,), the spatial shape (C, ...) or ``real_input.shape[:-1]``
        :math:`s` and :math:`c`, in 0..4096; rounded toward zero, held inside the range.
    real_state, imag_state : Tensor, same shapes as the decays
        State before the first step, multiples of ``1 / w_scale``.
    w_scale : int
        Integer state that stands for 1.0, a power of two.
    threshold : float or Tensor of one element, optional
        Level of the imaginary part that resets; ``None`` and below 0: no reset.
    debug : bool
        Check for what the 24-bit range hides: raise if an input is not finite or a state was limited.

    Returns
    -------
    real, imag : Tensor, shape of ``real_input``
        The states before their reset, multiples of ``1 / w_scale``.

    Raises
    ------
    ParameterError
        For inputs that are not floating-point, a scale that is not a power of two, or what ``debug`` finds.
    ShapeError
        If the inputs' shapes differ, or a decay or a state has none of these shapes.

    Notes
    -----
    The gradient is the true one of this recurrence with rounding, limits and reset passed straight through: with
    respect to both inputs, decays and initial states.  The threshold has none.

    References
    ----------
    .. [1] Izhikevich, "Resonate-and-fire neurons", Neural Networks 14, 2001.
    .. [2] Frady et al., "Efficient neuromorphic signal processing with resonator neurons", JSPS 94, 2022.
    """
    launch = kernels.launch
    x_real, x_imag = same_shape(real_input, imag_input)
    scale = launch.power_of_two(w_scale, "w_scale")
    names = {"sin_decay": sin_decay, "cos_decay": cos_decay, "real_state": real_state, "imag_state": imag_state}
    rows = [launch.expand_rows(value, x_real.shape[:-1], name) for name, value in names.items()]
    level, rest = _reset_at(threshold, scale)
    real, imag = _resonator(x_real, x_imag, *rows, scale, level, rest)
    if debug:
        _check(x_real, real, scale)
        _check(x_imag, imag, scale)
    return real.to(real_input.dtype), imag.to(real_input.dtype)


def same_shape(real_input: Tensor, imag_input: Tensor) -> tuple[Tensor, Tensor]:
    """Both inputs in float32.

    Raises
    ------
    ParameterError, ShapeError
        If one is not a floating-point tensor, or their shapes differ.
    """
    floating = kernels.launch.floating
    real, imag = floating(real_input, "real_input"), floating(imag_input, "imag_input")
    if real.shape != imag.shape:
        raise ShapeError(
            f"expected real and imaginary inputs of one shape, got {tuple(real.shape)} and {tuple(imag.shape)}"
        )
    return real, imag


def _reset_at(threshold: float | Tensor | None, scale: int) -> tuple[int, int]:
    """Integer level that resets, and the imaginary state afterwards."""
    never = kernels.fixed_point.NEVER
    if threshold is None:
        return never, 0
    if isinstance(threshold, Tensor) and threshold.numel() != 1:
        raise ParameterError(f"expected one threshold, got a tensor of shape {tuple(threshold.shape)}")
    level = float(threshold) * scale
    if level != level:  # noqa: PLR0124 - math.isnan would break a graph
        raise ParameterError("expected threshold to be a number, got nan")
    return (math.ceil(level), math.trunc(level - 1)) if 0 <= level < never else (never, 0)


def persistent_real_state(real_state: Tensor, spike: Tensor) -> Tensor:
    """``real_state`` where no spike was sent, 0 where one was: what the next chunk of time begins with.

    Parameters
    ----------
    real_state : Tensor
        Last real part of a chunk, before its reset.
    spike : Tensor, same shape
        Last spikes of that chunk; anything above 0 counts.
    """
    return real_state * (spike <= 0).to(real_state.dtype)


def persistent_imag_state(imag_state: Tensor, spike: Tensor, threshold: float, scale: int) -> Tensor:
    """``imag_state`` where no spike was sent, ``threshold - 1 / scale`` where one was.

    Parameters
    ----------
    imag_state : Tensor
        Last imaginary part of a chunk, before its reset.
    spike : Tensor, same shape
        Last spikes of that chunk; anything above 0 counts.
    threshold : float
        Level of the imaginary part that resets.
    scale : int
        Integer state that stands for 1.0.
    """
    return torch.where(spike > 0, threshold - 1 / scale, imag_state)
