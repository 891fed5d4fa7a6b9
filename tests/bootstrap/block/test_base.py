"""The four modes of a block: what is sampled, what the rates are, what happens before and between fits."""

import numpy as np
import pytest
import torch

from lavadl_lite.bootstrap import Mode
from lavadl_lite.bootstrap.ann_sampler import AnnSampler
from lavadl_lite.bootstrap.block import alif, cuba
from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.neuron import Dropout
from lavadl_lite.slayer.neuron.norm import MeanOnlyBatchNorm, WgtScaleBatchNorm

PARAMS = {"threshold": 1.25, "current_decay": 1, "voltage_decay": 0.03}
ALIF = PARAMS | {"threshold_step": 0.25, "threshold_decay": 0.2, "refractory_decay": 0.5}


def rates(*shape, seed=0):
    return torch.rand(*shape, 1, generator=torch.Generator().manual_seed(seed))


def spikes(*shape, steps=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, steps, generator=generator) < rates(*shape, seed=seed)).float()


def rates_of(sent):
    return sent.detach().mean(-1).flatten()


def dense(**options):
    torch.manual_seed(0)
    neuron = PARAMS | options.pop("neuron", {})
    return cuba.Dense(neuron, 20, 30, weight_scale=4, **options)


def sampled(block, x=None, times=1):
    for seed in range(times):
        block(spikes(8, 20, seed=seed) if x is None else x, Mode.SAMPLE)
    return block


# ----------------------------------------------------------------------------------------------------------- sampling
@pytest.mark.parametrize("delay_shift", [True, False])
def test_sampling_spikes_and_remembers_what_is_sent(delay_shift):
    block, x = dense(delay_shift=delay_shift), spikes(8, 20)
    sent = block(x, Mode.SAMPLE)
    assert torch.equal(sent, block(x, Mode.SNN))
    np.testing.assert_array_equal(block.f.a, rates_of(sent))
    weighted = block.synapse(x).mean(-1).flatten()
    np.testing.assert_allclose(block.f.z, weighted.detach(), atol=1e-6)


def test_an_axonal_delay_is_applied_and_sampled():
    """Defect B8: it was made and exported, but never applied."""
    block = dense(delay=True)
    block.materialize((20,))
    block.delay.delay.data.fill_(5.0)
    sent = sampled(block, x := spikes(8, 20))(x, Mode.SNN)
    assert not sent[..., :6].any()
    assert sent.any()
    np.testing.assert_array_equal(block.f.a, rates_of(sent))


def test_dropout_is_not_sampled():
    """Defect B14: zeros and doubled rates would be fitted to."""
    block = dense(neuron={"dropout": Dropout(0.5)})
    sent = block(x := spikes(8, 20), Mode.SAMPLE)
    assert block.neuron.drop is not None
    np.testing.assert_array_equal(block.f.a, rates_of(block.eval()(x, Mode.SNN)))
    assert set(sent.unique().tolist()) == {0, 2}
    block.train().fit()
    mean = torch.stack([block(rates(8, 20), Mode.ANN) for _ in range(400)]).mean(0)
    expected = block.eval()(rates(8, 20), Mode.ANN)
    assert (mean - expected).abs().max() < 5 * 0.8 / 20  # five standard deviations of the largest rate's mean


@pytest.mark.parametrize("norm", [MeanOnlyBatchNorm, WgtScaleBatchNorm])
@pytest.mark.parametrize("current_decay", [1, 0.5])
@pytest.mark.parametrize("training", [True, False])
def test_samples_lie_behind_the_norm_as_the_activation_does(norm, current_decay, training):
    """Defect B13: sampled in front of the norm, evaluated behind it."""
    block = dense(neuron={"norm": norm, "current_decay": current_decay}, delay_shift=False).train(training)
    seen = []
    x = spikes(8, 20)
    block(x, Mode.SAMPLE)
    statistics = {name: value.clone() for name, value in block.neuron.norm.named_buffers()}
    z = block.f.z.copy()
    block.f.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    block.fit()
    block(x.mean(-1, keepdim=True), Mode.ANN)
    np.testing.assert_allclose(seen[0].detach().flatten(), z, atol=1e-5)
    if not training:
        for name, value in block.neuron.norm.named_buffers():
            assert torch.equal(value, statistics[name])


