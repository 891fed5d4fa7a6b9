"""The neurons of :mod:`.lava`: Lava's fixed-point equations, and those of training for neurons that Lava lacks.

A state counts 4096ths of a unit, what synapses send 64ths.  ``step`` takes the sums that arrive as an array (1 or 2
parts, neurons) of integers with ``bits`` fractional bits below these 64ths, and returns the message that is sent.
"""

import math

import numpy as np

__all__ = ["M", "population", "wrap", "z"]

M = 1 << 23
NEVER = {"type": "CUBA", "iDecay": 0, "vDecay": 4096, "vThMant": 1 << 17, "gradedSpike": False}


def z(x, bits=12):
    """Divide by ``2**bits``, rounding toward zero."""
    return np.sign(x) * (np.abs(x) >> bits) if bits >= 0 else x << -bits


def wrap(u):
    """What lies outside 24 bits comes back from the other side, once."""
    return np.where(u > M, u - 2 * M, np.where(u <= -M, u + 2 * M, u))


def check_width(*values):
    """Raise OverflowError where Lava's 32 bits do not suffice: there is nothing to be equal to."""
    if any(np.any((value + (1 << 31)) >> 32) for value in values):
        raise OverflowError


def saturate(state):
    return np.clip(state, 1 - M, M - 1)


class Population:
    """What neurons have in common: parameters for each neuron, states that begin anew."""

    names = ()

    def __init__(self, cell, bias, shape, spike_exp):
        self.cell, self.shape, self.spike_exp = cell, shape, spike_exp
        self.bias = np.stack([self.each(part) for part in bias])
        exponents = np.ravel(cell.get("weight_exp", 0)).astype(int).tolist()
        self.exponents = (exponents * 2)[:2]
        self.reset()

    def each(self, values):
        """A number, or one for each channel, as one for each neuron of the flattened population."""
        values = np.asarray(values, np.int64).reshape(-1, *(1,) * (len(self.shape) - 1))
        return np.broadcast_to(values, self.shape).ravel()

    def keep(self, name):
        return 4096 - self.each(self.cell[name])

    def states(self):
        return {name: getattr(self, name) for name in self.names}

    def zeros(self):
        return np.zeros(math.prod(self.shape), np.int64)

    def reset(self):
        for name in self.names:
            setattr(self, name, self.zeros())

    @property
    def level(self):
        """Threshold in units of the state."""
        return self.each(self.cell["vThMant"]) << 6

    @property
    def bits(self):
        """Fractional bits of the messages."""
        return 12 if self.cell["gradedSpike"] else 0

    def sent(self, fired, state):
        return np.where(fired, state if self.cell["gradedSpike"] else 1, 0)

    def normalised(self, sums, bits):
        """Bias added and exponent taken off, in units of the state: what enters is cut once."""
        biased = sums + (self.bias << bits)
        return [z(part << 6, bits + exponent) for part, exponent in zip(biased, self.exponents, strict=False)]


class Lif(Population):
    """Lava's LIF, whose ``du`` is ``iDecay - 1``, to which it adds 1; bias and exponent act between its two states."""

    names = ("current", "voltage")

    def step(self, sums, bits):
        arriving = z(sums[0] << 6, bits)
        raw = z(self.current * self.keep("iDecay")) + arriving
        check_width(raw, arriving)
        self.current = wrap(raw)
        drive = z(self.current + (self.bias[0] << 6), self.exponents[0])
        voltage = saturate(z(self.voltage * self.keep("vDecay")) + drive)
        fired = voltage > self.level
        self.voltage = np.where(fired, 0, voltage)
        return self.sent(fired, voltage)


class Integrators(Population):
    """Complex weights without neuron: an integrator of Lava's for each part, whose voltage never fires."""

    names = ("real", "imag")
    bits = 0

    def reset(self):
        self.pair = [Lif(self.cell, [part], self.shape, self.spike_exp) for part in self.bias]

    def states(self):
        return {name: one.voltage for name, one in zip(self.names, self.pair, strict=True)}

    def step(self, sums, bits):
        for one, part in zip(self.pair, sums, strict=True):
            one.step(part[None], bits)
        return self.zeros()


