# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false
# pyright: reportOptionalOperand=false, reportOperatorIssue=false, reportArgumentType=false

import math
from dataclasses import replace

import pytest
import torch
from scenes import ball, ball_and_ring, camera, material

from invgraph.geometry import mesh, primitives, transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.rendering import visibility
from invgraph.rendering.render import OUTPUTS, render
from invgraph.scene import BackgroundImage, Material, Object, Scene
from invgraph.scene.lights import (
    DirectionalLight,
    EnvironmentMap,
    PointLight,
    SphericalHarmonicLight,
)


def _sky(order=2, frame="world", seed=3):
    coefficients = 0.3 * torch.randn(
        (order + 1) ** 2, 3, generator=torch.Generator().manual_seed(seed)
    )
    coefficients[0] = 3.0
    return SphericalHarmonicLight(coefficients, frame)


SUN = DirectionalLight(torch.tensor([0.3, -0.8, 1.0]), torch.tensor([2.0, 1.5, 1.0]))


def _assert_same(found, expected, atol=1e-5, names=OUTPUTS):
    for name in names:
        a, b = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(a, b, atol=atol, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def _assert_alike(found, expected, share=0.01, atol=2e-3):
    """Equal but for a few pixels whose centres lie on edges."""
    for name in OUTPUTS:
        difference = (getattr(found, name) - getattr(expected, name)).abs().double()
        assert (difference > atol).double().mean() < share, name


def test_a_square_by_hand():
    """Depth, coverage, normal and ids of a square that covers pixels 2 to 5.4 of 8."""
    vertices = torch.tensor([[-1.0, -1, 0], [0.7, -1, 0], [0.7, 1, 0], [-1, 1, 0]])
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]], dtype=torch.int32)
    square = Object(mesh.Mesh(vertices, faces), torch.eye(4), material((1.0, 0.5, 0.0), 1.0))
    pose = transforms.pose(torch.eye(3), torch.tensor([0.0, 0.0, 4.0]))
    seen_by = Camera(Lens(torch.full((2,), 8.0), torch.full((2,), 4.0), 8, 8), pose)
    found = render(Scene((square,)), seen_by)
    alpha = torch.zeros(8, 8)
    alpha[2:6, 2:5] = 1
    alpha[2:6, 5] = 0.4
    torch.testing.assert_close(found.alpha, alpha, atol=1e-5, rtol=0)
    centre = alpha > 0.75
    torch.testing.assert_close(found.depth[centre], torch.full((12,), 4.0))
    torch.testing.assert_close(found.normal[centre], torch.tensor([0.0, 0, -1]).expand(12, 3))
    assert (found.object_id[centre] == 0).all()
    assert found.object_id[0, 0] == -1
    torch.testing.assert_close(found.albedo[3, 3], torch.tensor([1.0, 0.5, 0.0]))
    assert found.color.abs().max() == 0  # no light


def test_only_what_is_asked_for():
    found = render(ball_and_ring(_sky()), camera(16), outputs=("alpha",))
    assert found.alpha is not None
    assert all(getattr(found, name) is None for name in OUTPUTS if name != "alpha")
    everything = render(ball_and_ring(_sky()), camera(16))
    for name in OUTPUTS:
        alone = render(ball_and_ring(_sky()), camera(16), outputs=(name,))
        torch.testing.assert_close(getattr(alone, name), getattr(everything, name))


