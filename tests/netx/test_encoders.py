"""Sigma-delta neurons, by hand, and with any activation function against those that train."""

import numpy as np
import pytest

from lavadl_lite import exchange
from lavadl_lite.netx import Simulator
from lavadl_lite.netx._encoders import CURVES, LINES
from tests.netx.networks import dense, input_layer

ONE = 1 << 18  # a state of 1.0 with the usual exponent; a message of 1.0 is 4096


def encoder(activation="identity", threshold=64, **more):
    return {"type": "SDNN", "activation": activation, "vThMant": threshold, **more}


def run(cell, x, bias=None, align=None, **options):
    """What one neuron sends, and its states, for messages that arrive as they are."""
    simulated = Simulator([dense([[64]], cell, bias=bias)], input_message_bits=24, **options)
    names = simulated.recordable[0]
    _, states = simulated.run([x], align, [(0, name) for name in names])
    return [states[0, name][0].tolist() for name in names]


def test_every_activation_is_known():
    assert set(exchange.ACTIVATIONS) == {*LINES, *CURVES}


def test_changes_from_the_threshold_on_are_sent():
    """Messages of 4096ths times a weight of 1; what is not sent is kept and counts with the next change."""
    sent, sigma, activation, residue = run(encoder(), [4095, 1, 4096, 0, -8000], align="slayer")
    assert sigma == activation == [64 * s for s in (4095, 4096, 8192, 8192, 192)]
    assert sent == [0, 4096, 4096, 0, -8000]
    assert residue == [64 * 4095, 0, 0, 0, 0]


def test_synapses_take_a_step_in_lavas_timing():
    assert run(encoder(threshold=0), [4096, 0, 0])[0] == [0, 4096, 0]


@pytest.mark.parametrize(
    ("activation", "sums", "values"),
    [
        ("identity", (-3, 8), (-3, 8)),
        ("relu", (-3, 8), (0, 8)),
        ("relu6", (-3, 8), (0, 6)),
        ("hardtanh", (-3, 8), (-1, 1)),
        ("leaky_relu", (-3, 8), (float(np.float32(-3) * np.float32(0.01)), 8)),
    ],
)
def test_activation_functions(activation, sums, values):
    found = run(encoder(activation, 1), [4096 * s for s in np.diff(sums, prepend=0)], align="slayer")
    assert found[2] == [int(value * ONE) for value in values]


def test_bias_is_added_before_the_activation_and_not_to_the_sum():
    _, sigma, activation, _ = run(encoder("relu", 1), [-4096, 0], bias=[96], align="slayer")
    assert (sigma, activation) == ([-ONE, -ONE], [ONE // 2] * 2)


@pytest.mark.parametrize(("exponent", "activation"), [(2, 12291 * 16), (-1, 12291 * 128), (0, 12291 * 64)])
def test_sums_are_divided_by_a_power_of_two(exponent, activation):
    found = run(encoder(threshold=1, weight_exp=[exponent]), [12291, 0], align="slayer")
    assert found[1:3] == [[12291 * 64] * 2, [activation] * 2]
    assert found[0] == [activation >> 6, 0]


def test_division_loses_nothing_of_what_is_kept():
    """A unit of a state, divided by 4: four such changes together are a message of one unit."""
    x = [1 << 6] * 4  # messages of 2**-12 times a weight of 2**-6
    cell = encoder(threshold=0, weight_exp=[2], carryRounding=True)
    simulated = Simulator([dense([[1]], cell)], input_message_bits=24)
    found, states = simulated.run([x], "slayer", [(0, "residue")])
    assert states[0, "residue"].tolist() == [[16, 32, 48, 0]]
    assert found.tolist() == [[0, 0, 0, 1]]


def test_errors_add_up():
    cell = encoder(threshold=64, cumError=True)
    differences, error, residue, sent = [2048, 1024, 1024, 0, 0], 0, 0, []
    for change in differences:
        difference = change + residue
        error += difference
        message = difference if abs(error) >= 4096 else 0
        error, residue = (0 if message else error), difference - message
        sent.append(message)
    assert run(cell, differences, align="slayer")[0] == sent
    assert any(sent)


@pytest.mark.parametrize(("carry", "second"), [(False, 0), (True, 1)])
def test_what_rounding_took_is_carried_or_lost(carry, second):
    simulated = Simulator([dense([[1]], encoder(threshold=0, carryRounding=carry))], input_message_bits=24)
    assert simulated.run([[95, 33]]).tolist() == [[0, 1]]  # 95 of 64ths: one unit and 31 more
    assert simulated.run([[95, 33, 0]])[0, 2] == second


def test_training_sends_no_less_than_a_unit():
    simulated = Simulator([dense([[1]], encoder(threshold=0))], input_message_bits=24)
    assert simulated.run([[-1, 0]]).tolist() == [[0, -1]]
    assert simulated.run([[-1, 0]], "slayer").tolist() == [[0, 0]]


def test_an_input_encodes_changes_of_64ths():
    layer = input_layer((1,), encoder("relu", 2))
    simulated = Simulator([layer], spike_exp=3)
    found, states = simulated.run([[1, 2, -5, -5.5]], record=[(0, "activation"), (0, "residue")])
    assert found.tolist() == [[0, 2 << 3, -7 << 3, 0]]
    assert states[0, "activation"].tolist() == [[v << 9 for v in (1, 2, -5)] + [-5.5 * (1 << 9)]]
    assert simulated.recordable[0] == ("spike", "activation", "residue")


def test_a_read_out_sends_its_sum():
    simulated = Simulator([dense([[2], [-3]], {"type": "SDNN", "sigma_output": True})], input_message_bits=24)
    found, states = simulated.run([[5, 7, -1]], "slayer", [(0, "sigma")])
    assert found.tolist() == states[0, "sigma"].tolist() == [[10, 24, 22], [-15, -36, -33]]
    assert simulated.output_scale == 2.0**-18
    assert simulated.recordable[0] == ("spike", "sigma")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_resets_forget_everything(activation):
    cell = encoder(activation, 1)
    x = [4096, 0, 0, 300, 0, 0]
    whole = run(cell, x, align="slayer", reset_interval=3)
    for part, half in ((x[:3], slice(3)), (x[3:], slice(3, 6))):
        assert [values[half] for values in whole] == run(cell, part, align="slayer")


@pytest.mark.parametrize("activation", [name for name in exchange.ACTIVATIONS if name != "identity"])
@pytest.mark.parametrize("options", [{}, {"cum_error": True, "carry_rounding": True}])
def test_equals_training(activation, options):
    """All bits of lines; curves up to the last bits of torch's own, which here and there are a unit of a message."""
    torch = pytest.importorskip("torch")
    from lavadl_lite import slayer

    torch.manual_seed(1)
    params = {"threshold": 0.1, "activation": getattr(torch.nn.functional, activation), **options}
    net = [slayer.block.sigma_delta.Dense(params, 12, 20, weight_scale=3)]
    x = torch.floor(torch.randn(2, 12, 50) * 4096) / 4096
    with torch.no_grad():
        truth = (net[0](x) * 4096).numpy().astype(np.int64)
    found = Simulator(net, input_message_bits=24).run(x * 4096, "slayer")
    if activation in (*LINES, "leaky_relu"):
        np.testing.assert_array_equal(found, truth)
    else:
        same = found == truth
        assert same.mean() > 0.98
        assert np.abs(found - truth).max() <= 1
    assert (found != 0).mean() > 0.1
