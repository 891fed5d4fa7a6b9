"""Looking into a network: what is seen is what it does, and it stays as it is."""

import pytest
import torch

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer import block, utils
from tests.contracts.families import FAMILIES as NEURONS
from tests.contracts.families import params, snapshot, spikes

CUBA, ALIF, RF = NEURONS[:3]


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        block.cuba.Conv(params(CUBA), 2, 3, 3, padding=1, weight_scale=4),
        block.cuba.Pool(params(CUBA), 2, weight_scale=1.5),
        block.cuba.Flatten(),
        block.alif.Dense(params(ALIF), 3 * 2 * 3, 7, weight_scale=4, delay=True),
        block.cuba.Recurrent(params(CUBA), 7, 5, weight_scale=4),
        block.rf.KWTA(params(RF), 5, 4, 2, weight_scale=4),
        block.cuba.Affine(params(CUBA), 4, 3, dynamics=False),
    )


X = spikes(2, 2, 4, 6, 20)


def test_summary_counts_what_is_there():
    net = network()
    early = utils.summary(net)
    assert early.rows[0].shape is None
    assert early.total("neurons") == 0
    assert early.rows[0].synapses == 0
    table = utils.summary(net, (2, 4, 6))
    shapes = (3, 4, 6), (3, 2, 3), (18, 1, 1), (7,), (5,), (4,), (3,)
    assert tuple(row.shape for row in table.rows) == shapes
    assert [row.neurons for row in table.rows] == [72, 18, 0, 7, 5, 4, 3]
    # 3 x 3 of 2 channels; 2 x 2; all to all; all to all twice; both parts twice
    assert [row.synapses for row in table.rows] == [72 * 18, 18 * 4, 0, 7 * 18, 5 * (7 + 5), 2 * 4 * (5 + 4), 3 * 4]
    assert [row.bits for row in table.rows] == [8 * n for n in (3 * 18, 4, 0, 7 * 18, 60, 72, 12)]
    assert [row.delays for row in table.rows] == ["", "", "", "0..0", "", "", ""]
    assert table.total("parameters") == sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert [row.type for row in table.rows][-3:] == ["cuba.Recurrent", "rf.KWTA", "cuba.Affine"]
    text = str(table)
    assert "1,296" in text
    assert text.splitlines()[-1].split()[:2] == ["total", "109"]
    assert len({len(line) for line in text.splitlines()[:2]}) == 1


def test_summary_of_unpooling_counts_each_spread():
    net = torch.nn.Sequential(
        block.cuba.Unpool(params(CUBA), 2), block.cuba.ConvT(params(CUBA), 3, 4, 3, stride=2, groups=1)
    )
    rows = utils.summary(net, (3, 2, 2)).rows
    assert [row.shape for row in rows] == [(3, 4, 4), (4, 9, 9)]
    assert [row.synapses for row in rows] == [3 * 2 * 2 * 4, 3 * 4 * 4 * 4 * 9]


def test_record_sees_all_that_is_sent_and_changes_nothing():
    net = network()
    truth = net(X)
    before = snapshot(net)
    with utils.record(net, "0", "4", states=True) as seen:
        assert torch.equal(net(X), truth)
        net(X[:1])
    assert snapshot(net) == before
    assert list(seen) == ["0", "4"]
    assert [len(s) for s in seen["4"].spikes] == [2, 1]
    assert torch.equal(seen["0"].spikes[0], net[0](X))
    voltage = seen["4"].states[0]["voltage"]
    assert torch.equal((voltage > 1.25).float()[..., :-1], seen["4"].spikes[0][..., 1:])
    net(X)
    assert len(seen["0"].spikes) == 2  # closed


def test_record_follows_a_persistent_state():
    net = torch.nn.Sequential(block.cuba.Recurrent(params(CUBA, persistent_state=True), 6, 5, weight_scale=4))
    x = spikes(3, 6, 30)
    with utils.record(net, states=True) as seen:
        for part in x.split(11, -1):
            net(part)
    whole = torch.nn.Sequential(block.cuba.Recurrent(params(CUBA), 6, 5))
    whole.load_state_dict(net.state_dict())
    with utils.record(whole, states=True) as truth:
        whole(x)
    for name in ("current", "voltage"):
        parts = [states[name] for states in seen["0"].states]
        assert torch.equal(torch.cat(parts, -1), truth["0"].states[0][name])


def test_record_names_the_blocks_that_there_are():
    with (
        pytest.raises(ParameterError, match=r"expected names out of 0, 1, 2, .*, got output"),
        utils.record(network(), "output"),
    ):
        pass


def test_count_counts_each_weight_that_an_event_passes():
    net = network()
    net(X)
    before = snapshot(net)
    with utils.count(net) as counts, utils.record(net) as seen:
        net(X)
        net(X)
    assert snapshot(net) == before
    sent = {name: trace.spikes[0] for name, trace in seen.items()}
    # what is flattened was counted before, a read-out sends nothing
    assert counts.events == {name: 2 * int((s != 0).sum()) * (name not in "26") for name, s in sent.items()}
    assert counts.rate("3") == pytest.approx((sent["3"] != 0).double().mean().item())
    # one event of one input at a time, through the weights that are not 0
    dense = net[3]
    links = (dense.synapse.effective_weight() != 0).sum(0).flatten()
    assert counts.operations["3"] == 2 * int(((sent["2"] != 0).sum((0, 2)) * links).sum())
    layers = net[4].input_synapse, net[4].recurrent_synapse
    links, back = ((layer.effective_weight() != 0).sum(0).flatten() for layer in layers)
    events, own = ((sent[name] != 0).sum((0, 2)) for name in ("3", "4"))
    assert counts.operations["4"] == 2 * int((events * links).sum() + (own * back).sum())
    kernel = (net[0].synapse.effective_weight() != 0)[..., 0].double()
    planes = (X != 0).sum((0, -1)).double()[None]
    assert counts.operations["0"] == 2 * int(torch.nn.functional.conv2d(planes, kernel, padding=1).sum())
    assert "synaptic operations" in str(counts)
