"""CPU kernels called from machine code: a call hands over a block of addresses and numbers, and no thread needs Python.

numba's own way into a kernel takes every array apart, and a thread with a share of the rows first waits for the
interpreter: together that is as long as a layer of some thousand neurons takes.  Here LLVM makes, once for each list of
types, a function that reads the arguments from the block and calls what numba compiled.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core.compiler_lock import global_compiler_lock

from ..errors import DeviceError
from . import cpu, openmp

__all__ = ["Native"]

# by letter: an array's numba type and the bytes of its elements; a number's type, and how it is packed into eight bytes
_ARRAYS = {"f": (types.float32, 4), "i": (types.int32, 4), "l": (types.int64, 8), "d": (types.float64, 8)}
_NUMBERS = {"n": (types.int64, "q"), "s": (types.float32, "f4x"), "b": (types.boolean, "?7x")}
_HEAD = 2  # words of a block before the arguments: address of the kernel, number of shares; behind them, their borders

_letters: dict[Any, str] = {
    **{np.dtype(str(kind)): letter for letter, (kind, _) in _ARRAYS.items()},
    **dict.fromkeys((int, *(np.dtype(code).type for code in np.typecodes["AllInteger"])), "n"),
    **dict.fromkeys((float, *(np.dtype(code).type for code in np.typecodes["Float"])), "s"),
    **dict.fromkeys((bool, np.bool_), "b"),
}

_Run = Callable[[bytes, int, int], None]
_Made = tuple[Callable[..., bytes], int, _Run, int]


class Native:
    """A CPU driver that is called on arrays, tensors and numbers without numba's dispatch.

    Parameters
    ----------
    driver : numba dispatcher
        Made by :func:`.cpu.cpu_kernel`.  Its last two arguments are the rows of a share; it raises nothing.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.made: dict[str, _Made] = {}

    def __call__(self, arguments: Sequence[Any], cuts: list[int]) -> None:
        """Run the driver between all neighbours in ``cuts``, the first share in the calling thread.

        Parameters
        ----------
        arguments : sequence of ndarray, Tensor or number
            Arrays and tensors are contiguous, of float32, int32, int64 or float64, and on the CPU; numbers become
            int64, float32 or bool.
        cuts : list of int
            Borders of the shares of rows.

        Raises
        ------
        DeviceError
            For a tensor on another device.
        TypeError
            For an argument of another type, and for a tensor that only stands for one.
        ValueError
            For an array that is not contiguous.
        """
        letters, words = "", []
        for argument in arguments:
            letter = _letters.get(type(argument))
            if letter is not None:
                words.append(argument)
            elif isinstance(argument, np.ndarray):
                letter = _letter(argument, argument.flags.c_contiguous and argument.flags.aligned)
                words += argument.__array_interface__["data"][0], argument.size
            elif hasattr(argument, "data_ptr"):
                letter = _letter(argument, argument.is_contiguous())
                words += _address(argument), argument.numel()
            else:
                raise TypeError(f"expected arrays, tensors and numbers for a kernel, got {type(argument).__name__}")
            letters += letter
        pack, address, run, shared = self.made.get(letters) or self._make(letters)
        shares = len(cuts) - 1
        try:
            block = pack(address, shares, *words)
        except OverflowError:  # of numbers beyond float32, which are infinite
            with np.errstate(over="ignore"):
                words = [float(np.float32(word)) if isinstance(word, float) else word for word in words]
            block = pack(address, shares, *words)
        block += struct.pack(f"{shares + 1}q", *cuts)
        if shares == 1:
            run(block, 0, 1)
        elif openmp.usable():
            openmp.start(shared or self._make(letters)[-1], block, shares)  # 0: made before torch was there
        else:
            cpu.run_all([partial(run, block, share, shares) for share in range(shares)])

    def _make(self, letters: str) -> _Made:
        signature = (*map(_type, letters), types.int64, types.int64)
        with global_compiler_lock:
            self.driver.compile(signature)
            compiled = self.driver.overloads[signature]
            address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
            run, shared = _callers(letters, openmp.team())
        layout = "qq" + "".join("qq" if letter in _ARRAYS else _NUMBERS[letter][1] for letter in letters)
        made = self.made[letters] = struct.Struct(layout).pack, address, run, shared
        return made


