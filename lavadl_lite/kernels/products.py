"""Sums of products that stay in registers: several Vecs times several numbers, on tuples whose length numba knows.

Matrix products and convolutions are loops around :func:`add_products`.  How many sums a loop may hold without going
through memory is up to the machine: 16 with the 32 registers of AVX-512, 6 where a Vec takes two of 16 registers.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import RequireLiteralValue
from numba.extending import intrinsic

from .cpu import LANES
from .vec import _FEATURES, FLOATS, _as_vec, _ir, _pointer

__all__ = ["WIDE", "add_products", "elements", "no_sums", "several", "store_all", "vectors"]

WIDE = "avx512f" in _FEATURES  # whether a Vec is one register, of 32


def _literal(count, name):
    if not isinstance(count, types.IntegerLiteral):
        raise RequireLiteralValue(name)
    return count.literal_value


def _plus(builder, start, more):
    return builder.add(start, more if isinstance(more, ir.Value) else ir.Constant(start.type, more))


def _read(kind, offsets_of):
    """Code of an intrinsic that reads one ``kind`` at each of the offsets from ``start``, as a tuple."""

    def codegen(context, builder, signature, args):
        indices = [_plus(builder, args[1], offset) for offset in offsets_of(builder, args)]
        pointers = [_pointer(context, builder, signature.args[0], args[0], index, kind) for index in indices]
        return context.make_tuple(builder, signature.return_type, [builder.load(p, align=4) for p in pointers])

    return codegen


def _given(builder, args):
    return [builder.extract_value(args[2], i) for i in range(args[2].type.count)]


@intrinsic
def several(typing, array, start, count):
    """``array[start : start + count]`` as a tuple; ``count`` is a literal."""
    size = _literal(count, "count")
    kind = {types.float32: ir.FloatType(), types.int64: ir.IntType(64)}[array.dtype]
    return types.UniTuple(array.dtype, size)(array, types.intp, count), _read(kind, lambda *_: range(size))


@intrinsic
def elements(typing, array, start, offsets):
    """``array[start + offset]``, a float32, for each of a tuple of offsets."""
    return types.UniTuple(types.float32, offsets.count)(array, types.intp, offsets), _read(ir.FloatType(), _given)


@intrinsic
def vectors(typing, array, start, offsets):
    """The Vec from ``start + offset`` on, for each of a tuple of offsets."""
    return types.UniTuple(FLOATS, offsets.count)(array, types.intp, offsets), _read(_ir(FLOATS), _given)


@intrinsic
def no_sums(typing, count):
    """A tuple of Vecs of zeros; ``count`` is a literal."""
    sums = types.UniTuple(FLOATS, _literal(count, "count"))

    def codegen(context, builder, signature, args):
        return context.make_tuple(builder, sums, [ir.Constant(_ir(FLOATS), None)] * sums.count)

    return sums(count), codegen


@intrinsic
def add_products(typing, sums, vecs, factors):
    """``sums[j * len(vecs) + i] + vecs[i] * factors[j]``, rounded once where the machine can."""

    def codegen(context, builder, signature, args):
        held, left, right = (_given(builder, (None, None, arg)) for arg in args)
        kind = _ir(FLOATS)
        function = ir.FunctionType(kind, [kind] * 3)
        fused = cgutils.get_or_insert_function(builder.module, function, f"llvm.fmuladd.v{LANES}f32")
        right = [_as_vec(context, builder, factor, types.float32, FLOATS) for factor in right]
        pairs = [(vec, factor) for factor in right for vec in left]
        new = [builder.call(fused, [*pair, total]) for pair, total in zip(pairs, held, strict=True)]
        return context.make_tuple(builder, sums, new)

    return sums(sums, vecs, factors), codegen


@intrinsic
def store_all(typing, array, start, vecs):
    """Write a tuple of Vecs to ``array`` from ``start`` on, one after another."""

    def codegen(context, builder, signature, args):
        for i, vec in enumerate(_given(builder, args)):
            pointer = _pointer(context, builder, array, args[0], _plus(builder, args[1], i * LANES), _ir(FLOATS))
            builder.store(vec, pointer, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vecs), codegen
