"""Compiled steps of the simulator's neurons, over the totals of their synapses; nothing about where those come from.

Loaded at the first run, since it needs numba.  States are integers, in units of 1/4096 but for sigma-delta; sums and
products are formed in 64 bits, so that nothing overflows before the 24-bit limits that the hardware has.

Every kernel has ``total`` int64 [samples, time, neurons] (a resonator two of them), ``message`` int32 of the same
shape, ``table`` int64 with a row for each parameter, and states [samples, neurons] that it leaves for the next call.
Those of neurons that can leave 32 bits have ``lost`` [units] as well, not 0 where something did.  It runs steps
``first`` to ``last`` of the units ``lo`` to ``hi``; a unit is ``BLOCK`` neurons of one sample.
"""

from __future__ import annotations

from ..kernels.cpu import cpu_kernel, step

__all__ = ["BLOCK", "alif", "cuba", "resonate", "sigma_delta"]

BLOCK = 256  # neurons whose parameters and states stay in the cache while time runs

# rows of the tables; the first one is added to what arrives
OFFSET = 0
CURRENT_KEEP, VOLTAGE_KEEP, THRESHOLD, BIAS = range(1, 5)  # of cuba
RISE, THRESHOLD_KEEP, REFRACTORY_KEEP = range(4, 7)  # of alif, after the first three of cuba; of resonate as well
OFFSET_IMAG, SIN, COS = range(1, 4)  # of resonate, whose LEVEL stands where these leave off
LEVEL = 7
ACT_BIAS, ACT_THRESHOLD, ACT_LOW, ACT_HIGH = range(1, 5)  # of sigma_delta

_DECAY_BITS = 12
_WRAP = 1 << 23
_TOP = (1 << 23) - 1
_INT32 = 1 << 31


@step
def _toward_zero(x, bits):
    """``x / 2**bits`` without its fraction."""
    return (x + ((x >> 63) & ((1 << bits) - 1))) >> bits


@step
def _arrive(total, offset, up, down):
    """What a total adds to a state."""
    return _toward_zero((total + offset) << up, down)


@step
def _keep(state, keep):
    """What a step leaves of a state."""
    return _toward_zero(state * keep, _DECAY_BITS)


@step
def _limit(x):
    """``x`` held inside 24 bits."""
    return min(max(x, -_TOP), _TOP)


@step
def _beyond(x):
    """0 where ``x`` fits into 32 bits."""
    return (x + _INT32) >> 32


@step
def _place(unit, neurons):
    """Sample, first and last neuron of a unit."""
    blocks = (neurons + BLOCK - 1) // BLOCK
    sample = unit // blocks
    begin = (unit - sample * blocks) * BLOCK
    return sample, begin, min(begin + BLOCK, neurons)


@cpu_kernel
def cuba(total, message, table, current, voltage, lost, up, down, grow, shrink, graded, first, last, lo, hi):
    """Lava's bit-accurate LIF; what enters the voltage is multiplied by 2**grow and divided by 2**shrink."""
    for unit in range(lo, hi):
        n, a, b = _place(unit, total.shape[2])
        offset, bias, level = table[OFFSET, a:b], table[BIAS, a:b], table[THRESHOLD, a:b]
        keep_u, keep_v = table[CURRENT_KEEP, a:b], table[VOLTAGE_KEEP, a:b]
        us, vs = current[n, a:b], voltage[n, a:b]
        gone = 0
        for t in range(first, last):
            x, sent = total[n, t, a:b], message[n, t, a:b]
            for k in range(b - a):
                increment = _arrive(x[k], offset[k], up, down)
                u = _keep(us[k], keep_u[k]) + increment
                gone |= _beyond(u) | _beyond(increment)
                u = u - 2 * _WRAP if u > _WRAP else (u + 2 * _WRAP if u <= -_WRAP else u)
                v = _limit(_keep(vs[k], keep_v[k]) + _toward_zero((u + bias[k]) << grow, shrink))
                fires = v > level[k]
                sent[k] = (v if graded else 1) if fires else 0
                us[k] = u
                vs[k] = 0 if fires else v
        lost[unit] |= gone


