"""Normalisation that the hardware can hold: a mean becomes a bias, a variance a power of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ShapeError

__all__ = ["MeanOnlyBatchNorm", "WgtScaleBatchNorm"]


def _unchanged(x: Tensor, descale: bool = False) -> Tensor:
    return x


class AbstractBatchNorm(nn.Module):
    """Running mean for each channel, its quantisation and its shape; what to do with it is the subclass's."""

    running_mean: Tensor

    def __init__(self, num_features: int | None, momentum: float, pre_hook_fx: Callable[..., Tensor] | None) -> None:
        super().__init__()
        self.num_features = num_features
        self.momentum = momentum
        self.pre_hook_fx = _unchanged if pre_hook_fx is None else pre_hook_fx
        self.update = True
        self.register_buffer("running_mean", torch.zeros(1 if num_features is None else num_features))

    def reset_parameters(self) -> None:
        """Set the running statistics to zero."""
        for statistic in self.buffers():
            statistic.zero_()

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fix the number of channels before any data is seen.

        Parameters
        ----------
        shape : tuple of int
            Spatial shape ``(C,)`` or ``(C, H, W)``.

        Returns
        -------
        tuple of int
            Shape of the output: the same.

        Raises
        ------
        ShapeError
            If the module already has another number of channels.
        """
        if self.num_features is None:
            self.num_features = shape[0]
            with torch.inference_mode(False):  # what is made is written to in training
                self.running_mean = self.running_mean.expand(shape[0]).clone()
        if self.num_features != shape[0]:
            raise ShapeError(f"expected {self.num_features} channels, got spatial shape {tuple(shape)}")
        return tuple(shape)

    @property
    def bias(self) -> Tensor:
        """What the running mean adds when deployed, shape (C,); ``pre_hook_fx`` makes it integers."""
        return -self.pre_hook_fx(self.running_mean, descale=True)

    def extra_repr(self) -> str:
        return f"num_features={self.num_features}, momentum={self.momentum}"

    def _check(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ShapeError(f"expected input (N, C, ...), got {tuple(input.shape)}")
        self.materialize(input.shape[1:2] if input.dim() == 2 else input.shape[1:-1])

    def _learns_from(self, input: Tensor) -> bool:
        return self.training and self.update and input.numel() > 0

    def _centred(self, input: Tensor) -> Tensor:
        """Input less its mean in training, and less the running mean otherwise."""
        mean = self.running_mean
        if self._learns_from(input):
            mean = input.mean(dim=[axis for axis in range(input.dim()) if axis != 1])
            self.running_mean.mul_(1 - self.momentum).add_(self.momentum * mean.detach())
        channels = (1, -1) + (1,) * (input.dim() - 2)
        return input - self.pre_hook_fx(mean.view(channels)).to(input.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take the number of channels from what is loaded, unless that was saved before it knew them."""
        key = prefix + "running_mean"
        loaded = state_dict.get(key)
        if loaded is not None:
            never_ran = loaded.tolist() == [0.0]
            if never_ran:
                state_dict[key] = loaded.expand(self.running_mean.shape).clone()
            elif self.num_features is None:
                self.materialize(loaded.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


class MeanOnlyBatchNorm(AbstractBatchNorm):
    r"""Subtracts the mean of each channel; when deployed, it is a bias.

    .. math:: y = x - h(m), \qquad m_\text{run} \leftarrow (1 - \mu)\, m_\text{run} + \mu\, m

    In training :math:`m` is the mean over batch, space and time, and the gradient flows through it. In evaluation mode,
    with ``update`` off and for an empty batch it is the running mean.

    Parameters
    ----------
    num_features : int, optional
        Channels ``C``; taken from the first input if not given.
    momentum : float, optional
        Weight :math:`\mu` of a new batch in the running mean.
    pre_hook_fx : callable, optional
        Quantisation :math:`h` of the mean, for example :func:`.quantize_hook_fx`. With ``descale=True`` it
        returns integers. The default changes nothing.

    Attributes
    ----------
    running_mean : Tensor, shape (C,), or (1,) while C is not known
        Running mean, a buffer of the ``state_dict``.
    update : bool
        Whether training uses and records the statistics of the batch.
    """

    def __init__(
        self,
        num_features: int | None = None,
        momentum: float = 0.1,
        pre_hook_fx: Callable[..., Tensor] | None = None,
    ) -> None:
        super().__init__(num_features, momentum, pre_hook_fx)

    def forward(self, inp: Tensor) -> Tensor:
        """Normalise ``inp`` (N, C, ...). Raises ShapeError for another number of channels or fewer than two axes."""
        self._check(inp)
        return self._centred(inp)


class WgtScaleBatchNorm(AbstractBatchNorm):
    r"""Subtracts the mean of each channel and divides by a power of two: when deployed, bias and weight exponent.

    .. math:: y = \frac{x - h(m)}{2^e}, \qquad e = \left\lceil \log_2 \sqrt{v + \epsilon} \right\rceil
        \text{ held in } [-b, b]

    The mean is that of :class:`MeanOnlyBatchNorm`. The variance :math:`v` is one number for all channels; it has no
    gradient.

    Parameters
    ----------
    num_features : int, optional
        Channels ``C``; taken from the first input if not given.
    momentum : float, optional
        Weight of a new batch in the running statistics.
    weight_exp_bits : int, optional
        Largest exponent :math:`b`, up and down.
    eps : float, optional
        Added to the variance.
    pre_hook_fx : callable, optional
        Quantisation :math:`h` of the mean; see :class:`MeanOnlyBatchNorm`.

    Attributes
    ----------
    running_mean : Tensor, shape (C,), or (1,) while C is not known
        Running mean, a buffer of the ``state_dict``.
    running_var : Tensor, shape (1,)
        Running variance, a buffer of the ``state_dict``; it starts at 0.
    update : bool
        Whether training uses and records the statistics of the batch.
    """

    running_var: Tensor

    def __init__(
        self,
        num_features: int | None = None,
        momentum: float = 0.1,
        weight_exp_bits: int = 3,
        eps: float = 1e-5,
        pre_hook_fx: Callable[..., Tensor] | None = None,
    ) -> None:
        super().__init__(num_features, momentum, pre_hook_fx)
        self.weight_exp_bits = weight_exp_bits
        self.eps = eps
        self.register_buffer("running_var", torch.zeros(1))

    def std(self, var: Tensor) -> Tensor:
        """Divisor for a variance: the next power of two above its root, within the range of the exponent."""
        return torch.pow(2.0, self._exponent(var))

    @property
    def weight_exp(self) -> Tensor:
        """Exponent of the divisor in evaluation mode, shape (1,): what an exported network shifts by."""
        return self._exponent(self.running_var)

    def forward(self, inp: Tensor) -> Tensor:
        """Normalise ``inp`` (N, C, ...). Raises ShapeError for another number of channels or fewer than two axes."""
        self._check(inp)
        var = self.running_var
        if self._learns_from(inp):
            var = inp.detach().var(correction=0)
            values = inp.numel() / inp.shape[1]
            self.running_var.mul_(1 - self.momentum).add_(self.momentum * var * values / (values + 1))
        return self._centred(inp) / self.std(var).to(inp.dtype)

    def _exponent(self, var: Tensor) -> Tensor:
        exponent = torch.ceil(torch.log2(torch.sqrt(var + self.eps)))
        return exponent.clamp(-self.weight_exp_bits, self.weight_exp_bits)
