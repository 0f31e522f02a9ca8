"""What a belief about the scene in a view says about the photo that the view is of."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.scene.find import fixed_light
from invgraph.fitting.scene.object_prior import POSE, ObjectPrior
from invgraph.geometry import transforms
from invgraph.rendering import harmonics
from invgraph.scene import Scene, SphericalHarmonicLight
from invgraph.scene.scene_belief import SceneBelief

LEAST = 0.01  # probability of a hypothesis that is told


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """One explanation of a photo.

    Attributes:
        probability: of the hypothesis.
        values: of the prior's unknowns in its middle, in the view's frame, ``*shape`` by path.
        camera_from_object: the pose of the file's frame before the photo's camera.
        covariance: of the translation of the file's origin (m), then of the rotation vector (rad),
            both along the camera's axes.
    """

    probability: float
    values: dict[str, Tensor]
    camera_from_object: Float[Tensor, "4 4"]
    covariance: Float[Tensor, "6 6"]


def hypotheses(
    known: ObjectPrior, belief: SceneBelief, camera_from_view: Float[Tensor, "4 4"]
) -> list[Hypothesis]:
    """The hypotheses of a belief about one view, the likeliest first; improbable ones are left out.

    Args:
        known: the prior.
        belief: with one scene as its batch.
        camera_from_view: rotation from the view's frame to the photo's camera.
    """
    best = belief.top(belief.log_weights.shape[-1])
    middles = best.middles()
    scales = best.scales[POSE].expand(*best.log_weights.shape, 6, 6)[0]
    found = []
    for index, probability in enumerate(best.log_weights[0].exp().tolist()):
        values = {path: value[index, 0] for path, value in middles.items()}
        chart = scales[index] @ scales[index].mT
        pose = known.camera_from_object(camera_from_view @ values[POSE])
        spread = pose_covariance(chart, values[POSE], known.centre, camera_from_view)
        found.append(Hypothesis(probability, values, pose, spread))
    return [each for each in found if each.probability >= LEAST or each is found[0]]


def pose_covariance(
    chart: Float[Tensor, "6 6"],
    view_from_ball: Float[Tensor, "4 4"],
    centre: Float[Tensor, "3"],
    camera_from_view: Float[Tensor, "4 4"],
) -> Float[Tensor, "6 6"]:
    """The covariance of a pose of the file's frame from that of the ball about the object.

    Coordinates ``(rho, phi)`` around ``(R, t)`` mean ``t + rho`` and ``exp(phi) R``
    (:class:`invgraph.scene.domains.RigidPose`). The file's origin is at ``t - R c``, so it moves by
    ``rho - phi x R c = rho + R c x phi``, to first order.

    Args:
        chart: covariance of ``(rho, phi)``, m and rad, along the view's axes.
        view_from_ball: the pose that it is around.
        centre: ``c``, of the ball in the file's frame.
        camera_from_view: rotation to the axes of the result.
    """
    turn = camera_from_view[:3, :3].double()
    arm = view_from_ball[:3, :3].double() @ centre.double()
    slope = torch.zeros(6, 6, dtype=torch.float64)
    slope[:3, :3] = slope[3:, 3:] = turn
    slope[:3, 3:] = turn @ transforms.cross_matrix(arm)
    return slope @ chart.double() @ slope.mT


def file_scene(known: ObjectPrior, hypothesis: Hypothesis, view_from_camera: Tensor) -> Scene:
    """The scene before the photo's camera, in whose frame it is; its mesh is in the file's frame.

    Args:
        known: the prior.
        hypothesis: about the view.
        view_from_camera: a rotation.
    """
    scene = fixed_light(known.detailed.scene(hypothesis.values))
    [thing], [light] = scene.objects, scene.lights
    assert isinstance(light, SphericalHarmonicLight)
    mesh = replace(thing.mesh, vertices=thing.mesh.vertices + known.centre)
    thing = replace(thing, geometry=mesh, world_from_object=hypothesis.camera_from_object)
    turned = harmonics.rotate(light.coefficients, view_from_camera[:3, :3])
    return replace(scene, objects=(thing,), lights=(replace(light, coefficients=turned),))


def around_object(scene: Scene) -> tuple[Scene, Float[Tensor, "4 4"]]:
    """A scene before a camera in the object's own frame, and the camera's pose there."""
    [thing], [light] = scene.objects, scene.lights
    assert isinstance(light, SphericalHarmonicLight)
    pose = thing.world_from_object
    turned = harmonics.rotate(light.coefficients, pose[:3, :3])
    moved = replace(thing, world_from_object=torch.eye(4))
    lights = (replace(light, coefficients=turned),)
    return replace(scene, objects=(moved,), lights=lights), pose


def viewpoints(poses: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 2"]:
    """From where cameras see an object that stands on its xz plane, y up.

    Args:
        poses: ``camera_from_object``.

    Returns:
        Azimuth from the z axis towards the x axis, and elevation; degrees.
    """
    rotation, shift = poses[..., :3, :3], poses[..., :3, 3]
    towards = -(rotation.mT @ shift[..., None])[..., 0]
    x, y, z = (towards / towards.norm(dim=-1, keepdim=True).clamp_min(1e-12)).unbind(-1)
    return torch.stack([torch.atan2(x, z), y.clamp(-1, 1).asin()], -1).rad2deg()
