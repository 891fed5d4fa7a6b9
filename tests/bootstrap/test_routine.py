"""Modes over blocks and epochs."""

import pytest

from lavadl_lite.bootstrap.routine import LayerMode, Mode, Scheduler
from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.utils import LearningStat


def modes(layer_mode, blocks=4):
    return [mode for mode, _ in zip(layer_mode, range(blocks), strict=False)]


def test_modes_have_the_numbers_of_lava_dl():
    assert [(mode.name, mode.value) for mode in Mode] == [("SNN", 0), ("ANN", 1), ("SAMPLE", 2), ("FIT", 3)]


@pytest.mark.parametrize("base", Mode, ids=lambda mode: mode.name)
def test_blocks_before_the_crossover_spike(base):
    expected = [Mode.SAMPLE] * 4 if base is Mode.SAMPLE else [Mode.SNN] * 2 + [base] * 2
    layer_mode = LayerMode(2, base)
    assert modes(layer_mode) == expected
    assert modes(layer_mode) == expected  # defect B11: the second loop continued the first
    assert layer_mode.spiking is True
    assert LayerMode(0, base).spiking is (base in (Mode.SNN, Mode.SAMPLE))


def test_text():
    assert str(LayerMode(0, Mode.FIT)) == "Mode: FIT"
    assert str(LayerMode(3, Mode.ANN)) == "Mode: ANN, crossover at: 3"
    assert repr(LayerMode(3, Mode.ANN)) == "LayerMode(crossover=3, base_mode=Mode.ANN)"
    assert repr(Scheduler(2, 5, {7, 3})) == (
        "Scheduler(num_sample_iter=2, sample_period=5, crossover_epochs=(3, 7))"
    )  # fmt: skip


def test_golden_schedule():
    scheduler = Scheduler(num_sample_iter=2)
    assert [scheduler.mode(0, i).base_mode.name for i in range(4)] == ["SAMPLE", "SAMPLE", "FIT", "ANN"]
    assert scheduler.mode(0, 0, train=False).base_mode is Mode.SNN
    assert scheduler.mode(3, 0, train=False).base_mode is Mode.ANN
    assert scheduler.mode(3, 0).base_mode is Mode.ANN
    assert scheduler.mode(10, 1).base_mode is Mode.SAMPLE


def test_one_more_block_spikes_from_each_landmark_on():
    scheduler = Scheduler(crossover_epochs=[4, 2, 4])
    assert [scheduler.mode(epoch, i).crossover for epoch in range(6) for i in (0, 1)] == [0] * 4 + [1] * 4 + [2] * 4
    assert scheduler.mode(5, 0, train=False).crossover == 2
    assert scheduler.crossover == 2
    # taken up again: nothing has to be remembered
    assert Scheduler(crossover_epochs=[4, 2, 4]).mode(5, 3).crossover == 2


def test_statistics_of_epochs_with_spikes_are_kept_apart():
    scheduler, stat = Scheduler(), LearningStat()
    stat.num_samples, stat.loss_sum, stat.correct_samples = 10, 5.0, 9
    scheduler.sync_snn_stat(stat)
    assert (scheduler.snn_stat.loss, scheduler.snn_stat.accuracy) == (0.5, 0.9)
    scheduler.update_snn_stat()
    assert (scheduler.snn_stat.max_accuracy, scheduler.snn_stat.num_samples) == (0.9, 0)
    assert stat.num_samples == 10


@pytest.mark.parametrize(
    "call",
    [
        lambda: LayerMode(-1), lambda: LayerMode(0, 1), lambda: LayerMode(True), lambda: Scheduler(0),
        lambda: Scheduler(1.5), lambda: Scheduler(sample_period=0), lambda: Scheduler(crossover_epochs=[-1]),
        lambda: Scheduler().mode(-1, 0), lambda: Scheduler().mode(0, 0.5),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(call):
    with pytest.raises(ParameterError, match="expected"):
        call()
