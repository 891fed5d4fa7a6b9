"""When a network runs with spikes and when without: modes, their order over the blocks and over an epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import Enum, unique

from ..errors import ParameterError
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
        _check_count("crossover", crossover, 0)
        if not isinstance(base_mode, Mode):
            raise ParameterError(f"expected base_mode to be a Mode, got {base_mode!r}")
        self.crossover = crossover
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

    Everything follows from the epoch, so that a training that is taken up again goes on as if it had never stopped.

    Parameters
    ----------
    num_sample_iter : int
        Batches that are sampled.
    sample_period : int
        Epochs from one sampling to the next.
    crossover_epochs : collection of int, optional
        At each of these epochs one more block, from the input on, runs with spikes for good: hybrid training.

    Attributes
    ----------
    crossover : int
        Blocks that run with spikes by now.
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
        self, num_sample_iter: int = 10, sample_period: int = 10, crossover_epochs: Collection[int] | None = None
    ) -> None:
        _check_count("num_sample_iter", num_sample_iter, 1)
        _check_count("sample_period", sample_period, 1)
        for epoch in crossover_epochs or ():
            _check_count("every crossover epoch", epoch, 0)
        self.num_sample_iter = num_sample_iter
        self.sample_period = sample_period
        self.crossover_epochs = tuple(sorted(set(crossover_epochs or ())))
        self.crossover = 0
        self.snn_stat = LearningStat()

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
        _check_count("epoch", epoch, 0)
        _check_count("iteration", iteration, 0)
        self.crossover = sum(landmark <= epoch for landmark in self.crossover_epochs)
        sampling = epoch % self.sample_period == 0
        if not train:
            return LayerMode(self.crossover, Mode.SNN if sampling else Mode.ANN)
        if sampling and iteration < self.num_sample_iter:
            return LayerMode(self.crossover, Mode.SAMPLE)
        fitting = sampling and iteration == self.num_sample_iter
        return LayerMode(self.crossover, Mode.FIT if fitting else Mode.ANN)

    def sync_snn_stat(self, stat: LearningStat) -> None:
        """Take over the samples, the loss and the hits that ``stat`` has counted since its last reset."""
        self.snn_stat.num_samples = stat.num_samples
        self.snn_stat.loss_sum = stat.loss_sum
        self.snn_stat.correct_samples = stat.correct_samples

    def update_snn_stat(self) -> None:
        """Close an epoch that was tested with spikes: log it, and count anew."""
        self.snn_stat.update()
        self.snn_stat.reset()

    def __repr__(self) -> str:
        return (
            f"Scheduler(num_sample_iter={self.num_sample_iter}, sample_period={self.sample_period}, "
            f"crossover_epochs={self.crossover_epochs})"
        )


def _check_count(name: str, value: object, smallest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise ParameterError(f"expected {name} to be an integer of {smallest} or more, got {value!r}")
