import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ShapeError
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm, WgtScaleBatchNorm
from lavadl_lite.slayer.utils import quantize_hook_fx
from tests import strategies

NORMS = (MeanOnlyBatchNorm, WgtScaleBatchNorm)
every_norm = pytest.mark.parametrize("norm", NORMS)
SHAPES = [(5, 3), (5, 3, 20), (5, 3, 4, 20), (5, 3, 2, 4, 20)]


def quantized(x, scale=64):
    """Multiples of 2 / scale within nine bits."""
    return np.clip(np.rint(x * scale / 2) * 2, -512, 510) / scale


def channel_mean(x):
    return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1).mean(1, dtype=np.float64)


def spread(mean, rank):
    return mean.reshape(1, -1, *[1] * (rank - 2))


def exponent(variance, bits=3, eps=1e-5):
    return np.clip(np.ceil(np.log2(np.sqrt(variance + eps))), -bits, bits)


def batches(shape, seed=0, count=3):
    rng = np.random.default_rng(seed)
    return [(3 * rng.normal(size=shape) + rng.normal(size=(1, shape[1], *[1] * (len(shape) - 2)))).astype(np.float32)
            for _ in range(count)]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hook", [None, quantize_hook_fx], ids=["plain", "quantized"])
@every_norm
def test_training_uses_the_batch_and_evaluation_the_running_mean(norm, hook, shape):
    module = norm(momentum=0.2, pre_hook_fx=hook)
    h = quantized if hook else (lambda x: x)
    running_mean, running_var = np.zeros(3), 0.0
    for x in batches(shape):
        mean, var, n = channel_mean(x), x.var(dtype=np.float64), x.size / 3
        running_mean = 0.8 * running_mean + 0.2 * mean
        running_var = 0.8 * running_var + 0.2 * var * n / (n + 1)
        divisor = 1 if norm is MeanOnlyBatchNorm else 2 ** exponent(var)
        y = module(torch.from_numpy(x))
        assert y.dtype == torch.float32
        np.testing.assert_allclose(y, (x - spread(h(mean), x.ndim)) / divisor, atol=1e-5)
    np.testing.assert_allclose(module.running_mean, running_mean, rtol=1e-5)
    x, divisor = batches(shape, seed=1)[0], 1 if norm is MeanOnlyBatchNorm else 2 ** exponent(running_var)
    for frozen in (module.eval(), copy.deepcopy(module).train()):
        frozen.update = frozen.training is False
        y = frozen(torch.from_numpy(x))
        np.testing.assert_allclose(y, (x - spread(h(module.running_mean.numpy()), x.ndim)) / divisor, atol=1e-5)
        np.testing.assert_allclose(frozen.running_mean, running_mean, rtol=1e-5)
    if norm is WgtScaleBatchNorm:
        np.testing.assert_allclose(module.running_var, [running_var], rtol=1e-5)
        np.testing.assert_array_equal(module.weight_exp, [exponent(running_var)])


@every_norm
@given(shape=strategies.shapes(smallest=1), seed=st.integers(0, 99))
def test_any_shape_is_centred(norm, shape, seed):
    x = torch.from_numpy(batches(shape, seed, 1)[0])
    y = norm()(x)
    assert y.shape == shape
    np.testing.assert_allclose(channel_mean(y.numpy()), 0, atol=1e-4)


@every_norm
def test_gradient_flows_through_the_mean(norm):
    x = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    module = norm(3).double()
    assert torch.autograd.gradcheck(module, x)
    x.grad = None
    module(x).sum().backward()
    assert x.grad.abs().max() < 1e-12  # a mean that moves with the input takes everything back


def test_weight_exponent_is_clamped_as_in_training():
    module = WgtScaleBatchNorm(weight_exp_bits=3)
    for variance, expected in ((1e-9, -3), (1.0, 1), (0.9, 0), (1e6, 3)):
        module.running_var.fill_(variance)
        assert module.weight_exp.tolist() == [expected]
        assert torch.equal(module.std(module.running_var), 2**module.weight_exp)


def test_fresh_module_divides_by_the_smallest_scale():
    x = torch.randn(2, 3, 4)
    assert torch.equal(WgtScaleBatchNorm().eval()(x), 8 * x)
    assert torch.equal(MeanOnlyBatchNorm().eval()(x), x)


@every_norm
def test_bias_is_the_negative_mean_as_the_hook_makes_it(norm):
    plain, hooked = norm(2), norm(2, pre_hook_fx=quantize_hook_fx)
    for module in (plain, hooked):
        module.running_mean.copy_(torch.tensor([0.5, -0.26]))
    torch.testing.assert_close(plain.bias, torch.tensor([-0.5, 0.26]))
    assert hooked.bias.tolist() == [-32, 16]
    hooked.pre_hook_fx = lambda x, descale=False: 100 * x if descale else x
    assert hooked.bias.tolist() == pytest.approx([-50, 26])


