"""Two processes that train one network: equal gradients on both, which are those of the whole batch in one process."""

import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.torch.networks import spikes, two_blocks

SAMPLES = 8


def error(network, x):
    return network(x).square().mean()


def train(rank, port, folder):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    network = torch.nn.parallel.DistributedDataParallel(two_blocks())
    half = spikes(SAMPLES, 6, 70).chunk(2)[rank]
    error(network, half).backward()
    torch.save({name: p.grad for name, p in network.module.named_parameters()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_have_the_gradients_of_the_whole_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(train, args=(port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    network = two_blocks()
    error(network, spikes(SAMPLES, 6, 70)).backward()
    for name, parameter in network.named_parameters():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], parameter.grad, rtol=1e-5, atol=1e-6 * parameter.grad.abs().max())
        assert parameter.grad.abs().max() > 0
