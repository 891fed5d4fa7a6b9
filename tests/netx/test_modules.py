"""Conversion of numbers around a network that runs in real time, and its delay."""

import numpy as np
import pytest

from lavadl_lite.errors import ParameterError
from lavadl_lite.netx.modules import FIFO, AbstractSeqModule, Dequantize, Quantize


def test_quantize():
    module = Quantize(6)
    np.testing.assert_array_equal(module(np.array([1.5, -0.26, 1 / 128])), [96, -17, 0])
    assert module(np.float32(2)).dtype == np.int32
    assert module.time_step == 2


def test_a_tensor_is_quantized_too():
    torch = pytest.importorskip("torch")
    assert Quantize(1)(torch.tensor([0.5], requires_grad=True)).tolist() == [1]


@pytest.mark.parametrize(("bits", "raw", "value"), [(24, 5, 5), (24, 1 << 23, -(1 << 23)), (24, -3, -3), (8, 255, -1)])
def test_dequantize(bits, raw, value):
    assert Dequantize(2, bits)(np.array([raw], np.int32)).tolist() == [value / 4]


def test_there_and_back():
    x = np.arange(-64, 64) / 16
    np.testing.assert_array_equal(Dequantize(4)(Quantize(4)(x)), x)


def test_fifo():
    fifo = FIFO(2)
    assert [fifo(i) for i in range(5)] == [None, None, 0, 1, 2]
    assert FIFO(0)(7) == 7


def test_the_next_step_is_prepared_in_the_background():
    class Counts(AbstractSeqModule):
        prepared = 0

        def forward(self, x):
            return x, self.prepared

        def post_forward(self):
            self.prepared += 1

    module = Counts()
    assert [module(x) for x in "abc"] == [("a", 0), ("b", 1), ("c", 2)]
    module.join()
    assert (module.time_step, module.prepared) == (3, 3)


@pytest.mark.parametrize("wrong", [lambda: Dequantize(0, 33), lambda: Dequantize(0, 0), lambda: FIFO(-1)])
def test_wrong_arguments(wrong):
    with pytest.raises(ParameterError, match="expected"):
        wrong()
