"""Layers as processes of Lava: synapses and neurons, connected.  They are made from files in ``network.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lava.magma.core.process.ports.ports import AbstractPort, InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.proc.conv.process import Conv as ConvSynapse
from lava.proc.sdn.process import Delta, SigmaDelta
from scipy.sparse import spmatrix

from lavadl_lite.errors import ExchangeError, ParameterError
from lavadl_lite.netx._lava_synapses import synapse
from lavadl_lite.netx.utils import SYNAPSE_SIGN_MODE

__all__ = [
    "AbstractBlock",
    "ComplexDense",
    "ComplexInput",
    "ComplexRecurrentDense",
    "Conv",
    "Dense",
    "Input",
    "RecurrentDense",
    "Unrolled",
]

PER_CHANNEL = ("du", "dv", "vth")  # Lava's constructors take one number for these, its models arrays
EXACT = ("sin_decay", "cos_decay")  # set as they are, since Lava computes them from a period by rounding


class LateInPort(InPort):
    """A port that is connected to what it leads to once something is connected to it.

    Lava cannot run a network with a port that leads somewhere and is fed by nothing.
    """

    def __init__(self, *targets: InPort, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(targets[0].shape if shape is None else shape)
        self._targets: tuple[InPort, ...] = targets

    def _add_inputs(self, inputs: list[AbstractPort]) -> None:
        super()._add_inputs(inputs)
        targets, self._targets = self._targets, ()
        for target in targets:
            port = self if target.shape == self.shape else self.reshape(target.shape)
            port.connect(target)


class AbstractBlock(AbstractProcess):
    """Base of all blocks.

    Parameters
    ----------
    shape : tuple of int
        Shape of the neurons, ``(W, H, C)`` or ``(C,)``.
    neuron_params : mapping
        ``neuron_proc``, Lava's process, and its arguments, which may be arrays, one value for each channel.  Beside
        them ``bias_key``, the argument that takes a bias; ``num_message_bits`` of what the neurons send; ``sin_decay``
        and ``cos_decay`` of resonators in 4096ths, which are taken as they are.
    bias : array, optional
        For each neuron, or each channel.
    input_message_bits : int
        0: what arrives counts as one spike, else as an integer.

    Attributes
    ----------
    inp, out : InPort, OutPort
        Where messages come in and go out.
    neuron : AbstractProcess
        Lava's neurons.
    output_message_bits : int
        What the next block has as ``input_message_bits``.

    Raises
    ------
    ParameterError
        If a bias does not fit, or the neurons take none.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        neuron_params: Mapping[str, Any],
        bias: np.ndarray | None = None,
        input_message_bits: int = 0,
    ) -> None:
        shape = tuple(int(size) for size in shape)
        super().__init__(shape=shape)
        self.shape = shape
        self.input_message_bits = int(input_message_bits)
        self.output_message_bits = int(neuron_params.get("num_message_bits", 0))
        self.neuron = self._neuron(neuron_params, bias)
        self.out = OutPort(shape=shape)
        self.neuron.s_out.connect(self.out)

    @property
    def block(self) -> str:
        """Name of the class."""
        return type(self).__name__

    def export_hdf5(self, handle: Any) -> None:
        """Blocks of Lava are made from files; :func:`lavadl_lite.netx.save` writes those of training.

        Raises
        ------
        ExchangeError
            Always.
        """
        raise ExchangeError(f"{self.block}: expected a block of lavadl_lite.slayer, which netx.save writes, got Lava's")

    def _neuron(self, neuron_params: Mapping[str, Any], bias: np.ndarray | None) -> AbstractProcess:
        arguments = {name: value for name, value in neuron_params.items() if name != "num_message_bits"}
        make = arguments.pop("neuron_proc")
        key = arguments.pop("bias_key", None)
        exact = {name: arguments.pop(name) for name in EXACT if name in arguments}
        if bias is not None and key is None:
            raise ParameterError(f"expected no bias for {make.__name__} neurons, which have none to set")
        if bias is not None:
            arguments[key] = self._each(bias, "bias")
        arrays = {name: arguments[name] for name in PER_CHANNEL if np.ndim(arguments.get(name, 0))}
        neuron = make(shape=self.shape, **(arguments | dict.fromkeys(arrays, 1)))
        unit = 1 << (arguments["spike_exp"] + arguments["state_exp"]) if make in (Delta, SigmaDelta) else 1
        for name, value in (arrays | exact).items():
            var = getattr(neuron, name)
            var.init = np.asarray(value) * unit
            if np.ndim(value):
                var.init, var.shape = self._each(value, name) * unit, self.shape
        return neuron

    def _each(self, values: np.ndarray, name: str) -> np.ndarray:
        """One value for each neuron, from as many or from one for each channel."""
        values = np.asarray(values)
        if values.shape not in ((), (1,), self.shape, self.shape[-1:]):
            raise ParameterError(f"expected {name} of shape {self.shape[-1:]} or {self.shape}, got {values.shape}")
        return np.broadcast_to(values, self.shape).copy()


