"""A file is written whole or not at all, whatever comes in between."""

import os
import subprocess
import sys

import pytest

from lavadl_lite.files import whole_file


def test_a_new_file_and_one_that_is_replaced(tmp_path):
    path = tmp_path / "a"
    for content in (b"first", b"second"):
        with whole_file(os.fspath(path)) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_stands_for_the_old_file_until_the_end(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError(), KeyboardInterrupt(), SystemExit()], ids=repr)
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), whole_file(path) as file:  # noqa: PT012
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "none" / "a"):
        pass


FULL = """
import resource, sys
from lavadl_lite.files import whole_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as a full disk: the system takes no more bytes
try:
    with whole_file(sys.argv[1]) as file:
        file.write(bytes(5000))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
