"""The codebook against slow references; on two processes, see test_vq_objective.py."""

import math

import pytest
import torch
import torch.nn.functional as F

from litevl.evilm import codebook as module
from litevl.evilm.codebook import Codebook, perplexity, usage


def unit(rows, dim=4, seed=0):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def around(centres, each, seed=0, width=0.05):
    """Rows scattered around the centres, `each` around every one."""
    noise = torch.randn(len(centres) * each, centres.shape[1], generator=drawn(seed))
    return F.normalize(centres.repeat_interleave(each, 0) + width * noise, dim=-1)


@pytest.fixture
def codebook():
    torch.manual_seed(0)
    return Codebook(12, 4)


def is_on_sphere(codes):
    return torch.allclose(codes.norm(dim=-1), torch.ones(len(codes)), atol=1e-6)


@pytest.mark.parametrize("chunk", [module.CHUNK, 30])
def test_each_row_gets_its_nearest_code(codebook, monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    z = unit(35).view(5, 7, 4)
    ids = codebook.assign(z)
    for i in range(5):
        for j in range(7):
            distances = [(z[i, j] - code).square().sum().item() for code in codebook.codes]
            assert ids[i, j] == distances.index(min(distances))
    assert torch.equal(codebook.lookup(ids)[2, 3], codebook.codes[ids[2, 3]])


def test_forward_gives_codes_and_passes_the_gradient_straight(codebook):
    z = unit(6).requires_grad_()
    quantised, ids = codebook(z)
    assert torch.allclose(quantised, codebook.codes[ids], atol=1e-6)
    weights = torch.randn(6, 4, generator=drawn(1))
    (quantised * weights).sum().backward()
    assert torch.equal(z.grad, weights)
    assert not list(codebook.parameters())


def test_averages_follow_the_formula(codebook):
    codebook.revive_below = 0.0
    codebook.start(unit(40), drawn())
    counts, sums = codebook.counts.tolist(), [row.clone() for row in codebook.sums]
    codes = [code.clone() for code in codebook.codes]
    for step in range(5):
        z = unit(9, seed=step + 1)
        ids = codebook.assign(z)
        hits = codebook.update(z, ids, drawn())
        for k in range(12):
            own = [row for row, code in zip(z, ids, strict=True) if code == k]
            counts[k] = 0.99 * counts[k] + 0.01 * len(own)
            sums[k] = 0.99 * sums[k] + 0.01 * sum(own, torch.zeros(4))
            if own:
                codes[k] = sums[k] / sums[k].norm()
            assert hits[k] == len(own)
        assert codebook.counts.tolist() == pytest.approx(counts, abs=1e-6)
        assert torch.allclose(codebook.sums, torch.stack(sums), atol=1e-6)
        assert torch.allclose(codebook.codes, torch.stack(codes), atol=1e-5)
        assert is_on_sphere(codebook.codes)


def test_a_code_unused_for_ever_keeps_its_place_on_the_sphere():
    torch.manual_seed(0)
    codebook = Codebook(3, 4, decay=0.5, revive_below=0.0)
    codebook.start(around(unit(3), 4), drawn())
    first = codebook.codes[:1].expand(8, -1)
    left = codebook.codes[1:].clone()
    for _ in range(300):
        codebook.update(first, codebook.assign(first), drawn())
    assert codebook.counts[1] == 0
    assert torch.equal(codebook.codes[1:], left)


def test_dead_codes_are_revived_where_rows_are(codebook):
    codebook.start(unit(200), drawn())
    used = codebook.codes[:2].clone()
    counts = []
    for step in range(300):
        z = around(used, 10, seed=step)
        counts.append(usage(codebook.update(z, codebook.assign(z), drawn(step))).item())
        assert is_on_sphere(codebook.codes)
    assert counts[0] <= 3 / 12
    assert min(counts[-20:]) >= 6 / 12
    assert ((codebook.codes @ used.T).max(dim=1).values > 0.9).all()
    assert torch.allclose(F.normalize(codebook.sums, dim=-1), codebook.codes, atol=1e-5)


def test_nothing_is_revived_where_all_are_used(codebook):
    z = unit(300)
    codebook.start(z, drawn())
    before = codebook.codes.clone()
    codebook.update(z, codebook.assign(z), drawn())
    assert torch.allclose(codebook.codes, before, atol=0.05)
    assert (codebook.counts >= 0.1 * codebook.counts.mean()).all()


def test_fewer_rows_than_dead_codes_revive_as_many_as_they_are(codebook):
    codebook.started.fill_(True)
    codebook.counts[0] = 1.0
    z = around(codebook.codes[:1], 3)
    before = codebook.codes.clone()
    codebook.update(z, codebook.assign(z), drawn())
    moved = (codebook.codes[1:] != before[1:]).any(dim=1)
    assert moved.sum() == 3
    assert {tuple(row) for row in codebook.codes[1:][moved].tolist()} == {tuple(row) for row in z.tolist()}


def test_start_finds_the_clusters():
    centres = torch.eye(6)
    codebook = Codebook(6, 6)
    found = []
    for seed in range(10):
        codebook.start(around(centres, 20), drawn(seed))
        found.append((codebook.codes @ centres.T > 0.99).any(dim=0).sum().item())
        assert is_on_sphere(codebook.codes)
    # k-means can end in a worse place where two codes began in one cluster; a random start finds none of them.
    assert sum(found) / 60 > 0.7
    assert codebook.started


def test_start_settles_where_every_code_is_the_mean_of_its_rows(codebook):
    z = around(unit(12, seed=5), 10)
    codebook.start(z, drawn())
    ids = codebook.assign(z)
    for k in ids.unique():
        assert torch.allclose(codebook.codes[k], F.normalize(z[ids == k].sum(0), dim=0), atol=1e-4)
    assert torch.allclose(codebook.counts, 0.01 * torch.bincount(ids, minlength=12))


@pytest.mark.parametrize("rows", [1, 5, 12])
def test_start_with_few_rows_makes_each_a_code(codebook, rows):
    z = unit(rows)
    # A row twice: equal codes would share their rows.
    codebook.start(torch.cat([z, z]), drawn())
    assert is_on_sphere(codebook.codes)
    assert len(torch.unique(codebook.codes, dim=0)) == 12
    assert torch.allclose(codebook(z)[0], z, atol=1e-6)
    assert torch.equal(codebook.counts.sort(descending=True).values, 0.02 * (torch.arange(12) < rows))
    codebook.update(z, codebook.assign(z), drawn())
    assert is_on_sphere(codebook.codes)


def run():
    """A codebook's tensors after a start and some updates, revivals among them, and what the updates returned."""
    torch.manual_seed(0)
    codebook = Codebook(40, 4)
    codebook.start(unit(30), drawn())
    hits = [codebook.update(z, codebook.assign(z), drawn(step)) for step in range(8) for z in [unit(40, seed=step)]]
    return [*codebook.state_dict().values(), *hits]


def test_a_seed_settles_everything():
    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))
    codebook = Codebook(12, 4)
    starts = []
    for seed in (0, 1):
        codebook.start(unit(100), drawn(seed))
        starts.append(codebook.codes.clone())
    assert not torch.equal(*starts)


