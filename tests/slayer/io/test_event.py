import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ParameterError, ShapeError
from lavadl_lite.slayer.io import Event, tensor_to_event
from tests import strategies

EVENT = Event([0, 2, 2], [1, 0, 0], [1, 0, 0], [0.2, 3.0, 3.4])


def test_members_are_copies_and_stay_as_they_are():
    c = np.array([1, 1])
    event = Event(torch.tensor([3, 4]), None, c, [0.5, 1], payload=[1.5, 2])
    assert (event.dim, event.graded, event.y) == (1, True, None)
    assert event.c.tolist() == [1, 1], "channels are not counted from the first one that occurs"
    event.c[0] = 7
    assert c.tolist() == [1, 1]
    assert repr(event) == "Event(2 graded events, dim=1)"
    assert Event([1.9, -1.9], [0, 0], [0, 0], [0, 0]).x.tolist() == [1, -1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, 2], None, [0], [0, 0]), ShapeError, "expected c of 2 events as x has, got 1"),
        (([1], [1, 2], [0], [0]), ShapeError, "expected y of 1"),
        (([1], None, [0], [0], [1, 2]), ShapeError, "expected p of 1"),
        (([[1]], None, [0], [0]), ShapeError, "x_event of shape"),
        ((["1"], None, [0], [0]), ParameterError, "real numbers"),
        (([1], None, [0], [np.nan]), ParameterError, "t_event to be finite, got nan"),
        (([np.inf], None, [0], [0]), ParameterError, "x_event to be finite, got inf"),
        (([1e300], None, [0], [0]), ParameterError, "64 bits"),
    ],
)
def test_bad_members_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Event(*arguments)


def test_replaced_members_are_checked_at_use():
    event = Event([1], [1], [0], [0])
    event.x = np.array([1, 2])
    with pytest.raises(ShapeError, match="expected y of 2 events"):
        event.fill_tensor(torch.zeros(1, 2, 2, 2))


def test_bins_are_set_or_added_up():
    marked, added = (EVENT.fill_tensor(torch.zeros(2, 2, 3, 4), binning_mode=mode) for mode in ("OR", "sum"))
    assert {tuple(i): 1.0 for i in marked.nonzero().tolist()} == {(1, 1, 0, 0): 1.0, (0, 0, 2, 3): 1.0}
    assert marked.sum() == 2
    assert (added[0, 0, 2, 3], added.sum()) == (2, 3)
    half = EVENT.fill_tensor(torch.zeros(2, 2, 3, 8), sampling_time=0.5)
    assert [(i[3], float(half[tuple(i)])) for i in half.nonzero().tolist()] == [(6, 2), (7, 2), (0, 2)]


def test_graded_events_are_always_added():
    event = Event([0, 0], None, [0, 0], [1, 1], payload=[3, 4])
    assert event.fill_tensor(torch.zeros(1, 1, 1, 2)).flatten().tolist() == [0, 7]
    assert event.fill_tensor(torch.zeros(1, 1, 1), sampling_time=4).item() == 7 / 4


def test_events_outside_are_left_out():
    event = Event([-1, 3, 0, 0, 0, 0, 0], [0, 0, -1, 2, 0, 0, 0], [0, 0, 0, 0, 2, 0, 0], [0, 0, 0, 0, 0, -0.6, 4])
    assert not event.fill_tensor(torch.zeros(2, 2, 3, 4)).any()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(2, 2, 3, 4),
        torch.zeros(2, 2, 3, 4, dtype=torch.float64),
        torch.zeros(2, 2, 3, 4, dtype=torch.bfloat16),
        torch.zeros(2, 2, 3, 4, dtype=torch.int64),
        torch.zeros(2, 2, 3, 4, dtype=torch.bool),
        torch.zeros(4, 3, 2, 2).permute(3, 2, 1, 0),
        np.zeros((2, 2, 3, 4)),
        np.zeros((2, 2, 3, 4), np.float16),
        np.zeros((2, 2, 3, 4), ">f4"),
        np.zeros((2, 2, 6, 4), np.float32)[:, :, ::2],
    ],
    ids=lambda tensor: f"{type(tensor).__name__}, {tensor.dtype}",
)
def test_any_memory_is_filled_in_place(tensor):
    assert EVENT.fill_tensor(tensor) is tensor
    expected = EVENT.fill_tensor(torch.zeros(2, 2, 3, 4)).numpy()
    np.testing.assert_array_equal(torch.as_tensor(tensor.tolist()).float().numpy(), expected)


def test_wrong_arguments_are_refused():
    for tensor in ([0], torch.zeros(1, 1, 1, 1, dtype=torch.complex64), torch.zeros(1, 1, 1, 1, requires_grad=True)):
        with pytest.raises(ParameterError, match="expected a"):
            EVENT.fill_tensor(tensor)
    locked = np.zeros((2, 2, 3, 4), np.float32)
    locked.flags.writeable = False
    with pytest.raises(ParameterError, match="writeable"):
        EVENT.fill_tensor(locked)
    with pytest.raises(ShapeError, match=r"\(C, Y, X, T\) for events with dim=2, got \(2, 3, 4\)"):
        EVENT.fill_tensor(torch.zeros(2, 3, 4))
    with pytest.raises(ShapeError, match=r"or \(C, X, T\)"):
        Event([0], None, [0], [0]).fill_tensor(torch.zeros(2, 3))
    for value in (0, -1, np.nan, np.inf, "1"):
        with pytest.raises(ParameterError, match="sampling_time to be a positive number"):
            EVENT.fill_tensor(torch.zeros(2, 2, 3, 4), value)
    with pytest.raises(ParameterError, match="'OR' or 'SUM', got 'MEAN'"):
        EVENT.fill_tensor(torch.zeros(2, 2, 3, 4), binning_mode="MEAN")
    with pytest.raises(ShapeError, match="4 axes"):
        EVENT.to_tensor(dim=(2, 3, 4))


