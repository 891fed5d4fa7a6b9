"""Damaged network files of every kind, each from a seed, and the valid ones to begin with; nothing is tested here."""

import functools
import io

import h5py
import numpy as np

from lavadl_lite.exchange import Layer, write_layer
from tests.exchange import drawn

__all__ = ["CUBA", "DAMAGES", "chain", "content", "single", "valid", "write"]

VALID = 48  # files to begin with
CUBA = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1, "gradedSpike": False}
RF = {"type": "RF_PHASE", "sinDecay": [3, 4], "cosDecay": 4000, "vThMant": 80, "gradedSpike": True}
SDNN = {"type": "SDNN", "activation": "relu", "vThMant": 6}
KERNEL = {"kernelSize": [2, 2], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}


# --- a file to begin with --------------------------------------------------------------------------------------------


def chain(rng):
    """Entries of every type but one, which fit each other."""

    def weights(*shape):
        return rng.integers(-256, 255, shape)

    def dense(before, after, **more):
        return {"inFeatures": before, "outFeatures": after, "shape": [after], **more}

    def conv(before, after, side, *axes):
        sizes = {"inChannels": before, "outChannels": after, "groups": 1, "shape": [after, side, side]}
        return {**sizes, **KERNEL, "weight": weights(*axes, 2, 2)}

    return (
        Layer("input", {"shape": [2, 3, 3], "weight": [40], "bias": [-3]}, CUBA),
        Layer("conv", {**conv(2, 3, 2, 3, 2), "bias": [1, 2, 3]}, CUBA),
        Layer("convT", conv(3, 2, 3, 3, 2), {**SDNN, "weight_exp": -2}),
        Layer("pool", {"shape": [2, 2, 2], **KERNEL, "weight": weights(1, 1, 2, 2)}, CUBA),
        Layer("decimation", {"shape": [2, 2, 2], "factor": 2}),
        Layer("flatten", {"shape": [8, 1, 1]}),
        Layer("dense", dense(8, 2, **{"weight/real": weights(2, 8), "weight/imag": weights(2, 8)}), RF),
        Layer("dense_rec", dense(2, 4, weight=weights(4, 2), weight_rec=weights(4, 4), delay=[0, 1, 2, 62]), CUBA),
        Layer("average", {"shape": [2]}),
        Layer("concat", {"shape": [4], "layers": [8, 6]}),
        Layer("dense", dense(4, 2, weight=weights(2, 4), delay=rng.integers(63, size=(2, 4)))),
    )


def single(rng):
    """One entry of any type with any neuron, after what it needs before it."""
    kind = str(rng.choice(drawn.LAYERS))
    bare = kind in ("flatten", "average", "decimation", "concat")
    return drawn.alone(drawn.draw_layer(rng, kind, None if bare else str(rng.choice(drawn.REAL + drawn.COMPLEX))))


def write(path, layers, libver="earliest", **options):
    """A valid file."""
    with h5py.File(path, "w", libver=libver, **options) as file:
        for i, layer in enumerate(layers):
            write_layer(file.create_group(f"layer/{i}"), layer)
        file.attrs["formatVersion"] = 1
        file.attrs["libraryVersion"] = np.bytes_("somebody 1.0")


@functools.cache
def valid(seed):
    """The bytes of a valid file, in the older or the newer layout of HDF5."""
    rng, file = np.random.default_rng(seed), io.BytesIO()
    write(file, single(rng) if seed % 4 else chain(rng), "latest" if seed & 4 else "earliest")
    return file.getvalue()


def content(rng):
    """One of the valid files."""
    return bytearray(valid(int(rng.integers(VALID))))


# --- bytes -----------------------------------------------------------------------------------------------------------

WORDS = (0, 1, 2**8 - 1, 2**16, 2**31 - 1, 2**32 - 1, 2**48, 2**63 - 1, 2**63, 2**64 - 1)
SIGNATURES = (b"\x89HDF", b"TREE", b"HEAP", b"SNOD", b"GCOL", b"OHDR", b"FRHP", b"BTHD", b"BTLF")


def places(data):
    """Where a structure of HDF5 begins."""
    return [at for at in range(len(data) - 4) if bytes(data[at : at + 4]) in SIGNATURES]


def truncated(rng, path):
    data = content(rng)
    near = int(rng.choice(places(data))) + int(rng.integers(64))
    length = near if rng.integers(2) else int(rng.integers(len(data)))
    path.write_bytes(data[: min(length, len(data) - 1)])


def bits(rng, path):
    data = content(rng)
    for place in rng.integers(8, len(data), rng.integers(1, 9)):
        data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def words(rng, path):
    """Numbers and addresses of HDF5's own structures, replaced by extreme ones or by other places of the file."""
    data = content(rng)
    starts = places(data)
    for _ in range(int(rng.integers(1, 4))):
        size = int(rng.choice([1, 2, 4, 8]))
        at = min(max(int(rng.choice(starts)) + int(rng.integers(96)), 8), len(data) - size)
        word = int(rng.choice(starts)) if rng.integers(2) else WORDS[rng.integers(len(WORDS))]
        data[at : at + size] = (word % 256**size).to_bytes(size, "little")
    path.write_bytes(data)


def blocks(rng, path):
    """A part of the file is lost, doubled, blank or noise."""
    data = content(rng)
    at, other = (int(place) for place in rng.integers(8, len(data), 2))
    size = int(2 ** rng.uniform(0, 12))
    part = data[other : other + size]
    new = (b"", part, bytes(size), rng.bytes(size))[rng.integers(4)]
    data[at : at + (size if rng.integers(2) else 0)] = new
    path.write_bytes(data)


def spliced(rng, path):
    """The beginning of one file, the end of another."""
    one, other = content(rng), content(rng)
    at = int(rng.integers(8, min(len(one), len(other))))
    path.write_bytes(one[:at] + other[at:])


def noise(rng, path):
    data = content(rng)
    kept = (0, 8, 48, 96)[rng.integers(4)]
    path.write_bytes(bytes(data[:kept]) + rng.bytes(int(rng.integers(4096))))


def no_files(rng, path):
    """What is no HDF5 file at all."""
    contents = (b"", b"\n", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"[]", b"\x80\x04.", bytes(4096), rng.bytes(2000))
    path.write_bytes(contents[rng.integers(len(contents))])


DAMAGES = {make.__name__: make for make in (truncated, bits, words, blocks, spliced, noise, no_files)}
