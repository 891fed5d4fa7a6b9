"""The adaptive threshold of a complex state, which spikes only where its imaginary part rises through zero."""

from torch import Tensor

from .adaptive_threshold import persistent_ref_state, persistent_th_state, respond

__all__ = ["dynamics", "persistent_ref_state", "persistent_th_state"]


def dynamics(
    re_input: Tensor,
    im_input: Tensor,
    im_state: Tensor,
    ref_state: Tensor,
    ref_decay: Tensor,
    th_state: Tensor,
    th_decay: Tensor,
    th_scale: float | Tensor,
    th0: float | Tensor,
    w_scale: int,
    debug: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Threshold and refractory state of neurons with a given complex state, all time steps at once.

    As :func:`.adaptive_threshold.dynamics`, with the spike

    .. math:: s[t] = [x[t] \ge \theta[t] + r[t]]\;[y[t] \ge 0]\;[y[t-1] < 0]

    where :math:`x` and :math:`y` are the integers of the real and the imaginary part.

    Parameters
    ----------
    re_input, im_input : Tensor, shape (..., T)
        Real and imaginary part, rounded toward zero to multiples of ``1 / w_scale``.
    im_state : Tensor, shape (1,), (C,), the spatial shape (C, ...) or ``re_input.shape[:-1]``
        Imaginary part before the first step.
    ref_state, th_state : Tensor, same shapes
        Refractory state and threshold before the first step, after what the last spike added.
    ref_decay, th_decay : Tensor, same shapes
        Fractions lost each step, in 0..4096; rounded toward zero, held inside the range.
    th_scale : float or Tensor of one element
        What a spike adds to the threshold.
    th0 : float or Tensor of one element
        Where the threshold decays to.
    w_scale : int
        Integer state that stands for 1.0, a power of two.
    debug : bool
        Check for what the 24-bit range hides: raise if an input is not finite or a state was limited.

    Returns
    -------
    threshold, refractory : Tensor, shape of ``re_input``
        Before what the step's own spike adds.

    Raises
    ------
    ParameterError
        For an input that is not floating-point, a scale that is not a power of two, ``th_scale`` or ``th0`` not one
        number, or what ``debug`` finds.
    ShapeError
        If a decay or a state has none of these shapes, or the imaginary part not that of the real one.

    Notes
    -----
    Neither output carries a gradient, to the inputs or to any parameter.
    """
    return respond(
        re_input, (im_input, im_state), ref_state, ref_decay, th_state, th_decay, th_scale, th0, w_scale, debug
    )
