"""Where tensors meet kernels: what is accepted, what is refused in which words, and how parameters become rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import DeviceError, ParameterError, ShapeError
from lavadl_lite.kernels import launch, leaky
from tests import strategies


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_powers_of_two_become_integers():
    for bits in range(24):
        for given_as in (int, float, np.int64, np.float32):
            scale = launch.power_of_two(given_as(1 << bits), "scale")
            assert scale == 1 << bits
            assert type(scale) is int


@pytest.mark.parametrize("scale", [0, -1, -64, 3, 65, 0.5, 1.5, 1 << 24, float("inf"), float("-inf"), float("nan")])
def test_a_scale_that_is_no_power_of_two_is_refused(scale):
    with pytest.raises(ParameterError, match=r"expected w_scale to be a power of two in 1\.\.2\*\*23, got"):
        launch.power_of_two(scale, "w_scale")


@pytest.mark.parametrize("scale", ["64", None, [64], 64j])
def test_a_scale_that_is_no_number_is_refused(scale):
    with pytest.raises(ParameterError, match="expected w_scale to be a number"):
        launch.power_of_two(scale, "w_scale")


def run(make, dtype=np.float32):
    x, y = (make(np.full((3, 5), v, dtype)) for v in (0.5, 0))
    decay, initial = make(np.zeros(3, dtype)), make(np.zeros(0, dtype))
    leaky.forward(x, y, decay, initial, 5, 64.0, 1 << 20, rows=3, elements=15)
    return y


def test_arrays_and_tensors_give_the_same(torch):
    arrays, tensors = run(lambda a: a), run(torch.from_numpy)
    np.testing.assert_array_equal(arrays, np.cumsum(np.full((3, 5), 0.5), 1))
    np.testing.assert_array_equal(arrays, tensors.numpy())


def test_read_only_arrays_can_be_read():
    x, y = np.full((3, 5), 0.5, np.float32), np.zeros((3, 5), np.float32)
    x.flags.writeable = False
    leaky.forward(x, y, np.zeros(3, np.float32), x[:0, 0], 5, 64.0, 1 << 20, rows=3, elements=15)
    assert y[0].tolist() == [0.5, 1, 1.5, 2, 2.5]


def test_another_device_is_refused(torch):
    with pytest.raises(DeviceError, match="expected tensors on 'cpu' or 'cuda', got meta"):
        run(lambda a: torch.from_numpy(a).to("meta"))


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_ready_is_contiguous_and_equal(torch, layout):
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    tensor = strategies.laid_out(x, layout).requires_grad_()
    prepared = launch.ready(tensor)
    assert prepared.is_contiguous()
    assert not prepared.is_neg()
    assert not prepared.requires_grad
    np.testing.assert_array_equal(prepared.numpy(), x)


def test_empty_is_fresh_float32(torch):
    for shape in ((), (0, 3), (2, 3), (1024, 1024 + 64)):
        a, b = (launch.empty(torch.Size(shape), torch.zeros(1)) for _ in range(2))
        assert a.shape == shape
        assert a.dtype == torch.float32
        assert a.data_ptr() != b.data_ptr() or a.numel() == 0
        assert a.isnan().all()  # under the tests' switch


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_every_floating_type_becomes_float32(torch, dtype):
    x = torch.ones(2, 3, dtype=getattr(torch, dtype))
    assert launch.floating(x).dtype == torch.float32
    assert (launch.floating(x) is x) == (dtype == "float32")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "bool", "complex64"])
def test_other_types_are_refused(torch, dtype):
    words = rf"expected x to be of a floating-point type, got torch\.{dtype}; use \.float"
    with pytest.raises(ParameterError, match=words):
        launch.floating(torch.ones(2, dtype=getattr(torch, dtype)), "x")


@pytest.mark.parametrize("value", [1.0, [1.0], None, np.ones(3, np.float32)])
def test_what_is_no_tensor_is_refused(torch, value):
    with pytest.raises(ParameterError, match=f"expected input to be a tensor, got {type(value).__name__}"):
        launch.floating(value)


@given(strategies.shapes(smallest=1), st.sampled_from(["one", "zero axes", "channel", "spatial", "rows"]))
def test_parameters_become_rows(shape, kind):
    torch = pytest.importorskip("torch")
    shape = shape[:-1]
    given_as = {"one": (1,), "zero axes": (), "channel": shape[1:2], "spatial": shape[1:], "rows": shape}[kind]
    parameter = torch.arange(int(np.prod(given_as)), dtype=torch.float32).reshape(given_as).requires_grad_()
    rows = launch.expand_rows(parameter, shape, "decay")
    # by NumPy's rules: channels stand second, all else in front of what is missing
    values = parameter.detach().numpy()
    if kind == "channel":
        values = values.reshape(-1, *[1] * (len(shape) - 2))
    truth = np.broadcast_to(values.reshape(()) if values.size == 1 else values, shape)
    np.testing.assert_array_equal(rows.detach().numpy(), truth)
    rows.sum().backward()
    assert parameter.grad.shape == given_as
    assert float(parameter.grad.sum()) == np.prod(shape)


def test_channels_are_never_taken_for_columns(torch):
    """D2: a (C,) parameter goes along axis 1, also where the last axis is as long."""
    rows = launch.expand_rows(torch.arange(3.0), (2, 3, 3, 3), "decay")
    np.testing.assert_array_equal(rows[0], np.arange(3.0)[:, None, None] + np.zeros((3, 3, 3)))


def test_one_value_without_a_gradient_stays_one(torch):
    for value in (torch.ones(1), torch.ones(()), torch.ones(3), torch.ones(1, requires_grad=True)):
        rows = launch.shared_rows(value, (2, 3), "decay")
        assert rows.shape == (value.shape if value.numel() == 1 and not value.requires_grad else (2, 3))
        assert bool((rows == 1).all())
    assert launch.shared_rows(torch.ones(1, dtype=torch.float64), (2, 3), "decay").dtype == torch.float32
    with pytest.raises(ParameterError, match="expected decay to be a tensor of real numbers, got float"):
        launch.shared_rows(1.0, (2, 3), "decay")


@pytest.mark.parametrize("given_as", [(2,), (5,), (4, 3), (3, 1), (1, 3), (2, 3, 4), (0,)])
def test_other_shapes_are_refused(torch, given_as):
    with pytest.raises(ShapeError) as caught:
        launch.expand_rows(torch.zeros(given_as), (2, 3, 4, 6), "decay")
    assert str(caught.value) == (
        f"expected decay of shape (1,) or (3,) or (3, 4, 6) for an input (2, 3, 4, 6, 'T'), got {given_as}"
    )


def test_the_words_for_an_input_of_one_axis(torch):
    with pytest.raises(ShapeError, match=r"expected decay of shape \(1,\) for an input \('T',\), got \(3,\)"):
        launch.expand_rows(torch.zeros(3), (), "decay")
