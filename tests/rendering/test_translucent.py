"""Gaussians in a scene: over and behind meshes, as an ellipsoid's own projection says."""

from dataclasses import replace

import pytest
import torch
from scenes import ball, camera, material

from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.gaussians import Gaussians
from invgraph.geometry.lens import Lens
from invgraph.rendering.render import render
from invgraph.scene import Object, Scene, unlit
from invgraph.scene.scene_files import load_scene, save_scene

SIZE = 32
RED = torch.tensor([0.9, 0.1, 0.0])


def eye() -> Camera:
    """At the origin, looking along +z, the middle between four pixels."""
    half = torch.full((2,), SIZE / 2)
    return Camera(Lens(torch.full((2,), 40.0), half, SIZE, SIZE), torch.eye(4))


def blob(place=(0.0, 0.0, 4.0), scales=(0.3, 0.3, 0.3), opacity: float = 0.8) -> Object:
    cloud = Gaussians(
        torch.tensor([place]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.tensor([scales]),
        torch.tensor([opacity]),
    )
    return Object(cloud, torch.eye(4), unlit(RED))


def at(thing: Object, z: float) -> Object:
    pose = torch.eye(4)
    pose[2, 3] = z
    return replace(thing, world_from_object=pose)


def test_the_image_of_one_is_a_gaussian_of_the_projected_size():
    seen = render(Scene((blob(),)), eye())
    assert seen.alpha is not None and seen.color is not None
    # 0.3 at a depth of 4 through 40 px: 3 px, and 0.3 squared pixels of a pixel's own.
    variance = (40 * 0.3 / 4) ** 2 + 0.3
    offset = torch.arange(SIZE) + 0.5 - SIZE / 2
    expected = 0.8 * torch.exp(-(offset[:, None] ** 2 + offset**2) / (2 * variance))
    expected = torch.where(offset[:, None] ** 2 + offset**2 < 3.33**2 * variance, expected, 0.0)
    torch.testing.assert_close(seen.alpha, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(seen.color, expected[..., None] * RED, atol=1e-5, rtol=1e-4)
    assert (seen.object_id == -1).all() and (seen.depth == 0).all()


def test_a_turned_one_is_turned_in_the_image():
    long = blob(scales=(0.6, 0.15, 0.15))
    quarter = torch.tensor([[0.5**0.5, 0, 0, 0.5**0.5]])  # about z
    turned = replace(long, geometry=replace(long.geometry, quat_wxyz=quarter))
    lying = render(Scene((long,)), eye(), outputs=("alpha",)).alpha
    standing = render(Scene((turned,)), eye(), outputs=("alpha",)).alpha
    assert lying is not None
    torch.testing.assert_close(standing, lying.T, atol=1e-5, rtol=1e-4)
    posed = transforms.exp_se3(torch.tensor([0.0, 0, 0, 0, 0, torch.pi / 2]))
    moved = render(
        Scene((replace(long, world_from_object=posed),)), eye(), outputs=("alpha",)
    ).alpha
    torch.testing.assert_close(moved, lying.T, atol=1e-5, rtol=1e-4)


def test_what_is_before_a_mesh_is_over_it_and_what_is_behind_it_is_hidden():
    solid = at(replace(ball(), material=unlit(torch.tensor([0.0, 0.0, 1.0]))), 6.0)
    alone = render(Scene((solid,)), eye())
    before = render(Scene((blob(), solid)), eye())
    behind = render(Scene((solid, blob((0.0, 0.0, 8.0)))), eye())
    assert alone.color is not None and before.color is not None and behind.color is not None
    inside = alone.alpha == 1
    torch.testing.assert_close(behind.color[inside], alone.color[inside])
    weight = render(Scene((blob(),)), eye(), outputs=("alpha",)).alpha
    assert weight is not None
    expected = weight[..., None] * RED + (1 - weight[..., None]) * alone.color
    torch.testing.assert_close(before.color, expected, atol=1e-5, rtol=1e-4)
    # Depth, normals and ids are the mesh's, whose number is its place among all objects.
    torch.testing.assert_close(before.depth, alone.depth)
    torch.testing.assert_close(before.normal, alone.normal)
    assert set(before.object_id.unique().tolist()) == {-1, 1}  # type: ignore[union-attr]


def test_a_batch_of_clouds_is_what_each_is_alone():
    tints = torch.tensor([[1.0, 1, 1], [0.5, 2, 1]])
    present = torch.tensor([True, False])
    shifted = torch.eye(4).repeat(2, 1, 1)
    shifted[1, 0, 3] = 0.4
    many = replace(blob(), tint=tints, world_from_object=shifted)
    found = render(Scene((many,)), eye()).color
    assert found is not None
    for index in range(2):
        one = replace(blob(), tint=tints[index], world_from_object=shifted[index])
        torch.testing.assert_close(found[index], render(Scene((one,)), eye()).color)
    gone = render(Scene((replace(many, present=present),)), eye()).color
    assert gone is not None and gone[1].max() == 0 and torch.equal(gone[0], found[0])


@pytest.mark.parametrize(
    "name", ["means", "quat_wxyz", "scales", "opacity", "color", "pose", "focal"]
)
def test_gradients_match_finite_differences(name, monkeypatch):
    # A pixel at the edge of a Gaussian's reach jumps by a level, which steps this small would feel.
    monkeypatch.setattr("invgraph.raster.splat._REACH", 7.0)
    generator = torch.Generator().manual_seed(3)
    count = 3
    values = {
        "means": torch.rand(count, 3, generator=generator) - torch.tensor([0.5, 0.5, -4]),
        "quat_wxyz": torch.randn(count, 4, generator=generator),
        "scales": 0.3 + 0.3 * torch.rand(count, 3, generator=generator),
        "opacity": 0.3 + 0.5 * torch.rand(count, generator=generator),
        "color": torch.rand(count, 3, generator=generator),
        "pose": torch.zeros(6),
        "focal": torch.full((2,), 40.0),
    }
    weights = torch.rand(SIZE, SIZE, 3, generator=generator)

    def loss(value: torch.Tensor) -> torch.Tensor:
        given = values | {name: value}
        cloud = Gaussians(*(given[key] for key in ("means", "quat_wxyz", "scales", "opacity")))
        thing = Object(cloud, transforms.exp_se3(given["pose"]), unlit(given["color"], "vertex"))
        color = render(
            Scene((thing,)), replace_focal(eye(), given["focal"]), outputs=("color",)
        ).color
        assert color is not None
        return (weights * color).double().sum()

    value = values[name].clone().requires_grad_()
    loss(value).backward()
    assert value.grad is not None
    direction = torch.randn(value.shape, generator=generator)
    step = 1e-3 * (40 if name == "focal" else 1)
    with torch.no_grad():
        ends = [loss(values[name] + sign * step * direction) for sign in (1, -1)]
    slope = float((ends[0] - ends[1]) / (2 * step))
    expected = float((value.grad * direction).double().sum())
    assert abs(expected) > 1e-2
    assert expected == pytest.approx(slope, rel=0.03, abs=0.02)


def replace_focal(seen_by: Camera, focal: torch.Tensor) -> Camera:
    return seen_by.with_lens(focal=focal)


def test_a_scene_with_gaussians_survives_its_files(tmp_path):
    scene = Scene((blob(), at(ball(), 6.0)))
    save_scene(scene, tmp_path)
    back = load_scene(tmp_path)
    assert isinstance(back.objects[0].geometry, Gaussians)
    for name in ("means", "quat_wxyz", "scales", "opacity"):
        assert torch.equal(
            getattr(back.objects[0].geometry, name), getattr(scene.objects[0].geometry, name)
        )


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="their material should be unlit"):
        render(Scene((replace(blob(), material=material()),)), camera(8))
    with pytest.raises(ValueError, match=r"albedo has 2 rows but the cloud has 1 Gaussians"):
        replace(blob(), material=unlit(torch.ones(2, 3), "vertex"))
    with pytest.raises(ValueError, match=r"expected an object that is a mesh but its geometry is"):
        blob().mesh  # noqa: B018


@pytest.mark.usefixtures("without_shape_checks")
def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"scales should be \(\*batch, 2, 3\)"):
        Gaussians(torch.ones(2, 3), torch.ones(2, 4), torch.ones(1, 3), torch.ones(2))
