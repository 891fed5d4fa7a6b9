"""NumPy twins of synapses over a plane, position by position from their definition: exact on integers."""

import numpy as np

__all__ = ["convolution", "pooling", "transposed", "unpooling"]


def _reach(kernel, dilation):
    return dilation * (kernel - 1) + 1


def _pairs(kernel, positions, stride, padding, dilation, size):
    """``(position of the kernel, its entry, place in the plane)`` along one axis, where that place is inside."""
    for position in range(positions):
        for entry in range(kernel):
            place = position * stride + entry * dilation - padding
            if 0 <= place < size:
                yield position, entry, place


def convolution(x, weight, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, positions=None):
    """Sums over ``x`` (N, C, H, W, T) of ``weight`` (out, C / groups, h, w, 1) at ``positions`` of the kernel."""
    N, _, H, W, T = x.shape
    out, inputs, *kernel = weight.shape[:4]
    if positions is None:
        positions = [
            (size + 2 * p - _reach(k, d)) // s + 1
            for size, k, s, p, d in zip((H, W), kernel, stride, padding, dilation, strict=True)
        ]
    y = np.zeros((N, out, *positions, T), x.dtype)
    for o in range(out):
        first = o // (out // groups) * inputs
        for row, a, i in _pairs(kernel[0], positions[0], stride[0], padding[0], dilation[0], H):
            for column, b, j in _pairs(kernel[1], positions[1], stride[1], padding[1], dilation[1], W):
                for c in range(inputs):
                    y[:, o, row, column] += weight[o, c, a, b, 0] * x[:, first + c, i, j]
    return y


def transposed(x, weight, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """What each position of ``x`` (N, C, H, W, T) spreads by ``weight`` (C, out / groups, h, w, 1), summed."""
    N, C, H, W, T = x.shape
    _, outputs, *kernel = weight.shape[:4]
    sizes = [
        (size - 1) * s + _reach(k, d) - 2 * p
        for size, k, s, p, d in zip((H, W), kernel, stride, padding, dilation, strict=True)
    ]
    y = np.zeros((N, outputs * groups, *sizes, T), x.dtype)
    for c in range(C):
        first = c // (C // groups) * outputs
        for row, a, i in _pairs(kernel[0], H, stride[0], padding[0], dilation[0], sizes[0]):
            for column, b, j in _pairs(kernel[1], W, stride[1], padding[1], dilation[1], sizes[1]):
                for o in range(outputs):
                    y[:, first + o, i, j] += weight[c, o, a, b, 0] * x[:, c, row, column]
    return y


def pooling(x, weight, stride=None, padding=(0, 0), dilation=(1, 1)):
    """Sums of each channel by ``weight`` (1, 1, h, w, 1), the plane completed where the stride is the kernel's size."""
    kernel = weight.shape[2:4]
    stride = kernel if stride is None else stride
    positions = []
    for size, k, s, p, d in zip(x.shape[2:4], kernel, stride, padding, dilation, strict=True):
        length = next(n for n in range(size, size + k) if n % k == 0) if s == k else size
        positions.append((length + 2 * p - _reach(k, d)) // s + 1)
    channels = [
        convolution(x[:, c : c + 1], weight, stride, padding, dilation, 1, positions) for c in range(x.shape[1])
    ]
    return np.concatenate(channels, 1)


def unpooling(x, weight, stride=None, padding=(0, 0), dilation=(1, 1)):
    """What each position spreads by ``weight`` (1, 1, h, w, 1), each channel on its own."""
    stride = weight.shape[2:4] if stride is None else stride
    channels = [transposed(x[:, c : c + 1], weight, stride, padding, dilation) for c in range(x.shape[1])]
    return np.concatenate(channels, 1)
