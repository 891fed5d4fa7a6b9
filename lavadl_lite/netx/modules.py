"""Steps around a network that runs in real time: conversion of numbers, and a delay.  Needs neither torch nor Lava."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from threading import Thread
from typing import Any

import numpy as np

from ..errors import ParameterError

__all__ = ["FIFO", "AbstractSeqModule", "Dequantize", "Quantize"]

RAW_BITS_MAX = 32


class AbstractSeqModule(ABC):
    """A callable that is called once a step, and may prepare the next one in the background.

    A class gives ``forward(...)``, whose result a call returns, and, where there is something to prepare,
    ``post_forward()``, which runs in a thread after each call and is awaited by the next one.

    Attributes
    ----------
    time_step : int
        Number of calls so far.
    """

    def __init__(self) -> None:
        self.time_step = 0
        self._thread: Thread | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.time_step += 1
        self.join()
        result = self.forward(*args, **kwargs)
        prepare = getattr(self, "post_forward", None)
        if prepare is not None:
            self._thread = Thread(target=prepare)
            self._thread.start()
        return result

    def join(self) -> None:
        """Wait for what runs in the background."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The step itself."""


class Quantize(AbstractSeqModule):
    """Turns numbers into integers: ``round(x * 2 ** exp)``.

    Parameters
    ----------
    exp : int
        Fractional bits of the integers.
    """

    def __init__(self, exp: int = 0) -> None:
        super().__init__()
        self.exp = exp

    def forward(self, x: Any) -> np.ndarray:
        """Integers for ``x``, an array, or a tensor of torch on any device."""
        values = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
        return np.rint(values * 2.0**self.exp).astype(np.int32)


class Dequantize(AbstractSeqModule):
    """Turns the chip's integers back into numbers: ``x / 2 ** exp``, the sign taken from the highest raw bit.

    Parameters
    ----------
    exp : int
        Fractional bits of the integers.
    num_raw_bits : int
        Bits that an integer has, in 1..32; what stands above them is left out.

    Raises
    ------
    ParameterError
        If ``num_raw_bits`` lies outside.
    """

    def __init__(self, exp: int = 0, num_raw_bits: int = 24) -> None:
        if not 1 <= num_raw_bits <= RAW_BITS_MAX:
            raise ParameterError(f"expected num_raw_bits in 1..{RAW_BITS_MAX}, got {num_raw_bits}")
        super().__init__()
        self.exp = exp
        self.num_raw_bits = num_raw_bits

    def forward(self, x: Any) -> np.ndarray:
        """Numbers, as float64, for integers ``x``."""
        half = 1 << (self.num_raw_bits - 1)
        raw = np.asarray(x).astype(np.int64) & (2 * half - 1)
        return ((raw ^ half) - half) / 2.0**self.exp


class FIFO(AbstractSeqModule):
    """Gives what it was given ``depth`` calls ago, at first None.

    Parameters
    ----------
    depth : int
        Number of calls, 0 or more.

    Raises
    ------
    ParameterError
        If ``depth`` is negative.
    """

    def __init__(self, depth: int = 1) -> None:
        if depth < 0:
            raise ParameterError(f"expected depth of 0 or more, got {depth}")
        super().__init__()
        self.depth = depth
        self._kept: deque[Any] = deque([None] * depth)

    def forward(self, x: Any) -> Any:
        """What came ``depth`` calls ago."""
        self._kept.append(x)
        return self._kept.popleft()
