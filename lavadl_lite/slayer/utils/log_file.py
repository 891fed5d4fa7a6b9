"""The text files that keep a log of epochs: one line an epoch, one column a phase, lava-dl's layout."""

from __future__ import annotations

import math
import os
from itertools import zip_longest
from pathlib import Path

from ...errors import ParameterError

__all__ = ["Log", "path", "read", "write"]

Log = list[float | None]  # one entry an epoch, None where it had no samples

_TITLES = ("Train", "Valid", "Test")


def path(place: str | os.PathLike[str], name: str) -> Path:
    """File ``name`` in the folder ``place``; a string is put before the name as it is."""
    return Path(f"{place}{name}") if isinstance(place, str) else Path(place) / name


def write(file: Path, logs: list[Log]) -> None:
    """Write the logs of training, validation and testing, the whole file or nothing.

    A log that is nothing but None gets no column; elsewhere None is written as ``nan``.
    """
    columns = [any(value is not None for value in log) for log in logs]
    lines = ["#" + "".join(f" {title:<12}" for title, used in zip(_TITLES, columns, strict=True) if used)]
    for row in zip_longest(*logs):
        numbers = [math.nan if value is None else value for value, used in zip(row, columns, strict=True) if used]
        lines.append("".join(f"{number:12.6f} " for number in numbers))
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def read(file: Path) -> list[Log]:
    """Return the logs of training, validation and testing, of one length; ``nan`` and missing columns read as None.

    Raises
    ------
    ParameterError
        If the file is not of this layout; says where.
    """
    header, *lines = file.read_text(encoding="utf-8").splitlines() or [""]
    titles = header.removeprefix("#").split()
    if not header.startswith("#") or titles != [title for title in _TITLES if title in titles]:
        raise ParameterError(f'{file}, line 1: expected "#" and titles among {_TITLES}, got {header!r}')
    rows = []
    for number, line in enumerate(lines, start=2):
        try:
            values = [float(entry) for entry in line.split()]
        except ValueError:
            raise ParameterError(f"{file}, line {number}: expected numbers, got {line!r}") from None
        if values and len(values) != len(titles):
            raise ParameterError(f"{file}, line {number}: expected {len(titles)} columns, got {line!r}")
        if values:
            rows.append(dict(zip(titles, (None if math.isnan(value) else value for value in values), strict=True)))
    return [[row.get(title) for row in rows] for title in _TITLES]
