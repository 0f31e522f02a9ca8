"""Batch axes on everything in a scene: an item of a batch is what it is alone."""

from dataclasses import replace

import pytest
import torch
from scenes import ball, camera, material

from invgraph.geometry import primitives, transforms
from invgraph.rendering.render import OUTPUTS, render
from invgraph.scene import (
    BackgroundImage,
    DirectionalLight,
    EnvironmentMap,
    Material,
    Object,
    PointLight,
    Scene,
    SphericalHarmonicLight,
    unlit,
)
from invgraph.scene.batching import map_batched

COUNT = 3


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def sky() -> SphericalHarmonicLight:
    coefficients = 0.3 * random(COUNT, 9, 3)
    coefficients[:, 0] += 2
    return SphericalHarmonicLight(coefficients)


def whole_scene(kind: str) -> Scene:
    """Batch axes on every tensor that may have them, with materials of one kind."""
    mesh = primitives.uv_sphere(12, 24)
    shape = {
        "constant": (),
        "vertex": (len(mesh.vertices),),
        "face": (len(mesh.faces),),
        "texture": (8, 16),
    }[kind]
    made_of = Material(
        random(COUNT, *shape, 3),
        0.3 + 0.5 * random(COUNT, *shape, 1),
        random(COUNT, *shape, 1),
        kind,  # type: ignore[arg-type]
        kind,  # type: ignore[arg-type]
        kind,  # type: ignore[arg-type]
    )
    shift = torch.cat((0.3 * random(COUNT, 3) - 0.15, torch.zeros(COUNT, 3)), -1)
    mesh = replace(mesh, vertices=mesh.vertices * (0.7 + 0.3 * random(COUNT, 1, 1)))
    thing = Object(mesh, transforms.exp_se3(shift), made_of, tint=0.5 + random(COUNT, 3))
    lamps = (
        DirectionalLight(random(COUNT, 3) - 0.5, random(COUNT, 3), "camera"),
        PointLight(3 * random(COUNT, 3), 5 * random(COUNT, 3)),
        EnvironmentMap(random(COUNT, 6, 12, 3), "camera"),
    )
    return Scene((thing,), (sky(), *lamps), BackgroundImage(random(COUNT, 24, 24, 3)))


def item_of(scene: Scene, index: int) -> Scene:
    return map_batched(lambda tensor, own: tensor[index] if tensor.ndim > own else tensor, scene)


@pytest.mark.parametrize("kind", ["constant", "vertex", "face", "texture"])
def test_an_item_of_a_batch_is_what_it_is_alone(kind):
    scene, seen_by = whole_scene(kind), camera(24)
    together = render(scene, seen_by)
    for index in range(COUNT):
        alone = render(item_of(scene, index), seen_by)
        for name in OUTPUTS:
            found, expected = getattr(together, name)[index], getattr(alone, name)
            assert (found - expected).abs().max() < 2e-4, name


def test_a_batch_broadcasts_with_cameras():
    """Four cameras of three colours: 3 x 4 images."""
    thing = replace(ball(), tint=random(COUNT, 1, 3))
    scene = Scene((thing,), (SphericalHarmonicLight(sky().coefficients[0]),), random(COUNT, 1, 3))
    found = render(scene, camera(24, (4,)), outputs=("color",)).color
    assert found is not None and found.shape == (COUNT, 4, 24, 24, 3)
    one = replace(thing, tint=thing.tint[1, 0])  # type: ignore[index]
    alone = render(
        replace(scene, objects=(one,), background=scene.background[1, 0]),  # type: ignore[index]
        camera(24, (4,))[2],
        outputs=("color",),
    ).color
    torch.testing.assert_close(found[1, 2], alone, atol=1e-5, rtol=0)


def test_backgrounds_of_a_batch():
    for behind in (random(COUNT, 3), EnvironmentMap(random(COUNT, 4, 8, 3))):
        scene = Scene((), (), behind)
        found = render(scene, camera(8), outputs=("color",)).color
        assert found is not None
        for index in range(COUNT):
            alone = render(item_of(scene, index), camera(8), outputs=("color",)).color
            torch.testing.assert_close(found[index], alone)


def test_a_tint_is_a_factor_of_the_albedo():
    tint = torch.tensor([0.5, 0.25, 2.0])
    tinted = replace(ball(), tint=tint)
    dyed = ball(material((0.7 * 0.5, 0.4 * 0.25, 0.2 * 2.0)))
    lights = (SphericalHarmonicLight(sky().coefficients[0]),)
    found = render(Scene((tinted,), lights), camera(32))
    expected = render(Scene((dyed,), lights), camera(32))
    torch.testing.assert_close(found.color, expected.color, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.albedo, expected.albedo, atol=1e-6, rtol=1e-5)


def test_an_unlit_surface_shows_its_colours_in_any_light():
    color = torch.tensor([0.7, 0.4, 0.2])
    thing = replace(ball(), material=unlit(color))
    dark = render(Scene((thing,)), camera(32))
    lit = render(Scene((thing,), (SphericalHarmonicLight(sky().coefficients[0]),)), camera(32))
    assert dark.color is not None and dark.alpha is not None
    inside = dark.alpha == 1
    torch.testing.assert_close(dark.color[inside], color.expand(int(inside.sum()), 3))
    torch.testing.assert_close(dark.color, lit.color)
    torch.testing.assert_close(dark.color, dark.albedo)
    black = render(Scene((ball(),)), camera(32), outputs=("color",)).color
    assert black is not None and black.max() == 0


