"""Looking into a network of blocks without changing it: a table of it, recordings, counts of events."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ...errors import ParameterError

__all__ = ["Counts", "Recording", "Summary", "Trace", "count", "record", "summary"]

_WEIGHT_BITS = 8


@runtime_checkable
class _Block(Protocol):
    """What is asked of a block."""

    layer_type: str
    sends: bool
    neuron: Any
    delay: Any
    shape: torch.Size | None
    num_synapses: int
    num_weights: int

    def states(self, input: Tensor) -> dict[str, Tensor]: ...

    def synaptic_operations(self, input: Tensor, output: Tensor) -> int: ...


def _blocks(net: torch.nn.Module, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """The blocks of ``net`` by their names, or those that are named."""
    found = {name: module for name, module in net.named_modules() if isinstance(module, _Block)}
    if unknown := [name for name in names if name not in found]:
        raise ParameterError(f"expected names out of {', '.join(found)}, got {', '.join(unknown)}")
    return {name: found[name] for name in names} if names else found


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Columns as wide as their widest entry, numbers to the right."""
    cells = [head, *[tuple(f"{v:,}" if isinstance(v, int) else str(v) for v in row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    left = [not any(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(w) if flush else cell.rjust(w) for cell, w, flush in zip(row, widths, left, strict=True))
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in (lines[0], "-" * len(lines[0]), *lines[1:]))


@dataclass(frozen=True)
class Row:
    """A block in a :class:`Summary`.

    Attributes
    ----------
    layer, type : str
        Its name in the network and its kind.
    shape : tuple of int or None
        Spatial shape of its output; None before it is known.
    neurons, parameters, synapses, bits : int
        Neurons; numbers that are trained; connections, those from the padding included; memory of the weights, 8 bits
        each, where those that neurons share count once.
    delays : str
        Smallest and largest axonal delay in steps, or nothing.
    """

    layer: str
    type: str
    shape: tuple[int, ...] | None
    neurons: int
    parameters: int
    delays: str
    synapses: int
    bits: int


@dataclass(frozen=True)
class Summary:
    """A network, block by block; ``str`` of it is a table."""

    rows: tuple[Row, ...]

    def total(self, column: str) -> int:
        """Sum of ``neurons``, ``parameters``, ``synapses`` or ``bits``."""
        return sum(getattr(row, column) for row in self.rows)

    def __str__(self) -> str:
        head = "layer", "type", "shape", "neurons", "parameters", "delays", "synapses", "bits"
        rows: list[tuple[Any, ...]] = [tuple(getattr(row, name) for name in head) for row in self.rows]
        sums = {name: self.total(name) for name in ("neurons", "parameters", "synapses", "bits")}
        rows.append(("total", *[sums.get(name, "") for name in head[1:]]))
        return _table(head, rows)


def summary(net: torch.nn.Module, shape: tuple[int, ...] | None = None) -> Summary:
    """A table of a network: shapes, neurons, parameters, delays, synapses and memory of each block.

    Parameters
    ----------
    net : Module
        Anything with blocks inside.
    shape : tuple of int, optional
        Spatial shape of the input, ``(C,)`` or ``(C, H, W)``: fixes the shapes of blocks that follow one another, which
        is otherwise left to the first forward.

    Returns
    -------
    Summary

    Raises
    ------
    ShapeError
        If the blocks do not take ``shape``.
    """
    blocks = _blocks(net)
    if shape is not None:
        for block in blocks.values():
            shape = block.materialize(shape)
    return Summary(tuple(_row(name, block) for name, block in blocks.items()))


def _row(name: str, block: Any) -> Row:
    delays = ""
    if block.delay is not None and block.delay.init:
        steps = block.delay.delay.detach().floor()
        delays = f"{int(steps.min())}..{int(steps.max())}"
    family = type(block).__module__.rsplit(".", 1)[-1]
    return Row(
        layer=name,
        type=f"{family}.{type(block).__name__}",
        shape=None if block.shape is None else tuple(block.shape),
        neurons=0 if block.neuron is None else block.neuron.num_neurons or 0,
        parameters=sum(p.numel() for p in block.parameters() if p.requires_grad),
        delays=delays,
        synapses=block.num_synapses,
        bits=_WEIGHT_BITS * block.num_weights,
    )


@dataclass
class Trace:
    """What one block did, an entry for each call.

    Attributes
    ----------
    spikes : list of Tensor, shape (N, C, ..., T)
        What it gave, detached.
    states : list of dict of Tensor
        States of its neurons by name, such as ``voltage``, before resets; empty unless they were asked for.
    """

    spikes: list[Tensor] = field(default_factory=list)
    states: list[dict[str, Tensor]] = field(default_factory=list)


class Recording(dict[str, Trace]):
    """Traces by the names of the blocks."""


@contextmanager
def record(net: torch.nn.Module, *names: str, states: bool = False) -> Iterator[Recording]:
    """Collect what blocks do while the context is open; the network stays as it is.

    Parameters
    ----------
    net : Module
        Anything with blocks inside.
    names : str
        Names of blocks as ``net.named_modules()`` has them; all blocks if none is given.
    states : bool
        Collect the neurons' states too, which runs the blocks' dynamics once more.

    Yields
    ------
    Recording
        Filled by each call of the network.

    Raises
    ------
    ParameterError
        For a name that no block has.

    Examples
    --------
    >>> with record(net, "blocks.0", states=True) as seen:  # doctest: +SKIP
    ...     net(x)
    >>> seen["blocks.0"].states[-1]["voltage"].shape  # doctest: +SKIP
    torch.Size([1, 128, 100])
    """
    seen = Recording()
    handles = []
    for name, block in _blocks(net, names).items():
        trace = seen[name] = Trace()

        def before(block: Any, inputs: tuple[Tensor, ...], trace: Trace = trace) -> None:
            with torch.no_grad(), torch.random.fork_rng():
                trace.states.append(copy.deepcopy(block).states(inputs[0].detach()))

        def after(_block: Any, _inputs: Any, output: Any, trace: Trace = trace) -> None:
            trace.spikes.append((output[0] if isinstance(output, tuple) else output).detach())

        if states:
            handles.append(block.register_forward_pre_hook(before))
        handles.append(block.register_forward_hook(after))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class Counts:
    """Events and synaptic operations of each block, over all calls; ``str`` of it is a table.

    Attributes
    ----------
    events, operations, elements : dict of int
        By the names of the blocks: events that it sent, weights other than 0 that events passed on their way to it,
        and values that its output had room for.  A block that only reads out or rearranges sends none.
    """

    events: dict[str, int] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    elements: dict[str, int] = field(default_factory=dict)

    def rate(self, name: str) -> float:
        """Events for each neuron and step; 0 before any call."""
        return self.events[name] / max(self.elements[name], 1)

    def __str__(self) -> str:
        rows: list[tuple[Any, ...]] = [
            (name, events, f"{self.rate(name):.4f}", self.operations[name]) for name, events in self.events.items()
        ]
        rows.append(("total", sum(self.events.values()), "", sum(self.operations.values())))
        return _table(("layer", "events", "rate", "synaptic operations"), rows)


@contextmanager
def count(net: torch.nn.Module) -> Iterator[Counts]:
    """Count events and synaptic operations while the context is open; the network stays as it is.

    Parameters
    ----------
    net : Module
        Anything with blocks inside.

    Yields
    ------
    Counts
        Filled by each call of the network.
    """
    counts = Counts()
    handles = []
    for name, block in _blocks(net).items():
        counts.events[name] = counts.operations[name] = counts.elements[name] = 0

        def after(block: Any, inputs: tuple[Tensor, ...], output: Any, name: str = name) -> None:
            spikes = output[0] if isinstance(output, tuple) else output
            if block.sends:
                counts.events[name] += int(torch.count_nonzero(spikes.detach()))
                counts.elements[name] += spikes.numel()
            counts.operations[name] += block.synaptic_operations(inputs[0], spikes)

        handles.append(block.register_forward_hook(after))
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()
