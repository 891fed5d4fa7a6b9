import copy
import math
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.utils import LearningStat, LearningStats

PHASES = ("training", "validation", "testing")


def count(stat, loss, correct, samples):
    stat.loss_sum += loss * samples
    stat.correct_samples += correct
    stat.num_samples += samples


def epochs(stats, *losses, **phases):
    """Close one epoch for each loss, the same in each phase named; accuracy is 1 - loss."""
    for loss in losses:
        for phase in phases or ("training",):
            if loss is not None:
                count(getattr(stats, phase), loss, 100 * (1 - loss), 100)
        stats.update()


def test_figures_are_means_over_samples():
    stat = LearningStat()
    assert (stat.loss, stat.accuracy) == (None, None)
    count(stat, 0.5, 3, 4)
    count(stat, 0.25, 1, 4)
    assert (stat.loss, stat.accuracy) == (0.375, 0.5)
    stat.reset()
    assert (stat.loss_sum, stat.correct_samples, stat.num_samples, stat.loss) == (0, 0, 0, None)


def test_best_is_strictly_better_than_all_before():
    stat, best = LearningStat(), []
    for loss in (0.5, 0.5, 0.6, 0.25):
        count(stat, loss, round(4 * (1 - loss)), 4)
        stat.update()
        stat.reset()
        best.append((stat.best_loss, stat.best_accuracy))
    assert best == [(True, True), (False, False), (False, False), (True, True)]
    assert (stat.min_loss, stat.max_accuracy) == (0.25, 0.75)
    assert stat.loss_log == pytest.approx([0.5, 0.5, 0.6, 0.25])
    assert stat.accuracy_log == [0.5, 0.5, 0.5, 0.75]


def test_epoch_without_samples_is_logged_as_none():
    stats = LearningStats()
    epochs(stats, 0.5, None, 0.25, training=True)
    assert stats.training.loss_log == [0.5, None, 0.25]
    assert stats.training.accuracy_log == [0.5, None, 0.75]
    assert stats.training.best_loss
    assert stats.validation.loss_log == [None, None, None]
    assert (stats.training.valid_loss_log, stats.validation.valid_loss_log) == (True, False)
    assert (LearningStat().valid_loss_log, LearningStat().valid_accuracy_log) == (False, False)


def test_first_epoch_counts_as_best_and_one_without_samples_later_does_not():
    stat = LearningStat()
    stat.update()
    assert (stat.best_loss, stat.best_accuracy) == (True, True)
    count(stat, 0.5, 1, 2)
    stat.update()
    stat.reset()
    stat.update()
    assert (stat.best_loss, stat.best_accuracy, stat.min_loss) == (False, False, 0.5)


def test_loss_that_was_nan_does_not_stay_the_best():
    stat = LearningStat()
    for loss in (math.nan, 0.5, math.nan):
        stat.record(loss, 0.0)
    assert (stat.min_loss, stat.best_loss) == (0.5, False)


def test_string_layout():
    stat = LearningStat()
    assert str(stat) == ""
    count(stat, 0.25, 1, 4)
    assert str(stat) == "loss =     0.25000  " + " " * 24 + "accuracy = 0.25000 "
    best = LearningStat()
    count(best, 0.5, 3, 4)
    best.update()
    best.reset()
    count(best, 0.25, 1, 4)
    assert str(best) == "loss =     0.25000 (min =     0.50000)     accuracy = 0.25000 (max = 0.75000) "


def test_string_has_names_and_units():
    stats = LearningStats("MSE", "rad", "AP@0.5", "%")
    for phase in PHASES:
        count(getattr(stats, phase), 2.0, 1, 2)
    one = "MSE =     2.00000  rad" + " " * 24 + "AP@0.5 = 0.50000 %"
    assert str(stats) == f"Train {one} | Valid {one} | Test  {one}"
    stats.update()
    assert str(stats) == "Train "
    count(stats.testing, 2.0, 1, 2)
    assert str(stats) == (
        "Train  | Test  MSE =     2.00000 (min =     2.00000) rad    AP@0.5 = 0.50000 (max = 0.50000) %"
    )


