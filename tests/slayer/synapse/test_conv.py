"""Synapses over a plane against NumPy sums, position by position; what they share, pooling included."""

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
from lavadl_lite.slayer.synapse import layer as module
from tests import strategies
from tests.reference import planes

few, sides, gaps = st.integers(1, 3), st.integers(1, 6), st.integers(1, 2)

# one of each kind, all of which take an input of 4 channels and 5 x 6 positions
KINDS = {
    "Conv": lambda **options: synapse.Conv(4, 6, (3, 2), 2, 1, groups=2, **options),
    "ConvTranspose": lambda **options: synapse.ConvTranspose(4, 6, (3, 2), 2, 1, groups=2, **options),
    "Pool": lambda **options: synapse.Pool((3, 2), **options),
    "Unpool": lambda **options: synapse.Unpool((3, 2), **options),
}
TWINS = {
    "Conv": planes.convolution,
    "ConvTranspose": planes.transposed,
    "Pool": planes.pooling,
    "Unpool": planes.unpooling,
}
kinds = pytest.mark.parametrize("kind", list(KINDS))
SHAPE = (2, 4, 5, 6, 7)


def half(weight):
    """A hook that can be pickled."""
    return weight / 2


@st.composite
def geometries(draw, spreads):
    """Sizes ``(H, W)`` and kernel, stride, padding, dilation as pairs, such that there is a result."""
    axes = []
    for _ in range(2):
        size, kernel, stride, dilation = draw(sides), draw(few), draw(few), draw(gaps)
        reach = dilation * (kernel - 1) + 1
        if spreads:
            padding = draw(st.integers(0, min(2, ((size - 1) * stride + reach - 1) // 2)))
        else:
            padding = draw(st.integers(max(0, math.ceil((reach - size) / 2)), 3))
        axes.append((size, kernel, stride, padding, dilation))
    return tuple(zip(*axes, strict=True))


def drawn_weight(rng, layer):
    """Integers for ``layer``, of 8 bits."""
    weight = rng.integers(-128, 128, layer.shape)
    layer.weight.data = torch.from_numpy(weight.astype(np.float32))
    return weight


def drawn_input(rng, shape):
    """Spikes, or graded ones that keep sums exact."""
    return rng.integers(*((0, 2) if rng.random() < 0.5 else (-50, 51)), shape)


def check_forward_and_gradients(rng, layer, twin, shape, layout):
    """Integers come out exact; gradients are the transposed sums, by probes of the bilinear twin."""
    weight, spikes = drawn_weight(rng, layer), drawn_input(rng, shape)
    layer.weight.requires_grad_()
    truth = twin(spikes, weight)
    x = strategies.laid_out(spikes.astype(np.float32), layout).requires_grad_()
    y = layer(x)
    np.testing.assert_array_equal(y.detach().numpy(), truth)
    assert layer.output_shape(shape[1:4]) == truth.shape[1:4]
    g = rng.integers(-3, 4, truth.shape)
    y.backward(torch.from_numpy(g.astype(np.float32)))
    for _ in range(3):
        probe = rng.integers(-9, 10, shape)
        assert (x.grad.numpy().astype(np.int64) * probe).sum() == (g * twin(probe, weight)).sum()
        probe = rng.integers(-9, 10, weight.shape)
        assert (layer.weight.grad.numpy().astype(np.int64) * probe).sum() == (g * twin(spikes, probe)).sum()


@settings(max_examples=100)
@given(geometries(spreads=False), st.integers(0, 2), few, few, gaps, st.integers(0, 5), strategies.generators(),
       st.sampled_from(list(strategies.LAYOUTS)))  # fmt: skip
def test_convolutions_are_exact_where_every_partial_sum_is(geometry, N, inputs, outputs, groups, T, rng, layout):
    (H, W), *sizes = geometry
    layer = synapse.Conv(groups * inputs, groups * outputs, *sizes, groups)

    def twin(x, weight):
        return planes.convolution(x, weight, *sizes[1:], groups)

    check_forward_and_gradients(rng, layer, twin, (N, groups * inputs, H, W, T), layout)


@settings(max_examples=100)
@given(geometries(spreads=True), st.integers(0, 2), few, few, gaps, st.integers(0, 5), strategies.generators(),
       st.sampled_from(list(strategies.LAYOUTS)))  # fmt: skip
def test_transposed_convolutions_are_exact_too(geometry, N, inputs, outputs, groups, T, rng, layout):
    (H, W), *sizes = geometry
    layer = synapse.ConvTranspose(groups * inputs, groups * outputs, *sizes, groups)

    def twin(x, weight):
        return planes.transposed(x, weight, *sizes[1:], groups)

    check_forward_and_gradients(rng, layer, twin, (N, groups * inputs, H, W, T), layout)


@settings(max_examples=100)
@given(geometries(spreads=False), st.integers(0, 2), few, st.integers(0, 5), strategies.generators(),
       st.sampled_from(list(strategies.LAYOUTS)))  # fmt: skip
def test_pools_are_exact_channel_by_channel(geometry, N, channels, T, rng, layout):
    (H, W), *sizes = geometry
    layer = synapse.Pool(*sizes)

    def twin(x, weight):
        return planes.pooling(x, weight, *sizes[1:])

    check_forward_and_gradients(rng, layer, twin, (N, channels, H, W, T), layout)


@settings(max_examples=100)
@given(geometries(spreads=True), st.integers(0, 2), few, st.integers(0, 5), strategies.generators(),
       st.sampled_from(list(strategies.LAYOUTS)))  # fmt: skip
def test_unpools_are_exact_channel_by_channel(geometry, N, channels, T, rng, layout):
    (H, W), *sizes = geometry
    layer = synapse.Unpool(*sizes)

    def twin(x, weight):
        return planes.unpooling(x, weight, *sizes[1:])

    check_forward_and_gradients(rng, layer, twin, (N, channels, H, W, T), layout)


@pytest.mark.parametrize("weight_norm", [False, True])
@pytest.mark.parametrize(("kind", "theirs"), [("Conv", torch.nn.Conv3d), ("ConvTranspose", torch.nn.ConvTranspose3d)])
def test_gradients_equal_those_of_torchs_layer_in_float64(kind, theirs, weight_norm):
    layer = KINDS[kind](weight_norm=weight_norm)
    options = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "groups")}
    truth = theirs(4, 6, bias=False, **options).double()
    truth.weight.data.copy_(layer.weight.detach())
    if weight_norm:
        torch.nn.utils.parametrizations.weight_norm(truth)
    x = torch.rand(SHAPE, requires_grad=True)
    x_truth = x.detach().double().requires_grad_()
    y, y_truth = layer(x), truth(x_truth)
    g = torch.rand_like(y)
    y.backward(g)
    y_truth.backward(g.double())
    gradients = [x.grad, *(p.grad for p in layer.parameters())]
    truths = [x_truth.grad, *(p.grad for p in truth.parameters())]
    assert len(gradients) == len(truths) == 2 + weight_norm
    for ours, exact in zip(gradients, truths, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=0, atol=1e-5 * float(exact.abs().max()))


@pytest.mark.parametrize(("kind", "theirs"), [("Conv", torch.nn.Conv3d), ("ConvTranspose", torch.nn.ConvTranspose3d)])
def test_initial_weights_are_those_of_torchs_layer(kind, theirs):
    torch.manual_seed(3)
    ours = KINDS[kind](weight_scale=2)
    after = torch.rand(1)
    torch.manual_seed(3)
    weight = theirs(4, 6, (3, 2, 1), bias=False, groups=2).weight
    assert torch.equal(ours.weight, 2 * weight)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize(("kind", "theirs"), [("Pool", torch.nn.Conv3d), ("Unpool", torch.nn.ConvTranspose3d)])
def test_a_pools_weights_are_equal_and_not_trained(kind, theirs):
    torch.manual_seed(3)
    layer = KINDS[kind](weight_scale=1.5)
    after = torch.rand(1)
    assert torch.equal(layer.weight, torch.full((1, 1, 3, 2, 1), 1.5))
    assert not layer.weight.requires_grad
    torch.manual_seed(3)  # a draw is thrown away, as torch's layers would do
    theirs(1, 1, (3, 2, 1), bias=False)
    assert torch.equal(after, torch.rand(1))


@kinds
def test_attributes_are_triples(kind):
    layer = KINDS[kind]()
    pools = kind in ("Pool", "Unpool")
    assert layer.kernel_size == (3, 2, 1)
    assert layer.stride == ((3, 2, 1) if pools else (2, 2, 1))
    assert layer.padding == ((0, 0, 0) if pools else (1, 1, 0))
    assert layer.dilation == (1, 1, 1)
    assert (layer.in_channels, layer.out_channels, layer.groups) == ((1, 1, 1) if pools else (4, 6, 2))
    assert layer.shape == {"Conv": (6, 2, 3, 2, 1), "ConvTranspose": (4, 3, 3, 2, 1)}.get(kind, (1, 1, 3, 2, 1))
    assert not layer.complex
    assert f"kernel_size={layer.kernel_size}, stride={layer.stride}, padding={layer.padding}" in repr(layer)
    assert getattr(module, kind) is getattr(synapse, kind)


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_arguments_by_position_and_by_keyword(kind):
    make = getattr(synapse, kind)
    names = "in_features out_features kernel_size stride padding dilation groups weight_scale weight_norm pre_hook_fx"
    values = (np.int64(4), 6, (np.int32(3), 2), (2, 1), (1, 0), (1, 2), np.int8(2), 0.5, True, half)
    torch.manual_seed(3)
    layer = make(*values)
    torch.manual_seed(3)
    same = make(**dict(zip(names.split(), values, strict=True)))
    x = torch.rand(SHAPE)
    assert torch.equal(layer(x), same(x))
    assert layer.kernel_size == (3, 2, 1)
    assert (layer.stride, layer.padding, layer.dilation) == ((2, 1, 1), (1, 0, 0), (1, 2, 1))
    assert layer.weight_norm_enabled
    assert layer.pre_hook_fx is half
    plain = make(4, 6, 3)
    assert (plain.stride, plain.padding, plain.dilation, plain.groups) == ((1, 1, 1), (0, 0, 0), (1, 1, 1), 1)
    assert plain.pre_hook_fx is None
    assert not plain.weight_norm_enabled


@pytest.mark.parametrize("kind", ["Pool", "Unpool"])
def test_a_pools_arguments_by_position_and_by_keyword(kind):
    make = getattr(synapse, kind)
    names = "kernel_size stride padding dilation weight_scale weight_norm pre_hook_fx"
    values = ((np.int32(3), 2), (2, 1), (1, 0), (1, 2), 0.5, True, half)
    layer, same = make(*values), make(**dict(zip(names.split(), values, strict=True)))
    x = torch.rand(SHAPE)
    assert torch.equal(layer(x), same(x))
    assert (layer.stride, layer.padding, layer.dilation) == ((2, 1, 1), (1, 0, 0), (1, 2, 1))
    assert layer.weight_norm_enabled
    assert layer.pre_hook_fx is half
    plain = make(2)
    assert (plain.stride, plain.padding, plain.dilation) == ((2, 2, 1), (0, 0, 0), (1, 1, 1))
    assert plain.pre_hook_fx is None


@kinds
def test_weight_norm_and_back(kind):
    layer, x = KINDS[kind](), torch.rand(SHAPE)
    before, y = layer.weight.detach().clone(), layer(x)
    layer.enable_weight_norm()
    assert [n for n, _ in layer.named_parameters()] == ["weight_g", "weight_v"]
    assert layer.weight_g.shape == (len(before), 1, 1, 1, 1)
    torch.testing.assert_close(layer(x), y)
    layer(x).sum().backward()
    assert layer.weight_g.grad.any()
    assert layer.grad_norm == pytest.approx(float(layer.weight_g.grad.norm()) / len(before))
    layer.weight_g.data *= 2
    layer.disable_weight_norm()
    assert [n for n, _ in layer.named_parameters()] == ["weight"]
    torch.testing.assert_close(layer.weight, 2 * before)
    assert layer.grad_norm == 0


@kinds
def test_the_mask_then_the_hook_are_applied_at_each_use(kind):
    layer, x = KINDS[kind](pre_hook_fx=half), torch.rand(SHAPE)
    mask = (torch.rand(*layer.shape[:2], 1, 1, 1) < 0.5).float()
    weight = layer.weight.detach().clone()
    torch.testing.assert_close(layer.effective_weight(mask), weight * mask / 2)
    assert torch.equal(layer.weight, weight)
    y = layer(x, mask)
    layer.weight.data = weight * mask / 2
    layer.pre_hook_fx = None
    assert torch.equal(layer(x), y)


@kinds
@pytest.mark.parametrize("weight_norm", [False, True])
def test_state_dicts_have_lava_dls_names_and_load(kind, weight_norm):
    layer, other = KINDS[kind](weight_norm=weight_norm), KINDS[kind](weight_norm=weight_norm, weight_scale=3)
    assert list(layer.state_dict()) == (["weight_g", "weight_v"] if weight_norm else ["weight"])
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight, layer.weight)
    if weight_norm:
        g, v = layer.weight_g.detach(), layer.weight_v.detach()
        other.load_state_dict({"parametrizations.weight.original0": 2 * g, "parametrizations.weight.original1": v})
        torch.testing.assert_close(other.weight, 2 * layer.weight)


