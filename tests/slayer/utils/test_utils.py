import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.utils import diagonal_mask, dotdict, event_rate, staticproperty
from tests import strategies


def test_attributes_are_keys():
    d = dotdict(a=1)
    d.b = 2
    assert (d.a, d["b"], d.missing) == (1, 2, None)
    del d.a
    assert d == {"b": 2}
    with pytest.raises(AttributeError, match="a"):
        del d.a


def test_dotdict_survives_copy_and_pickle():
    d = dotdict(a=[1, 2])
    for other in (copy.copy(d), copy.deepcopy(d), pickle.loads(pickle.dumps(d))):
        assert type(other) is dotdict
        assert other == d


def test_property_of_the_class_runs_at_every_read():
    class Counter:
        reads = 0

        @staticproperty
        def next():
            Counter.reads += 1
            return Counter.reads

    assert (Counter.next, Counter.next, Counter().next) == (1, 2, 3)


@given(dim=st.integers(1, 8), data=st.data())
def test_mask_keeps_the_nearest_diagonals(dim, data):
    count = data.draw(st.integers(1, 2 * dim + 1))
    expected = [[float(abs(i - j) <= count // 2) for j in range(dim)] for i in range(dim)]
    mask = diagonal_mask(dim, count)
    assert mask.dtype == torch.float32
    assert mask.tolist() == expected


@pytest.mark.parametrize("count", [0, -1, 10])
def test_impossible_masks_raise(count):
    with pytest.raises(ParameterError, match="num_diagonals"):
        diagonal_mask(4, count)


@given(shape=strategies.shapes(smallest=1), rng=strategies.generators())
def test_rate_leaves_out_the_first_step(shape, rng):
    x = np.where(rng.random(shape) < 0.3, rng.normal(size=shape), 0).astype(np.float32)
    counted = x if shape[-1] == 1 else x[..., 1:]
    assert event_rate(torch.from_numpy(x)) == pytest.approx((counted != 0).mean(), abs=1e-12)


def test_rate_without_elements():
    assert math.isnan(event_rate(torch.zeros(0, 3)))
    assert math.isnan(event_rate(torch.zeros(3, 0)))
    with pytest.raises(ShapeError, match="axes"):
        event_rate(torch.tensor(1.0))
