"""How a CUDA driver walks over rows: one warp turns tiles of 32 rows by 32 steps in shared memory.

Global memory is read and written along time, a lane each step; the step itself runs a lane each row.  The next tile
waits in registers.  Rows past the end are read as the last row again, so that only writing asks whether a row is there.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from .cuda import WARP

__all__ = ["PITCH", "STEPS", "TILE", "WARP", "fetch", "put", "write_tile"]

STEPS = 32  # steps per tile, and between two checkpoints
PITCH = WARP + 1  # between two rows of a tile: lanes of a column meet different banks of shared memory
TILE = WARP * PITCH  # floats of shared memory; the compiler wants one name


# These are compiled into their kernels; numba's simulator runs them as the plain functions that they are.  Indices are
# unsigned because numba tests others for being negative, loops are `while` because its `range` costs as much as a step.
@register_jitable
def fetch(ahead, x, first, rows, t0, T, lane):
    """``ahead[r] = x[first + r, t0 + lane]`` for 32 rows, clamped to the last row and step; no tile, nothing read."""
    if 0 <= t0 < T:
        at = first * T + min(t0 + lane, T - 1)
        # not simply T: all 32 distances would be kept in registers from tile to tile
        stride = T if t0 + lane < T else 0
        if first + WARP <= rows:
            for r in range(WARP):  # unrolled, and ``ahead`` with it into registers
                ahead[r] = x[np.uint64(at)]
                at += stride
        else:
            value = np.float32(0)
            for r in range(WARP):
                if first + r < rows:
                    value = x[np.uint64(at)]
                    at += T
                ahead[r] = value


@register_jitable
def put(tile, ahead, lane):
    """``tile[r, lane] = ahead[r]``."""
    for r in range(WARP):
        tile[np.uint64(r * PITCH + lane)] = ahead[r]


@register_jitable
def write_tile(tile, y, first, rows, t0, T, lane):
    """``y[first + r, t0 + lane] = tile[r, lane]`` for the rows and steps that there are."""
    if t0 + lane < T:
        at = first * T + t0 + lane
        source = lane
        end = lane + PITCH * min(WARP, rows - first)
        while source < end:
            y[np.uint64(at)] = tile[np.uint64(source)]
            at += T
            source += PITCH
