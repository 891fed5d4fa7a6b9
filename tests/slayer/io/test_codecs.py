import io as standard_io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.errors import ExchangeError, ParameterError
from lavadl_lite.slayer import io
from tests import strategies

FIVE_BYTES = {1: (io.encode_1d_spikes, io.read_1d_spikes), 2: (io.encode_2d_spikes, io.read_2d_spikes)}
ENDS = {"x": 65535, "y": 255, "c": 1, "t": (1 << 23) - 1}


@st.composite
def recordings(draw, dim):
    """Events of all that five bytes can hold, the ends often; times are whole microseconds."""
    rng = draw(strategies.generators())
    count = draw(st.sampled_from([0, 1, 2, 30]))

    def numbers(last):
        return np.where(rng.random(count) < 0.3, rng.choice([0, last], count), rng.integers(0, last + 1, count))

    x, y, c, t = (numbers(min(last, 255) if dim == 2 and name == "x" else last) for name, last in ENDS.items())
    return io.Event(x, y if dim == 2 else None, c, t / 1000)


def assert_equal(found, expected):
    assert (found.dim, found.graded) == (expected.dim, False)
    for name in "xyct" if expected.dim == 2 else "xct":
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("events") / "recording.bs2"


@pytest.mark.parametrize("dim", [1, 2])
@given(data=st.data())
def test_five_bytes_there_and_back(dim, data, path):
    encode, read = FIVE_BYTES[dim]
    event = data.draw(recordings(dim))
    encode(path, event)
    assert path.stat().st_size == 5 * len(event.x)
    assert_equal(read(path), event)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("dim", [1, 2])
@given(data=st.data(), time_unit=st.sampled_from([1e-3, 1e-6, 1.0]))
def test_arrays_there_and_back(dim, data, time_unit, path):
    event = data.draw(recordings(dim))
    io.encode_np_spikes(path, event, time_unit=time_unit)
    found = io.read_np_spikes(path, time_unit=time_unit)
    np.testing.assert_allclose(found.t, event.t, rtol=1e-15)
    found.t = event.t
    assert_equal(found, event)


def test_bytes_as_documented(path):
    """Worked out by hand: 1.5 ms are 0x5dc microseconds, 300 is 0x12c."""
    io.encode_1d_spikes(path, io.Event([255, 300], None, [1, 0], [1.5, 8388.607]))
    assert path.read_bytes() == bytes.fromhex("00ff8005dc 012c7fffff")
    io.encode_2d_spikes(path, io.Event([3], [4], [1], [65.536]))
    assert path.read_bytes() == bytes.fromhex("0304810000")


def test_fractions_are_rounded_as_in_tensors(path):
    event = io.Event([0, 0], [0, 0], [1, 1], [0.0005, 0.0015])
    event.x = np.array([1.5, 2.4])
    io.encode_2d_spikes(path, event)
    found = io.read_2d_spikes(path)
    assert (found.x.tolist(), found.t.tolist()) == ([2, 2], [0, 0.002])


def test_time_unit_is_what_the_file_counts_in(path):
    io.encode_np_spikes(path, io.Event([1], [2], [0], [3.5]), time_unit=1e-6)
    np.testing.assert_allclose(np.load(path), [[1, 2, 0, 3500]])


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize(
    "change",
    [{"x": -1}, {"x": 65536}, {"c": 2}, {"c": -1}, {"t": -0.001}, {"t": 8388.608}, {"t": np.nan}, {"t": np.inf}],
)
def test_what_does_not_fit_is_not_written(dim, change, tmp_path):
    event = io.Event([1], [1] if dim == 2 else None, [1], [1.0])
    for name, value in change.items():
        setattr(event, name, np.array([value]))
    path = tmp_path / "recording"
    with pytest.raises(ParameterError, match="expected"):
        FIVE_BYTES[dim][0](path, event)
    assert not list(tmp_path.iterdir())


def test_two_dimensions_take_eight_bits(path):
    for event in (io.Event([256], [0], [0], [0]), io.Event([0], [256], [0], [0])):
        with pytest.raises(ParameterError, match="from 0 to 255, got 256"):
            io.encode_2d_spikes(path, event)


