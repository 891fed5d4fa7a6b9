"""Layers whose spikes come back to them one step later: product, neuron and spike of every step in one pass.

Six neurons differ by three flags.  ``rotating``: the state is a complex number that turns, else a current that a
voltage integrates.  ``phase`` and ``adaptive`` are those of :mod:`.kernels.resonate`; what is not adaptive and has no
phase is reset by its spikes.  Time stands before channels, and those are filled up with silent ones to a multiple of
16, so that a line of a sample is a whole number of Vecs.  Samples do not meet: on the CPU threads share them, so that
a batch of one runs on one thread; on CUDA each has a block.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from .adaptive_threshold import adapt, crossing_level, raise_where
from .alif import backward_step, integrate
from .cpu import LANES, cpu_kernel, step
from .cuba import spike_value, surrogate
from .cuda import cuda, cuda_kernel
from .feedback import add_lines, add_products, find, total
from .fixed_point import DECAY_ONE, NEVER, to_factor, to_fixed, to_keep
from .launch import Kernel
from .resonator import rotate, rotate_back
from .surrogate import spike_slopes
from .tiles import STEPS
from .vec import int32, load, multiply_add, repeat, select, store, to_float

__all__ = ["INTS", "LANES", "backward", "forward", "kept_lines"]

STATES = 4  # of a neuron: current or real part, voltage or imaginary part, threshold, refractory part
INTS = STATES + 1  # lines of integers that a sample works with: its states, and the places of what is not 0
_BLOCK = 128  # lanes of CUDA that share a sample
_PER_DECAY = np.float32(1 / DECAY_ONE)


def kept_lines(adaptive: bool) -> int:
    """Lines that :func:`forward` keeps for each step: both parts of the state before its reset, and a moving level."""
    return 3 if adaptive else 2


@step
def keep_factors(first, second, rotating):
    """What two decays leave of a state, or the sine and cosine that they are."""
    if rotating:
        return to_factor(first), to_factor(second)
    return to_keep(first), to_keep(second)


@step
def advance(
    x_real,
    x_imag,
    a,
    b,
    threshold,
    refractory,
    k_a,
    k_b,
    k_th,
    k_r,
    scale,
    base,
    zero,
    never,
    rotating,
    phase,
    adaptive,
):
    """One time step up to the spike: the states, the level to be reached, and what has to reach it to fire."""
    last, level = b, base
    if rotating:
        a, b = rotate(x_real, x_imag, a, b, k_a, k_b, scale)
    else:
        a, b = integrate(x_real, a, b, k_a, k_b, scale)
    if adaptive:
        threshold, refractory = adapt(threshold, refractory, k_th, k_r, base)
        level = int32(threshold + refractory)
    reach = crossing_level(level, b, last, never, zero) if phase else level
    return a, b, threshold, refractory, level, reach


@step
def settle(fired, a, b, threshold, refractory, rise, rest, zero, rotating, phase, adaptive):
    """The states that a spike leaves behind."""
    if adaptive:
        threshold, refractory = raise_where(fired, threshold, refractory, rise)
    elif not phase:
        if rotating:
            a = select(fired, zero, a)
        b = select(fired, rest, b)
    return a, b, threshold, refractory


@step
def reverse(
    g, a, b, level, g_a, g_b, d_a, d_b, f_a, f_b, rest, off, slope, offset, heights_a, heights_b,
    rotating, phase, adaptive, graded, kind,
):  # fmt: skip
    """One step in reverse: gradients of both parts of the state before its reset, and the sums for the decays.

    ``g`` is the spike's gradient, ``a``, ``b`` and ``level`` are floats in integer units.
    """
    if rotating:
        by_a, by_b = spike_slopes(a, b, level, slope, heights_a, heights_b, phase, graded, kind)
        if not adaptive and not phase:
            reset = b >= level
            a, b = select(reset, off, a), select(reset, rest, b)
        g_a, g_b, d_a, d_b = rotate_back(g * by_a, g * by_b, g_a, g_b, d_a, d_b, a, b, f_a, f_b)
    else:
        g = g * surrogate(b, level, slope, offset, heights_b, graded, kind)
        if not adaptive:
            b = select(b >= level, off, b)
        g_b, g_a, d_b, d_a = backward_step(g, b, a, g_b, g_a, d_b, d_a, f_b, f_a)
    return g_a, g_b, d_a, d_b


@cpu_kernel
def _forward_cpu(
    x, spikes, kept, final, feedback, decays, slow, initial, ints, floats, N, T, P, scale, base, rise, rest, on, unit,
    rotating, phase, adaptive, lo, hi,
):  # fmt: skip
    """Spikes [N, 1 + T, P] of inputs ``x`` [parts, N, T, P]; those of step 0 are given, the ones before the first.

    ``feedback`` [parts, P, P] is a line for each neuron that sends; ``decays`` [2, P] and ``slow`` [2, P], of threshold
    and refractory part where they move, are those of channels; ``initial`` and ``final`` [2 or 4, N, P] are states
    after their reset.  ``final`` and ``kept`` [N, T, 2 or 3, P] are filled where they are not empty.  ``ints``
    [N, 5, P] and ``floats`` [N, 2, P] are there to work with.
    """
    zero, off, never = repeat(np.int32(0)), repeat(np.float32(0)), repeat(np.int32(NEVER))
    th0, higher, resting = repeat(np.int32(base)), repeat(np.int32(rise)), repeat(np.int32(rest))
    on, unit, per_unit = repeat(on), repeat(unit), np.float32(1) / scale
    lines, states = (3, STATES) if adaptive else (2, 2)
    for n in range(lo // LANES, hi // LANES):
        held, places, sums = n * INTS * P, (n * INTS + STATES) * P, n * 2 * P
        for k in range(states):
            for c in range(0, P, LANES):
                store(ints, held + k * P + c, to_fixed(load(initial, (k * N + n) * P + c), scale))
        for t in range(T):
            before = (n * (T + 1) + t) * P
            count = find(spikes, before, ints, places, P)
            for c in range(0, P, LANES):
                store(floats, sums + c, off)
                store(floats, sums + P + c, off)
            add_lines(floats, sums, feedback, 0, spikes, before, ints, places, count, P)
            if rotating:
                add_lines(floats, sums + P, feedback, P * P, spikes, before, ints, places, count, P)
            for c in range(0, P, LANES):
                here, at = (n * T + t) * P + c, held + c
                k_a, k_b = keep_factors(load(decays, c), load(decays, P + c), rotating)
                a, b, k_th, k_r = load(ints, at), load(ints, at + P), zero, zero
                threshold, refractory = th0, zero
                x_real, x_imag = load(x, here) + load(floats, sums + c), off
                if rotating:
                    x_imag = load(x, N * T * P + here) + load(floats, sums + P + c)
                if adaptive:
                    k_th, k_r = to_keep(load(slow, c)), to_keep(load(slow, P + c))
                    threshold, refractory = load(ints, at + 2 * P), load(ints, at + 3 * P)
                a, b, threshold, refractory, level, reach = advance(
                    x_real, x_imag, a, b, threshold, refractory, k_a, k_b, k_th, k_r, scale, th0, zero, never,
                    rotating, phase, adaptive,
                )  # fmt: skip
                value = a if phase else b
                store(spikes, before + P + c, spike_value(value, reach, on, unit, off))
                if kept.size > 0:
                    to = (n * T + t) * lines * P + c
                    store(kept, to, to_float(a))
                    store(kept, to + P, to_float(b))
                    if adaptive:
                        store(kept, to + 2 * P, to_float(level))
                a, b, threshold, refractory = settle(
                    value >= reach, a, b, threshold, refractory, higher, resting, zero, rotating, phase, adaptive
                )
                store(ints, at, a)
                store(ints, at + P, b)
                if adaptive:
                    store(ints, at + 2 * P, threshold)
                    store(ints, at + 3 * P, refractory)
        if final.size > 0:
            for k in range(states):
                for c in range(0, P, LANES):
                    store(final, (k * N + n) * P + c, to_float(load(ints, held + k * P + c)) * per_unit)


@cpu_kernel
def _backward_cpu(
    g_spikes, kept, g_x, g_decays, feedback, decays, initial, floats, N, T, P, scale, base, rest, slope, offset,
    height_a, height_b, rotating, phase, adaptive, graded, kind, lo, hi,
):  # fmt: skip
    """Gradients ``g_x`` [parts, N, T + 1, P] of the inputs, 0 after the last step, and ``g_decays`` [2, N, P].

    ``g_spikes`` is [N, 1 + T, P]; ``feedback`` [parts, P, P] is a line for each neuron that receives; ``floats``
    [N, 5, P] is there to work with: gradients of the spike and of both parts, short sums for both decays.  Samples go
    side by side, for the sake of the product.
    """
    off, never, resting = repeat(np.float32(0)), repeat(np.float32(NEVER)), repeat(np.float32(rest))
    th_float = repeat(np.float32(base))
    per_decay = _PER_DECAY / scale if rotating else -_PER_DECAY / scale
    lines, imag = 3 if adaptive else 2, N * (T + 1) * P
    lo, hi = lo // LANES, hi // LANES
    for n in range(lo, hi):
        for c in range(0, P, LANES):
            at, to = (n * (T + 1) + T) * P + c, n * P + c
            store(g_x, at, off)
            if rotating:
                store(g_x, imag + at, off)
            store(g_decays, to, off)
            store(g_decays, N * P + to, off)
            for k in range(1, 5):
                store(floats, (n * 5 + k) * P + c, off)
    for t in range(T - 1, -2, -1):
        after = (t + 1) * P
        if t >= 0:
            for n in range(lo, hi):
                for c in range(0, P, LANES):
                    store(floats, n * 5 * P + c, load(g_spikes, n * (T + 1) * P + after + c))
            add_products(floats, 5 * P, feedback, 0, g_x, after, (T + 1) * P, lo, hi, P)
            if rotating:
                add_products(floats, 5 * P, feedback, P * P, g_x, imag + after, (T + 1) * P, lo, hi, P)
        for n in range(lo, hi):
            for c in range(0, P, LANES):
                at, to = n * 5 * P + c, n * P + c
                f_a, f_b = keep_factors(load(decays, c), load(decays, P + c), rotating)
                g, level = off, never
                if t >= 0:
                    source = (n * T + t) * lines * P + c
                    g, level, a, b = load(floats, at), th_float, load(kept, source), load(kept, source + P)
                    if adaptive:
                        level = load(kept, source + 2 * P)
                else:  # before the first step, where nothing was sent or reset
                    a = to_float(to_fixed(load(initial, to), scale))
                    b = to_float(to_fixed(load(initial, N * P + to), scale))
                g_a, g_b, d_a, d_b = reverse(
                    g, a, b, level, load(floats, at + P), load(floats, at + 2 * P), load(floats, at + 3 * P),
                    load(floats, at + 4 * P), to_float(f_a) * _PER_DECAY, to_float(f_b) * _PER_DECAY, resting, off,
                    slope, offset, height_a, height_b, rotating, phase, adaptive, graded, kind,
                )  # fmt: skip
                if t >= 0:
                    here = (n * (T + 1) + t) * P + c
                    store(g_x, here, g_a)
                    if rotating:
                        store(g_x, imag + here, g_b)
                store(floats, at + P, g_a)
                store(floats, at + 2 * P, g_b)
                if t < 0 or t % STEPS == 0:  # short sums: less rounding
                    store(g_decays, to, multiply_add(d_a, per_decay, load(g_decays, to)))
                    store(g_decays, N * P + to, multiply_add(d_b, per_decay, load(g_decays, N * P + to)))
                    d_a, d_b = off, off
                store(floats, at + 3 * P, d_a)
                store(floats, at + 4 * P, d_b)


@partial(cuda_kernel, rows=LANES, lanes=_BLOCK)
def _forward_cuda(
    x, spikes, kept, final, feedback, decays, slow, initial, ints, floats, N, T, P, scale, base, rise, rest, on, unit,
    rotating, phase, adaptive, rows,
):  # fmt: skip
    """As the CPU driver, for the sample of this block; a lane has every so many channels."""
    n, first, apart = np.int64(cuda.blockIdx.x), np.int64(cuda.threadIdx.x), np.int64(cuda.blockDim.x)
    if n >= N:
        return
    zero, off, never = np.int32(0), np.float32(0), np.int32(NEVER)
    th0, higher, resting = np.int32(base), np.int32(rise), np.int32(rest)
    lines, states = np.int64(3 if adaptive else 2), np.int64(STATES if adaptive else 2)
    c = first
    while c < P:
        for k in range(states):
            ints[(n * INTS + k) * P + c] = to_fixed(initial[(k * N + n) * P + c], scale)
        c += apart
    t = np.int64(0)
    while t < T:
        before, here = (n * (T + 1) + t) * P, (n * T + t) * P
        c = first
        while c < P:
            k_a, k_b = keep_factors(decays[c], decays[P + c], rotating)
            at, k_th, k_r, threshold, refractory = n * INTS * P + c, zero, zero, th0, zero
            x_real, x_imag = np.float32(x[here + c] + total(feedback, c, spikes, before, P)), off
            if rotating:
                x_imag = np.float32(x[N * T * P + here + c] + total(feedback, P * P + c, spikes, before, P))
            if adaptive:
                k_th, k_r = int32(to_keep(slow[c])), int32(to_keep(slow[P + c]))
                threshold, refractory = ints[at + 2 * P], ints[at + 3 * P]
            a, b, threshold, refractory, level, reach = advance(
                x_real, x_imag, ints[at], ints[at + P], threshold, refractory, int32(k_a), int32(k_b), k_th, k_r,
                scale, th0, zero, never, rotating, phase, adaptive,
            )  # fmt: skip
            value = a if phase else b
            spikes[before + P + c] = spike_value(int32(value), int32(reach), on, unit, off)
            if kept.size > 0:
                to = here * lines + c
                kept[to], kept[to + P] = to_float(int32(a)), to_float(int32(b))
                if adaptive:
                    kept[to + 2 * P] = to_float(int32(level))
            a, b, threshold, refractory = settle(
                value >= reach, int32(a), int32(b), int32(threshold), int32(refractory), higher, resting, zero,
                rotating, phase, adaptive,
            )  # fmt: skip
            ints[at], ints[at + P] = a, b
            if adaptive:
                ints[at + 2 * P], ints[at + 3 * P] = threshold, refractory
            c += apart
        cuda.syncthreads()  # spikes of this step are there for all
        t += 1
    if final.size > 0:
        per_unit = np.float32(1) / scale
        c = first
        while c < P:
            for k in range(states):
                final[(k * N + n) * P + c] = to_float(int32(ints[(n * INTS + k) * P + c])) * per_unit
            c += apart


@partial(cuda_kernel, rows=LANES, lanes=_BLOCK)
def _backward_cuda(
    g_spikes, kept, g_x, g_decays, feedback, decays, initial, floats, N, T, P, scale, base, rest, slope, offset,
    height_a, height_b, rotating, phase, adaptive, graded, kind, rows,
):  # fmt: skip
    """As the CPU driver, for the sample of this block."""
    n, first, apart = np.int64(cuda.blockIdx.x), np.int64(cuda.threadIdx.x), np.int64(cuda.blockDim.x)
    if n >= N:
        return
    off, never, resting, th_float = np.float32(0), np.float32(NEVER), np.float32(rest), np.float32(base)
    per_decay = _PER_DECAY / scale if rotating else -_PER_DECAY / scale
    lines, imag = np.int64(3 if adaptive else 2), N * (T + 1) * P
    c = first
    while c < P:
        at = (n * (T + 1) + T) * P + c
        g_x[at] = off
        if rotating:
            g_x[imag + at] = off
        g_decays[n * P + c] = off
        g_decays[(N + n) * P + c] = off
        for k in range(1, 5):
            floats[(n * 5 + k) * P + c] = off
        c += apart
    cuda.syncthreads()
    t = T - 1
    while t >= -1:
        after, here = (n * (T + 1) + t + 1) * P, (n * T + t) * lines * P
        c = first
        while c < P:
            f_a, f_b = keep_factors(decays[c], decays[P + c], rotating)
            g, level, at, to = off, never, n * 5 * P + c, n * P + c
            if t >= 0:
                g = np.float32(g_spikes[after + c] + total(feedback, c, g_x, after, P))
                if rotating:
                    g = np.float32(g + total(feedback, P * P + c, g_x, imag + after, P))
                level, a, b = th_float, kept[here + c], kept[here + P + c]
                if adaptive:
                    level = kept[here + 2 * P + c]
            else:  # before the first step, where nothing was sent or reset
                a = to_float(int32(to_fixed(initial[n * P + c], scale)))
                b = to_float(int32(to_fixed(initial[(N + n) * P + c], scale)))
            g_a, g_b, d_a, d_b = reverse(
                g, a, b, level, floats[at + P], floats[at + 2 * P], floats[at + 3 * P], floats[at + 4 * P],
                to_float(int32(f_a)) * _PER_DECAY, to_float(int32(f_b)) * _PER_DECAY, resting, off, slope, offset,
                height_a, height_b, rotating, phase, adaptive, graded, kind,
            )  # fmt: skip
            if t >= 0:
                g_x[after - P + c] = g_a
                if rotating:
                    g_x[imag + after - P + c] = g_b
            floats[at + P], floats[at + 2 * P] = g_a, g_b
            if t < 0 or t % STEPS == 0:
                g_decays[to] = multiply_add(np.float32(d_a), per_decay, g_decays[to])
                g_decays[N * P + to] = multiply_add(np.float32(d_b), per_decay, g_decays[N * P + to])
                d_a, d_b = off, off
            floats[at + 3 * P], floats[at + 4 * P] = d_a, d_b
            c += apart
        cuda.syncthreads()  # gradients of this step are there for all
        t -= 1


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
