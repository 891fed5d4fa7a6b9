"""Blocks without weights: constructor, geometry, forward and entry in the exchange format of each."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ExchangeError, ParameterError, ShapeError
from ...exchange import Layer
from ..synapse.base import integers
from ..utils.quantize import Grid
from .base import AbstractBlock, Hook, Output

__all__ = ["AbstractAverage", "AbstractFlatten", "AbstractInput", "AbstractTimeDecimation"]


class AbstractInput(AbstractBlock):
    r"""Encodes a signal as spikes: :math:`y = \mathrm{shift}(f(q(x)\,q(w) + q(b)))`.

    :math:`q` is the neuron's 8-bit quantiser, so the signal is held in -256/scale..254/scale (about ±4) and rounded to
    multiples of 2/scale.  A complex neuron has the signal as its real input, and 0 as its imaginary one; a sigma-delta
    neuron sends the signal's changes and sums nothing up.  Without a neuron the input passes through as it is.

    Parameters
    ----------
    neuron_params : dict, optional
        Arguments of the neuron.
    weight, bias : float, optional
        Initial values of the trained gain and offset; absent, they are 1 and 0 and not trained.
    delay_shift : bool, optional
        Delay the spikes by one step; absent, as its family has it: all but sigma-delta do.
    count_log : bool
        Return ``(output, event rate)``.
    pre_hook_fx : callable, optional
        Applied to ``weight`` and ``bias`` before each use, in place of :math:`q`, which stays for the signal; ``None``
        for nothing.

    Raises
    ------
    ParameterError
        If ``weight`` or ``bias`` is given without a neuron.
    """

    layer_type = "input"

    pre_hook_fx: Any

    def __init__(
        self,
        neuron_params: dict[str, Any] | None = None,
        weight: float | None = None,
        bias: float | None = None,
        delay_shift: bool | None = None,
        count_log: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
    ) -> None:
        super().__init__(
            neuron_params, delay_shift=False if neuron_params is None else delay_shift, count_log=count_log
        )
        if neuron_params is None and not (weight is None and bias is None):
            raise ParameterError("expected neuron_params beside weight or bias: without a neuron nothing is encoded")
        self.pre_hook_fx = None
        if self.neuron is not None:
            self._hook(self, pre_hook_fx)
        self.weight = None if weight is None else torch.nn.Parameter(torch.tensor([float(weight)]))
        self.bias = None if bias is None else torch.nn.Parameter(torch.tensor([float(bias)]))
        self.input_shape: torch.Size | None = None

    @property
    def shape(self) -> torch.Size | None:
        return self.input_shape if self.neuron is None else self.neuron.shape

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.neuron is not None:
            self.neuron.materialize(shape)
        self.input_shape = torch.Size(shape)
        return tuple(shape)

    def forward(self, input: Tensor) -> Output:
        if input.dim() < 3:
            raise ShapeError(f"expected an input (N, C, ..., T), got shape {tuple(input.shape)}")
        if self.input_shape is None:
            self.materialize(input.shape[1:-1])
        if self.neuron is None:
            if input.shape[1:-1] != self.input_shape:
                sizes = ", ".join(map(str, self.input_shape or ()))
                raise ShapeError(f"expected an input (N, {sizes}, T), got shape {tuple(input.shape)}")
            return self._counted(input)
        sent = self._reply(self._drive(input))
        return self._counted(sent.to(input.dtype) if input.is_floating_point() else sent)

    def _drive(self, input: Tensor) -> Tensor:
        signal = self.neuron.quantize_8bit(input.to(torch.float32))
        if isinstance(self.pre_hook_fx, Grid) and self.weight is not None and self.bias is not None:
            return self.pre_hook_fx.affine(signal, self.weight, self.bias)
        if self.weight is not None:
            signal = signal * self._held(self.weight)
        if self.bias is not None:
            signal = signal + self._held(self.bias)
        return signal

    def _answer(self, drive: Any) -> Tensor:
        return self.neuron.encode(drive)

    def _held(self, value: Tensor) -> Tensor:
        return value if self.pre_hook_fx is None else self.pre_hook_fx(value)

    def states(self, input: Tensor) -> dict[str, Tensor]:
        return {} if self.neuron is None else self.neuron.encoding(self._drive(input))

    def exchange_layer(self) -> Layer:
        fields: dict[str, Any] = {"shape": np.array(self._exported_shape(), np.int64)}
        if self.neuron is None:
            return Layer(self.layer_type, fields)
        if self._norms():
            raise ExchangeError(
                f"{type(self).__qualname__}, field bias: an input layer's is added to its signal, so that there is no "
                f"place for the mean that a norm takes from its current"
            )
        for name in ("weight", "bias"):
            value = getattr(self, name)
            if value is not None:
                fields[name] = (self._held(value) * self.neuron.w_scale).detach().cpu().numpy()
        fields |= self._exported_delay()
        return Layer(self.layer_type, fields, self._exported_neuron())


class AbstractFlatten(AbstractBlock):
    """Joins channels, rows and columns, in this order, to one axis of channels.

    Parameters
    ----------
    count_log : bool
        Return ``(output, None)``.
    """

    layer_type = "flatten"
    sends = False

    def __init__(self, count_log: bool = False) -> None:
        super().__init__(count_log=count_log)
        self._shape: torch.Size | None = None

    @property
    def shape(self) -> torch.Size | None:
        return self._shape

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        self._shape = torch.Size([math.prod(shape), 1, 1])
        return (math.prod(shape),)

    def forward(self, input: Tensor) -> Output:
        if input.dim() < 3:
            raise ShapeError(f"expected an input (N, C, ..., T), got shape {tuple(input.shape)}")
        self.materialize(input.shape[1:-1])
        output = input.flatten(1, -2)
        return self._counted(output)

    def exchange_layer(self) -> Layer:
        return Layer(self.layer_type, {"shape": np.array(self._exported_shape(), np.int64)})


class AbstractAverage(AbstractBlock):
    """Mean of consecutive channels, in groups of equal size: reads classes out of populations.

    Parameters
    ----------
    num_outputs : int
        Number of groups, which divides the number of channels.
    count_log : bool
        Return ``(output, None)``.
    """

    layer_type = "average"
    sends = False

    def __init__(self, num_outputs: int, count_log: bool = False) -> None:
        super().__init__(count_log=count_log)
        (self.num_outputs,) = integers(num_outputs, "num_outputs")
        self._shape: torch.Size | None = None

    @property
    def shape(self) -> torch.Size | None:
        return self._shape

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 1 or shape[0] % self.num_outputs:
            raise ShapeError(f"expected a spatial shape (C,) that {self.num_outputs} divides, got {tuple(shape)}")
        self._shape = torch.Size([self.num_outputs])
        return (self.num_outputs,)

    def forward(self, input: Tensor) -> Output:
        if input.dim() != 3:
            raise ShapeError(f"expected an input (N, C, T), got shape {tuple(input.shape)}")
        self.materialize(input.shape[1:-1])
        output = input.unflatten(1, (self.num_outputs, -1)).mean(2)
        return self._counted(output)

    def exchange_layer(self) -> Layer:
        return Layer(self.layer_type, {"shape": np.array(self._exported_shape(), np.int64)})


class AbstractTimeDecimation(AbstractBlock):
    """Mean over bins of time steps: ``factor`` steps become one; zeros after the end complete the last bin.

    Chunks of a stream give what the whole gives where their lengths are multiples of ``factor``.

    Parameters
    ----------
    factor : int
        Steps in a bin, a power of two.
    count_log : bool
        Return ``(output, None)``.
    """

    layer_type = "decimation"
    sends = False

    def __init__(self, factor: int, count_log: bool = False) -> None:
        super().__init__(count_log=count_log)
        (self.factor,) = integers(factor, "factor")
        if self.factor & (self.factor - 1):
            raise ParameterError(f"expected factor to be a power of two, got {factor}")
        self._shape: torch.Size | None = None

    @property
    def shape(self) -> torch.Size | None:
        return self._shape

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        self._shape = torch.Size(shape)
        return tuple(shape)

    def forward(self, input: Tensor) -> Output:
        if input.dim() < 3:
            raise ShapeError(f"expected an input (N, C, ..., T), got shape {tuple(input.shape)}")
        self.materialize(input.shape[1:-1])
        padded = torch.nn.functional.pad(input, (0, -input.shape[-1] % self.factor))
        bins = padded.shape[-1] // self.factor
        output = padded.unflatten(-1, (bins, self.factor)).mean(-1)
        return self._counted(output)

    def exchange_layer(self) -> Layer:
        fields = {"shape": np.array(self._exported_shape(), np.int64), "factor": self.factor}
        return Layer(self.layer_type, fields)