@kinds
@pytest.mark.parametrize("weight_norm", [False, True])
def test_copies_and_pickles(kind, weight_norm):
    layer, x = KINDS[kind](weight_norm=weight_norm, pre_hook_fx=half), torch.rand(SHAPE)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
        assert other.weight_norm_enabled == weight_norm


@kinds
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_are_computed_in_float32_and_come_back(kind, dtype):
    layer, x = KINDS[kind](), torch.rand(SHAPE).to(dtype)
    y = layer(x)
    assert y.dtype == dtype
    assert torch.equal(y, layer(x.float()).to(dtype))


@kinds
def test_a_layer_in_float64_computes_in_float64(kind):
    layer = KINDS[kind]().double()
    x = np.random.default_rng(5).integers(-50, 51, SHAPE)
    options = {name: getattr(layer, name)[:2] for name in ("stride", "padding", "dilation")}
    if layer.groups > 1:
        options["groups"] = layer.groups
    truth = TWINS[kind](x.astype(np.float64), layer.weight.detach().numpy(), **options)
    np.testing.assert_allclose(layer(torch.from_numpy(x).double()).detach(), truth, rtol=0, atol=1e-10)


@kinds
def test_compiled_equals_eager(kind):
    layer, x = KINDS[kind](pre_hook_fx=half), torch.rand(SHAPE)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), layer(x))


