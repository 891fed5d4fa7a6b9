"""Gradients of the decays, against finite differences of the integer dynamics themselves.

lava-dl's are 4096 times too large, and of the wrong sign for leaky integrators: these would show it.
"""

import numpy as np
import pytest
import torch

from tests.contracts.families import WITH_DECAYS, make_neuron

STEP = 4  # units of a decay: with states of 1/65536 little of the difference is rounding
FREE = {"threshold": 100, "scale": 1 << 10, "requires_grad": True}  # out of reach


def cases(trainable):
    return pytest.mark.parametrize(
        ("neuron", "name"),
        [
            pytest.param(neuron, decay.name, id=f"{neuron.type_name}-{decay.name}")
            for neuron in WITH_DECAYS
            for decay in neuron.decays
            if decay.trainable == trainable
        ],
    )


def drawn(shape, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).normal(0.2, 0.5, shape).astype(np.float32))


def neuron_of_channels(neuron, channels):
    """Each channel with its own decays, none of which is at the end of its range."""
    layer = make_neuron(neuron, per_channel=True, **FREE)
    torch.manual_seed(0)
    layer.materialize((channels,))
    return layer


def response(layer, weights, x):
    """A weighted sum of the membrane's two states for each channel; nothing fires."""
    if layer.complex:
        states = layer.dynamics((x, 0.5 * x.flip(1)))[:2]
    else:
        assert not layer(x).any()
        states = layer.dynamics(x)[:2]
    return sum((w * state).double().sum((0, 2)) for w, state in zip(weights, states, strict=True))


@cases(trainable=True)
def test_the_gradient_has_the_sign_and_size_of_finite_differences(neuron, name):
    shape = (3, 6, 60)
    layer, x = neuron_of_channels(neuron, shape[1]), drawn(shape)
    weights = drawn((2, *shape), seed=2)
    response(layer, weights, x).sum().backward()
    decay = getattr(layer, name)
    found, held = decay.grad.double(), decay.detach().round()
    with torch.no_grad():
        sides = []
        for step in (STEP, -STEP):
            decay.copy_(held + step)
            sides.append(response(layer, weights, x))
    slope = (sides[0] - sides[1]) / (2 * STEP)
    largest = float(slope.abs().max())
    assert largest > 0
    torch.testing.assert_close(found, slope, rtol=0.03, atol=0.01 * largest)
    clear = slope.abs() > 0.05 * largest
    assert clear.any()
    assert torch.equal(found.sign()[clear], slope.sign()[clear])


@cases(trainable=False)
def test_a_decay_that_is_not_trained_does_not_move_the_membrane(neuron, name):
    """Its gradient, were there one, would be 0: what it moves is a constant of the model."""
    shape = (2, 4, 40)
    layer, x = neuron_of_channels(neuron, shape[1]), drawn(shape)
    weights = drawn((2, *shape), seed=2)
    before = response(layer, weights, x)
    before.sum().backward()
    decay = getattr(layer, name)
    assert not decay.requires_grad
    assert decay.grad is None
    with torch.no_grad():
        decay.copy_(4096 - decay)
        assert torch.equal(response(layer, weights, x), before)