def _address(tensor: Any) -> int:
    if not tensor.is_cpu:  # its address would mean nothing here
        raise DeviceError(f"expected every tensor on cpu, got one on {tensor.device}")
    try:
        address = tensor.data_ptr()
    except RuntimeError:
        address = 0
    if not address and tensor.numel():
        kind = type(tensor).__name__
        raise TypeError(f"expected tensors with memory for a kernel, got a {kind} without, as torch.vmap makes them")
    return address


def _letter(array: Any, whole: bool) -> str:
    if not whole:
        raise ValueError(f"expected a contiguous array for a kernel, got one of shape {tuple(array.shape)} with gaps")
    letter = _letters.get(array.dtype)
    if letter is None:  # torch's types, when they are first seen
        name = str(array.dtype).removeprefix("torch.")
        known = [letter for letter, (kind, _) in _ARRAYS.items() if str(kind) == name]
        if not known:
            raise TypeError(f"expected an array of float32, int32, int64 or float64 for a kernel, got {array.dtype}")
        letter = _letters[array.dtype] = known[0]
    return letter


def _type(letter: str) -> Any:
    return types.Array(_ARRAYS[letter][0], 1, "C") if letter in _ARRAYS else _NUMBERS[letter][0]


_I8, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_ADDRESS = _I8.as_pointer()
_engines: list[Any] = []  # their code has to stay


@cache
def _callers(letters: str, team: tuple[int, int] | None) -> tuple[_Run, int]:
    """``run(block, first, stride)`` for every ``stride``-th share, and the address of ``shared(block)``.

    ``shared`` runs the shares of a thread of ``team``, addresses of functions that say which of how many it is; there
    is none without a team, and its address is 0.
    """
    module = ir.Module(name=f"lavadl_lite_{letters}")
    module.triple = binding.get_process_triple()
    run = _build_run(module, letters)
    if team is not None:
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_ADDRESS]), "shared")
        builder = ir.IRBuilder(function.append_basic_block())
        ask = ir.FunctionType(_I32, []).as_pointer()
        place = [builder.sext(builder.call(builder.inttoptr(_I64(address), ask), []), _I64) for address in team]
        builder.call(run, [function.args[0], *place])
        builder.ret_void()
    machine = binding.Target.from_triple(module.triple).create_target_machine(opt=1, jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
    engine.finalize_object()
    _engines.append(engine)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64)  # without the GIL
    return kind(engine.get_function_address("run")), engine.get_function_address("shared") if team is not None else 0


def _build_run(module: Any, letters: str) -> Any:
    """``run(block, first, stride)``; what the kernel says of errors is left out, for there are none."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_ADDRESS, _I64, _I64]), "run")
    builder = ir.IRBuilder(function.append_basic_block())
    block, first, stride = function.args
    words = builder.bitcast(block, _I64.as_pointer())

    def word(at: Any) -> Any:
        return builder.load(builder.gep(words, [at]))

    arguments, at, none = [], _HEAD, ir.Constant(_ADDRESS, None)
    for letter in letters:
        value = word(_I64(at))
        if letter in _ARRAYS:
            at += 1
            count, size, address = word(_I64(at)), _I64(_ARRAYS[letter][1]), builder.inttoptr(value, _ADDRESS)
            # as numba takes an array: no owner, twice none; elements and their size; address; shape; strides
            arguments += none, none, count, size, address, count, size
        elif letter == "s":
            arguments.append(builder.bitcast(builder.trunc(value, _I32), _F32))
        else:
            arguments.append(builder.trunc(value, _I8) if letter == "b" else value)
        at += 1
    result, error = builder.alloca(_ADDRESS), builder.alloca(_ADDRESS)
    received = [value.type for value in (result, error, *arguments)]
    kernel = builder.inttoptr(word(_I64(0)), ir.FunctionType(_I32, [*received, _I64, _I64]).as_pointer())
    shares, entry = word(_I64(1)), builder.block

    check, body, end = (function.append_basic_block() for _ in range(3))
    builder.branch(check)
    builder.position_at_end(check)
    share = builder.phi(_I64)
    builder.cbranch(builder.icmp_signed("<", share, shares), body, end)
    builder.position_at_end(body)
    borders = [word(builder.add(share, _I64(at + i))) for i in range(2)]
    builder.call(kernel, [result, error, *arguments, *borders])
    share.add_incoming(first, entry)
    share.add_incoming(builder.add(share, stride), body)
    builder.branch(check)
    builder.position_at_end(end)
    builder.ret_void()
    return function
