"""``Vec`` means on 16 lanes what its names and operators mean on one value; without any instruction set too."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from lavadl_lite.kernels import vec
from lavadl_lite.kernels.vec import (
    absolute,
    bits_to_float,
    bits_to_int,
    int32,
    load,
    multiply_add,
    multiply_short,
    prefetch,
    read_quad,
    repeat,
    select,
    store,
    to_double,
    to_float,
    to_int,
    to_single,
    write_quad,
)
from tests.strategies import SPECIALS, generators

njit = njit(error_model="numpy")
ROOT = Path(__file__).parents[2]


# one source for lanes and for scalars: the names decide.  Each result stands beside NumPy's.
@njit
def float_steps(x, y):
    return (
        x + y, x - y, x * y, select(x > y, x, y), select(x >= y, x, y), select(x < y, x, y), absolute(x - y),
        bits_to_float(int32(bits_to_int(x) & bits_to_int(y))), select(x > np.float32(0.5), np.float32(2) * x, y),
    )  # fmt: skip


def float_truth(x, y):
    both = (x.view(np.int32) & y.view(np.int32)).view(np.float32)
    return (
        x + y, x - y, x * y, np.where(x > y, x, y), np.where(x >= y, x, y), np.where(x < y, x, y), np.abs(x - y),
        both, np.where(x > np.float32(0.5), np.float32(2) * x, y),
    )  # fmt: skip


@njit
def int_steps(x, y):
    return (
        int32(x + y), int32(x - y), int32(x * y), int32(x >> np.int32(12)), int32(x << np.int32(5)), int32(x & y),
        select(x > y, x, y), select(x < y, x, y),
    )  # fmt: skip


def int_truth(x, y):
    return x + y, x - y, x * y, x >> 12, x << 5, x & y, np.maximum(x, y), np.minimum(x, y)


@njit
def run_floats(x, y, lanes, scalars):
    results = float_steps(load(x, 1), load(y, 1))
    for i in range(len(results)):
        store(lanes, 18 * i + 1, results[i])
    for k in range(1, 17):
        of_one = float_steps(x[k], y[k])
        for i in range(len(of_one)):
            scalars[18 * i + k] = of_one[i]


@njit
def run_ints(x, y, lanes, scalars):
    results = int_steps(load(x, 1), load(y, 1))
    for i in range(len(results)):
        store(lanes, 18 * i + 1, results[i])
    for k in range(1, 17):
        of_one = int_steps(x[k], y[k])
        for i in range(len(of_one)):
            scalars[18 * i + k] = of_one[i]


def check(run, truth, x, y):
    """Operands and results begin anywhere in memory; not a lane too many is written."""
    with np.errstate(all="ignore"):
        truth = np.stack(truth(x, y))
    truth[:, [0, 17]] = 0
    lanes, scalars = np.zeros(truth.size, x.dtype), np.zeros(truth.size, x.dtype)
    run(x, y, lanes, scalars)
    np.testing.assert_array_equal(lanes.reshape(truth.shape), truth)
    np.testing.assert_array_equal(scalars.reshape(truth.shape), truth)


@given(generators())
def test_floats(rng):
    x, y = rng.choice(SPECIALS, 18), rng.normal(size=18).astype(np.float32)
    x[:3] = 0.5, 1.5, -0.25
    check(run_floats, float_truth, x, y)
    check(run_floats, float_truth, y, x)


@given(generators())
def test_integers(rng):
    x, y = rng.integers(-(2**31), 2**31, (2, 18)).astype(np.int32)
    x[:4] = 2**31 - 1, -(2**31), -1, 0
    check(run_ints, int_truth, x, y)


def test_comparisons_with_nan_are_false():
    nan, one = np.full(18, np.nan, np.float32), np.ones(18, np.float32)
    lanes, scalars = np.zeros(9 * 18, np.float32), np.zeros(9 * 18, np.float32)
    run_floats(nan, one, lanes, scalars)
    for results in (lanes, scalars):
        assert (results.reshape(9, 18)[3:6, 1:17] == 1).all()


@njit
def convert(x, i, lanes, scalars):
    store(lanes, 0, to_float(to_int(load(x, 0))))
    store(lanes, 16, to_float(load(i, 0)))
    for k in range(16):
        scalars[k] = to_float(to_int(x[k]))
        scalars[16 + k] = to_float(i[k])


def test_conversions():
    x = np.resize(np.array([1.9, -1.9, 0.5, -0.5, 8388607, -8388607, 16777215, 0, -0.0, 1e-40], np.float32), 16)
    i = np.resize(np.array([2**24, -(2**24), 2**23 - 1, 16777217, 2**31 - 1, -1, 0], np.int32), 16)
    lanes, scalars = np.zeros(32, np.float32), np.zeros(32, np.float32)
    convert(x, i, lanes, scalars)
    for results in (lanes, scalars):
        np.testing.assert_array_equal(results[:16], np.trunc(x))
        np.testing.assert_array_equal(results[16:], i.astype(np.float32))


@njit
def add_doubles(x, y, sums, singles):
    total = load(x, 0) + to_double(load(y, 0))
    store(sums, 0, total)
    store(singles, 0, to_single(total))
    for k in range(16):
        total = x[k] + to_double(y[k])
        sums[16 + k] = total
        singles[16 + k] = to_single(total)


@given(generators())
def test_doubles(rng):
    x, y = rng.normal(size=16) * 1e3, rng.choice(SPECIALS, 16)
    sums, singles = np.zeros(32), np.zeros(32, np.float32)
    add_doubles(x, y, sums, singles)
    np.testing.assert_array_equal(sums, np.tile(x + y.astype(np.float64), 2))
    np.testing.assert_array_equal(singles, sums.astype(np.float32))


@given(generators())
def test_multiply_short_is_exact_where_it_promises(rng):
    x = rng.integers(-(2**15), 2**15, 18).astype(np.int32)
    y = rng.integers(0, 2**15, 18).astype(np.int32)
    x[2:5], y[3:6] = (-(2**15), 2**15 - 1, -1), (2**15 - 1, 0, 2**15 - 1)
    lanes, scalars = np.zeros(18, np.int32), np.zeros(18, np.int32)
    short_products(x, y, lanes, scalars)
    np.testing.assert_array_equal(lanes[:16], (x * y)[:16])
    np.testing.assert_array_equal(scalars[:16], (x * y)[:16])


@njit
def short_products(x, y, lanes, scalars):
    store(lanes, 0, multiply_short(load(x, 0), load(y, 0)))
    for k in range(16):
        scalars[k] = multiply_short(x[k], y[k])


@njit
def fused(x, y, z, lanes, scalars):
    store(lanes, 0, multiply_add(load(x, 0), load(y, 0), load(z, 0)))
    for k in range(16):
        scalars[k] = multiply_add(x[k], y[k], z[k])


@given(generators())
def test_multiply_add_rounds_once_or_twice(rng):
    x, y, z = rng.normal(size=(3, 16)).astype(np.float32)
    lanes, scalars = np.zeros(16, np.float32), np.zeros(16, np.float32)
    fused(x, y, z, lanes, scalars)
    once = (x.astype(np.float64) * y + z).astype(np.float32)
    twice = x * y + z
    for result in (lanes, scalars):
        assert ((result == once) | (result == twice)).all()


def test_repeat_fills_all_lanes():
    @njit
    def fill(floats, ints):
        store(floats, 0, repeat(np.float32(1.5)))
        store(ints, 0, repeat(np.int32(-7)))

    floats, ints = np.zeros(16, np.float32), np.zeros(16, np.int32)
    fill(floats, ints)
    assert floats.tolist() == [1.5] * 16
    assert ints.tolist() == [-7] * 16


def test_prefetch_takes_any_index():
    @njit
    def hint(x):
        for index in (-(1 << 40), -1, 0, x.size, 1 << 40):
            prefetch(x, index, 0)
            prefetch(x, index, 1)
        return x[0]

    assert hint(np.ones(1, np.float32)) == 1


@given(generators(), st.integers(0, 5), st.integers(0, 5))
def test_quads_are_turned_between_any_pitches(rng, start, more):
    source = rng.random((vec.LANES, vec.QUAD + start + more)).astype(np.float32)
    lines, target = np.empty((vec.QUAD, vec.LANES), np.float32), np.full(source.shape, -1, np.float32)
    turn_in(source.reshape(-1), start, source.shape[1], lines.reshape(-1))
    inside = slice(start, start + vec.QUAD)
    np.testing.assert_array_equal(lines, source[:, inside].T)
    turn_out(lines.reshape(-1), target.reshape(-1), start, source.shape[1])
    np.testing.assert_array_equal(target[:, inside], source[:, inside])
    target[:, inside] = -1
    assert (target == -1).all()


@njit
def turn_in(source, start, pitch, lines):
    read_quad(source, start, pitch, lines)


@njit
def turn_out(lines, target, start, pitch):
    write_quad(lines, target, start, pitch)


# ------------------------------------------------------------------------------- no instruction set, and that of ARM
PROGRAM = """
import re, sys
import numpy as np
from llvmlite import binding
from lavadl_lite.kernels import leaky
from tests.reference import fixed_point

