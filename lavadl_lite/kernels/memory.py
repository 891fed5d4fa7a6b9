"""Memory for large outputs without page faults: a bounded pool of freed buffers.

A fresh large buffer costs a page fault every 4 KiB, as much as the kernel that fills it, and the C library gives
such buffers back to the system after every step.  So freed ones are kept, :data:`LIMIT` bytes at most.  A buffer
returns when the last array, and so the last tensor, that sees it is gone; what something still sees is never lent.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["LIMIT", "SMALLEST", "empty", "held", "release", "set_pooling"]

LIMIT = 256 << 20  # bytes kept at most
SMALLEST = 4 << 20  # bytes; from here NumPy asks for huge pages too

_free: dict[int, list[np.ndarray]] = {}  # size in bytes -> buffers; only atomic operations on it, so no lock
_pooling = True


class _Lent:
    """What arrays on a lent buffer have as their base; no array itself, for NumPy lets views of views skip those."""

    def __init__(self, buffer: np.ndarray) -> None:
        self.buffer = buffer
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        if _pooling and held() + self.buffer.nbytes <= LIMIT:
            _free.setdefault(self.buffer.nbytes, []).append(self.buffer)


def empty(shape: tuple[int, ...]) -> np.ndarray:
    """Uninitialised float32 of ``shape``, from the pool where it is large."""
    size = math.prod(shape)
    if not _pooling or 4 * size < SMALLEST:
        return np.empty(shape, np.float32)
    try:
        buffer = _free[4 * size].pop()
    except (KeyError, IndexError):
        buffer = np.empty(size, np.float32)
    return np.asarray(_Lent(buffer)).reshape(shape)


def held() -> int:
    """Bytes in the pool."""
    return sum(size * len(buffers) for size, buffers in list(_free.items()))


def release() -> None:
    """Give all kept buffers back to the system."""
    _free.clear()


def set_pooling(enabled: bool) -> None:
    """Switch the pool on (the default) or off; switching it off empties it."""
    global _pooling
    _pooling = bool(enabled)
    if not _pooling:
        release()
