"""Hostile network files of every kind, each from a seed; nothing is tested here.

``KINDS`` maps a kind to what makes one of its files: ``make(rng, path)``.  Those of ``HARMLESS`` may come out valid.
"""

import functools
import os

import h5py
import numpy as np

from lavadl_lite.exchange import Layer, write_layer
from tests.exchange.damaged import CUBA, DAMAGES, chain, content, single, write

__all__ = ["HARMLESS", "KINDS"]


def members(file, kind, below="/layer/"):
    """Paths of all datasets or groups."""
    found = []
    file.visititems(lambda name, member: found.append(f"/{name}") if isinstance(member, kind) else None)
    return [path for path in sorted(found) if path.startswith(below)]


def changing(kind=h5py.Dataset, *, arrays=False):
    """What makes a file from ``change(rng, group, name)``, which puts something else in the place of a member."""

    def decorate(change):
        @functools.wraps(change)
        def make(rng, path):
            path.write_bytes(content(rng))
            with h5py.File(path, "a") as file:
                choices = members(file, kind)
                if arrays:
                    choices = [name for name in choices if file[name].ndim]
                group, _, name = str(rng.choice(choices)).rpartition("/")
                change(rng, file[group], name)

        return make

    return decorate


def replace(group, name, **options):
    del group[name]
    return group.create_dataset(name, **options)


def is_text(data):
    return h5py.check_string_dtype(data.dtype) is not None


# --- what stands in the place of a field -----------------------------------------------------------------------------


def other_types():
    """Types that no field has."""
    pair = np.dtype([("a", "f4"), ("b", "i8")])
    sequence = h5py.h5t.vlen_create(h5py.h5t.NATIVE_INT32)
    opaque = h5py.h5t.create(h5py.h5t.OPAQUE, 8)
    opaque.set_tag(b"thing")
    return [
        *(h5py.h5t.py_create(np.dtype(name), logical=True) for name in (pair, "c8", "c16", "(2,3)f4", "V9", "S65")),
        *(h5py.h5t.py_create(special, logical=True) for special in (h5py.ref_dtype, h5py.regionref_dtype)),
        h5py.h5t.py_create(h5py.enum_dtype({"RED": 0, "GREEN": 1}), logical=True),
        h5py.h5t.py_create(h5py.vlen_dtype(np.dtype(h5py.string_dtype())), logical=True),
        sequence,
        h5py.h5t.vlen_create(sequence),
        h5py.h5t.array_create(h5py.h5t.NATIVE_INT8, (3, 4)),
        h5py.h5t.STD_B8LE,
        h5py.h5t.STD_B64BE,
        h5py.h5t.UNIX_D32LE,
        opaque,
    ]


@changing()
def types(rng, group, name):
    shape = group[name].shape
    kinds = other_types()
    kind = kinds[rng.integers(len(kinds))]
    del group[name]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple(shape) if shape else h5py.h5s.create(h5py.h5s.SCALAR)
    h5py.h5d.create(group.id, name.encode(), kind, space, plan)


@changing()
def sorts(rng, group, name):
    """Text for numbers, numbers for text, truth for numbers."""
    data = group[name]
    if is_text(data):
        choices = [np.full(data.shape, 3), np.full(data.shape, 0.5), np.full(data.shape, True)]
    else:
        choices = [np.full(data.shape, b"3", "S4"), np.full(data.shape, "3", object)]
    value = choices[rng.integers(len(choices))]
    replace(group, name, data=value, dtype=h5py.string_dtype() if value.dtype == object else None)


@changing()
def shapes(rng, group, name):
    data = group[name]
    shape, dtype = data.shape, data.dtype
    other = [(*shape, 2), (3, *shape), (0, *shape), (*shape, 0), (2,) * 9, (0,), (1 << 40,), (1 << 20, 1 << 19)]
    chosen = rng.integers(len(other) + 1)
    if chosen == len(other):
        replace(group, name, data=h5py.Empty(dtype))
    else:
        replace(group, name, shape=other[chosen], dtype=dtype)


MARKS = (0x12345678, 0x00ABCDEF)


@changing()
def marked(rng, group, name):
    replace(group, name, shape=MARKS, dtype=group[name].dtype)


