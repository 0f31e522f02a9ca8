import math

import pytest
import torch
from torch.nn.functional import normalize

from invgraph.geometry import transforms
from invgraph.rendering import environment, ggx, harmonics, shading
from invgraph.rendering.illumination import sort_lights
from invgraph.scene import DirectionalLight, EnvironmentMap, PointLight, SphericalHarmonicLight

EYE = torch.eye(4)[None]  # at the origin, looking along +z


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


def _surface(generator, batch=2, count=40, occluded=False, **material):
    """Random points in front of the eye, most of them turned to it."""
    position = torch.randn(batch, count, 3, generator=generator) + torch.tensor([0, 0, 5.0])
    normal = normalize(torch.randn(batch, count, 3, generator=generator), dim=-1)
    normal = normal - 1.2 * normalize(position, dim=-1)
    parts = [normal, -position]
    if occluded:
        parts += [torch.rand(batch, count, 3, generator=generator)]
        parts += [torch.rand(batch, count, 1, generator=generator)]
    values = {
        "albedo": torch.rand(batch, count, 3, generator=generator),
        "roughness": 0.1 + 0.9 * torch.rand(batch, count, 1, generator=generator),
        "metallic": torch.rand(batch, count, 1, generator=generator),
    } | material
    facing = torch.rand(batch, count, generator=generator) > 0.1
    return shading.Surface(torch.cat(parts, -1), facing, **values)


def _double(surface):
    floats = ("geometry", "albedo", "roughness", "metallic")
    values = {name: getattr(surface, name).double() for name in floats}
    return shading.Surface(facing=surface.facing, **values)


def _shade(surface, *lights, eye=EYE):
    eye = eye.to(surface.geometry.dtype)
    around, lamps = sort_lights(lights, eye)
    return shading.shade(surface, around, lamps, transforms.invert(eye)[:, :3, 3])


def _one(normal, eye_offset, albedo=1.0, roughness=0.5, metallic=0.0):
    return shading.Surface(
        torch.tensor([*normal, *eye_offset], dtype=torch.float32)[None, None],
        torch.ones(1, 1, dtype=torch.bool),
        torch.full((1, 1, 3), albedo),
        torch.full((1, 1, 1), roughness),
        torch.full((1, 1, 1), metallic),
    )


