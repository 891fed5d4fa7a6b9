"""What every CPU kernel needs: the decorators and the thread pool; nothing about any dynamics."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numba import njit

from . import openmp

__all__ = ["cpu_kernel", "cuts", "inlined", "run_all", "run_rows", "step", "threads"]

LANES = 16  # rows that a kernel handles together: the float32 of one cache line
SERIAL_BELOW = 50_000  # elements; handing work to a thread costs as much as computing this many

# no exceptions and no division checks: numba would leave the fast path for them
step = njit(error_model="numpy")
# a part of a driver, compiled into each place of use with the constants there
inlined = njit(error_model="numpy", forceinline=True)


def cpu_kernel(function: Callable[..., None]) -> Any:
    """Compile a driver without the GIL, kept on disk where some cache folder is writable."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # numba found no folder to write to: a read-only install without a home
        return njit(nogil=True, error_model="numpy")(function)


def threads() -> int:
    """Threads that a kernel may use: torch's setting where torch is loaded, else numba's."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else numba.config.NUMBA_NUM_THREADS


class _Pool:
    """An executor with threads for the most helpers that were asked for; it starts them when it needs them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.helpers = 0
        self.executor: ThreadPoolExecutor | None = None

    def get(self, helpers: int) -> ThreadPoolExecutor:
        with self.lock:
            if self.executor is None or helpers > self.helpers:
                self.executor = ThreadPoolExecutor(helpers, thread_name_prefix="lavadl_lite")
                self.helpers = helpers
            return self.executor


_pool = _Pool()


def _forget_pool() -> None:
    """In a forked child: the parent's threads do not exist here, and its lock may be held forever."""
    global _pool
    _pool = _Pool()
    openmp.forget()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_forget_pool)


def cuts(rows: int, elements: int) -> list[int]:
    """Borders of the shares of ``rows``, from 0 to ``rows``; one border where there are no rows.

    Shares begin at multiples of 16 rows, so that every thread count gives the same bits; ``elements`` is the size of
    the work, and little of it is not shared.
    """
    shares = min(threads(), rows // LANES) if elements >= SERIAL_BELOW else 1
    if shares <= 1:
        return [0, rows] if rows > 0 else [0]
    return [rows * i // shares // LANES * LANES for i in range(shares)] + [rows]


def run_all(calls: list[Callable[[], Any]]) -> None:
    """Make all calls at once, the first one in the calling thread, the others in threads of our own."""
    others = [_pool.get(len(calls) - 1).submit(call) for call in calls[1:]]
    for call in calls[:1]:
        call()
    for other in others:
        other.result()


def run_rows(function: Callable[[int, int], Any], rows: int, elements: int) -> None:
    """Call ``function(lo, hi)`` over the shares of ``rows`` that :func:`cuts` says, the first in the calling thread.

    ``function`` must release the GIL to gain anything.
    """
    borders = cuts(rows, elements)
    if len(borders) > 2 and openmp.usable():
        openmp.run(function, borders)
    else:
        run_all([partial(function, lo, hi) for lo, hi in pairwise(borders)])


def as_argument(value: Any) -> Any:
    """``value`` in the one type its kernel is compiled for: flat arrays, int64, float32, bool.

    Parameters
    ----------
    value : ndarray, Tensor or number
        Contiguous ones are not copied.  A tensor stands on the CPU and has no gradient.
    """
    kind = type(value)  # the usual ones first: this runs a dozen times a call
    if kind is int or kind is bool:
        return value
    if kind is float:
        return np.float32(value)
    if hasattr(value, "numpy"):
        value = value.numpy()  # less than half the cost of a DLPack capsule, and refuses fake tensors
    if isinstance(value, np.ndarray):
        flat = value if value.ndim == 1 else value.reshape(-1)
        return flat if flat.flags.carray else flat.copy()
    if isinstance(value, np.bool_):
        return bool(value)
    return int(value) if isinstance(value, int | np.integer) else np.float32(value)
