"""``Vec``: 16 values in registers as one numba value, and the names in which steps are written.

A step is a small ``@njit`` function made of operators and the names listed here.  On the CPU it acts on ``Vec``, on
CUDA (and wherever it is handed scalars) on int32 and float32: each name has both meanings.  numba promotes
``int32 * int32`` to 64 bits, so steps wrap integer results in :func:`int32`, which does nothing to a ``Vec``.
LLVM splits a ``Vec`` into what the machine has: one AVX-512 register, two of AVX2, four of SSE2 or NEON.
"""

from __future__ import annotations

import itertools
import operator

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.core.errors import RequireLiteralValue
from numba.extending import intrinsic, lower_builtin, models, overload, register_model, type_callable
from numba.np import arrayobj

from .cpu import LANES

__all__ = [
    "absolute",
    "bits_to_float",
    "bits_to_int",
    "int32",
    "load",
    "multiply_add",
    "multiply_short",
    "prefetch",
    "read_quad",
    "repeat",
    "select",
    "stack_array",
    "store",
    "to_double",
    "to_float",
    "to_int",
    "to_single",
    "write_quad",
]


def _cpu_features() -> frozenset[str]:
    """What the CPU that numba compiles for can do."""
    if config.CPU_NAME is None:
        return frozenset(name for name, here in binding.get_host_cpu_features().items() if here)
    return frozenset(name[1:] for name in (config.CPU_FEATURES or "").split(",") if name.startswith("+"))


_FEATURES = _cpu_features()
_PAIR_PRODUCTS = (
    ("avx512bw", "llvm.x86.avx512.pmaddw.d.512", 16),
    ("avx2", "llvm.x86.avx2.pmadd.wd", 8),
    ("sse2", "llvm.x86.sse2.pmadd.wd", 4),
)


class Vec(types.Type):
    """The numba type of ``LANES`` values of one element type."""

    def __init__(self, element: types.Type) -> None:
        self.element = element
        super().__init__(f"Vec({element} x {LANES})")


FLOATS, INTS, BOOLS = Vec(types.float32), Vec(types.int32), Vec(types.boolean)
DOUBLES = Vec(types.float64)
_OF_DTYPE = {types.float32: FLOATS, types.int32: INTS, types.float64: DOUBLES}
_IR = {
    types.float32: ir.FloatType(),
    types.int32: ir.IntType(32),
    types.boolean: ir.IntType(1),
    types.float64: ir.DoubleType(),
}
_I32 = ir.IntType(32)


def _ir(vec: Vec) -> ir.Type:
    return ir.VectorType(_IR[vec.element], LANES)


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, manager, vec):
        super().__init__(manager, vec, _ir(vec))


def _shuffle(builder, x, y, pick):
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, len(pick)), list(pick)))


def _as_vec(context, builder, value, type_, vec):
    """A Vec as it is; a scalar cast to the element type and repeated."""
    if isinstance(type_, Vec):
        return value
    value = context.cast(builder, value, type_, vec.element)
    first = builder.insert_element(ir.Constant(_ir(vec), ir.Undefined), value, ir.Constant(_I32, 0))
    return _shuffle(builder, first, first, [0] * LANES)


# ---------------------------------------------------------------------------------------------- element by element
def _define(function, arity, emit, result=None):
    """Give ``function`` its meaning for ``arity`` operands, at least one a Vec: ``emit(builder, is_float, *values)``.

    An ``overload`` would be compiled as a function of its own wherever a kernel uses it, which takes seconds in all.
    """

    def vec_among(arguments):
        return next((a for a in arguments if isinstance(a, Vec) and a is not BOOLS), None)

    def result_type(*arguments):
        vec = vec_among(arguments)
        return None if vec is None else result or vec

    def lower(context, builder, signature, values):
        vec = vec_among(signature.args)
        values = [_as_vec(context, builder, v, t, vec) for v, t in zip(values, signature.args, strict=True)]
        return emit(builder, vec in (FLOATS, DOUBLES), *values)

    # numba reads the number of operands from the signature
    typer = {
        1: lambda x: result_type(x),
        2: lambda x, y: result_type(x, y),
        3: lambda x, y, z: result_type(x, y, z),
    }[arity]
    type_callable(function)(lambda context: typer)
    for kinds in itertools.product((Vec, types.Any), repeat=arity):
        if Vec in kinds:
            lower_builtin(function, *kinds)(lower)


