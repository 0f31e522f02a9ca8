import math

import pytest
import torch
from torch.nn.functional import normalize

from invgraph.geometry import mesh, primitives
from invgraph.rendering import harmonics, visibility


def _merge(*parts):
    vertices, faces, start = [], [], 0
    for part in parts:
        vertices.append(part.vertices)
        faces.append(part.faces + start)
        start += part.vertices.shape[0]
    return mesh.Mesh(torch.cat(vertices), torch.cat(faces))


def test_a_ball_sees_its_own_half_of_the_sky():
    ball = primitives.icosphere(4)
    table = visibility.visibility(ball, 64, 256)
    cosine = normalize(ball.vertices, dim=-1) @ visibility.directions(64).T
    assert table.shape == (ball.vertices.shape[0], 64)
    # The lift off the surface lets points see a little below their horizon.
    assert table[cosine > 0.1].min() > 0.99
    assert table[cosine < -0.3].max() < 0.01


def test_a_ball_above_shades_the_ball_below():
    """Directions within the upper ball's disc, and only those, are dark at the lower one's top."""
    upper = primitives.icosphere(3)
    upper = mesh.Mesh(upper.vertices * 0.5 + torch.tensor([0.0, 2.0, 0.0]), upper.faces)
    both = _merge(primitives.icosphere(3), upper)
    top = int(both.vertices[: len(both.vertices) // 2, 1].argmax())
    table = visibility.visibility(both, 256, 256)[top]
    towards = visibility.directions(256)
    offset = torch.tensor([0.0, 2.0, 0.0]) - both.vertices[top]
    angle = torch.rad2deg(torch.acos((towards @ normalize(offset, dim=0)).clamp(-1, 1)))
    radius = math.degrees(math.asin(0.5 / offset.norm().item()))
    assert table[angle < radius - 4].max() < 0.05
    assert table[(angle > radius + 4) & (angle < 75)].min() > 0.95


def test_moving_and_scaling_change_nothing():
    ring = primitives.torus()
    expected = visibility.visibility(ring, 16, 128)
    moved = mesh.Mesh(1000 * ring.vertices + torch.tensor([4e3, -2e3, 1e3]), ring.faces)
    found = visibility.visibility(moved, 16, 128)
    assert (found - expected).abs().mean() < 5e-3


def test_open_sky_gives_the_irradiance_of_the_light():
    generator = torch.Generator().manual_seed(0)
    light = 0.3 * torch.randn(9, 3, generator=generator)
    light[0] = 3
    normals = normalize(torch.randn(1, 50, 3, generator=generator), dim=-1)
    radiance = harmonics.evaluate(light, visibility.directions(128))[None]
    found = visibility.occluded_irradiance(torch.ones(50, 128), normals, radiance)
    expected = harmonics.evaluate(harmonics.irradiance_coefficients(light), normals[0])
    torch.testing.assert_close(found[0], expected, atol=0, rtol=0.03)
    axes = normals
    opened = visibility.openness(torch.full((50, 128), 0.7), axes)
    torch.testing.assert_close(opened, torch.full((1, 50, 1), 0.7), atol=5e-3, rtol=0)


@pytest.mark.parametrize("items", [1, 2])
def test_gradients_of_the_transfer(items, monkeypatch):
    monkeypatch.setattr(visibility, "_CHUNK", 3)
    generator = torch.Generator().manual_seed(1)
    table = torch.rand(7, 16, generator=generator).double()
    normals = normalize(torch.randn(items, 7, 3, generator=generator), dim=-1).double()
    radiance = torch.rand(items, 16, 4, generator=generator).double()
    inputs = (normals.requires_grad_(), radiance.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda n, r: visibility.occluded_irradiance(table, n, r), inputs
    )


def test_errors_and_nothing():
    with pytest.raises(ValueError, match="needs one mesh but vertices are"):
        visibility.visibility(mesh.Mesh(torch.zeros(2, 3, 3), torch.zeros(1, 3).int()))
    empty = mesh.Mesh(torch.zeros(2, 3), torch.zeros(0, 3).int())
    assert (visibility.visibility(empty, 4) == 1).all()
