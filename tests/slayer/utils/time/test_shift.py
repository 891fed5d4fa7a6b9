"""A shift along time equals the moving of each row by itself."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.utils import time
from tests import strategies
from tests.reference import fixed_point


@settings(max_examples=60)
@given(strategies.shapes(smallest=1), st.booleans(), st.sampled_from([0.5, 1, 2]), strategies.generators())
def test_each_neuron_moves_by_its_own_steps(shape, individual, sampling_time, rng):
    x = rng.normal(size=shape).astype(np.float32)
    spatial = shape[1:-1] if individual else (1,)
    value = rng.uniform(-8, 8, spatial).astype(np.float32)
    moved = time.shift(torch.from_numpy(x), torch.from_numpy(value), sampling_time)
    steps = np.broadcast_to(np.trunc(value / np.float32(sampling_time)).astype(int), shape[:-1]).reshape(-1)
    truth = fixed_point.delay(x.reshape(-1, shape[-1]), steps).reshape(shape)
    np.testing.assert_array_equal(moved, truth)


def test_the_gradient_moves_back():
    x = torch.arange(5.0)[None].requires_grad_()
    time.shift(x, 2).backward(torch.arange(5.0)[None])
    assert x.grad.tolist() == [[2, 3, 4, 0, 0]]


def test_bad_arguments_are_refused():
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ShapeError, match="at least 2 dimensions"):
        time.shift(x[0, 0], 1)
    with pytest.raises(ShapeError, match="shift_val of 1 element or 3"):
        time.shift(x, torch.zeros(2))
    with pytest.raises(ParameterError, match="finite"):
        time.shift(x, float("nan"))
    with pytest.raises(ParameterError, match="sampling_time above 0"):
        time.shift(x, 1, 0)