@kinds
@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 7), (2, 4, 6, 7), (2, 4, 1, 5, 6, 7)])
def test_other_ranks_are_refused(kind, shape):
    with pytest.raises(ShapeError, match=r"expected an input \(N, (4|C), H, W, T\), got shape \("):
        KINDS[kind]()(torch.ones(shape))


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_other_channels_are_refused(kind):
    layer = KINDS[kind]()
    with pytest.raises(ShapeError, match=r"expected a spatial shape \(4, H, W\), got \(5, 5, 6\)"):
        layer(torch.ones(2, 5, 5, 6, 7))
    with pytest.raises(ShapeError, match=r"expected a spatial shape \(4, H, W\), got \(4,\)"):
        layer.output_shape((4,))


@pytest.mark.parametrize(
    ("layer", "plane"),
    [
        (synapse.Conv(4, 6, 3), (2, 5)),
        (synapse.Conv(4, 6, 3, dilation=2), (5, 4)),
        (synapse.Conv(4, 6, 3, padding=1), (5, 0)),
        (synapse.ConvTranspose(4, 6, 2, padding=1), (1, 5)),
        (synapse.Pool(3, 1), (3, 2)),
        (synapse.Pool(2), (0, 2)),
        (synapse.Unpool(2, 1, 1), (5, 1)),
    ],
)
def test_planes_too_small_are_refused(layer, plane):
    with pytest.raises(ShapeError, match=rf"expected a plane that a kernel of .* got \({plane[0]}, {plane[1]}\)"):
        layer(torch.ones(2, 4, *plane, 3))


