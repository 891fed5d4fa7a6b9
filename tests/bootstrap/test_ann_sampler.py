"""Samples and the activation fitted to them: golden values, bounded memory, state, pictures."""

import logging

import matplotlib as mpl
import numpy as np
import pytest
import torch

from lavadl_lite.bootstrap.ann_sampler import AnnSampler, GainSampler
from lavadl_lite.errors import ParameterError, ShapeError

RATES = torch.tensor([0.2, 0.4, 0.6, 0.8]).repeat(5)[:, None]
GOLDEN = [[-0.1, 0], [0.1, 0.2], [0.3, 0.4], [0.6, 0.6], [0.9, 0.8]]


def inputs(*values):
    return torch.tensor(values).repeat(5)[:, None]


def golden():
    """The first fit of the reference, section 5.1."""
    f = AnnSampler()
    f.append(RATES, inputs(0.1, 0.3, 0.6, 1.0))
    f.fit()
    return f


def same(f, centers, slopes):
    torch.testing.assert_close(f.centers, torch.tensor(centers, dtype=torch.float32), atol=1e-6, rtol=0)
    torch.testing.assert_close(f.slopes, torch.tensor(slopes, dtype=torch.float32), atol=1e-6, rtol=0)


# ------------------------------------------------------------------------------------------------------------ golden
def test_golden_fit():
    f = golden()
    same(f, GOLDEN, [1, 1, 2 / 3, 2 / 3])
    assert f.max == pytest.approx(0.8)
    assert f.scale == pytest.approx(1.125)
    z = torch.tensor([-0.5, 0.2, 0.5, 2.0], requires_grad=True)
    y = f(z)
    y.sum().backward()
    torch.testing.assert_close(y, torch.tensor([0, 0.3, 0.53333, 0.8]), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.grad, torch.tensor([1e-5, 1.12501, 0.75001, 1e-5]), atol=1e-6, rtol=0)


def test_golden_second_fit_moves_by_a_tenth():
    f = golden()
    f.clear()
    f.append(RATES, inputs(0.2, 0.4, 0.7, 1.1))
    f.fit()
    same(f, [[x + 0.01, y] for x, y in GOLDEN], [1, 1, 2 / 3, 2 / 3])


def test_golden_constant_sample():
    f = AnnSampler()
    f.append(torch.full((100, 1), 0.5), torch.full((100, 1), 0.7))
    f.fit()
    same(f, [[0, 0], [0, 0], [0.7, 0.5], [1.12, 0.8]], [0.714286] * 3)
    assert f.max == pytest.approx(0.8)


def test_before_the_first_fit_it_is_the_identity():
    f = AnnSampler()
    assert f.centers is None
    torch.testing.assert_close(f(torch.tensor([-1.0, 0.3, 0.9, 2.0])), torch.tensor([0, 0.3, 0.9, 1.0]))


def test_what_was_added_around_the_centers_is_no_center_of_the_next_fit():
    """Defect B20: a ceiling that grew by more than 11 % let the padding at 0.8 into the top bin."""
    f = golden()
    f.clear()
    f.append(torch.full((10, 1), 1.0), torch.full((10, 1), 3.0))  # in no bin itself: only the old centres are left
    f.fit()
    torch.testing.assert_close(f.centers[1:-1], torch.tensor(GOLDEN)[1:-1].float())


# -------------------------------------------------------------------------------------------------- degenerate samples
@pytest.mark.parametrize(
    ("rates", "z"),
    [
        (torch.zeros(20), torch.randn(20)),  # B2: silent
        (torch.ones(20), torch.randn(20)),  # saturated
        (torch.linspace(0, 1, 20), torch.zeros(20)),  # B3: equal inputs
        (torch.linspace(0, 1, 20), torch.linspace(1, 0, 20)),  # B4: falling
        (torch.full((20,), torch.nan), torch.randn(20)),
        (torch.linspace(0, 1, 20), torch.full((20,), torch.inf)),
    ],
    ids=["silent", "saturated", "equal inputs", "falling", "nan", "inf"],
)
def test_value_and_gradient_stay_finite(rates, z):
    f = AnnSampler()
    f.append(rates[:, None], z[:, None])
    f.fit()
    x = torch.linspace(-3, 3, 100, requires_grad=True)
    y = f(x)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()
    assert (x.grad >= 1e-5).all()
    assert (y.diff() >= 0).all()
    assert y.max() <= f.max


