"""Delays along time, over sequences that come in chunks."""

from __future__ import annotations

import numpy as np

__all__ = ["Line"]


class Line:
    """Holds every channel back by a number of steps of its own; zeros come first.

    Parameters
    ----------
    samples : int
        Sequences.
    delay : int or array of int, shape (channels,)
        Steps, 0 or more.
    channels : int
        Values of a step.
    """

    def __init__(self, samples: int, delay: int | np.ndarray, channels: int) -> None:
        delay = np.asarray(delay, np.int64)
        self.longest = int(delay.max(initial=0))
        self.delay = None if delay.min(initial=self.longest) == self.longest else delay
        self.past = np.zeros((samples, self.longest, channels), np.int32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The next chunk [samples, time, channels], late."""
        if not self.longest:
            return x
        steps = x.shape[1]
        whole = np.concatenate([self.past, x], axis=1)
        self.past = whole[:, steps:].copy()
        if self.delay is None:
            return np.ascontiguousarray(whole[:, :steps])
        times = np.arange(steps)[:, None] + (self.longest - self.delay)
        return np.ascontiguousarray(whole[:, times, np.arange(len(self.delay))])
