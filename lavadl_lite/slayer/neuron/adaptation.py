"""The adaptive threshold as neurons have it: a step, two decays, two states; its dynamics are elsewhere."""

from typing import Any

import torch
from torch import Tensor

from .base import AbstractNeuron, _number
from .dynamics import adaptive_threshold
from .spec import Decay, State

__all__ = ["AbstractAdaptation"]


class AbstractAdaptation(AbstractNeuron):
    """What neurons have whose spikes raise their threshold and start a refractory time."""

    adaptation_decays = (
        Decay("threshold_decay", field="thDecay", trainable=False, spread=False),
        Decay("refractory_decay", field="refDecay", trainable=False, spread=False),
    )
    adaptation_states = (State("threshold_state", initial="threshold"), State("refractory_state"))

    threshold_step: float
    threshold_decay: torch.nn.Parameter
    refractory_decay: torch.nn.Parameter
    threshold_state: Tensor
    refractory_state: Tensor

    def _declare_step(self, threshold_step: float) -> None:
        """Hold the step as a multiple of ``1 / scale``, rounded toward zero."""
        self.threshold_step = int(_number(threshold_step, "threshold_step") * self.w_scale) / self.w_scale

    def _raise_threshold(self, fired: Tensor) -> None:
        """Add to the states what the last step's spikes leave behind."""
        self.refractory_state = adaptive_threshold.persistent_ref_state(
            self.refractory_state, fired, self.threshold_state
        )
        self.threshold_state = adaptive_threshold.persistent_th_state(self.threshold_state, fired, self.threshold_step)

    @property
    def cx_threshold_decay(self) -> Any:
        """Threshold decay as the device holds it: an integer, or an array (C,) of them."""
        return self._cx("threshold_decay")

    @property
    def cx_refractory_decay(self) -> Any:
        """Refractory decay as the device holds it: an integer, or an array (C,) of them."""
        return self._cx("refractory_decay")

    @property
    def v_th_step(self) -> int:
        """Step of the threshold as the device holds it."""
        return int(self.threshold_step * self.w_scale)
