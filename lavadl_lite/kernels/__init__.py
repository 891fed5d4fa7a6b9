"""Numbers in, numbers out: numba kernels on arrays.  No autograd, no modules; each file loads at its first use."""

from importlib import import_module
from types import ModuleType

__all__ = [
    "adaptive_threshold",
    "alif",
    "convolve",
    "cpu",
    "cuba",
    "cuda",
    "cuda_tiles",
    "delta",
    "events",
    "feedback",
    "fixed_point",
    "kinds",
    "launch",
    "leaky",
    "memory",
    "native",
    "openmp",
    "piecewise",
    "products",
    "recurrent",
    "resonate",
    "resonator",
    "rounding",
    "shift",
    "sigma",
    "sigma_delta",
    "sparse",
    "surrogate",
    "tiles",
    "torch_op",
    "vec",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