def test_rates_follow_the_spikes_behind_a_norm():
    """Without time the mean current and its norm are those over time."""
    block = dense(neuron={"norm": MeanOnlyBatchNorm}, delay_shift=False)
    for seed in range(40):
        block(spikes(8, 20, seed=seed), Mode.SAMPLE)
    block.fit()
    block.eval()
    x = spikes(64, 20, steps=64, seed=99)
    difference = block(x, Mode.ANN)[..., 0] - block(x, Mode.SNN).mean(-1)
    assert difference.abs().mean() < 0.05


# ---------------------------------------------------------------------------------------------------------------- rates
def test_rates_are_the_activation_of_the_weighted_input():
    block = sampled(dense())
    x = rates(8, 20, seed=7).requires_grad_()
    found = block(x, Mode.FIT)
    assert found.shape == (8, 30, 1)
    torch.testing.assert_close(found, block.f(block.synapse(x)))
    torch.testing.assert_close(block(x), found)  # ANN is the default
    found.sum().backward()
    assert x.grad.abs().sum() > 0
    assert block.synapse.weight.grad.abs().sum() > 0


def test_rates_are_near_those_of_the_spikes():
    for block in (dense(), alif.Dense(ALIF, 20, 30, weight_scale=4)):
        sampled(block, times=10).fit()
        x = spikes(64, 20, seed=99)
        difference = block(x, Mode.ANN)[..., 0] - block(x, Mode.SNN).mean(-1)
        assert difference.abs().mean() < 0.04


def test_spikes_are_averaged_where_spikes_end():
    """Defect B12: the activation was applied to the input of each single step."""
    block = sampled(dense())
    block.fit()
    x = spikes(8, 20, seed=5)
    found = block(x, Mode.ANN)
    assert found.shape == (8, 30, 1)
    torch.testing.assert_close(found, block(x.mean(-1, keepdim=True), Mode.ANN))


def test_before_any_sample_the_neurons_are_asked_themselves():
    """Defect B1: a TypeError."""
    block = dense()
    torch.manual_seed(1)
    block(x := rates(64, 20), Mode.ANN).sum().backward()
    assert torch.isfinite(block.synapse.weight.grad).all()
    assert block.synapse.weight.grad.any()
    found = block(x, Mode.ANN)[..., 0]
    long = block.neuron(block.synapse(x).expand(-1, -1, 200)).mean(-1)  # constant input
    assert (found - long).abs().mean() < 0.05
    assert not block.f.fitted
    assert not len(block.f.z)


def test_samples_without_a_fit_are_used_by_the_next_rates():
    """Defect B7: in an epoch of few batches FIT is never reached."""
    block = sampled(dense())
    count = len(block.f.z)
    block(rates(8, 20), Mode.ANN)
    assert block.f.fitted
    assert len(block.f.z) == count - count // 2
    knots = block.f.knots.clone()
    block(rates(8, 20), Mode.ANN)
    assert torch.equal(block.f.knots, knots)


def test_fitting_drops_half_of_the_samples():
    block = sampled(dense())
    block(spikes(8, 20), Mode.FIT)
    assert len(block.f.z) == 8 * 30 // 2


def test_a_loaded_checkpoint_of_lava_dl_runs_without_a_fit():
    block = dense()
    state = {name: value for name, value in sampled(dense()).state_dict().items() if not name.startswith("f.")}
    block.load_state_dict(state)
    assert torch.isfinite(block(rates(8, 20), Mode.ANN)).all()


# ------------------------------------------------------------------------------------------------------------ read-outs
def test_affine_gives_weighted_sums_in_every_mode():
    block = cuba.Affine(PARAMS, 20, 5)
    x = spikes(4, 20)
    sums = block.synapse(x)
    for mode in (Mode.SNN, Mode.SAMPLE):
        assert torch.equal(block(x, mode), sums)
    for mode in (Mode.ANN, Mode.FIT):
        torch.testing.assert_close(block(x, mode), sums.mean(-1, keepdim=True))
    assert block.exchange_layer().neuron is None
    assert block.shape == (5,)


@pytest.mark.parametrize("make", [cuba.Output, lambda *a: cuba.Affine(*a, dynamics=True)], ids=["Output", "Affine"])
def test_a_read_out_of_states_has_their_mean_without_time(make):
    torch.manual_seed(0)
    block = make(PARAMS | {"current_decay": 0.5}, 20, 5)
    x = spikes(16, 20)
    assert torch.isfinite(block(x, Mode.ANN)).all()  # before any sample
    states = block(x, Mode.SAMPLE)
    assert torch.equal(states, block(x, Mode.SNN))
    found, expected = block(x, Mode.FIT)[..., 0], states.mean(-1)
    assert (found - expected).norm() < 0.2 * expected.norm()


