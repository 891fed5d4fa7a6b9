import pytest
import torch

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.utils import time


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.float16])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 1, 2, 1, 2), (0, 3)])
def test_replicate_takes_any_rank_and_type(shape, dtype):
    x = torch.randint(0, 2, shape).to(dtype)
    for steps in (0, 1, 7):
        y = time.replicate(x, steps)
        assert (y.shape, y.dtype) == ((*shape, steps), dtype)
        assert y.is_contiguous()
        assert all(torch.equal(y[..., t], x) for t in range(steps))


def test_copies_are_memory_of_their_own():
    x = torch.zeros(2, 3)
    time.replicate(x, 1).fill_(1)
    assert not x.any()


def test_gradient_sums_over_time():
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: time.replicate(z, 4), x)


def test_negative_steps_raise():
    with pytest.raises(ParameterError, match="num_steps"):
        time.replicate(torch.zeros(2), -1)
