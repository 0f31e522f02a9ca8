"""Values at vertices to values at pixels, and their gradients back."""

import pytest
import torch
from small_meshes import faces_of, homogeneous, on_screen, sphere

from invgraph.raster import Fragments, attribute_slopes, interpolate, rasterize


def expected_values(attributes, faces, fragments):
    bary = fragments.bary.to(attributes.dtype)
    weights = torch.cat([bary, 1 - bary.sum(-1, keepdim=True)], -1)
    corners = attributes[faces.long()[fragments.face.long().clamp(min=0)]]
    return (weights[..., None] * corners).sum(-2) * (fragments.face >= 0)[..., None]


def test_a_hand_computed_pixel():
    screen = homogeneous([[1, 1, 2], [5, 1, 2], [1, 5, 4]])
    faces = faces_of((0, 1, 2))
    fragments = rasterize(screen, faces, 6, 6)
    out = interpolate(torch.tensor([[1.0, 0.0], [0.0, 15.0], [0.0, 30.0]]), faces, fragments)
    # The weights at (1.5, 1.5) are 12/15, 2/15, 1/15.
    assert torch.allclose(out[1, 1], torch.tensor([0.8, 4.0]))
    assert (out[0, 0] == 0).all()


@pytest.mark.parametrize("channels", [1, 3, 4, 8, 11])
def test_values_and_gradients_of_any_number_of_channels(channels):
    torch.manual_seed(0)
    vertices, faces = sphere(6, 9)
    screens = torch.stack([on_screen(vertices * s, 40) for s in (0.8, 1.1)])
    fragments = rasterize(screens, faces, 40, 36)
    fragments.bary.requires_grad_()
    attributes = torch.randn(2, len(vertices), channels, requires_grad=True)
    out = interpolate(attributes, faces, fragments)
    weight = torch.randn_like(out)
    ours = torch.autograd.grad((out * weight).sum(), (attributes, fragments.bary))
    fixed = interpolate(attributes.detach(), faces, fragments)
    (alone,) = torch.autograd.grad((fixed * weight).sum(), fragments.bary)
    assert (alone - ours[1]).norm() < 1e-6 * alone.norm()
    exact = attributes.detach().double().requires_grad_()
    items = [
        expected_values(
            exact[i], faces, Fragments(fragments.face[i], fragments.bary[i], fragments.depth[i])
        )
        for i in range(2)
    ]
    assert torch.allclose(out.double(), torch.stack(items), atol=1e-5)
    loss = (torch.stack(items) * weight).sum()
    theirs = torch.autograd.grad(loss, (exact, fragments.bary))
    for a, b in zip(ours, theirs, strict=True):
        assert b.norm() > 0
        assert (a - b).norm() < 1e-5 * b.norm()


def test_attributes_shared_by_the_batch():
    torch.manual_seed(1)
    vertices, faces = sphere(5, 7)
    screens = torch.stack([on_screen(vertices * s, 24) for s in (0.8, 1.1)])
    fragments = rasterize(screens, faces, 24, 24)
    shared = torch.randn(1, len(vertices), 3, requires_grad=True)
    repeated = shared.detach().expand(2, -1, -1).clone().requires_grad_()
    out, same = (interpolate(a, faces, fragments) for a in (shared, repeated))
    assert torch.equal(out, same)
    assert torch.equal(out, interpolate(shared[0], faces, fragments))
    weight = torch.randn_like(out)
    (one,) = torch.autograd.grad((out * weight).sum(), shared)
    (two,) = torch.autograd.grad((same * weight).sum(), repeated)
    assert one.norm() > 0
    assert torch.allclose(one, two.sum(0, keepdim=True), atol=1e-5)


def test_faces_of_their_own():
    vertices, faces = sphere(5, 7)
    fragments = rasterize(on_screen(vertices, 24), faces, 24, 24)
    corners = torch.arange(3 * len(faces), dtype=torch.int32).reshape(-1, 3)
    values = torch.randn(len(vertices), 2)
    split = interpolate(values[faces.long()].reshape(-1, 2), corners, fragments)
    assert torch.equal(split, interpolate(values, faces, fragments))


def test_slopes_are_differences_between_pixels():
    screen = homogeneous([[-40, -50, 2], [90, -10, 3], [10, 90, 7]])
    faces = faces_of((0, 1, 2))
    fragments = rasterize(screen, faces, 32, 32, derivatives=True)
    uv = torch.tensor([[0.0, 0.2], [1.0, 0.1], [0.3, 0.9]])
    slopes = attribute_slopes(uv, faces, fragments).unflatten(-1, (2, 2))
    values = interpolate(uv, faces, fragments)
    assert torch.allclose(
        slopes[:, 1:-1, :, 0][4:-4, 8:-8],
        ((values[:, 2:] - values[:, :-2]) / 2)[4:-4, 8:-8],
        atol=1e-5,
    )
    assert torch.allclose(
        slopes[1:-1, :, :, 1][8:-8, 4:-4], ((values[2:] - values[:-2]) / 2)[8:-8, 4:-4], atol=1e-5
    )


def test_gradients_of_slopes_reach_values_and_screen():
    vertices, faces = sphere(4, 6)
    screen = on_screen(vertices, 16).requires_grad_()
    values = torch.randn(len(vertices), 2, requires_grad=True)
    fragments = rasterize(screen, faces, 16, 16, derivatives=True)
    slopes = attribute_slopes(values, faces, fragments)
    to_screen, to_values = torch.autograd.grad(slopes.square().sum(), (screen, values))
    # Slopes are linear in the values, so the gradient of their square is twice the square.
    assert (to_values * values).sum().item() == pytest.approx(
        2 * slopes.square().sum().item(), rel=1e-4
    )
    assert to_screen.isfinite().all() and to_screen.norm() > 0


def test_what_does_not_fit_is_refused():
    vertices, faces = sphere(4, 6)
    fragments = rasterize(on_screen(vertices, 8)[None], faces, 8, 8)
    values = torch.zeros(len(vertices), 2)
    with pytest.raises(ValueError, match="for 1 images, expected"):
        interpolate(values.expand(3, -1, -1), faces, fragments)
    with pytest.raises(ValueError, match="but attributes has 5 vertices"):
        interpolate(values[:5], faces, fragments)
    with pytest.raises(ValueError, match="fragments need 36 faces, but there are 3"):
        interpolate(values, faces[:3], fragments)
    with pytest.raises(ValueError, match=r"attributes is torch.float64, expected torch.float32"):
        interpolate(values.double(), faces, fragments)
    with pytest.raises(ValueError, match="rasterize with derivatives=True"):
        attribute_slopes(values, faces, fragments)