_define(operator.add, 2, lambda b, is_float, x, y: b.fadd(x, y) if is_float else b.add(x, y))
_define(operator.sub, 2, lambda b, is_float, x, y: b.fsub(x, y) if is_float else b.sub(x, y))
_define(operator.mul, 2, lambda b, is_float, x, y: b.fmul(x, y) if is_float else b.mul(x, y))
_define(operator.truediv, 2, lambda b, is_float, x, y: b.fdiv(x, y))
_define(operator.rshift, 2, lambda b, is_float, x, y: b.ashr(x, y))
_define(operator.lshift, 2, lambda b, is_float, x, y: b.shl(x, y))
_define(operator.and_, 2, lambda b, is_float, x, y: b.and_(x, y))


def _comparison(symbol, name):
    def emit(builder, is_float, x, y):
        return builder.fcmp_ordered(name, x, y) if is_float else builder.icmp_signed(name, x, y)

    _define(symbol, 2, emit, BOOLS)


_comparison(operator.ge, ">=")
_comparison(operator.gt, ">")
_comparison(operator.lt, "<")


def _llvm(name):
    """Emitter of an LLVM intrinsic on float vectors."""

    def emit(builder, is_float, *values):
        kind = values[0].type
        function = ir.FunctionType(kind, [kind] * len(values))
        return builder.call(cgutils.get_or_insert_function(builder.module, function, f"{name}.v{LANES}f32"), values)

    return emit