@pytest.mark.parametrize("roughness", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("nv", [0.25, 0.6, 1.0])
def test_environment_reflectance_is_the_integral_of_the_lobe(roughness, nv):
    directions, weights = environment.panorama_directions(256, 512)
    directions, weights = directions.reshape(-1, 3), weights.reshape(-1)
    view = torch.tensor([math.sqrt(1 - nv * nv), nv, 0])
    normal = torch.tensor([0.0, 1, 0])
    rough = torch.tensor([roughness])
    scale, bias = ggx.environment_reflectance(torch.tensor([nv]), rough)
    for f0 in (0.04, 1.0):
        lobe = ggx.specular(normal, view, directions, rough, torch.full((3,), f0))
        expected = (lobe[:, 0] * weights).sum().item()
        assert (f0 * scale + bias).item() == pytest.approx(expected, abs=0.02 + 0.01 * f0)


def test_directional_light_on_a_matt_surface_by_hand():
    # Light at 60 degrees, eye along the normal; black metal takes all but Lambert away.
    direction = torch.tensor([math.sin(math.pi / 3), 0, -math.cos(math.pi / 3)]) * -7.0
    light = DirectionalLight(direction, torch.tensor([2.0, 4.0, 0.0]))
    white = _shade(_one((0, 0, -3), (0, 0, -5)), light)
    black = _shade(_one((0, 0, -3), (0, 0, -5), albedo=0.0), light)
    scale, bias = ggx.environment_reflectance(torch.ones(1), torch.tensor([0.5]))
    expected = 0.5 / math.pi * (1 - 0.04 * scale - bias) * torch.tensor([2.0, 4.0, 0.0])
    torch.testing.assert_close((white - black)[0, 0], expected, atol=1e-6, rtol=1e-5)


def test_ggx_peak_by_hand():
    # Eye and light on the normal: D = 1 / (pi a^2), masking 1, Fresnel f0, so D / 4 per irradiance.
    lamp = DirectionalLight(torch.tensor([0.0, 0, 1]), torch.full((3,), 4 * math.pi))
    found = _shade(_one((0, 0, -1), (0, 0, -2), 0.8, 0.5, 1.0), lamp)
    torch.testing.assert_close(found[0, 0], torch.full((3,), 0.8 / 0.25**2))


def test_point_light_falls_with_the_square_and_equals_a_directional_one():
    surface = _one((0, 0, -1), (0, 0, -2), 0.5)
    near = _shade(surface, PointLight(torch.tensor([0.0, 0, 1]), torch.ones(3)))
    far = _shade(surface, PointLight(torch.tensor([0.0, 0, -1]), torch.ones(3)))
    sun = _shade(surface, DirectionalLight(torch.tensor([0.0, 0, 1]), torch.ones(3)))
    torch.testing.assert_close(near, 9 * far)
    torch.testing.assert_close(near, sun)


def test_lights_behind_a_surface_do_not_light_it():
    lamp = DirectionalLight(torch.tensor([0.0, 0, -1]), torch.ones(3))
    assert _shade(_one((0, 0, -1), (0, 0, -2)), lamp).abs().max() == 0


def test_white_furnace(generator):
    room = torch.zeros(1, 3)
    room[0] = math.sqrt(4 * math.pi)
    light = SphericalHarmonicLight(room)
    white = _surface(generator, albedo=torch.ones(1, 1, 3), metallic=torch.zeros(1, 1, 1))
    torch.testing.assert_close(_shade(white, light), torch.ones(2, 40, 3), atol=1e-5, rtol=0)
    metal = _surface(generator, albedo=torch.ones(1, 1, 3), metallic=torch.ones(1, 1, 1))
    found = _shade(metal, light)
    assert found.max() <= 1 + 1e-5
    assert found.min() > 0.3  # single scattering loses the rest
    panorama = EnvironmentMap(torch.ones(16, 32, 3))
    torch.testing.assert_close(_shade(white, panorama), torch.ones(2, 40, 3), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("roughness", "tolerance"), [(0.25, 0.06), (0.5, 0.06), (0.9, 0.06)])
def test_harmonic_light_agrees_with_many_lamps(roughness, tolerance, generator):
    coefficients = torch.randn(9, 3, generator=generator) * 0.2
    coefficients[0] = 3
    directions, weights = environment.panorama_directions(48, 96)
    radiance = harmonics.evaluate(coefficients, directions).reshape(-1, 1, 3)
    surface = _surface(generator, 1, 24, roughness=torch.full((1, 1, 1), roughness))
    lamps = DirectionalLight(-directions.reshape(-1, 3), (radiance[:, 0].T * weights.reshape(-1)).T)
    count = len(radiance)
    repeated = shading.Surface(
        surface.geometry.expand(count, -1, -1),
        surface.facing.expand(count, -1),
        surface.albedo,
        surface.roughness,
        surface.metallic,
    )
    expected = _shade(repeated, lamps).sum(0)
    found = _shade(surface, SphericalHarmonicLight(coefficients))[0]
    # Where the surface is seen at a grazing angle the lobe is cut by the horizon.
    normal = shading.unit_normal(surface.geometry, surface.facing)
    view = normalize(surface.geometry[..., 3:6], dim=-1)
    fair = ((normal * view).sum(-1) > 0.3)[0]
    assert fair.sum() > 10
    error = (found - expected)[fair].abs()
    assert error.max() < tolerance
    assert error.mean() < tolerance / 4


def test_panorama_agrees_with_harmonics(generator):
    coefficients = torch.randn(9, 3, generator=generator) * 0.2
    coefficients[0] = 3
    directions, _ = environment.panorama_directions(64, 128)
    panorama = EnvironmentMap(harmonics.evaluate(coefficients, directions))
    surface = _surface(generator)
    found, expected = (
        _shade(surface, light) for light in (panorama, SphericalHarmonicLight(coefficients))
    )
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", ["harmonics", "panorama", "sun", "lamp"])
def test_light_of_the_camera_is_light_of_the_world_seen_from_it(kind, generator):
    from invgraph.geometry import transforms

    surface = _surface(generator)
    pose = torch.randn(1, 6, generator=generator)
    eye = transforms.exp_se3(pose)
    inverse = transforms.invert(eye)
    vector = torch.randn(3, generator=generator)
    ones = torch.ones(3)
    if kind == "harmonics":
        own = torch.randn(16, 3, generator=generator)
        pair = own, harmonics.rotate(own, eye[0, :3, :3])
        lights = [
            SphericalHarmonicLight(pair[0], "camera"),
            SphericalHarmonicLight(pair[1], "world"),
        ]
        tolerance = 1e-4
    elif kind == "panorama":
        own = torch.randn(9, 3, generator=generator)
        directions, _ = environment.panorama_directions(64, 128)
        turned = directions @ eye[0, :3, :3].T
        lights = [
            EnvironmentMap(harmonics.evaluate(own, directions), "camera"),
            EnvironmentMap(harmonics.evaluate(own, turned), "world"),
        ]
        tolerance = 0.02
    elif kind == "sun":
        turned = transforms.rotate(inverse, vector[None, None])[0, 0]
        lights = [DirectionalLight(vector, ones, "camera"), DirectionalLight(turned, ones)]
        tolerance = 1e-4
    else:
        moved = transforms.apply(inverse, vector[None, None])[0, 0]
        lights = [PointLight(vector, ones, "camera"), PointLight(moved, ones)]
        tolerance = 1e-4
    found, expected = (_shade(surface, light, eye=eye) for light in lights)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_lights_add_up(generator):
    surface = _surface(generator)
    lights = (
        SphericalHarmonicLight(torch.randn(4, 3, generator=generator)),
        SphericalHarmonicLight(torch.randn(9, 3, generator=generator)),
        DirectionalLight(torch.tensor([0.0, 1, 1]), torch.ones(3)),
        PointLight(torch.tensor([0.0, 1, 1]), torch.ones(3)),
        EnvironmentMap(torch.rand(8, 16, 3, generator=generator)),
    )
    together = _shade(surface, *lights)
    torch.testing.assert_close(
        together, sum(_shade(surface, light) for light in lights), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(_shade(surface), torch.zeros_like(together))


@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("occluded", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_compiled_pass_equals_tensor_operations(order, occluded, constant, generator):
    material = {}
    if constant:
        material = {
            "albedo": torch.tensor([[[0.2, 0.5, 0.9]]]),
            "roughness": torch.tensor([[[0.6]]]),
            "metallic": torch.tensor([[[0.3]]]),
        }
    surface = _surface(generator, 2, 37, occluded, **material)
    coefficients = torch.randn(1 + order % 2, (order + 1) ** 2, 3, generator=generator)
    up = torch.randn(2, 37, 3, generator=generator)
    results = []
    for exact in (False, True):
        here = _double(surface) if exact else surface
        inputs = [here.geometry, here.albedo, here.roughness, here.metallic]
        light = coefficients.double() if exact else coefficients
        inputs = [tensor.clone().requires_grad_() for tensor in (*inputs, light)]
        here = shading.Surface(inputs[0], surface.facing, *inputs[1:4])
        color = _shade(here, SphericalHarmonicLight(inputs[4]))
        color.backward(up.to(color.dtype))
        results.append([color.detach(), *(tensor.grad for tensor in inputs)])
    for found, expected in zip(*results, strict=True):
        expected = expected.float()
        scale = expected.abs().max().clamp_min(1e-3).item()
        torch.testing.assert_close(found, expected, atol=2e-5 * scale, rtol=1e-3)


def test_gradients_of_every_light(generator):
    surface = _double(_surface(generator, 1, 4))
    tensors = (surface.geometry, surface.albedo, surface.roughness, surface.metallic)
    lights = (
        torch.randn(9, 3, generator=generator),
        torch.tensor([0.3, 0.5, 0.8]),
        torch.tensor([-1.0, 0.5, 0.3]),
        torch.rand(6, 12, 3, generator=generator),
    )
    inputs = [t.double().clone().requires_grad_() for t in (*tensors, *lights)]

    def color(geometry, albedo, roughness, metallic, harmonic, direction, position, panorama):
        here = shading.Surface(geometry, surface.facing, albedo, roughness, metallic)
        ones = torch.ones(3).double()
        return _shade(
            here,
            SphericalHarmonicLight(harmonic),
            DirectionalLight(direction, ones),
            PointLight(position, ones),
            EnvironmentMap(panorama),
        )

    assert torch.autograd.gradcheck(color, inputs, eps=1e-6, atol=1e-5, rtol=1e-3, fast_mode=True)
