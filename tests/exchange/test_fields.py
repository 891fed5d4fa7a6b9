"""One field of the format: its type, shape and range, and how an old one is brought to its present form."""

import numpy as np
import pytest

from lavadl_lite.errors import ExchangeError
from lavadl_lite.exchange.fields import Field, Mismatch, PlainSource, Size, check_fields


def check(row, value, **known):
    """The value of one field in its present form, None where it is left out."""
    source = PlainSource({} if value is None else {row.name: value}, "/layer/7")
    return check_fields(source, (row,), known).get(row.name)


SIZE = Field("size", np.int64, 1, 9)
VECTOR = Field("vector", np.float32, -4, 4, shapes=(("n",),), old=(("n", 1, 1), ()))


def test_a_number_becomes_a_plain_one():
    for value in (3, 3.0, np.int8(3), np.float32(3)):
        found = check(SIZE, value)
        assert found == 3
        assert type(found) is int


def test_an_array_gets_the_type_of_the_file():
    found = check(VECTOR, [1, -4, 4], n=3)
    assert found.dtype == np.float32
    assert found.tolist() == [1, -4, 4]


@pytest.mark.parametrize("shape", [(1, 1, 1), ()])
def test_an_old_shape_of_as_many_values_is_brought_to_the_present_one(shape):
    assert check(VECTOR, np.full(shape, 2.0), n=1).shape == (1,)


def test_an_old_shape_of_another_size_is_refused():
    with pytest.raises(ExchangeError, match=r"/layer/7/vector: expected shape \(3,\), got \(\)"):
        check(VECTOR, 2.0, n=3)


def test_a_shape_may_follow_from_fields_before_it():
    rows = (SIZE, Field("grid", np.int64, 0, 9, shapes=(("size", Size("size + 1", lambda known: known["size"] + 1)),)))
    found = check_fields(PlainSource({"grid": np.ones((2, 3)), "size": 2}, ""), rows, {})
    assert list(found) == ["size", "grid"]
    assert found["grid"].shape == (2, 3)
    with pytest.raises(ExchangeError, match=r"/grid: expected shape \(2, 3\), got \(3, 2\)"):
        check_fields(PlainSource({"grid": np.ones((3, 2)), "size": 2}, ""), rows, {})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, r"integers in \[1, 9\], got 0"),
        (10, r"integers in \[1, 9\], got 10"),
        (2.5, r"integers in \[1, 9\], got 2\.5"),
        (np.nan, "got nan"),
        ("3", "expected numbers, got '3'"),
        (True, "expected numbers, got type bool"),
        ({"a": 1}, "expected a dataset, got a group"),
        ([[1], [1, 2]], r"expected an array, got list \("),
        (["a"], "expected shape"),
        (None, "missing"),
    ],
)
def test_what_does_not_fit_names_the_field(value, message):
    with pytest.raises(ExchangeError, match=f"^/layer/7/size: .*{message}"):
        check(SIZE, value)


def test_the_first_wrong_entry_is_named():
    with pytest.raises(ExchangeError, match=r"got 5\.0 at \[1\]$"):
        check(VECTOR, [1, 5, 0.5], n=3)


def test_defaults_optional_fields_and_fields_that_are_only_checked():
    assert check(Field("flag", bool, default=False), None) is False
    assert check(Field("flag", bool, default=False), 1) is True
    assert check(Field("some", np.int64, 0, 9, required=False), None) is None
    checked = Field("old", np.int64, 0, 0, required=False, kept=False)
    assert check(checked, 0) is None
    with pytest.raises(ExchangeError, match=r"/layer/7/old: expected integers in \[0, 0\], got 1"):
        check(checked, 1)


def test_a_string_is_one_of_its_choices():
    side = Field("side", str, choices=("in", "out"))
    assert check(side, "out") == "out"
    for value, got in (("up", "'up'"), (1, "type int64")):
        with pytest.raises(ExchangeError, match=f"/layer/7/side: expected one of 'in', 'out', got {got}"):
            check(side, value)


def test_a_conversion_takes_shapes_of_any_size():
    def halves(value, known):
        if len(value) != 2 * known["n"]:
            raise Mismatch("pairs", f"{known['n']} pairs", str(len(value)))
        return value[::2]

    row = Field("pairs", np.int64, 0, 9, shapes=(("n",),), old=((4,), (6,)), convert=halves)
    assert check(row, [1, 0, 2, 0], n=2).tolist() == [1, 2]
    with pytest.raises(ExchangeError, match="/layer/7/pairs: expected 2 pairs, got 6"):
        check(row, [1, 0, 2, 0, 3, 0], n=2)