class Input(AbstractBlock):
    """Neurons without synapses: they encode what comes in.

    Parameters
    ----------
    shape, neuron_params, bias
        As :class:`AbstractBlock` has them.
    transform : dict, optional
        Weight and bias that the signal has to be multiplied by and added to before it comes in, in 64ths.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        neuron_params: Mapping[str, Any],
        transform: dict[str, int] | None = None,
        bias: np.ndarray | None = None,
    ) -> None:
        super().__init__(shape, neuron_params, bias)
        self.transform = transform
        self.inp = LateInPort(self.neuron.a_in)


class ComplexInput(AbstractBlock):
    """Resonators without synapses.

    Parameters
    ----------
    shape, neuron_params
        As :class:`AbstractBlock` has them.
    transform : dict, optional
        As :class:`Input` has it.
    imag : bool
        Whether what comes in is their imaginary input too, as lava-dl's block has it, beside their real one; a block
        of training has only the latter.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        neuron_params: Mapping[str, Any],
        transform: dict[str, int] | None = None,
        imag: bool = True,
    ) -> None:
        super().__init__(shape, neuron_params)
        self.transform = transform
        self.inp = LateInPort(self.neuron.a_real_in, *([self.neuron.a_imag_in] if imag else []))


class Dense(AbstractBlock):
    """Fully connected block.

    Parameters
    ----------
    shape, neuron_params, bias, input_message_bits
        As :class:`AbstractBlock` has them.
    weight : array, shape (out, in)
        Integers.
    delay : array that broadcasts to (out, in), optional
        Steps of each connection.
    num_weight_bits, weight_exponent, sign_mode : optional
        As :func:`~lavadl_lite.netx.utils.optimize_weight_bits` gives them with ``weight``; by default it is asked.
    sparse_synapse : bool
        Hold the weights as a sparse matrix.

    Attributes
    ----------
    synapse : AbstractProcess
        Lava's synapses.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        neuron_params: Mapping[str, Any],
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        delay: np.ndarray | None = None,
        num_weight_bits: int | None = None,
        weight_exponent: int = 0,
        sign_mode: SYNAPSE_SIGN_MODE | None = None,
        input_message_bits: int = 0,
        sparse_synapse: bool = False,
    ) -> None:
        super().__init__(shape, neuron_params, bias, input_message_bits)
        bits = (num_weight_bits, weight_exponent, sign_mode)
        self.synapse = synapse(weight, delay, *bits, message_bits=input_message_bits, sparse=sparse_synapse)
        self.synapse.a_out.connect(self.neuron.a_in)
        self.inp = LateInPort(self.synapse.s_in)


class RecurrentDense(Dense):
    """Fully connected block whose neurons also receive what they sent a step before.

    Parameters
    ----------
    shape, neuron_params, weight, bias, delay, input_message_bits, sparse_synapse
        As :class:`Dense` has them.
    weight_rec : array, shape (out, out)
        Integers.

    Attributes
    ----------
    synapse, synapse_rec : AbstractProcess
        Lava's synapses.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        neuron_params: Mapping[str, Any],
        weight: np.ndarray,
        weight_rec: np.ndarray,
        bias: np.ndarray | None = None,
        delay: np.ndarray | None = None,
        input_message_bits: int = 0,
        sparse_synapse: bool = False,
    ) -> None:
        super().__init__(shape, neuron_params, weight, bias, delay, None, 0, None, input_message_bits, sparse_synapse)
        self.synapse_rec = _feedback(self, weight_rec, sparse_synapse)
        self.synapse_rec.a_out.connect(self.neuron.a_in)


