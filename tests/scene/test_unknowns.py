"""Unknowns of a scene: one vector of coordinates and back, batch axes, densities, refusals."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import ball, camera, material
from torch import Tensor

from invgraph.geometry import transforms
from invgraph.geometry.tensor_tree import flatten, get, map_tensors
from invgraph.rendering.render import render
from invgraph.scene import DirectionalLight, Object, PointLight, Scene, SphericalHarmonicLight
from invgraph.scene.domains import Direction, Free, Interval, Positive, RigidPose, UnitInterval
from invgraph.scene.unknowns import Unknowns

POSE = "objects.0.world_from_object"
ALBEDO = "objects.0.material.albedo"
DOMAINS = {
    POSE: RigidPose(),
    "objects.0.material.albedo": UnitInterval(),
    "lights.0.coefficients": Free(),
    "lights.1.direction": Direction(),
    "lights.1.irradiance": Positive(),
}
SIZES = (6, 3, 12, 2, 3)
numbers = st.lists(st.floats(-1.5, 1.5, width=32), min_size=26, max_size=26)


def scene() -> Scene:
    """Float64 throughout, for finite differences."""
    thing = ball(rows=6)
    pose = transforms.exp_se3(torch.tensor([0.1, -0.2, 0.3, 0.4, -0.5, 0.6]).double())
    coefficients = torch.linspace(-1, 2, 12).reshape(4, 3)
    sun = DirectionalLight(torch.tensor([2.0, -1, -2]) / 3, torch.tensor([1.0, 0.5, 0.25]))
    found = Scene(
        (Object(thing.mesh, pose, material()),), (SphericalHarmonicLight(coefficients), sun)
    )
    return map_tensors(lambda x: x.double() if x.is_floating_point() else x, found)


def test_slices_tell_the_coordinates_of_each_path():
    unknowns = Unknowns.of(scene(), DOMAINS)
    assert [unknown.path for unknown in unknowns] == list(DOMAINS) == list(unknowns.slices)
    assert tuple(unknown.size for unknown in unknowns) == SIZES and unknowns.size == sum(SIZES)
    ends = torch.tensor(SIZES).cumsum(0).tolist()
    assert [part.stop for part in unknowns.slices.values()] == ends
    assert [part.start for part in unknowns.slices.values()] == [0, *ends[:-1]]


def test_coordinates_by_hand():
    unknowns = Unknowns.of(scene(), DOMAINS)
    x = unknowns.coordinates(scene())
    logits = torch.tensor([0.7, 0.4, 0.2]).double().logit()
    light = torch.linspace(-1, 2, 12).double()
    irradiance = torch.tensor([1.0, 0.5, 0.25]).double().log()
    # Curved domains count from the scene's own values.
    expected = torch.cat((torch.zeros(6), logits, light, torch.zeros(2), irradiance))
    assert torch.allclose(x, expected, atol=1e-7)


@given(numbers)
def test_coordinates_round_trip_and_known_tensors_stay(values):
    unknowns = Unknowns.of(scene(), DOMAINS)
    start, x = scene(), torch.tensor(values, dtype=torch.float64)
    placed = unknowns.placed(start, x)
    assert torch.allclose(unknowns.coordinates(placed), x, atol=1e-9)
    before, after = flatten(start), flatten(placed)
    for path, tensor in after.items():
        assert (tensor is before[path]) == (path not in DOMAINS)


@given(numbers)
def test_tangents_around_a_scene_lead_to_another_and_back(values):
    unknowns = Unknowns.of(scene(), DOMAINS)
    tangent = torch.tensor(values, dtype=torch.float64)
    here = unknowns.placed(scene(), tangent.flip(0) / 2)
    around = unknowns.around(here)
    assert torch.allclose(around.coordinates(here), torch.zeros(26, dtype=torch.float64), atol=1e-9)
    there = around.placed(here, tangent / 2)
    assert torch.allclose(around.coordinates(there), tangent / 2, atol=1e-9)


def test_batch_axes_of_coordinates_become_those_of_the_scene():
    unknowns = Unknowns.of(scene(), DOMAINS)
    x = torch.randn(2, 5, 26, generator=torch.Generator().manual_seed(0)).double()
    values = unknowns.values(x)
    assert values[POSE].shape == (2, 5, 4, 4) and values[ALBEDO].shape == (2, 5, 3)
    one = unknowns.values(x[1, 3])
    for path, value in values.items():
        assert torch.allclose(value[1, 3], one[path])
    volume = unknowns.log_volume(x)
    assert volume.shape == (2, 5)
    assert torch.allclose(volume[1, 3], unknowns.log_volume(x[1, 3]))


def test_a_batch_of_scenes_keeps_its_axes_and_what_has_none_is_repeated():
    start = scene()
    free = {POSE: RigidPose(), "lights.0.coefficients": Free()}
    unknowns = Unknowns.of(start, free)
    x = 0.5 * torch.randn(4, 18, generator=torch.Generator().manual_seed(0)).double()
    x[:, 6:] = x[0, 6:]
    poses = unknowns.values(x)[POSE]
    light = unknowns.values(x[0])["lights.0.coefficients"]
    several = Unknowns.of(start, {POSE: RigidPose()}).placed(start, x[:, :6])
    several = Unknowns.of(start, {"lights.0.coefficients": Free()}).placed(several, x[0, 6:])
    assert several.objects[0].world_from_object.shape == poses.shape == (4, 4, 4)
    assert torch.equal(several.lights[0].coefficients, light)  # pyright: ignore
    assert torch.allclose(unknowns.coordinates(several), x, atol=1e-9)
    around = unknowns.around(several)
    assert torch.allclose(around.coordinates(several), torch.zeros_like(x), atol=1e-9)
    assert around.placed(several, 0.1 * x).objects[0].world_from_object.shape == (4, 4, 4)


def test_the_volume_is_that_of_the_jacobian_of_all_values_together():
    unknowns = Unknowns.of(scene(), DOMAINS)
    x = torch.linspace(-1, 1, 26, dtype=torch.float64)
    # Around where x leads, coordinates of curved domains have slope one; the rest are themselves.
    curved = {path: domain for path, domain in DOMAINS.items() if domain.curved}
    there = Unknowns.of(unknowns.placed(scene(), x), curved)

    def moved(x: Tensor) -> Tensor:
        placed = unknowns.placed(scene(), x)
        values = [unknowns.values(x)[path].flatten() for path in DOMAINS if path not in curved]
        return torch.cat((there.coordinates(placed), *values))

    jacobian = torch.autograd.functional.jacobian(moved, x)
    assert isinstance(jacobian, Tensor)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert torch.allclose(unknowns.log_volume(x), expected, atol=1e-9)


def test_a_density_over_coordinates_becomes_one_over_values():
    """A standard Gaussian over the logit of one number and the logarithm of another."""
    start = {"share": torch.tensor([0.5]).double(), "length": torch.tensor([1.0]).double()}
    unknowns = Unknowns.of(start, {"share": UnitInterval(), "length": Positive()})
    share = torch.linspace(1e-4, 1 - 1e-4, 801, dtype=torch.float64)
    length = torch.linspace(1e-3, 40, 8001, dtype=torch.float64)
    grid = torch.meshgrid(share, length, indexing="ij")
    x = unknowns.coordinates(dict(zip(start, (axis[..., None] for axis in grid), strict=True)))
    log_p = -0.5 * x.square().sum(-1) - math.log(2 * math.pi)
    density = (log_p - unknowns.log_volume(x)).exp()
    inner = torch.trapezoid(density, length)
    assert float(torch.trapezoid(inner, share)) == pytest.approx(1, abs=1e-3)


def test_several_values_of_one_path_add_up():
    start = {"poses": torch.eye(4).double().expand(5, 2, 4, 4)}
    unknowns = Unknowns.of(start, {"poses": RigidPose()})
    assert unknowns.size == 60
    x = torch.randn(3, 60, generator=torch.Generator().manual_seed(0)).double()
    expected = transforms.log_volume_so3(x.reshape(3, 10, 6)[..., 3:]).sum(-1)
    assert torch.allclose(unknowns.log_volume(x), expected)
    assert unknowns.values(x)["poses"].shape == (3, 5, 2, 4, 4)


def test_a_camera_has_unknowns_too():
    start = camera()
    [focal] = [path for path in flatten(start) if path.endswith("focal")]
    unknowns = Unknowns.of(start, {focal: Positive(), "camera_from_world": RigidPose()})
    x = unknowns.coordinates(start)
    assert torch.allclose(x[:2], get(start, focal).log())
    assert torch.allclose(get(unknowns.placed(start, x), focal), get(start, focal))


def test_gradients_of_a_picture_reach_the_coordinates():
    start = map_tensors(lambda x: x.float() if x.is_floating_point() else x, scene())
    unknowns = Unknowns.of(start, DOMAINS)
    x = unknowns.coordinates(start).requires_grad_()
    color = render(unknowns.placed(start, x), camera(16), outputs=("color",)).color
    assert color is not None
    color.sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    for path, part in unknowns.slices.items():
        assert x.grad[part].abs().sum() > 0, path


@pytest.mark.parametrize(
    "domains, message",
    [
        ({}, "unknowns need at least one path; name what is free"),
        ({"objects.0.pose": RigidPose()}, "there is no tensor at 'objects.0.pose'"),
        (
            {"lights.0.coefficients": Positive()},
            "lights.0.coefficients should be positive but holds -1; change it or its domain",
        ),
        ({ALBEDO: Interval(0.3, 1.0)}, "albedo should be between 0.3 and 1.0 but holds 0.2;"),
        ({ALBEDO: RigidPose()}, r"albedo should be rigid motions .* but has shape \(3,\);"),
        (
            {"objects.0.geometry.faces": Free()},
            "faces should be of floating point but is torch.int32",
        ),
    ],
)
def test_what_cannot_be_free_is_refused(domains, message):
    with pytest.raises(ValueError, match=message):
        Unknowns.of(scene(), domains)


def test_scenes_and_coordinates_that_do_not_fit_are_refused():
    unknowns = Unknowns.of(scene(), {ALBEDO: UnitInterval()})
    with pytest.raises(ValueError, match=r"should be \(\*batch, 3\) but have shape \(4,\); make"):
        unknowns.placed(scene(), torch.zeros(4))
    with pytest.raises(ValueError, match=r"albedo should be between 0 and 1 but holds -0.1;"):
        unknowns.coordinates(Scene((ball(material((0.1, -0.1, 0.2))),)))
    lamp = {"position": torch.zeros(3)}
    place = Unknowns.of(lamp, {"position": Free()})
    with pytest.raises(ValueError, match=r"position should be \(\*batch, 3\) but has shape \(2,\)"):
        place.coordinates({"position": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"position should be finite but holds nan;"):
        place.around(PointLight(torch.tensor([0, 0, math.nan]), torch.ones(3)))
