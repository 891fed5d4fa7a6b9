"""Training, validation and testing steps with their bookkeeping, one batch at a time or over whole epochs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ParameterError
from .stats import LearningStat, LearningStats

__all__ = ["Assistant"]

_log = logging.getLogger(__name__)

_Batches = Iterable[tuple[Tensor, Tensor]]


class Assistant:
    """Runs a network on batches: moves data to its device, computes the loss, takes optimizer steps, keeps statistics.

    Parameters
    ----------
    net : Module
        The network. It returns its output; followed by its own loss if ``lam`` is given; followed by its event count if
        ``count_log``.
    error : callable
        Loss, called with the output and the target; returns a tensor of one element.
    optimizer : torch.optim.Optimizer
        Takes a step after every batch of training.
    stats : LearningStats, optional
        Receives loss and accuracy.
    classifier : callable, optional
        Predicts labels from the output, to be compared with the target. Without it no sample counts as correct.
    count_log : bool, optional
        Whether the network returns an event count, which is then handed on.
    lam : float, optional
        Factor on the network's own loss, for example that of :class:`.SparsityEnforcer`. It counts for the
        gradient, not for the statistics.
    progress : bool, optional
        Whether :meth:`fit` shows a progress bar. By default it does on a terminal.

    Attributes
    ----------
    device : torch.device or None
        Where batches are moved: the device of the network's first parameter, read before each batch. For a network
        without parameters it may be set; None leaves batches where they are.
    """

    def __init__(
        self,
        net: nn.Module,
        error: Callable[[Tensor, Tensor], Tensor],
        optimizer: torch.optim.Optimizer | None,
        stats: LearningStats | None = None,
        classifier: Callable[[Tensor], Tensor] | None = None,
        count_log: bool = False,
        lam: float | None = None,
        *,
        progress: bool | None = None,
    ) -> None:
        self.net = net
        self.error = error
        self.optimizer = optimizer
        self.stats = stats
        self.classifier = classifier
        self.count_log = count_log
        self.lam = lam
        self.progress = progress
        self.device: torch.device | None = None

    def reduce_lr(self, factor: float = 10 / 3) -> None:
        """Divide the learning rate of every parameter group by ``factor``; the old rates are logged."""
        for group in self._optimizer().param_groups:
            _log.info("learning rate %s is divided by %s", group["lr"], factor)
            group["lr"] /= factor

    def train(self, input: Tensor, target: Tensor) -> Tensor | tuple[Tensor, Any]:
        """Take one optimizer step on a batch; the network and all its modules are put into training mode.

        Parameters
        ----------
        input : Tensor, shape (N, ...)
            What the network is called with.
        target : Tensor
            What ``error`` expects: labels or a desired output.

        Returns
        -------
        output : Tensor
            What the network returned.
        count : optional
            Its event count, with ``count_log``.

        Raises
        ------
        ParameterError
            If the network does not return what ``count_log`` and ``lam`` call for, or there is no optimizer.
        """
        optimizer = self._optimizer()
        if not all(module.training for module in self.net.modules()):  # asking costs a quarter of saying it again
            self.net.train()
        output, net_loss, count, loss = self._run(input, target, "training")
        if self.lam is not None:
            loss = loss + self.lam * net_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return (output, count) if self.count_log else output

    def test(self, input: Tensor, target: Tensor) -> Tensor | tuple[Tensor, Any]:
        """Evaluate a batch for the testing statistics; the network is put into evaluation mode.

        Parameters, result and errors are those of :meth:`train`; nothing is learnt and no gradient is kept.
        """
        return self._evaluate(input, target, "testing")

    def valid(self, input: Tensor, target: Tensor) -> Tensor | tuple[Tensor, Any]:
        """Evaluate a batch for the validation statistics; the network is put into evaluation mode.

        Parameters, result and errors are those of :meth:`train`; nothing is learnt and no gradient is kept.
        """
        return self._evaluate(input, target, "validation")

    def fit(
        self,
        train_loader: _Batches,
        epochs: int,
        valid_loader: _Batches | None = None,
        test_loader: _Batches | None = None,
        on_epoch: Callable[[int], None] | None = None,
    ) -> None:
        """Train for some epochs, each followed by validation, testing and ``stats.update()``.

        Parameters
        ----------
        train_loader, valid_loader, test_loader : iterable of (input, target)
            Batches of an epoch, for example a ``DataLoader``; it is iterated once an epoch.
        epochs : int
            Passes over the training data.
        on_epoch : callable, optional
            Called after each epoch with its number, from 0. By then ``stats.validation.best_accuracy`` and its like
            speak of this epoch: the place to keep the best weights.
        """
        with self._bar(train_loader, epochs) as bar:
            for epoch in range(epochs):
                bar.set_description(f"epoch {epoch + 1}/{epochs}", refresh=False)
                for input, target in train_loader:
                    self.train(input, target)
                    bar.update()
                    self._show(bar)
                for evaluate, loader in ((self.valid, valid_loader), (self.test, test_loader)):
                    for input, target in () if loader is None else loader:
                        evaluate(input, target)
                self._show(bar, refresh=True)
                if self.stats is not None:
                    self.stats.update()
                if on_epoch is not None:
                    on_epoch(epoch)

    def _optimizer(self) -> torch.optim.Optimizer:
        if self.optimizer is None:
            raise ParameterError("expected an optimizer to train with, got None")
        return self.optimizer

    def _evaluate(self, input: Tensor, target: Tensor, phase: str) -> Tensor | tuple[Tensor, Any]:
        self.net.eval()
        with torch.no_grad():
            output, _, count, _ = self._run(input, target, phase)
        return (output, count) if self.count_log else output

    def _run(self, input: Tensor, target: Tensor, phase: str) -> tuple[Tensor, Any, Any, Tensor]:
        """Output, network loss, count and error of a batch, which ``phase`` of the statistics has counted."""
        input, target = self._place(input), self._place(target)
        output, net_loss, count = self._unpack(self.net(input))
        loss = self.error(output, target)
        if self.stats is not None:
            self._count(getattr(self.stats, phase), input, target, output, loss)
        return output, net_loss, count, loss

    def _place(self, tensor: Tensor) -> Tensor:
        parameter = next(self.net.parameters(), None)
        if parameter is not None:
            self.device = parameter.device
        return tensor if self.device is None else tensor.to(self.device)

    def _unpack(self, result: Any) -> tuple[Tensor, Any, Any]:
        expected = 1 + (self.lam is not None) + bool(self.count_log)
        if expected == 1:
            return result, None, None
        if not isinstance(result, (tuple, list)) or len(result) != expected:
            what = f"{len(result)} values" if isinstance(result, (tuple, list)) else type(result).__name__
            raise ParameterError(
                f"expected the network to return {expected} values with lam={self.lam} and count_log={self.count_log}, "
                f"got {what}"
            )
        output, *others = result
        net_loss = None if self.lam is None else others[0]
        return output, net_loss, others[-1] if self.count_log else None

    @torch.no_grad()
    def _count(self, stat: LearningStat, input: Tensor, target: Tensor, output: Tensor, loss: Tensor) -> None:
        stat.num_samples += input.shape[0]
        stat.loss_sum += loss.item() * output.shape[0]
        if self.classifier is not None:
            stat.correct_samples += int((self.classifier(output) == target).sum().item())

    def _bar(self, loader: _Batches, epochs: int) -> Any:
        from tqdm.auto import tqdm

        try:
            total = epochs * len(loader)  # type: ignore[arg-type]
        except TypeError:  # a stream
            total = None
        return tqdm(total=total, unit="batch", disable=None if self.progress is None else not self.progress)

    def _show(self, bar: Any, refresh: bool = False) -> None:
        if self.stats is not None and not bar.disable:
            bar.set_postfix_str(_summary(self.stats, self.classifier is not None), refresh=refresh)


def _summary(stats: LearningStats, with_accuracy: bool) -> str:
    """Loss and accuracy of each phase: of the running epoch if it has samples, else of the last."""
    texts = []
    for title, stat in (("train", stats.training), ("valid", stats.validation), ("test", stats.testing)):
        loss, accuracy = stat.loss, stat.accuracy
        if loss is None and stat.loss_log:
            loss, accuracy = stat.loss_log[-1], stat.accuracy_log[-1]
        if loss is not None:
            texts.append(f"{title} {loss:.4g}" + (f" {accuracy:.4f}" if with_accuracy else ""))
    return " | ".join(texts)
