"""A resonator with an adaptive threshold on its imaginary part: two passes, for nothing is reset by a spike."""

from torch import Tensor

from . import adaptive_threshold, resonator
from .adaptive_threshold import persistent_ref_state, persistent_th_state

__all__ = ["dynamics", "persistent_ref_state", "persistent_th_state"]


def dynamics(
    real_input: Tensor,
    imag_input: Tensor,
    sin_decay: Tensor,
    cos_decay: Tensor,
    ref_decay: Tensor,
    th_decay: Tensor,
    real_state: Tensor,
    imag_state: Tensor,
    ref_state: Tensor,
    th_state: Tensor,
    th_scale: float,
    th0: float,
    w_scale: int,
    debug: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Response of resonators and of the thresholds that their imaginary parts drive.

    Parameters
    ----------
    real_input, imag_input : Tensor, shape (..., T)
        What is added to the real and to the imaginary part.
    sin_decay, cos_decay : Tensor, shape (1,), (C,), the spatial shape (C, ...) or ``real_input.shape[:-1]``
        Factors of the rotation, in 0..4096.
    ref_decay, th_decay : Tensor, same shapes
        Fractions that the refractory part and the threshold lose each step, in 0..4096.
    real_state, imag_state, ref_state, th_state : Tensor, same shapes
        States before the first step.
    th_scale : float
        Step of the threshold at a spike.
    th0 : float
        Threshold at rest.
    w_scale : int
        Integer state that stands for 1.0, a power of two.
    debug : bool
        Raise if an input is not finite or a state was limited.

    Returns
    -------
    real, imag, threshold, refractory : Tensor, shape of ``real_input``
        Threshold and refractory part come before a spike of the same step, and carry no gradient.

    Raises
    ------
    ParameterError, ShapeError
        As :func:`.resonator.dynamics` and :func:`.adaptive_threshold.dynamics`.
    """
    real, imag = resonator.dynamics(
        real_input, imag_input, sin_decay, cos_decay, real_state, imag_state, w_scale, None, debug
    )
    threshold, refractory = adaptive_threshold.dynamics(
        imag, ref_state, ref_decay, th_state, th_decay, th_scale, th0, w_scale, debug
    )
    return real, imag, threshold, refractory
