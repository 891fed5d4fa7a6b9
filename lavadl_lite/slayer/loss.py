"""Losses on spike trains: by time, by rate, by class, and on sparsity. torch's own losses work on them too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ParameterError, ShapeError
from .classifier import MovingWindow, Rate, check_mode, floating
from .utils.filter import FIR

__all__ = ["SparsityEnforcer", "SpikeMax", "SpikeMoid", "SpikeRate", "SpikeTime"]

_EPS = 1e-6  # keeps the probability of a silent sample finite; the default of Rate.confidence


class SpikeTime(nn.Module):
    r"""Squared distance of two spike trains after low-pass filtering, the distance of van Rossum [1]_.

    .. math:: L = \sum_{n,c,t} \bigl((f * (s - \hat s))[t]\bigr)^2, \qquad f[k] = e^{-k/\tau}

    Parameters
    ----------
    time_constant : float, optional
        Time constant :math:`\tau` of the filter, in steps.
    length : int, optional
        Steps of the filter.
    filter_order : int, optional
        How many times the exponential is applied; from 2 on the response rises before it falls.
    reduction : str, optional
        ``"sum"`` or ``"mean"`` over all elements, or ``"none"`` for the flat squares.

    Attributes
    ----------
    filter : FIR
        The filter; it can be called on a spike train to see what is compared.

    Raises
    ------
    ParameterError
        If ``filter_order`` is below 1 or ``reduction`` unknown.

    References
    ----------
    .. [1] van Rossum, "A Novel Spike Distance", Neural Computation, 2001. doi:10.1162/089976601300014321
    """

    def __init__(
        self, time_constant: float = 5, length: int = 100, filter_order: int = 1, reduction: str = "sum"
    ) -> None:
        super().__init__()
        if filter_order < 1:
            raise ParameterError(f"expected filter_order >= 1, got {filter_order}")
        self.reduction = _checked_reduction(reduction)
        self.filter = FIR(time_constant=time_constant, length=length)
        response = self.filter.filter
        for _ in range(filter_order - 1):
            response = self.filter(response)
        self.filter.filter = response

    def forward(self, input: Tensor, desired: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        input : Tensor, shape (N, ..., T)
            Spikes of the network.
        desired : Tensor, shape of ``input``
            Spikes that are wanted; axes of length 1 may differ.

        Returns
        -------
        Tensor
            The reduced squares.

        Raises
        ------
        ShapeError
            If the shapes do not match.
        """
        if input.shape[-1:] != desired.shape[-1:] or not _alike(input.shape, desired.shape):
            raise ShapeError(f"expected desired spikes of shape {tuple(input.shape)}, got {tuple(desired.shape)}")
        input = floating(input)
        error = self.filter(input - desired.reshape(input.shape).to(input.dtype))
        return _reduce(error.square().flatten(), self.reduction)


