"""Depth peeling: every layer against the reference, the first against ``rasterize``."""

import pytest
import torch
from raster_scenes import ball, homogeneous, soup

from invgraph.raster import rasterize, reference
from invgraph.raster.peel import peel


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_two_walls_by_hand():
    near = [(0, 0, 2), (8, 0, 2), (0, 8, 2)]
    far = [(0, 0, 5), (8, 0, 5), (0, 8, 5)]
    screen = homogeneous(far + near, torch.float32)
    out = peel(screen, torch.tensor([[0, 1, 2], [3, 4, 5]]), 8, 8, 3)
    assert out.face[:, 1, 1].tolist() == [1, 0, -1]
    assert out.depth[:, 1, 1].tolist() == [2, 5, 0]
    assert out.face[:, 7, 7].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("cull", [False, True])
def test_like_reference(seed, cull):
    screen, faces = soup(seed, 40)
    ours = peel(screen, faces, 24, 32, 5, near=0.1, cull_back=cull)
    exact = reference.peel(screen.double(), faces, 24, 32, 5, near=0.1, cull_back=cull)
    assert torch.equal(ours.face.long(), exact.face)
    assert (exact.face[3] >= 0).any()
    assert torch.allclose(ours.depth.double(), exact.depth, rtol=1e-4)
    assert torch.allclose(ours.bary.double(), exact.bary, atol=1e-4)


def test_first_layer_is_rasterize():
    screen, faces = ball(4, 96)
    out, first = peel(screen, faces, 96, 96, 3), rasterize(screen, faces, 96, 96)
    assert torch.equal(out.face[0], first.face)
    assert torch.allclose(out.depth[0], first.depth)
    # A ray through a ball meets it twice, and the third layer says that there was no more.
    assert ((out.face[0] >= 0) == (out.face[1] >= 0)).float().mean() > 0.999
    assert (out.face[2] < 0).all()


def test_hundred_layers_lose_nothing():
    count = 100
    z = torch.arange(1, count + 1).flip(0)[:, None, None].float()
    corners = torch.tensor([[-50.0, -50, 1], [50, -50, 1], [0, 90, 1]]) * z
    faces = torch.arange(3 * count).view(-1, 3)
    out = peel(corners.reshape(-1, 3), faces, 4, 4, count)
    assert torch.equal(out.face[:, 2, 2], torch.arange(count, dtype=torch.int32).flip(0))


def test_gradients():
    screen, faces = ball(1, 24)
    pull = torch.rand(3, 24, 24, 2), torch.rand(3, 24, 24)
    grads = []
    for dtype, find in ((torch.float32, peel), (torch.float64, reference.peel)):
        given = screen.to(dtype).requires_grad_()
        out = find(given, faces, 24, 24, 3)
        loss = (out.bary * pull[0]).sum() + (out.depth * pull[1]).sum()
        grads.append(torch.autograd.grad(loss, given)[0])
    assert grads[1].abs().max() > 0
    assert (grads[0] - grads[1]).abs().max() < 1e-3 * grads[1].abs().max()


def test_batches_ranges_and_threads():
    screen, faces = ball(2, 32)
    both = torch.stack([screen, screen * torch.tensor([1.2, 0.9, 1.0])]).requires_grad_()
    packed = both.detach().flatten(0, 1).requires_grad_()
    all_faces = torch.cat([faces, faces + len(screen)])
    ranges = torch.tensor([[0, len(faces)], [len(faces), len(faces)]])
    batch = peel(both, faces, 30, 32, 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        ragged = peel(packed, all_faces, 30, 32, 2, ranges=ranges)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(batch.depth, ragged.depth) and batch.depth.shape == (2, 2, 30, 32)
    (grad,) = torch.autograd.grad(batch.depth.sum(), both)
    (other,) = torch.autograd.grad(ragged.depth.sum(), packed)
    assert torch.equal(grad.flatten(0, 1), other)
    alone = peel(both[1], faces, 30, 32, 2)
    assert torch.equal(alone.face, batch.face[1])


def test_nothing_to_see():
    screen = torch.tensor([[1.0, 1, 1], [5, 1, 1], [1, 5, 1], [float("nan"), 1, 1]])
    screen = screen.requires_grad_()
    for faces in ([], [[0, 0, 1]], [[0, 1, 3]]):
        out = peel(screen, torch.tensor(faces, dtype=torch.int32).view(-1, 3), 6, 6, 2)
        assert (out.face == -1).all() and (out.depth == 0).all() and (out.bary == 0).all()
        assert torch.autograd.grad(out.depth.sum(), screen)[0].eq(0).all()


def test_refusals():
    given = {
        "screen": torch.zeros(3, 3),
        "faces": torch.tensor([[0, 1, 2]]),
        "height": 4,
        "width": 4,
    }
    with pytest.raises(ValueError, match="layers is 0, expected at least 1"):
        peel(**given, layers=0)
    with pytest.raises(ValueError, match="it must be above 0"):
        peel(**given, layers=1, near=0.0)
