"""Lava's synapses from integer weights.  Blocks are made of them in :mod:`lavadl_lite.netx.blocks.process`."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix, issparse, spmatrix

from .utils import SYNAPSE_SIGN_MODE, optimize_weight_bits

__all__ = ["synapse"]


def synapse(
    weight: np.ndarray | spmatrix,
    delay: np.ndarray | None = None,
    num_weight_bits: int | None = None,
    weight_exponent: int = 0,
    sign_mode: SYNAPSE_SIGN_MODE | None = None,
    message_bits: int = 0,
    sparse: bool = False,
) -> Dense | Sparse:
    """Connections from every input to every output.

    Parameters
    ----------
    weight : array or sparse matrix, shape (out, in)
        Integers.
    delay : array that broadcasts to (out, in), optional
        Steps that each connection takes beside the one that all take.
    num_weight_bits, weight_exponent, sign_mode : optional
        As :func:`~lavadl_lite.netx.utils.optimize_weight_bits` gives them; by default it is asked.
    message_bits : int
        0: what arrives counts as one spike, else as an integer.
    sparse : bool
        Hold the weights as a sparse matrix.
    """
    if num_weight_bits is None:
        weight, num_weight_bits, weight_exponent, sign_mode = _optimized(weight)
    sign = {} if sign_mode is None else {"sign_mode": SignMode(int(sign_mode))}
    arguments = {
        "weights": csr_matrix(weight) if sparse else np.asarray(weight),
        "weight_exp": weight_exponent,
        "num_weight_bits": num_weight_bits,
        "num_message_bits": message_bits,
        **sign,
    }
    if delay is None or not np.max(delay):
        return (Sparse if sparse else Dense)(**arguments)
    steps = np.broadcast_to(np.asarray(delay, dtype=np.int64), weight.shape)
    if sparse:
        at = arguments["weights"].tocoo()
        values = steps[at.row, at.col]
        delays = csr_matrix((values, (at.row, at.col)), shape=weight.shape, dtype=np.int64)
        return DelaySparse(delays=delays, max_delay=int(values.max(initial=1)), **arguments)
    return DelayDense(delays=steps.copy(), max_delay=int(steps.max()), **arguments)


def _optimized(weight: Any) -> tuple[Any, int, int, SYNAPSE_SIGN_MODE]:
    if not issparse(weight):
        return optimize_weight_bits(weight)
    data, *rest = optimize_weight_bits(weight.data)
    return (csr_matrix((data, weight.indices, weight.indptr), shape=weight.shape), *rest)
