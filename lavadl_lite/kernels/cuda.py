"""CUDA drivers: compiled when the first CUDA tensor comes, launched on torch's stream.  Nothing about any dynamics.

No other file imports ``numba.cuda``, and this one only then: a machine without a GPU needs no numba-cuda.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DeviceError
from .cpu import as_argument

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

__all__ = ["WARP", "CudaKernel", "cuda", "cuda_kernel", "load", "problem"]

WARP = 32  # lanes of a warp, and rows that one handles
_SMALLEST_GRID = 128  # blocks; numba warns of fewer, and idle ones cost nothing

# What drivers mean by `cuda` inside their bodies.  It stands here for readers and linters: the real module takes its
# place in the driver's own globals right before compilation, where numba and its simulator look for it.
cuda: Any = None


def cuda_kernel(function: Callable[..., None], rows: int = WARP, lanes: int = WARP) -> CudaKernel:
    """Make a driver of ``function``, whose last argument is the number of rows; plain Python until it is first used."""
    return CudaKernel(function, rows, lanes)


class CudaKernel:
    """A driver in which a block, one warp where nothing else is said, handles 32 rows.

    Parameters
    ----------
    function : callable
        Body of the kernel.  Blocks past the last row must return at once.
    rows, lanes : int
        Rows that a block handles, and its lanes.
    """

    def __init__(self, function: Callable[..., None], rows: int = WARP, lanes: int = WARP) -> None:
        self.function = function
        self.rows = rows
        self.lanes = lanes
        self._compiled: Any = None

    def compiled(self) -> Any:
        """What numba makes of it, compiled for each kind of arguments at their first call.

        Raises
        ------
        DeviceError
            If numba-cuda or the driver is missing.
        """
        if self._compiled is None:
            module = load()
            self.function.__globals__["cuda"] = module
            try:
                self._compiled = module.jit(cache=True)(self.function)
            except RuntimeError:  # no folder to write to
                self._compiled = module.jit(self.function)
        return self._compiled

    def blocks(self, rows: int) -> int:
        """Number of blocks that ``rows`` need."""
        return -(-rows // self.rows)

    def __call__(self, *arguments: Any, rows: int) -> None:
        """Launch over ``rows`` on the device of the first argument and torch's current stream there.

        Parameters
        ----------
        *arguments : Tensor or number
            Contiguous tensors of one device, and numbers.
        rows : int
            Number of rows.

        Raises
        ------
        DeviceError
            If numba-cuda, the driver or one of CUDA's compilers is missing, or a tensor is elsewhere.
        """
        if rows == 0:
            return
        torch = sys.modules["torch"]
        device = arguments[0].device
        kernel = self.compiled()
        with torch.cuda.device(device), _explained():
            handle = torch.cuda.current_stream(device).cuda_stream
            stream = load().external_stream(handle) if handle else 0
            grid = max(self.blocks(rows), _SMALLEST_GRID)
            kernel[grid, self.lanes, stream](*[_as_kernel_argument(a, device) for a in arguments], rows)


def _as_kernel_argument(value: Tensor | float, device: Any) -> Any:
    """``value`` in the one type its kernel is compiled for; a tensor as a flat device array of the same memory."""
    if not hasattr(value, "data_ptr"):
        return as_argument(value)
    if value.device != device:
        raise DeviceError(f"expected every tensor on {device}, got one on {value.device}")
    # not DLPack: any numba-cuda takes this, and torch exports no stream with it that would be waited for
    return load().as_cuda_array(value.detach().reshape(-1), sync=False)


def load() -> ModuleType:
    """``numba.cuda``, ready to compile and launch.

    Raises
    ------
    DeviceError
        If numba-cuda or the driver is missing; it names the extra to install.
    """
    if "module" not in _loaded:
        _loaded["module"] = _import()
    return _loaded["module"]


_loaded: dict[str, ModuleType] = {}


def _import() -> ModuleType:
    if importlib.util.find_spec("numba_cuda") is None:
        raise DeviceError(f"kernels on CUDA need numba-cuda, which is not installed: {_advice()}")
    with _explained(), _row_stack():
        from numba import cuda as module

        if module.config.ENABLE_CUDASIM:
            return module
        importlib.import_module("numba.cuda.np.arrayobj")  # what needs np.row_stack
        from numba.cuda.cudadrv.driver import driver

        if not driver.is_available:
            reason = " ".join(str(driver.initialization_error).split())
            raise DeviceError(f"the driver of an NVIDIA GPU is needed, and cannot be used: {reason}")
    return module


def problem() -> str | None:
    """Why kernels cannot run on a GPU here, or None if one just did: the driver and CUDA's compilers are tried."""
    try:
        module = load()
        with _explained():
            module.jit(_nothing)[_SMALLEST_GRID, WARP]()
            module.synchronize()
    except DeviceError as error:
        return str(error)
    return None


def _nothing() -> None:
    """The smallest kernel."""


@contextlib.contextmanager
def _row_stack() -> Iterator[None]:
    """numba-cuda up to 0.30 asks for ``np.row_stack`` while it loads, which NumPy 2.5 no longer has."""
    if hasattr(np, "row_stack"):
        yield
        return
    np.row_stack = np.vstack  # noqa: NPY201
    try:
        yield
    finally:
        del np.row_stack  # noqa: NPY201


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what numba-cuda raises over missing or unfit parts of CUDA into a DeviceError."""
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:
        if isinstance(error, ImportError) or type(error).__name__ in _MISSING_PARTS:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise DeviceError(f"CUDA cannot be used ({reason}): {_advice()}") from error
        raise


# by name: which module defines them, and whether it can be imported, changes between versions of numba-cuda
_MISSING_PARTS = (
    "CudaSupportError",
    "DynamicLibNotFoundError",
    "LinkerError",
    "NvrtcCompilationError",
    "NvrtcSupportError",
    "NvvmError",
    "NvvmSupportError",
    "nvJitLinkError",
)


def _advice() -> str:
    """What to install: CUDA's parts for the major version that torch was built for."""
    torch = sys.modules.get("torch")
    version = getattr(torch.version, "cuda", None) if torch is not None else None
    extras = [f"cu{version.partition('.')[0]}"] if version else ["cu12", "cu13"]
    return "pip install " + " or ".join(f"'lavadl-lite[{extra}]'" for extra in extras)
