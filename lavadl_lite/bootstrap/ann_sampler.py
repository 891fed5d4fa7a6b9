"""What a layer's neurons answer to: samples of weighted input and rate, and the activation that is fitted to them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ParameterError, ShapeError
from ..slayer.neuron.base import _number
from ..slayer.synapse.base import integers
from ..viz import matplotlib
from . import fit
from .piecewise import activation

__all__ = ["AnnSampler", "GainSampler"]

_log = logging.getLogger(__name__)

_LINE = 1000  # points of the curve in a plot
_COUNTS = 6  # numbers beside the samples in a sampler's state_dict
_SUMS = 4  # numbers of a gain's


def _pairs(a: Tensor, z: Tensor) -> np.ndarray:
    """Means over time of weighted input and answer, shape (n, 2); those that are no numbers are left out."""
    if a.shape[:-1] != z.shape[:-1]:
        raise ShapeError(f"expected a and z of one shape but for time, got {tuple(a.shape)} and {tuple(z.shape)}")
    means = [x.detach().to(torch.float32).mean(-1).flatten() for x in (z, a)]
    pairs = torch.stack(means, -1).cpu().numpy()
    finite = np.isfinite(pairs)
    return pairs if finite.all() else pairs[finite.all(1)]


def _whole(pairs: np.ndarray) -> np.ndarray:
    """Pairs of float32 as one value each, which NumPy moves in half the time."""
    return pairs.view(np.complex64)[:, 0]


def _misfit(name: str, saved: Tensor, length: int) -> list[str]:
    """What torch is to say of an entry of a ``state_dict`` that has not ``length`` numbers."""
    return [] if saved.shape == (length,) else [f"{name}: expected shape ({length},), got {tuple(saved.shape)}"]


class AnnSampler(torch.nn.Module):
    r"""Activation :math:`f(z)` of lines between a few centres, fitted to samples of weighted input and rate.

    Samples are sorted into ``num_centers`` bins by their rate, between the two fractions ``sample_range`` of the
    highest rate :math:`A`.  The medians of a bin are its centre; a later fit moves it by the fraction ``alpha``.  Lines
    go from rate 0 through the centres to :math:`A`.  What training takes for the derivative is

    .. math:: f'(z) = \frac{x_m}{A}\,s_i + \epsilon

    with the slope :math:`s_i` and the input :math:`x_m` at which the ceiling is reached: the mean gain is about 1, and
    silent and saturated neurons still learn.  Until the first fit the activation is the identity, held in 0..1.

    Parameters
    ----------
    num_centers : int
        Bins; below half the number of time steps, or some are empty.
    sample_range : (float, float)
        Fractions of the highest rate between which the bins lie, ``0 < low < high <= 1``.
    eps : float
        :math:`\epsilon`, 0 or more.
    alpha : float
        Weight of new samples against the fit before, in 0..1.
    capacity : int
        Samples that are kept at most: a uniform choice of all that came since the last :meth:`clear`.
    seed : int
        Of that choice, and of what :meth:`soft_clear` leaves.

    Attributes
    ----------
    z, a : array, shape (n,)
        The samples: weighted inputs and rates.
    centers : Tensor, shape (m + 2, 2), or None before the first fit
        Centres (input, rate) with the two ends of the activation.
    slopes : Tensor, shape (m + 1,)
        Slopes between the centres.
    max, scale : float
        The ceiling :math:`A`, and the inverse mean gain :math:`x_m / A`.
    fitted : bool
        Whether there was a fit.
    pending : bool
        Whether samples came since the last fit.

    Raises
    ------
    ParameterError
        For an argument outside its range.

    Notes
    -----
    Inputs of the centres that do not rise with the rate are pooled, see :func:`.fit.increasing`; where inputs are
    negative for the most part, half of the activation's width takes the place of :math:`x_m`.  The fit and the samples
    are part of the ``state_dict``; one without them, such as lava-dl's, leaves them as they are, and one with a fit but
    without ``samples`` leaves none.  A sampler belongs to one block: two would be fitted to each other's samples.
    """

    knots: Tensor

    def __init__(
        self,
        num_centers: int = 5,
        sample_range: tuple[float, float] = (0.1, 0.9),
        eps: float = 1e-5,
        *,
        alpha: float = 0.1,
        capacity: int = 1 << 16,
        seed: int = 0,
    ) -> None:
        super().__init__()
        (self.num_centers,) = integers(num_centers, "num_centers")
        (self.capacity,) = integers(capacity, "capacity")
        (self.seed,) = integers(seed, "seed", smallest=0)
        ends = sample_range if np.shape(sample_range) == (2,) else (1, 0)
        low, high = (_number(end, "each end of sample_range") for end in ends)
        if not 0 < low < high <= 1:
            raise ParameterError(f"expected sample_range (low, high) with 0 < low < high <= 1, got {sample_range!r}")
        self.sample_range = low, high
        self.eps = _number(eps, "eps")
        if self.eps < 0:
            raise ParameterError(f"expected eps of 0 or more, got {eps}")
        self.alpha = _number(alpha, "alpha")
        if not 0 <= self.alpha <= 1:
            raise ParameterError(f"expected alpha in 0..1, got {alpha}")
        self.fitted = False
        self.register_buffer("knots", torch.zeros(4, max(self.num_centers, 2) + 2))
        self._set(fit.knots(np.empty((0, 2)), 1.0, self.eps), points=0)
        self.clear()
        self._draws = 0

    def extra_repr(self) -> str:
        return f"num_centers={self.num_centers}, sample_range={self.sample_range}, eps={self.eps}"

    # ------------------------------------------------------------------------------------------------------ samples
    @property
    def z(self) -> np.ndarray:
        """Weighted inputs of the samples, shape (n,)."""
        return self._samples[: self._count, 0]

    @property
    def a(self) -> np.ndarray:
        """Rates of the samples, shape (n,)."""
        return self._samples[: self._count, 1]

    def clear(self) -> None:
        """Forget all samples; the fit stays."""
        self._samples = np.empty((0, 2), np.float32)
        self._count = self._seen = 0
        self.pending = False

    def _random(self) -> np.random.Generator:
        """A stream of its own for each use: to go on from a saved state takes their number only."""
        self._draws += 1
        return np.random.default_rng((self.seed, self._draws))

    def soft_clear(self) -> None:
        """Forget a random half of the samples; what is left counts as all that came."""
        kept = self._count - self._count // 2
        chosen = self._random().permutation(self._count)[:kept]
        self._samples[:kept] = self._samples[chosen]
        self._count = self._seen = kept

    def append(self, a: Tensor, z: Tensor) -> None:
        """Add samples: one for each neuron of each batch entry, the means over time.

        Parameters
        ----------
        a : Tensor, shape (N, C, ..., T)
            What the neurons sent.
        z : Tensor, shape (N, C, ..., T) or any other number of steps
            Their weighted input.

        Raises
        ------
        ShapeError
            If the shapes differ in more than time.
        """
        new = _pairs(a, z)
        if not len(new):
            return
        self.pending = True
        free = min(self.capacity - self._count, len(new))
        end = self._count + free
        if end > len(self._samples):
            grown = np.empty((min(max(end, 2 * len(self._samples)), self.capacity), 2), np.float32)
            grown[: self._count] = self._samples[: self._count]
            self._samples = grown
        self._samples[self._count : end] = new[:free]
        self._count, self._seen = end, self._seen + free
        rest = new[free:]
        if len(rest):  # each one takes a random place, or none: Vitter's algorithm R for all at once
            places = self._random().random(len(rest))
            places *= np.arange(self._seen + 1, self._seen + 1 + len(rest))
            places = places.astype(np.int64)
            kept = np.flatnonzero(places < self.capacity)
            _whole(self._samples)[places[kept]] = _whole(rest)[kept]
            self._seen += len(rest)

    # ---------------------------------------------------------------------------------------------------------- fit
    def fit(self) -> None:
        """Fit the activation to the samples; without any, the fit before stays."""
        self.pending = False
        if not self._count:
            _log.warning("there are no samples to fit to: the activation stays as it is; run Mode.SAMPLE before FIT")
            return
        low, high = self.sample_range
        top = fit.ceiling(self.a, high)
        edges = np.linspace(low * top, high * top, self.num_centers + 1)
        points = fit.increasing(fit.centers(self.z, self.a, self._points(), edges, self.alpha))
        self._set(fit.knots(points, top, self.eps), len(points))
        self.fitted = True

    def _set(self, knots: np.ndarray, points: int) -> None:
        """Take over knots, the last of them repeated; ``points`` of them are centres."""
        room = self.knots.shape[1] - knots.shape[1]
        last = np.array([*knots[:2, -1], 0.0, self.eps])
        filled = np.concatenate([knots, np.repeat(last[:, None], room, 1)], 1)
        self.knots = torch.from_numpy(filled).to(self.knots)  # not in place: graphs of earlier calls keep the former
        self._used = knots.shape[1]
        self._measured = points

    def _points(self) -> np.ndarray:
        """The centres themselves, without what was added in front of them and behind."""
        ends = self._used - 1
        return self.knots[:2, ends - self._measured : ends].T.double().cpu().numpy()

    @property
    def centers(self) -> Tensor | None:
        """Centres (input, rate) with both ends of the activation, shape (m + 2, 2); None before the first fit."""
        return self.knots[:2, : self._used].T if self.fitted else None

    @property
    def slopes(self) -> Tensor:
        """Slopes between the centres, shape (m + 1,)."""
        return self.knots[2, : self._used - 1]

    @property
    def max(self) -> float:
        """Ceiling of the rate."""
        return float(self.knots[1, -1])

    @property
    def scale(self) -> float:
        """Inverse mean gain: the input at the ceiling over the ceiling."""
        return float(self.knots[0, -1] / self.knots[1, -1])

    def forward(self, z: Tensor) -> Tensor:
        """Rates of weighted inputs of any shape."""
        return activation(z, self.knots, self.eps)

    def plot(self, figsize: tuple[float, float] | None = None) -> Any:
        """Draw samples, activation and centres.

        Parameters
        ----------
        figsize : (float, float), optional
            Width and height of a new figure in inches; absent, the current axes are drawn into.

        Returns
        -------
        matplotlib.axes.Axes
        """
        plt = matplotlib("pyplot")
        axes = plt.gca() if figsize is None else plt.figure(figsize=figsize).gca()
        knots = self.knots[:2, : self._used].cpu()
        ends = [*knots[0, [0, -1]].tolist(), *([self.z.min(), self.z.max()] if self._count else [])]
        z = torch.linspace(float(min(ends)), float(max(ends)), _LINE)
        axes.plot(self.z, self.a, ".", alpha=0.05, color="tab:blue", rasterized=True)
        axes.plot(z, activation(z, self.knots.cpu(), self.eps), color="tab:orange")
        axes.plot(*knots, "o", color="tab:red")
        axes.set(xlabel="weighted input", ylabel="rate")
        return axes

    # --------------------------------------------------------------------------------------------------- state_dict
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        counts = self.fitted, self.pending, self._used, self._measured, self._seen, self._draws
        destination[prefix + "counts"] = torch.tensor(counts)
        destination[prefix + "samples"] = torch.from_numpy(self._samples[: self._count].copy())

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if prefix + "counts" not in state_dict:  # lava-dl's, which does not keep the fit
            return
        counts = state_dict.pop(prefix + "counts")
        samples = state_dict.pop(prefix + "samples", torch.empty(0, 2))
        *args, error_msgs = args
        wrong = _misfit(prefix + "counts", counts, _COUNTS)
        if samples.shape[1:] != (2,):
            wrong.append(f"{prefix}samples: expected shape (n, 2), got {tuple(samples.shape)}")
        if not wrong:
            super()._load_from_state_dict(state_dict, prefix, *args, wrong)
        error_msgs += wrong
        if wrong or prefix + "knots" not in state_dict:  # which counts and samples belong to
            return
        fitted, pending, self._used, self._measured, seen, self._draws = counts.tolist()
        self._samples = samples[: self.capacity].float().cpu().numpy().copy()
        self._count = len(self._samples)
        self._seen = seen if self._count else 0
        self.fitted, self.pending = bool(fitted), bool(pending and self._count)


class GainSampler(torch.nn.Module):
    r"""Line through the origin, :math:`f(z) = g z`, fitted by least squares: what a read-out's state makes of rates.

    Attributes
    ----------
    gain : Tensor, shape ()
        :math:`g`; 1 before the first fit.
    fitted, pending : bool
        Whether there was a fit, and whether samples came since.
    """

    gain: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gain", torch.ones(()))
        self.fitted = False
        self.clear()

    def clear(self) -> None:
        """Forget all samples; the fit stays."""
        self._products = self._squares = 0.0
        self.pending = False

    def soft_clear(self) -> None:
        """Let the samples count half."""
        self._products /= 2
        self._squares /= 2

    def append(self, a: Tensor, z: Tensor) -> None:
        """Add samples: states ``a`` that weighted inputs ``z`` gave, see :meth:`AnnSampler.append`."""
        inputs, states = _pairs(a, z).T.astype(np.float64)
        self._products += float(inputs @ states)
        self._squares += float(inputs @ inputs)
        self.pending = True

    def fit(self) -> None:
        """Fit the gain to the samples; where all their inputs were 0, the one before stays."""
        self.pending = False
        if self._squares > 0:
            self.gain = torch.full_like(self.gain, self._products / self._squares)  # not in place, see AnnSampler
            self.fitted = True

    def forward(self, z: Tensor) -> Tensor:
        """States that weighted inputs of any shape give."""
        return z * self.gain.to(z.dtype)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        sums = float(self.fitted), float(self.pending), self._products, self._squares
        destination[prefix + "sums"] = torch.tensor(sums, dtype=torch.float64)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if prefix + "sums" not in state_dict:  # lava-dl's, which does not keep the fit
            return
        sums = state_dict.pop(prefix + "sums")
        *args, error_msgs = args
        wrong = _misfit(prefix + "sums", sums, _SUMS)
        if not wrong:
            super()._load_from_state_dict(state_dict, prefix, *args, wrong)
        error_msgs += wrong
        if wrong or prefix + "gain" not in state_dict:
            return
        fitted, pending, self._products, self._squares = sums.tolist()
        self.fitted, self.pending = bool(fitted), bool(pending)
