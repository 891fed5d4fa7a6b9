"""Complex synapses: two real ones, drawn in order and kept apart."""

import copy
import math
import pickle

import pytest
import torch

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer import synapse

ARGUMENTS = {
    "Dense": (4, 6),
    "Conv": (4, 6, (3, 2), 2, 1, 1, 2),
    "ConvTranspose": (4, 6, (3, 2), 2, 1, 1, 2),
    "Pool": ((3, 2),),
    "Unpool": ((3, 2),),
}
kinds = pytest.mark.parametrize("kind", list(ARGUMENTS))
SHAPE = (2, 4, 5, 6, 7)


def half(weight):
    """A hook that can be pickled."""
    return weight / 2


def double(weight):
    """Another one."""
    return weight * 2


def made(kind, **options):
    return getattr(synapse.complex, kind)(*ARGUMENTS[kind], **options)


@kinds
def test_two_real_synapses_drawn_one_after_the_other(kind):
    torch.manual_seed(3)
    layer = made(kind, weight_scale=2)
    torch.manual_seed(3)
    real, imag = (getattr(synapse, kind)(*ARGUMENTS[kind], weight_scale=2) for _ in range(2))
    x = torch.rand(SHAPE)
    y = layer(x)
    assert isinstance(y, tuple)
    assert torch.equal(y[0], real(x))
    assert torch.equal(y[1], imag(x))
    assert layer.complex
    assert not layer.real.complex
    assert "Pool" in kind or "pool" in kind or not torch.equal(*y)


@kinds
def test_what_both_parts_share(kind):
    layer = made(kind)
    real = layer.real
    for name in ("shape", "in_channels", "out_channels", "kernel_size"):
        assert getattr(layer, name) == getattr(real, name)
    if kind == "Dense":
        assert not hasattr(layer, "stride")
        return
    for name in ("stride", "padding", "dilation", "groups"):
        assert getattr(layer, name) == getattr(real, name)
    assert layer.output_shape(SHAPE[1:4]) == layer(torch.rand(SHAPE))[1].shape[1:4]


@kinds
def test_arguments_by_keyword(kind):
    layer = made(kind, weight_scale=0.5, weight_norm=True, pre_hook_fx=half)
    for part in (layer.real, layer.imag):
        assert part.weight_norm_enabled
        assert part.pre_hook_fx is half
    plain = made(kind)
    assert not plain.weight_norm_enabled
    assert plain.pre_hook_fx is None


@kinds
def test_state_dict_has_lava_dls_names(kind):
    layer, other = made(kind, weight_scale=2), made(kind)
    assert list(layer.state_dict()) == ["real.weight", "imag.weight"]
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.imag.weight, layer.imag.weight)
    layer.enable_weight_norm()
    assert list(layer.state_dict()) == ["real.weight_g", "real.weight_v", "imag.weight_g", "imag.weight_v"]


def test_torchs_parametrized_names_load():
    theirs = torch.nn.ModuleDict({part: torch.nn.Conv3d(4, 6, 1, bias=False) for part in ("real", "imag")})
    for part in theirs.values():
        torch.nn.utils.parametrizations.weight_norm(part)
    ours = made("Dense", weight_norm=True)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours.real.weight, theirs["real"].weight)
    torch.testing.assert_close(ours.imag.weight, theirs["imag"].weight)


@kinds
def test_weight_norm_of_both_parts(kind):
    layer, x = made(kind), torch.rand(SHAPE)
    y = layer(x)
    layer.enable_weight_norm()
    assert layer.weight_norm_enabled
    torch.testing.assert_close(layer(x), y)
    layer.disable_weight_norm()
    assert not layer.weight_norm_enabled
    torch.testing.assert_close(layer(x), y)
    layer.real.enable_weight_norm()
    assert not layer.weight_norm_enabled


@kinds
def test_the_hook_is_read_and_set(kind):
    layer, x = made(kind), torch.rand(SHAPE)
    assert layer.pre_hook_fx is None
    real, imag = layer(x)
    layer.pre_hook_fx = half
    assert layer.pre_hook_fx is half
    torch.testing.assert_close(layer(x), (real / 2, imag / 2))
    layer.imag.pre_hook_fx = double
    with pytest.raises(ParameterError, match="expected one pre_hook_fx for both parts"):
        layer.pre_hook_fx  # noqa: B018


def test_the_mask_is_applied_to_both_weights():
    layer, x = made("Dense", pre_hook_fx=half), torch.rand(2, 4, 7)
    mask = (torch.rand(6, 4, 1, 1, 1) < 0.5).float()
    for part, weight, y in zip((layer.real, layer.imag), layer.effective_weight(mask), layer(x, mask), strict=True):
        torch.testing.assert_close(weight, part.weight * mask / 2)
        torch.testing.assert_close(y, torch.einsum("oi,nit->not", weight[..., 0, 0, 0], x))


def test_grad_norm_and_independent_gradients():
    layer = made("Dense")
    assert layer.grad_norm == 0
    real, imag = layer(torch.rand(2, 4, 7))
    (real.sum() + 2 * imag.sum()).backward()
    torch.testing.assert_close(layer.imag.weight.grad, 2 * layer.real.weight.grad)
    norms = [float(part.weight.grad.norm()) / 24 for part in (layer.real, layer.imag)]
    assert layer.grad_norm == pytest.approx(math.sqrt(norms[0] ** 2 + norms[1] ** 2))


@kinds
@pytest.mark.parametrize("weight_norm", [False, True])
def test_copies_and_pickles(kind, weight_norm):
    layer, x = made(kind, weight_norm=weight_norm, pre_hook_fx=half), torch.rand(SHAPE)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert all(map(torch.equal, other(x), layer(x)))
        assert other.weight_norm_enabled == weight_norm
        assert other.pre_hook_fx is half


@kinds
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_come_back(kind, dtype):
    layer, x = made(kind), torch.rand(SHAPE).to(dtype)
    for y, truth in zip(layer(x), layer(x.float()), strict=True):
        assert torch.equal(y, truth.to(dtype))


@kinds
def test_compiled_equals_eager(kind):
    layer, x = made(kind), torch.rand(SHAPE)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert all(map(torch.equal, compiled(x), layer(x)))


@kinds
def test_errors_are_those_of_the_real_synapse(kind):
    with pytest.raises(ParameterError, match="expected a finite weight_scale, got nan"):
        made(kind, weight_scale=float("nan"))
    with pytest.raises(ShapeError, match="expected an input"):
        made(kind)(torch.ones(4, 7))