def test_moving_scene_and_camera_together_keeps_the_image():
    motion = transforms.exp_se3(torch.tensor([0.5, -0.2, 0.3, 0.4, -0.9, 0.2]))
    lamp = PointLight(torch.tensor([1.0, 2.0, -1.0]), torch.tensor([3.0, 3.0, 3.0]))
    scene = ball_and_ring(_sky(2, "camera"), SUN, lamp)
    moved_lights = (
        scene.lights[0],
        replace(SUN, direction=transforms.rotate(motion, SUN.direction[None])[0]),
        replace(lamp, position=transforms.apply(motion, lamp.position[None])[0]),
    )
    moved = Scene(
        tuple(replace(o, world_from_object=motion @ o.world_from_object) for o in scene.objects),
        moved_lights,
    )
    here = camera(40)
    there = replace(here, camera_from_world=here.camera_from_world @ transforms.invert(motion))
    found, expected = render(moved, there), render(scene, here)
    turned = transforms.rotate(motion, expected.normal.reshape(-1, 3)).reshape(40, 40, 3)
    _assert_alike(found, replace(expected, normal=turned))


@pytest.mark.parametrize("kind", ["harmonics", "sun", "panorama"])
def test_doubling_light_doubles_the_image(kind):
    sky = EnvironmentMap(torch.rand(8, 16, 3, generator=torch.Generator().manual_seed(0)))
    one, two = {
        "harmonics": (_sky(), SphericalHarmonicLight(2 * _sky().coefficients)),
        "sun": (SUN, replace(SUN, irradiance=2 * SUN.irradiance)),
        "panorama": (sky, EnvironmentMap(2 * sky.radiance)),
    }[kind]
    dim, bright = (
        render(ball_and_ring(light), camera(32), outputs=("color",)).color for light in (one, two)
    )
    assert dim.max() > 0.1
    torch.testing.assert_close(bright, 2 * dim, atol=1e-5, rtol=1e-4)


def test_cropping_the_camera_crops_the_image():
    scene, seen_by = ball_and_ring(_sky()), camera(48)
    found = render(scene, seen_by.crop(10, 6, 20, 30))
    whole = render(scene, seen_by)
    parts = {name: getattr(whole, name)[10:30, 6:36] for name in OUTPUTS}
    # Antialiasing looks at neighbours, which a crop's border lacks.
    inner = {name: value[1:-1, 1:-1] for name, value in parts.items()}
    found = replace(found, **{name: getattr(found, name)[1:-1, 1:-1] for name in OUTPUTS})
    _assert_alike(found, replace(whole, **inner))


def test_one_item_equals_a_batch_of_one_and_a_part_of_many():
    scene = ball_and_ring(_sky(2, "camera"), SUN)
    cameras = camera(32, (3,))
    many = render(scene, cameras)
    for index in (0, 2):
        one = render(scene, cameras[index])
        single = render(scene, cameras[index : index + 1])
        _assert_same(replace(single, **{n: getattr(single, n)[0] for n in OUTPUTS}), one)
        _assert_same(replace(many, **{n: getattr(many, n)[index] for n in OUTPUTS}), one)


def test_batch_axes_broadcast():
    scene = ball_and_ring(_sky())
    moves = transforms.exp_se3(
        0.1 * torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(1))
    )
    bright = SphericalHarmonicLight(torch.stack([_sky().coefficients, _sky(seed=5).coefficients]))
    poses = moves @ scene.objects[0].world_from_object
    batched = Scene(
        (replace(scene.objects[0], world_from_object=poses), scene.objects[1]), (bright,)
    )
    found = render(batched, camera(24))
    assert found.color.shape == (2, 2, 24, 24, 3)
    one = Scene(
        (replace(scene.objects[0], world_from_object=poses[1, 0]), scene.objects[1]),
        (_sky(seed=5),),
    )
    expected = render(one, camera(24))
    _assert_same(replace(found, **{n: getattr(found, n)[1, 1] for n in OUTPUTS}), expected)


def test_objects_hide_each_other_whatever_their_order():
    scene = ball_and_ring(_sky())
    swapped = Scene(scene.objects[::-1], scene.lights)
    found, expected = render(swapped, camera(48)), render(scene, camera(48))
    ids = torch.where(found.object_id >= 0, 1 - found.object_id, -1)
    assert set(ids.unique().tolist()) == {-1, 0, 1}
    _assert_alike(replace(found, object_id=ids.int()), expected)