class Loader:
    batch_size = 32
    dataset = range(1000)

    def __len__(self):
        return 32


def test_print_writes_over_what_it_wrote(capsys):
    stats = LearningStats()
    count(stats.training, 0.25, 1, 4)
    train = "Train loss =     0.25000  " + " " * 24 + "accuracy = 0.25000 "
    stats.print(3)
    assert capsys.readouterr().out == f"\033[0A\nEpoch    3{' ' * 8}\n{train}\n"
    assert stats.lines_printed == 3
    count(stats.testing, 0.25, 1, 4)
    stats.print(3, iter=7, time_elapsed=0.0015, header=["a", 2])
    test = "Test  loss =     0.25000  " + " " * 24 + "accuracy = 0.25000 "
    assert capsys.readouterr().out == (
        f"\033[3A\n\033[2Ka\n\033[2K2\nEpoch    3: i =     7 ,       1.5000 ms elapsed{' ' * 8}\n{train} \n{test}\n"
    )
    assert stats.lines_printed == 6
    stats.print(12, iter=8, dataloader=Loader())
    assert f"\nEpoch   12: 256/1000 (25%){' ' * 8}\n" in capsys.readouterr().out
    stats.new_line()
    assert stats.lines_printed == 0


def test_file_layout(tmp_path):
    stats = LearningStats()
    epochs(stats, 0.5, 0.25, training=True, testing=True)
    stats.save(f"{tmp_path}/")
    assert (tmp_path / "loss.txt").read_bytes() == (
        b"# Train        Test        \r\n    0.500000     0.500000 \r\n    0.250000     0.250000 \r\n"
    )
    assert (tmp_path / "accuracy.txt").read_bytes() == (
        b"# Train        Test        \r\n    0.500000     0.500000 \r\n    0.750000     0.750000 \r\n"
    )
    epochs(stats, 0.125, validation=True)
    stats.save(f"{tmp_path}/run-")
    lines = (tmp_path / "run-loss.txt").read_text().splitlines()
    assert lines[0] == "# Train        Valid        Test        "
    assert lines[3] == "         nan     0.125000          nan "
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "accuracy.txt", "loss.txt", "run-accuracy.txt", "run-loss.txt"
    ]  # fmt: skip


def test_columns_follow_the_log_that_is_written(tmp_path):
    stats = LearningStats()
    stats.training.record(0.5, None)
    stats.testing.record(0.5, 0.75)
    stats.validation.record(None, None)
    stats.save(tmp_path)
    assert (tmp_path / "loss.txt").read_text().startswith("# Train        Test        \n")
    assert (tmp_path / "accuracy.txt").read_text() == "# Test        \n    0.750000 \n"


def test_without_accuracies_no_file_of_them(tmp_path):
    stats = LearningStats("MSE")
    stats.training.record(0.5, None)
    stats.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["MSE.txt"]
    other = LearningStats("MSE")
    other.load(tmp_path)
    assert (other.training.loss_log, other.training.accuracy_log) == ([0.5], [None])


entries = st.none() | st.integers(0, 10**9).map(lambda millionths: millionths / 10**6)
rows = st.lists(st.lists(st.tuples(entries, entries), min_size=3, max_size=3), min_size=1, max_size=6)


