"""The nearest triangle of every pixel: known answers, an oracle, and everything that goes wrong."""

import math

import pytest
import torch
from small_meshes import faces_of, homogeneous, on_screen, sphere

from invgraph.raster import Fragments, rasterize
from invgraph.raster.arguments import read_faces
from invgraph.raster.reference import rasterize as rasterize_in_torch


def oracle(screen: torch.Tensor, faces: torch.Tensor, height: int, width: int, near: float = 1e-3):
    """Face, all weights and depth by solving every triangle at every pixel in float64."""
    corners = screen.double()[faces.long()].transpose(-1, -2)
    keep = torch.linalg.det(corners).abs() > 0
    safe = torch.where(keep[:, None, None], corners, torch.eye(3, dtype=torch.float64))
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    ray = torch.stack([u, v, torch.ones_like(u)], -1).double()
    c = torch.einsum("fij,hwj->fhwi", torch.linalg.inv(safe), ray)
    z = 1 / c.sum(-1)
    seen = keep[:, None, None] & (c >= 0).all(-1) & (z >= near)
    depth, face = torch.where(seen, z, torch.inf).min(0)
    face = torch.where(depth < torch.inf, face, -1)
    index = face.clamp(min=0)[None, ..., None].expand(1, *face.shape, 3)
    weights = (c * z[..., None]).gather(0, index)[0]
    return face, weights, depth


def assert_like_oracle(out: Fragments, screen: torch.Tensor, faces: torch.Tensor, near=1e-3):
    height, width = out.face.shape
    face, weights, depth = oracle(screen, faces, height, width, near)
    assert torch.equal(out.face.long(), face)
    hit = face >= 0
    assert hit.any()
    assert torch.allclose(out.bary[hit].double(), weights[hit][:, :2], atol=2e-5)
    assert torch.allclose(out.depth[hit].double(), depth[hit], rtol=2e-5)
    assert (out.bary[~hit] == 0).all() and (out.depth[~hit] == 0).all()


def test_hand_computed_pixels():
    # The right angle at (1, 1), legs of 4 px: centres at +0.5, v down.
    screen = homogeneous([[1, 1, 2], [5, 1, 2], [1, 5, 4]])
    out = rasterize(screen, faces_of((0, 1, 2)), 6, 7)
    expected = torch.full((6, 7), -1, dtype=torch.int32)
    for row, columns in ((1, 4), (2, 3), (3, 2), (4, 1)):
        # The long edge is a right edge: centres on it (u + v = 6) stay outside.
        expected[row, 1:columns] = 0
    assert torch.equal(out.face, expected)
    # At (1.5, 1.5): screen weights 6/8, 1/8, 1/8; over z: 3/8, 1/16, 1/32, sum 15/32.
    assert torch.allclose(out.bary[1, 1], torch.tensor([12 / 15, 2 / 15]))
    assert out.depth[1, 1].item() == pytest.approx(32 / 15)


def test_slopes_are_those_of_the_weights():
    screen = homogeneous([[-40, -50, 2], [90, -10, 3], [10, 90, 7]])
    out = rasterize(screen, faces_of((0, 1, 2)), 32, 32, derivatives=True)
    assert out.bary_pixel is not None
    across = (out.bary[8:-8, 2:] - out.bary[8:-8, :-2]) / 2
    down = (out.bary[2:, 8:-8] - out.bary[:-2, 8:-8]) / 2
    slopes = out.bary_pixel.unflatten(-1, (2, 2))
    assert torch.allclose(slopes[8:-8, 1:-1, :, 0], across, atol=1e-5)
    assert torch.allclose(slopes[1:-1, 8:-8, :, 1], down, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (17, 90), (70, 13)])
def test_like_the_oracle(height, width):
    one, faces = sphere(8, 13)
    vertices = torch.cat([one, one * 0.6 + torch.tensor([0.9, 0.3, -0.6])])
    faces = torch.cat([faces, faces + len(one)])
    screen = on_screen(vertices, 40)
    assert_like_oracle(rasterize(screen, faces, height, width), screen, faces)


def test_random_triangles_like_the_oracle():
    torch.manual_seed(0)
    points = torch.rand(90, 3) * torch.tensor([80.0, 80.0, 5.0]) + torch.tensor([-8.0, -8.0, 1.0])
    screen = homogeneous(points.tolist())
    faces = torch.arange(90, dtype=torch.int32).reshape(30, 3)
    assert_like_oracle(rasterize(screen, faces, 64, 64), screen, faces)


