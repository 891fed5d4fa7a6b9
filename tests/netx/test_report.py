"""The bits that weights need; the table itself is tested where the command prints it, in tests/test_cli.py."""

import numpy as np
import pytest

from lavadl_lite.netx._report import weight_bits


@pytest.mark.parametrize(
    ("weights", "bits"),
    [([0, 0], 0), ([1], 1), ([64, 128], 2), ([254], 7), ([-2], 1), ([-256, 254], 8), ([-256, 253], 9), ([-1, 1], 2)],
)
def test_weight_bits(weights, bits):
    assert weight_bits(np.array([weights], np.float32)) == bits
