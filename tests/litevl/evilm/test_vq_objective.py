"""The tokenizer's training: its loss by hand, what it moves, what it learns, and two processes against one."""

from datetime import timedelta
from itertools import pairwise

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from forked_runs import context
from torch.nn.parallel import DistributedDataParallel

from litevl.distributed import gather_objects, world_size
from litevl.evilm.codebook import perplexity, usage
from litevl.evilm.teacher import PixelTeacher, Teacher, load_teacher, resample_grid
from litevl.evilm.vq_objective import VQObjective
from litevl.evilm.vq_tokenizer import VQTokenizer, VQTokenizerConfig
from litevl.training.checkpoint import _moving_tensors

COLOURS = torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1], [-1, 1, 1], [1, -1, 1], [1.0, 1, 1]])


class ColourTeacher(Teacher):
    """Says of each patch which of the colours it has, by one direction for each; blind to everything else."""

    semantic = True

    def __init__(self, grid=3):
        super().__init__(len(COLOURS), grid)
        self.register_buffer("colours", COLOURS.clone())

    def targets(self, frames):
        means = F.adaptive_avg_pool2d(frames, self.grid).flatten(2).transpose(1, 2)
        return F.one_hot((means @ self.colours.T - self.colours.square().sum(1) / 2).argmax(-1), self.dim)


