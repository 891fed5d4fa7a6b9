"""A layer of planes as a sparse matrix: every connection that its kernel makes, written out."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from ..exchange import Layer

__all__ = ["connections"]

Plane = tuple[int, ...]  # (C, H, W)


def connections(layer: Layer, before: Plane, after: Plane) -> tuple[csr_matrix, ...]:
    """Weights from every input to every output.

    Parameters
    ----------
    layer : Layer
        A conv, convT, pool or unpool entry.
    before, after : (C, H, W)
        Shapes of its input and output.

    Returns
    -------
    tuple of csr_matrix of int32, shape (out, in)
        One, or the real and the imaginary part.  Both axes run over planes in Lava's order, ``(W, H, C)``.
    """
    names = ("weight",) if "weight" in layer.fields else ("weight/real", "weight/imag")
    return tuple(_matrix(layer, layer.fields[name], before, after) for name in names)


def _matrix(layer: Layer, weight: np.ndarray, before: Plane, after: Plane) -> csr_matrix:
    """A kernel joins each place of one plane, the covering one, with places of the other at its stride's distance."""
    spreads = layer.type in ("convT", "unpool")
    covering, covered = (before, after) if spreads else (after, before)
    groups = int(layer.fields.get("groups", before[0]))
    weight = np.broadcast_to(weight, (covering[0], covered[0] // groups, *weight.shape[2:])).astype(np.int32)
    first = np.arange(covering[0])[:, None]
    second = first // (covering[0] // groups) * weight.shape[1] + np.arange(weight.shape[1])
    rows, columns, values = [], [], []
    for i, j in np.ndindex(weight.shape[2:]):
        (y, to_y), (x, to_x) = (_pairs(layer, axis, step, covering, covered) for axis, step in ((0, i), (1, j)))
        places = (np.add.outer(x * covering[1], y) * covering[0]).reshape(-1)
        others = (np.add.outer(to_x * covered[1], to_y) * covered[0]).reshape(-1)
        rows.append(np.add.outer(np.broadcast_to(first, second.shape), places).reshape(-1))
        columns.append(np.add.outer(second, others).reshape(-1))
        values.append(np.repeat(weight[:, :, i, j], len(places)))
    joined = [np.concatenate(parts) for parts in (values, rows, columns)]
    sizes = np.prod(covering), np.prod(covered)
    matrix = csr_matrix((joined[0], (joined[1], joined[2])), shape=sizes)
    matrix.eliminate_zeros()
    return csr_matrix(matrix.T) if spreads else matrix


def _pairs(layer: Layer, axis: int, step: int, covering: Plane, covered: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Places of the covering plane along an axis, and those that one element of their kernels falls on."""
    stride, padding, dilation = (int(layer.fields[name][axis]) for name in ("stride", "padding", "dilation"))
    place = np.arange(covering[1 + axis])
    other = place * stride - padding + step * dilation
    inside = (other >= 0) & (other < covered[1 + axis])
    return place[inside], other[inside]
