"""A network file as a process of Lava."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.io.reset import Reset
from lava.proc.lif.process import LIFReset
from lava.proc.sdn.process import Delta, SigmaDelta

from lavadl_lite import exchange
from lavadl_lite.errors import ParameterError
from lavadl_lite.exchange import Layer, output_shapes
from lavadl_lite.netx._files import layers_of
from lavadl_lite.netx._lava_build import (
    BIAS_ONE,
    CHANGE_BITS,
    DECAY_BITS,
    DECAY_ONE,
    HEADER,
    STATE_BITS,
    Options,
    as_layer,
    as_values,
    create,
    neuron_params,
)
from lavadl_lite.netx._lava_limits import refusals
from lavadl_lite.netx.blocks.models import AbstractPyBlockModel
from lavadl_lite.netx.blocks.process import AbstractBlock, LateInPort
from lavadl_lite.netx.simulator import Simulator, _check_integer
from lavadl_lite.netx.utils import NetDict

__all__ = ["Network", "PyNetworkModel"]

MESSAGE_BITS = 24  # what a message may have
ONCE = 1 << 30  # steps between resets that should happen only once
STATE_MIN = -(1 << 23) + 1  # of LIF neurons
STATES = ("u", "v", "real", "imag", "sigma", "act", "residue", "error")  # what a reset sets to 0


class Network(AbstractProcess):
    """A network file as a process of Lava that computes what training computed.

    Parameters
    ----------
    net_config : path or network
        A ``.net`` file, or whatever :func:`lavadl_lite.netx.save` takes.
    num_layers : int, optional
        Use only that many entries from the start; input and flatten entries count.
    skip_layers : int
        Leave out the entries before this one.
    input_message_bits : int
        0: the first synapses count every non-zero input as one spike.  Greater: they multiply by the integer.
    input_shape : tuple of int, optional
        ``(W, H, C)``, for a network that starts with a layer of planes.
    reset_interval : int, optional
        Set all states to 0 every so many steps.  None: never.
    reset_offset : int
        Phase of these resets, see ``align``.
    spike_exp : int
        Fractional bits of sigma-delta messages.
    sparse_fc_layer : bool
        Hold the weights of dense layers as sparse matrices.
    align : None or "slayer"
        None: layer k (from 0, those without neurons not counted) is reset before time steps congruent to
        ``reset_offset + 1 + k``.

        "slayer": each layer is reset before the time step at which what entered the network in entry ``reset_offset``,
        and every ``reset_interval`` entries later, arrives in training: for spiking networks all layers at one step.
        Where a layer has a bias, that is also done once at the start, so that no bias acts before the first arrival.
        Sigma-delta neurons send no change below one unit of a message.  The network then equals training, ``lag``
        steps later.

    Attributes
    ----------
    inp, out : InPort, OutPort
        Where messages come in and go out; planes are ``(W, H, C)``.
    layers : list of AbstractBlock
        One for each kept entry with neurons, see :mod:`lavadl_lite.netx.blocks.process`.
    in_layer, out_layer : AbstractBlock
        The first and the last of them.
    net_str : str
        The table that ``str(net)`` gives.
    lag : int
        Steps by which a message leaves ``out`` later than training gives it.
    output_message_bits : int
        What a synapse behind the network would have as ``input_message_bits``.

    Raises
    ------
    ExchangeError
        If the network breaks the exchange format.
    ParameterError
        If an argument is out of its range, or Lava would compute something else than training did: the message names
        layer, field, reason and what to do.
    """

    def __init__(
        self,
        net_config: Any,
        num_layers: int | None = None,
        skip_layers: int = 0,
        input_message_bits: int = 0,
        input_shape: tuple[int, ...] | None = None,
        reset_interval: int | None = None,
        reset_offset: int = 0,
        spike_exp: int = 6,
        sparse_fc_layer: bool = False,
        align: str | None = None,
    ) -> None:
        super().__init__()
        if align not in (None, "slayer"):
            raise ParameterError(f"expected align to be None or 'slayer', got {align!r}")
        _check_integer("skip_layers", skip_layers, 0)
        _check_integer("input_message_bits", input_message_bits, 0, MESSAGE_BITS)
        _check_integer("reset_offset", reset_offset, 0)
        _check_integer("spike_exp", spike_exp, 0, MESSAGE_BITS)
        for name, value in (("num_layers", num_layers), ("reset_interval", reset_interval)):
            if value is not None:
                _check_integer(name, value, 1)
        is_file = isinstance(net_config, str | os.PathLike)
        self.filename = net_config if is_file else None
        self.num_layers, self.skip_layers, self.input_shape = num_layers, skip_layers, input_shape
        self.reset_interval, self.reset_offset, self.align = reset_interval, reset_offset, align
        self.input_message_bits, self.spike_exp, self.sparse_fc_layer = input_message_bits, spike_exp, sparse_fc_layer
        entries = exchange.read(net_config, num_layers).layers if is_file else layers_of(net_config)[:num_layers]
        _refuse(entries, skip_layers)
        self._entries = entries
        made = list(self._create(entries))
        self.layers = [block for block, _ in made]
        if not self.layers:
            raise ParameterError(f"expected a layer with neurons among the entries from {skip_layers} on, got none")
        self.net_str = "\n".join([HEADER, *(row for _, row in made)])
        self.in_layer, self.out_layer = self.layers[0], self.layers[-1]
        self.inp = LateInPort(self.in_layer.inp)
        self.out = OutPort(self.out_layer.shape)
        self.out_layer.out.connect(self.out)
        self.output_message_bits = self.out_layer.output_message_bits
        shifts = sum(_is_shifted(entry) for entry in entries[skip_layers:] if _has_neurons(entry))
        self.lag = sum(block.block not in ("Input", "ComplexInput") for block in self.layers) - shifts

    @property
    def net_config(self) -> NetDict | None:
        """The file to look around in; None where there is none."""
        return None if self.filename is None else NetDict(self.filename)

    def encode(self, x: Any) -> np.ndarray:
        """Turn a real-valued input into what ``inp`` takes, as training's input layer does.

        Parameters
        ----------
        x : array, shape (C, H, W, T) or (C, T)
            Input as training takes it, without the axis of the batch.

        Returns
        -------
        array of int32, shape (W, H, C, T) or (C, T)
            See :meth:`lavadl_lite.netx.Simulator.encode`, with ``whole=True``.
        """
        first = next(i for i, entry in enumerate(self._entries) if i >= self.skip_layers and _has_neurons(entry))
        given = None if self._entries[0].type == "input" else self.input_shape
        shape = None if given is None else tuple(given)[::-1]
        simulator = Simulator(self._entries[: first + 1], None, self.skip_layers, input_shape=shape)
        values = simulator.encode(x, whole=True)
        return values.transpose((*range(values.ndim - 2, -1, -1), values.ndim - 1))

    def __len__(self) -> int:
        return len(self.layers)

    def __str__(self) -> str:
        return self.net_str

    # ------------------------------------------------------------------------------------------------------ building
    def _create(self, entries: Sequence[Layer]) -> Iterator[tuple[AbstractBlock, str]]:
        """Blocks, connected, and their lines of the table."""
        shapes = self._shapes(entries)
        biased = any(np.any(entry.fields.get("bias", 0)) for entry in entries if entry.type != "input")
        bits = self.input_message_bits
        block: AbstractBlock | None = None
        order, arrival = 0, 1  # the step at which the first entry of the input arrives
        for index, (entry, before, after) in enumerate(zip(entries, shapes, shapes[1:], strict=False)):
            if not _has_neurons(entry):
                continue
            if index >= self.skip_layers:
                arrival += entry.type != "input"
                interval, offset = self._reset(entry, index, order, arrival)
                options = Options(bits, interval, offset, self.spike_exp, self.sparse_fc_layer)
                try:
                    made, row = create(entry, before or after, after, options)
                except ParameterError as error:  # weights that synapses do not hold
                    raise ParameterError(f"/layer/{index}/weight: {error}; use pre_hook_fx='quantize_8bit'") from None
                _reset_others(made, interval, offset)
                if self.align == "slayer":
                    _hold_threshold(made)
                    if biased and arrival > 1:
                        _start_at(made, arrival, index)
                if block is not None:
                    _connect(block, made)
                block = made
                yield made, row
                order += 1
                arrival -= _is_shifted(entry)
            bits = CHANGE_BITS if entry.neuron is not None and entry.neuron["type"] == "SDNN" else 0

    def _shapes(self, entries: Sequence[Layer]) -> list[Any]:
        """Shape of the input, where it is known, and those after each entry."""
        fields = entries[0].fields
        given = None if self.input_shape is None else tuple(int(size) for size in self.input_shape)[::-1]
        if entries[0].type == "input":
            given = None  # it has its own
        elif "inFeatures" in fields:
            given = (fields["inFeatures"],)
        elif given is None and entries[0].type != "flatten" and self.skip_layers == 0:
            raise ParameterError(f"expected input_shape (W, H, C) for a network that starts with {entries[0].type}")
        return [given, *output_shapes(entries, given)]

    def _reset(self, entry: Layer, index: int, order: int, arrival: int) -> tuple[int | None, int]:
        """Interval, and a time step before which the layer is reset."""
        if self.reset_interval is None:
            return None, 0
        if self.align is None:
            return self.reset_interval, self.reset_offset + 1 + order
        if np.any(entry.fields.get("delay", 0)) and entry.fields.get("delaySide", "output") == "output":
            raise ParameterError(
                f"/layer/{index}/delay: expected none behind neurons that are reset as in training, got some: Lava "
                f"delays their input; set delaySide to 'input', if the delay may act before the neuron"
            )
        return self.reset_interval, self.reset_offset + arrival

    # ------------------------------------------------------------------------------------------------ entry by entry
    @staticmethod
    def get_neuron_params(
        neuron_config: Any,
        input: bool = False,
        reset_interval: int | None = None,
        reset_offset: int = 0,
        spike_exp: int = 6,
    ) -> dict[str, Any]:
        """Lava's neuron and its arguments for the neuron group of a file.

        Parameters
        ----------
        neuron_config : NetDict, h5py.Group or mapping
            Its fields.
        input : bool
            Whether it stands in an input entry.
        reset_interval, reset_offset, spike_exp
            As :class:`Network` has them, but the offset is that of this layer.
        """
        options = Options(0, reset_interval, reset_offset, spike_exp)
        return neuron_params(as_values(neuron_config), options, encodes=input)

    @staticmethod
    def create_input(
        layer_config: Any, reset_interval: int | None = None, reset_offset: int = 0, spike_exp: int = 6
    ) -> tuple[AbstractBlock, str]:
        """Block and line of the table for an input entry with a neuron."""
        return _created(layer_config, ("input",), None, Options(0, reset_interval, reset_offset, spike_exp))

    @staticmethod
    def create_dense(
        layer_config: Any,
        input_message_bits: int = 0,
        reset_interval: int | None = None,
        reset_offset: int = 0,
        spike_exp: int = 6,
        sparse_synapse: bool = False,
        rec: bool = False,
    ) -> tuple[AbstractBlock, str]:
        """Block and line of the table for a dense entry, or, with ``rec``, a dense_rec one."""
        options = Options(input_message_bits, reset_interval, reset_offset, spike_exp, bool(sparse_synapse))
        return _created(layer_config, ("dense_rec",) if rec else ("dense",), None, options)

    @staticmethod
    def create_conv(
        layer_config: Any,
        input_shape: tuple[int, int, int],
        input_message_bits: int = 0,
        reset_interval: int | None = None,
        reset_offset: int = 0,
        spike_exp: int = 6,
    ) -> tuple[AbstractBlock, str]:
        """Block and line of the table for an entry of planes: conv, convT, pool or unpool."""
        options = Options(input_message_bits, reset_interval, reset_offset, spike_exp)
        return _created(layer_config, ("conv", "convT", "pool", "unpool"), input_shape, options)

    create_pool = create_convT = create_unpool = create_conv

    @staticmethod
    def create_average(layer_config: Any) -> tuple[AbstractBlock, str]:
        """Refuse, as Lava has no such layer."""
        return _created(layer_config, ("average",), None, Options())

    @staticmethod
    def create_concat(layer_config: Any) -> tuple[AbstractBlock, str]:
        """Refuse, as Lava has no such layer."""
        return _created(layer_config, ("concat",), None, Options())


@implements(proc=Network, protocol=LoihiProtocol)
class PyNetworkModel(AbstractPyBlockModel):
    """Model of :class:`Network`."""


def _refuse(entries: Sequence[Layer], skip: int = 0) -> None:
    found = [row for row in refusals(entries) if row.layer >= skip]
    if found:
        lines = [f"/layer/{row.layer}/{row.field}: {row.message}; {row.rewrite}" for row in found]
        raise ParameterError("expected a network that Lava computes as training does, got\n" + "\n".join(lines))


def _created(
    config: Any, types: tuple[str, ...], input_shape: tuple[int, int, int] | None, options: Options
) -> tuple[AbstractBlock, str]:
    layer = as_layer(config)
    if layer.type not in types:
        raise ParameterError(f"expected an entry of type {' or '.join(types)}, got {layer.type}")
    _refuse([layer])
    before = None if input_shape is None else tuple(int(size) for size in input_shape)[::-1]
    (after,) = output_shapes([layer], before)
    return create(layer, before or after, after, options)


def _connect(before: AbstractBlock, block: AbstractBlock) -> None:
    """Planes reach a dense block in the order in which training flattens them."""
    flat = len(before.shape) == 3 and len(block.inp.shape) == 1
    (before.out.transpose([2, 1, 0]).flatten() if flat else before.out).connect(block.inp)


def _has_neurons(entry: Layer) -> bool:
    return entry.neuron is not None or entry.type == "dense"


def _is_shifted(entry: Layer) -> bool:
    """Whether training delays what the layer sends by a step."""
    own = entry.neuron is not None and entry.neuron["type"] != "SDNN"
    return bool(entry.fields.get("delayShift", own))


def _reset_others(block: AbstractBlock, interval: int | None, offset: int) -> None:
    """Reset what has no resets of its own before time steps congruent to ``offset``."""
    if interval is None or isinstance(block.neuron, LIFReset):
        return
    for name in STATES:
        if (var := getattr(block.neuron, name, None)) is not None:
            # Lava's process writes after a step, and counts steps from 0
            Reset(interval=interval, offset=(offset - 2) % interval).connect_var(var)


def _hold_threshold(block: AbstractBlock) -> None:
    """Training sends no change below one unit of a message, however small the threshold is."""
    if isinstance(block.neuron, Delta | SigmaDelta):
        block.neuron.vth.init = np.maximum(block.neuron.vth.init, 1 << STATE_BITS)


def _start_at(block: AbstractBlock, arrival: int, index: int) -> None:
    """Keep a block silent and without states up to the time step before ``arrival``."""
    neuron = block.neuron
    for name in STATES:
        if (var := getattr(neuron, name, None)) is not None:
            Reset(interval=ONCE, offset=arrival - 2).connect_var(var)
    if not hasattr(neuron, "bias_mant"):
        return
    neuron.u.init = neuron.v.init = STATE_MIN
    kept = [_shifted(STATE_MIN * (DECAY_ONE - decay)) for decay in (neuron.du.init + 1, neuron.dv.init)]
    if np.any(sum(kept) + BIAS_ONE * neuron.bias_mant.init > BIAS_ONE * neuron.vth.init):
        raise ParameterError(
            f"/layer/{index}/bias: expected neurons that need more than one step to fire by their bias alone, got some "
            f"that Lava would have fire before the first input arrives; train with decays below 1"
        )


def _shifted(values: Any) -> Any:
    """Shift right by 12, toward zero."""
    return np.sign(values) * (np.abs(values) >> DECAY_BITS)
