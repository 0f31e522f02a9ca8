"""From beliefs in a view's frame to poses, covariances and light before the photo's camera."""

import math
from dataclasses import replace

import pytest
import torch
from tracking_scenes import painted_cube

from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.fitting.scene.find import fixed_light
from invgraph.fitting.scene.object_prior import LIGHT, POSE, ObjectPrior, object_prior
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.infer.hypotheses import (
    around_object,
    file_scene,
    hypotheses,
    pose_covariance,
    viewpoints,
)
from invgraph.rendering.render import render
from invgraph.scene.domains import RigidPose
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.unknowns import Unknowns

LENS = Lens(torch.full((2,), 110.0), torch.full((2,), 32.0), 64, 64)
TURN = transforms.pose(transforms.exp_so3(torch.tensor([0.2, -0.3, 0.1])), torch.zeros(3))


@pytest.fixture(scope="module")
def known() -> ObjectPrior:
    made = object_prior(painted_cube())
    return replace(made, centre=torch.tensor([0.03, -0.02, 0.05]))


@pytest.fixture(scope="module")
def belief(known: ObjectPrior) -> SceneBelief:
    values = known.prior.given(LENS).sample(4, torch.Generator().manual_seed(3))
    wide = SceneEncoder(known.prior, 4).ignorance(LENS, 1)
    around = values[POSE][None]
    unknowns = [replace(u, around=around) if u.path == POSE else u for u in wide.unknowns]
    weights = torch.tensor([[0.2, 0.0001, 0.7, 0.0999]]).log()
    means = {**wide.means, POSE: torch.zeros(1, 4, 6)}
    return SceneBelief(Unknowns(tuple(unknowns)), weights, means, wide.scales)


def test_the_covariance_is_along_the_cameras_axes(known: ObjectPrior):
    """Against derivatives by differences, of the whole way from coordinates to the file's pose."""
    around = transforms.pose(
        transforms.exp_so3(torch.tensor([0.4, 1.1, -0.7])), torch.tensor([0.1, -0.2, 0.9])
    ).double()
    centre, turn = known.centre.double(), TURN.double()
    to_centre = transforms.pose(torch.eye(3).double(), -centre)
    middle = turn @ around @ to_centre
    slopes = []
    for step in 1e-6 * torch.eye(6, dtype=torch.float64):
        moved = turn @ RigidPose().retract(step, around) @ to_centre
        slopes.append(RigidPose().local(moved, middle) / 1e-6)
    slope = torch.stack(slopes, -1)
    root = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chart = root @ root.mT
    found = pose_covariance(chart, around, centre, turn)
    assert torch.allclose(found, slope @ chart @ slope.mT, rtol=1e-4, atol=1e-5)
    # The arm from the file's origin to the ball's middle turns rotations into shifts.
    still = pose_covariance(chart, around, torch.zeros(3), turn)
    assert not torch.allclose(found[:3, :3], still[:3, :3], rtol=1e-2)
    assert torch.allclose(found[3:, 3:], still[3:, 3:])


def test_hypotheses_come_by_their_probability(known: ObjectPrior, belief: SceneBelief):
    told = hypotheses(known, belief, TURN)
    assert [round(each.probability, 3) for each in told] == [0.7, 0.2, 0.1]
    around = belief.middles()[POSE][2, 0]
    ours = told[0].camera_from_object
    assert torch.allclose(ours, known.camera_from_object(TURN @ around), atol=1e-6)
    # The file's centre of the ball is where the belief's origin is.
    at = transforms.apply(ours, known.centre[None])[0]
    assert torch.allclose(at, TURN[:3, :3] @ around[:3, 3], atol=1e-6)


def test_a_scene_looks_the_same_in_every_frame(known: ObjectPrior, belief: SceneBelief):
    best = hypotheses(known, belief, TURN)[0]
    light = best.values[LIGHT].clone()
    light[1:] += 0.4 * torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    best.values[LIGHT] = light
    in_view = fixed_light(known.detailed.scene(best.values))
    before = file_scene(known, best, TURN.mT)
    [thing] = before.objects
    cube = painted_cube()
    assert cube.albedo is not None
    moved = thing.mesh.vertices - known.centre + cube.centre
    torch.testing.assert_close(moved, cube.mesh.vertices)
    torch.testing.assert_close(thing.material.albedo, cube.albedo)
    own, camera_from_object = around_object(before)
    outputs = ("color", "depth")
    seen = [
        render(scene, Camera(LENS, pose), outputs=outputs)
        for scene, pose in (
            (in_view, torch.eye(4)),
            (before, TURN.mT),
            (own, TURN.mT @ camera_from_object),
        )
    ]
    for other in seen[1:]:
        assert seen[0].color is not None and other.color is not None
        assert float((seen[0].color - other.color).abs().mean()) < 1e-4
        assert float((seen[0].color - other.color).abs().quantile(0.99)) < 1e-3
    assert float(seen[0].color.max()) > 0.1  # type: ignore[union-attr]


def test_viewpoints_by_hand():
    front = torch.diag(torch.tensor([1.0, -1, -1, 1]))  # the camera looks along -z, y up
    front[2, 3] = 2.0
    spun = front @ transforms.pose(
        transforms.exp_so3(torch.tensor([0, -math.pi / 2, 0])), torch.zeros(3)
    )
    low = transforms.exp_so3(torch.tensor([math.radians(30), 0, 0]))
    above = front @ transforms.pose(low, torch.zeros(3))
    found = viewpoints(torch.stack([front, spun, above]))
    expected = torch.tensor([[0.0, 0.0], [90.0, 0.0], [0.0, 30.0]])
    assert torch.allclose(found, expected, atol=1e-3)