def _emit_multiply_short(builder, is_float, x, y):
    """x86 multiplies pairs of 16 bits twice as fast and in half the latency of 32 bits; the upper pair adds 0 here."""
    name, width = next((pair for feature, *pair in _PAIR_PRODUCTS if feature in _FEATURES), (None, LANES))
    if name is None:
        return builder.mul(x, y)
    halves = ir.VectorType(ir.IntType(16), 2 * width)
    function = ir.FunctionType(ir.VectorType(_I32, width), [halves, halves])
    pair_product = cgutils.get_or_insert_function(builder.module, function, name)
    parts = []
    for start in range(0, LANES, width):
        pick = range(start, start + width)
        operands = [builder.bitcast(_shuffle(builder, v, v, pick), halves) for v in (x, y)]
        parts.append(builder.call(pair_product, operands))
    while len(parts) > 1:
        length = 2 * parts[0].type.count
        parts = [_shuffle(builder, a, b, range(length)) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


# ------------------------------------------------------------------------------- the names that steps are written in
def select(mask, x, y):
    """``x`` where ``mask`` holds, else ``y``."""
    return x if mask else y


def to_int(x):
    """float32 to int32, toward zero."""
    return np.int32(x)


def to_float(x):
    """int32 to float32."""
    return np.float32(x)


def int32(x):
    """The low 32 bits: keeps scalar integer arithmetic at 32 bits."""
    return np.int32(x)


def to_double(x):
    """float32 to float64."""
    return np.float64(x)


def to_single(x):
    """float64 to float32, to the nearest."""
    return np.float32(x)


def bits_to_int(x):
    """The bits of a float32 as an int32."""
    return x.view(np.int32)


def bits_to_float(x):
    """The bits of an int32 as a float32."""
    return x.view(np.float32)


def absolute(x):
    """``|x|`` of a float32."""
    return abs(x)


def multiply_short(x, y):
    """``x * y`` in int32 where ``x`` fits 16 bits with sign and ``0 <= y < 2**15``."""
    return np.int32(x * y)


def multiply_add(x, y, z):
    """``x * y + z`` in float32, rounded once where the machine can."""
    return np.float32(x * y + z)


_define(select, 3, lambda b, is_float, mask, x, y: b.select(mask, x, y))
_define(to_int, 1, lambda b, is_float, x: b.fptosi(x, _ir(INTS)), INTS)
_define(to_float, 1, lambda b, is_float, x: b.sitofp(x, _ir(FLOATS)), FLOATS)
_define(int32, 1, lambda b, is_float, x: x)
_define(to_double, 1, lambda b, is_float, x: b.fpext(x, _ir(DOUBLES)), DOUBLES)
_define(to_single, 1, lambda b, is_float, x: b.fptrunc(x, _ir(FLOATS)), FLOATS)
_define(bits_to_int, 1, lambda b, is_float, x: b.bitcast(x, _ir(INTS)), INTS)
_define(bits_to_float, 1, lambda b, is_float, x: b.bitcast(x, _ir(FLOATS)), FLOATS)
_define(absolute, 1, _llvm("llvm.fabs"))
_define(multiply_short, 2, _emit_multiply_short)
_define(multiply_add, 3, _llvm("llvm.fmuladd"))  # fused where the machine can, never a library call


@overload(select)
def _select_scalar(mask, x, y):
    return None if isinstance(mask, Vec) else lambda mask, x, y: x if mask else y


def _of_scalar(function, body):
    @overload(function)
    def _(x):
        return None if isinstance(x, Vec) else body


_of_scalar(to_int, lambda x: np.int32(x))
_of_scalar(to_float, lambda x: np.float32(x))
_of_scalar(int32, lambda x: np.int32(x))
_of_scalar(to_double, lambda x: np.float64(x))
_of_scalar(to_single, lambda x: np.float32(x))
_of_scalar(bits_to_int, lambda x: np.float32(x).view(np.int32))
_of_scalar(bits_to_float, lambda x: np.int32(x).view(np.float32))
_of_scalar(absolute, lambda x: abs(x))


@overload(multiply_short)
def _multiply_short_scalar(x, y):
    return None if isinstance(x, Vec) or isinstance(y, Vec) else lambda x, y: np.int32(x * y)


@overload(multiply_add)
def _multiply_add_scalar(x, y, z):
    return None if any(isinstance(a, Vec) for a in (x, y, z)) else lambda x, y, z: np.float32(x * y + z)


# --------------------------------------------------------------------------------------------- between Vec and memory
@intrinsic
def repeat(typing, scalar):
    """The Vec whose every element is ``scalar`` (float32 or int32)."""
    vec = _OF_DTYPE[scalar]
    return vec(scalar), lambda context, builder, signature, args: _as_vec(context, builder, args[0], scalar, vec)


@intrinsic
def stack_array(typing, size, dtype):
    """Uninitialised array of ``size`` elements, a literal, on a cache line's boundary; gone when the driver returns."""
    if not isinstance(size, types.IntegerLiteral):
        raise RequireLiteralValue("size")
    array_type = types.Array(dtype.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        kind = context.get_data_type(array_type.dtype)
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(kind, size.literal_value))
        memory.align = 64  # a 64-byte store across two lines costs double
        array = context.make_array(array_type)(context, builder)
        shape, strides = (
            context.get_constant(types.intp, n) for n in (size.literal_value, array_type.dtype.bitwidth // 8)
        )
        data = builder.bitcast(memory, kind.as_pointer())
        arrayobj.populate_array(array, data, [shape], [strides], strides, None)
        return array._getvalue()  # noqa: SLF001 - numba's own way

    return array_type(size, dtype), codegen


def _pointer(context, builder, type_, array, index, target):
    item = builder.gep(context.make_array(type_)(context, builder, array).data, [index])
    return builder.bitcast(item, target.as_pointer())


@intrinsic
def load(typing, array, index):
    """``array[index : index + LANES]`` as a Vec."""
    vec = _OF_DTYPE[array.dtype]

    def codegen(context, builder, signature, args):
        return builder.load(_pointer(context, builder, array, args[0], args[1], _ir(vec)), align=4)

    return vec(array, types.intp), codegen


@intrinsic
def store(typing, array, index, value):
    """``array[index : index + LANES] = value``."""

    def codegen(context, builder, signature, args):
        builder.store(args[2], _pointer(context, builder, array, args[0], args[1], _ir(value)), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _OF_DTYPE[array.dtype]), codegen


@intrinsic
def prefetch(typing, array, index, for_writing):
    """Ask for the cache line of ``array[index]``: a hint, any index is allowed and nothing is read."""
    if not isinstance(for_writing, types.IntegerLiteral):
        raise RequireLiteralValue("for_writing")

    def codegen(context, builder, signature, args):
        byte = ir.IntType(8)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte.as_pointer()], ir.FunctionType(ir.VoidType(), [byte.as_pointer()] + [_I32] * 3)
        )
        where = _pointer(context, builder, array, args[0], args[1], byte)
        builder.call(function, [where] + [ir.Constant(_I32, c) for c in (for_writing.literal_value, 3, 1)])
        return context.get_dummy_value()

    return types.void(array, types.intp, for_writing), codegen


