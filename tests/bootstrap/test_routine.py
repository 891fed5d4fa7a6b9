"""Modes over blocks and epochs."""

import numpy as np
import pytest

from lavadl_lite.bootstrap.routine import LayerMode, Mode, Scheduler
from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.utils import LearningStat, LearningStats


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


@pytest.mark.parametrize(
    "landmarks",
    [(4, 2), {2, 4}, iter([2, 4]), (epoch for epoch in (4, 2)), np.array([2, 4]), range(2, 5, 2)],
    ids=lambda landmarks: type(landmarks).__name__,
)
def test_landmarks_may_come_in_any_form(landmarks):
    scheduler = Scheduler(crossover_epochs=landmarks)
    assert scheduler.crossover_epochs == (2, 4)
    assert [scheduler.mode(epoch, 0).crossover for epoch in range(6)] == [0, 0, 1, 1, 2, 2]


def test_no_landmarks():
    for landmarks in (None, (), np.array([], int)):
        assert Scheduler(crossover_epochs=landmarks).mode(9, 0).crossover == 0


def test_integers_of_numpy_are_integers():
    ours, other = Scheduler(np.int64(2), np.int32(3), [np.int64(4)]), Scheduler(2, 3, [4])
    for epoch in range(6):
        for i in range(4):
            assert str(ours.mode(np.int64(epoch), np.int16(i))) == str(other.mode(epoch, i))
    assert repr(ours) == repr(other)
    assert repr(LayerMode(np.int64(2))) == repr(LayerMode(2))


def test_the_crossover_cannot_be_set():
    """It follows from the epoch: what was set had no effect."""
    scheduler = Scheduler(crossover_epochs=[0])
    with pytest.raises(AttributeError):
        scheduler.crossover = 2
    assert scheduler.mode(0, 0).crossover == scheduler.crossover == 1


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
        lambda: Scheduler().mode(-1, 0), lambda: Scheduler().mode(0, 0.5), lambda: Scheduler().mode(True, 0),
        lambda: Scheduler(crossover_epochs=5), lambda: Scheduler(crossover_epochs=["a"]),
        lambda: Scheduler(crossover_epochs=[1.0]), lambda: Scheduler(crossover_epochs=np.array(3)),
        lambda: Scheduler(crossover_epochs=0), lambda: Scheduler().sync_snn_stat(5),
        lambda: Scheduler().sync_snn_stat(LearningStats()),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(call):
    with pytest.raises(ParameterError, match="expected"):
        call()