def test_a_fit_without_samples_keeps_the_last_and_says_so(caplog):
    f = golden()
    f.clear()
    with caplog.at_level(logging.WARNING):
        f.fit()  # defect B5: a ValueError of numpy's
    assert "no samples" in caplog.text
    same(f, GOLDEN, [1, 1, 2 / 3, 2 / 3])


# ------------------------------------------------------------------------------------------------------------- memory
def test_samples_are_means_over_time():
    f = AnnSampler()
    spikes = torch.tensor([[[1.0, 0, 1, 1], [0, 0, 0, 1]]])
    f.append(spikes.bool(), torch.arange(2.0).reshape(1, 2, 1))
    np.testing.assert_array_equal(f.a, [0.75, 0.25])
    np.testing.assert_array_equal(f.z, [0, 1])


def test_the_reservoir_is_bounded_uniform_and_repeatable():
    """Defect B6: both stores grew without end."""
    stores = []
    for _ in range(2):
        f = AnnSampler(capacity=500, seed=3)
        for start in range(0, 20_000, 400):
            z = torch.arange(start, start + 400.0)[:, None]
            f.append(z / 20_000, z)
        stores.append(f.z.copy())
        assert len(f.z) == len(f.a) == 500
        np.testing.assert_allclose(f.a, f.z / 20_000)
    np.testing.assert_array_equal(*stores)
    assert len(np.unique(stores[0])) == 500
    # a uniform choice: the mean's standard deviation is 20000 / sqrt(12 * 500) = 258
    assert abs(stores[0].mean() - 10_000) < 4 * 258
    other = AnnSampler(capacity=500, seed=4)
    z = torch.arange(20_000.0)[:, None]
    other.append(z, z)
    assert set(other.z) != set(stores[0])


def test_soft_clear_drops_half_of_the_pairs_without_the_global_generators():
    """Defect B16."""
    f = AnnSampler()
    z = torch.arange(101.0)[:, None]
    f.append(2 * z, z)
    before = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002 - the one that must not be used
    f.soft_clear()
    assert len(f.z) == 51
    np.testing.assert_array_equal(f.a, 2 * f.z)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert repr(np.random.get_state()) == before[1]  # noqa: NPY002


# -------------------------------------------------------------------------------------------------------------- state
def test_a_saved_sampler_goes_on_as_the_first_would():
    rng = torch.Generator().manual_seed(0)
    data = [torch.rand(80, 1, generator=rng) for _ in range(4)]

    def step(f, k):
        f.append(data[k], 2 * data[k] + 0.1 * data[k - 1])
        f.fit()
        f.soft_clear()

    f = AnnSampler(capacity=100)
    for k in range(2):
        step(f, k)
    f.append(data[0], data[1])  # between two fits
    other = AnnSampler(capacity=100)
    other.load_state_dict(f.state_dict())
    assert other.pending
    for k in range(2, 4):
        step(f, k)
        step(other, k)
    assert torch.equal(f.knots, other.knots)
    np.testing.assert_array_equal(f.z, other.z)
    torch.testing.assert_close(f.centers, other.centers, rtol=0, atol=0)


def test_a_state_dict_without_it_loads():
    """Defect B1: lava-dl's checkpoints keep no fit."""
    f = golden()
    f.load_state_dict({})
    same(f, GOLDEN, [1, 1, 2 / 3, 2 / 3])
    line = GainSampler()
    line.load_state_dict({})
    assert not line.fitted


def test_another_number_of_centers_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        AnnSampler(num_centers=7).load_state_dict(golden().state_dict())


def test_a_fit_without_its_samples_loads():
    """As what is left of a state_dict where entries of other shapes are taken out."""
    f = AnnSampler()
    f.append(RATES, inputs(0.2, 0.4, 0.7, 1.1))
    saved = golden()
    saved.append(RATES, RATES)
    found = f.load_state_dict({name: v for name, v in saved.state_dict().items() if name != "samples"}, strict=False)
    assert not found.missing_keys
    same(f, GOLDEN, [1, 1, 2 / 3, 2 / 3])
    assert not len(f.z)
    assert not f.pending
    other = golden()
    other.clear()
    for sampler in (f, other):  # a choice of the samples that come now, in which the lost ones do not count
        sampler.append(RATES, inputs(0.2, 0.4, 0.7, 1.1))
        sampler.soft_clear()
    np.testing.assert_array_equal(f.z, other.z)


