"""Hostile files of every kind: refused with the place inside the file, or read as the valid network that they are."""

import numpy as np
import pytest

from tests.exchange.damaged import valid
from tests.exchange.guarded import Reader
from tests.exchange.hostile import HARMLESS, KINDS

FILES = 8  # of each kind; tests/benchmarks/hostile_files.py reads more


@pytest.fixture(scope="module")
def reader():
    with Reader() as reader:
        yield reader


@pytest.mark.parametrize("seed", range(8))
def test_what_they_are_made_from_is_valid(reader, tmp_path, seed):
    path = tmp_path / "a.net"
    path.write_bytes(valid(seed))
    assert reader.read(path)[:2] == ("read", "")


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files(reader, tmp_path, kind):
    path = tmp_path / "a.net"
    allowed = {"refused", "read"} if kind in HARMLESS else {"refused"}
    for i in range(FILES):
        path.unlink(missing_ok=True)
        KINDS[kind](np.random.default_rng([i, *kind.encode()]), path)
        outcome, message, _ = reader.read(path)
        assert outcome in allowed, f"{outcome}: {message}"


def test_the_reader_tells_what_went_wrong(tmp_path, monkeypatch):
    """A process that dies or answers nothing is noticed, and the next file has a new one."""
    path = tmp_path / "a.net"
    KINDS["no_files"](np.random.default_rng(0), path)
    with Reader() as reader:
        assert reader.read(path)[0] == "refused"
        reader._process.kill()
        assert reader.read(path)[0] == "crash"
        monkeypatch.setattr("tests.exchange.guarded.PATIENCE", 0.01)
        assert reader.read(path)[0] == "hang"
        monkeypatch.undo()
        assert reader.read(path)[0] == "refused"
