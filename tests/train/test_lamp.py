"""A lamp in a dream: what it takes from the light, what it reaches, what it adds."""

import math
from dataclasses import replace

import torch
from tracking_scenes import painted_cube

from invgraph.fitting.scene.main_light import main_direction
from invgraph.fitting.scene.object_prior import LIGHT, object_prior, with_shadows
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.primitives import icosphere
from invgraph.rendering import harmonics
from invgraph.rendering.render import render
from invgraph.rendering.visibility import directions, visibility
from invgraph.scene import DirectionalLight, Material, Object, Scene, SphericalHarmonicLight
from invgraph.train.dreams import imagine
from invgraph.train.lamp import MOST, SHINES, Lamp, with_lamp

COUNT = 150


def ball_in_light(coefficients: torch.Tensor) -> Scene:
    """A ball half a metre away, which knows what keeps light from it."""
    count = len(coefficients)
    pose = torch.eye(4).repeat(count, 1, 1)
    pose[:, 2, 3] = 0.5
    mesh = replace(icosphere(3), vertices=0.1 * icosphere(3).vertices)
    material = Material(torch.full((3,), 0.5), torch.tensor([1.0]), torch.zeros(1))
    item = Object(mesh, pose, material, visibility=visibility(mesh, 128, 64))
    return Scene((item,), (SphericalHarmonicLight(coefficients, frame="camera"),))


def light(count: int) -> torch.Tensor:
    found = torch.zeros(count, 9, 3)
    found[:, 0] = math.sqrt(4 * math.pi)
    found[:, 1:4] = 0.4 * math.sqrt(4 * math.pi) * torch.randn(count, 3, 1)
    return found


def test_a_lamp_takes_a_share_of_the_even_light_and_shines_from_the_main_direction():
    torch.manual_seed(0)
    before = light(COUNT)
    scene, lamp, together = with_lamp(ball_in_light(before), torch.Generator().manual_seed(0))
    [rest] = scene.lights
    assert isinstance(rest, SphericalHarmonicLight) and rest.frame == "camera"
    torch.testing.assert_close(together[:, 0], before[:, 0])  # as much light as before
    basis = harmonics.basis(lamp.toward, 2)[..., None]
    torch.testing.assert_close(rest.coefficients + basis * lamp.irradiance[:, None], together)
    share = 1 - rest.coefficients[:, 0, 0] / before[:, 0, 0]
    torch.testing.assert_close(rest.coefficients, (1 - share)[:, None, None] * before)
    shining = share > 0
    assert abs(float(shining.float().mean()) - SHINES) < 0.1
    assert MOST - 0.1 < float(share.max()) <= MOST
    angle = (lamp.toward * main_direction(before)).sum(-1).clamp(-1, 1).acos().rad2deg()
    assert float(angle.max()) < 15  # the nearest of 128 directions
    # Both together shine from about there.
    turned = (main_direction(together) * main_direction(before)).sum(-1).clamp(-1, 1).acos()
    assert float(turned.rad2deg().max()) < 15


def test_what_a_lamp_reaches_is_what_the_table_of_visibility_says():
    scene = ball_in_light(light(3))
    [item] = scene.objects
    lamp = Lamp(torch.zeros(3, 3), torch.zeros(3, 3), torch.zeros(3, 3), torch.tensor([5, 0, 77]))
    painted = lamp.reaching(item)
    assert item.visibility is not None and painted.tint is None
    for row, column in enumerate((5, 0, 77)):
        torch.testing.assert_close(
            painted.material.albedo[row], item.visibility[:, column, None].expand(-1, 3)
        )
        away = item.mesh.vertices @ directions(128)[column] < -0.05
        assert float(painted.material.albedo[row][away].max()) == 0  # a ball is dark behind


def test_a_lamp_lights_as_a_directional_light_does():
    """A matte ball, half of it lit: against the renderer's own light from one direction."""
    scene = ball_in_light(light(2))
    [item] = scene.objects
    lens = Lens(torch.full((2, 2), 110.0), torch.full((2, 2), 32.0), 64, 64)
    camera = Camera(lens, torch.eye(4).expand(2, 4, 4))
    toward = torch.nn.functional.normalize(torch.tensor([[0.6, -0.6, -0.5], [-1, 0, -0.2]]), dim=-1)
    irradiance = torch.tensor([[2.0, 3.0, 4.0], [1.0, 1.0, 1.0]])
    lamp = Lamp(toward, irradiance, torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))
    seen = render(Scene((item,)), camera, outputs=("albedo", "normal"))
    assert seen.albedo is not None and seen.normal is not None
    nowhere = torch.zeros(2, 64, 64, dtype=torch.bool)
    ours = lamp.reflected(lens, seen.normal, seen.albedo, nowhere, torch.Generator())
    shining = DirectionalLight(-toward, irradiance)
    theirs = render(Scene((replace(item, visibility=None),), (shining,)), camera).color
    assert theirs is not None
    inside = seen.normal.norm(dim=-1) > 0.9
    inside = -torch.nn.functional.max_pool2d(-inside.float(), 3, 1, 1) > 0  # borders are smoothed
    # Theirs has a matte surface's own reflection as well, of some hundredths.
    gap = (ours - theirs)[inside].abs()
    assert float(theirs[inside].amax()) > 0.4 and float(gap.max()) < 0.1 * float(theirs.amax())
    torch.testing.assert_close(ours.mean(), theirs.mean(), rtol=0.08, atol=0)


def test_coats_shine_where_they_mirror_the_lamp():
    """Of a lamp behind the camera that is where it faces the camera; half the images have coats."""
    count = 60
    toward = torch.tensor([[0.0, 0.0, -1.0]]).expand(count, 3)
    lamp = Lamp(
        toward,
        torch.zeros(count, 3),
        torch.full((count, 3), 2.0),
        torch.zeros(count, dtype=torch.long),
    )
    normal = torch.zeros(count, 64, 64, 3)
    normal[:, :, :32] = torch.tensor([0.0, 0.0, -1.0])
    normal[:, :, 32:] = torch.tensor([0.0, 0.8, -0.6])
    coat = torch.ones(count, 64, 64, dtype=torch.bool)
    coat[:, :8] = False
    narrow = Lens(torch.full((2,), 6400.0), torch.full((2,), 32.0), 64, 64).expand(count)
    generator = torch.Generator().manual_seed(0)
    bright = lamp.reflected(narrow, normal, torch.zeros_like(normal), coat, generator).mean(-1)
    assert float(bright[:, :8].abs().max()) == 0
    coated = bright[:, 8:, :32].amax((1, 2)) > 0
    assert 0.3 < float(coated.float().mean()) < 0.7
    facing, aside = bright[coated, 8:, :32].mean(), bright[coated, 8:, 32:].mean()
    assert float(facing) > 10 * float(aside) > 0


def test_dreams_tell_the_light_that_they_show():
    """With the lamp in it, light is more uneven than the prior's."""
    prior = with_shadows(object_prior(painted_cube()).prior)
    sights = imagine(prior, 80, 16, torch.Generator().manual_seed(0))
    drawn = prior.given(sights.lens).sample(80, torch.Generator().manual_seed(0))[LIGHT]
    uneven = [
        x[:, 1:4].norm(dim=(1, 2)) / x[:, 0].norm(dim=1) for x in (sights.values[LIGHT], drawn)
    ]
    assert float(uneven[0].median()) > 1.2 * float(uneven[1].median())
