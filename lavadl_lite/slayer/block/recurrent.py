"""Blocks whose spikes come back to them a step later: constructor, forward and entry in the exchange format."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ParameterError, ShapeError
from ...exchange import Layer
from ...kernels.torch_op import unmixed
from ..neuron.dynamics import recurrent
from ..synapse.base import integers
from ..utils.stream import of_inference
from .base import AbstractBlock, Hook, Output

__all__ = ["AbstractKWTA", "AbstractRecurrent"]


def _with(sums: Tensor, feedback: Tensor, heard: Tensor) -> Tensor:
    """What comes from outside together with what comes back, in the precision in which spikes are made."""
    with unmixed(sums):
        return sums + feedback @ heard


class _AbstractFeedback(AbstractBlock):
    """What the blocks with feedback share: all steps at once, the last spikes kept where states are."""

    layer_type = "dense_rec"

    last_spike: Tensor | None

    def _prepare(self, pre_hook_fx: Hook, *layers: Any) -> None:
        for layer in layers:
            self._hook(layer, pre_hook_fx)
        self.register_buffer("last_spike", None, persistent=False)

    def _states(self, sums: Any, feedback: Any) -> dict[str, Tensor]:
        """States, of what the neurons hear together with their own spikes."""
        previous, copied = self.last_spike, copy.deepcopy(self.neuron)
        spikes = recurrent.spikes(copied, sums, feedback, previous if self.neuron.persistent_state else None)
        first = torch.zeros_like(spikes[..., 0]) if previous is None else previous.to(spikes.dtype)
        heard = torch.cat([first[..., None], spikes[..., :-1]], -1)
        if self.neuron.complex:
            return self._traced(tuple(_with(s, f, heard) for s, f in zip(sums, feedback, strict=True)))
        return self._traced(_with(sums, feedback, heard))

    def _respond(self, sums: Any, feedback: Any) -> Output:
        previous = self.last_spike if self.neuron.persistent_state else None
        first = sums[0] if self.neuron.complex else sums
        if previous is not None and previous.shape != first.shape[:-1]:
            previous = None
        if previous is not None and of_inference(previous):
            previous = previous.clone()
        if self.delay_shift and self.delay is None and not self.neuron.persistent_state:
            return self._counted(recurrent.spikes(self.neuron, sums, feedback, late=True))
        spikes = recurrent.spikes(self.neuron, sums, feedback, previous)
        if self.neuron.persistent_state and spikes.shape[-1]:
            self.last_spike = spikes.detach()[..., -1].float().clone()
        return self._counted(self._sent(spikes))

    def reset_state(self) -> None:
        """Forget what the neurons, their delays and their last spikes remember."""
        super().reset_state()
        self.last_spike = None

    def _materialized(self, layer: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        if shape != (layer.in_channels,):
            raise ShapeError(f"expected an input of {layer.in_channels} channels, got a spatial shape {tuple(shape)}")
        shape = (layer.out_channels,)
        self.neuron.materialize(shape)
        if self.delay is not None:
            self.delay.materialize(shape)
        return shape

    @staticmethod
    def _sums(layer: Any, input: Tensor) -> Any:
        if input.dim() != 3:
            raise ShapeError(f"expected an input (N, {layer.in_channels}, T), got shape {tuple(input.shape)}")
        return layer(input)

    def _exported(self, layer: Any, feedback: dict[str, np.ndarray]) -> dict[str, Any]:
        (out,) = self._exported_shape()
        inputs = math.prod(layer.shape[1:])
        weights = self._exported_weight("weight", layer)
        return {
            "shape": np.array([out], np.int64),
            "inFeatures": inputs,
            "outFeatures": out,
            **{name: weight.reshape(out, inputs) for name, weight in weights.items()},
            **{name: weight.reshape(out, out) for name, weight in feedback.items()},
            **self._exported_bias(out),
            **self._exported_delay(),
        }


class AbstractRecurrent(_AbstractFeedback):
    r"""All inputs to all neurons, and all spikes back to all neurons one step later.

    .. math:: s[t] = f(W x[t] + R\,s[t-1]), \qquad s[-1] = 0

    with the quantised :math:`W` and :math:`R`.  A complex neuron has two of each: :math:`W_r x + R_r s` is its real and
    :math:`W_i x + R_i s` its imaginary input.  Gradients flow back through all steps.

    Parameters
    ----------
    neuron_params : dict
        Arguments of the neuron.
    in_neurons, out_neurons : int
        Number of inputs and of neurons.
    weight_scale : float
        Factor of the initial weights, of the input and of the feedback.
    weight_norm : bool
        Train a gain and a direction for each neuron, of the input's and of the feedback's weights.
    pre_hook_fx : callable, optional
        Applied to both weights before each use, with ``descale=True`` for export; by default, and for ``None``, the
        neuron's 8-bit quantiser, as lava-dl has it.  A function that returns what it is given takes them as they are.
    requires_grad : bool
        Train the feedback's weights.
    delay : bool
        Learn an axonal delay of 0..62 steps for each neuron; the feedback is not delayed by it.
    delay_shift : bool, optional
        Delay the output by one step, the latency of the hardware; absent, as its family has it: all but sigma-delta do.
    count_log : bool
        Return ``(output, event rate)``.

    Raises
    ------
    ParameterError
        For an argument outside its range.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        requires_grad: bool = True,
        delay: bool = False,
        delay_shift: bool | None = None,
        count_log: bool = False,
    ) -> None:
        neuron_params = self._given(neuron_params)
        dense = self._synapse("Dense")
        super().__init__(neuron_params, None, delay, delay_shift, None, count_log)
        (size,) = integers(in_neurons, "in_neurons")
        self.input_synapse = dense(size, out_neurons, weight_scale, weight_norm)
        self.recurrent_synapse = dense(out_neurons, out_neurons, weight_scale, weight_norm)
        self.recurrent_synapse.requires_grad_(bool(requires_grad))
        hook: Hook = "quantize_8bit" if pre_hook_fx is None else pre_hook_fx
        self._prepare(hook, self.input_synapse, self.recurrent_synapse)

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._materialized(self.input_synapse, tuple(shape))

    def feedback(self) -> Any:
        """The quantised matrix of the feedback, shape (N, N), or the pair of them."""
        weight = self.recurrent_synapse.effective_weight()
        return tuple(part.flatten(1) for part in weight) if self.neuron.complex else weight.flatten(1)

    def forward(self, input: Tensor) -> Output:
        return self._respond(self._sums(self.input_synapse, input), self.feedback())

    def states(self, input: Tensor) -> dict[str, Tensor]:
        return self._states(self._sums(self.input_synapse, input), self.feedback())

    def synaptic_operations(self, input: Tensor, output: Tensor) -> int:
        links = self.input_synapse.operations(self._events(input))
        return int(links + self.recurrent_synapse.operations(self._events(output)))

    @property
    def num_weights(self) -> int:
        layers = self.input_synapse, self.recurrent_synapse
        return sum(math.prod(layer.shape) for layer in layers) * (1 + self.neuron.complex)

    @property
    def num_synapses(self) -> int:
        return self.num_weights

    def exchange_layer(self) -> Layer:
        feedback = self._exported_weight("weight_rec", self.recurrent_synapse)
        return Layer(self.layer_type, self._exported(self.input_synapse, feedback), self._exported_neuron())


