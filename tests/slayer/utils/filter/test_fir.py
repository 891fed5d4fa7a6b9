import copy
import pickle

import numpy as np
import pytest
import torch

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.utils import filter


def test_default_response_is_exponential():
    fir = filter.FIR(time_constant=3, length=9)
    np.testing.assert_allclose(fir.filter, np.exp(-np.arange(9) / 3), rtol=1e-6)
    assert list(fir.state_dict()) == ["filter"]
    assert filter.FIR().filter.shape == (20,)


def test_response_is_given_as_anything_and_copied():
    taps = torch.tensor([1.0, 2.0])
    for response in (taps, taps.tolist(), taps.numpy(), (1, 2)):
        fir = filter.FIR(response)
        assert fir.filter.dtype == torch.float32
        assert fir.filter.tolist() == [1, 2]
        fir.filter.zero_()
    assert taps.tolist() == [1, 2]


def test_impulse_gives_the_response():
    impulse = torch.zeros(2, 3, 30)
    impulse[..., 4] = 1
    fir = filter.FIR(time_constant=4, length=10, sampling_time=0.5)
    expected = torch.zeros(2, 3, 30)
    expected[..., 4:14] = 0.5 * fir.filter
    assert torch.equal(fir(impulse), expected)


@pytest.mark.parametrize("sampling_time", [1, 0.5, 0.1])
def test_bank_works_with_any_sampling_time(sampling_time):
    bank = filter.FIRBank(3, filter_length=0.6 if sampling_time == 0.1 else 6, sampling_time=sampling_time)
    taps = {1: 6, 0.5: 12, 0.1: 6}[sampling_time]
    assert (bank.num_filter, bank.filter_length, bank.impulse_response.shape) == (3, taps, (3, taps))
    x = torch.randn(2, 4, 5, 30)
    y = bank(x)
    assert y.shape == (2, 12, 5, 30)
    for f, response in enumerate(bank.impulse_response):
        for c in range(4):
            expected = sampling_time * np.array([[np.convolve(row, response)[:30] for row in rows] for rows in x[:, c]])
            np.testing.assert_allclose(y[:, 4 * f + c].detach(), expected, atol=1e-5)


def test_bank_starts_as_a_convolution_of_torch_does():
    torch.manual_seed(7)
    bank = filter.FIRBank(4, 10, scale=2)
    torch.manual_seed(7)
    conv = torch.nn.Conv3d(1, 4, (1, 1, 10), bias=False)
    assert torch.equal(bank.weight, 2 * conv.weight)
    bank.load_state_dict(conv.state_dict())
    x = torch.randn(2, 3, 25)
    padded = torch.nn.functional.pad(x.reshape(2, 1, 1, 3, 25), (9, 0))
    torch.testing.assert_close(bank(x), conv(padded).reshape(2, 12, 25))


def test_bank_learns():
    bank = filter.FIRBank(2, 3).double()
    x = torch.randn(2, 2, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, _: bank(x), (x, bank.weight))


def test_response_of_a_bank_is_a_copy():
    bank = filter.FIRBank(2, 5)
    before = bank.weight.detach().clone()
    bank.impulse_response[:] = 0
    assert torch.equal(bank.weight, before)


def test_impossible_banks_raise():
    for arguments in ((0, 5), (2, 0), (2, 1, 3)):
        with pytest.raises(ParameterError, match="filter"):
            filter.FIRBank(*arguments)
    with pytest.raises(ShapeError, match="N, C"):
        filter.FIRBank(2, 3)(torch.zeros(4, 10))


@pytest.mark.parametrize("module", [filter.FIR(length=5), filter.FIRBank(2, 5)], ids=["fir", "bank"])
def test_modules_survive_copy_and_pickle(module):
    x = torch.randn(2, 3, 10)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(x), module(x))
    assert repr(module)