class SpikeRate(nn.Module):
    r"""Squared distance of the spike rates from a high rate for the label's neuron and a low one for all others.

    .. math:: L = \sum_{n,c} (r_{nc} - \hat r_{nc})^2

    With a moving window the sum is over time too.

    Parameters
    ----------
    true_rate, false_rate : float
        Rates, in spikes per step from 0 to 1, of the label's neuron and of the others.
    moving_window : int, optional
        Steps of a window over which the rate is taken at each step; all time if not given.
    reduction : str, optional
        ``"sum"`` or ``"mean"`` over all elements, or ``"none"``.

    Raises
    ------
    ParameterError
        If a rate is outside 0..1, the window shorter than one step or ``reduction`` unknown.
    """

    def __init__(
        self, true_rate: float, false_rate: float, moving_window: int | None = None, reduction: str = "sum"
    ) -> None:
        super().__init__()
        for name, rate in (("true_rate", true_rate), ("false_rate", false_rate)):
            if not 0 <= rate <= 1:
                raise ParameterError(f"expected {name} from 0 to 1, got {rate}")
        self.true_rate = true_rate
        self.false_rate = false_rate
        self.reduction = _checked_reduction(reduction)
        self.window = None if moving_window is None else MovingWindow(moving_window)

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        input : Tensor, shape (N, ..., T)
            Spikes; the axes between are flattened to ``C`` neurons.
        label : Tensor of integers, shape (N,), or also (N, T) with a moving window
            Index of the neuron that should win.

        Returns
        -------
        Tensor
            The reduced squares.

        Raises
        ------
        ShapeError
            If the shapes do not match.
        ParameterError
            If labels are not integers or not in 0..C - 1.
        """
        rate, label = _rates_and_labels(input, label, self.window)
        target = torch.full_like(rate, self.false_rate).scatter_(1, label.unsqueeze(1), self.true_rate)
        return F.mse_loss(rate.flatten(), target.flatten(), reduction=self.reduction)


class SpikeMax(nn.Module):
    r"""Negative log likelihood of the label's neuron, its probability taken from the spike rates.

    .. math:: L = -\sum_n \log p_{n, \text{label}_n}, \qquad p_{nc} = \frac{r_{nc}}{\sum_k r_{nk} + 10^{-6}}

    With a moving window the sum is over time too. Where the label's neuron is silent the probability is that of every
    neuron having fired once more, :math:`p = (1/W) / \sum_k (r_k + 1/W)` with :math:`W` the steps that rates are taken
    over: the loss is finite, larger than with a single spike, and its gradient wakes the neuron.

    Parameters
    ----------
    moving_window : int, optional
        Steps of a window over which the rate is taken at each step; all time if not given.
    mode : str, optional
        ``"probability"`` as above, or ``"softmax"`` (also ``"logsoftmax"``) of the rates.
    reduction : str, optional
        ``"sum"`` or ``"mean"`` over all elements, or ``"none"``.

    Raises
    ------
    ParameterError
        If the window is shorter than one step, or ``mode`` or ``reduction`` unknown.
    """

    def __init__(self, moving_window: int | None = None, mode: str = "probability", reduction: str = "sum") -> None:
        super().__init__()
        check_mode(mode)
        self.mode = mode
        self.reduction = _checked_reduction(reduction)
        self.window = None if moving_window is None else MovingWindow(moving_window)

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        """Compute the loss; parameters, result and errors are those of :meth:`SpikeRate.forward`."""
        rate, label = _rates_and_labels(input, label, self.window)
        if self.mode == "probability":
            steps = input.shape[-1] if self.window is None else self.window.filter.filter.numel()
            loss = -torch.log(_label_probability(rate, label, steps))
        else:
            loss = F.cross_entropy(rate, label, reduction="none")
        return _reduce(loss.flatten(), self.reduction)


class SpikeMoid(nn.Module):
    r"""Binary cross-entropy of every neuron, for samples with any number of true labels.

    .. math:: L = -\sum_{n,c} y_{nc} \log p_{nc} + (1 - y_{nc}) \log(1 - p_{nc}),
        \qquad p = \sigma\left(\frac{r - \theta}{\alpha}\right)

    With a moving window the sum is over time too.

    Parameters
    ----------
    moving_window : int, optional
        Steps of a window over which the rate is taken at each step; all time if not given.
    reduction : str, optional
        ``"sum"`` or ``"mean"`` over all elements, or ``"none"``.
    alpha : float, optional
        Temperature :math:`\alpha`: how much rate it takes to be sure.
    theta : float, optional
        Rate :math:`\theta` at which the probability is one half.

    Raises
    ------
    ParameterError
        If the window is shorter than one step, ``alpha`` is 0 or ``reduction`` unknown.
    """

    def __init__(
        self, moving_window: int | None = None, reduction: str = "sum", alpha: float = 1, theta: float = 0
    ) -> None:
        super().__init__()
        if alpha == 0:
            raise ParameterError("expected alpha other than 0")
        self.alpha = alpha
        self.theta = theta
        self.reduction = _checked_reduction(reduction)
        self.window = None if moving_window is None else MovingWindow(moving_window)

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        input : Tensor, shape (N, ..., T)
            Spikes; the axes between are flattened to ``C`` neurons.
        label : Tensor of any type, shape (N, C), or also (N, C, T) with a moving window
            Truth of each neuron, 0 to 1.

        Returns
        -------
        Tensor
            The reduced cross-entropies.

        Raises
        ------
        ShapeError
            If the shapes do not match.
        """
        neurons = input.shape[:-1]
        input = _neurons(input)
        rate = Rate.rate(input) if self.window is None else self.window.rate(input)
        if any(_alike(label.shape, (*shape, *rate.shape[2:])) for shape in (rate.shape[:2], neurons)):
            label = label.reshape(rate.shape)
        elif any(_alike(label.shape, shape) for shape in (rate.shape[:2], neurons)):
            label = label.reshape(*rate.shape[:2], 1).expand_as(rate)
        else:
            raise ShapeError(f"expected labels for {tuple(rate.shape)}, got shape {tuple(label.shape)}")
        # the logarithms are taken before the sigmoid: it rounds to 0 or 1 for large arguments
        logits = (rate - self.theta) / self.alpha
        loss = F.binary_cross_entropy_with_logits(logits, label.to(rate.dtype), reduction="none")
        return _reduce(loss.flatten(), self.reduction)


