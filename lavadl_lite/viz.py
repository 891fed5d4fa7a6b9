"""Pictures of spikes, states and events with matplotlib, which is imported at their use; nothing is computed here."""

from __future__ import annotations

import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ParameterError, ShapeError

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.collections import EventCollection
    from matplotlib.container import BarContainer
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

    from .slayer.io import Event

__all__ = ["BLUE", "GREY", "ORANGE", "Frames", "animate_events", "matplotlib", "raster", "rates", "traces"]

BLUE, ORANGE, GREY = "#2f6db3", "#e0742b", "#8a8f98"

_MAX_TRACES = 32  # curves that can still be told apart, and more than fit


def matplotlib(module: str) -> Any:
    """``matplotlib.<module>``.

    Raises
    ------
    ImportError
        If matplotlib is not installed; it names the extra to install.
    """
    try:
        return import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'lavadl-lite[viz]'") from error


def raster(
    spikes: ArrayLike, ax: Axes | None = None, sampling_time: float = 1, color: Any = BLUE, **style: Any
) -> list[EventCollection]:
    """Draw a line for every spike, neurons from top to bottom.

    Parameters
    ----------
    spikes : array_like or Tensor, shape (..., T)
        Spikes of one sample; all axes before time are flattened to neurons.  What is not 0 is a spike.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default pyplot's current axes.
    sampling_time : float
        Time of a step, in the unit of the axis.
    color : colour or list of colours
        Of all neurons, or of each.
    **style
        Further arguments of ``Axes.eventplot``, for example ``linelengths``.

    Returns
    -------
    list of matplotlib.collections.EventCollection
        The spikes of each neuron.

    Raises
    ------
    ShapeError
        If there is no axis of time.
    """
    rows = _rows(spikes, "spikes")
    ax = _axes(ax)
    times = [row.nonzero()[0] * sampling_time for row in rows]
    drawn: Any = ax.eventplot(times, lineoffsets=range(len(times)), colors=color, **style) if times else []
    ax.set(
        xlabel="time step" if sampling_time == 1 else "time",
        ylabel="neuron",
        xlim=(-0.5 * sampling_time, (max(rows.shape[1], 1) - 0.5) * sampling_time),
        ylim=(max(len(rows), 1) - 0.4, -0.6),
    )
    _bare(ax)
    return drawn


def traces(
    voltage: ArrayLike,
    ax: Axes | None = None,
    threshold: ArrayLike | None = None,
    spikes: ArrayLike | None = None,
    sampling_time: float = 1,
    color: Any = BLUE,
    **style: Any,
) -> list[Line2D]:
    """Draw states over time, one step-shaped curve for each neuron.

    Parameters
    ----------
    voltage : array_like or Tensor, shape (..., T)
        States of one sample, of 32 neurons at most.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default pyplot's current axes.
    threshold : float or array_like, shape (..., T), optional
        Drawn dashed: one level, or a curve for each neuron.
    spikes : array_like or Tensor, shape (..., T), optional
        Marked on the curves where they are not 0.
    sampling_time : float
        Time of a step, in the unit of the axis.
    color : colour
        Of the curves.
    **style
        Further arguments of ``Axes.step`` for the curves, for example ``label``.

    Returns
    -------
    list of matplotlib.lines.Line2D
        The curves of the states.

    Raises
    ------
    ShapeError
        If there is no axis of time, there are too many neurons, or shapes differ.
    """
    rows = _rows(voltage, "voltage")
    if len(rows) > _MAX_TRACES:
        raise ShapeError(f"expected at most {_MAX_TRACES} neurons to draw, got {len(rows)}")
    fired = None if spikes is None else _rows(spikes, "spikes", rows.shape) != 0
    level = None if threshold is None else _array(threshold)
    if level is not None and level.ndim:
        level = _rows(level, "threshold", rows.shape)
    ax = _axes(ax)
    time = np.arange(rows.shape[1]) * sampling_time
    curves = ax.step(time, rows.T, where="post", color=color, **style) if len(rows) else []
    if level is not None and level.ndim:
        ax.step(time, level.T, where="post", color=ORANGE, linestyle="--")
    elif level is not None:
        ax.axhline(float(level), color=ORANGE, linestyle="--")
    if fired is not None:
        neurons, steps = fired.nonzero()
        ax.plot(time[steps], rows[neurons, steps], "o", markersize=4, color=ORANGE)
    ax.set(xlabel="time step" if sampling_time == 1 else "time", ylabel="state")
    _bare(ax)
    return curves