@pytest.mark.parametrize("encode", [io.encode_1d_spikes, io.encode_2d_spikes, io.encode_np_spikes])
def test_payloads_and_wrong_dimensions_are_refused(encode, path):
    with pytest.raises(ParameterError, match="binary"):
        encode(path, io.Event([1], None if encode is io.encode_1d_spikes else [1], [0], [0], payload=[2]))
    with pytest.raises(ParameterError, match="an Event, got list"):
        encode(path, [[0, 0, 0, 0]])
    if encode is not io.encode_np_spikes:
        with pytest.raises(ParameterError, match="of dim"):
            encode(path, io.Event([1], [1] if encode is io.encode_1d_spikes else None, [0], [0]))


def test_arrays_refuse_what_they_cannot_hold(path):
    for event in (io.Event([-1], None, [0], [0]), io.Event([1], [-2], [0], [0]), io.Event([1], [2], [-1], [0])):
        with pytest.raises(ParameterError, match="from 0 to"):
            io.encode_np_spikes(path, event)
    event = io.Event([1], [1], [0], [0])
    with pytest.raises(ParameterError, match="fmt"):
        io.encode_np_spikes(path, event, fmt="xytp")
    with pytest.raises(ParameterError, match="time_unit"):
        io.encode_np_spikes(path, event, time_unit=0)


@pytest.mark.parametrize("read", [io.read_1d_spikes, io.read_2d_spikes])
@given(st.binary(max_size=32))
def test_cut_files_are_refused(read, path, content):
    path.write_bytes(content)
    if len(content) % 5:
        with pytest.raises(ExchangeError, match=f"multiple of 5 bytes, got {len(content)}"):
            read(path)
    else:
        assert len(read(path).t) == len(content) // 5


def npy(array, version=(1, 0)):
    stream = standard_io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), version=version, allow_pickle=array.dtype.hasobject)
    return stream.getvalue()


WHOLE = npy(np.arange(8.0).reshape(2, 4))


@given(data=st.data())
def test_damaged_arrays_are_refused(data, path):
    """Cut or extended anywhere; a bit that is turned over in the header gives an error, or finite events."""
    kind = data.draw(st.sampled_from(["cut", "longer", "header"]))
    if kind == "header":
        at = data.draw(st.integers(0, len(WHOLE) - 65))
        content = bytearray(WHOLE)
        content[at] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(bytes(content))
        try:
            event = io.read_np_spikes(path)
        except ExchangeError:
            return
        assert np.isfinite(event.t).all()
        return
    content = WHOLE[: data.draw(st.integers(0, len(WHOLE) - 1))] if kind == "cut" else WHOLE + b"\0"
    path.write_bytes(content)
    with pytest.raises(ExchangeError, match=r"recording\.bs2: expected"):
        io.read_np_spikes(path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(4),
        np.zeros((2, 5)),
        np.zeros((2, 4), complex),
        np.array([["a"] * 4]),
        np.array([[None] * 4]),
        np.zeros((2, 4), [("x", float)]),
        np.array([[0, 0, 0, np.nan]]),
        np.array([[np.inf, 0, 0, 0]]),
        np.array([[0.5, 0, 0, 0]]),
        np.array([[0, -1, 0, 0]]),
        np.array([[0, 0, -1, 0]]),
        np.array([[1e300, 0, 0]]),
    ],
    ids=repr,
)
def test_other_arrays_are_refused(array, path):
    path.write_bytes(npy(array))
    with pytest.raises(ExchangeError, match=r"recording\.bs2: expected"):
        io.read_np_spikes(path)


def test_hostile_header_costs_no_memory(path):
    """A shape of 2**40 rows in 64 bytes of data."""
    path.write_bytes(WHOLE.replace(b"(2, 4)", b"(2, %d)" % 4).replace(b"(2, 4), }           ", b"(%d, 4), }" % 2**39))
    with pytest.raises(ExchangeError, match="expected"):
        io.read_np_spikes(path)


def test_integers_and_both_orders_are_read(path):
    expected = io.Event([1, 2], [3, 4], [0, 1], [5, 6])
    rows = np.array([[1, 3, 0, 5], [2, 4, 1, 6]])
    for array in (rows, np.asfortranarray(rows), rows.astype("uint8"), rows.astype(">f4")):
        path.write_bytes(npy(array))
        assert_equal(io.read_np_spikes(path), expected)


def test_missing_files_are_os_errors(tmp_path):
    for read in (io.read_1d_spikes, io.read_2d_spikes, io.read_np_spikes):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nothing")


def test_a_failed_write_leaves_the_old_file(path):
    io.encode_2d_spikes(path, io.Event([1], [1], [0], [0]))
    before = path.read_bytes()
    with pytest.raises(ParameterError):
        io.encode_2d_spikes(path, io.Event([1], [1], [7], [0]))
    assert path.read_bytes() == before
