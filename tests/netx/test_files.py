"""Whole networks into files: which blocks are found, in which order, and that nothing is half written."""

import numpy as np
import pytest

from lavadl_lite import exchange, netx
from lavadl_lite.errors import ExchangeError
from lavadl_lite.exchange import Layer


def dense_layer(before, size):
    fields = {"inFeatures": before, "outFeatures": size, "shape": np.array([size]), "weight": np.ones((size, before))}
    return Layer("dense", fields, {"type": "CUBA", "iDecay": 1, "vDecay": 2, "vThMant": 3})


class Module:
    """What a torch module shows of itself: its parts, depth first, itself included."""

    def __init__(self, *parts):
        self.parts = parts

    def modules(self):
        yield self
        for part in self.parts:
            yield from part.modules()


class Block(Module):
    def __init__(self, before, size, *parts):
        super().__init__(*parts)
        self.sizes = before, size

    def exchange_layer(self):
        return dense_layer(*self.sizes)


def sizes(path):
    return [layer.fields["outFeatures"] for layer in netx.load(path).layers]


@pytest.mark.parametrize(
    "net",
    [
        Module(Block(2, 3), Module(Module(), Block(3, 4)), Block(4, 5)),
        [Block(2, 3), Block(3, 4), Block(4, 5)],
        (block for block in [Block(2, 3), Module(Block(3, 4), Block(4, 5))]),
        (dense_layer(2, 3), dense_layer(3, 4), Block(4, 5)),
        exchange.Network((dense_layer(2, 3), dense_layer(3, 4), dense_layer(4, 5))),
        Module(Block(2, 3, Block(9, 9), Block(8, 8)), Block(3, 4), Block(4, 5)),
    ],
    ids=["nested modules", "list of blocks", "generator", "layers", "network", "parts of a block"],
)
def test_blocks_are_found_in_order(net, tmp_path):
    netx.save(net, tmp_path / "a.net")
    assert sizes(tmp_path / "a.net") == [3, 4, 5]


def test_a_single_block(tmp_path):
    netx.save(Block(2, 3), str(tmp_path / "a.net"))
    assert sizes(tmp_path / "a.net") == [3]


def test_versions_are_written(tmp_path):
    netx.save(Block(2, 3), tmp_path / "a.net")
    network = netx.load(tmp_path / "a.net")
    assert network.format_version == exchange.FORMAT_VERSION
    assert network.library_version.startswith("lavadl_lite ")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Module(), "expected a network with blocks that can be written, got Module with none"),
        ([], "expected a network with blocks that can be written, got list with none"),
        (3, "expected a network of blocks, got int"),
        ("a.net", "expected a network of blocks, got str"),
        ([Block(2, 3), Block(4, 5)], r"/layer/1/inFeatures: expected 3 after a layer of shape \(3,\), got 4"),
        ([Layer("dense", {})], "/layer/0/inFeatures: missing"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(net, message, tmp_path):
    with pytest.raises(ExchangeError, match=message):
        netx.save(net, tmp_path / "a.net")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="none"):
        netx.save(Block(2, 3), tmp_path / "none" / "a.net")


def test_a_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    netx.save(Block(2, 3), tmp_path / "a.net")
    assert (tmp_path / "a.net").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_saving_a_trained_network_leaves_it_as_it_was(tmp_path):
    """In training mode, with weight normalisation and gradients under way."""
    torch = pytest.importorskip("torch")
    from lavadl_lite import slayer

    block = slayer.block.cuba
    params = {"threshold": 1.0, "current_decay": 0.5, "voltage_decay": 0.1, "requires_grad": True}
    net = torch.nn.Sequential(
        block.Dense(params, 5, 4, weight_norm=True, delay=True), block.Dense(params, 4, 3, weight_norm=True)
    )
    net(torch.rand(2, 5, 20)).sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    netx.save(net, tmp_path / "a.net")
    after = net.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert net.training
    netx.save(net, tmp_path / "b.net")
    assert (tmp_path / "a.net").read_bytes() == (tmp_path / "b.net").read_bytes()