class Adaptive(Population):
    """A threshold that each spike raises, and a refractory state; both decay."""

    def reset(self):
        super().reset()
        self.threshold = self.level

    def decay(self):
        """Both at this step; returns their sum, which fires."""
        base = self.level
        self.threshold = z((self.threshold - base) * self.keep("thDecay")) + base
        self.refractory = z(self.refractory * self.keep("refDecay"))
        return self.threshold + self.refractory

    def raise_where(self, fired):
        self.refractory = np.where(fired, saturate(self.refractory + 2 * self.threshold), self.refractory)
        higher = saturate(self.threshold + (self.each(self.cell["vThStep"]) << 6))
        self.threshold = np.where(fired, higher, self.threshold)


class Alif(Adaptive):
    """Training's ALIF: bias and exponent act on its input, no spike resets its voltage."""

    names = ("current", "voltage", "threshold", "refractory")

    def step(self, sums, bits):
        (arriving,) = self.normalised(sums, bits)
        self.current = saturate(z(self.current * self.keep("iDecay")) + arriving)
        self.voltage = saturate(z(self.voltage * self.keep("vDecay")) + self.current)
        fired = self.voltage >= self.decay()
        self.raise_where(fired)
        return self.sent(fired, self.voltage)


class Resonator(Population):
    """Lava's RF and RF_IZ."""

    names = ("real", "imag")

    def turn(self, sums, bits):
        """New parts of the state, and the imaginary part before."""
        a, b = self.normalised(sums, bits)
        s, c = self.each(self.cell["sinDecay"]), self.each(self.cell["cosDecay"])
        before = self.imag
        real = saturate(z(c * self.real) - z(s * self.imag) + a)
        imag = saturate(z(s * self.real) + z(c * self.imag) + b)
        self.real, self.imag = real, imag
        return before

    def step(self, sums, bits):
        before = self.turn(sums, bits)
        if self.cell["type"].endswith("PHASE"):
            fired = (self.real >= self.level) & (self.imag >= 0) & (before < 0)
            return self.sent(fired, self.real)
        fired, imag = self.imag >= self.level, self.imag
        self.real = np.where(fired, 0, self.real)
        self.imag = np.where(fired, self.level - 1, imag)
        return self.sent(fired, imag)


class AdaptiveResonator(Adaptive, Resonator):
    """The same with an adaptive threshold in the place of a reset."""

    names = ("real", "imag", "threshold", "refractory")

    def step(self, sums, bits):
        before = self.turn(sums, bits)
        level = self.decay()
        phase = self.cell["type"].endswith("PHASE")
        state = self.real if phase else self.imag
        fired = state >= level
        if phase:
            fired = fired & (self.imag >= 0) & (before < 0)
        self.raise_where(fired)
        return self.sent(fired, state)


# --- sigma-delta ------------------------------------------------------------------------------------------------------


def _erf(x):
    return np.vectorize(math.erf, otypes=[float])(x)


def _elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


CURVES = {
    "elu": _elu,
    "gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "leaky_relu": lambda x: np.where(x > 0, x, np.float64(np.float32(0.01)) * x),
    "selu": lambda x: 1.0507009873554804934193349852946 * _elu(x, 1.6732632423543772848170429916717),
    "sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),
    "silu": lambda x: x * np.exp(-np.logaddexp(0, -x)),
    "softplus": lambda x: np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20)))),
    "tanh": np.tanh,
}
LIMITS = {"identity": (None, None), "relu": (0, None), "relu6": (0, 6), "hardtanh": (-1, 1)}


def activate(name, x, one):
    """An activation function of an integer that counts ``1 / one``."""
    low, high = LIMITS[name]
    x = x if low is None else np.maximum(x, low * one)
    return x if high is None else np.minimum(x, high * one)