class ComplexDense(AbstractBlock):
    """Fully connected block of resonators.

    Parameters
    ----------
    shape, neuron_params, input_message_bits
        As :class:`AbstractBlock` has them.
    weight_real, weight_imag : array, shape (out, in)
        Integers.
    delay, sparse_synapse
        As :class:`Dense` has them, for both parts.
    num_weight_bits_real, weight_exponent_real, sign_mode_real, and the same of imag : optional
        As :class:`Dense` has them, for each part.

    Attributes
    ----------
    real_synapse, imag_synapse : AbstractProcess
        Lava's synapses.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        neuron_params: Mapping[str, Any],
        weight_real: np.ndarray,
        weight_imag: np.ndarray,
        delay: np.ndarray | None = None,
        num_weight_bits_real: int | None = None,
        num_weight_bits_imag: int | None = None,
        weight_exponent_real: int = 0,
        weight_exponent_imag: int = 0,
        sign_mode_real: SYNAPSE_SIGN_MODE | None = None,
        sign_mode_imag: SYNAPSE_SIGN_MODE | None = None,
        input_message_bits: int = 0,
        sparse_synapse: bool = False,
    ) -> None:
        super().__init__(shape, neuron_params, None, input_message_bits)
        real = (num_weight_bits_real, weight_exponent_real, sign_mode_real)
        imag = (num_weight_bits_imag, weight_exponent_imag, sign_mode_imag)
        common: dict[str, Any] = {"message_bits": input_message_bits, "sparse": sparse_synapse}
        self.real_synapse = synapse(weight_real, delay, *real, **common)
        self.imag_synapse = synapse(weight_imag, delay, *imag, **common)
        self.real_synapse.a_out.connect(self.neuron.a_real_in)
        self.imag_synapse.a_out.connect(self.neuron.a_imag_in)
        self.inp = LateInPort(self.real_synapse.s_in, self.imag_synapse.s_in)


class ComplexRecurrentDense(ComplexDense):
    """Fully connected block of resonators that also receive what they sent a step before.

    Parameters
    ----------
    shape, neuron_params, weight_real, weight_imag, delay, input_message_bits, sparse_synapse
        As :class:`ComplexDense` has them.
    weight_rec_real, weight_rec_imag : array, shape (out, out)
        Integers.

    Attributes
    ----------
    real_synapse, imag_synapse, real_synapse_rec, imag_synapse_rec : AbstractProcess
        Lava's synapses.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        neuron_params: Mapping[str, Any],
        weight_real: np.ndarray,
        weight_imag: np.ndarray,
        weight_rec_real: np.ndarray,
        weight_rec_imag: np.ndarray,
        delay: np.ndarray | None = None,
        input_message_bits: int = 0,
        sparse_synapse: bool = False,
    ) -> None:
        common: dict[str, Any] = {"input_message_bits": input_message_bits, "sparse_synapse": sparse_synapse}
        super().__init__(shape, neuron_params, weight_real, weight_imag, delay, **common)
        self.real_synapse_rec = _feedback(self, weight_rec_real, sparse_synapse)
        self.imag_synapse_rec = _feedback(self, weight_rec_imag, sparse_synapse)
        self.real_synapse_rec.a_out.connect(self.neuron.a_real_in)
        self.imag_synapse_rec.a_out.connect(self.neuron.a_imag_in)


def _feedback(block: AbstractBlock, weight: np.ndarray, sparse: bool) -> AbstractProcess:
    """Synapses that take what the block's neurons send."""
    made = synapse(weight, message_bits=block.output_message_bits, sparse=sparse)
    block.neuron.s_out.connect(made.s_in)
    return made


class Conv(AbstractBlock):
    """Convolutional block.

    Parameters
    ----------
    shape, neuron_params, bias, input_message_bits
        As :class:`AbstractBlock` has them.
    input_shape : tuple of int
        ``(W, H, C)``.
    weight : array, shape (out channels, kernel W, kernel H, in channels / groups)
        Integers, in the order of a true convolution: both axes of the kernel reversed.
    stride, padding, dilation : int or (W, H)
        Of the kernel.
    groups : int
        Number of groups of channels.

    Attributes
    ----------
    synapse : AbstractProcess
        Lava's synapses.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        input_shape: tuple[int, ...],
        neuron_params: Mapping[str, Any],
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        input_message_bits: int = 0,
    ) -> None:
        super().__init__(shape, neuron_params, bias, input_message_bits)
        self.synapse = ConvSynapse(
            weight=np.asarray(weight),
            input_shape=tuple(int(size) for size in input_shape),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=int(groups),
            num_message_bits=self.input_message_bits,
        )
        self.synapse.a_out.connect(self.neuron.a_in)
        self.inp = LateInPort(self.synapse.s_in)


class Unrolled(AbstractBlock):
    """Any linear map between planes, connection by connection: what Lava has no convolution for.

    Parameters
    ----------
    shape, neuron_params, bias, input_message_bits
        As :class:`AbstractBlock` has them.
    input_shape : tuple of int
        ``(W, H, C)``.
    weights : sparse matrix, or two of them, shape (out, in)
        Integers; the real and the imaginary part where there are two.  Both axes run over planes ``(W, H, C)``.
    delay : array that broadcasts to (out, in), optional
        Steps of each connection.

    Attributes
    ----------
    synapse, or real_synapse and imag_synapse : AbstractProcess
        Lava's synapses.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        input_shape: tuple[int, ...],
        neuron_params: Mapping[str, Any],
        weights: tuple[spmatrix, ...],
        bias: np.ndarray | None = None,
        delay: np.ndarray | None = None,
        input_message_bits: int = 0,
    ) -> None:
        super().__init__(shape, neuron_params, bias, input_message_bits)
        made = [synapse(weight, delay, message_bits=self.input_message_bits, sparse=True) for weight in weights]
        if len(made) == 1:
            (self.synapse,) = made
            ends = [self.neuron.a_in]
        else:
            self.real_synapse, self.imag_synapse = made
            ends = [self.neuron.a_real_in, self.neuron.a_imag_in]
        for part, end in zip(made, ends, strict=True):
            part.a_out.reshape(self.shape).connect(end)
        self.inp = LateInPort(*(part.s_in for part in made), shape=tuple(int(size) for size in input_shape))