def rates(
    spikes: ArrayLike, ax: Axes | None = None, sampling_time: float = 1, color: Any = BLUE, **style: Any
) -> BarContainer:
    """Draw the spike rate of each neuron as a bar.

    Parameters
    ----------
    spikes : array_like or Tensor, shape (..., T)
        Spikes of one sample; all axes before time are flattened to neurons.  What is not 0 is a spike.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default pyplot's current axes.
    sampling_time : float
        Time of a step: rates are spikes per unit of it.
    color : colour or list of colours
        Of all neurons, or of each.
    **style
        Further arguments of ``Axes.bar``.

    Returns
    -------
    matplotlib.container.BarContainer
        The bars.

    Raises
    ------
    ShapeError
        If there is no axis of time, or no step in it.
    """
    rows = _rows(spikes, "spikes")
    if not rows.shape[1]:
        raise ShapeError("expected spikes of at least one step, got none")
    ax = _axes(ax)
    bars = ax.bar(np.arange(len(rows)), (rows != 0).mean(1) / sampling_time, color=color, **style)
    ax.set(xlabel="neuron", ylabel="spikes per step" if sampling_time == 1 else "rate")
    _bare(ax)
    return bars


class Frames:
    """Pictures of events with rows, each of ``1000 / frame_rate`` milliseconds, made when they are asked for.

    An index gives an array of uint8, shape (H, W, 3): channel 1 is red, 2 green, 0 blue; other channels are left out.

    Parameters
    ----------
    event : Event
        Events with rows.
    frame_rate : float
        Frames in a second of the recording, which begins at time 0.
    shape : tuple of int, optional
        Height and width, outside of which events are left out; by default what all events need.

    Raises
    ------
    ParameterError
        If the events have no rows, or the frame rate is not positive.
    """

    def __init__(self, event: Event, frame_rate: float = 24, shape: tuple[int, int] | None = None) -> None:
        self.cuts, columns = _timeline(event, frame_rate)
        if event.dim != 2:
            raise ParameterError("expected events with rows, got events of dim 1")
        self.x, self.y = (np.rint(columns[name]).astype(np.int64) for name in "xy")
        height, width = shape or tuple(max(int(place.max(initial=-1)) + 1, 1) for place in (self.y, self.x))
        self.shape = (height, width, 3)
        channel = np.rint(columns["c"]).astype(np.int64)
        self.seen = (
            (self.x >= 0) & (self.x < width) & (self.y >= 0) & (self.y < height) & (channel >= 0) & (channel < 3)
        )
        self.colour = (channel + 2) % 3  # 0, 1, 2: blue, red, green

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(f"expected a frame from 0 to {len(self) - 1}, got {index}")
        part = slice(self.cuts[index], self.cuts[index + 1])
        seen = self.seen[part]
        picture = np.zeros(self.shape, np.uint8)
        picture[self.y[part][seen], self.x[part][seen], self.colour[part][seen]] = 255
        return picture


def animate_events(
    event: Event,
    ax: Axes | None = None,
    frame_rate: float = 24,
    pre_compute_frames: bool = True,
    repeat: bool = True,
) -> FuncAnimation:
    """Animate a recording: pictures of events with rows, a raster that fills up for those without.

    In pictures channel 1 is red, 2 green and 0 blue.  In rasters channels have a colour each, and graded events are the
    larger the higher their payload.

    Parameters
    ----------
    event : Event
        What to show.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure that pyplot does not know, so that no notebook shows it on its own.
    frame_rate : float
        Frames per second, of the recording and of the animation.
    pre_compute_frames : bool
        Make all frames before the first is shown: smoother, at 3 bytes a pixel and frame.
    repeat : bool
        Begin again at the end.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        Keep it as long as it is to run.

    Raises
    ------
    ParameterError
        If the frame rate is not positive.
    """
    animation = matplotlib("animation")
    if ax is None:
        ax = matplotlib("figure").Figure(layout="constrained").add_subplot()
    draw, count = (_pictures if event.dim == 2 else _raster)(event, ax, frame_rate, pre_compute_frames)
    figure = ax.get_figure()
    return animation.FuncAnimation(figure, draw, frames=count, interval=1000 / frame_rate, repeat=repeat)


