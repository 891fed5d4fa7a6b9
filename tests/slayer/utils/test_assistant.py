import logging

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lavadl_lite.errors import ParameterError
from lavadl_lite.slayer.utils import Assistant, LearningStats


class Net(nn.Module):
    """A linear layer that returns what it is told to: also a loss of its own, also a count."""

    def __init__(self, *others):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.others = others

    def forward(self, input):
        output = self.linear(input)
        extra = {"loss": (output**2).mean(), "count": [1, 2]}
        return (output, *(extra[name] for name in self.others)) if self.others else output


def error(output, target):
    return nn.functional.cross_entropy(output, target)


def predict(output):
    return output.argmax(1)


def assistant(*others, lr=0.1, **options):
    torch.manual_seed(0)
    net = Net(*others)
    options.setdefault("stats", LearningStats())
    return Assistant(net, error, torch.optim.SGD(net.parameters(), lr=lr), classifier=predict, **options)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 4, generator=generator), torch.randint(0, 3, (5,), generator=generator)


def test_arguments_are_those_of_lava_dl():
    arguments = [object() for _ in range(7)]
    made = Assistant(*arguments)
    names = ("net", "error", "optimizer", "stats", "classifier", "count_log", "lam")
    assert [getattr(made, name) for name in names] == arguments
    assert (made.device, made.progress) == (None, None)


def test_train_takes_the_optimizer_step_of_the_loss(batch):
    trainer = assistant()
    net, (input, target) = trainer.net, batch
    net.eval()
    net.linear.weight.grad = torch.ones(3, 4)  # left over
    weight = net.linear.weight.detach().clone()
    expected_output = net(input).detach()
    gradient = torch.autograd.grad(error(net(input), target), net.linear.weight)[0]
    output = trainer.train(input, target)
    assert net.training
    torch.testing.assert_close(output, expected_output)
    assert output.requires_grad
    torch.testing.assert_close(net.linear.weight, weight - 0.1 * gradient)
    assert trainer.device == torch.device("cpu")


def test_train_trains_a_module_that_another_network_left_in_evaluation_mode(batch):
    drop = torch.nn.Dropout(1.0)
    others = [torch.nn.Sequential(torch.nn.Linear(4, 3), drop) for _ in range(2)]
    first, second = (Assistant(net, error, torch.optim.SGD(net.parameters(), lr=0.1)) for net in others)
    first.test(*batch)
    assert second.net.training
    assert not drop.training
    assert not second.train(*batch).any()
    assert drop.training


@pytest.mark.parametrize(("phase", "name"), [("training", "train"), ("testing", "test"), ("validation", "valid")])
def test_each_phase_counts_for_itself(phase, name, batch):
    runner = assistant()
    input, target = batch
    loss, correct = error(runner.net(input), target).item(), (predict(runner.net(input)) == target).sum().item()
    getattr(runner, name)(input, target)
    for part in ("training", "testing", "validation"):
        stat, samples = getattr(runner.stats, part), 5 if part == phase else 0
        assert stat.num_samples == samples
        assert stat.loss_sum == pytest.approx(loss * samples)
        assert stat.correct_samples == (correct if samples else 0)
    assert isinstance(getattr(runner.stats, phase).correct_samples, int)


@pytest.mark.parametrize("name", ["test", "valid"])
def test_evaluation_leaves_the_network_alone(name, batch):
    runner = assistant()
    state = {key: value.clone() for key, value in runner.net.state_dict().items()}
    output = getattr(runner, name)(*batch)
    assert not runner.net.training
    assert not output.requires_grad
    assert all(torch.equal(value, state[key]) for key, value in runner.net.state_dict().items())


def test_valid_works_for_a_module_without_device(batch):
    runner = assistant()
    assert not hasattr(runner.net, "device")
    assert runner.valid(*batch).shape == (5, 3)


@pytest.mark.parametrize("lam", [None, 0.5])
@pytest.mark.parametrize("count_log", [False, True])
def test_outputs_with_network_loss_and_count(lam, count_log, batch):
    others = ["loss"] * (lam is not None) + ["count"] * count_log
    for name in ("train", "test", "valid"):
        result = getattr(assistant(*others, lam=lam, count_log=count_log), name)(*batch)
        output, count = result if count_log else (result, [1, 2])
        assert output.shape == (5, 3)
        assert count == [1, 2]


