"""The language-model loss against torch's, and its mean over processes that hold different numbers of texts."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from forked_runs import context

from litevl.losses import language_loss
from litevl.losses.language import global_mean


def test_it_is_cross_entropy_over_what_is_predicted():
    torch.manual_seed(0)
    logits, following = torch.randn(2, 3, 7), torch.randint(7, (2, 3))
    predicted = torch.tensor([[1, 1, 0], [0, 1, 1]])
    for smoothing in (0.0, 0.1):
        each = language_loss(logits, following, predicted, smoothing)
        for row in range(2):
            kept = predicted[row].bool()
            expected = F.cross_entropy(
                logits[row][kept], following[row][kept], reduction="sum", label_smoothing=smoothing
            )
            torch.testing.assert_close(each[row], expected)


def test_one_process_takes_the_plain_mean():
    assert global_mean(torch.tensor(6.0), torch.tensor(4)).item() == 1.5
    assert global_mean(torch.tensor(0.0), torch.tensor(0)).item() == 0.0


def _share(process, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=process, world_size=2)
    weight = torch.ones((), requires_grad=True)
    values = torch.tensor([1.0, 2.0, 3.0])[slice(0, 1) if process == 0 else slice(1, 3)]
    loss = global_mean((weight * values).sum(), torch.tensor(len(values)))
    loss.backward()
    dist.all_reduce(weight.grad, op=dist.ReduceOp.SUM)  # as DistributedDataParallel does, before it divides
    torch.save((loss.detach(), weight.grad / 2), f"{folder}/{process}.pt")
    dist.destroy_process_group()


def test_two_processes_with_one_and_two_texts_give_the_mean_of_all_three(tmp_path):
    context()
    mp.start_processes(_share, args=(tmp_path,), nprocs=2, start_method="forkserver")
    (one, gradient), (two, _) = (torch.load(tmp_path / f"{process}.pt", weights_only=True) for process in range(2))
    assert ((one + two) / 2).item() == 2.0
    assert gradient.item() == 2.0