class SparsityEnforcer:
    r"""Penalty on layers that are more active than they may be.

    .. math:: L = \lambda \sum_\text{layers} \max(0, \operatorname{mean} |x| - r_\text{max})^2

    Hand it each layer's output with :meth:`append` during a forward pass, use :attr:`loss`, then :meth:`clear`.

    Parameters
    ----------
    max_rate : float, optional
        Mean amplitude that costs nothing; for binary spikes, spikes per step.
    lam : float, optional
        Factor :math:`\lambda`.

    Attributes
    ----------
    loss_list : list of Tensor
        Penalty of each layer, with its graph.
    """

    def __init__(self, max_rate: float = 0.01, lam: float = 1.0) -> None:
        self.max_rate = max_rate
        self.lam = lam
        self.loss_list: list[Tensor] = []

    def clear(self) -> None:
        """Forget all layers."""
        self.loss_list = []

    @property
    def loss(self) -> Tensor | float:
        """Penalty of all layers so far; 0.0 without any."""
        return self.lam * sum(self.loss_list, 0.0)

    def append(self, x: Tensor) -> None:
        """Add the penalty of one layer's output ``x``, of any shape."""
        self.loss_list.append(F.relu(x.abs().mean() - self.max_rate).square())


def _checked_reduction(reduction: str) -> str:
    if reduction not in ("sum", "mean", "none"):
        raise ParameterError(f"expected reduction 'sum', 'mean' or 'none', got {reduction!r}")
    return reduction


def _reduce(values: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.mean()


def _alike(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Whether shapes are the same but for axes of length 1."""
    return [n for n in shape if n != 1] == [n for n in other if n != 1]


def _neurons(input: Tensor) -> Tensor:
    """Flatten (N, ..., T) to (N, C, T)."""
    if input.dim() < 2:
        raise ShapeError(f"expected input (N, ..., T), got {tuple(input.shape)}")
    return floating(input).reshape(input.shape[0], math.prod(input.shape[1:-1]), input.shape[-1])


def _rates_and_labels(input: Tensor, label: Tensor, window: MovingWindow | None) -> tuple[Tensor, Tensor]:
    """Rates (N, C) with labels (N,), or with a window rates (N, C, T) with labels (N, T)."""
    input = _neurons(input)
    samples, classes, steps = input.shape
    if label.is_floating_point() or label.is_complex() or label.dtype == torch.bool:
        raise ParameterError(f"expected integer labels, got {label.dtype}")
    if label.numel() and not torch.compiler.is_compiling():
        lowest, highest = (int(bound) for bound in torch.aminmax(label))
        if lowest < 0 or highest >= classes:
            raise ParameterError(f"expected labels in 0..{classes - 1}, got {lowest}..{highest}")
    label = label.to(torch.int64)
    if window is None:
        if label.numel() != samples:
            raise ShapeError(f"expected labels ({samples},), got {tuple(label.shape)}")
        return Rate.rate(input), label.reshape(samples)
    if label.numel() == samples:
        label = label.reshape(samples, 1).expand(samples, steps)
    if label.shape != (samples, steps):
        raise ShapeError(f"expected labels ({samples},) or ({samples}, {steps}), got {tuple(label.shape)}")
    return window.rate(input), label


def _label_probability(rate: Tensor, label: Tensor, steps: int) -> Tensor:
    """Fraction of the rates (N, C, ...) that the label's neuron holds; see SpikeMax for silent ones."""
    total = rate.sum(dim=1)
    own = rate.gather(1, label.unsqueeze(1)).squeeze(1)
    probability = own / (total + _EPS)
    one_spike = 1 / steps
    if_silent = (own.clamp(min=0) + one_spike) / (total.clamp(min=0) + rate.shape[1] * one_spike)
    return torch.where(probability > 0, probability, if_silent)