def test_network_loss_is_learnt_but_not_reported(batch):
    trainer, plain = assistant("loss", lam=0.5), assistant()
    (input, target), weight = batch, trainer.net.linear.weight.detach().clone()
    output, net_loss = trainer.net(input)
    total = error(output, target) + 0.5 * net_loss
    gradient = torch.autograd.grad(total, trainer.net.linear.weight)[0]
    trainer.train(input, target)
    plain.train(input, target)
    torch.testing.assert_close(trainer.net.linear.weight, weight - 0.1 * gradient)
    assert trainer.stats.training.loss_sum == pytest.approx(plain.stats.training.loss_sum)


@pytest.mark.parametrize("others", [(), ("loss", "count")])
def test_wrong_number_of_network_outputs_raises(others, batch):
    with pytest.raises(ParameterError, match="expected the network to return 2 values"):
        assistant(*others, count_log=True).train(*batch)


def test_without_statistics_classifier_or_optimizer(batch):
    net = Net()
    bare = Assistant(net, error, None)
    assert bare.test(*batch).shape == (5, 3)
    with pytest.raises(ParameterError, match="optimizer"):
        bare.train(*batch)
    regression = Assistant(net, error, torch.optim.SGD(net.parameters(), 0.1), LearningStats())
    regression.train(*batch)
    assert regression.stats.training.accuracy == 0


def test_network_without_parameters(batch):
    runner = Assistant(nn.Identity(), lambda output, target: output.sum(), None, LearningStats())
    assert torch.equal(runner.test(*batch), batch[0])
    assert runner.device is None
    runner.device = torch.device("meta")
    assert runner.net is not None
    runner.stats = None
    assert runner.test(*batch).device.type == "meta"


def test_lower_learning_rate_is_logged_not_printed(caplog, capsys):
    trainer = assistant(lr=0.3)
    with caplog.at_level(logging.INFO, logger="lavadl_lite"):
        trainer.reduce_lr()
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.09)
    trainer.reduce_lr(9)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert "0.3" in caplog.text
    assert capsys.readouterr().out == ""


def loader(samples=20, batch_size=8):
    generator = torch.Generator().manual_seed(3)
    input = torch.randn(samples, 4, generator=generator)
    return DataLoader(TensorDataset(input, (input[:, 0] > 0).long()), batch_size)


def test_fit_equals_the_loop_it_stands_for():
    ours, loop = assistant(), assistant()
    seen = []
    ours.fit(loader(), 3, valid_loader=loader(10), test_loader=loader(6), on_epoch=seen.append)
    for _ in range(3):
        for run, batches in ((loop.train, loader()), (loop.valid, loader(10)), (loop.test, loader(6))):
            for batch in batches:
                run(*batch)
        loop.stats.update()
    assert seen == [0, 1, 2]
    assert torch.equal(ours.net.linear.weight, loop.net.linear.weight)
    for phase in ("training", "validation", "testing"):
        assert vars(getattr(ours.stats, phase)) == vars(getattr(loop.stats, phase))
    assert ours.stats.training.loss_log[2] < ours.stats.training.loss_log[0]


def test_best_flags_speak_of_the_epoch_that_just_ended():
    trainer = assistant()
    flags = []
    trainer.fit(loader(), 4, loader(10), on_epoch=lambda epoch: flags.append(trainer.stats.validation.best_loss))
    log = trainer.stats.validation.loss_log
    assert flags == [loss < min(log[:epoch], default=float("inf")) for epoch, loss in enumerate(log)]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(loader().dataset)


@pytest.mark.parametrize("batches", [loader(), list(loader()), DataLoader(Stream(), 8)], ids=["map", "list", "stream"])
@pytest.mark.parametrize("stats", [True, False])
def test_progress_bar_shows_epochs_and_figures(batches, stats, capsys):
    trainer = assistant(progress=True, stats=LearningStats() if stats else None)
    trainer.fit(batches, 2, valid_loader=batches)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "epoch 2/2" in shown.err
    assert ("valid" in shown.err) == stats
    if isinstance(batches, list):
        assert "6/6" in shown.err


@pytest.mark.parametrize("progress", [None, False])
def test_fit_is_quiet_away_from_a_terminal(progress, capsys):
    assistant(progress=progress).fit(loader(), 1)
    assert capsys.readouterr() == ("", "")


def test_fit_without_epochs_or_batches():
    trainer = assistant()
    trainer.fit(loader(), 0)
    trainer.fit([], 2)
    assert trainer.stats.training.loss_log == [None, None]


@pytest.mark.gpu
def test_batches_move_to_the_network(batch):
    trainer = assistant(stats=LearningStats())
    trainer.net.cuda()
    for run in (trainer.valid, trainer.train, trainer.test):
        assert run(*batch).is_cuda
    assert trainer.device == trainer.net.linear.weight.device
