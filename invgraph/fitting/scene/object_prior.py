"""The prior of images that show one known object."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.fitting.pose.known_object import KnownObject
from invgraph.geometry import transforms
from invgraph.geometry.mesh import Mesh
from invgraph.rendering.visibility import visibility
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.scene.distributions import AnyRotation, Distribution, Gaussian, PoseInView, Upright
from invgraph.scene.domains import Free, Positive
from invgraph.scene.prior import Prior

POSE, TINT = "objects.0.world_from_object", "objects.0.tint"
LIGHT, ROUGHNESS = "lights.0.coefficients", "objects.0.material.roughness"
UPRIGHT = Upright((0.05, 1.1), 0.15)
ACROSS = 28.0  # cells along the diameter, within which vertices become one
DIRECTIONS, SHADOW_PX = 128, 128  # of light that an object may keep from itself; of shadow maps
# Standard deviations of light of order 1 and 2, relative to the constant part; of log roughness; of
# log tint.
UNEVEN, GLOSS, TINTED = (0.45, 0.25), 0.4, 0.15
# Mean light of order 1 towards the zenith, relative to the constant part: three panoramas over a
# grey table have .39 to .54 of it.
FROM_ABOVE = 0.45
GREY = 0.93  # correlation of the light's channels


@dataclass(frozen=True, eq=False)
class ObjectPrior:
    """A prior over scenes with one known object, and where the object's own frame is.

    Attributes:
        name: of the object.
        prior: the world is the camera's frame, the object's origin the middle of its ball.
        mesh: the object with all its vertices, about the same origin.
        albedo: of its vertices, linear RGB.
        centre: of that ball in the frame of the object's file.
        rotation: of ``camera_from_object``.
    """

    name: str
    prior: Prior
    mesh: Mesh
    albedo: Float[Tensor, "v 3"]
    centre: Float[Tensor, "3"]
    rotation: AnyRotation | Upright

    @cached_property
    def detailed(self) -> Prior:
        """The prior with all of the object, which keeps light from itself: slower."""
        [thing] = self.prior.template.objects
        material = replace(thing.material, albedo=self.albedo)
        thing = replace(thing, geometry=self.mesh, material=material)
        return with_shadows(
            replace(self.prior, template=replace(self.prior.template, objects=(thing,)))
        )

    def camera_from_object(self, world_from_object: Float[Tensor, "*b 4 4"]) -> Tensor:
        """Poses of the file's frame from those of the prior."""
        return world_from_object @ transforms.pose(torch.eye(3), -self.centre)


def object_prior(model: KnownObject, rotation: AnyRotation | Upright = UPRIGHT) -> ObjectPrior:
    """Pose, light, tint and gloss of a known object that is seen in a crop about it.

    Light is spherical harmonics of order 2 in the camera's frame, as bright as a camera exposes it;
    where the object stands upright, more of it comes from above than from below.

    Args:
        model: the object; grey where it has no colours.
        rotation: of ``camera_from_object``; upright and seen from above when left out.
    """
    albedo = torch.full_like(model.mesh.vertices, 0.5) if model.albedo is None else model.albedo
    coarse, owner = model.coarse(ACROSS)
    few, mesh = (replace(m, vertices=m.vertices - model.centre) for m in (coarse, model.mesh))
    prior = prior_of(few, albedo[owner], rotation)
    return ObjectPrior(model.name, prior, mesh, albedo, model.centre, rotation)


def prior_of(mesh: Mesh, albedo: Float[Tensor, "v 3"], rotation: AnyRotation | Upright) -> Prior:
    """The prior of :func:`object_prior` for a mesh about the origin."""
    radius = float(mesh.vertices.norm(dim=-1).max())
    material = Material(albedo, torch.tensor([0.5]), torch.zeros(1), albedo_kind="vertex")
    light = torch.zeros(9, 3)
    light[0] = math.sqrt(4 * math.pi)
    if isinstance(rotation, Upright):
        low, high = rotation.elevation
        middle = math.asin((math.sin(low) + math.sin(high)) / 2)
        # Rows are y, z, x; a camera that looks down from there has the zenith up and behind it.
        zenith = torch.tensor([-math.cos(middle), -math.sin(middle), 0.0])
        light[1:4] = FROM_ABOVE * zenith[:, None] * light[0]
    spread = torch.empty(9, 3)
    spread[0], spread[1:4], spread[4:] = 0.1, UNEVEN[0], UNEVEN[1]
    thing = Object(mesh, torch.eye(4), material, tint=torch.ones(3))
    free: dict[str, Distribution] = {
        POSE: PoseInView(rotation, radius),
        LIGHT: Gaussian(light, spread * light[0, 0], Free(), GREY),
        TINT: Gaussian(torch.ones(3), torch.full((3,), TINTED), Positive()),
        ROUGHNESS: Gaussian(torch.tensor([0.45]), torch.tensor([GLOSS]), Positive()),
    }
    scene = Scene((thing,), (SphericalHarmonicLight(light, frame="camera"),))
    return Prior(scene, free)


def with_shadows(prior: Prior) -> Prior:
    """A prior whose objects keep light from themselves, as things do.

    Descent does without: it takes two thirds longer with shadows, and ends as near.
    """
    objects = []
    for item in prior.template.objects:
        table = visibility(item.mesh, DIRECTIONS, SHADOW_PX)
        objects.append(replace(item, visibility=table))
    return replace(prior, template=replace(prior.template, objects=tuple(objects)))
