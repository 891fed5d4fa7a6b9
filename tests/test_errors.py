"""Our errors are caught by who catches Python's own, and lava-dl's assertions."""

import inspect
import pickle

import pytest

from lavadl_lite import errors

PARENTS = {
    "DeviceError": (RuntimeError,),
    "ExchangeError": (ValueError,),
    "ParameterError": (ValueError, AssertionError),
    "ShapeError": (ValueError, AssertionError),
}


def test_all_of_them_are_listed():
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert defined == set(errors.__all__) == set(PARENTS)


@pytest.mark.parametrize("name", PARENTS)
def test_an_error_is_what_its_callers_catch(name):
    error = getattr(errors, name)("expected 1, got 2")
    assert all(isinstance(error, parent) for parent in PARENTS[name])
    assert isinstance(error, AssertionError) == (AssertionError in PARENTS[name])
    assert str(error) == "expected 1, got 2"
    assert error.__doc__


@pytest.mark.parametrize("name", PARENTS)
def test_an_error_comes_back_from_a_worker_process(name):
    error = getattr(errors, name)("expected 1, got 2")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert again.args == error.args
