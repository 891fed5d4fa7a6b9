"""From networks of blocks to network files, and back to entries.  The format itself is :mod:`lavadl_lite.exchange`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .. import exchange
from ..errors import ExchangeError

if TYPE_CHECKING:
    import os

__all__ = ["layers_of", "load", "parts_of", "save"]


def save(net: Any, path: str | os.PathLike[str]) -> None:
    """Write a network of blocks to a network file: the whole file, or none.

    Parameters
    ----------
    net : network
        A module, every block of which is written in the order of ``net.modules()``, which must be the order of
        execution; or an iterable of blocks, of modules with blocks, or of entries
        (:class:`~lavadl_lite.exchange.Layer`); or a :class:`~lavadl_lite.exchange.Network`.  It is left as it was.
    path : path-like
        Where to write.  A file that is there already is replaced once the new one is complete.

    Raises
    ------
    ExchangeError
        If there is no block, a block cannot be expressed in the format, or one does not take what the one before
        gives.
    OSError
        If the file cannot be written.
    """
    exchange.save(path, layers_of(net))


def load(path: str | os.PathLike[str]) -> exchange.Network:
    """Read a network file.

    Parameters
    ----------
    path : path-like
        File of this library or of lava-dl.

    Returns
    -------
    exchange.Network
        Its entries, which :class:`Simulator` and :func:`save` take.

    Raises
    ------
    ExchangeError
        If the file is damaged or breaks the format; the message names the place inside the file.
    OSError
        If there is no such file.
    """
    return exchange.read(path)


def layers_of(net: Any) -> tuple[exchange.Layer, ...]:
    """Checked entries of whatever :func:`save` takes.

    Raises
    ------
    ExchangeError
        If there is none, or one breaks the format.
    """
    found = [part if isinstance(part, exchange.Layer) else part.exchange_layer() for part in parts_of(net)]
    layers = tuple(exchange.check_layer(layer, f"/layer/{i}") for i, layer in enumerate(found))
    if not layers:
        raise ExchangeError(f"expected a network with blocks that can be written, got {type(net).__name__} with none")
    exchange.output_shapes(layers)
    return layers


def parts_of(net: Any) -> Iterator[Any]:
    """The blocks and entries of whatever :func:`save` takes, in order.

    Depth first; a block's own parts are not looked into, and a block that is met twice counts once.

    Raises
    ------
    ExchangeError
        If ``net`` is nothing that has such.
    """
    if isinstance(net, exchange.Network):
        yield from net.layers
    elif isinstance(net, exchange.Layer) or callable(getattr(net, "exchange_layer", None)):
        yield net
    elif callable(getattr(net, "modules", None)):
        inside: set[int] = set()
        for module in net.modules():
            if id(module) not in inside and callable(getattr(module, "exchange_layer", None)):
                inside.update(id(part) for part in module.modules())
                yield module
    elif isinstance(net, Iterable) and not isinstance(net, str | bytes):
        for part in net:
            yield from parts_of(part)
    else:
        raise ExchangeError(f"expected a network of blocks, got {type(net).__name__}")