def test_triangles_behind_and_before_the_near_plane_are_clipped():
    torch.manual_seed(1)
    points = torch.randn(120, 3) * torch.tensor([1.0, 1.0, 1.5]) + torch.tensor([0.0, 0.0, 1.0])
    screen = torch.stack(
        [
            points[:, 0] * 30 + points[:, 2] * 20,
            points[:, 1] * 30 + points[:, 2] * 20,
            points[:, 2],
        ],
        -1,
    )
    faces = torch.arange(120, dtype=torch.int32).reshape(40, 3)
    for near in (0.05, 0.7):
        crossing = (screen[faces.long()][..., 2] < near).any(1) & (
            screen[faces.long()][..., 2] > near
        ).any(1)
        assert crossing.sum() > 5
        out = rasterize(screen, faces, 40, 40, near=near)
        assert_like_oracle(out, screen, faces, near)
        assert out.depth[out.face >= 0].min() >= near * (1 - 1e-6)


def test_shared_edges_have_neither_holes_nor_double_hits():
    torch.manual_seed(2)
    n = 24
    v, u = torch.meshgrid(torch.arange(n + 1.0), torch.arange(n + 1.0), indexing="ij")
    grid = torch.stack([u, v], -1) * (48 / n)
    grid[1:-1, 1:-1] += (torch.rand(n - 1, n - 1, 2) - 0.5) * 0.3
    grid[::3, ::2] = grid[::3, ::2].floor() + 0.5  # vertices and edges exactly on pixel centres
    grid[0, :, 1], grid[-1, :, 1], grid[:, 0, 0], grid[:, -1, 0] = 0, 48, 0, 48
    depth = 1 + torch.rand(n + 1, n + 1, 1)
    points = torch.cat([grid * depth, depth], -1).reshape(-1, 3)
    index = torch.arange((n + 1) ** 2).reshape(n + 1, n + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = torch.stack([torch.stack([a, b, c], -1), torch.stack([b, c, d], -1)]).reshape(-1, 3)
    corners = points[faces].double()
    assert (torch.linalg.det(corners) * torch.tensor([1, -1]).repeat_interleave(n * n) > 0).all()
    items = len(faces)
    ranges = torch.stack([torch.arange(items), torch.ones(items, dtype=torch.int64)], -1)
    out = rasterize(points, faces.int(), 48, 48, ranges=ranges)
    hits = (out.face >= 0).sum(0)
    assert (hits == 1).all()


def test_the_top_left_rule():
    # Two squares side by side, the border through pixel centres.
    screen = homogeneous([[0, 0, 1], [2.5, 0, 1], [5, 0, 1], [0, 4, 1], [2.5, 4, 1], [5, 4, 1]])
    faces = faces_of((0, 1, 4), (0, 4, 3), (1, 2, 5), (1, 5, 4))
    out = rasterize(screen, faces, 4, 5)
    assert (out.face[:, :2] <= 1).all() and (out.face[:, 2:] >= 2).all()
    # Centres on the upper border are inside, those on the lower are not.
    low = homogeneous([[0, 0.5, 1], [4, 0.5, 1], [4, 2.5, 1], [0, 2.5, 1]])
    rows = (rasterize(low, faces_of((0, 1, 2), (0, 2, 3)), 4, 4).face >= 0).all(1)
    assert rows.tolist() == [True, True, False, False]


def test_ties_in_depth_go_to_the_lower_face():
    screen = homogeneous([[0, 0, 1], [20, 0, 1], [0, 20, 1]])
    out = rasterize(screen, faces_of((0, 1, 2), (1, 2, 0), (0, 1, 2)), 4, 4)
    assert (out.face == 0).all()


def test_of_other_triangles_that_are_equally_deep_rounding_decides():
    # Two parts of one slanted plane that overlap: either may be seen.
    def corner(u: float, v: float) -> list[float]:
        z = 1 / (1 - 0.01 * u)
        return [u, v, z]

    screen = homogeneous([corner(u, v) for u, v in ((1, 1), (14, 2), (2, 15), (13, 13))])
    faces = faces_of((0, 1, 2), (0, 3, 2))
    out = rasterize(screen, faces, 16, 16)
    one, two = (rasterize(screen, faces[i : i + 1], 16, 16) for i in (0, 1))
    both = (one.face >= 0) & (two.face >= 0)
    assert both.sum() > 20 and (out.face[both] >= 0).all()
    torch.testing.assert_close(one.depth[both], two.depth[both], rtol=1e-5, atol=0)
    torch.testing.assert_close(out.depth[both], one.depth[both], rtol=1e-5, atol=0)


@pytest.mark.parametrize("drawn", [rasterize, rasterize_in_torch])
def test_triangles_with_two_corners_in_one_place_are_not_drawn(drawn):
    generator = torch.Generator().manual_seed(0)
    depth = 0.5 + torch.rand(400, 1, generator=generator)
    points = torch.cat([16 * torch.rand(400, 2, generator=generator), torch.ones(400, 1)], -1)
    index = torch.arange(400, dtype=torch.int32)
    other = index.flip(0)
    corners = [(index, index, index), (index, index, other), (index, other, index)]
    faces = torch.cat([torch.stack(three, -1) for three in corners])
    out = drawn(points * depth, faces, 16, 16)
    assert (out.face == -1).all()


def test_ties_between_faces_of_one_pixel_and_others_go_to_the_lower_face():
    # At the same depth: a face that holds one pixel centre, (5.5, 5.5), and one that holds many.
    screen = homogeneous(
        [[0, 0, 2], [20, 0, 2], [0, 20, 2], [5.1, 5.1, 2], [6.1, 5.1, 2], [5.1, 6.1, 2]]
    )
    large, tiny = (0, 1, 2), (3, 4, 5)
    first = rasterize(screen, faces_of(large, tiny), 16, 16)
    assert (first.face[:8, :8] == 0).all()
    second = rasterize(screen, faces_of(tiny, large), 16, 16)
    assert second.face[5, 5] == 0 and (second.face == 0).sum() == 1
    assert torch.equal(second.depth, first.depth)


def test_more_large_faces_than_there_was_room_for():
    count, size = 300, 96
    corners = torch.tensor([[-50.0, -50.0], [400.0, -50.0], [-50.0, 400.0]])
    depth = torch.linspace(3, 1, count)  # the last is the nearest
    points = torch.cat([corners.expand(count, 3, 2), torch.ones(count, 3, 1)], -1)
    screen = (points * depth[:, None, None]).reshape(-1, 3)
    faces = torch.arange(3 * count, dtype=torch.int32).reshape(count, 3)
    out = rasterize(screen, faces, size, size)
    assert (out.face == count - 1).all()
    assert torch.allclose(out.depth, torch.ones(size, size))


@pytest.mark.parametrize("cull", [False, True])
def test_faces_of_about_a_pixel_like_the_oracle(cull):
    vertices, faces = sphere(24, 40)
    screen = on_screen(vertices, 20)
    out = rasterize(screen, faces, 20, 20, cull_back=cull)
    assert_like_oracle(out, screen, faces)


def test_culling_keeps_faces_that_look_at_the_camera():
    vertices, faces = sphere(8, 12)
    screen = on_screen(vertices, 32)
    both = rasterize(screen, faces, 32, 32)
    front = rasterize(screen, faces, 32, 32, cull_back=True)
    assert torch.equal(both.face, front.face)
    inside = rasterize(screen, faces.flip(1), 32, 32, cull_back=True)
    hit = both.face >= 0
    assert (inside.depth[hit] > both.depth[hit]).all()


def test_degenerate_and_broken_triangles_are_not_drawn():
    good = [[2, 2, 1], [9, 2, 1], [2, 9, 1]]
    screen = homogeneous(
        [*good, [5, 5, 1], [math.nan, 0, 1], [0, math.inf, 1], [3, 3, -1], [0, 0, 0]]
    )
    bad = faces_of((0, 0, 1), (3, 3, 3), (0, 1, 4), (0, 5, 2), (6, 6, 7), (7, 7, 7))
    out = rasterize(screen, torch.cat([bad, faces_of((0, 1, 2))]), 12, 12)
    alone = rasterize(screen, faces_of((0, 1, 2)), 12, 12)
    assert torch.equal(out.face >= 0, alone.face >= 0) and (out.face[out.face >= 0] == 6).all()
    assert torch.equal(out.depth, alone.depth)
    assert out.bary.isfinite().all() and out.depth.isfinite().all()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_unit_of_depth_does_not_matter(scale):
    vertices, faces = sphere(6, 9)
    screen = on_screen(vertices, 32)
    out = rasterize(screen * scale, faces, 32, 32, near=1e-3 * scale)
    assert torch.equal(out.face, rasterize(screen, faces, 32, 32).face)


def test_nothing_to_draw():
    vertices, faces = sphere(4, 6)
    screen = on_screen(vertices, 16)
    away = screen + torch.tensor([1e6, 0.0, 0.0])
    for out in (
        rasterize(screen, faces[:0], 16, 16, derivatives=True),
        rasterize(away, faces, 16, 16, derivatives=True),
        rasterize(-screen, faces, 16, 16, derivatives=True),
        rasterize(screen[:0], faces[:0], 16, 16, derivatives=True),
    ):
        assert (out.face == -1).all() and (out.depth == 0).all() and (out.bary == 0).all()
        assert out.bary_pixel is not None and (out.bary_pixel == 0).all()
    empty = rasterize(screen[None][:0], faces, 16, 16)
    assert empty.face.shape == (0, 16, 16)


def test_a_batch_is_its_items():
    vertices, faces = sphere(6, 9)
    screens = torch.stack([on_screen(vertices * s, 24) for s in (0.5, 1.0, 1.4)])
    together = rasterize(screens, faces, 24, 20)
    for i in range(3):
        alone = rasterize(screens[i], faces, 24, 20)
        assert torch.equal(together.face[i], alone.face)
        assert torch.equal(together.depth[i], alone.depth)


def test_ragged_batches_of_different_meshes():
    (v0, f0), (v1, f1) = sphere(6, 9), sphere(4, 5)
    packed = torch.cat([on_screen(v0, 24), on_screen(v1 * 0.7, 24)])
    faces = torch.cat([f0, f1 + len(v0)])
    ranges = torch.tensor([[0, len(f0)], [len(f0), len(f1)], [0, 0]])
    out = rasterize(packed, faces, 24, 24, ranges=ranges)
    first, second = (
        rasterize(on_screen(v * s, 24), f, 24, 24) for v, f, s in ((v0, f0, 1), (v1, f1, 0.7))
    )
    assert torch.equal(out.face[0], first.face)
    assert torch.equal(out.face[1] - len(f0) * (out.face[1] >= 0), second.face)
    assert (out.face[2] == -1).all()


def test_a_million_faces():
    vertices, faces = sphere(500, 1004)
    assert len(faces) > 1_000_000
    screen = on_screen(vertices, 64)
    out = rasterize(screen, faces, 64, 64)
    v, u = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    x, y = (u - 32) / (1.69 * 64), (v - 32) / (1.69 * 64)
    inside = 16 - 15 * (1 + x * x + y * y)  # |t d|^2 - 8 t + 15 = 0 along d = (x, y, 1)
    clear = inside.abs() > 0.02
    assert torch.equal((out.face >= 0)[clear], (inside > 0)[clear])
    depth = (4 - inside.clamp(min=0).sqrt()) / (1 + x * x + y * y)
    middle = inside > 0.1
    assert torch.allclose(out.depth[middle], depth[middle], atol=1e-3)


def test_int64_faces_and_tensors_that_are_not_contiguous():
    vertices, faces = sphere(4, 6)
    screen = on_screen(vertices, 16)
    strided = torch.stack([screen, screen], -1)[..., 0]
    assert not strided.is_contiguous()
    wide = rasterize(strided, faces.long(), 16, 16)
    assert torch.equal(wide.face, rasterize(screen, faces, 16, 16).face)


def test_faces_changed_in_place_are_noticed():
    vertices, faces = sphere(4, 6)
    faces = faces.clone()
    screen = on_screen(vertices, 16)
    before = rasterize(screen, faces, 16, 16).face
    faces[:] = faces.flip(0)
    after = rasterize(screen, faces, 16, 16).face
    hit = before >= 0
    assert torch.equal(after[hit], len(faces) - 1 - before[hit])


def reference(screen, faces, face, derivatives=True):
    """Weights, depth and slopes of known faces as float64 autograd sees them."""
    height, width = face.shape
    hit = face >= 0
    corners = screen[faces.long()[face.long().clamp(min=0)]].transpose(-1, -2)
    corners = torch.where(hit[..., None, None], corners, torch.eye(3, dtype=torch.float64))
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    uv = torch.stack([u, v], -1).double().requires_grad_()
    ray = torch.cat([uv, torch.ones(height, width, 1, dtype=torch.float64)], -1)
    c = torch.linalg.solve(corners, ray)
    total = c.sum(-1)
    bary = (c / total[..., None])[..., :2] * hit[..., None]
    slopes = [torch.autograd.grad(bary[..., k].sum(), uv, create_graph=True)[0] for k in range(2)]
    return bary, hit / total, torch.cat(slopes, -1)


def test_gradients_of_weights_depth_and_slopes():
    torch.manual_seed(3)
    vertices, faces = sphere(6, 9)
    screens = torch.stack([on_screen(vertices * s, 24) for s in (0.8, 1.1)]).requires_grad_()
    out = rasterize(screens, faces, 24, 20, derivatives=True)
    assert out.bary_pixel is not None
    parts = (out.bary, out.depth, out.bary_pixel)
    weights = [torch.randn_like(part) for part in parts]
    exact = screens.detach().double().requires_grad_()
    images = [reference(exact[i], faces, out.face[i]) for i in range(2)]
    for k, (part, weight) in enumerate(zip(parts, weights, strict=True)):
        expected = torch.stack([image[k] for image in images])
        assert torch.allclose(part.double(), expected, atol=1e-4)
        (ours,) = torch.autograd.grad((part * weight).sum(), screens, retain_graph=True)
        (theirs,) = torch.autograd.grad((expected * weight).sum(), exact, retain_graph=True)
        assert theirs.norm() > 0
        assert (ours - theirs).norm() < 1e-5 * theirs.norm()


def test_gradients_of_ragged_batches_add_up():
    vertices, faces = sphere(5, 7)
    screen = on_screen(vertices, 16).requires_grad_()
    ranges = torch.tensor([[0, len(faces)], [0, len(faces)]])
    out = rasterize(screen, faces, 16, 16, ranges=ranges)
    (twice,) = torch.autograd.grad(out.depth.sum(), screen)
    (once,) = torch.autograd.grad(rasterize(screen, faces, 16, 16).depth.sum(), screen)
    assert once.norm() > 0
    assert torch.allclose(twice, 2 * once, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": faces_of((0, 1, 3))}, "indices from 0 to 3, but screen has 3 vertices"),
        ({"faces": faces_of((0, 1, -1))}, "indices from -1 to 1"),
        ({"height": 0}, "0x4 .* expected 1 to 32767"),
        ({"width": 40000}, "4x40000"),
        ({"near": 0.0}, "near is 0.0; it must be above 0"),
        ({"near": math.nan}, "near is nan"),
        (
            {"screen": torch.zeros(3, 3, dtype=torch.float64)},
            "torch.float64, expected torch.float32",
        ),
        ({"screen": torch.zeros(1, 1, 3, 3)}, r"\(1, 1, 3, 3\), expected \(batch, vertices, 3\)"),
        ({"screen": torch.zeros(3, 3, device="meta")}, "on meta, but only the CPU has kernels"),
        ({"faces": torch.zeros(1, 3, dtype=torch.int32, device="meta")}, "faces are on meta"),
        ({"ranges": torch.tensor([[0, 2]])}, "outside of the 1 faces"),
        ({"ranges": torch.tensor([[-1, 1]])}, "outside of the 1 faces"),
        (
            {"screen": torch.zeros(1, 3, 3), "ranges": torch.tensor([[0, 1], [0, 1]])},
            "2 images but screen holds 1",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    arguments = {"screen": torch.ones(3, 3), "faces": faces_of((0, 1, 2)), "height": 4, "width": 4}
    with pytest.raises(ValueError, match=message):
        rasterize(**(arguments | change))


@pytest.mark.parametrize(
    "faces",
    [
        torch.tensor([0, 1, 2]),
        torch.zeros(1000, 2, dtype=torch.long),
        torch.zeros(1, 1, 3, dtype=torch.long),
        torch.tensor([[0.9, 1.9, 2.9]]),
        torch.zeros(1, 3, dtype=torch.bool),
    ],
)
def test_faces_that_are_no_triples_of_integers_are_refused(faces):
    with pytest.raises(ValueError, match=r"expected integers of shape \(faces, 3\)"):
        read_faces(faces, 3, "screen")