def test_autocast_changes_nothing():
    z, one, other = unit(2000), Codebook(200, 4), Codebook(200, 4)
    other.load_state_dict(one.state_dict())
    plain = one.assign(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert ((z @ one.codes.T).argmax(dim=1) != plain).any()
        assert torch.equal(one.assign(z), plain)
    for codebook, enabled in ((one, False), (other, True)):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            codebook.start(z, drawn())
            quantised, ids = codebook(z)
            codebook.update(z, ids, drawn())
        assert quantised.dtype == torch.float32
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_usage_and_perplexity_by_hand():
    assert usage(torch.tensor([3, 0, 1, 0])) == 0.5
    assert perplexity(torch.tensor([5, 5, 0, 5, 5])).item() == pytest.approx(4)
    assert perplexity(torch.tensor([7.0, 0.0])).item() == pytest.approx(1)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert perplexity(torch.tensor([3, 1])).item() == pytest.approx(math.exp(entropy))
    with pytest.raises(ValueError, match="2 zeros"):
        perplexity(torch.zeros(2))


@pytest.mark.parametrize("wrong", [{"size": 0}, {"dim": 0}, {"decay": 1.0}, {"revive_below": -0.1}])
def test_misuse_is_named(wrong):
    with pytest.raises(ValueError, match=r"size and dim .* decay and revive_below"):
        Codebook(**{"size": 4, "dim": 2, **wrong})