def _pictures(event: Event, ax: Axes, frame_rate: float, pre_compute_frames: bool) -> Any:
    """Draws frame ``i`` of a recording with rows; the number of frames."""
    pictures: Any = Frames(event, frame_rate)
    count, blank = len(pictures), np.zeros(pictures.shape, np.uint8)
    if pre_compute_frames:
        pictures = [pictures[i] for i in range(count)]
    image = ax.imshow(blank)

    def draw(index: int) -> list[Any]:
        image.set_data(pictures[index])
        return [image]

    return draw, count


def _raster(event: Event, ax: Axes, frame_rate: float, pre_compute_frames: bool) -> Any:
    """Draws a raster up to the end of frame ``i``, with a line there; the number of frames."""
    cuts, columns = _timeline(event, frame_rate)
    points = np.stack([columns["t"], columns["x"]], axis=1)
    size = np.full(len(points), 6.0)
    if event.graded and len(points):
        low, high = columns["p"].min(), columns["p"].max()
        size = 4 + 46 * (columns["p"] - low) / ((high - low) or 1)
    offsets = [points[:end] for end in cuts[1:]] if pre_compute_frames else None
    dots = ax.scatter(
        points[:, 0], points[:, 1], size, columns["c"], cmap="tab10", vmin=-0.5, vmax=9.5, marker=_marker(event)
    )
    line = ax.axvline(0, color=GREY, linewidth=0.8)
    last = 1000 / frame_rate * (len(cuts) - 1)
    ax.set(xlabel="time in ms", ylabel="neuron", xlim=(0, last), ylim=(columns["x"].max(initial=0) + 0.6, -0.6))

    def draw(index: int) -> list[Any]:
        end = cuts[index + 1]
        dots.set_offsets(points[:end] if offsets is None else offsets[index])
        dots.set_sizes(size[:end])
        dots.set_array(columns["c"][:end])
        line.set_xdata([1000 / frame_rate * (index + 1)] * 2)
        return [dots, line]

    return draw, len(cuts) - 1


def _marker(event: Event) -> str:
    return "o" if event.graded else "|"


def _timeline(event: Event, frame_rate: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Columns of the events in the order of time, and where in them each frame begins; the first begins at time 0."""
    if not 0 < frame_rate < math.inf:
        raise ParameterError(f"expected a positive frame_rate, got {frame_rate}")
    columns = event.columns()
    order = np.argsort(columns["t"], kind="stable")
    columns = {name: column[order] if len(column) else column for name, column in columns.items()}
    t = columns["t"]
    if len(t) and not np.isfinite(t[[0, -1]]).all():
        raise ParameterError("expected events at finite times")
    count = max(int(t[-1] * frame_rate // 1000) + 1, 1) if len(t) else 1
    cuts = np.searchsorted(t, np.arange(count + 1) * (1000 / frame_rate))
    cuts[-1] = len(t)
    return cuts, columns


def _array(values: Any) -> np.ndarray:
    """What matplotlib can draw: of a tensor a copy on the CPU, without its gradient."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _rows(values: Any, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    array = _array(values)
    if not array.ndim:
        raise ShapeError(f"expected {name} (..., T), got a number")
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    if shape is not None and rows.shape != shape:
        raise ShapeError(f"expected {name} of {shape[0]} neurons and {shape[1]} steps, got shape {array.shape}")
    return rows


def _axes(ax: Axes | None) -> Axes:
    return matplotlib("pyplot").gca() if ax is None else ax


def _bare(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
