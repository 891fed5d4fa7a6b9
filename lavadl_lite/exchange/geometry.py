"""The shape that each layer makes of the one before it, without batch and time.  Sizes of fields are in :mod:`.layers`.

Every rule takes the fields of a layer, and the shape before it or None where that is not known, and raises
:class:`Mismatch` where they do not fit each other.  The rule of ``concat`` takes the shapes of all layers before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .fields import Mismatch, Shape, Values

__all__ = [
    "after_average",
    "after_concat",
    "after_conv",
    "after_decimation",
    "after_dense",
    "after_flatten",
    "after_input",
    "after_pool",
    "covered",
    "pooled",
    "spread",
]

Length = Callable[[int, int, int, int, int], int]  # of an axis: (size, kernel, stride, padding, dilation) -> size
Rule = Callable[[Values, Shape | None], Shape]


def covered(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Positions of a kernel along an axis of ``size``."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def pooled(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """As :func:`covered`, with zeros that complete the last kernel where the stride is the kernel's size."""
    return covered(size + (-size % kernel if stride == kernel else 0), kernel, stride, padding, dilation)


def spread(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Length of an axis that ``size`` positions of a kernel cover."""
    return (size - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding


def after_input(fields: Values, before: Shape | None) -> Shape:
    """An input."""
    if before is not None:
        raise Mismatch("type", "the input as first layer", "an input after another layer")
    return _stored(fields)


def after_flatten(fields: Values, before: Shape | None) -> Shape:
    """All axes as one."""
    size = int(fields["shape"][0])
    if before is not None and math.prod(before) != size:
        raise Mismatch("shape", f"({math.prod(before)}, 1, 1) after a layer of shape {before}", f"({size}, 1, 1)")
    return (size,)


def after_dense(fields: Values, before: Shape | None) -> Shape:
    """As many as it has outputs."""
    size = fields["inFeatures"]
    if before is not None and before not in ((size,), (size, 1, 1)):
        needs = math.prod(before) if len(before) == 1 else "a flatten"
        raise Mismatch("inFeatures", f"{needs} after a layer of shape {before}", str(size))
    return (fields["outFeatures"],)


def after_conv(length: Length) -> Rule:
    """Rule of a layer whose kernels join channels; ``length`` is that of an axis."""

    def rule(fields: Values, before: Shape | None) -> Shape:
        if before is not None and (len(before) != 3 or before[0] != fields["inChannels"]):
            needs = before[0] if len(before) == 3 else "no plane"
            raise Mismatch("inChannels", f"{needs} after a layer of shape {before}", str(fields["inChannels"]))
        return _plane(fields, before, fields["outChannels"], length)

    return rule


def after_pool(length: Length) -> Rule:
    """Rule of a layer that leaves channels apart; ``length`` is that of an axis."""

    def rule(fields: Values, before: Shape | None) -> Shape:
        if before is not None and len(before) != 3:
            raise Mismatch("shape", f"no plane after a layer of shape {before}", str(_stored(fields)))
        return _plane(fields, before, before[0] if before is not None else 0, length)

    return rule


def after_average(fields: Values, before: Shape | None) -> Shape:
    """Groups of channels of equal size."""
    groups = int(fields["shape"][0])
    if before is not None and (math.prod(before) != before[0] or before[0] % groups):
        raise Mismatch("shape", f"a divisor of the channels after a layer of shape {before}", str(groups))
    return (groups,)


def after_decimation(fields: Values, before: Shape | None) -> Shape:
    """As it is: only time is shortened."""
    shape = _stored(fields)
    if before is not None and shape != before:
        raise Mismatch("shape", f"{before} as the layer before has it", str(shape))
    return shape


def after_concat(fields: Values, before: Sequence[Shape]) -> Shape:
    """The named layers out of all before, joined along their first axis."""
    names = [int(index) for index in fields["layers"]]
    if max(names) >= len(before):
        raise Mismatch("layers", f"numbers of layers before this one, 0 to {len(before) - 1}", str(max(names)))
    joined = [before[index] for index in names]
    for shape in joined:
        if shape[1:] != joined[0][1:]:
            raise Mismatch("layers", "layers with equal rows and columns", f"{joined[0]} and {shape}")
    shape = (sum(shape[0] for shape in joined), *joined[0][1:])
    if _stored(fields) != shape:
        raise Mismatch("shape", f"{shape} as the layers together have it", str(_stored(fields)))
    return shape


def _stored(fields: Values) -> Shape:
    return tuple(int(size) for size in fields["shape"])


def _plane(fields: Values, before: Shape | None, channels: int, length: Length) -> Shape:
    """The stored shape, which must be what ``length`` makes of the rows and columns before."""
    shape = _stored(fields)
    if before is None:
        return shape
    kernel = [[int(v) for v in fields[name]] for name in ("kernelSize", "stride", "padding", "dilation")]
    rows, columns = (length(size, *sizes) for size, *sizes in zip(before[1:], *kernel, strict=True))
    if min(rows, columns) < 1:
        raise Mismatch("kernelSize", f"a kernel that fits a layer of shape {before}", str(tuple(kernel[0])))
    if shape != (channels, rows, columns):
        raise Mismatch("shape", f"{(channels, rows, columns)} after a layer of shape {before}", str(shape))
    return shape
