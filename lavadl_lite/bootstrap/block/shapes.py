"""Constructors of blocks with a mode: those of :mod:`lavadl_lite.slayer.block` with a place for the sampler."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...slayer.block import full, planes, shapes
from ...slayer.block.base import Hook, Output
from ...slayer.synapse.conv import Size
from ..ann_sampler import AnnSampler, GainSampler
from ..routine import Mode
from .base import AbstractBlock

__all__ = [
    "AbstractAffine",
    "AbstractAverage",
    "AbstractConv",
    "AbstractConvT",
    "AbstractDense",
    "AbstractFlatten",
    "AbstractInput",
    "AbstractOutput",
    "AbstractPool",
    "AbstractUnpool",
]


class AbstractInput(AbstractBlock, shapes.AbstractInput):
    """Encodes a signal, see :class:`~lavadl_lite.slayer.block.shapes.AbstractInput`; without spikes, as their rate.

    Parameters
    ----------
    neuron_params, weight, bias, delay_shift, count_log, pre_hook_fx
        As there, but that a neuron is needed.
    sampler : AnnSampler, optional
        Samples and fits the activation; absent, one with its defaults.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any] | None = None,
        weight: float | None = None,
        bias: float | None = None,
        delay_shift: bool | None = None,
        count_log: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        sampler: AnnSampler | None = None,
    ) -> None:
        super().__init__(self._given(neuron_params), weight, bias, delay_shift, count_log, pre_hook_fx)
        self._activate_by(sampler)

    def forward(self, input: Tensor, mode: Mode = Mode.ANN) -> Output:
        """Spikes or rates of ``input``, in its type; those of integers, such as an image's, are float32."""
        output = super().forward(input.to(torch.float32), mode)
        if not input.is_floating_point():
            return output
        return (output[0].to(input.dtype), output[1]) if self.count_log else output.to(input.dtype)


class AbstractDense(AbstractBlock, full.AbstractDense):
    """All inputs to all neurons, see :class:`~lavadl_lite.slayer.block.full.AbstractDense`.

    Parameters
    ----------
    neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx, delay, delay_shift, mask, count_log
        As there.
    sampler : AnnSampler, optional
        Samples and fits the activation; absent, one with its defaults.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        mask: Tensor | None = None,
        count_log: bool = False,
        sampler: AnnSampler | None = None,
    ) -> None:
        super().__init__(
            neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx, delay, delay_shift, mask,
            count_log,
        )  # fmt: skip
        self._activate_by(sampler)


class AbstractAffine(AbstractBlock, full.AbstractAffine):
    """All inputs to all outputs, read out: the weighted sums, whose mean over time is the same with spikes and without.

    Parameters
    ----------
    neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx, mask, count_log
        As for :class:`~lavadl_lite.slayer.block.full.AbstractAffine`.
    dynamics : bool
        Return the neuron's state in place of the sums, without spikes the sums times a gain that is fitted to its mean.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        dynamics: bool = False,
        mask: Tensor | None = None,
        count_log: bool = False,
    ) -> None:
        super().__init__(
            neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx, dynamics, mask, count_log
        )
        self._activate_by(GainSampler() if dynamics else None)


class AbstractOutput(AbstractBlock, full.AbstractOutput):
    """All inputs to all outputs, read out as the neuron's state; without spikes the weighted sums times a fitted gain.

    Parameters
    ----------
    neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, count_log
        As for :class:`~lavadl_lite.slayer.block.full.AbstractOutput`.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float = 1,
        weight_norm: bool = False,
        count_log: bool = False,
    ) -> None:
        super().__init__(neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, count_log)
        self._activate_by(GainSampler())


class AbstractConv(AbstractBlock, planes.AbstractConv):
    """Convolution over a plane, see :class:`~lavadl_lite.slayer.block.planes.AbstractConv`.

    Parameters
    ----------
    neuron_params, in_features, out_features, kernel_size, stride, padding, dilation, groups, weight_scale, \
weight_norm, pre_hook_fx, delay, delay_shift, count_log
        As there.
    sampler : AnnSampler, optional
        Samples and fits the activation; absent, one with its defaults.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_features: int,
        out_features: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        count_log: bool = False,
        sampler: AnnSampler | None = None,
    ) -> None:
        super().__init__(
            neuron_params, in_features, out_features, kernel_size, stride, padding, dilation, groups, weight_scale,
            weight_norm, pre_hook_fx, delay, delay_shift, count_log,
        )  # fmt: skip
        self._activate_by(sampler)


class AbstractConvT(AbstractBlock, planes.AbstractConvT):
    """Transposed convolution over a plane, see :class:`~lavadl_lite.slayer.block.planes.AbstractConvT`.

    Parameters
    ----------
    neuron_params, in_features, out_features, kernel_size, stride, padding, dilation, groups, weight_scale, \
weight_norm, pre_hook_fx, delay, delay_shift, count_log
        As there.
    sampler : AnnSampler, optional
        Samples and fits the activation; absent, one with its defaults.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_features: int,
        out_features: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        count_log: bool = False,
        sampler: AnnSampler | None = None,
    ) -> None:
        super().__init__(
            neuron_params, in_features, out_features, kernel_size, stride, padding, dilation, groups, weight_scale,
            weight_norm, pre_hook_fx, delay, delay_shift, count_log,
        )  # fmt: skip
        self._activate_by(sampler)


class AbstractPool(AbstractBlock, planes.AbstractPool):
    """Sums over the positions of a kernel, see :class:`~lavadl_lite.slayer.block.planes.AbstractPool`.

    Parameters
    ----------
    neuron_params, kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx, delay, delay_shift, \
count_log
        As there.
    sampler : AnnSampler, optional
        Samples and fits the activation; absent, one with its defaults.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        count_log: bool = False,
        sampler: AnnSampler | None = None,
    ) -> None:
        super().__init__(
            neuron_params, kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx, delay,
            delay_shift, count_log,
        )  # fmt: skip
        self._activate_by(sampler)


class AbstractUnpool(AbstractBlock, planes.AbstractUnpool):
    """Each position spread to all that a kernel covers, see :class:`~lavadl_lite.slayer.block.planes.AbstractUnpool`.

    Parameters
    ----------
    neuron_params, kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx, delay, delay_shift, \
count_log
        As there.
    sampler : AnnSampler, optional
        Samples and fits the activation; absent, one with its defaults.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        count_log: bool = False,
        sampler: AnnSampler | None = None,
    ) -> None:
        super().__init__(
            neuron_params, kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx, delay,
            delay_shift, count_log,
        )  # fmt: skip
        self._activate_by(sampler)


class AbstractFlatten(shapes.AbstractFlatten):
    """Joins channels, rows and columns, see :class:`~lavadl_lite.slayer.block.shapes.AbstractFlatten`."""

    def forward(self, input: Tensor, mode: Mode = Mode.ANN) -> Output:
        """``input`` flattened, which is the same in every mode."""
        Mode(mode)
        return super().forward(input)


class AbstractAverage(shapes.AbstractAverage):
    """Mean of consecutive channels, see :class:`~lavadl_lite.slayer.block.shapes.AbstractAverage`."""

    def forward(self, input: Tensor, mode: Mode = Mode.ANN) -> Output:
        """Means of spikes or of rates, which are the same in every mode."""
        Mode(mode)
        return super().forward(input)