@cpu_kernel
def alif(total, message, table, current, voltage, threshold, refractory, up, down, graded, first, last, lo, hi):
    """The integrator whose spikes raise its threshold and start a refractory part; no spike resets it."""
    for unit in range(lo, hi):
        n, a, b = _place(unit, total.shape[2])
        offset, base, rise = table[OFFSET, a:b], table[THRESHOLD, a:b], table[RISE, a:b]
        keep_u, keep_v = table[CURRENT_KEEP, a:b], table[VOLTAGE_KEEP, a:b]
        keep_th, keep_r = table[THRESHOLD_KEEP, a:b], table[REFRACTORY_KEEP, a:b]
        us, vs, ths, rs = current[n, a:b], voltage[n, a:b], threshold[n, a:b], refractory[n, a:b]
        for t in range(first, last):
            x, sent = total[n, t, a:b], message[n, t, a:b]
            for k in range(b - a):
                u = _limit(_keep(us[k], keep_u[k]) + _arrive(x[k], offset[k], up, down))
                v = _limit(_keep(vs[k], keep_v[k]) + u)
                r = _keep(rs[k], keep_r[k])
                th = _keep(ths[k] - base[k], keep_th[k]) + base[k]
                fires = v >= th + r
                sent[k] = (v if graded else 1) if fires else 0
                us[k], vs[k] = u, v
                ths[k] = _limit(th + rise[k]) if fires else th
                rs[k] = _limit(r + 2 * th) if fires else r


@cpu_kernel
def resonate(
    total, total_imag, message, table, real, imag, threshold, refractory, up, down, up_imag, down_imag, phase,
    adaptive, graded, first, last, lo, hi,
):  # fmt: skip
    """Resonators that fire by ``phase`` or by their imaginary part, their threshold ``adaptive`` or fixed."""
    for unit in range(lo, hi):
        n, a, b = _place(unit, total.shape[2])
        offset, offset_imag = table[OFFSET, a:b], table[OFFSET_IMAG, a:b]
        sin, cos, base, rise = table[SIN, a:b], table[COS, a:b], table[LEVEL, a:b], table[RISE, a:b]
        keep_th, keep_r = table[THRESHOLD_KEEP, a:b], table[REFRACTORY_KEEP, a:b]
        res, ims, ths, rs = real[n, a:b], imag[n, a:b], threshold[n, a:b], refractory[n, a:b]
        for t in range(first, last):
            x, y, sent = total[n, t, a:b], total_imag[n, t, a:b], message[n, t, a:b]
            for k in range(b - a):
                dx = _arrive(x[k], offset[k], up, down)
                dy = _arrive(y[k], offset_imag[k], up_imag, down_imag)
                re = _limit(_keep(res[k], cos[k]) - _keep(ims[k], sin[k]) + dx)
                im = _limit(_keep(res[k], sin[k]) + _keep(ims[k], cos[k]) + dy)
                r = _keep(rs[k], keep_r[k])
                th = _keep(ths[k] - base[k], keep_th[k]) + base[k]
                level = th + r
                crosses = (im >= 0) & (ims[k] < 0)
                fires = ((re >= level) & crosses) if phase else im >= level
                sent[k] = ((re if phase else im) if graded else 1) if fires else 0
                resets = fires and not phase and not adaptive
                res[k] = 0 if resets else re
                ims[k] = base[k] - 1 if resets else im
                if adaptive:
                    ths[k] = _limit(th + rise[k]) if fires else th
                    rs[k] = _limit(r + 2 * th) if fires else r


@cpu_kernel
def sigma_delta(
    total, message, table, sigma, activation, residue, error, lost, up, down, grow, finer, sums, cumulative, carry,
    first, last, lo, hi,
):  # fmt: skip
    """Lava's SigmaDelta, and Delta where it does not ``sums``; all but ``sigma`` in units finer by 2**finer.

    What is activated is ``sigma`` and its bias times 2**grow, held inside a smallest and a largest value.
    """
    drop = 6 + finer  # a message has six fractional bits less than a state
    for unit in range(lo, hi):
        n, a, b = _place(unit, total.shape[2])
        offset, bias, level = table[OFFSET, a:b], table[ACT_BIAS, a:b], table[ACT_THRESHOLD, a:b]
        low, high = table[ACT_LOW, a:b], table[ACT_HIGH, a:b]
        ss, acts, rests, errors = sigma[n, a:b], activation[n, a:b], residue[n, a:b], error[n, a:b]
        gone = 0
        for t in range(first, last):
            x, sent = total[n, t, a:b], message[n, t, a:b]
            for k in range(b - a):
                s = (ss[k] if sums else 0) + _arrive(x[k], offset[k], up, down)
                act = min(max((s + bias[k]) << grow, low[k]), high[k])
                d = act - acts[k] + rests[k]
                e = errors[k] + d
                m = d if abs(e if cumulative else d) >= level[k] else 0
                payload = m >> drop
                gone |= _beyond(s) | _beyond(act >> finer) | _beyond(d >> finer)
                sent[k] = payload
                ss[k], acts[k] = s, act
                rests[k] = d - (payload << drop if carry else m)
                errors[k] = 0 if m != 0 else e
        lost[unit] |= gone