# -------------------------------------------------------------------------------------------- transposing in registers
QUAD = 4  # steps that are turned at a time: 128 bits of every row, what all machines shuffle without crossing lanes


def _turned(builder, vecs):
    """Four Vecs, each 4 x 4 block of them transposed; done twice it changes nothing."""

    def pick(*indices):
        return [4 * part + i % 4 + (LANES if i > 3 else 0) for part in range(LANES // 4) for i in indices]

    def cut(x, y, *picks):
        return [_shuffle(builder, x, y, indices) for indices in picks]

    low, high = pick(0, 4, 1, 5), pick(2, 6, 3, 7)
    halves = [cut(vecs[i], vecs[i + 1], low, high) for i in (0, 2)]
    low, high = pick(0, 1, 4, 5), pick(2, 3, 6, 7)
    return [column for upper, lower in zip(*halves, strict=True) for column in cut(upper, lower, low, high)]


def _quad_pointers(context, builder, arguments, array, start, pitch):
    """Pointers to the QUAD floats of each row from ``start``, rows ``pitch`` apart."""
    part = ir.VectorType(ir.FloatType(), QUAD)
    starts = [builder.add(start, builder.mul(pitch, ir.Constant(pitch.type, k))) for k in range(LANES)]
    return [_pointer(context, builder, arguments, array, index, part) for index in starts]


def _line_pointers(context, builder, arguments, lines):
    index = ir.IntType(64)
    return [
        _pointer(context, builder, arguments, lines, ir.Constant(index, i * LANES), _ir(FLOATS)) for i in range(QUAD)
    ]


@intrinsic
def read_quad(typing, source, start, pitch, lines):
    """``lines[LANES * i + k] = source[start + k * pitch + i]`` for ``i < QUAD, k < LANES``."""

    def codegen(context, builder, signature, args):
        array, first, row_pitch, target = args
        rows = [builder.load(p, align=4) for p in _quad_pointers(context, builder, source, array, first, row_pitch)]
        vecs = [rows[i::QUAD] for i in range(QUAD)]  # row i and every fourth after it
        while len(vecs[0]) > 1:
            vecs = [
                [_shuffle(builder, a, b, range(2 * a.type.count)) for a, b in zip(v[::2], v[1::2], strict=True)]
                for v in vecs
            ]
        columns = _turned(builder, [v for (v,) in vecs])
        for column, p in zip(columns, _line_pointers(context, builder, lines, target), strict=True):
            builder.store(column, p, align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, lines), codegen


@intrinsic
def write_quad(typing, lines, target, start, pitch):
    """``target[start + k * pitch + i] = lines[LANES * i + k]`` for ``i < QUAD, k < LANES``."""

    def codegen(context, builder, signature, args):
        columns, array, first, row_pitch = args
        pointers = _line_pointers(context, builder, lines, columns)
        for vec, p in zip(_turned(builder, [builder.load(p, align=4) for p in pointers]), pointers, strict=True):
            builder.store(vec, p, align=4)
        # Through memory, which costs no shuffles; LLVM would see through it without this barrier of no instructions.
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)
        quads = _quad_pointers(
            context, builder, lines, columns, ir.Constant(ir.IntType(64), 0), ir.Constant(ir.IntType(64), QUAD)
        )
        for k, p in enumerate(_quad_pointers(context, builder, target, array, first, row_pitch)):
            part = quads[k % QUAD * QUAD + k // QUAD]  # of line k % 4, the floats of rows 4 (k // 4) to + 3
            builder.store(builder.load(part, align=4), p, align=4)
        return context.get_dummy_value()

    return types.void(lines, target, types.intp, types.intp), codegen