def test_each_face_has_its_colour():
    """The two triangles of a square in front of the camera, red and green."""
    square = primitives.cube()
    corners = torch.tensor([[-1.0, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2]])
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]])
    mesh = replace(square, vertices=corners, faces=faces, uv=None, uv_faces=None)
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0]], requires_grad=True)
    scene = Scene((Object(mesh, torch.eye(4), unlit(colors, "face")),))
    seen_by = replace(camera(16), camera_from_world=torch.eye(4))
    found = render(scene, seen_by)
    assert found.color is not None
    # Above the diagonal from top left to bottom right lies face 0.
    torch.testing.assert_close(found.color[4, 11], torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(found.color[11, 4], torch.tensor([0.0, 1, 0]))
    found.color.sum().backward()
    assert colors.grad is not None
    # Every pixel that a face fills adds one to each channel of its colour.
    assert colors.grad.sum() == pytest.approx(3 * float(found.alpha.detach().sum()), rel=1e-4)  # type: ignore


def test_items_may_lack_an_object_or_hold_another():
    """A ball, a cube, both, nothing."""
    lights = (SphericalHarmonicLight(sky().coefficients[0]),)
    first = ball()
    second = Object(primitives.cube(), torch.eye(4), material((0.1, 0.2, 0.9)))
    there = torch.tensor([True, False, True, False]), torch.tensor([False, True, True, False])
    objects = replace(first, present=there[0]), replace(second, present=there[1])
    together = render(Scene(objects, lights), camera(32))
    for index in range(4):
        kept = tuple(o for o, p in zip((first, second), there, strict=True) if p[index])
        alone = render(Scene(kept, lights), camera(32))
        for name in ("color", "alpha", "depth", "normal", "albedo"):
            torch.testing.assert_close(
                getattr(together, name)[index], getattr(alone, name), atol=1e-5, rtol=1e-5
            )
    assert set(together.object_id[1].unique().tolist()) == {-1, 1}  # type: ignore[index]


def test_what_is_not_there_gets_no_gradient():
    scale = torch.ones(2, 1, 1, requires_grad=True)
    thing = ball()
    mesh = replace(thing.mesh, vertices=thing.mesh.vertices * scale)
    present = torch.tensor([True, False])
    scene = Scene((replace(thing, geometry=mesh, present=present),), (sky_of_one(),))
    found = render(scene, camera(32), outputs=("color", "alpha"))
    (found.color.sum() + found.alpha.sum()).backward()  # type: ignore[union-attr]
    assert scale.grad is not None and scale.grad[0].abs() > 1 and scale.grad[1] == 0


def sky_of_one() -> SphericalHarmonicLight:
    return SphericalHarmonicLight(sky().coefficients[0])


@pytest.mark.parametrize("name", ["tint", "albedo", "roughness", "metallic", "background"])
@pytest.mark.parametrize("kind", ["constant", "vertex", "face", "texture"])
def test_gradients_of_batches_match_finite_differences(name, kind):
    """A directional derivative of a smooth loss of all images."""
    scene, seen_by = whole_scene(kind), camera(24)
    thing = scene.objects[0]
    start = {
        "tint": thing.tint,
        "albedo": thing.material.albedo,
        "roughness": thing.material.roughness,
        "metallic": 0.2 + 0.6 * thing.material.metallic,
        "background": scene.background.pixels,  # type: ignore[union-attr]
    }[name]
    assert isinstance(start, torch.Tensor)
    weights = random(COUNT, 24, 24, 3)

    def loss(value: torch.Tensor) -> torch.Tensor:
        if name == "background":
            changed = replace(scene, background=BackgroundImage(value))
        elif name == "tint":
            changed = replace(scene, objects=(replace(thing, tint=value),))
        else:
            made_of = replace(thing.material, **{name: value})
            changed = replace(scene, objects=(replace(thing, material=made_of),))
        color = render(changed, seen_by, outputs=("color",)).color
        assert color is not None
        return (weights * color).double().sum()

    value = start.clone().requires_grad_()
    loss(value).backward()
    assert value.grad is not None and value.grad.shape == start.shape
    direction = torch.randn(start.shape, generator=torch.Generator().manual_seed(1))
    step = 2e-3
    with torch.no_grad():
        slope = (loss(start + step * direction) - loss(start - step * direction)) / (2 * step)
    expected = (value.grad * direction).double().sum()
    assert expected.abs() > 1e-3
    assert float(expected) == pytest.approx(float(slope), rel=0.02, abs=2e-3)


def test_a_texture_that_does_not_say_so_is_refused_before_it_fills_the_memory():
    thing = ball(Material(random(512, 512, 3), torch.ones(1), torch.zeros(1)))
    with pytest.raises(ValueError, match=r"262144 images of 96x96 .* has to say so: Material\("):
        render(Scene((thing,)), camera(96))
