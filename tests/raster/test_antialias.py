"""Colours blended across silhouettes: coverage, gradients that move them, and the dense mesh."""

import pytest
import torch
from small_meshes import faces_of, homogeneous, on_screen, sphere

from invgraph.geometry.topology import Topology
from invgraph.raster import antialias, interpolate, rasterize


def coverage(screen, faces, size):
    fragments = rasterize(screen, faces, size, size)
    alpha = (fragments.face >= 0).float()[..., None]
    return antialias(alpha, fragments, screen, faces)


def test_a_hand_computed_edge():
    # A square from 1 to 2.75 across and all the way down.
    screen = homogeneous([[1, -9, 2], [2.75, -9, 2], [2.75, 9, 2], [1, 9, 2]]).requires_grad_()
    faces = faces_of((0, 1, 2), (0, 2, 3))
    out = coverage(screen, faces, 4)
    assert torch.allclose(out[..., 0], torch.tensor([0.0, 1.0, 0.75, 0.0]).expand(4, 4), atol=1e-6)
    (grad,) = torch.autograd.grad(out.sum(), screen)
    # Each of 4 rows gains one px per px that the right edge moves; z = 2; half from either end,
    # as their distances 9 and 9 to v = 0 and the rows 0.5 to 3.5 have it.
    share = sum((9 - v) / 18 for v in (0.5, 1.5, 2.5, 3.5))
    assert grad[1, 0].item() == pytest.approx(share / 2, rel=1e-5)
    assert grad[2, 0].item() == pytest.approx((4 - share) / 2, rel=1e-5)


def test_coverage_is_much_nearer_to_the_truth():
    for rings, sectors in ((10, 16), (142, 284)):
        vertices, faces = sphere(rings, sectors)
        screen = on_screen(vertices, 128)
        fine = screen * torch.tensor([8.0, 8.0, 1.0])
        true = (rasterize(fine, faces, 1024, 1024).face >= 0).float()
        true = true.reshape(128, 8, 128, 8).mean((1, 3))
        hard = (rasterize(screen, faces, 128, 128).face >= 0).float()
        soft = coverage(screen, faces, 128)[..., 0]
        assert (soft - true).abs().sum() < 0.2 * (hard - true).abs().sum()


@pytest.mark.parametrize(("rings", "sectors"), [(8, 13), (142, 284)])
def test_the_area_follows_the_vertices(rings, sectors):
    vertices, faces = sphere(rings, sectors)
    screen = on_screen(vertices, 128).requires_grad_()
    (grad,) = torch.autograd.grad(coverage(screen, faces, 128).sum(), screen)

    def area(points):
        fine = rasterize(points.detach() * torch.tensor([8.0, 8.0, 1.0]), faces, 1024, 1024)
        return (fine.face >= 0).sum().item() / 64

    z = screen.detach()[:, 2:]
    centred = screen.detach()[:, :2] - 64 * z
    grown = torch.cat([centred, torch.zeros_like(z)], -1)
    step = 0.02
    expected = (area(screen + step * grown) - area(screen - step * grown)) / (2 * step)
    assert (grad * grown).sum().item() == pytest.approx(expected, rel=0.02)
    # Moving everything keeps the area, but to move half of the outline does not.
    aside = torch.cat([z * (centred[:, :1] > 0), torch.zeros_like(centred)], -1)
    expected = (area(screen + 2 * aside) - area(screen - 2 * aside)) / 4
    assert (grad * aside).sum().item() == pytest.approx(expected, rel=0.03)


def test_gradients_of_colour_and_screen_against_differences():
    torch.manual_seed(0)
    one, faces = sphere(5, 7)
    vertices = torch.cat([one, one * 0.6 + torch.tensor([0.9, 0.3, -1.6])])
    faces = torch.cat([faces, faces + len(one)])
    screen = on_screen(vertices, 32).requires_grad_()
    fragments = rasterize(screen.detach(), faces, 32, 32)
    color = torch.rand(32, 32, 3, requires_grad=True)
    weight = torch.randn(32, 32, 3)

    def loss(color, screen):
        return (antialias(color, fragments, screen, faces) * weight).double().sum()

    to_color, to_screen = torch.autograd.grad(loss(color, screen), (color, screen))
    with torch.no_grad():
        step = torch.randn_like(color)
        change = loss(color + step, screen) - loss(color - step, screen)
        assert (to_color * step).sum().item() == pytest.approx(change.item() / 2, rel=1e-4)
        for seed in range(3):
            torch.manual_seed(seed)
            step = torch.randn_like(screen) * 1e-4  # so small that no edge passes a centre
            change = (loss(color, screen + step) - loss(color, screen - step)).item() / 2
            assert (to_screen * step).sum().item() == pytest.approx(change, rel=0.01)


