"""The parts of the training objective, by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from small_blip import make_blip

from litevl.adapters import LiteVLConfig, plug
from litevl.losses import (
    FeatureQueue,
    MomentumCopy,
    RetrievalLossConfig,
    RetrievalObjective,
    contrastive_loss,
    draw_pairs,
    hard_negatives,
)
from litevl.models import VideoTextRetrieval

TEXTS = ["a red square", "a blue circle moves left", "the star before the circle", "a square and a star"]


def unit(rows, dim=8, seed=0):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_contrastive_is_cross_entropy_where_each_query_has_one_positive():
    a, b, ids = unit(4), unit(4, seed=1), torch.arange(4)
    loss = contrastive_loss(a, b, torch.tensor(0.1), ids, ids)
    assert torch.allclose(loss, F.cross_entropy(a @ b.T / 0.1, ids))


def test_captions_of_one_video_are_never_negatives():
    a, ids = unit(3), torch.tensor([5, 5, 7])
    targets = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    expected = -(torch.log_softmax(a @ a.T / 0.2, dim=1) * targets).sum(1).mean()
    assert torch.allclose(contrastive_loss(a, a, torch.tensor(0.2), ids, ids), expected)


def test_soft_labels_are_the_teachers_share():
    a, b, teacher, ids = unit(3), unit(3, seed=1), unit(3, seed=2), torch.arange(3)
    soft = torch.softmax(teacher @ b.T / 0.1, dim=1)
    targets = 0.4 * soft + 0.6 * torch.eye(3)
    expected = -(torch.log_softmax(a @ b.T / 0.1, dim=1) * targets).sum(1).mean()
    assert torch.allclose(contrastive_loss(a, b, torch.tensor(0.1), ids, ids, teacher, 0.4), expected)
    plain = contrastive_loss(a, b, torch.tensor(0.1), ids, ids)
    assert torch.equal(contrastive_loss(a, b, torch.tensor(0.1), ids, ids, teacher, 0.0), plain)


def test_hard_negatives_come_from_other_videos_and_follow_similarity():
    ids = torch.tensor([1, 1, 2, 3])
    logits = torch.tensor([[9.0, 9.0, 5.0, 0.0]]).expand(4, -1)
    counts = torch.zeros(4)
    for seed in range(300):
        index, has_one = hard_negatives(logits, ids, ids, torch.Generator().manual_seed(seed))
        assert has_one.all()
        assert (ids[index] != ids).all()
        counts[index[0]] += 1
    assert counts[:2].sum() == 0
    assert counts[2] / 300 == pytest.approx(1 / (1 + math.exp(-5)), abs=0.03)


def test_a_query_without_negatives_is_left_out():
    ids = torch.tensor([4, 4])
    _, has_one = hard_negatives(torch.zeros(2, 2), ids, ids, torch.Generator())
    assert not has_one.any()
    pairs = draw_pairs(torch.zeros(2, 2), ids, torch.Generator())
    assert (pairs.text.tolist(), pairs.video.tolist(), pairs.label.tolist()) == ([0, 1], [0, 1], [1, 1])


def test_every_text_and_every_video_is_matched_with_its_own_and_with_another():
    ids, logits = torch.tensor([3, 3, 5, 6]), torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    pairs = draw_pairs(logits, ids, torch.Generator().manual_seed(0))
    assert len(pairs) == 12
    true = pairs.label == 1
    assert pairs.text[true].tolist() == pairs.video[true].tolist() == [0, 1, 2, 3]
    assert (ids[pairs.text[~true]] != ids[pairs.video[~true]]).all()
    assert torch.bincount(pairs.text[4:8]).tolist() == torch.bincount(pairs.video[8:]).tolist() == [1, 1, 1, 1]
    halves = [pairs.of_videos(0, 1), pairs.of_videos(1, 4)]
    again = [
        (t, v + at) for half, at in zip(halves, (0, 1), strict=True) for t, v in zip(half.text, half.video, strict=True)
    ]
    assert sorted(map(tuple, torch.tensor(again).tolist())) == sorted(
        zip(pairs.text.tolist(), pairs.video.tolist(), strict=True)
    )


def test_underflowing_candidates_can_still_be_drawn():
    ids = torch.arange(3)
    logits = torch.tensor([[0.0, -1e9, -1e9], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    index, has_one = hard_negatives(logits, ids, ids, torch.Generator().manual_seed(0))
    assert has_one.all()
    assert index[0] in (1, 2)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_queue_of_any_size_keeps_the_newest(size):
    queue, seen = FeatureQueue(size, 2), []
    for start in (0, 4, 8):
        ids = torch.arange(start, start + 4)
        queue.push(ids[:, None].float().expand(-1, 2), -ids[:, None].float().expand(-1, 2), ids)
        seen += ids.tolist()
        video, text, held = queue.stored()
        assert sorted(held.tolist()) == seen[-size:]
        assert torch.equal(video[:, 0], held.float())
        assert torch.equal(text[:, 0], -held.float())


@pytest.fixture
def model(blip):
    return VideoTextRetrieval(plug(blip, LiteVLConfig(num_frames=2), verbose=False))


@pytest.fixture
def batch(model):
    return {
        "pixels": torch.randn(4, 2, 3, 48, 48, generator=torch.Generator().manual_seed(2)),
        "tokens": model.tokenize(TEXTS),
        "video_ids": torch.arange(4),
        "epochs_done": 0.5,
    }


def test_momentum_holds_what_is_trained_and_follows_it(model, batch):
    copy = MomentumCopy(model, decay=0.9)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert set(copy.names) == set(trained)
    assert sum(b.numel() for b in copy.buffers()) == sum(p.numel() for p in trained.values())
    own, _ = model(batch["pixels"], batch["tokens"])
    same, _ = copy(model, batch["pixels"], batch["tokens"])
    assert torch.equal(own.embed, same.embed)
    before = {name: value.clone() for name, value in copy._values().items()}
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(1.0)
    shifted, _ = copy(model, batch["pixels"], batch["tokens"])
    assert torch.equal(shifted.embed, same.embed)
    assert not shifted.embed.requires_grad
    copy.update(model)
    for name, value in copy._values().items():
        assert torch.allclose(value, 0.9 * before[name] + 0.1 * trained[name], atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        RetrievalLossConfig(),
        RetrievalLossConfig(vtm_weight=0.0),
        RetrievalLossConfig(vtc_weight=0.5, vtm_weight=2.0),
        RetrievalLossConfig(momentum=0.995, queue_size=6),
        RetrievalLossConfig(queue_size=3, negatives="local"),
    ],
)
def test_objective_adds_its_parts_and_trains_every_adapter(model, batch, config):
    objective = RetrievalObjective(model, config, seed=1).train()
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=1e-3)
    for step in range(3):
        losses = objective(**batch, step=step)
        parts = [getattr(config, f"{name}_weight") * value for name, value in losses.items() if name != "loss"]
        assert torch.allclose(losses["loss"], torch.stack(parts).sum())
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    for name, parameter in objective.named_parameters():
        assert (parameter.grad is not None and parameter.grad.abs().max() > 0) == parameter.requires_grad, name


def test_the_same_step_gives_the_same_loss_and_another_step_other_negatives(tokenizer, batch):
    def losses(seed, step):
        model = VideoTextRetrieval(plug(make_blip(tokenizer), LiteVLConfig(num_frames=2), verbose=False))
        return RetrievalObjective(model, RetrievalLossConfig(), seed)(**batch, step=step)

    assert torch.equal(losses(0, 3)["loss"], losses(0, 3)["loss"])
    assert len({losses(0, step)["vtm"].item() for step in range(4)}) > 1


def test_soft_labels_ramp_up_over_the_first_epoch(model, batch):
    values = []
    for done in (0.0, 0.5, 1.0, 3.0):
        objective = RetrievalObjective(model, RetrievalLossConfig(momentum=0.995, vtm_weight=0.0)).eval()
        values.append(objective(**{**batch, "epochs_done": done}, step=0)["vtc"].item())
    assert len(set(values[:3])) == 3
    assert values[2] == values[3]


def test_misuse_is_named():
    with pytest.raises(ValueError, match="momentum"):
        RetrievalLossConfig(momentum=1.0)
    with pytest.raises(ValueError, match="zero or more"):
        RetrievalLossConfig(queue_size=-1)
