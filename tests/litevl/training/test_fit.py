"""The loop: schedule, order, accumulation, resuming, and the guard against a broken loss."""

import io
import json

import pytest
import torch
from torch import nn

from litevl.training import (
    Batch,
    LossNotFinite,
    Progress,
    RunFolder,
    TrainingConfig,
    fit,
    learning_rate,
    load_state,
    make_optimizer,
    start_accelerator,
)


class Task(nn.Module):
    """A linear regression with dropout, a frozen layer and a buffer that training moves."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x, step, epochs_done):
        self.seen += 1
        value = self.head(nn.functional.dropout(self.model(x), 0.5, self.training)).square().mean()
        return {"loss": value, "part": value.detach()}


class Data:
    per_epoch = 6

    def __init__(self, broken_at=None):
        self.broken_at = broken_at

    def epoch(self, epoch, start):
        for number in range(start, self.per_epoch):
            x = torch.randn(3, 4, generator=torch.Generator().manual_seed(100 * epoch + number))
            if (epoch, number) == self.broken_at:
                x = x * torch.inf
            yield Batch({"x": x}, [f"video{number}"], number)


def train(folder, config, resume=False, stop_after=None, data=None):
    accelerator, _ = start_accelerator("no", config.accumulation, "none")
    objective = Task()
    run = RunFolder(folder, config, resume=resume)
    objective, optimizer = accelerator.prepare(objective, make_optimizer(objective, config))
    progress = load_state(folder, objective, optimizer, accelerator) if resume else Progress()
    for state in fit(objective, optimizer, data or Data(), config, accelerator, run, progress, seed=1):
        state.history.append({"epoch": state.epoch})
        if stop_after == state.epoch:
            break
    return objective, progress


CONFIG = TrainingConfig(epochs=3, batch_size=3, lr=0.1, warmup=0.2, precision="no")


def test_schedule_warms_up_and_follows_a_cosine():
    config = TrainingConfig(epochs=1, lr=2.0, warmup=0.2)
    rates = [learning_rate(config, step, 10) for step in range(10)]
    assert rates[:2] == [1.0, 2.0]
    assert rates[2] == 2.0
    assert rates[6] == pytest.approx(1.0)
    assert rates == sorted(rates[:2]) + sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.1


def test_same_seed_same_weights_and_another_order_of_calls(tmp_path):
    first, _ = train(tmp_path / "a", CONFIG)
    torch.rand(17)
    second, _ = train(tmp_path / "b", CONFIG)
    assert torch.equal(first.head.weight, second.head.weight)
    assert torch.equal(first.model.weight, Task().model.weight)


def test_a_resumed_run_ends_bit_equal(tmp_path):
    whole, _ = train(tmp_path / "whole", CONFIG)
    # Left at the end of the second epoch, whose state is saved, what was made of the epoch is not.
    train(tmp_path / "parts", CONFIG, stop_after=1)
    torch.rand(5)
    resumed, progress = train(tmp_path / "parts", CONFIG, resume=True)
    assert torch.equal(whole.head.weight, resumed.head.weight)
    assert torch.equal(whole.seen, resumed.seen)
    assert [entry["epoch"] for entry in progress.history] == [0, 1, 2]
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 19))
    assert {"loss", "part", "lr"} <= lines[0].keys()


def test_accumulation_takes_the_mean_of_its_micro_batches(tmp_path):
    config = TrainingConfig(epochs=1, batch_size=6, accumulation=2, lr=0.1, precision="no")
    _, progress = train(tmp_path, config)
    assert progress.step == 3
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2, 3]


def test_a_broken_loss_names_step_and_samples_and_keeps_the_last_state(tmp_path):
    with pytest.raises(LossNotFinite, match="nan at step 8; its samples: video2"):
        train(tmp_path, CONFIG, data=Data(broken_at=(1, 2)))
    _, progress = train(tmp_path, CONFIG, resume=True)
    assert progress.step == 18


def test_a_batch_that_can_not_be_read_loses_no_step_before_it(tmp_path):
    class Unreadable(Data):
        def epoch(self, epoch, start):
            for batch in super().epoch(epoch, start):
                if (epoch, batch.number) == (1, 2):
                    raise OSError("no such video")
                yield batch

    whole, _ = train(tmp_path / "whole", CONFIG)
    with pytest.raises(OSError, match="no such video"):
        train(tmp_path / "parts", CONFIG, data=Unreadable())
    assert torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["progress"]["step"] == 8
    resumed, _ = train(tmp_path / "parts", CONFIG, resume=True)
    assert torch.equal(whole.head.weight, resumed.head.weight)


def test_batches_that_were_left_out_are_not_counted_on_resuming(tmp_path):
    class Holes(Data):
        def epoch(self, epoch, start):
            return (batch for batch in super().epoch(epoch, start) if batch.number != 1)

    class Stopping(Holes):
        def epoch(self, epoch, start):
            for batch in super().epoch(epoch, start):
                if batch.number == 4:
                    raise OSError
                yield batch

    whole, progress = train(tmp_path / "whole", CONFIG, data=Holes())
    assert progress.step == 15
    with pytest.raises(OSError):  # noqa: PT011
        train(tmp_path / "parts", CONFIG, data=Stopping())
    resumed, progress = train(tmp_path / "parts", CONFIG, resume=True, data=Holes())
    assert progress.step == 15
    assert torch.equal(whole.head.weight, resumed.head.weight)


def test_only_what_moves_is_in_the_state(tmp_path):
    train(tmp_path, CONFIG)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert set(state["tensors"]) == {"head.weight", "head.bias", "seen"}
    assert not list(tmp_path.glob("*.writing"))


def test_a_state_of_another_model_is_refused(tmp_path):
    train(tmp_path, CONFIG)
    accelerator, _ = start_accelerator("no", 1, "none")
    other = nn.ModuleDict({"head": nn.Linear(4, 1), "more": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match=r"more\.bias, more\.weight, seen"):
        load_state(tmp_path, other, make_optimizer(other, CONFIG), accelerator)
    with pytest.raises(FileNotFoundError, match="without --resume"):
        load_state(tmp_path / "nowhere", other, make_optimizer(other, CONFIG), accelerator)


def test_a_damaged_state_is_refused(tmp_path):
    train(tmp_path, CONFIG)
    accelerator, _ = start_accelerator("no", 1, "none")
    path, whole = tmp_path / "state.pt", (tmp_path / "state.pt").read_bytes()
    other = io.BytesIO()
    torch.save({"tensors": {}}, other)
    for damaged in (b"", whole[: len(whole) // 2], b"not a state", other.getvalue()):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"state.pt: expected a state .* --resume trains from the start"):
            load_state(tmp_path, Task(), make_optimizer(Task(), CONFIG), accelerator)


def test_vectors_are_not_decayed():
    optimizer = make_optimizer(Task(), CONFIG)
    assert [(group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [(0.05, 1), (0.0, 1)]


def test_misuse_is_named(tmp_path):
    with pytest.raises(ValueError, match="nothing is trainable"):
        make_optimizer(Task().requires_grad_(False), CONFIG)
    with pytest.raises(ValueError, match="3 micro-batches"):
        TrainingConfig(batch_size=4, accumulation=3)
    with pytest.raises(ValueError, match="multiple of 3 processes x 2 micro-batches = 6"):
        TrainingConfig(batch_size=4, accumulation=2).local_batch_size(3)
    empty = Data()
    empty.per_epoch = 0
    with pytest.raises(ValueError, match="fewer clips than one batch of 3"):
        train(tmp_path, CONFIG, data=empty)


class TestRunFolder:
    def test_a_second_run_in_a_folder_is_refused(self, tmp_path):
        RunFolder(tmp_path, CONFIG)
        with pytest.raises(FileExistsError, match="--resume"):
            RunFolder(tmp_path, CONFIG)
        RunFolder(tmp_path, CONFIG, resume=True)

    def test_another_config_is_refused_by_name(self, tmp_path):
        RunFolder(tmp_path, CONFIG)
        with pytest.raises(ValueError, match=r"another config: lr: 0\.1 -> 0\.2"):
            RunFolder(tmp_path, TrainingConfig(**{**CONFIG.__dict__, "lr": 0.2}), resume=True)
