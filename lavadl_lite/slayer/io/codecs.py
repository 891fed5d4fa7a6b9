"""Files of events: five bytes an event, the layout of N-MNIST and its relative with wide x, and arrays of NumPy.

The first two bytes hold x in 16 bits, or x and y in 8 bits each; the others polarity in one bit and then the time in 23
bits, in microseconds.  All numbers begin with their most significant bits.
"""

from __future__ import annotations

import os
import tokenize
from pathlib import Path

import numpy as np

from ...errors import ExchangeError, ParameterError
from ...files import whole_file
from .event import Event, checked_time

__all__ = [
    "encode_1d_spikes", "encode_2d_spikes", "encode_np_spikes", "read_1d_spikes", "read_2d_spikes", "read_np_spikes",
]  # fmt: skip

_PathLike = str | os.PathLike[str]

_BYTES = 5  # of an event
_MICROSECONDS = 1000  # in a millisecond
_LAST = {"wide x": (1 << 16) - 1, "x": 255, "y": 255, "c": 1, "t": (1 << 23) - 1}


def read_1d_spikes(filename: _PathLike) -> Event:
    """Read binary events without rows from a file of five bytes an event.

    Parameters
    ----------
    filename : path-like
        The file.

    Returns
    -------
    Event
        ``x`` 0 to 65535, ``c`` 0 or 1, ``t`` in milliseconds up to 8388.607; in the order of the file.

    Raises
    ------
    ExchangeError
        If the file does not consist of whole events.
    OSError
        If there is no such file, or it may not be read.
    """
    data = _read(filename)
    return Event(data[0] << 8 | data[1], None, *_polarity_and_time(data))


def encode_1d_spikes(filename: _PathLike, td_event: Event) -> None:
    """Write binary events without rows, five bytes each; a file of that name is replaced in one step.

    Parameters
    ----------
    filename : path-like
        The file; its folder must exist.
    td_event : Event
        ``x`` 0 to 65535, ``c`` 0 or 1, ``t`` 0 to 8388.607 milliseconds; all rounded, the time to microseconds.

    Raises
    ------
    ParameterError
        If an event is outside these ranges, has a row or carries a payload; nothing is written.
    OSError
        If the file cannot be written.
    """
    columns = _checked(td_event, 1)
    x = _whole(columns["x"], "x", _LAST["wide x"])
    _write_words(filename, (x >> 8, x & 255), columns)


def read_2d_spikes(filename: _PathLike) -> Event:
    """Read binary events from a file of five bytes an event, the layout of N-MNIST and N-Caltech101.

    Parameters
    ----------
    filename : path-like
        The file.

    Returns
    -------
    Event
        ``x`` and ``y`` 0 to 255, ``c`` 0 or 1, ``t`` in milliseconds up to 8388.607; in the order of the file.

    Raises
    ------
    ExchangeError
        If the file does not consist of whole events.
    OSError
        If there is no such file, or it may not be read.
    """
    data = _read(filename)
    return Event(data[0], data[1], *_polarity_and_time(data))


def encode_2d_spikes(filename: _PathLike, td_event: Event) -> None:
    """Write binary events, five bytes each; a file of that name is replaced in one step.

    Parameters
    ----------
    filename : path-like
        The file; its folder must exist.
    td_event : Event
        ``x`` and ``y`` 0 to 255, ``c`` 0 or 1, ``t`` 0 to 8388.607 milliseconds; all rounded, the time to microseconds.

    Raises
    ------
    ParameterError
        If an event is outside these ranges, has no row or carries a payload; nothing is written.
    OSError
        If the file cannot be written.
    """
    columns = _checked(td_event, 2)
    _write_words(filename, tuple(_whole(columns[name], name, _LAST[name]) for name in "xy"), columns)


def read_np_spikes(filename: _PathLike, fmt: str = "xypt", time_unit: float = 1e-3) -> Event:
    """Read binary events from an array in a ``.npy`` file.

    Parameters
    ----------
    filename : path-like
        The file.  Its array has a row for each event, with columns x, y, polarity, time, or x, polarity, time.
    fmt : str
        Order of the columns: ``"xypt"`` is the only one, for three columns too.
    time_unit : float
        Seconds that the file counts times in.

    Returns
    -------
    Event
        Without rows for three columns.

    Raises
    ------
    ExchangeError
        If the file is damaged, or holds anything but finite numbers in three or four columns, with x, y and polarity
        whole and not negative.
    ParameterError
        If ``fmt`` or ``time_unit`` is none of those described.
    OSError
        If there is no such file, or it may not be read.
    """
    unit = _milliseconds(fmt, time_unit)
    array = _read_array(Path(filename))
    if array.ndim != 2 or array.shape[1] not in (3, 4):
        raise ExchangeError(f"{filename}: expected an array of 3 or 4 columns, got shape {array.shape}")
    *places, t = array.T
    for name, place in zip("xyp" if len(places) == 3 else "xp", places, strict=True):
        wrong = (place < 0) | (place != np.rint(place)) | (place >= 1 << 53)
        if wrong.any():
            raise ExchangeError(f"{filename}: expected {name} to be a whole number from 0, got {place[wrong][0]}")
    x, *y, c = places
    return Event(x, y[0] if y else None, c, t * unit)