def test_material_kinds_agree():
    constant = ball()
    count = constant.mesh.vertices.shape[0]
    values = constant.material
    faces = len(constant.mesh.faces)
    vertex = Material(
        values.albedo.expand(count, 3),
        values.roughness.expand(count, 1),
        values.metallic,
        albedo_kind="vertex",
        roughness_kind="vertex",
    )
    face = Material(
        values.albedo.expand(faces, 3),
        values.roughness.expand(faces, 1),
        values.metallic,
        albedo_kind="face",
        roughness_kind="face",
    )
    image = Material(
        values.albedo.expand(4, 8, 3),
        values.roughness.expand(4, 8, 1),
        values.metallic,
        albedo_kind="texture",
        roughness_kind="texture",
    )
    expected = render(Scene((constant,), (_sky(), SUN)), camera(32))
    for other in (vertex, face, image):
        found = render(Scene((replace(constant, material=other),), (_sky(), SUN)), camera(32))
        _assert_same(found, expected, 1e-4)


def test_backgrounds():
    seen_by = camera(24)
    image = torch.rand(24, 24, 3, generator=torch.Generator().manual_seed(0))
    scene = ball_and_ring(_sky())
    black = render(scene, seen_by)
    empty = (1 - black.alpha)[..., None]
    plain = torch.tensor([0.2, 0.5, 0.9])
    for behind, background in ((plain, plain), (image, BackgroundImage(image))):
        found = render(replace(scene, background=background), seen_by, outputs=("color",))
        difference = (found.color - (black.color + empty * behind)).abs()
        assert difference[(black.alpha == 0) | (black.alpha == 1)].max() < 1e-5
        assert difference.mean() < 0.01
    sky = EnvironmentMap(torch.ones(4, 8, 3) * torch.tensor([0.1, 0.2, 0.3]))
    found = render(Scene((), (), sky), seen_by)
    torch.testing.assert_close(found.color, torch.tensor([0.1, 0.2, 0.3]).expand(24, 24, 3))
    assert found.alpha.max() == 0
    assert (found.object_id == -1).all()


def test_back_faces_are_lit_from_the_side_they_are_seen():
    plate = primitives.plane()
    turned = mesh.Mesh(plate.vertices, plate.faces.flip(1), plate.uv, plate.uv_faces)
    images = [
        render(Scene((Object(m, torch.eye(4), material()),), (_sky(), SUN)), camera(24))
        for m in (plate, turned)
    ]
    assert images[0].color.max() > 0.05
    _assert_alike(*images)


@pytest.mark.parametrize(
    "name", ["vertices", "pose", "albedo", "light", "background", "focal", "camera"]
)
def test_gradients_match_finite_differences(name):
    """A directional derivative of a blurred image's loss, against renders on either side."""
    generator = torch.Generator().manual_seed(6)
    item = ball(
        Material(
            torch.rand(8, 16, 3, generator=generator),
            torch.tensor([0.5]),
            torch.zeros(1),
            albedo_kind="texture",
        ),
        12,
    )
    seen_by = camera(64)
    start = {
        "vertices": item.mesh.vertices,
        "pose": torch.zeros(6),
        "albedo": item.material.albedo,
        "light": _sky().coefficients,
        "background": torch.tensor([0.1, 0.2, 0.3]),
        "focal": seen_by.focal,
        "camera": torch.zeros(6),
    }
    weights = torch.nn.functional.interpolate(
        torch.randn(1, 4, 6, 6, generator=generator), (64, 64), mode="bicubic"
    )[0].movedim(0, -1)

    def loss(values):
        thing = replace(
            item,
            geometry=replace(item.mesh, vertices=values["vertices"]),
            world_from_object=transforms.exp_se3(values["pose"]),
            material=replace(item.material, albedo=values["albedo"]),
        )
        scene = Scene((thing,), (SphericalHarmonicLight(values["light"]),), values["background"])
        pose = transforms.exp_se3(values["camera"]) @ seen_by.camera_from_world
        found = render(
            scene,
            replace(seen_by.with_lens(focal=values["focal"]), camera_from_world=pose),
            outputs=("color", "alpha"),
        )
        return (torch.cat((found.color, found.alpha[..., None]), -1) * weights).double().sum()

    variable = start[name].clone().requires_grad_()
    loss(start | {name: variable}).backward()
    assert variable.grad is not None
    direction = variable.grad / variable.grad.norm()
    size = {"vertices": 0.05, "focal": 0.05}.get(name, 0.004)
    ends = [loss(start | {name: start[name] + sign * size * direction}) for sign in (1, -1)]
    slope = ((ends[0] - ends[1]) / (2 * size)).item()
    assert variable.grad.norm() > 1e-3
    assert slope == pytest.approx(variable.grad.norm().item(), rel=0.15)


