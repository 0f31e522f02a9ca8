"""A lamp in a dream: light from one direction, whose shadows have borders."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from invgraph.fitting.scene.main_light import main_direction
from invgraph.geometry.lens import Lens
from invgraph.rendering import ggx, harmonics
from invgraph.rendering.visibility import directions
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.train.randomness import uniform

SHINES, MOST = 0.7, 0.85  # share of the images with a lamp, and of their even light that it has
COAT = 0.5  # share of the images in which surfaces are glossy, too


@dataclass(frozen=True, eq=False)
class Lamp:
    """Light from one direction, as that of the sun.

    Attributes:
        toward: unit vectors to it, camera frame.
        irradiance: linear RGB, of surfaces that face it.
        mirrored: the same, of what a coat mirrors.
        column: of the object's visibility table, that belongs to the direction.
    """

    toward: Float[Tensor, "b 3"]
    irradiance: Float[Tensor, "b 3"]
    mirrored: Float[Tensor, "b 3"]
    column: Int[Tensor, " b"]

    def reaching(self, item: Object) -> Object:
        """The object in a paint that tells how much of the lamp's light reaches each vertex."""
        assert item.visibility is not None
        share = item.visibility.T[self.column]
        paint = share[..., None].expand(-1, -1, 3)
        material = Material(paint, torch.ones(1), torch.zeros(1), "vertex")
        return replace(item, material=material, tint=None)

    def reflected(
        self,
        lens: Lens,
        normal: Float[Tensor, "b h w 3"],
        albedo: Float[Tensor, "b h w 3"],
        coat: Bool[Tensor, "b h w"],
        generator: torch.Generator,
    ) -> Float[Tensor, "b h w 3"]:
        """Radiance towards the camera of what nothing keeps the lamp's light from.

        Some of the images have a coat, which mirrors the lamp; harmonics of low order are too
        smooth for that.

        Args:
            lens: of the images.
            normal: of the surfaces, camera frame; 0 where there is none.
            albedo: linear RGB.
            coat: where the coat is, if there is one.
            generator: of all that is random.
        """
        count = len(normal)
        cosine = (normal @ self.toward[:, None, :, None]).clamp_min(0)
        light = albedo * cosine * (self.irradiance / torch.pi)[:, None, None]
        coated = torch.rand(count, generator=generator) < COAT
        roughness = uniform(generator, count, 0.15, 0.7)
        image, row, column = (coat & coated[:, None, None]).nonzero(as_tuple=True)
        view = -lens.directions(lens.pixel_centres)[image, row * lens.width + column]
        mirrored = ggx.specular(
            normal[image, row, column],
            normalize(view, dim=-1),
            self.toward[image],
            roughness[image],
            normal.new_full((3,), ggx.DIELECTRIC_F0),
        )
        light[image, row, column] += mirrored * self.mirrored[image]
        return light


def with_lamp(scene: Scene, generator: torch.Generator) -> tuple[Scene, Lamp, Tensor]:
    """A scene of which part of the light comes from one lamp.

    The prior's light is smooth. Lamps and the sun cast shadows with borders: in many images one
    takes a random share of the even light, and shines from where most light comes from.

    Args:
        scene: one object with a table of visibility, in light of spherical harmonics of order 2;
            the world is the camera's frame.
        generator: of all that is random.

    Returns:
        The scene in what the lamp leaves of the light; the lamp; harmonics ``b 9 3`` of all light
        together.
    """
    [item], [light] = scene.objects, scene.lights
    assert isinstance(light, SphericalHarmonicLight) and item.visibility is not None
    count = len(light.coefficients)
    turn = item.world_from_object[:, :3, :3]
    towards = directions(item.visibility.shape[1])
    wanted = main_direction(light.coefficients)
    column = (wanted[:, None] @ turn @ towards.T)[:, 0].argmax(-1)
    toward = (turn @ towards[column][..., None])[..., 0]
    shines = torch.rand(count, 1, generator=generator) < SHINES
    share = shines * uniform(generator, count, 0.0, MOST)
    basis = harmonics.basis(toward, 2)[..., None]
    irradiance = share * light.coefficients[:, 0] / basis[:, 0]
    rest = (1 - share[..., None]) * light.coefficients
    together = rest + basis * irradiance[:, None]
    strength = (together[:, 1:4] * basis[:, 1:4]).sum(1) / basis[:, 1:4].square().sum(1)
    mirrored = strength.clamp_min(0) * torch.rand(count, 1, generator=generator)
    lamp = Lamp(toward, irradiance, mirrored, column)
    return replace(scene, lights=(replace(light, coefficients=rest),)), lamp, together