def test_extent_is_inferred_to_the_last_event():
    """Half bins round to even, and none is lost for it."""
    assert EVENT.to_tensor().shape == (2, 2, 3, 4)
    event = Event([0, 4], None, [0, 1], [0, 1.5])
    tensor = event.to_tensor()
    assert (tensor.dtype, tensor.shape, tensor[1, 4, 2]) == (np.float64, (2, 5, 3), 1)
    assert event.to_tensor(dim=(2, 6, 9)).shape == (2, 6, 9)
    event.t = np.array([0, np.inf])
    with pytest.raises(ParameterError, match="finite positions"):
        event.to_tensor()


def test_one_channel_takes_the_lowest_that_there_is():
    """As lava-dl, whose recordings of one polarity fill it; two channels keep polarities apart."""
    for c in ([1, 1], [0, 1]):
        event = Event([0, 2], None, c, [0, 1])
        one, two = (event.fill_tensor(torch.zeros(channels, 3, 2)) for channels in (1, 2))
        assert torch.equal(one[0], two[min(c)])
        assert two.sum() == 2


def test_recordings_without_events():
    for event, shape in ((Event([], [], [], []), (0, 0, 0, 0)), (Event([], None, [], [], []), (0, 0, 0))):
        assert event.to_tensor().shape == shape
        assert not event.fill_tensor(torch.zeros(1, 2, 3, 4), random_shift=True).any()
    event = tensor_to_event(torch.zeros(1, 2, 3, 4))
    assert (len(event.x), event.dim, event.graded) == (0, 2, False)


@given(st.integers(1, 40), st.integers(0, 30), st.integers(1, 30), st.sampled_from([1.0, 0.5, 2.0]), st.integers(0, 99))
def test_random_shift_keeps_all_that_can_be_kept(steps, first, length, sampling_time, seed):
    """All events where they fit; where not, a window full of them."""
    bins = first + np.arange(length)
    event = Event(np.zeros(length), None, np.zeros(length), bins * sampling_time)
    torch.manual_seed(seed)
    tensor = event.fill_tensor(torch.zeros(1, 1, steps), sampling_time, random_shift=True)
    assert tensor.count_nonzero() == min(length, steps)
    found = tensor.flatten().nonzero().flatten()
    assert (found.diff() == 1).all()


def test_random_shift_moves_both_ways():
    event = Event([0], None, [0], [5])
    starts = {int(event.fill_tensor(torch.zeros(1, 1, 9), random_shift=True).argmax()) for _ in range(200)}
    assert starts == set(range(9))


@given(strategies.generators(), st.booleans(), st.booleans(), st.sampled_from([1, 0.5, 3.0]))
def test_tensors_there_and_back(rng, plane, graded, sampling_time):
    shape = tuple(rng.integers(1, 6, 4 if plane else 3))
    values = rng.integers(-8, 9, shape) / 4 if graded else rng.random(shape) < 0.3
    tensor = torch.from_numpy(values).float() / sampling_time
    for given_ in (tensor, tensor.numpy(), tensor.clone().requires_grad_()):
        event = tensor_to_event(given_, sampling_time)
        assert event.dim == 1 + plane
        assert event.graded == bool(((values != 0) & (values != 1)).any())
        np.testing.assert_allclose(event.to_tensor(sampling_time, shape), tensor, rtol=1e-6)


def test_events_come_in_the_order_of_indices():
    tensor = np.zeros((2, 2, 3))
    tensor[1, 0, 2] = tensor[0, 1, 1] = tensor[0, 1, 0] = 0.5
    event = tensor_to_event(tensor, sampling_time=2)
    assert (event.c.tolist(), event.x.tolist(), event.t.tolist()) == ([0, 0, 1], [1, 1, 0], [0, 2, 4])
    assert not event.graded


def test_what_is_no_spike_tensor_is_refused():
    with pytest.raises(ParameterError, match="a tensor or an array, got list"):
        tensor_to_event([[[1]]])
    with pytest.raises(ShapeError, match=r"got shape \(2, 2\)"):
        tensor_to_event(torch.ones(2, 2))
    with pytest.raises(ParameterError, match="to be finite, got nan"):
        tensor_to_event(torch.full((1, 1, 1), torch.nan))
    with pytest.raises(ParameterError, match="real numbers"):
        tensor_to_event(torch.ones(1, 1, 1, dtype=torch.complex64))


@pytest.mark.parametrize("event", [EVENT, Event([0, 3], None, [0, 1], [0, 90], payload=[1, 5])])
def test_animation_and_window(event, monkeypatch, tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    event.anim(frame_rate=50).save(tmp_path / "events.gif", writer="pillow")
    assert (tmp_path / "events.gif").stat().st_size > 0
    assert not pyplot.get_fignums(), "pyplot would show it"
    shown = []

    def show():
        shown.append(pyplot.gcf())
        shown[0].canvas.draw()

    monkeypatch.setattr(pyplot, "show", show)
    event.show(pre_compute_frames=False)
    assert len(shown) == 1
    assert len(shown[0].axes) == 1
    pyplot.close(shown[0])