def test_visibility_leaves_a_ball_alone():
    round_ = ball(rows=24)
    table = visibility.visibility(round_.mesh)
    light = SphericalHarmonicLight(torch.tensor([[3.0, 3.0, 3.0]]))
    outputs = ("color", "alpha")
    plain = render(Scene((round_,), (light,)), camera(32), outputs=outputs)
    aware = render(
        Scene((replace(round_, visibility=table),), (light,)), camera(32), outputs=outputs
    )
    inside = plain.alpha == 1
    ratio = (aware.color / plain.color)[inside]
    assert ratio.min() > 0.9
    assert ratio.max() < 1.03


def test_errors():
    scene = ball_and_ring(_sky())
    with pytest.raises(ValueError, match=r"unknown outputs \['colour'\]; choose among color"):
        render(scene, camera(8), outputs=("colour",))
    with pytest.raises(ValueError, match="unknown backend 'opengl'; choose among raster"):
        render(scene, camera(8), backend="opengl")
    with pytest.raises(ValueError, match=r"background is 4x5 \(h x w\) but camera is 8x8; resize"):
        render(replace(scene, background=BackgroundImage(torch.zeros(4, 5, 3))), camera(8))
    many = replace(scene.objects[0], world_from_object=torch.eye(4).expand(3, 4, 4))
    with pytest.raises(ValueError, match=r"the batch axes \(2,\), \(3,\) .* do not broadcast"):
        render(Scene((many,)), camera(8, (2,)))


def test_another_precision_is_said_where_it_is():
    scene = ball_and_ring(_sky())
    ring = scene.objects[1]
    fine = replace(ring, geometry=replace(ring.mesh, vertices=ring.mesh.vertices.double()))
    with pytest.raises(ValueError, match=r"scene.objects.1.geometry.vertices is torch.float64"):
        render(replace(scene, objects=(scene.objects[0], fine)), camera(8))
    with pytest.raises(ValueError, match=r"scene.lights.0.coefficients is torch.float64"):
        render(ball_and_ring(map_tensors(torch.Tensor.double, _sky())), camera(8))
    with pytest.raises(ValueError, match=r"camera.lens.focal is torch.float64, expected torch.f"):
        render(scene, camera(8).to(torch.float64))


def test_lists_of_objects_and_lights_will_do(without_shape_checks):
    scene = ball_and_ring(SphericalHarmonicLight(torch.rand(2, 4, 3)))
    listed = Scene(list(scene.objects), list(scene.lights))  # type: ignore[arg-type]
    expected = render(scene, camera(8)).color
    assert expected is not None
    found = render(listed, camera(8)).color
    assert found is not None and torch.equal(found, expected)


def test_white_ball_in_a_white_room_disappears():
    white = ball(material((1.0, 1.0, 1.0)))
    room = SphericalHarmonicLight(torch.tensor([[math.sqrt(4 * math.pi)] * 3]))
    found = render(Scene((white,), (room,), torch.ones(3)), camera(32), outputs=("color",))
    torch.testing.assert_close(found.color, torch.ones(32, 32, 3), atol=1e-4, rtol=0)