@every_norm
def test_materialize_fixes_the_channels_without_data(norm):
    for shape in ((3,), (3, 4, 5)):
        module = norm()
        assert module.running_mean.shape == (1,)
        assert module.materialize(shape) == shape
        assert (module.num_features, module.running_mean.shape) == (3, (3,))
    with pytest.raises(ShapeError, match="3 channels"):
        module.materialize((4,))


@every_norm
def test_state_of_lava_dl_loads_before_and_after_the_first_forward(norm):
    state = {"running_mean": torch.tensor([1.0, 2.0, 3.0])}
    if norm is WgtScaleBatchNorm:
        state["running_var"] = torch.tensor([4.0])
    x = torch.randn(5, 3, 7)
    fresh, used = norm(), norm()
    used(x)
    for module in (fresh, used, norm(3)):
        assert list(module.state_dict()) == list(state)
        module.load_state_dict(state)
        assert (module.num_features, module.running_mean.tolist()) == (3, [1, 2, 3])
        divisor = 1 if norm is MeanOnlyBatchNorm else 2 ** exponent(4.0)
        torch.testing.assert_close(module.eval()(x), (x - torch.tensor([1.0, 2, 3])[:, None]) / divisor)
        assert module.state_dict()["running_mean"] is not state["running_mean"]


@every_norm
def test_state_saved_before_the_first_forward_loads_too(norm):
    state, module = norm().state_dict(), norm()
    before = {key: value.clone() for key, value in state.items()}
    module(torch.randn(5, 3, 7))
    module.load_state_dict(state)
    assert module.running_mean.tolist() == [0, 0, 0]
    assert all(torch.equal(state[key], value) for key, value in before.items())
    untouched = norm()
    untouched.load_state_dict(state)
    assert untouched.num_features is None
    untouched(torch.randn(5, 4, 7))
    assert untouched.running_mean.shape == (4,)


@every_norm
def test_state_of_another_width_raises(norm):
    with pytest.raises(RuntimeError, match="size mismatch"):
        norm(2).load_state_dict(norm(3).state_dict())


@every_norm
def test_one_channel(norm):
    module, other = norm(), norm()
    x = torch.randn(5, 1, 7)
    module(x)
    other.load_state_dict(module.state_dict())
    assert other.num_features == 1
    assert torch.equal(other.eval()(x), module.eval()(x))


@every_norm
def test_wrong_input_raises(norm):
    module = norm(3)
    with pytest.raises(ShapeError, match="3 channels"):
        module(torch.zeros(2, 4, 5))
    with pytest.raises(ShapeError, match="N, C"):
        module(torch.zeros(3))


@every_norm
def test_empty_batch_changes_nothing(norm):
    module = norm(3)
    module(torch.randn(5, 3, 7))
    before = module.running_mean.clone()
    assert module(torch.zeros(0, 3, 7)).shape == (0, 3, 7)
    assert torch.equal(module.running_mean, before)


@every_norm
def test_reset_forgets_what_was_seen(norm):
    module = norm()
    module(torch.randn(5, 3, 7))
    module.reset_parameters()
    assert not any(buffer.any() for buffer in module.buffers())


@every_norm
def test_half_input_stays_half(norm):
    module = norm()
    for dtype in (torch.float16, torch.bfloat16):
        assert module(torch.randn(5, 3, 7).to(dtype)).dtype == dtype
    assert module.running_mean.dtype == torch.float32


@every_norm
def test_strided_input(norm):
    x = torch.randn(20, 3, 5).permute(2, 1, 0)
    torch.testing.assert_close(norm()(x), norm()(x.contiguous()))


@every_norm
def test_modules_survive_copy_and_pickle(norm):
    module = norm()
    module(torch.randn(5, 3, 7))
    x = torch.randn(2, 3, 7)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other.eval()(x), module.eval()(x))
        assert torch.equal(other.bias, module.bias)
    assert "num_features=3" in repr(module)


@every_norm
def test_compiled_equals_eager(norm):
    torch.compiler.reset()
    x = torch.randn(5, 3, 7, requires_grad=True)
    modules = norm(3, pre_hook_fx=quantize_hook_fx), norm(3, pre_hook_fx=quantize_hook_fx)
    runs = modules[0], torch.compile(modules[1], backend="aot_eager", fullgraph=True)
    outputs = [run(x) for run in runs]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(torch.autograd.grad(out.square().sum(), x)[0] for out in outputs))
    torch.testing.assert_close(modules[0].running_mean, modules[1].running_mean)


@pytest.mark.gpu
@every_norm
def test_gpu_equals_cpu(norm):
    x = torch.randn(5, 3, 7)
    on_cpu, on_gpu = norm(pre_hook_fx=quantize_hook_fx), norm(pre_hook_fx=quantize_hook_fx).cuda()
    for _ in range(2):
        torch.testing.assert_close(on_gpu(x.cuda()).cpu(), on_cpu(x))
    torch.testing.assert_close(on_gpu.eval()(x.cuda()).cpu(), on_cpu.eval()(x))
