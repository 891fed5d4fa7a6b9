"""When a network runs with spikes and when without: modes, their order over the blocks and over an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum, unique

from ..errors import ParameterError
from ..slayer.synapse.base import integers
from ..slayer.utils import LearningStat

__all__ = ["LayerMode", "Mode", "Scheduler"]


@unique
class Mode(Enum):
    """How a block runs.

    ``SNN``
        Synapse, neuron, delays: spikes over ``T`` steps.
    ``ANN``
        Synapse and fitted activation: rates, one step.
    ``SAMPLE``
        As ``SNN``, and remembers which weighted inputs gave which rates.
    ``FIT``
        Fits the activation to what was sampled, then as ``ANN``.
    """

    SNN = 0
    ANN = 1
    SAMPLE = 2
    FIT = 3


class LayerMode:
    """A mode for each block, in their order; every loop over it begins anew.

    Parameters
    ----------
    crossover : int
        So many blocks from the input run as ``SNN``, whatever the others do; while sampling, all sample.
    base_mode : Mode
        Mode of the others.

    Raises
    ------
    ParameterError
        If ``crossover`` is negative or no integer, or ``base_mode`` no mode.

    Examples
    --------
    >>> [mode.name for mode, _ in zip(LayerMode(1, Mode.ANN), range(3))]
    ['SNN', 'ANN', 'ANN']
    """

    def __init__(self, crossover: int = 0, base_mode: Mode = Mode.ANN) -> None:
        (self.crossover,) = integers(crossover, "crossover", smallest=0)
        if not isinstance(base_mode, Mode):
            raise ParameterError(f"expected base_mode to be a Mode, got {base_mode!r}")
        self.base_mode = base_mode

    def __iter__(self) -> Iterator[Mode]:
        if self.base_mode is not Mode.SAMPLE:
            for _ in range(self.crossover):
                yield Mode.SNN
        while True:
            yield self.base_mode

    @property
    def spiking(self) -> bool:
        """Whether the first block runs with spikes, so that the input has to go on over time."""
        return next(iter(self)) in (Mode.SNN, Mode.SAMPLE)

    def __str__(self) -> str:
        text = f"Mode: {self.base_mode.name}"
        return f"{text}, crossover at: {self.crossover}" if self.crossover else text

    def __repr__(self) -> str:
        return f"LayerMode(crossover={self.crossover}, base_mode={self.base_mode})"


class Scheduler:
    """Modes over epochs: some batches are sampled now and then, then the activations are fitted, and the rest are fast.

    ==========  =======================================  ========
    while       in every ``sample_period``-th epoch      else
    ==========  =======================================  ========
    training    ``SAMPLE`` for ``num_sample_iter``       ``ANN``
                batches, ``FIT`` for one, then ``ANN``
    testing     ``SNN``                                  ``ANN``
    ==========  =======================================  ========

    Modes follow from epoch and batch alone, and samples and fits are part of the blocks' ``state_dict``, so that a
    training may be taken up again at any batch.  ``snn_stat`` and the state of torch's generators are not: save them
    beside it.

    Parameters
    ----------
    num_sample_iter : int
        Batches that are sampled.
    sample_period : int
        Epochs from one sampling to the next.
    crossover_epochs : iterable of int, optional
        At each of these epochs one more block, from the input on, runs with spikes for good: hybrid training.

    Attributes
    ----------
    crossover : int
        Blocks that run with spikes by now; follows from the epoch of the last :meth:`mode`.
    snn_stat : LearningStat
        Statistics of the epochs that were tested with spikes, apart from those without.

    Raises
    ------
    ParameterError
        If a number is no integer of 1 or more, or a landmark no epoch.

    Examples
    --------
    >>> scheduler = Scheduler(num_sample_iter=2)
    >>> [scheduler.mode(0, i).base_mode.name for i in range(4)]
    ['SAMPLE', 'SAMPLE', 'FIT', 'ANN']
    """

    def __init__(
        self, num_sample_iter: int = 10, sample_period: int = 10, crossover_epochs: Iterable[int] | None = None
    ) -> None:
        (self.num_sample_iter,) = integers(num_sample_iter, "num_sample_iter")
        (self.sample_period,) = integers(sample_period, "sample_period")
        try:
            landmarks = () if crossover_epochs is None else tuple(crossover_epochs)
        except TypeError:
            raise ParameterError(f"expected crossover_epochs to be integers, got {crossover_epochs!r}") from None
        epochs = {integers(epoch, "every crossover epoch", smallest=0)[0] for epoch in landmarks}
        self.crossover_epochs = tuple(sorted(epochs))
        self._crossover = 0
        self.snn_stat = LearningStat()

    @property
    def crossover(self) -> int:
        """Blocks that run with spikes by now."""
        return self._crossover

    def mode(self, epoch: int, iteration: int, train: bool = True) -> LayerMode:
        """Modes of the blocks for one batch.

        Parameters
        ----------
        epoch, iteration : int
            Epoch, and batch in it, from 0.
        train : bool
            Whether the batch is trained on or tested with.

        Raises
        ------
        ParameterError
            If ``epoch`` or ``iteration`` is negative or no integer.
        """
        (epoch,) = integers(epoch, "epoch", smallest=0)
        (iteration,) = integers(iteration, "iteration", smallest=0)
        self._crossover = sum(landmark <= epoch for landmark in self.crossover_epochs)
        sampling = epoch % self.sample_period == 0
        if not train:
            return LayerMode(self.crossover, Mode.SNN if sampling else Mode.ANN)
        if sampling and iteration < self.num_sample_iter:
            return LayerMode(self.crossover, Mode.SAMPLE)
        fitting = sampling and iteration == self.num_sample_iter
        return LayerMode(self.crossover, Mode.FIT if fitting else Mode.ANN)

    def sync_snn_stat(self, stat: LearningStat) -> None:
        """Take over the samples, the loss and the hits that ``stat`` has counted since its last reset.

        Raises
        ------
        ParameterError
            If ``stat`` counts none of them.
        """
        try:
            counted = stat.num_samples, stat.loss_sum, stat.correct_samples
        except AttributeError:
            raise ParameterError(f"expected stat to be a LearningStat, got {type(stat).__name__}") from None
        self.snn_stat.num_samples, self.snn_stat.loss_sum, self.snn_stat.correct_samples = counted

    def update_snn_stat(self) -> None:
        """Close an epoch that was tested with spikes: log it, and count anew."""
        self.snn_stat.update()
        self.snn_stat.reset()

    def __repr__(self) -> str:
        return (
            f"Scheduler(num_sample_iter={self.num_sample_iter}, sample_period={self.sample_period}, "
            f"crossover_epochs={self.crossover_epochs})"
        )
