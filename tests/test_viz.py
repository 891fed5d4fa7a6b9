import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lavadl_lite import viz
from lavadl_lite.errors import ParameterError, ShapeError

SPIKES = np.array([[[0, 1, 0, 2], [0, 0, 0, 0]], [[1, 0, 0, 0], [0, 0, -1, 1]]])


class Recording(SimpleNamespace):
    """What pictures ask of an event: its numbers of axes, whether it is graded, its columns."""

    def __init__(self, x, y, c, t, p=()):
        columns = {"x": x, "y": () if y is None else y, "c": c, "t": t, "p": p}
        super().__init__(
            dim=1 if y is None else 2, graded=len(p) > 0, data={k: np.array(v) for k, v in columns.items()}
        )

    def columns(self):
        return self.data


@pytest.fixture
def ax():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    pytest.importorskip("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    yield figure.add_subplot()
    figure.canvas.draw()


def test_raster_has_a_row_for_each_neuron(ax):
    rows = viz.raster(SPIKES, ax, sampling_time=0.5, linelengths=0.7)
    assert [row.get_positions() for row in rows] == [[0.5, 1.5], [], [0], [1.0, 1.5]]
    assert [row.get_lineoffset() for row in rows] == [0, 1, 2, 3]
    assert {row.get_linelength() for row in rows} == {0.7}
    assert ax.get_ylim() == (3.6, -0.6), "from top to bottom"
    assert ax.get_xlim() == (-0.25, 1.75)


def test_raster_of_one_neuron_stands_where_it_is_seen(ax):
    (row,) = viz.raster(np.ones(3), ax)
    assert row.get_lineoffset() == 0


def test_traces_with_spikes_and_a_threshold(ax):
    voltage = np.array([[0.0, 1, 0.5], [2, 0, 1]])
    curves = viz.traces(voltage, ax, threshold=1.5, spikes=voltage == 2, label="v")
    assert [curve.get_ydata().tolist() for curve in curves] == voltage.tolist()
    level, marks = ax.lines[2:]
    assert set(level.get_ydata()) == {1.5}
    assert (marks.get_xdata().tolist(), marks.get_ydata().tolist()) == ([0], [2])


def test_traces_with_a_threshold_of_each_neuron(ax):
    threshold = np.array([[1, 2, 3], [3, 2, 1]])
    viz.traces(np.zeros((2, 3)), ax, threshold=threshold, sampling_time=2)
    assert [line.get_ydata().tolist() for line in ax.lines[2:]] == threshold.tolist()
    assert ax.lines[0].get_xdata().tolist() == [0, 2, 4]


def test_rates_count_spikes_not_their_values(ax):
    bars = viz.rates(SPIKES, ax, sampling_time=2)
    assert [bar.get_height() for bar in bars] == [0.25, 0, 0.125, 0.25]


def test_nothing_to_draw_is_drawn(ax):
    assert viz.raster(np.zeros((0, 5)), ax) == []
    assert len(viz.raster(np.zeros((2, 0)), ax)) == 2
    assert viz.traces(np.zeros((0, 5)), ax) == []
    assert len(viz.rates(np.zeros((0, 5)), ax)) == 0


def test_wrong_shapes_are_refused(ax):
    for draw in (viz.raster, viz.traces, viz.rates):
        with pytest.raises(ShapeError, match="got a number"):
            draw(np.float32(1), ax)
    with pytest.raises(ShapeError, match="at most 32 neurons to draw, got 33"):
        viz.traces(np.zeros((33, 2)), ax)
    with pytest.raises(ShapeError, match="spikes of 2 neurons and 3 steps"):
        viz.traces(np.zeros((2, 3)), ax, spikes=np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="threshold of 2 neurons"):
        viz.traces(np.zeros((2, 3)), ax, threshold=np.zeros(3))
    with pytest.raises(ShapeError, match="at least one step"):
        viz.rates(np.zeros((2, 0)), ax)


def test_axes_of_pyplot_by_default():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    figure, ax = pyplot.subplots()
    for draw in (viz.raster, viz.rates):
        assert draw(SPIKES)[0].axes is ax
    assert viz.traces(SPIKES)[0].axes is ax
    pyplot.close(figure)


def test_frames_hold_the_events_of_their_time():
    """10 frames a second are 100 ms each; channel 1 is red, 2 green, 0 blue."""
    event = Recording([0, 2, 1, 0, 0], [1, 0, 0, 0, 0], [1, 2, 0, 3, 1], [250.0, 0, 99, 50, -1])
    frames = viz.Frames(event, frame_rate=10)
    assert len(frames) == 3
    assert frames.shape == (2, 3, 3)
    seen = [{(*map(int, at),) for at in zip(*frames[i].nonzero(), strict=True)} for i in range(3)]
    assert seen == [{(0, 2, 1), (0, 1, 2)}, set(), {(1, 0, 0)}]
    with pytest.raises(IndexError, match="from 0 to 2, got 3"):
        frames[3]
    assert viz.Frames(event, 10, (1, 1))[0].sum() == 0, "events outside are left out"


def test_frames_of_nothing():
    frames = viz.Frames(Recording([], [], [], []))
    assert (len(frames), frames[0].any()) == (1, False)


def test_frames_ask_for_rows_and_a_rate():
    with pytest.raises(ParameterError, match="events with rows"):
        viz.Frames(Recording([0], None, [0], [0]))
    for rate in (0, -1, np.inf):
        with pytest.raises(ParameterError, match="positive frame_rate"):
            viz.Frames(Recording([0], [0], [0], [0]), rate)
    with pytest.raises(ParameterError, match="finite times"):
        viz.Frames(Recording([0], [0], [0], [np.inf]))


@pytest.mark.parametrize("ahead", [True, False])
def test_animated_pictures(ahead, ax):
    event = Recording([0, 1], [0, 0], [1, 1], [0, 150])
    animation = viz.animate_events(event, ax, frame_rate=10, pre_compute_frames=ahead)
    ax.figure.canvas.draw()
    (image,) = ax.images
    for index, column in ((0, 0), (1, 1)):
        animation._draw_frame(index)
        assert image.get_array()[0, :, 0].tolist() == [255 * (column == k) for k in range(2)]


@pytest.mark.parametrize("payload", [(), (2, 5, 3), (2, 2, 2)])
def test_animated_raster_fills_up(payload, ax):
    event = Recording([0, 3, 1], None, [0, 1, 0], [120, 0, 50], payload)
    animation = viz.animate_events(event, ax, frame_rate=10, pre_compute_frames=False, repeat=False)
    ax.figure.canvas.draw()
    (dots,) = ax.collections
    for index, expected in ((0, [[0, 3], [50, 1]]), (1, [[0, 3], [50, 1], [120, 0]])):
        animation._draw_frame(index)
        assert dots.get_offsets().tolist() == expected
        assert np.isfinite(dots.get_sizes()).all()
        assert set(ax.lines[0].get_xdata()) == {100 * (index + 1)}


def test_animation_on_a_figure_of_its_own(tmp_path):
    pytest.importorskip("matplotlib")
    event = Recording([0, 1], [0, 0], [1, 1], [0, 150])
    viz.animate_events(event).save(tmp_path / "events.gif", writer="pillow")
    assert (tmp_path / "events.gif").stat().st_size


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"lavadl-lite\[viz\]"):
        viz.raster(SPIKES)
