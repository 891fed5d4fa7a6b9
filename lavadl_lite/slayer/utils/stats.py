"""Loss and accuracy over epochs: counting, printing, plotting, files; the training itself is in :mod:`.assistant`."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from ...viz import matplotlib
from . import log_file
from .log_file import Log

__all__ = ["LearningStat", "LearningStats"]


class LearningStat:
    """Running sums of one epoch and the log of all epochs before, for one of training, validation and testing.

    Add to ``loss_sum``, ``correct_samples`` and ``num_samples`` while an epoch runs, then call :meth:`update` and
    :meth:`reset`.

    Parameters
    ----------
    loss_str, accuracy_str : str, optional
        Names of the two figures.
    loss_unit, accuracy_unit : str, optional
        Printed behind them.

    Attributes
    ----------
    loss_sum : float
        Sum of the loss over samples.
    correct_samples : int
        Samples that were classified correctly.
    num_samples : int
        Samples seen.
    loss_log, accuracy_log : list of float or None
        One entry an epoch; None for an epoch without samples.
    min_loss, max_accuracy : float or None
        Best of the log.
    best_loss, best_accuracy : bool
        Whether the epoch that the last :meth:`update` closed is strictly better than all before; the first always is.
    """

    def __init__(
        self, loss_str: str = "loss", loss_unit: str = "", accuracy_str: str = "accuracy", accuracy_unit: str = ""
    ) -> None:
        self.loss_sum: float = 0
        self.correct_samples = 0
        self.num_samples = 0
        self.min_loss: float | None = None
        self.max_accuracy: float | None = None
        self.loss_log: Log = []
        self.accuracy_log: Log = []
        self.best_loss = False
        self.best_accuracy = False
        self.loss_str = loss_str
        self.loss_unit = loss_unit
        self.accuracy_str = accuracy_str
        self.accuracy_unit = accuracy_unit

    def reset(self) -> None:
        """Start counting anew; the log stays."""
        self.loss_sum = 0
        self.correct_samples = 0
        self.num_samples = 0

    @property
    def loss(self) -> float | None:
        """Mean loss of the samples counted since the last reset; None without samples."""
        return self.loss_sum / self.num_samples if self.num_samples > 0 else None

    @property
    def accuracy(self) -> float | None:
        """Fraction of correct samples since the last reset; None without samples."""
        return self.correct_samples / self.num_samples if self.num_samples > 0 else None

    @property
    def valid_loss_log(self) -> bool:
        """Whether any epoch has a loss."""
        return any(loss is not None for loss in self.loss_log)

    @property
    def valid_accuracy_log(self) -> bool:
        """Whether any epoch has an accuracy."""
        return any(accuracy is not None for accuracy in self.accuracy_log)

    def update(self) -> None:
        """Close the epoch: log its loss and accuracy and compare them with the best so far."""
        self.record(self.loss, self.accuracy)

    def record(self, loss: float | None, accuracy: float | None) -> None:
        """Log one epoch and compare it with the best so far; None stands for an epoch without samples."""
        self.loss_log.append(loss)
        self.best_loss = _is_better(loss, self.min_loss, lower=True)
        if self.best_loss:
            self.min_loss = loss
        self.accuracy_log.append(accuracy)
        self.best_accuracy = _is_better(accuracy, self.max_accuracy, lower=False)
        if self.best_accuracy:
            self.max_accuracy = accuracy

    def __str__(self) -> str:
        if self.loss is None:
            return ""
        if self.min_loss is None or self.max_accuracy is None:
            return (
                f"{self.loss_str} = {self.loss:11.5f}  {self.loss_unit}{' ' * 24}"
                f"{self.accuracy_str} = {self.accuracy:7.5f} {self.accuracy_unit}"
            )
        return (
            f"{self.loss_str} = {self.loss:11.5f} (min = {self.min_loss:11.5f}) {self.loss_unit}{' ' * 4}"
            f"{self.accuracy_str} = {self.accuracy:7.5f} (max = {self.max_accuracy:7.5f}) {self.accuracy_unit}"
        )


def _is_better(value: float | None, best: float | None, lower: bool) -> bool:
    if best is None or value is None:
        return best is None
    if math.isnan(best):
        return not math.isnan(value)
    return value < best if lower else value > best


class LearningStats:
    """Statistics of training, validation and testing together.

    Parameters
    ----------
    loss_str, accuracy_str : str, optional
        Names of the two figures; also the names of the files that :meth:`save` writes.
    loss_unit, accuracy_unit : str, optional
        Printed behind them.

    Attributes
    ----------
    training, validation, testing : LearningStat
        The parts.
    """

    def __init__(
        self, loss_str: str = "loss", loss_unit: str = "", accuracy_str: str = "accuracy", accuracy_unit: str = ""
    ) -> None:
        self.lines_printed = 0
        self.training = LearningStat(loss_str, loss_unit, accuracy_str, accuracy_unit)
        self.testing = LearningStat(loss_str, loss_unit, accuracy_str, accuracy_unit)
        self.validation = LearningStat(loss_str, loss_unit, accuracy_str, accuracy_unit)

    def _parts(self) -> dict[str, LearningStat]:
        """Parts by their title, in the order of files and plots."""
        return {"Training": self.training, "Validation": self.validation, "Testing": self.testing}

    def update(self) -> None:
        """Close the epoch in all parts and start counting anew."""
        for part in self._parts().values():
            part.update()
            part.reset()

    def new_line(self) -> None:
        """Let the next :meth:`print` leave the lines above alone."""
        self.lines_printed = 0

    def __str__(self) -> str:
        validation, testing = str(self.validation), str(self.testing)
        text = f"Train {self.training}"
        text += f" | Valid {validation}" if validation else ""
        return text + (f" | Test  {testing}" if testing else "")

    def print(
        self,
        epoch: int,
        iter: int | None = None,
        time_elapsed: float | None = None,
        header: Sequence[Any] | None = None,
        dataloader: Any = None,
    ) -> None:
        """Write the statistics to standard output, over those that the last call wrote.

        Parameters
        ----------
        epoch : int
            Number of the epoch.
        iter : int, optional
            Number of the batch in the epoch.
        time_elapsed : float, optional
            Seconds; shown as milliseconds.
        header : sequence, optional
            Lines to show above the statistics.
        dataloader : torch.utils.data.DataLoader, optional
            Source of the batches, with a known length: progress is then shown as samples and percent.
        """
        progress = "" if iter is None else f": i = {iter:5d} "
        if iter is not None and dataloader is not None:
            samples = len(dataloader.dataset)
            width = len(str(max(samples - 1, 0)))
            percent = 100.0 * iter / len(dataloader)
            progress = f": {iter * dataloader.batch_size:{width}}/{samples} ({percent:.0f}%)"
        elapsed = "" if time_elapsed is None else f", {time_elapsed * 1000:12.4f} ms elapsed"
        lines = [f"\033[2K{line}" for line in header or ()]
        lines.append(f"Epoch {epoch:4d}{progress}{elapsed}{' ' * 8}")
        lines += str(self).split("| ")
        sys.stdout.write("\n".join([f"\033[{self.lines_printed}A", *lines, ""]))
        self.lines_printed = 1 + len(lines)

    def plot(
        self,
        figures: tuple[int, int] = (1, 2),
        figsize: tuple[float, float] | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        """Draw the curves of loss, on a logarithmic axis, and of accuracy. What has no log is left out.

        Parameters
        ----------
        figures : tuple of two ints, optional
            Numbers of the two matplotlib figures; they are cleared.
        figsize : tuple of two floats, optional
            Width and height in inches.
        path : str or PathLike, optional
            Where to write ``loss.png`` and ``accuracy.png``; see :meth:`save`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        training, parts = self.training, self._parts().items()
        losses = {title: part.loss_log for title, part in parts if part.valid_loss_log}
        accuracies = {title: part.accuracy_log for title, part in parts if part.valid_accuracy_log}
        for figure, curves, name, unit, scale, file in (
            (figures[0], losses, training.loss_str, training.loss_unit, "log", "loss.png"),
            (figures[1], accuracies, training.accuracy_str, training.accuracy_unit, "linear", "accuracy.png"),
        ):
            if curves:
                drawing = _draw(curves, figure, figsize, f"{name.capitalize()} {unit}".rstrip(), scale)
                if path is not None:
                    drawing.savefig(log_file.path(path, file))

    def save(self, path: str | os.PathLike[str] = "") -> None:
        """Write the logs to two text files, ``<loss_str>.txt`` and ``<accuracy_str>.txt``, each whole or not at all.

        One line an epoch, one column for each part that has a log; an epoch without samples reads ``nan``.

        Parameters
        ----------
        path : str or PathLike, optional
            A string is put before the file names as it is, so a folder ends in a slash; a ``PathLike`` is a folder.
        """
        parts = self._parts().values()
        log_file.write(log_file.path(path, f"{self.training.loss_str}.txt"), [part.loss_log for part in parts])
        if any(part.valid_accuracy_log for part in parts):
            accuracy_file = log_file.path(path, f"{self.training.accuracy_str}.txt")
            log_file.write(accuracy_file, [part.accuracy_log for part in parts])

    def load(self, path: str | os.PathLike[str] = "") -> None:
        """Replace the logs, and the best values that follow from them, by those of files that :meth:`save` wrote.

        The sums of the running epoch start anew. Values have the six decimals of the file; ``nan`` reads as None. The
        file of accuracies may be missing.

        Parameters
        ----------
        path : str or PathLike, optional
            As in :meth:`save`.

        Raises
        ------
        FileNotFoundError
            If there is no file of losses.
        ParameterError
            If a file cannot be understood; nothing is changed then.
        """
        losses = log_file.read(log_file.path(path, f"{self.training.loss_str}.txt"))
        accuracy_file = log_file.path(path, f"{self.training.accuracy_str}.txt")
        accuracies = log_file.read(accuracy_file) if accuracy_file.exists() else [[] for _ in losses]
        for part, loss_log, accuracy_log in zip(self._parts().values(), losses, accuracies, strict=True):
            fresh = LearningStat(part.loss_str, part.loss_unit, part.accuracy_str, part.accuracy_unit)
            for loss, accuracy in zip_longest(loss_log, accuracy_log):
                fresh.record(loss, accuracy)
            vars(part).update(vars(fresh))


def _draw(curves: dict[str, Log], figure: int, figsize: Any, label: str, scale: str) -> Any:
    drawing = matplotlib("pyplot").figure(figure, figsize=figsize)
    axes = drawing.gca()
    axes.clear()
    for title, log in curves.items():
        axes.plot([math.nan if value is None else value for value in log], label=title)
    axes.set(xlabel="Epoch", ylabel=label, yscale=scale)
    axes.legend()
    return drawing