rng = np.random.default_rng(0)
rows, T, scale, level = 37, 130, 64, 65
x = (rng.integers(-96, 128, (rows, T)) / 64).astype(np.float32)
decay = rng.integers(0, 4097, rows).astype(np.float32)
y = np.full_like(x, np.nan)
leaky.forward(x, y, decay, np.zeros(0, np.float32), T, float(scale), level, rows=rows, elements=x.size)
truth = fixed_point.leaky(x, decay, 0, scale, level)
assert 0 < (truth >= level).sum() < truth.size
np.testing.assert_array_equal(y * scale, truth)
binding.initialize_all_targets()
binding.initialize_all_asmprinters()
try:
    machine = binding.Target.from_triple(sys.argv[1]).create_target_machine(opt=3)
except RuntimeError:
    sys.exit(0)  # an LLVM that was built without it
(code,) = leaky.forward.cpu.inspect_llvm().values()
code = re.sub(r'target (triple|datalayout) = ".*"|"(target-cpu|target-features|tune-cpu)"="[^"]*"', "", code)
# numba's count of references to an array, which is x86's own
code = re.sub(r"(tail )?call i8 @llvm.x86.atomic.sub.cc.i64[(].*[)]", "add i8 0, 0", code)
module = binding.parse_assembly(code)
module.triple, module.data_layout = sys.argv[1], str(machine.target_data)
print(machine.emit_assembly(module))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="compiles across from x86")
def test_kernels_are_right_without_features_and_vectorised_for_neon(tmp_path):
    """Code that asks nothing of the CPU is right here; LLVM makes whole registers of it for 64-bit ARM."""
    environment = {
        **os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)]),
    }  # fmt: skip
    program = [sys.executable, "-c", PROGRAM, "aarch64-unknown-linux-gnu"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if not done.stdout:
        pytest.skip("this LLVM cannot compile for ARM")
    whole = re.findall(r"\b(?:fcvtzs|scvtf)\s+v\d+\.4s", done.stdout)
    single = re.findall(r"\b(?:fcvtzs\s+w\d+, s|scvtf\s+s\d+, w)", done.stdout)
    assert len(whole) >= 2 * 4  # a Vec of 16 to integers and back
    assert len(single) <= 4  # of what is the same for all rows
