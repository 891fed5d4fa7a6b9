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
SMALLEST = 1 << 20  # bytes; below, malloc keeps what it has
_LINE = 16  # floats of a cache line

# Size in bytes -> buffers, the size asked for longest ago first.  No lock, which a collection of garbage could ask for
# twice: every operation is atomic, and where two threads meet between two of them, a buffer is lost to the system.
_free: dict[int, list[np.ndarray]] = {}
_pooling = True


class _Lent:
    """What arrays on a lent buffer have as their base; no array itself, for NumPy lets views of views skip those."""

    def __init__(self, buffer: np.ndarray) -> None:
        self.buffer = buffer
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self) -> None:
        if _pooling:
            _free.setdefault(self.buffer.nbytes, []).append(self.buffer)
            _trim()


def _trim() -> None:
    """Drop buffers until the rest fits the limit."""
    for size in list(_free):
        while held() > LIMIT:
            try:
                _free[size].pop()
            except (KeyError, IndexError):  # noqa: PERF203 - another thread may have emptied it
                _free.pop(size, None)
                break


def empty(shape: tuple[int, ...]) -> np.ndarray:
    """Uninitialised float32 of ``shape``, from the pool where it is large."""
    size = math.prod(shape)
    if not _pooling or 4 * size < SMALLEST:
        return np.empty(shape, np.float32)
    buffers = _free.pop(4 * size, [])
    try:
        buffer = buffers.pop()
    except IndexError:
        whole = np.empty(size + _LINE, np.float32)
        first = -whole.ctypes.data % (4 * _LINE) // 4  # registers are loaded from one line each, not from two
        buffer = whole[first : first + size]
    _free[4 * size] = buffers  # now the last
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