def overflows(rng, path):
    """Axes beyond what HDF5 itself would write: their product has more than 64 bits, or is 0 modulo 2**64."""
    marked(rng, path)
    data = path.read_bytes()
    sizes = (
        (1 << 32, 1 << 32),
        (1 << 63, 2),
        (2**64 - 1, 2**64 - 1),
        (1 << 62, 1 << 60),
        (2**63 - 1, 1),
        (0, 2**64 - 1),
    )
    for mark, size in zip(MARKS, sizes[rng.integers(len(sizes))], strict=True):
        data = data.replace(mark.to_bytes(8, "little"), size.to_bytes(8, "little"))
    path.write_bytes(data)


@changing()
def values(rng, group, name):
    """A number that no field may have, in one place."""
    data = group[name]
    if is_text(data):
        text = ("", "Dense", "dense\n", "concatenation", "\x1b[2J", "\U0001f600")[rng.integers(6)]
        replace(group, name, data=np.array([text], object), dtype=h5py.string_dtype())
        return
    value = np.array(data[()], np.float64)
    wrong = (np.nan, np.inf, -np.inf, 0.5, -1e300, 2.0**40, -(2.0**40))
    value.reshape(-1)[rng.integers(value.size)] = rng.choice(wrong)
    replace(group, name, data=value)


@changing()
def strings(rng, group, name):
    """Bytes that are no text, or more of it than any field has."""
    raw = (b"\xff\xfe", b"\xc3", b"dense\xff", b"d" * 65, b"CUBA" * 5000, b"\xed\xa0\x80")[rng.integers(6)]
    shape = group[name].shape
    if rng.integers(2):
        replace(group, name, data=np.full(shape, raw, object), dtype=h5py.string_dtype())
    else:
        replace(group, name, data=np.full(shape, raw), dtype=h5py.string_dtype("ascii", len(raw)))


@changing(arrays=True)
def storage(rng, group, name):
    """The right values in the wrong storage."""
    value = group[name][()]
    many = {"shape": value.shape, "dtype": value.dtype}
    choice = rng.integers(7)
    if choice < 4:
        options = ({}, {"compression": "gzip"}, {"shuffle": True, "fletcher32": True}, {"scaleoffset": 0})[choice]
        if value.dtype.kind == "S":
            options = {}
        replace(group, name, data=value, chunks=tuple(max(size, 1) for size in value.shape), **options)
    elif choice == 4:
        replace(group, name, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)], **many)
    elif choice == 5:
        layout = h5py.VirtualLayout(value.shape, value.dtype)
        layout[...] = h5py.VirtualSource(".", group.name + "/" + name, value.shape, value.dtype)
        del group[name]
        group.create_virtual_dataset(name, layout)
    else:
        replace(group, name, **many)


# --- links, groups and names -----------------------------------------------------------------------------------------


@changing((h5py.Dataset, h5py.Group))
def links(rng, group, name):
    path = group[name].name
    targets = (
        *(h5py.SoftLink(target) for target in (path, "/layer/0/type", "/none", ".", "/layer/0/../0")),
        *(
            h5py.ExternalLink(*target)
            for target in (("other.net", path), ("/etc/passwd", "/"), ("/dev/zero", "/layer"))
        ),
    )
    del group[name]
    group[name] = targets[rng.integers(len(targets))]


@changing((h5py.Dataset, h5py.Group))
def cycles(rng, group, name):
    """A group that contains itself, or what contains it."""
    above = [group.name, "/layer", "/"]
    target = group.file[str(rng.choice(above))]
    del group[name]
    group[name] = target


@changing((h5py.Dataset, h5py.Group))
def objects(rng, group, name):
    """Groups for datasets, datasets for groups, named types for either."""
    member = group[name]
    is_group = isinstance(member, h5py.Group)
    del group[name]
    if rng.integers(2):
        group[name] = np.dtype(str(rng.choice(["f4", "i8", "S10"])))
    elif is_group:
        group[name] = rng.integers(9, size=(2, 2))
    else:
        group.create_group(name)[str(rng.choice(["real", "type", "0"]))] = 3


@changing((h5py.Dataset, h5py.Group))
def missing(rng, group, name):
    del group[name]


