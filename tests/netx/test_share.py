"""Work in parts: every unit once, whatever the number of threads."""

import pytest

from lavadl_lite.netx._share import share


@pytest.mark.parametrize("units", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 5, 64])
@pytest.mark.parametrize("elements", [0, 1 << 30])
def test_every_unit_is_done_once(units, threads, elements, monkeypatch):
    from lavadl_lite.kernels import cpu

    monkeypatch.setattr(cpu, "threads", lambda: threads)
    done = []
    share(lambda lo, hi: done.extend(range(lo, hi)), units, elements)
    assert sorted(done) == list(range(units))