@given(rows=rows)
def test_load_restores_what_save_wrote(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stats")
    if any(all(loss is None for loss, _ in row) or all(accuracy is None for _, accuracy in row) for row in rows):
        rows = [[(0.5, 0.5), *row[1:]] for row in rows]  # an epoch without any sample leaves no line
    stats, loaded = LearningStats(), LearningStats()
    for row in rows:
        for phase, (loss, accuracy) in zip(PHASES, row, strict=True):
            getattr(stats, phase).record(loss, accuracy)
    stats.save(folder)
    count(loaded.training, 3.0, 1, 2)
    loaded.training.record(9.0, 0.1)
    loaded.load(folder)
    for phase in PHASES:
        assert vars(getattr(loaded, phase)) == vars(getattr(stats, phase))
    before = (folder / "loss.txt").read_bytes(), (folder / "accuracy.txt").read_bytes()
    loaded.save(folder)
    assert ((folder / "loss.txt").read_bytes(), (folder / "accuracy.txt").read_bytes()) == before


def test_load_keeps_names_and_lets_training_go_on(tmp_path):
    stats = LearningStats("MSE", "rad")
    epochs(stats, 0.5, 0.25)
    stats.save(tmp_path)
    other = LearningStats("MSE", "rad")
    other.load(tmp_path)
    epochs(other, 0.125)
    assert other.training.loss_log == [0.5, 0.25, 0.125]
    assert (other.training.loss_unit, other.training.min_loss, other.training.best_loss) == ("rad", 0.125, True)


def test_load_reads_line_ends_of_windows_text_mode(tmp_path):
    (tmp_path / "loss.txt").write_bytes(b"# Train       \r\r\n    0.500000 \r\r\n    0.250000 \r\r\n")
    stats = LearningStats()
    stats.load(tmp_path)
    assert stats.training.loss_log == [0.5, 0.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("0.5 0.5\n", "line 1"),
        ("# Train Other\n", "line 1"),
        ("# Test Train\n", "line 1"),
        ("# Train Train\n", "line 1"),
        ("# Train Test\n0.5 0.5\n0.5\n", "line 3: expected 2 columns"),
        ("# Train\nhalf\n", "line 2: expected numbers"),
    ],
)
def test_damaged_file_raises_and_changes_nothing(text, message, tmp_path):
    (tmp_path / "loss.txt").write_text(text)
    stats = LearningStats()
    epochs(stats, 0.5)
    with pytest.raises(ParameterError, match=message):
        stats.load(tmp_path)
    assert stats.training.loss_log == [0.5]


def test_load_without_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        LearningStats().load(tmp_path)


def test_failed_save_leaves_the_old_file(tmp_path):
    stats = LearningStats()
    epochs(stats, 0.5)
    stats.save(tmp_path)
    stats.training.loss_log.append("no number")
    with pytest.raises(ValueError, match="format"):
        stats.save(tmp_path)
    assert (tmp_path / "loss.txt").read_text() == "# Train       \n    0.500000 \n"
    assert len(list(tmp_path.iterdir())) == 2


def test_plot_draws_what_is_logged(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    stats = LearningStats("MSE", "rad")
    epochs(stats, 0.5, None, 0.25, training=True, testing=True)
    stats.plot(figures=(11, 12), figsize=(3, 2), path=f"{tmp_path}/run-")
    loss, accuracy = (plt.figure(number).gca() for number in (11, 12))
    assert [line.get_label() for line in loss.lines] == ["Training", "Testing"]
    assert loss.lines[0].get_ydata() == pytest.approx([0.5, math.nan, 0.25], nan_ok=True)
    assert (loss.get_yscale(), loss.get_ylabel(), loss.get_xlabel()) == ("log", "Mse rad", "Epoch")
    assert (accuracy.get_yscale(), accuracy.get_ylabel()) == ("linear", "Accuracy")
    assert tuple(loss.figure.get_size_inches()) == (3, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-accuracy.png", "run-loss.png"]
    stats.plot(figures=(11, 12))
    assert len(plt.figure(11).gca().lines) == 2
    plt.close("all")
    LearningStats().plot(path=tmp_path / "nowhere")
    assert plt.get_fignums() == []


def test_plot_without_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    stats = LearningStats()
    epochs(stats, 0.5)
    with pytest.raises(ImportError, match=r"lavadl-lite\[viz\]"):
        stats.plot()


def test_statistics_survive_copy_and_pickle():
    stats = LearningStats("MSE")
    epochs(stats, 0.5, 0.25)
    for other in (copy.deepcopy(stats), pickle.loads(pickle.dumps(stats))):
        assert vars(other.training) == vars(stats.training)
        other.training.loss_log.append(1.0)
    assert stats.training.loss_log == [0.5, 0.25]
