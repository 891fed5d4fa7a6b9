"""The threads that torch works with, for our kernels too; where torch has none of this kind, :mod:`.cpu` has its own.

After an operation torch's threads stay awake for some milliseconds, waiting for the next one, and take half of a
processor from every other thread.  Given our work instead, they have it at once, and nothing competes.  They belong to
the GNU OpenMP library inside torch's wheels for Linux, whose entry point for compiled code is called here.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

__all__ = ["forget", "run", "start", "team", "usable"]

_MAPS = Path("/proc/self/maps")

Work = tuple[Callable[[int, int], Any], list[int], list[BaseException]]

_works: dict[int, Work] = {}
_numbers = itertools.count(1)
_forked = False


def forget() -> None:
    """In a forked child: the parent's threads do not exist here, and the library would wait for them."""
    global _forked
    _forked = True


def usable() -> bool:
    """Whether torch is loaded, and its threads are there to be used."""
    return not _forked and "torch" in sys.modules and _library() is not None


@cache
def _library() -> tuple[Callable[..., None], Callable[..., None], Any] | None:
    """Entry points for a number of ``_works`` and for compiled code, and the team; None without such a library."""
    folder = Path(sys.modules["torch"].__file__ or "").parent
    inside = tuple(str(folder.with_name(name)) + os.sep for name in (folder.name, f"{folder.name}.libs"))
    try:
        loaded = {line.split(maxsplit=5)[-1].strip() for line in _MAPS.read_text().splitlines() if "libgomp" in line}
    except OSError:  # another system
        return None
    paths = [path for path in loaded if path.startswith(inside)]
    if len(paths) != 1:
        return None
    library, held = ctypes.CDLL(paths[0]), ctypes.PyDLL(paths[0])  # calls of the second one keep the GIL

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def share(number: int) -> None:
        function, cuts, errors = _works[number]
        try:
            for i in range(held.omp_get_thread_num(), len(cuts) - 1, held.omp_get_num_threads()):
                function(cuts[i], cuts[i + 1])
        except BaseException as error:  # noqa: BLE001 - raised by run, in the calling thread
            errors.append(error)

    entry, compiled = (
        ctypes.CFUNCTYPE(None, function, data, ctypes.c_uint, ctypes.c_uint)(("GOMP_parallel", library))
        for function, data in ((type(share), ctypes.c_void_p), (ctypes.c_void_p, ctypes.c_char_p))
    )
    team = (ctypes.cast(f, ctypes.c_void_p).value for f in (held.omp_get_thread_num, held.omp_get_num_threads))
    return partial(entry, share), compiled, tuple(team)


def team() -> tuple[int, int] | None:
    """Addresses of two functions without arguments: number of the thread that asks, number of threads; None without."""
    return _library()[2] if usable() else None  # type: ignore[index]


def start(function: int, block: bytes, shares: int) -> None:
    """Call what is compiled at the address ``function`` with the address of ``block`` in that many threads.

    Only where :func:`usable`.  It has the block's shares of its own thread to do.
    """
    _library()[1](function, block, shares, 0)  # type: ignore[index]


def run(function: Callable[[int, int], Any], cuts: list[int]) -> None:
    """Call ``function(lo, hi)`` between all neighbours in ``cuts``, the first one in the calling thread.

    Only where :func:`usable`.
    """
    number, errors = next(_numbers), []
    _works[number] = function, cuts, errors
    try:
        _library()[0](number, len(cuts) - 1, 0)  # type: ignore[index]
    finally:
        del _works[number]
    if errors:
        raise errors[0]