def coloured(clips, seed, time=2):
    """Clips of patches in the colours with noise on them, and the numbers of the colours."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.randint(len(COLOURS), (clips, time, 3, 3), generator=generator)
    pictures = COLOURS[colours].movedim(-1, 2).repeat_interleave(8, -1).repeat_interleave(8, -2)
    return pictures + 0.3 * torch.randn(pictures.shape, generator=generator), colours.flatten(2)


def make(teacher=None, codes=32, commitment=1.0, seed=0):
    torch.manual_seed(0)
    teacher = teacher or ColourTeacher()
    config = VQTokenizerConfig(
        image_size=24, patch_size=8, width=32, layers=2, heads=2, codes=codes, code_dim=8, commitment=commitment
    )
    return VQObjective(VQTokenizer(config, teacher.dim), teacher, seed)


def train(objective, steps, lr=2e-3):
    objective.train()
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=lr)
    history = []
    for step in range(steps):
        losses = objective(coloured(8, step)[0], step=step)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    return history


@pytest.mark.parametrize("teacher", [ColourTeacher(), ColourTeacher(grid=6), PixelTeacher(24, 8)])
def test_the_loss_by_hand(teacher):
    objective, (pixels, _) = make(teacher, commitment=0.25).eval(), coloured(2, 0)
    losses = objective(pixels)
    output = objective.tokenizer(pixels.flatten(0, 1))
    targets = resample_grid(teacher(pixels.flatten(0, 1)), 3)
    distances, commitments = [], []
    for frame in range(4):
        for patch in range(9):
            said, wanted = output.predicted[frame, patch], targets[frame, patch]
            cosine = said @ wanted / (said.norm() * wanted.norm())
            distances.append(1 - cosine if teacher.semantic else (said - wanted).square().mean())
            code = objective.tokenizer.codebook.codes[output.ids[frame, patch]]
            commitments.append((output.z[frame, patch] - code).square().mean())
    distance, commitment = torch.stack(distances).mean(), torch.stack(commitments).mean()
    counts = torch.bincount(output.ids.flatten(), minlength=32)
    assert losses["distance"].item() == pytest.approx(distance.item(), abs=1e-5)
    assert losses["commitment"].item() == pytest.approx(commitment.item(), abs=1e-6)
    assert losses["loss"].item() == pytest.approx((distance + 0.25 * commitment).item(), abs=1e-5)
    assert losses["perplexity"] == perplexity(counts)
    assert losses["usage"] == usage(counts)
    assert [name for name, value in losses.items() if value.requires_grad] == ["loss"]
    measured, ids = objective.measure(pixels)
    assert measured == pytest.approx(distance.item(), abs=1e-5)
    assert torch.equal(ids, objective.tokenizer.tokenize(pixels))


def test_commitment_draws_the_encoder_alone():
    objective = make(commitment=1.0).eval()
    pixels = coloured(2, 0)[0]
    gradients = {}
    for weight in (0.0, 10.0):
        object.__setattr__(objective.tokenizer.config, "commitment", weight)
        objective.zero_grad()
        objective(pixels)["loss"].backward()
        gradients[weight] = {name: p.grad.clone() for name, p in objective.tokenizer.named_parameters()}
    moved = {name for name, own in gradients[0.0].items() if not torch.allclose(own, gradients[10.0][name], rtol=0.01)}
    decoder = {name for name in gradients[0.0] if name.startswith(("from_code", "decoder", "to_teacher"))}
    assert moved == gradients[0.0].keys() - decoder


def test_training_moves_the_codebook_and_evaluation_does_not():
    objective, (pixels, _) = make(), coloured(4, 0)
    codebook = objective.tokenizer.codebook
    states = [{name: value.clone() for name, value in codebook.state_dict().items()}]
    for training in (False, True, False, True):
        objective.train(training)(pixels)
        states.append({name: value.clone() for name, value in codebook.state_dict().items()})
    changed = [any(not torch.equal(b[name], a[name]) for name in a) for a, b in pairwise(states)]
    assert changed == [False, True, False, True]
    assert [bool(state["started"]) for state in states] == [False, False, True, True, True]


def test_state_holds_the_tokenizer_and_its_codebook_and_no_teacher():
    objective = make(load_teacher("blip", "embedded", 24, 8))
    own = {f"tokenizer.{name}" for name in objective.tokenizer.state_dict()}
    assert "tokenizer.codebook.codes" in own
    assert _moving_tensors(objective).keys() == own
    assert objective.state_dict().keys() == own
    assert {id(p) for p in objective.parameters()} == {id(p) for p in objective.tokenizer.parameters()}


def test_the_teacher_follows_to_the_device_and_never_trains():
    objective = make().train().to(torch.device("meta"))
    assert objective.teacher.colours.is_meta
    assert objective.tokenizer.positions.is_meta
    assert not objective.teacher.training


def test_it_learns_the_teacher_and_keeps_its_codes_in_use():
    objective = make()
    history = train(objective, 100)
    assert history[0]["distance"] > 0.8
    assert sum(losses["distance"] for losses in history[-10:]) / 10 < 0.05
    pixels, colours = coloured(32, 1000)
    ids = objective.eval().tokenizer.tokenize(pixels)
    table = torch.zeros(32, len(COLOURS)).index_put_(
        (ids.flatten(), colours.flatten()), torch.ones(ids.numel()), accumulate=True
    )
    assert (table.sum(dim=1) > 0).sum() >= len(COLOURS)
    assert perplexity(table.sum(dim=1)) > 6
    # A code is used for patches of one colour: those that are the same to the teacher, whatever noise is on them.
    assert table.max(dim=1).values.sum() / table.sum() > 0.95


def test_frames_equal_in_meaning_get_equal_codes():
    def agreement(objective):
        first, second = (coloured(16, 2000)[0] for _ in range(2))
        second += 0.5 * torch.randn(second.shape, generator=torch.Generator().manual_seed(1))
        return (objective.tokenizer.tokenize(first) == objective.tokenizer.tokenize(second)).float().mean().item()

    objective = make(codes=8)
    fresh = agreement(objective)
    train(objective, 100)
    assert fresh < 0.8
    assert agreement(objective) > 0.93


def test_the_same_seed_trains_the_same():
    assert train(make(), 4) == train(make(), 4)
    assert train(make(), 4) != train(make(seed=1), 4)


def test_autocast_trains_too():
    objective = make()
    with torch.autocast("cpu", torch.bfloat16):
        history = train(objective, 3)
    assert all(torch.isfinite(torch.tensor(list(losses.values()))).all() for losses in history)
    assert all(buffer.dtype in (torch.float32, torch.bool) for buffer in objective.buffers())
    assert history[0]["distance"] == pytest.approx(train(make(), 1)[0]["distance"], abs=0.05)


def run(part):
    """Steps on `part` of seeded batches, some codes dying on the way: losses, last gradients, codebook."""
    objective = make(codes=20).train()
    called = DistributedDataParallel(objective, broadcast_buffers=False) if world_size() > 1 else objective
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.05)
    history = []
    for step in range(4):
        optimizer.zero_grad()
        losses = called(coloured(4, step)[0][part], step=step)
        losses["loss"].backward()
        optimizer.step()
        if step == 1:
            objective.tokenizer.codebook.counts[:5] = 0
        history.append({name: sum(gather_objects(value.item())) / world_size() for name, value in losses.items()})
    gradients = {name: parameter.grad for name, parameter in objective.named_parameters()}
    return history, gradients, dict(objective.tokenizer.codebook.state_dict())


def one_of_two(process, folder):
    rendezvous, wait = f"file://{folder}/rendezvous", timedelta(seconds=120)
    dist.init_process_group("gloo", init_method=rendezvous, rank=process, world_size=2, timeout=wait)
    try:
        return run(slice(0, 2) if process == 0 else slice(2, 4))
    finally:
        dist.destroy_process_group()


def the_other(_, folder):
    torch.set_num_threads(1)
    torch.save(one_of_two(1, folder), f"{folder}/other.pt")


# torch 2.13 renames the argument; what it renames it to, earlier ones do not know.
@pytest.mark.filterwarnings("ignore:`broadcast_buffers` is deprecated")
def test_two_processes_equal_one_and_their_codebooks_each_other_to_the_bit(tmp_path):
    history, gradients, codebook = run(slice(None))
    # This process is one of the two.
    context()
    started = mp.start_processes(the_other, args=(tmp_path,), nprocs=1, join=False, start_method="forkserver")
    first = one_of_two(0, tmp_path)
    assert started.join(timeout=60)
    second = torch.load(tmp_path / "other.pt", weights_only=True)
    for other_history, other_gradients, other_codebook in (first, second):
        for mine, theirs in zip(history, other_history, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-4)
        for name, gradient in gradients.items():
            assert torch.allclose(gradient, other_gradients[name], atol=1e-5), name
        for name, value in codebook.items():
            assert torch.allclose(value.float(), other_codebook[name].float(), atol=1e-4), name
    assert all(torch.equal(value, second[2][name]) for name, value in first[2].items())


def test_a_teacher_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"7 wide.*192"):
        VQObjective(make().tokenizer, PixelTeacher(24, 8))
    teacher = load_teacher("blip", "embedded", 24, 8)
    tokenizer = VQTokenizer(make().tokenizer.config, teacher.dim)
    with pytest.raises(ValueError, match="frozen"):
        VQObjective(tokenizer, teacher.requires_grad_(True))