class AbstractKWTA(_AbstractFeedback):
    r"""All inputs to all neurons, of which about :math:`K` fire: each spike inhibits all others and excites itself.

    .. math::
        s[t] &= f(W x[t] + R\,s[t-1] + b), \qquad s[-1] = 0 \\
        R &= q\bigl((1 + a)\,I - \mathbf{1}\mathbf{1}^\top\bigr), \qquad
        b = q\Bigl(\vartheta\,\frac{N - 2K}{N S}\Bigr)

    with :math:`N` neurons, the self-excitation :math:`a` held in 0..1, the threshold :math:`\vartheta`, the scale
    :math:`S` and the 8-bit quantiser :math:`q`, which makes :math:`b` 0 unless the threshold is large.  A complex
    neuron has :math:`R s + b` added to its real and to its imaginary input.  Gradients flow back through all steps.

    Parameters
    ----------
    neuron_params : dict
        Arguments of the neuron.
    in_neurons, out_neurons : int
        Number of inputs and of neurons.
    num_winners : int
        Number :math:`K` of neurons that should fire, in 1..``out_neurons``.
    self_excitation : float
        Initial value of :math:`a`, a parameter.
    weight_scale : float
        Factor of the initial weights.
    weight_norm : bool
        Train a gain and a direction for each neuron.
    pre_hook_fx : callable, optional
        Applied to the weights before each use, with ``descale=True`` for export; by default the neuron's 8-bit
        quantiser, ``None`` for nothing.
    delay_shift : bool, optional
        Delay the output by one step, the latency of the hardware; absent, as its family has it: all but sigma-delta do.
    requires_grad : bool
        Train the self-excitation.
    count_log : bool
        Return ``(output, event rate)``.

    Raises
    ------
    ParameterError
        For an argument outside its range.

    References
    ----------
    .. [1] Maass, "On the computational power of winner-take-all", Neural Computation 12, 2000.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_neurons: int | Sequence[int],
        out_neurons: int,
        num_winners: int,
        self_excitation: float = 0.5,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay_shift: bool | None = None,
        requires_grad: bool = True,
        count_log: bool = False,
    ) -> None:
        neuron_params = self._given(neuron_params)
        (size,) = integers(in_neurons, "in_neurons")
        (winners,) = integers(num_winners, "num_winners")
        layer = self._synapse("Dense")(size, out_neurons, weight_scale, weight_norm)
        super().__init__(neuron_params, layer, False, delay_shift, None, count_log)
        if winners > out_neurons:
            raise ParameterError(f"expected num_winners in 1..{out_neurons}, got {num_winners}")
        if not 0 <= self_excitation <= 1:
            raise ParameterError(f"expected self_excitation in 0..1, got {self_excitation}")
        self.num_winners, self.num_neurons = winners, int(out_neurons)
        self.self_excitation = torch.nn.Parameter(
            torch.tensor([float(self_excitation)]), requires_grad=bool(requires_grad)
        )
        self._prepare(pre_hook_fx, layer)

    def clamp(self) -> None:
        """Hold the self-excitation in 0..1."""
        self.self_excitation.data.clamp_(0, 1)

    @property
    def bias(self) -> Tensor:
        """What is added to every input, quantised, shape (1,)."""
        neuron, count = self.neuron, self.num_neurons
        level = float(torch.as_tensor(neuron.threshold).detach().reshape(-1)[0])
        value = level * (count - 2 * self.num_winners) / count / neuron.w_scale
        return neuron.quantize_8bit(torch.tensor([value], device=self.self_excitation.device))

    def feedback(self) -> Tensor:
        """The quantised matrix of the feedback, shape (N, N)."""
        ones = self.self_excitation.new_ones(self.num_neurons)
        matrix = torch.diag(ones * (1 + self.self_excitation.clamp(0, 1))) - torch.outer(ones, ones)
        return self.neuron.quantize_8bit(matrix)

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._materialized(self.synapse, tuple(shape))

    def _heard(self, input: Tensor) -> tuple[Any, Any]:
        """What comes from outside, and the matrices of the feedback."""
        sums, feedback = self._sums(self.synapse, input), self.feedback()
        bias = self.bias.to((sums[0] if self.neuron.complex else sums).dtype)
        if self.neuron.complex:
            return (sums[0] + bias, sums[1] + bias), (feedback, feedback)
        return sums + bias, feedback

    def forward(self, input: Tensor) -> Output:
        self.clamp()
        return self._respond(*self._heard(input))

    def states(self, input: Tensor) -> dict[str, Tensor]:
        return self._states(*self._heard(input))

    def synaptic_operations(self, input: Tensor, output: Tensor) -> int:
        links = (self.feedback().detach() != 0).sum(0).double() * (1 + self.neuron.complex)
        return int(self.synapse.operations(self._events(input)) + (self._events(output) * links).sum())

    @property
    def num_synapses(self) -> int:
        return self.num_weights

    @property
    def num_weights(self) -> int:
        return (math.prod(self.synapse.shape) + self.num_neurons**2) * (1 + self.neuron.complex)

    def exchange_layer(self) -> Layer:
        names = ("weight_rec/real", "weight_rec/imag") if self.neuron.complex else ("weight_rec",)
        feedback = self._integers("weight_rec", self.feedback())
        fields = self._exported(self.synapse, dict.fromkeys(names, feedback))
        bias = self._integers("inputBias", self.bias)
        if bias.any():
            fields["inputBias"] = np.broadcast_to(bias, (self.num_neurons,)).copy()
        return Layer(self.layer_type, fields, self._exported_neuron())
