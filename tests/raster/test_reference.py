"""The slow reference: hand-computed answers, and the compiled kernels against it."""

import pytest
import torch
from raster_scenes import ball, homogeneous, soup

from invgraph.raster import antialias, attribute_slopes, interpolate, rasterize, reference

TRIANGLE = torch.tensor([[0, 1, 2]], dtype=torch.int32)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_rasterize_by_hand():
    # Legs of 4 px from (1, 1): at (1.5, 1.5) screen weights 3/4, 1/8, 1/8, over z 3/8, 1/16, 1/32.
    screen = homogeneous([(1, 1, 2), (5, 1, 2), (1, 5, 4)])
    found = reference.rasterize(screen, TRIANGLE, 6, 7)
    assert (found.face >= 0).sum() == 6  # the long side is a right edge: its pixels are outside
    assert found.bary[1, 1].tolist() == pytest.approx([12 / 15, 2 / 15])
    assert found.depth[1, 1].item() == pytest.approx(32 / 15)
    assert found.face[0, 0] == -1 and found.depth[0, 0] == 0


def test_shared_edges_leave_no_hole_and_no_double_hit():
    screen = homogeneous([(0, 0, 1), (8, 0, 1), (8, 8, 1), (0, 8, 1)])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    layers = reference.peel(screen, faces, 8, 8, 2)
    assert (layers.face[0] >= 0).all() and (layers.face[1] < 0).all()


def test_near_plane_clips():
    # The face runs from depth 1 to -1 and reaches depth 0.5 at a quarter of its length.
    screen = torch.tensor([[0.0, -4, 1], [0, 4, 1], [16, 0, -1]], dtype=torch.float64)
    whole = reference.rasterize(screen, TRIANGLE, 8, 40, near=1e-3)
    clipped = reference.rasterize(screen, TRIANGLE, 8, 40, near=0.5)
    assert whole.depth[0, 30] > 0 and clipped.depth[0, 30] == 0
    assert clipped.depth[clipped.face >= 0].min() >= 0.5


def test_texture_by_hand():
    tex = torch.tensor([[[0.0], [1]], [[2], [3]]], dtype=torch.float64)
    uv = torch.tensor([[[0.25, 0.25], [0.5, 0.5], [0.0, 0.25]]], dtype=torch.float64)
    assert reference.texture(tex, uv)[0, :, 0].tolist() == [0, 1.5, 0.5]
    assert reference.texture(tex, uv, wrap="clamp")[0, :, 0].tolist() == [0, 1.5, 0]
    # A pixel as wide as the texture reads the mean of all texels.
    whole = torch.tensor([1.0, 0, 0, 1], dtype=torch.float64).expand(1, 3, 4)
    assert reference.texture(tex, uv, whole)[0, :, 0].tolist() == [1.5, 1.5, 1.5]


def test_mip_levels_keep_the_mean():
    tex = torch.rand(5, 7, 2, dtype=torch.float64)
    levels = reference.mip_levels(tex)
    assert [tuple(each.shape[:2]) for each in levels] == [(5, 7), (2, 3), (1, 1)]
    for each in levels:
        assert torch.allclose(each.mean((0, 1)), tex.mean((0, 1)))


def test_soft_silhouette_by_hand():
    # Two px outside of the left side, on it, and two px inside, of a tall face: s = -4, 0, 4.
    screen = homogeneous([(2.5, -90, 1), (2.5, 90, 1), (90, 0, 1)])
    alpha = reference.soft_silhouette(screen, TRIANGLE, 1, 5, sigma=2.0)
    expected = torch.sigmoid(torch.tensor([-1.0, 0, 1], dtype=torch.float64))
    assert torch.allclose(alpha[0, ::2], expected)


def test_antialias_by_hand():
    # The right side at u = 2.8 covers 0.3 of the way from pixel 2's centre to pixel 3's.
    screen = homogeneous([(2.8, -50, 1), (2.8, 50, 1), (-50, 0, 1)]).requires_grad_()
    found = reference.rasterize(screen, TRIANGLE, 1, 5)
    color = (found.face >= 0).double()[..., None]
    out = reference.antialias(color, found, screen, TRIANGLE)
    assert out[0, :, 0].tolist() == pytest.approx([1, 1, 0.8, 0, 0])
    (slope,) = torch.autograd.grad(out.sum(), screen)
    assert slope[:2, 0].sum().item() == pytest.approx(1)  # moving the edge by 1 px covers 1 px more


@pytest.mark.parametrize("seed", [0, 1])
def test_compiled_rasterize(seed):
    screen, faces = soup(seed)
    ours = rasterize(screen, faces, 24, 32, near=0.1, derivatives=True)
    exact = reference.rasterize(screen.double(), faces, 24, 32, near=0.1)
    assert torch.equal(ours.face.long(), exact.face) and (exact.face >= 0).any()
    assert torch.allclose(ours.bary.double(), exact.bary, atol=1e-4)
    assert torch.allclose(ours.depth.double(), exact.depth, rtol=1e-4)
    assert ours.bary_pixel is not None
    scale = exact.bary_pixel.abs().amax()
    assert (ours.bary_pixel.double() - exact.bary_pixel).abs().amax() < 1e-4 * scale


def test_compiled_rasterize_gradient():
    screen, faces = ball(2, 32)
    values = torch.rand(len(screen), 3)
    pull = torch.rand(32, 32, 3), torch.rand(32, 32), torch.rand(32, 32, 6)
    grads = []
    for dtype in (torch.float32, torch.float64):
        corner = screen.to(dtype).requires_grad_()
        attributes = values.to(dtype).requires_grad_()
        if dtype == torch.float32:
            found = rasterize(corner, faces, 32, 32, derivatives=True)
            read = interpolate(attributes, faces, found)
            slopes = attribute_slopes(attributes, faces, found)
        else:
            found = reference.rasterize(corner, faces, 32, 32)
            read = reference.interpolate(attributes, faces, found)
            ends = attributes[faces.long()[found.face.clamp(min=0)]]
            ends = (ends[..., :2, :] - ends[..., 2:, :]) * (found.face >= 0)[..., None, None]
            slopes = torch.einsum("hwkc,hwkp->hwcp", ends, found.bary_pixel.unflatten(-1, (2, 2)))
            slopes = slopes.flatten(-2)
        loss = (read * pull[0]).sum() + (found.depth * pull[1]).sum() + (slopes * pull[2]).sum()
        grads.append(torch.autograd.grad(loss, (corner, attributes)))
    for ours, exact in zip(*grads, strict=True):
        assert exact.abs().max() > 0
        assert (ours - exact).abs().max() < 1e-3 * exact.abs().max()


@pytest.mark.parametrize("level", [1, 3])
def test_compiled_antialias(level):
    size = 24
    screen, faces = ball(level, size)
    pull = torch.rand(size, size, 2)
    paint = torch.rand(size, size, 2)
    results = []
    for dtype in (torch.float32, torch.float64):
        corner = screen.to(dtype).requires_grad_()
        if dtype == torch.float32:
            found = rasterize(corner, faces, size, size)
            color = (paint * (found.face >= 0)[..., None]).requires_grad_()
            out = antialias(color, found, corner, faces)
        else:
            found = reference.rasterize(corner, faces, size, size)
            color = (paint.double() * (found.face >= 0)[..., None]).requires_grad_()
            out = reference.antialias(color, found, corner, faces)
        results.append((out, *torch.autograd.grad((out * pull).sum(), (color, corner))))
    for ours, exact in zip(*results, strict=True):
        assert exact.abs().max() > 0
        assert (ours - exact).abs().max() < 1e-3 * exact.abs().max()
