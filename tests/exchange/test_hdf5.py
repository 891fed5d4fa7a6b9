"""Damaged and hostile files: a clear error, before anything large is allocated."""

import h5py
import numpy as np
import pytest

from lavadl_lite import exchange
from lavadl_lite.errors import ExchangeError
from tests.exchange.networks import WEIGHT, check_is_the_usual_dense, dense, input_layer

HUGE = 1 << 40


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        exchange.read(tmp_path / "none.net")


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"not a network" * 100])
def test_what_is_no_hdf5(tmp_path, content):
    path = tmp_path / "a.net"
    path.write_bytes(content)
    with pytest.raises(ExchangeError, match=r"a\.net: the file is damaged or truncated"):
        exchange.read(path)


def test_truncated_anywhere(store, tmp_path):
    whole = store(input_layer(), dense(), dense(inFeatures=2, weight=WEIGHT[:, :2])).read_bytes()
    path = tmp_path / "cut.net"
    for length in range(0, len(whole), 61):
        path.write_bytes(whole[:length])
        with pytest.raises(ExchangeError):
            exchange.read(path)


def test_damaged_string_heaps_are_searched_to_an_end(store, tmp_path):
    """HDF5's own search for a variable-length string can loop for ever there."""
    whole = store(dense()).read_bytes()
    heap = whole.index(b"GCOL")
    path = tmp_path / "damaged.net"
    for place in range(heap, heap + 72):
        for value in (0, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                layer = exchange.read(path).layers[0]
            except ExchangeError:
                continue
            check_is_the_usual_dense(layer)


def change_weight(path, make):
    """Replace the weight of the only layer by what ``make(group)`` stores under that name."""
    with h5py.File(path, "a") as file:
        group = file["layer/0"]
        del group["weight"]
        make(group)
    return path


def sparse_claim(group):
    """A dataset that declares its shape and holds nothing: HDF5 would fill it with zeros."""
    space = h5py.h5s.create_simple((2, 3))
    h5py.h5d.create(group.id, b"weight", h5py.h5t.IEEE_F32LE, space)


def external(group):
    group.create_dataset("weight", (2, 3), "f4", external=[("other.bin", 0, 24)])


def virtual(group):
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource("other.net", "weight", (2, 3))
    group.create_virtual_dataset("weight", layout)


def soft_loop(group):
    group["weight"] = h5py.SoftLink("/layer/0/weight")


def external_link(group):
    group["weight"] = h5py.ExternalLink("other.net", "/layer/0/weight")


def reference(group):
    group.create_dataset("weight", (2, 3), h5py.ref_dtype)


def objects(group):
    group.create_dataset("weight", (2, 3), h5py.vlen_dtype(np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (sparse_claim, r"expected data inside the file, got 0 bytes for shape \(2, 3\)"),
        (external, "expected data of this file, got external storage"),
        (virtual, "expected plain contiguous storage"),
        (soft_loop, "got a soft or external link"),
        (external_link, "got a soft or external link"),
        (reference, "expected numbers or a string, got references"),
        (objects, "expected numbers or a string, got sequences"),
        (
            lambda group: group.create_dataset("weight", (2, 3), h5py.enum_dtype({"RED": 0})),
            "expected numbers or a string, got an enumeration",
        ),
        (
            lambda group: group.create_dataset("weight", data=WEIGHT, compression="gzip"),
            "expected plain contiguous storage",
        ),
        (lambda group: group.create_dataset("weight", data=WEIGHT, chunks=(1, 1)), "expected plain contiguous storage"),
        (lambda group: group.create_dataset("weight", (HUGE, HUGE >> 20), "f4"), "expected data inside the file"),
        (lambda group: group.__setitem__("weight", np.dtype("f4")), "got a named type"),
    ],
)
def test_hostile_storage_is_refused_before_it_is_read(store, make, message):
    with pytest.raises(ExchangeError, match=f"/layer/0/weight: .*{message}"):
        exchange.read(change_weight(store(dense()), make))


def test_links_are_not_followed_at_any_level(store):
    path = store(dense())
    with h5py.File(path, "a") as file:
        file.move("layer", "hidden")
        file["layer"] = h5py.SoftLink("/hidden")
    with pytest.raises(ExchangeError, match="/layer: expected data of this file, got a soft or external link"):
        exchange.read(path)


def test_a_group_that_contains_itself_is_no_loop(store):
    path = store(dense(neuron=None))
    with h5py.File(path, "a") as file:
        file["layer/0/neuron"] = file["layer/0"]
    with pytest.raises(ExchangeError, match="/layer/0: expected data with one name, got 2"):
        exchange.read(path)


def test_many_names_for_the_same_data_do_not_multiply_it(store):
    """Nor where the file lies about their number: more bytes than it has are refused."""
    size, names = 200, 20
    path = store(dense(inFeatures=size, outFeatures=size, shape=np.array([size]), weight=np.ones((size, size), "f4")))
    with h5py.File(path, "a") as file:
        for i in range(1, names):
            file[f"layer/{i}"] = file["layer/0"]
        header = h5py.h5o.get_info(file["layer/0"].id).addr
    with pytest.raises(ExchangeError, match=f"/layer/0: expected data with one name, got {names}"):
        exchange.read(path)
    forged = bytearray(path.read_bytes())
    assert forged[header + 4] == names
    forged[header + 4] = 1
    path.write_bytes(forged)
    with pytest.raises(
        ExchangeError, match=r"/layer/1/weight: expected data inside the file, got a claim of 160000 bytes"
    ):
        exchange.read(path)


@pytest.mark.parametrize("name", [b"\xff", b"a\nb", b"\x1b[2J", b"n" * 65])
def test_names_are_short_and_printable(store, name):
    path = store(dense())
    with h5py.File(path, "a") as file:
        h5py.h5g.create(file["layer/0"].id, name)
    with pytest.raises(ExchangeError, match="/layer/0: expected names of at most 64 printable characters") as caught:
        exchange.read(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", [b"\xff", b"dense\n", b"\x1b[2J", b"a\x00b"])
def test_text_is_printable(store, text):
    with pytest.raises(ExchangeError, match="/layer/0/type: expected printable characters in UTF-8") as caught:
        exchange.read(store(dense(type=np.bytes_(text))))
    assert str(caught.value).isprintable()


def test_claims_of_size_cost_no_memory(store):
    """What a file declares is compared with what it holds before anything is read."""
    import tracemalloc

    size = 1 << 20
    path = store(dense(inFeatures=size, outFeatures=size, shape=np.array([size]), weight=None))
    with h5py.File(path, "a") as file:
        space = h5py.h5s.create_simple((size, size))
        h5py.h5d.create(file["layer/0"].id, b"weight", h5py.h5t.IEEE_F32LE, space)
    tracemalloc.start()
    with pytest.raises(ExchangeError, match="/layer/0/weight: expected data inside the file"):
        exchange.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