def encode_np_spikes(filename: _PathLike, td_event: Event, fmt: str = "xypt", time_unit: float = 1e-3) -> None:
    """Write binary events as an array of float64 in a ``.npy`` file, which is replaced in one step.

    Parameters
    ----------
    filename : path-like
        The file, written under this name as it is; its folder must exist.
    td_event : Event
        With rows it gives columns x, y, polarity, time; without x, polarity, time.  Positions are rounded.
    fmt : str
        Order of the columns: ``"xypt"`` is the only one, for three columns too.
    time_unit : float
        Seconds to count times in.

    Raises
    ------
    ParameterError
        If positions are negative or anything is not finite, an event carries a payload, or ``fmt`` or ``time_unit`` is
        none of those described; nothing is written.
    OSError
        If the file cannot be written.
    """
    unit = _milliseconds(fmt, time_unit)
    columns = _checked(td_event)
    places = [_whole(columns[name], name, (1 << 53) - 1) for name in ("xyc" if td_event.dim == 2 else "xc")]
    array = np.stack([*places, columns["t"] / unit], axis=1, dtype=np.float64)
    with whole_file(filename) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _read(filename: _PathLike) -> np.ndarray:
    """Bytes of a file as int64, shape (5, N)."""
    data = Path(filename).read_bytes()
    if len(data) % _BYTES:
        raise ExchangeError(f"{filename}: expected a multiple of {_BYTES} bytes, got {len(data)}: cut off?")
    return np.frombuffer(data, np.uint8).reshape(-1, _BYTES).T.astype(np.int64)


def _polarity_and_time(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return data[2] >> 7, ((data[2] & 127) << 16 | data[3] << 8 | data[4]) / _MICROSECONDS


def _write_words(filename: _PathLike, places: tuple[np.ndarray, ...], columns: dict[str, np.ndarray]) -> None:
    c = _whole(columns["c"], "c", _LAST["c"])
    t = _whole(columns["t"] * _MICROSECONDS, "t in microseconds", _LAST["t"])
    words = np.stack([*places, c << 7 | t >> 16, t >> 8 & 255, t & 255], axis=1).astype(np.uint8)
    with whole_file(filename) as file:
        file.write(words.tobytes())


def _read_array(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file, in float64; no more memory is asked for than the file has bytes."""
    if not path.stat().st_size:
        raise ExchangeError(f"{path}: expected an array, got an empty file")
    try:
        mapped = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except (ValueError, EOFError, OverflowError, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise ExchangeError(f"{path}: expected a whole .npy file of numbers: {error}") from error
    size = mapped.offset + mapped.nbytes
    if path.stat().st_size != size:
        raise ExchangeError(f"{path}: expected {size} bytes for shape {mapped.shape}, got {path.stat().st_size}")
    if mapped.dtype.kind not in "biuf":
        raise ExchangeError(f"{path}: expected real numbers, got {mapped.dtype}")
    array = np.array(mapped, np.float64)
    if not np.isfinite(array).all():
        raise ExchangeError(f"{path}: expected finite numbers, got {array[~np.isfinite(array)][0]}")
    return array


def _milliseconds(fmt: str, time_unit: float) -> float:
    """Milliseconds in the file's unit of time."""
    if fmt != "xypt":
        raise ParameterError(f"expected fmt 'xypt', got {fmt!r}")
    return checked_time(time_unit, "time_unit") * 1000


def _checked(event: Event, dim: int | None = None) -> dict[str, np.ndarray]:
    """Columns of an event that a file can hold."""
    if not isinstance(event, Event):
        raise ParameterError(f"expected an Event, got {type(event).__name__}")
    if dim not in (None, event.dim):
        raise ParameterError(f"expected events of dim {dim}, got {event.dim}")
    if event.graded:
        raise ParameterError("expected binary events, got graded ones: the format has no place for p, set it to None")
    columns = event.columns()
    if not np.isfinite(columns["t"]).all():
        raise ParameterError("expected t to be finite")
    return columns


def _whole(values: np.ndarray, name: str, last: int) -> np.ndarray:
    rounded = np.rint(values)
    outside = ~((rounded >= 0) & (rounded <= last))
    if outside.any():
        raise ParameterError(f"expected {name} from 0 to {last}, got {values[outside][0]}")
    return rounded.astype(np.int64)
