"""The dense synapse against NumPy sums; its weight in all its forms."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer import synapse
from lavadl_lite.slayer.synapse.product import product
from tests import strategies


def half(weight):
    """A hook that can be pickled."""
    return weight / 2


@settings(max_examples=100)
@given(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9), strategies.times(), strategies.generators(),
       st.sampled_from(list(strategies.LAYOUTS)))  # fmt: skip
def test_sums_are_exact_where_every_partial_sum_is(N, inputs, outputs, T, rng, layout):
    """Quantised weights and binary spikes: any order of addition gives the same float32."""
    layer = synapse.Dense(inputs, outputs)
    weight = (rng.integers(-128, 128, (outputs, inputs)) / 32).astype(np.float32)
    layer.weight.data = torch.from_numpy(weight).reshape(outputs, inputs, 1, 1, 1)
    spikes = (rng.random((N, inputs, T)) < 0.4).astype(np.float32)
    ours = layer(strategies.laid_out(spikes, layout))
    np.testing.assert_array_equal(ours.detach().numpy(), np.einsum("oi,nit->not", weight, spikes))


@pytest.mark.parametrize("plane", [(3, 2), (3, 2, 4), (1, 1, 5)])
def test_a_plane_is_given_as_width_height_channels(plane):
    layer = synapse.Dense(plane, 6)
    width, height, channels = (*plane, 1)[:3]
    assert layer.weight.shape == (6, channels, height, width, 1)
    x = torch.rand(2, channels, height, width, 7)
    truth = np.einsum("ochw,nchwt->not", layer.weight.detach()[..., 0].double(), x.double())
    ours = layer(x)
    assert ours.shape == (2, 6, 1, 1, 7)
    np.testing.assert_allclose(ours.detach()[:, :, 0, 0], truth, rtol=0, atol=1e-6)


def test_five_axes_with_single_inputs_go_through_every_position():
    layer, x = synapse.Dense(3, 4), torch.rand(2, 3, 5, 6, 7)
    truth = torch.einsum("oi,nihwt->nohwt", layer.weight[:, :, 0, 0, 0], x)
    torch.testing.assert_close(layer(x), truth)


def test_initial_weights_are_those_of_torchs_convolution():
    torch.manual_seed(3)
    ours = synapse.Dense(5, 4, weight_scale=2).weight
    torch.manual_seed(3)
    theirs = torch.nn.Conv3d(5, 4, (1, 1, 1), bias=False).weight
    assert torch.equal(ours, 2 * theirs)
    assert ours.abs().max() <= 2 / math.sqrt(5)


def test_gradients_equal_autograd_of_the_sum():
    layer, x = synapse.Dense(5, 4), torch.rand(2, 5, 7, requires_grad=True)
    g = torch.rand(2, 4, 7)
    (layer(x) * g).sum().backward()
    torch.testing.assert_close(layer.weight.grad[:, :, 0, 0, 0], torch.einsum("not,nit->oi", g, x.detach()))
    torch.testing.assert_close(x.grad, torch.einsum("oi,not->nit", layer.weight.detach()[:, :, 0, 0, 0], g))


def test_weight_norm_trains_a_gain_and_a_direction():
    layer = synapse.Dense(5, 4)
    before, x = layer.weight.detach().clone(), torch.rand(2, 5, 7)
    y = layer(x)
    layer.enable_weight_norm()
    layer.enable_weight_norm()  # a second time changes nothing
    assert layer.weight_norm_enabled
    assert [n for n, _ in layer.named_parameters()] == ["weight_g", "weight_v"]
    assert layer.weight_g.shape == (4, 1, 1, 1, 1)
    torch.testing.assert_close(layer.weight, before)
    torch.testing.assert_close(layer(x), y)
    layer.weight_g.data *= 2
    direction = layer.weight_v.detach().flatten(1)
    truth = layer.weight_g.detach().flatten(1) * direction / direction.norm(dim=1, keepdim=True)
    torch.testing.assert_close(layer.weight.flatten(1), truth)
    layer(x).sum().backward()
    assert layer.weight_g.grad.any()
    layer.disable_weight_norm()
    layer.disable_weight_norm()
    assert [n for n, _ in layer.named_parameters()] == ["weight"]
    torch.testing.assert_close(layer.weight.flatten(1), truth)


def test_weight_norm_from_the_constructor_begins_with_the_same_weights():
    torch.manual_seed(3)
    plain = synapse.Dense(5, 4)
    torch.manual_seed(3)
    normed = synapse.Dense(5, 4, weight_norm=True)
    torch.testing.assert_close(normed.weight, plain.weight)


def test_a_mask_takes_weights_out_before_the_hook():
    layer = synapse.Dense(3, 2, pre_hook_fx=lambda w: w + 1)
    mask = torch.tensor([[1.0, 0, 1], [0, 0, 1]]).reshape(2, 3, 1, 1, 1)
    torch.testing.assert_close(layer.effective_weight(mask), layer.weight * mask + 1)
    layer(torch.ones(1, 3, 4), mask).sum().backward()
    assert (layer.weight.grad * (1 - mask)).abs().max() == 0


def test_a_mask_holds_under_weight_norm():
    """lava-dl multiplies it into a derived weight, which the next forward computes anew."""
    layer = synapse.Dense(3, 2, weight_norm=True)
    mask = torch.tensor([[1.0, 0, 1], [0, 0, 1]]).reshape(2, 3, 1, 1, 1)
    x = torch.rand(1, 3, 4)
    truth = torch.einsum("oi,nit->not", (layer.weight * mask)[:, :, 0, 0, 0], x)
    torch.testing.assert_close(layer(x, mask), truth)


def test_the_hook_is_applied_at_each_use():
    layer, x = synapse.Dense(3, 2), torch.rand(1, 3, 4)
    assert layer.pre_hook_fx is None
    y = layer(x)
    layer.pre_hook_fx = half
    torch.testing.assert_close(layer(x), y / 2)


def test_grad_norm():
    layer = synapse.Dense(3, 2)
    assert layer.grad_norm == 0
    layer(torch.rand(1, 3, 4)).sum().backward()
    grad = layer.weight.grad.numpy()
    assert layer.grad_norm == pytest.approx(np.sqrt((grad**2).sum()) / grad.size)
    layer.enable_weight_norm()
    assert layer.grad_norm == 0
    layer(torch.rand(1, 3, 4)).sum().backward()
    assert layer.grad_norm == pytest.approx(float(layer.weight_g.grad.norm()) / 2)


def test_shape_and_flags():
    for weight_norm in (False, True):
        layer = synapse.Dense(3, 2, weight_norm=weight_norm)
        assert layer.shape == (2, 3, 1, 1, 1)
        assert not layer.complex
        assert (layer.in_channels, layer.out_channels) == (3, 2)


@pytest.mark.parametrize("weight_norm", [False, True])
def test_state_dict_has_lava_dls_names(weight_norm):
    layer = synapse.Dense(3, 2, weight_norm=weight_norm)
    assert list(layer.state_dict()) == (["weight_g", "weight_v"] if weight_norm else ["weight"])
    other = synapse.Dense(3, 2, weight_norm=weight_norm)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight, layer.weight)


def test_torchs_parametrized_names_load():
    theirs = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv3d(3, 2, 1, bias=False))
    ours = synapse.Dense(3, 2, weight_norm=True)
    given_as = theirs.state_dict()
    names = list(given_as)
    ours.load_state_dict(given_as)
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert list(given_as) == names
    # and as a child, where a parent checks for unexpected names
    parent, child = torch.nn.Sequential(ours), torch.nn.Sequential(theirs)
    parent.load_state_dict(child.state_dict())


@pytest.mark.parametrize("weight_norm", [False, True])
def test_copies_and_pickles(weight_norm):
    layer, x = synapse.Dense(3, 2, weight_norm=weight_norm, pre_hook_fx=half), torch.rand(1, 3, 4)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
        assert other.weight_norm_enabled == weight_norm


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_are_computed_in_float32_and_come_back(dtype):
    layer, x = synapse.Dense(3, 2), torch.rand(1, 3, 4).to(dtype)
    y = layer(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y, layer(x.float()).to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 3, 0), (0, 3, 1, 1, 5)])
def test_nothing_in_nothing_out(shape):
    layer, x = synapse.Dense(3, 2), torch.zeros(shape, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (shape[0], 2, *shape[2:])
    assert not layer.weight.grad.any()


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 4, 5), (2, 3, 4, 5), (2, 4, 1, 1, 5)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match=r"expected an input \(N, 3, T\) or \(N, 3, H, W, T\), got shape \("):
        synapse.Dense(3, 2)(torch.ones(shape))


def test_a_plane_is_not_applied_to_channels():
    with pytest.raises(ShapeError, match=r"\(N, C, H, W, T\) for a kernel over a plane"):
        synapse.Dense((2, 2, 3), 2)(torch.ones(1, 3, 5))


@pytest.mark.parametrize("x", [torch.ones(2, 3, 5, dtype=torch.int32), torch.ones(2, 3, 5, dtype=torch.bool)])
def test_integers_are_refused(x):
    with pytest.raises(ParameterError, match=f"floating-point type, got {x.dtype}"):
        synapse.Dense(3, 2)(x)


def test_arrays_are_refused():
    with pytest.raises(ParameterError, match="expected input to be a tensor, got ndarray"):
        synapse.Dense(3, 2)(np.ones((2, 3, 5), np.float32))


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("expected in_neurons of 1 or more, got 0", (0, 3)),
        ("expected out_neurons of 1 or more, got 0", (3, 0)),
        (r"expected in_neurons of 1 or more, got \(4, -1\)", ((4, -1), 3)),
        ("expected in_neurons to be an int", (2.0, 3)),
        ("expected in_neurons to be an int", (None, 3)),
        ("expected in_neurons to be an int", (True, 3)),
        ("expected in_neurons to be an int", ("3", 3)),
        (r"expected in_neurons to be an int, \(W, H\) or \(W, H, C\), got \(1, 2, 3, 4\)", ((1, 2, 3, 4), 3)),
        ("expected in_neurons to be an int", ((1, 2.0), 3)),
        ("expected out_neurons to be an int", (3, (2,))),
        ("expected out_neurons to be an int", (3, 2.5)),
        ("expected out_neurons to be an int", (3, None)),
        ("expected a finite weight_scale, got nan", (3, 2, float("nan"))),
    ],
)
def test_bad_arguments_are_refused(words, arguments):
    with pytest.raises(ParameterError, match=words):
        synapse.Dense(*arguments)


def test_numpys_integers_are_integers():
    assert synapse.Dense(np.int64(3), np.int32(2)).shape == (2, 3, 1, 1, 1)


def test_the_product_has_the_gradients_of_a_plain_one():
    """In double precision, with nothing in it, for a second derivative, and under torch.func."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    for samples, steps in ((3, 7), (1, 1), (0, 7), (3, 0)):
        x = torch.randn(samples, 4, steps, generator=generator, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(product, (weight, x))
        assert torch.autograd.gradgradcheck(product, (weight, x))
    x = torch.randn(3, 4, 7, generator=generator, dtype=torch.float64)
    ours = torch.func.grad(lambda w: product(w, x).square().sum())(weight.detach())
    torch.testing.assert_close(ours, torch.func.grad(lambda w: (w @ x).square().sum())(weight.detach()))


def test_short_sequences_of_large_layers_are_one_product():
    """The same sums, gradients and second derivatives; spikes that are sent on lie in order."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-128, 128, (300, 500), generator=generator) / 32
    x = (torch.rand(3, 500, 5, generator=generator) < 0.3).float()
    grad = torch.randn(3, 300, 5, generator=generator)
    weight.requires_grad_(), x.requires_grad_()
    y = product(weight, x)
    assert y.is_contiguous()
    assert torch.equal(y, torch.einsum("oi,nit->not", weight, x))
    first = torch.autograd.grad(y, (weight, x), grad, create_graph=True)
    doubles = [value.detach().double().requires_grad_() for value in (weight, x)]
    truth = torch.autograd.grad(torch.matmul(*doubles), doubles, grad.double(), create_graph=True)
    for a, b in zip(first, truth, strict=True):
        assert (a - b).abs().max() < 1e-6 * b.abs().max()
    second, expected = (
        torch.autograd.grad(g_w.square().sum() + g_x.square().sum(), leaves)
        for (g_w, g_x), leaves in ((first, (weight, x)), (truth, doubles))
    )
    for a, b in zip(second, expected, strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max()


@pytest.mark.parametrize("samples", [2, 40])
def test_the_weights_gradient_is_summed_over_few_and_many_samples(samples):
    weight, x = torch.randn(30, 20, requires_grad=True), torch.randn(samples, 20, 7)
    grad = torch.randn(samples, 30, 7)
    product(weight, x).backward(grad)
    truth = torch.einsum("noi,nci->oc", grad.double(), x.double())
    assert (weight.grad - truth).abs().max() < 1e-6 * truth.abs().max()
