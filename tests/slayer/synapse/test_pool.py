"""What pooling does at the border and between channels; its sums are held to NumPy's in test_conv."""

import pytest
import torch

from lavadl_lite.slayer import synapse


@pytest.mark.parametrize(
    ("kernel", "size", "sums"),
    [
        (3, 8, [900, 900, 600]),
        (3, 7, [900, 900, 300]),
        (3, 10, [900, 900, 900, 300]),
        (4, 5, [1600, 400]),
        (4, 7, [1600, 1200]),
        (2, 5, [400, 400, 200]),
        (3, 2, [600]),
    ],
)
def test_the_last_kernel_is_completed_by_zeros_in_every_channel(kernel, size, sums):
    """Rows of channels and their borders stay apart (lava-dl sums the rows of two channels at the border)."""
    layer = synapse.Pool(kernel, weight_scale=100)
    x = torch.ones(1, 3, size, kernel, 2)  # one window wide
    truth = torch.tensor(sums, dtype=torch.float32)[:, None, None].expand(1, 3, -1, 1, 2)
    assert torch.equal(layer(x), truth)
    assert torch.equal(layer(x.transpose(2, 3)), truth.transpose(2, 3))
    assert layer.output_shape((3, size, kernel)) == (3, len(sums), 1)


def test_another_stride_is_not_completed():
    x = torch.ones(1, 2, 6, 6, 3)
    assert synapse.Pool(3, 2)(x).shape == (1, 2, 2, 2, 3)
    assert synapse.Pool(3, (2, 3))(torch.ones(1, 2, 6, 7, 3)).shape == (1, 2, 2, 3, 3)


def test_padding_and_dilation_stay_in_their_channel():
    x = torch.zeros(1, 2, 4, 4, 1)
    x[0, 1] = 1
    for layer in (synapse.Pool(2, padding=1), synapse.Pool(2, 1, dilation=2), synapse.Pool(3, 1, 1)):
        y = layer(x)
        assert not y[:, 0].any()
        assert y[:, 1].any()


def test_an_unpool_spreads_each_input_over_its_kernel():
    x = torch.arange(1.0, 9).reshape(1, 2, 2, 2, 1)
    truth = 3 * x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(synapse.Unpool(2, weight_scale=3)(x), truth)


def test_an_unpool_is_the_transpose_of_a_pool():
    pool, unpool = synapse.Pool((2, 3)), synapse.Unpool((2, 3))
    x = torch.randint(0, 9, (2, 3, 4, 6, 5)).float().requires_grad_()
    g = torch.randint(0, 9, (2, 3, 2, 2, 5)).float()
    pool(x).backward(g)
    assert torch.equal(x.grad, unpool(g))