@kinds
@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_other_numbers_are_refused(kind, dtype):
    with pytest.raises(ParameterError, match=f"floating-point type, got {dtype}"):
        KINDS[kind]()(torch.ones(SHAPE, dtype=dtype))


def test_arrays_are_refused():
    with pytest.raises(ParameterError, match="expected input to be a tensor, got ndarray"):
        KINDS["Conv"]()(np.ones(SHAPE, np.float32))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (r"expected kernel_size to be an int or \(height, width\), got \(1, 2, 3\)", {"kernel_size": (1, 2, 3)}),
        (r"expected kernel_size to be an int or \(height, width\), got \(1,\)", {"kernel_size": (1,)}),
        (r"expected kernel_size to be an int or \(height, width\), got '33'", {"kernel_size": "33"}),
        ("expected kernel_size of 1 or more, got 0", {"kernel_size": 0}),
        (r"expected stride to be an int or \(height, width\), got True", {"stride": True}),
        (r"expected stride of 1 or more, got \(1, 0\)", {"stride": (1, 0)}),
        (r"expected padding to be an int or \(height, width\), got 'same'", {"padding": "same"}),
        ("expected padding of 0 or more, got -1", {"padding": -1}),
        (r"expected dilation to be an int or \(height, width\), got 1.5", {"dilation": 1.5}),
        ("expected dilation of 1 or more, got 0", {"dilation": 0}),
        ("expected a finite weight_scale, got inf", {"weight_scale": float("inf")}),
    ],
)
@kinds
def test_bad_arguments_are_refused(kind, words, options):
    plane = {"in_features": 4, "out_features": 6} if kind.startswith("Conv") else {}
    with pytest.raises(ParameterError, match=words):
        getattr(synapse, kind)(**{**plane, "kernel_size": 3, **options})


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("expected in_features to be an int, got 2.0", {"in_features": 2.0}),
        (r"expected in_features to be an int, got \(2,\)", {"in_features": (2,)}),
        ("expected in_features of 1 or more, got 0", {"in_features": 0}),
        ("expected out_features to be an int, got None", {"out_features": None}),
        ("expected out_features of 1 or more, got -1", {"out_features": -1}),
        ("expected groups to be an int, got None", {"groups": None}),
        ("expected groups of 1 or more, got 0", {"groups": 0}),
        ("expected groups that divide 4 and 6 features, got 4", {"groups": 4}),
    ],
)
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_bad_channels_are_refused(kind, words, options):
    with pytest.raises(ParameterError, match=words):
        getattr(synapse, kind)(**{"in_features": 4, "out_features": 6, "kernel_size": 3, **options})