# ---------------------------------------------------------------------------------------------------------------- edges
@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name)
def test_event_rates(mode):
    """Defect B10: the mean of a boolean tensor."""
    block = dense(count_log=True)
    x = spikes(8, 20)
    block(x, Mode.SAMPLE)
    output, count = block(x, mode)
    torch.testing.assert_close(count, output.mean())
    read_out = cuba.Affine(PARAMS, 20, 5, count_log=True)(x, mode)
    assert read_out[1] is None
    assert cuba.Flatten(count_log=True)(x, mode)[1] is None


@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name)
def test_flatten_and_average_are_the_same_in_every_mode(mode):
    x = spikes(2, 4, 3, 3)
    assert torch.equal(cuba.Flatten()(x, mode), x.flatten(1, 3))
    assert torch.equal(cuba.Average(2)(x[:, :, 0, 0], mode), x[:, :, 0, 0].unflatten(1, (2, 2)).mean(2))


@pytest.mark.parametrize("mode", [7, "SNN", None])
def test_a_mode_is_asked_of_every_block(mode):
    for block, shape in ((cuba.Flatten(), (2, 4, 3, 3)), (cuba.Average(2), (2, 4)), (dense(), (2, 20))):
        with pytest.raises(ValueError, match="valid Mode"):
            block(spikes(*shape), mode)


@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_an_input_answers_in_the_type_it_was_asked_in(mode, dtype):
    """As slayer's does, with the values that float32 has."""
    x = torch.rand(2, 3, 16).to(dtype)
    truth = cuba.Input(PARAMS, weight=2, bias=0)(x.float(), mode)
    assert truth.any()
    found = cuba.Input(PARAMS, weight=2, bias=0)(x, mode)
    sent, count = cuba.Input(PARAMS, weight=2, bias=0, count_log=True)(x, mode)
    for answer in (found, sent):
        assert answer.dtype == dtype
        assert torch.equal(answer, truth.to(dtype))
    torch.testing.assert_close(count, truth.mean())


@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
@pytest.mark.parametrize("steps", [1, 16])
def test_an_input_takes_integers(mode, dtype, steps):
    x = torch.randint(0, 3, (4, 3, steps)).to(dtype)
    found, truth = (cuba.Input(PARAMS, weight=1, bias=0)(signal, mode) for signal in (x, x.float()))
    assert found.dtype == torch.float32
    assert torch.equal(found, truth)


@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_integers_in_place_of_spikes_are_refused_before_anything_is_fitted(mode, dtype):
    for block in (sampled(dense()), cuba.Affine(PARAMS, 20, 5), sampled(cuba.Output(PARAMS, 20, 5))):
        before = {name: value.clone() for name, value in block.state_dict().items()}
        with pytest.raises(ParameterError, match=r"floating-point type, got .*; use \.float\(\)"):
            block(spikes(8, 20).to(dtype), mode)
        assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


def test_persistent_neurons_are_left_alone_by_rates():
    block = dense(neuron={"persistent_state": True})
    x = spikes(8, 20)
    whole = block(x, Mode.SNN)
    block.reset_state()
    first = block(x[..., :7], Mode.SNN)
    block(rates(3, 20), Mode.ANN)
    assert torch.equal(torch.cat([first, block(x[..., 7:], Mode.SNN)], -1), whole)


def test_shapes_are_known_after_rates_alone():
    block = cuba.Conv(PARAMS, 2, 3, 3, delay=True)
    block(rates(2, 2, 5, 6), Mode.ANN)
    assert block.shape == (3, 3, 4)
    assert block.exchange_layer().fields["delay"].shape == (3,)


def test_what_does_not_fit_is_refused():
    block = cuba.Input(PARAMS)
    block(rates(2, 6), Mode.ANN)
    with pytest.raises(ShapeError, match="neurons"):
        block(rates(2, 7), Mode.ANN)
    with pytest.raises(ShapeError, match="one step or more"):
        block(torch.zeros(2, 6, 0), Mode.ANN)
    with pytest.raises(ShapeError, match=r"\(N, C, ..., T\)"):
        block(torch.zeros(2, 6), Mode.ANN)
    with pytest.raises(ValueError, match="valid Mode"):
        block(rates(2, 6), 7)
    assert AnnSampler().extra_repr() == "num_centers=5, sample_range=(0.1, 0.9), eps=1e-05"
