import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.utils.int_utils import Q2Zero, right_shift_to_zero


def shifted(value, bits):
    return value >> bits if value >= 0 else -(-value >> bits)


def test_recorded_values():
    x = torch.tensor([-4097, -4096, -4095, -1, 0, 4095, 4096])
    assert right_shift_to_zero(x, 12).tolist() == [-1, -1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(("dtype", "width"), [(torch.int32, 32), (torch.int64, 64)])
@given(data=st.data())
def test_equals_division_of_python_integers(dtype, width, data):
    largest = 2 ** (width - 1) - 1
    drawn = data.draw(st.lists(st.integers(-largest - 1, largest), max_size=20))
    values = [*drawn, -largest - 1, -largest, largest]
    bits = data.draw(st.integers(0, width - 1))
    result = right_shift_to_zero(torch.tensor(values, dtype=dtype), bits)
    assert result.dtype == dtype
    assert result.tolist() == [shifted(value, bits) for value in values]


def test_other_types_and_shifts_raise():
    for dtype in (torch.float32, torch.int16, torch.bool):
        with pytest.raises(ParameterError, match="int32"):
            right_shift_to_zero(torch.zeros(2, dtype=dtype), 1)
    for bits in (-1, 32):
        with pytest.raises(ParameterError, match="bits"):
            right_shift_to_zero(torch.zeros(2, dtype=torch.int32), bits)


def test_truncation_passes_the_gradient():
    x = torch.tensor([-1.7, -0.2, 0.0, 0.9, 3e9], requires_grad=True)
    y = Q2Zero.apply(x)
    np.testing.assert_array_equal(y.detach().numpy(), np.trunc(x.detach().numpy()))
    grad = torch.randn(5)
    y.backward(grad)
    assert torch.equal(x.grad, grad)
