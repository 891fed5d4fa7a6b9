"""Names of the surrogates, and the slopes that kernels take for them."""

import math
import subprocess
import sys

import pytest

from lavadl_lite.errors import ParameterError
from lavadl_lite.kernels.kinds import EXPONENTIAL, KINDS, kind_of, slope_of


def test_a_name_has_its_place():
    assert [kind_of(name) for name in KINDS] == [0, 1, 2, 3]
    assert KINDS[EXPONENTIAL] == "exponential"


@pytest.mark.parametrize("name", ["", "sigmoid", "Exponential", None, 0])
def test_another_name_is_refused(name):
    with pytest.raises(ParameterError, match=f"one of exponential, fast_sigmoid, arctan, triangle, got {name!r}"):
        kind_of(name)


@pytest.mark.parametrize("tau", [0.25, 1.0, 128.0])
def test_a_slope_makes_a_distance_of_tau_one_unit(tau):
    """An integer distance of ``tau * scale`` is one ``tau``; a power of two needs log2(e) of it to be a power of e."""
    scale = 4096
    for kind in range(len(KINDS)):
        unit = slope_of(kind, tau, scale) * tau * scale
        assert unit == pytest.approx(math.log2(math.e) if kind == EXPONENTIAL else 1)


def test_names_need_no_numba():
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
import lavadl_lite.kernels.kinds
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
