"""Importing Lava, where it is and where it is not."""

import dataclasses
import importlib.util
import subprocess
import sys

import pytest

from lavadl_lite.netx import _lava


def test_without_lava_the_message_says_how_to_install_it():
    code = "import sys; sys.modules['lava'] = None\nimport lavadl_lite.netx as netx\ntry: netx.hdf5\n"
    code += "except ImportError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install lava-nc==0.10.0" in done.stdout
    assert "netx.Simulator" in done.stdout


def test_only_the_dataclasses_of_one_module_get_a_hash():
    original = dataclasses.dataclass
    with _lava._hashable_dataclasses():
        assert dataclasses.dataclass is original or sys.version_info >= (3, 11)

        class Mine:
            value: int = 0

        class Theirs:
            value: int = 0

        Theirs.__module__ = _lava.MUTABLE_DEFAULTS
        mine, theirs = dataclasses.dataclass(Mine), dataclasses.dataclass(Theirs)
        assert mine.__hash__ is None
        assert (theirs.__hash__ is None) == (dataclasses.dataclass is original)
    assert dataclasses.dataclass is original


@pytest.mark.lava
@pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-nc is not installed")
def test_prepared_twice_is_prepared_once():
    _lava.prepare()
    before = dataclasses.dataclass
    _lava.prepare()
    assert dataclasses.dataclass is before
