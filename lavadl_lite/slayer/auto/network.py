"""The network itself, and blocks from a description; those from a file are made in :mod:`.entries`."""

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ... import exchange
from ...errors import ParameterError, ShapeError
from .. import block as blocks
from .. import neuron as neurons
from ..block.base import AbstractBlock
from ..synapse.base import AbstractLayer, integers
from .entries import from_layers

__all__ = ["SequentialNetwork"]


class SequentialNetwork(torch.nn.Module):
    """A chain of blocks, made from a network file or from a description.

    From a file every block has the numbers that the file holds: the network gives the bits that the exported one gave
    in evaluation mode, can be trained on, and is exported with equal fields.  Its shapes are fixed.  What a file cannot
    say is as by default: the step delay (all families but sigma-delta have it) and the surrogate gradient.  Decays are
    not trained; nor is the bias of neurons other than sigma-delta, a normalisation whose running mean stays.

    Parameters
    ----------
    network_config : path-like, Network or iterable of dict
        A ``.net`` file, also an old one of lava-dl; what :func:`netx.load() <lavadl_lite.netx.load>` returned; or a
        description: for each block ``{"block": "cuba.Dense", ...}`` with the arguments of its constructor.  In
        ``neuron_params`` the ``activation`` may be the name of a function (``"relu"``), and ``norm`` that of a class
        (``"MeanOnlyBatchNorm"``), so that a description can come from JSON.
    persistent_state : bool
        Neurons and delays keep their state between calls.
    reduction : {None, "sum", "mean"}
        What becomes of the outputs of a group: of consecutive channels, ``num_outputs`` groups of equal size.  It is no
        block, and not exported.
    weight_norm : bool
        Train a gain and a direction in place of every weight.
    count_log : bool
        Return ``(output, rates)``.
    num_outputs : int, optional
        Number of groups of ``reduction``, with which it is needed.

    Attributes
    ----------
    blocks : ModuleList
        The blocks, in order of execution.

    Raises
    ------
    ExchangeError
        If the file breaks the format, or holds what blocks cannot: every block is compared with its entry of the file.
    ParameterError
        If a description names unknown blocks or arguments, or an argument is outside its range.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> net = SequentialNetwork([
    ...     {"block": "sigma_delta.Input", "neuron_params": {"threshold": 0.1, "activation": "relu"}},
    ...     {"block": "sigma_delta.Affine", "neuron_params": {"threshold": 0.1, "activation": "relu"},
    ...      "in_neurons": 4, "out_neurons": 2},
    ... ])
    >>> net(torch.rand(1, 4, 10)).shape
    torch.Size([1, 2, 10])
    """

    def __init__(
        self,
        network_config: Any,
        persistent_state: bool = False,
        reduction: str | None = None,
        weight_norm: bool = False,
        count_log: bool = False,
        num_outputs: int | None = None,
    ) -> None:
        super().__init__()
        if reduction not in (None, "sum", "mean"):
            raise ParameterError(f"expected reduction None, 'sum' or 'mean', got {reduction!r}")
        if (reduction is None) != (num_outputs is None):
            raise ParameterError(f"expected num_outputs beside a reduction, got {num_outputs} beside {reduction!r}")
        self.reduction = reduction
        self.num_outputs = None if num_outputs is None else integers(num_outputs, "num_outputs")[0]
        self.count_log = bool(count_log)
        if isinstance(network_config, str | os.PathLike):
            network_config = exchange.read(network_config)
        if isinstance(network_config, exchange.Network):
            found = from_layers(network_config.layers, bool(persistent_state), self.count_log)
        elif isinstance(network_config, Iterable) and not isinstance(network_config, Mapping):
            found = _from_description(network_config, bool(persistent_state), self.count_log)
        else:
            raise ParameterError(f"expected a path, a Network or a sequence of dicts, got {network_config!r}")
        self.blocks = torch.nn.ModuleList(found)
        if not len(self.blocks):
            raise ParameterError("expected at least one block, got none")
        for part in self.modules() if weight_norm else ():
            if isinstance(part, AbstractLayer):
                part.enable_weight_norm()

    def extra_repr(self) -> str:
        return f"reduction={self.reduction}, count_log={self.count_log}, num_outputs={self.num_outputs}"

    def reset_state(self) -> None:
        """Forget what persistent neurons and delays remember."""
        each: Any
        for each in self.blocks:
            each.reset_state()

    def forward(self, input: Tensor) -> Any:
        """Response of the network.

        Parameters
        ----------
        input : Tensor, shape (N, C, T) or (N, C, H, W, T)

        Returns
        -------
        output : Tensor, shape (N, C', T) or (N, C', H', W', T)
            With a reduction ``C'`` is ``num_outputs``.
        rates : Tensor, shape (1, B)
            Event rates of the B blocks that send events, with ``count_log`` only.

        Raises
        ------
        ShapeError
            If the network does not take such an input, or ``num_outputs`` does not divide its outputs.
        """
        output: Any = input
        rates = []
        for each in self.blocks:
            output = each(output)
            if self.count_log:
                output, rate = output
                rates += [] if rate is None else [rate]
        output = tuple(map(self._reduced, output)) if isinstance(output, tuple) else self._reduced(output)
        if not self.count_log:
            return output
        return output, torch.stack(rates)[None] if rates else torch.zeros(1, 0, device=input.device)

    def _reduced(self, output: Tensor) -> Tensor:
        if self.num_outputs is None:
            return output
        if output.shape[1] % self.num_outputs:
            raise ShapeError(f"expected outputs (N, C, ..., T), C a multiple of {self.num_outputs}, got {output.shape}")
        groups = output.unflatten(1, (self.num_outputs, -1))
        return groups.sum(2) if self.reduction == "sum" else groups.mean(2)


# --- from a description ----------------------------------------------------------------------------------------------


def _from_description(entries: Iterable[Any], persistent_state: bool, count_log: bool) -> Iterator[AbstractBlock]:
    for i, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("block"), str):
            raise ParameterError(f"entry {i}: expected a dict with 'block', such as 'cuba.Dense', got {entry!r}")
        family, _, name = entry["block"].partition(".")
        module = getattr(blocks, family) if family in blocks.__all__ else None
        if name not in getattr(module, "__all__", ()):
            raise ParameterError(
                f"entry {i}: expected a block out of {', '.join(blocks.__all__)}, such as 'cuba.Dense', "
                f"got {entry['block']!r}"
            )
        options = {name: value for name, value in entry.items() if name != "block"}
        if "count_log" in options:
            raise ParameterError(f"entry {i}: expected count_log as an argument of the network, got it for a block")
        if options.get("neuron_params") is not None:
            params = dict(options["neuron_params"])
            options["neuron_params"] = _resolved(params, i) | ({"persistent_state": True} if persistent_state else {})
        make = getattr(module, name)
        try:
            inspect.signature(make).bind(**options, count_log=count_log)
        except TypeError as wrong:
            raise ParameterError(f"entry {i}, {entry['block']}: {wrong}") from None
        yield make(**options, count_log=count_log)


def _resolved(params: dict[str, Any], index: int) -> dict[str, Any]:
    """``params`` with functions and classes in place of their names."""
    for key, known in (("activation", exchange.ACTIVATIONS), ("norm", neurons.norm.__all__)):
        name = params.get(key)
        if isinstance(name, str):
            if name not in known:
                raise ParameterError(f"entry {index}: expected {key} out of {', '.join(known)}, got {name!r}")
            given = neurons.sigma_delta.neuron_params({"vThMant": 0, "activation": name})
            params[key] = given["activation"] if key == "activation" else getattr(neurons.norm, name)
    return params
