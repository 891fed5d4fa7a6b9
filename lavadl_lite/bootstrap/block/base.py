"""What blocks with a mode share: the four ways to run, sampling, fitting; all else is that of :mod:`.slayer.block`."""

import copy
from typing import Any

import torch
from torch import Tensor

from ...errors import ParameterError, ShapeError
from ...slayer.block import base
from ...slayer.block.base import Output
from ...slayer.utils import quantize
from ..ann_sampler import AnnSampler, GainSampler
from ..routine import Mode

__all__ = ["AbstractBlock"]

_STEPS = 32  # of the constant input that stands in for samples before there are any


class AbstractBlock(base.AbstractBlock):
    r"""Base of blocks that run with spikes or with rates.

    With spikes it is the block of the same name in :mod:`lavadl_lite.slayer.block`.  With rates it is one step

    .. math:: a = f\\bigl(h(W \\bar x)\\bigr)

    of the input's mean over time :math:`\\bar x`, with the neuron's normalisation :math:`h`, if it has one, and the
    activation :math:`f` that was fitted to the mean of what the block sends, its delays included.  So a block without
    time may follow one with.

    Attributes
    ----------
    f : AnnSampler, GainSampler or None
        The activation and its samples; None where the weighted input is what is sent.
    """

    f: AnnSampler | GainSampler | None

    def _activate_by(self, f: AnnSampler | GainSampler | None) -> None:
        """Set the activation; where spikes are sent, it is that of an ``AnnSampler``, absent a new one."""
        if self.neuron_type.complex:
            raise ParameterError(f"expected a neuron with one real input, got {self.neuron_type.type_name}")
        if self.sends and f is None:
            f = AnnSampler()
        if self.sends and not isinstance(f, AnnSampler):
            raise ParameterError(f"expected sampler to be an AnnSampler, got {f!r}")
        self.f = f

    def fit(self) -> None:
        """Fit the activation to what was sampled, and forget half of it."""
        if self.f is not None:
            self.f.fit()
            self.f.soft_clear()

    def forward(self, input: Tensor, mode: Mode = Mode.ANN) -> Output:
        """Response to ``input``.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)
            Spikes or, in ``ANN`` and ``FIT``, rates too; a signal, where the block encodes one.
        mode : Mode
            How to run, see :class:`~lavadl_lite.bootstrap.Mode`.

        Returns
        -------
        Tensor, shape (N, C', ..., T), and (N, C', ..., 1) in ``ANN`` and ``FIT``
            With ``count_log`` a pair of this and the event rate, in ``ANN`` and ``FIT`` the mean of the rates.

        Raises
        ------
        ParameterError
            If ``input`` is not of a floating-point type.
        ShapeError
            If it has no step, or does not fit the block.

        Notes
        -----
        Before anything was sampled, ``ANN`` fits to the neurons' response to a constant input, anew at each call.
        Samples that no ``FIT`` has used yet are fitted to at the next ``ANN``.
        """
        mode = Mode(mode)
        if input.dim() < 3 or not input.shape[-1]:
            raise ShapeError(f"expected an input (N, C, ..., T) of one step or more, got shape {tuple(input.shape)}")
        if not input.is_floating_point():
            raise ParameterError(f"expected input to be of a floating-point type, got {input.dtype}; use .float()")
        if self.shape is None:
            self.materialize(tuple(input.shape[1:-1]))
        if mode is Mode.FIT:
            self.fit()
        if mode is Mode.SAMPLE and self.f is not None:
            return self._sampled(input, self.f)
        if mode in (Mode.SNN, Mode.SAMPLE):
            return self._counted(self._reply(self._drive(input)))
        rates = self._rates(input if input.shape[-1] == 1 else input.mean(-1, keepdim=True))
        return (rates, rates.mean() if self.sends else None) if self.count_log else rates

    def _sampled(self, input: Tensor, f: AnnSampler | GainSampler) -> Output:
        """Spikes, remembered beside their weighted input as they are before dropout."""
        drop, self.neuron.drop = self.neuron.drop, None
        try:
            drive = self._drive(input)
            sent = self._reply(drive)
        finally:
            self.neuron.drop = drop
        with torch.no_grad():
            # of the batch itself while training, as the neurons' is; its statistics are those of the neurons
            norm = copy.deepcopy(self.neuron.norm)
            f.append(sent, self._settled(drive.mean(-1, keepdim=True), norm))
        return self._counted(sent if drop is None or not self.sends else drop(sent))

    def _settled(self, drive: Tensor, norm: Any) -> Tensor:
        """What the activation is a function of: the weighted input or, before a norm, the current that it leads to."""
        if norm is None:
            return drive
        decay = quantize(self.neuron.current_decay).clamp(min=1) / self.neuron.p_scale
        return norm(drive / decay.reshape(-1, *[1] * (drive.dim() - 2)))

    def _rates(self, input: Tensor) -> Tensor:
        drive, neuron, f = self._drive(input), self.neuron, self.f
        if drive.shape[1:-1] != self.shape:
            raise ShapeError(f"expected input for neurons of {self.shape}, got one for {drive.shape[1:-1]}")
        drive = self._settled(drive, neuron.norm)
        if f is None:
            return drive
        if f.pending:
            self.fit()
        rates = (f if f.fitted else self._calibrated(drive))(drive)
        drop = neuron.drop
        return rates if drop is None or not self.sends else drop(rates)

    @torch.no_grad()
    def _calibrated(self, drive: Tensor) -> Any:
        """An activation fitted to what the neurons make of this input when it is constant."""
        neuron, self.neuron = self.neuron, copy.deepcopy(self.neuron)
        try:
            self.neuron.reset_state()
            self.neuron.persistent_state, self.neuron.drop = False, None
            if neuron.norm is not None:  # what is driven is the current behind it
                self.neuron.norm = None
                self.neuron.current_decay.fill_(neuron.p_scale)
            sent = self._answer(drive.expand(*drive.shape[:-1], _STEPS))
        finally:
            self.neuron = neuron
        f: Any = copy.deepcopy(self.f)
        f.append(sent, drive)
        f.fit()
        return f
