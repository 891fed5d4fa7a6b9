"""Writing files whole: under a name stands the old file or the new one, never a part of it.  Knows no format."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file to write to, which takes its name at the end, in one step.

    An error inside the block leaves a file of that name as it was, and nothing beside it.  Only a process that the
    system kills inside the block leaves something: a hidden file with the name and 32 digits.

    Parameters
    ----------
    path : path-like
        Where to write; its folder must exist.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the content is there before the name is
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
