"""What an optimizer needs to know about spiking networks: their parameters do not share one range."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["param_groups"]

_DECAY_ONE = 4096  # the decay 1.0: kernels.fixed_point.DECAY_ONE, whose module would load numba here


def param_groups(
    net: nn.Module, lr: float, decay_lr: float | None = None, delay_lr: float | None = None
) -> list[dict[str, Any]]:
    """Group the trainable parameters of a network for ``torch.optim``, each kind with its own learning rate.

    Adam and its relatives move every parameter by about ``lr`` a step, whatever its gradient. Weights are of the order
    of 1, but decays are kept in the units of the hardware, 0 to 4096: at the rate of the weights they hardly move.
    By default decays therefore learn 4096 times faster, which moves the fraction lost per step, 0 to 1, by about
    ``lr``.

    Parameters
    ----------
    net : Module
        The network. Parameters with ``requires_grad=False`` are left out.
    lr : float
        Rate of everything that is neither a decay nor, when ``delay_lr`` is given, a delay.
    decay_lr : float, optional
        Rate of the decays, the parameters whose name ends in ``_decay``; ``4096 * lr`` if not given. Plain SGD scales
        with the gradient too: there the same effect takes ``4096**2 * lr``.
    delay_lr : float, optional
        Rate of the axonal delays, the parameters called ``delay``, which count time steps; ``lr`` if not given.

    Returns
    -------
    list of dict
        Groups with the keys ``name`` (``"rest"``, ``"decays"`` or ``"delays"``), ``params`` and ``lr``, without empty
        ones. Every trainable parameter is in exactly one, also when modules share it.

    Examples
    --------
    >>> optimizer = torch.optim.Adam(param_groups(net, lr=1e-3))
    """
    rates = {
        "rest": lr,
        "decays": _DECAY_ONE * lr if decay_lr is None else decay_lr,
        "delays": lr if delay_lr is None else delay_lr,
    }
    members: dict[str, list[nn.Parameter]] = {kind: [] for kind in rates}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            members[_kind(name)].append(parameter)
    return [{"name": kind, "params": params, "lr": rates[kind]} for kind, params in members.items() if params]


def _kind(name: str) -> str:
    last = name.rpartition(".")[2]
    if last.endswith("_decay"):
        return "decays"
    return "delays" if last == "delay" else "rest"