def state(sampler):
    return {name: value.clone() for name, value in sampler.state_dict().items()}


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (golden, {"counts": torch.tensor([1, 2])}, r"f\.counts: expected shape \(6,\), got \(2,\)"),
        (golden, {"samples": torch.zeros(3, 3)}, r"f\.samples: expected shape \(n, 2\), got \(3, 3\)"),
        (golden, {"samples": torch.tensor(1.0)}, r"f\.samples: expected shape \(n, 2\), got \(\)"),
        (golden, {"knots": torch.zeros(4, 9)}, r"size mismatch for f\.knots"),
        (GainSampler, {"sums": torch.zeros(3)}, r"f\.sums: expected shape \(4,\), got \(3,\)"),
        (GainSampler, {"gain": torch.zeros(2)}, r"size mismatch for f\.gain"),
    ],
)
def test_what_is_refused_changes_nothing(make, change, message):
    other = make()
    other.append(3 * RATES, RATES)
    other.fit()
    saved = {f"f.{name}": value for name, value in (other.state_dict() | change).items()}
    f = make()
    before = state(f)
    with pytest.raises(RuntimeError, match=message):
        torch.nn.ModuleDict({"f": f}).load_state_dict(saved)
    assert not [name for name, value in state(f).items() if not torch.equal(value, before[name])]


@pytest.mark.parametrize(("make", "name"), [(golden, "knots"), (GainSampler, "gain")])
def test_counts_without_a_fit_change_nothing(make, name):
    other = make()
    other.append(3 * RATES, RATES)
    other.fit()
    f = make()
    before = state(f)
    part = {key: value for key, value in other.state_dict().items() if key != name}
    assert f.load_state_dict(part, strict=False).missing_keys == [name]
    assert not [key for key, value in state(f).items() if not torch.equal(value, before[key])]


# -------------------------------------------------------------------------------------------------------------- gain
def test_gain_is_the_line_of_least_squares():
    f = GainSampler()
    z = torch.tensor([[1.0], [2.0], [-3.0]])
    f.append(torch.tensor([[3.0, 5.0], [8.0, 8.0], [-12.0, -12.0]]), z)
    assert f.pending
    f.fit()
    torch.testing.assert_close(f(z), (4 + 16 + 36) / 14 * z)
    f.soft_clear()
    f.append(100 * z, z)
    other = GainSampler()
    other.load_state_dict(f.state_dict())
    for sampler in (f, other):
        sampler.fit()
        torch.testing.assert_close(sampler.gain, torch.tensor((28 + 1400) / 21))
    f.clear()
    f.append(z, torch.zeros(3, 1))
    f.fit()  # says nothing of a gain
    assert torch.isfinite(f.gain)


# ------------------------------------------------------------------------------------------------------------- edges
def test_plot_draws_samples_line_and_centers():
    mpl.use("agg")
    f = golden()
    axes = f.plot(figsize=(3, 2))
    samples, line, centers = axes.lines
    assert len(samples.get_xdata()) == 20
    assert len(line.get_xdata()) == 1000
    np.testing.assert_allclose(centers.get_ydata(), f.centers[:, 1])
    assert line.get_ydata().max() == pytest.approx(0.8)
    mpl.pyplot.close(axes.figure)
    assert AnnSampler().plot().get_xlabel() == "weighted input"
    mpl.pyplot.close()


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_centers": 0}, {"num_centers": 2.5}, {"sample_range": (0.9, 0.1)}, {"sample_range": (0, 0.5)},
        {"sample_range": (0.1, 1.2)}, {"eps": -1}, {"alpha": 2}, {"capacity": 0}, {"seed": -1},
        {"sample_range": 1}, {"sample_range": None}, {"sample_range": ("a", "b")}, {"sample_range": (0.1, 0.5, 0.9)},
        {"sample_range": (0.1, float("nan"))}, {"eps": "a"}, {"eps": float("inf")}, {"alpha": None}, {"alpha": True},
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(arguments):
    with pytest.raises(ParameterError, match="expected"):
        AnnSampler(**arguments)


def test_ends_may_come_in_any_form():
    for ends in ([0.2, 1], np.array([0.2, 1.0]), torch.tensor([0.2, 1], dtype=torch.float64)):
        assert AnnSampler(sample_range=ends).sample_range == (0.2, 1.0)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ShapeError, match="one shape but for time"):
        AnnSampler().append(torch.ones(2, 3, 4), torch.ones(2, 4, 4))
