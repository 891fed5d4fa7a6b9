"""What our kernels are compared with: loops in plain torch, NumPy, and lava-dl where it is installed."""

import functools
import importlib
import warnings

import numpy as np
import torch

__all__ = ["cuba_loop", "delay_gather", "integer_cuba", "lava_dl", "leaky_loop", "numpy_fill"]


@functools.cache
def lava_dl():
    """lava-dl's slayer, or None where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("lava.lib.dl.slayer")
        except ImportError:
            return None


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, voltage, threshold, tau, rho):
        ctx.save_for_backward(voltage)
        ctx.numbers = threshold, tau, rho
        return (voltage > threshold).float()

    @staticmethod
    def backward(ctx, grad):
        (voltage,) = ctx.saved_tensors
        threshold, tau, rho = ctx.numbers
        return grad * (rho / (2 * tau)) * torch.exp(-(voltage - threshold).abs() / tau), None, None, None


def cuba_loop(x, current_decay, voltage_decay, threshold=1.0, tau=100.0, rho=0.1):
    """CUBA neurons as one writes them without a kernel: in floating point, unrounded, which is less work than ours."""
    keep_current, keep_voltage = 1 - current_decay / 4096, 1 - voltage_decay / 4096
    current = voltage = torch.zeros_like(x[..., 0])
    spikes = []
    for step in x.unbind(-1):
        current = keep_current * current + step
        voltage = keep_voltage * voltage + current
        spike = _Spike.apply(voltage, threshold, tau, rho)
        voltage = voltage * (1 - spike.detach())
        spikes.append(spike)
    return torch.stack(spikes, -1)


class _Integrator(torch.autograd.Function):
    """A leaky integrator in the integers of the hardware, one step after another; decays carry no gradient here."""

    @staticmethod
    def forward(ctx, x, decay, scale, level):
        ctx.keep = 1 - decay / 4096
        states = torch.zeros_like(x)
        state = torch.zeros(x.shape[:-1], dtype=torch.int64)
        for t in range(x.shape[-1]):
            product = state * (4096 - decay)
            state = torch.sign(product) * (torch.abs(product) >> 12) + (scale * x[..., t]).to(torch.int64)
            states[..., t] = state / scale
            if level is not None:
                state = state * (state < level)
        return states

    @staticmethod
    def backward(ctx, grad):
        g_x = torch.zeros_like(grad)
        held = torch.zeros_like(grad[..., 0])
        for t in range(grad.shape[-1] - 1, -1, -1):
            held = ctx.keep * held + grad[..., t]
            g_x[..., t] = held
        return g_x, None, None, None


def integer_cuba(x, current_decay, voltage_decay, threshold=1.0, tau=100.0, rho=0.1):
    """CUBA neurons with the arithmetic of ours, in passes over time: current, voltage, spikes."""
    current = _Integrator.apply(x, int(current_decay), 4096, None)
    voltage = _Integrator.apply(current, int(voltage_decay), 4096, int(threshold * 4096) + 1)
    return _Spike.apply(voltage, threshold, tau, rho)


def leaky_loop(x, decay):
    """Leaky integrators without rounding."""
    keep = 1 - decay / 4096
    state = torch.zeros_like(x[..., 0])
    states = []
    for step in x.unbind(-1):
        state = keep * state + step
        states.append(state)
    return torch.stack(states, -1)


def delay_gather(x, delay):
    """Channels of ``x`` (N, C, T) shifted by whole steps; the gradient of ``delay`` (C,) is a finite difference."""
    source = torch.arange(x.shape[-1]) - delay.detach().floor().long()[:, None]
    shifted = torch.where(source >= 0, x.gather(-1, source.clamp(min=0).expand_as(x)), 0.0)
    difference = torch.nn.functional.pad(shifted.detach(), (1, -1)) - shifted.detach()
    return shifted + difference * (delay - delay.detach())[:, None]


def numpy_fill(event, tensor):
    """Events in an array: rounded, those outside left out, then one assignment by their indices."""
    bins = np.rint(event.t).astype(np.int64)
    places = event.c, event.y, event.x, bins
    inside = np.logical_and.reduce([(at >= 0) & (at < size) for at, size in zip(places, tensor.shape, strict=True)])
    tensor[tuple(at[inside] for at in places)] = 1
