"""Recordings of events, and their way to tensors and back; files are in :mod:`.codecs`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ... import kernels
from ...errors import ParameterError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Event", "tensor_to_event"]

_Filled = TypeVar("_Filled", np.ndarray, Tensor)

_WORK = 8  # elements of other kernels that the work for an event weighs


class Event:
    """A recording of events: where, of which polarity and when.

    Members may be replaced at any time, for example by moved, floating-point coordinates.

    Parameters
    ----------
    x_event : array_like, shape (N,)
        Column, or index of the neuron; fractions are cut off.
    y_event : array_like, shape (N,), or None
        Row; fractions are cut off.  None for events without rows.
    c_event : array_like, shape (N,)
        Channel or polarity; fractions are cut off.
    t_event : array_like, shape (N,)
        Time in milliseconds.
    payload : array_like, shape (N,), optional
        Value that each event carries; without, events are binary.

    Attributes
    ----------
    x, y, c, t, p : ndarray, shape (N,)
        Copies of what was given; ``y`` is None for events without rows, ``p`` for binary ones.

    Raises
    ------
    ShapeError
        If an argument does not have one axis, or they differ in length.
    ParameterError
        If an argument does not hold real, finite numbers.
    """

    x: np.ndarray
    y: np.ndarray | None
    c: np.ndarray
    t: np.ndarray
    p: np.ndarray | None

    def __init__(self, x_event: Any, y_event: Any, c_event: Any, t_event: Any, payload: Any = None) -> None:
        self.x = _integers(x_event, "x_event")
        self.y = None if y_event is None else _integers(y_event, "y_event")
        self.c = _integers(c_event, "c_event")
        self.t = _numbers(t_event, "t_event").copy()
        self.p = None if payload is None else _numbers(payload, "payload").copy()
        self.columns()

    def __repr__(self) -> str:
        kind = "graded" if self.graded else "binary"
        return f"Event({len(self.x)} {kind} events, dim={self.dim})"

    @property
    def dim(self) -> int:
        """1 for events with ``x`` only, 2 for those with ``x`` and ``y``."""
        return 1 if self.y is None else 2

    @property
    def graded(self) -> bool:
        """Whether events carry a payload."""
        return self.p is not None

    def columns(self) -> dict[str, np.ndarray]:
        """Members by name as kernels and files take them, checked.

        Returns
        -------
        dict of ndarray, shape (N,)
            ``x``, ``y`` and ``c`` all int64, or all float64 where one holds fractions; ``t`` and ``p`` float64.  ``y``
            and ``p`` are empty where there are none.

        Raises
        ------
        ShapeError
            If a member does not have one axis, or they differ in length.
        ParameterError
            If a member does not hold real numbers.
        """
        given = {"x": self.x, "y": self.y, "c": self.c, "t": self.t, "p": self.p}
        columns = {k: _numbers(() if v is None else v, k, finite=False) for k, v in given.items()}
        for name in ("y", "c", "t", "p"):
            if given[name] is not None and len(columns[name]) != len(columns["x"]):
                raise ShapeError(f"expected {name} of {len(columns['x'])} events as x has, got {len(columns[name])}")
        fractions = any(columns[name].dtype.kind == "f" for name in "xyc" if given[name] is not None)
        types = {name: np.float64 if fractions or name in "tp" else np.int64 for name in columns}
        return {name: column.astype(types[name], copy=False) for name, column in columns.items()}

    def fill_tensor(
        self,
        empty_tensor: _Filled,
        sampling_time: float = 1,
        random_shift: bool = False,
        binning_mode: str = "OR",
    ) -> _Filled:
        """Put the events into a tensor, which is changed in place.

        Coordinates and ``t / sampling_time`` are rounded to the nearest whole number, halves to the even one.  Events
        outside the tensor are left out.  A tensor of one channel takes the events of the lowest channel that there is.

        Parameters
        ----------
        empty_tensor : Tensor or ndarray, shape (C, Y, X, T); for events without rows (C, 1, X, T) or (C, X, T)
            What is filled.  float32 and float64 in contiguous memory are filled as they are, others through a copy.
        sampling_time : float
            Milliseconds of a bin.
        random_shift : bool
            Move all events in time by a number of bins drawn from torch's generator: such that all stay inside, or,
            if they last longer than the tensor, such that it is inside of them.
        binning_mode : {'OR', 'SUM'}
            ``'OR'`` sets the bin of an event to ``1 / sampling_time``; ``'SUM'`` adds that for every event.  Graded
            events are always added, each as ``payload / sampling_time``.

        Returns
        -------
        Tensor or ndarray
            ``empty_tensor``.

        Raises
        ------
        ParameterError
            If an argument is not one of those described.
        ShapeError
            If the tensor has another number of axes, or members differ in length.
        DeviceError
            If the tensor is neither on a CPU nor on a CUDA device.
        """
        sampling_time = checked_time(sampling_time, "sampling_time")
        mode = binning_mode.upper() if isinstance(binning_mode, str) else binning_mode
        if mode not in ("OR", "SUM"):
            raise ParameterError(f"expected binning_mode 'OR' or 'SUM', got {binning_mode!r}")
        shape: tuple[int, int, int, int] = self._plane(empty_tensor)
        columns = self.columns()
        if not len(self.x):
            return empty_tensor
        if shape[0] == 1:
            columns["c"] = columns["c"] - columns["c"].min()
        start = _random_start(columns["t"], sampling_time, shape[-1]) if random_shift else 0
        target = _fillable(empty_tensor)

        like = kernels.launch.alike
        arrays = [like(columns[name], target) for name in "xyct"]
        numbers = [like(np.array([sampling_time]), target), start, *shape]
        size = {"rows": len(self.x), "elements": _WORK * len(self.x)}
        if mode == "OR" and not self.graded:
            kernels.events.mark(target, *arrays, *numbers, **size)
        else:
            kernels.events.add(target, *arrays, like(columns["p"], target), *numbers, **size)
        if target is not empty_tensor:
            empty_tensor[...] = target
        return empty_tensor

    def to_tensor(self, sampling_time: float = 1, dim: Sequence[int] | None = None) -> np.ndarray:
        """Array of the events, each bin set to ``1 / sampling_time``, or graded events added up.

        Parameters
        ----------
        sampling_time : float
            Milliseconds of a bin.
        dim : sequence of int, optional
            Shape of the result; by default what all events need, from index and time 0 on.

        Returns
        -------
        ndarray of float64, shape (C, Y, X, T); for events without rows (C, X, T)

        Raises
        ------
        ParameterError
            If ``sampling_time`` is not a positive number, or events whose extent is wanted are not finite.
        ShapeError
            If ``dim`` has another number of axes, or members differ in length.
        """
        sampling_time = checked_time(sampling_time, "sampling_time")
        if dim is None:
            columns = self.columns()
            positions = [columns[name] for name in ("cyx" if self.dim == 2 else "cx")]
            dim = [_extent(position) for position in (*positions, columns["t"] / sampling_time)]
        elif len(dim) != self.dim + 2:
            raise ShapeError(f"expected dim of {self.dim + 2} axes for events with dim={self.dim}, got {tuple(dim)}")
        return self.fill_tensor(np.zeros(tuple(dim)), sampling_time)

    def anim(
        self, fig: Any = None, frame_rate: float = 24, pre_compute_frames: bool = True, repeat: bool = True
    ) -> Any:
        """Animate the events; see :func:`lavadl_lite.viz.animate_events`.

        Parameters
        ----------
        fig : matplotlib.figure.Figure, optional
            Where to draw; by default a new figure, which no notebook shows on its own.
        frame_rate : float
            Frames per second, of the recording and of the animation.
        pre_compute_frames : bool
            Make all frames before the first is shown: smoother, at 3 bytes a pixel and frame.
        repeat : bool
            Begin again at the end.

        Returns
        -------
        matplotlib.animation.FuncAnimation
            To be saved, or shown by a notebook.
        """
        from ... import viz

        axes = None if fig is None else fig.add_subplot()
        return viz.animate_events(
            self, ax=axes, frame_rate=frame_rate, pre_compute_frames=pre_compute_frames, repeat=repeat
        )

    def show(
        self, fig: Any = None, frame_rate: float = 24, pre_compute_frames: bool = True, repeat: bool = False
    ) -> None:
        """Show the animation of :meth:`anim`, whose parameters these are, in a window, and wait until it is closed."""
        from ... import viz

        pyplot = viz.matplotlib("pyplot")
        figure = pyplot.figure() if fig is None else fig
        animation = self.anim(figure, frame_rate, pre_compute_frames, repeat)
        pyplot.show()
        animation.pause()  # kept alive until here

    def _plane(self, tensor: Any) -> tuple[int, int, int, int]:
        """C, Y, X, T of the tensor that is to be filled."""
        if not isinstance(tensor, np.ndarray | Tensor):
            raise ParameterError(f"expected a tensor or an array to fill, got {type(tensor).__name__}")
        shape = tuple(tensor.shape)
        if self.dim == 1 and len(shape) == 3:
            return shape[0], 1, shape[1], shape[2]
        if len(shape) != 4:
            expected = "(C, Y, X, T)" if self.dim == 2 else "(C, 1, X, T) or (C, X, T)"
            raise ShapeError(f"expected a tensor {expected} for events with dim={self.dim}, got {shape}")
        return shape[0], shape[1], shape[2], shape[3]


def tensor_to_event(spike_tensor: Tensor | np.ndarray, sampling_time: float = 1) -> Event:
    """Events of the entries of a tensor that are not zero, in the order of their indices.

    Parameters
    ----------
    spike_tensor : Tensor or ndarray, shape (C, X, T) or (C, Y, X, T)
        Spikes of ``1 / sampling_time``, or graded ones.
    sampling_time : float
        Milliseconds of a bin.

    Returns
    -------
    Event
        Without rows for three axes.  Payloads are the values times ``sampling_time``; where all are 1, within 1e-6,
        events are binary.

    Raises
    ------
    ParameterError
        If it is not a tensor or an array of real, finite numbers.
    ShapeError
        If it has another number of axes.
    """
    sampling_time = checked_time(sampling_time, "sampling_time")
    if not isinstance(spike_tensor, np.ndarray | Tensor):
        raise ParameterError(f"expected a tensor or an array, got {type(spike_tensor).__name__}")
    if spike_tensor.ndim not in (3, 4):
        raise ShapeError(f"expected a tensor (C, X, T) or (C, Y, X, T), got shape {tuple(spike_tensor.shape)}")
    array = _array(spike_tensor)
    index = array.nonzero()
    c, *y, x, bins = index
    payload = _numbers(array[index].astype(np.float64), "spike_tensor") * sampling_time
    binary = bool((np.abs(payload - 1) < 1e-6).all())
    return Event(x, y[0] if y else None, c, bins * sampling_time, None if binary else payload)


def checked_time(value: float, name: str) -> float:
    """``value``, a positive, finite number."""
    if not isinstance(value, int | float | np.integer | np.floating) or not 0 < value < math.inf:
        raise ParameterError(f"expected {name} to be a positive number, got {value!r}")
    return float(value)


def _array(values: Any) -> np.ndarray:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ParameterError(f"expected real numbers, got {array.dtype}")
    return array


def _numbers(values: Any, name: str, *, finite: bool = True) -> np.ndarray:
    """One axis of real numbers, not copied."""
    array = _array(values)
    if array.ndim != 1:
        raise ShapeError(f"expected {name} of shape (N,), got {array.shape}")
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ParameterError(f"expected {name} to be finite, got {array[~np.isfinite(array)][0]}")
    return array


def _integers(values: Any, name: str) -> np.ndarray:
    array = _numbers(values, name)
    if array.dtype.kind == "f" and (np.abs(array) >= 2.0**63).any():
        raise ParameterError(f"expected {name} to fit 64 bits, got {array[np.abs(array) >= 2.0**63][0]}")
    return array.astype(np.int64)


def _extent(positions: np.ndarray) -> int:
    """Length of an axis that holds all positions."""
    if not len(positions):
        return 0
    last = float(np.rint(positions.max()))
    if not math.isfinite(last):
        raise ParameterError(f"expected finite positions, got {last}")
    return max(int(last) + 1, 0)


def _random_start(t: np.ndarray, sampling_time: float, steps: int) -> int:
    """Bin that becomes the first one, drawn so that no event is lost that could be kept."""
    first, last = (int(np.rint(end / sampling_time)) for end in (t.min(), t.max()))
    low, high = sorted((first, last - steps + 1))
    return int(torch.randint(low, high + 1, ()))


def _fillable(tensor: _Filled) -> _Filled:
    """``tensor`` where kernels can write to it as it is, else a copy of it in float64."""
    if isinstance(tensor, np.ndarray):
        if tensor.dtype.kind not in "biuf" or not tensor.flags.writeable:
            raise ParameterError(f"expected a writeable array of real numbers to fill, got {tensor.dtype}")
        native = tensor.dtype in (np.float32, np.float64) and tensor.flags.carray
        return tensor if native else np.array(tensor, np.float64, order="C")
    if tensor.is_complex() or tensor.requires_grad:
        raise ParameterError("expected a tensor of real numbers without gradient to fill")
    native = tensor.dtype in (torch.float32, torch.float64) and tensor.is_contiguous() and not tensor.is_neg()
    return tensor if native else tensor.to(torch.float64, copy=True).contiguous()