def test_a_surface_before_another_is_blended_with_it():
    # A wall before a floor that goes on to the right; both are single triangles.
    screen = homogeneous(
        [[-9, -9, 1], [4.25, -9, 1], [4.25, 30, 1], [-99, -99, 3], [99, -99, 3], [4, 99, 3]]
    )
    faces = faces_of((0, 1, 2), (3, 4, 5))
    fragments = rasterize(screen, faces, 4, 8)
    assert fragments.face[2].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    color = (fragments.face == 0).float()[..., None]
    out = antialias(color, fragments, screen, faces)[2, :, 0]
    assert torch.allclose(out, torch.tensor([1, 1, 1, 1, 0.25, 0, 0, 0]), atol=1e-5)


def test_inner_edges_are_not_blended():
    vertices, faces = sphere(10, 16)
    screen = on_screen(vertices, 64)
    fragments = rasterize(screen, faces, 64, 64)
    color = torch.rand(64, 64, 2)
    changed = (antialias(color, fragments, screen, faces) != color).any(-1)
    hit = fragments.face >= 0
    near = torch.nn.functional.max_pool2d((~hit).float()[None], 3, 1, 1)[0] > 0
    assert changed.sum() > 50
    assert not (changed & hit & ~near).any()


def test_batches_shared_and_packed_vertices():
    vertices, faces = sphere(8, 13)
    screens = torch.stack([on_screen(vertices * s, 24) for s in (0.7, 1.0)]).requires_grad_()
    out = coverage(screens, faces, 24)
    (grad,) = torch.autograd.grad(out.square().sum(), screens)
    packed = screens.detach().reshape(-1, 3).requires_grad_()
    both = torch.cat([faces, faces + len(vertices)])
    ranges = torch.tensor([[0, len(faces)], [len(faces), len(faces)]])
    fragments = rasterize(packed, both, 24, 24, ranges=ranges)
    alpha = (fragments.face >= 0).float()[..., None]
    same = antialias(alpha, fragments, packed, both)
    assert torch.equal(out, same)
    (flat,) = torch.autograd.grad(same.square().sum(), packed)
    assert torch.equal(flat, grad.reshape(-1, 3))
    for i in range(2):
        alone = screens[i].detach().requires_grad_()
        image = coverage(alone, faces, 24)
        assert torch.equal(image, out[i])


def test_in_place_gives_the_same():
    vertices, faces = sphere(8, 13)
    screen = on_screen(vertices, 24).requires_grad_()
    fragments = rasterize(screen, faces, 24, 24)
    color = torch.rand(24, 24, 3, requires_grad=True)
    apart = antialias(color, fragments, screen, faces)
    corners = torch.arange(3).repeat(len(faces), 1).int()
    assert antialias(
        interpolate(torch.rand(3, 3, requires_grad=True), corners, fragments),
        fragments,
        screen,
        faces,
        in_place=True,
    ).requires_grad
    copy = color * 1
    together = antialias(copy, fragments, screen, faces, in_place=True)
    assert together.data_ptr() == copy.data_ptr()
    assert torch.equal(together, apart)
    grads = [torch.autograd.grad(out.square().sum(), (color, screen)) for out in (apart, together)]
    for a, b in zip(*grads, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="only contiguous tensors can be blended in place"):
        antialias(copy.detach().transpose(0, 1), fragments, screen, faces, in_place=True)


def test_neighbours_of_faces():
    # Two triangles at an edge; three others at an edge, where none has just one face beyond.
    faces = faces_of((0, 1, 2), (2, 1, 3), (4, 5, 6), (5, 4, 7), (4, 5, 8))
    adjacent = Topology(faces).adjacent
    assert adjacent[0].tolist() == [1, -1, -1]
    assert adjacent[1].tolist() == [-1, -1, 0]
    assert (adjacent[2:] == -1).all()


def test_nothing_to_blend():
    vertices, faces = sphere(4, 6)
    screen = on_screen(vertices, 8).requires_grad_()
    color = torch.rand(8, 8, 3, requires_grad=True)
    fragments = rasterize(screen, faces[:0], 8, 8)
    out = antialias(color, fragments, screen, faces[:0])
    assert torch.equal(out, color)
    to_color, to_screen = torch.autograd.grad(out.sum(), (color, screen))
    assert (to_color == 1).all() and (to_screen == 0).all()


def test_what_does_not_fit_is_refused():
    vertices, faces = sphere(4, 6)
    screen = on_screen(vertices, 8)
    fragments = rasterize(screen, faces, 8, 8)
    with pytest.raises(ValueError, match=r"color is \(8, 7, 3\) but fragments are \(8, 8\)"):
        antialias(torch.zeros(8, 7, 3), fragments, screen, faces)
    with pytest.raises(ValueError, match=r"call .float.. on it"):
        antialias(torch.zeros(8, 8, 3).double(), fragments, screen, faces)
    with pytest.raises(ValueError, match="screen holds 2 images but fragments 1"):
        antialias(
            torch.zeros(1, 8, 8, 3),
            rasterize(screen[None], faces, 8, 8),
            screen.expand(2, -1, -1),
            faces,
        )
    with pytest.raises(ValueError, match="fragments need 36 faces, but there are 3"):
        antialias(torch.zeros(8, 8, 3), fragments, screen, faces[:3])
