"""Train, deploy and simulate spiking networks for neuromorphic chips; each subpackage loads at its first use."""

from importlib import import_module
from types import ModuleType

__all__ = ["__version__", "bootstrap", "errors", "exchange", "kernels", "netx", "slayer", "viz"]

__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