NAMES = (b"more", b"Weight", b"weight ", b"\xff\xfe", b"\x1b[31m", b"a\nb", b"n" * 60000, b"\xf0\x9f\x98\x80", b"..")


@changing((h5py.Dataset, h5py.Group))
def extra(rng, group, name):
    """A member that no entry has."""
    data = h5py.h5s.create(h5py.h5s.SCALAR)
    h5py.h5d.create(group.id, NAMES[rng.integers(len(NAMES))], h5py.h5t.NATIVE_INT64, data)


def numbering(rng, path):
    """Entries that are not numbered from 0 on."""
    path.write_bytes(content(rng))
    with h5py.File(path, "a") as file:
        group = file["layer"]
        choice = rng.integers(4)
        if choice == 0:
            names = ["00", "-1", "1.0", "\u00b2", "\u0663", "0x1", "entry", " 0", str(len(group) + 1), str(1 << 70)]
            group.create_group(str(rng.choice(names)))
        elif choice == 1:
            group.move("0", str(len(group)))
        elif choice == 2:
            del file["layer"]
            file.create_group("layer")
        else:
            for i in range(len(group), int(rng.integers(20, 500))):
                group.create_group(str(i))


def deep(rng, path):
    """Groups inside groups."""
    path.write_bytes(content(rng))
    with h5py.File(path, "a") as file:
        group = file[str(rng.choice(["/", "layer", "layer/0"]))]
        name = str(rng.choice(["layer", "weight", "neuron", "0"]))
        if name in group:
            del group[name]
        for _ in range(int(rng.integers(1, 600))):
            group = group.create_group(name)


def shared(rng, path):
    """One entry under many names: a small file that claims to be a large network."""
    size = int(rng.choice([1, 3, 64]))
    weight = np.zeros((size, size))
    fields = {"inFeatures": size, "outFeatures": size, "shape": np.array([size]), "weight": weight}
    write(path, [Layer("dense", fields, CUBA)])
    with h5py.File(path, "a") as file:
        for i in range(1, int(rng.integers(50, 500))):
            file[f"layer/{i}"] = file["layer/0"]


def shuffled(rng, path):
    """Entries that are valid each by itself, in another order."""
    layers = chain(rng)
    write(path, [layers[i] for i in rng.permutation(len(layers))])


# --- the file as a whole ---------------------------------------------------------------------------------------------


def versions(rng, path):
    """Attributes of the root."""
    path.write_bytes(content(rng))
    with h5py.File(path, "a") as file:
        attributes = file.attrs
        name = str(rng.choice(["formatVersion", "libraryVersion"]))
        wrong = [np.zeros(3), "text", h5py.Empty("i8"), file.ref, np.zeros((), [("a", "i4")]), b"\xff"]
        if name == "formatVersion":
            wrong += [2, 0, -1, 1.0, True, 2**63 - 1, np.uint64(2**64 - 1), np.nan, np.bytes_("1"), np.zeros(5000)]
        else:
            wrong += [np.bytes_(b"\xff"), np.bytes_(b"x" * 65), np.full(3, b"a"), np.bytes_(b"\x1b[2J")]
        attributes[name] = wrong[rng.integers(len(wrong))]


def frame(rng, path):
    """A file that HDF5 takes, but not from its first byte, or with short addresses."""
    if rng.integers(2):
        write(path, single(rng), userblock_size=int(rng.choice([512, 4096])))
        return
    plan = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    plan.set_sizes(*((4, 4), (4, 8), (8, 4), (2, 2))[rng.integers(4)])
    with h5py.File(h5py.h5f.create(os.fsencode(path), fcpl=plan)) as file:
        write_layer(file.create_group("layer/0"), Layer("flatten", {"shape": np.array([8, 1, 1])}))


HARMLESS = frozenset({"bits", "words", "blocks", "spliced", "missing", "shuffled", "deep"})
KINDS = DAMAGES | {
    make.__name__: make
    for make in (
        *(types, sorts, shapes, overflows, values, strings, storage),
        *(links, cycles, objects, missing, extra, numbering, deep, shared, shuffled),
        *(versions, frame),
    )
}
