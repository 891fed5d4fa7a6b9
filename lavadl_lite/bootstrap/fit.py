r"""From samples of (weighted input, rate) to the knots of an activation; arrays only, nothing is kept between calls."""

from __future__ import annotations

import numpy as np

__all__ = ["LOWEST_CEILING", "ceiling", "centers", "increasing", "knots"]

LOWEST_CEILING = 0.8  # of the rate, however small the rates that were seen
_NEAREST = 1e-3  # of the largest abscissa: centres that are nearer than that are one
_FLATTEST = 1e-3  # of the mean slope: what reaches from the outer centres to rate 0 and to the ceiling
_STEEPEST = 1e-6  # input for a rate of 1 where a line from the origin is possible at all


def ceiling(rates: np.ndarray, top: float) -> float:
    """Highest rate of the activation: the mean of the rates near their maximum, and 0.8 at least.

    Parameters
    ----------
    rates : array, shape (n,)
    top : float
        A rate is near the maximum above this fraction of it.
    """
    near = rates[rates > top * rates.max(initial=0)]
    return max(float(near.mean(dtype=np.float64)), LOWEST_CEILING) if near.size else LOWEST_CEILING


def centers(inputs: np.ndarray, rates: np.ndarray, previous: np.ndarray, edges: np.ndarray, alpha: float) -> np.ndarray:
    """A centre for each bin of rates in which there is anything: medians of the samples, drawn to what was there.

    Parameters
    ----------
    inputs, rates : array, shape (n,)
        Weighted inputs, and the rates that they gave.
    previous : array, shape (m, 2)
        Centres of the fit before, as (input, rate).
    edges : array, shape (K + 1,)
        Edges of the bins, each of which ends with its upper edge.
    alpha : float
        Weight of the samples where there was a centre before.

    Returns
    -------
    array, shape (M, 2)
        ``M <= K`` centres (input, rate), by rate.
    """
    bins = np.searchsorted(edges, rates)
    old_bins = np.searchsorted(edges, previous[:, 1])
    found = []
    for number in range(1, len(edges)):
        inside = bins == number
        old = previous[old_bins == number]
        if inside.any():
            new = np.array([np.median(inputs[inside]), np.median(rates[inside])], np.float64)
            found.append(alpha * new + (1 - alpha) * old.mean(0) if len(old) else new)
        elif len(old):
            found.append(old.mean(0))
    return np.array(found, np.float64).reshape(-1, 2)


def increasing(points: np.ndarray) -> np.ndarray:
    """Centres whose inputs rise: neighbours that do not, or hardly, are pooled to their mean.

    Parameters
    ----------
    points : array, shape (M, 2)
        Centres (input, rate), by rate.

    Returns
    -------
    array, shape (m, 2)
        ``points`` itself where its inputs rise.

    Notes
    -----
    Pooling adjacent violators gives the nearest rising sequence in the sense of least squares [1]_.

    References
    ----------
    .. [1] Barlow, Bartholomew, Bremner and Brunk, "Statistical inference under order restrictions", 1972.
    """
    gap = _NEAREST * np.abs(points[:, 0]).max(initial=0) + np.finfo(np.float32).tiny
    pools: list[tuple[np.ndarray, int]] = []
    for point in points:
        mean, count = point, 1
        while pools and mean[0] - pools[-1][0][0] < gap:
            other, more = pools.pop()
            mean, count = (count * mean + more * other) / (count + more), count + more
        pools.append((mean, count))
    return np.array([mean for mean, _ in pools], np.float64).reshape(-1, 2)


def knots(points: np.ndarray, highest: float, eps: float) -> np.ndarray:
    """The activation through centres: lines from rate 0 through them to the ceiling.

    Parameters
    ----------
    points : array, shape (m, 2)
        Centres (input, rate), both of which rise.  None stands for the identity; through one goes a line from the
        origin.
    highest : float
        Ceiling of the rate.
    eps : float
        Added to every derivative.

    Returns
    -------
    array, shape (4, max(m, 2) + 2)
        Inputs, rates and slopes (the last one 0), and the derivatives that training uses: slopes over the mean gain
        of the activation, plus ``eps``.
    """
    if not len(points):
        points = np.array([[0.0, 0.0], [highest, highest]])
    elif len(points) == 1:
        ((x, y),) = points
        points = np.concatenate([[[0.0, 0.0] if x > _STEEPEST * y else [x - y, 0.0]], points])
    x, y = points.T
    slopes = np.diff(y) / np.diff(x)
    flattest = _FLATTEST * highest / (x[-1] - x[0])
    first, last = max(slopes[0], flattest), max(slopes[-1], flattest)
    x = np.concatenate([[x[0] - y[0] / first], x, [x[-1] + (highest - y[-1]) / last]])
    y = np.concatenate([[0.0], y, [highest]])
    slopes = np.concatenate([[first], slopes, [last, 0.0]])
    # inputs that are below 0 for the most part would leave no gain, or one of the wrong sign
    gain = max(x[-1], (x[-1] - x[0]) / 2) / highest
    return np.stack([x, y, slopes, slopes * gain + eps])