class Delta(Population):
    """Lava's encoder of changes; a state of it counts ``2**-(12 + spike_exp)``, a message 64 times that.

    ``fine`` bits more than that are kept where an exponent divides the sum: training loses nothing there.
    """

    names = ("activation", "residue")
    fine = 0

    def reset(self):
        super().reset()
        self.error = self.zeros()

    @property
    def bits(self):
        return 6 + self.spike_exp

    def states(self):
        return {**super().states(), **{name: z(getattr(self, name), self.fine) for name in ("activation", "residue")}}

    def step(self, sums, bits):
        return self.encode(z(sums[0], bits - 6 - self.spike_exp))

    def encode(self, x):
        shift = 6 + self.spike_exp + self.fine
        difference = x - self.activation + self.residue
        self.error = self.error + difference if self.cell.get("cumError") else difference
        sends = np.abs(self.error) >= self.each(self.cell["vThMant"]) << shift
        message = np.where(sends, difference, 0)
        self.error = np.where(message != 0, 0, self.error)
        output = message >> (6 + self.fine)  # rounds down
        self.residue = difference - (output << (6 + self.fine) if self.cell.get("carryRounding") else message)
        self.activation = x
        check_width(x >> self.fine, difference >> self.fine)
        return output


class SigmaDelta(Delta):
    """Lava's sum of messages and encoder, with training's activation functions and exponent."""

    names = ("sigma", "activation", "residue")

    @property
    def fine(self):
        return max(self.exponents[0], 0)

    def step(self, sums, bits):
        self.sigma = self.sigma + z(sums[0], bits - 6 - self.spike_exp)
        check_width(self.sigma)
        total = self.sigma + (self.bias[0] << 6 + self.spike_exp)
        total = z(total, self.exponents[0] - self.fine)
        return self.encode(activate(self.cell["activation"], total, 1 << 12 + self.spike_exp + self.fine))


class Curved(SigmaDelta):
    """The same with an activation function that no integer holds: behind the sum all is training's float32."""

    def reset(self):
        super().reset()
        self.activation, self.residue, self.error = np.zeros((3, math.prod(self.shape)), np.float32)

    def states(self):
        one = 1 << 12 + self.spike_exp
        cut = {name: np.trunc(getattr(self, name) * float(one)).astype(np.int64) for name in self.names[1:]}
        return {"sigma": self.sigma, **cut}

    def step(self, sums, bits):
        self.sigma = self.sigma + z(sums[0], bits - 6 - self.spike_exp)
        check_width(self.sigma)
        total = np.float32(self.sigma / (1 << 12 + self.spike_exp)) + np.float32(self.bias[0] / 64)
        active = np.float32(CURVES[self.cell["activation"]](np.float64(total / np.float32(2.0 ** self.exponents[0]))))
        one = np.float32(1 << self.bits)
        return self.encode(np.clip(active, -(M - 1) / one, (M - 1) / one), one)

    def encode(self, x, one):
        difference = x - self.activation + self.residue
        self.error = self.error + difference if self.cell.get("cumError") else difference
        message = np.where(np.abs(self.error) >= np.float32(self.each(self.cell["vThMant"]) / 64), difference, 0)
        self.error = np.where(message != 0, 0, self.error)
        output = np.floor(message * one)
        self.residue = difference - (output / one if self.cell.get("carryRounding") else message)
        self.activation = x
        return output.astype(np.int64)


class Sigma(Population):
    """Lava's sum of messages, which is sent itself."""

    names = ("sigma",)

    @property
    def bits(self):
        return 12 + self.spike_exp

    def step(self, sums, bits):
        self.sigma = self.sigma + z(sums[0], bits - 6 - self.spike_exp)
        check_width(self.sigma)
        return self.sigma


def population(layer, shape, spike_exp):
    """The neurons of a layer."""
    cell = NEVER if layer.neuron is None else layer.neuron
    parts = 2 if "weight/real" in layer.fields or "RF" in cell["type"] else 1
    names = ("bias/real", "bias/imag") if parts == 2 else ("bias",)
    bias = [0 if layer.type == "input" else layer.fields.get(name, 0) for name in names]
    kinds = {"CUBA": Lif, "ALIF": Alif, "RF": Resonator, "ADRF": AdaptiveResonator, "SDNN": SigmaDelta}
    kind = kinds[cell["type"].split("_")[0]]
    if layer.neuron is None and parts == 2:
        kind = Integrators
    elif kind is SigmaDelta and layer.type == "input":
        kind = Delta
    elif kind is SigmaDelta and cell.get("sigma_output"):
        kind = Sigma
    elif kind is SigmaDelta and cell["activation"] in CURVES:
        kind = Curved
    return kind(cell, bias, shape, spike_exp)
