"""Light ready for shading: what every kind of light has to give, and how each gives it.

A new light is one more ``prepare``: it becomes :class:`Surroundings` or a :class:`Lamp`.
"""

from dataclasses import dataclass
from functools import singledispatch
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from invgraph.geometry import transforms
from invgraph.rendering import environment, ggx, harmonics
from invgraph.scene import DirectionalLight, EnvironmentMap, Light, PointLight
from invgraph.scene import SphericalHarmonicLight as HarmonicLight


@runtime_checkable
class Lamp(Protocol):
    """Light that arrives from one direction at each point."""

    def arriving(
        self, position: Float[Tensor, "b n 3"]
    ) -> tuple[Float[Tensor, "#b #n 3"], Float[Tensor, "#b #n 3"]]:
        """Unit vector to the lamp and irradiance on a surface that faces it, world frame."""
        ...


@dataclass(frozen=True)
class Sun:
    """A lamp so far away that its light is parallel.

    Attributes:
        towards: unit vector to the lamp, world frame.
        irradiance: on a surface that faces it.
    """

    towards: Float[Tensor, "#b 1 3"]
    irradiance: Float[Tensor, "#b 1 3"]

    def arriving(self, position: Tensor) -> tuple[Tensor, Tensor]:
        return self.towards, self.irradiance


@dataclass(frozen=True)
class Bulb:
    """A lamp at a place, world frame; its irradiance falls with the squared distance."""

    place: Float[Tensor, "#b 1 3"]
    intensity: Float[Tensor, "#b 1 3"]

    def arriving(self, position: Tensor) -> tuple[Tensor, Tensor]:
        offset = self.place - position
        # A surface point inside the lamp would be infinitely bright.
        distance2 = offset.square().sum(-1, keepdim=True).clamp_min(1e-12)
        return offset * distance2.rsqrt(), self.intensity / distance2


@dataclass(frozen=True)
class Surroundings:
    """Distant light from all around.

    Attributes:
        coefficients: its spherical harmonics, world frame.
        panoramas: the light as images, one or one per item, if it came so.
        blurred: the panoramas' blurred levels.
        panorama_from_world: rotation.
    """

    coefficients: Float[Tensor, "#b k 3"]
    panoramas: Float[Tensor, "#b h w 3"] | None = None
    blurred: Float[Tensor, "#b l bh bw 3"] | None = None
    panorama_from_world: Float[Tensor, "#b 3 3"] | None = None

    def irradiance(self, normal: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """What an unoccluded surface receives."""
        return harmonics.evaluate(harmonics.irradiance_coefficients(self.coefficients), normal)

    def reflected(
        self, axis: Float[Tensor, "b n 3"], roughness: Float[Tensor, "#b #n 1"]
    ) -> Float[Tensor, "b n 3"]:
        """Average radiance over the GGX lobe about an axis."""
        if self.panoramas is not None and self.blurred is not None:
            if self.panorama_from_world is not None:
                axis = axis @ self.panorama_from_world.mT
            if len(self.panoramas) == 1:
                return environment.reflected(self.panoramas[0], self.blurred[0], axis, roughness)
            roughness = roughness.expand(*axis.shape[:-1], 1)
            items = zip(self.panoramas, self.blurred, axis, roughness, strict=True)
            return torch.stack([environment.reflected(*item) for item in items])
        order = harmonics.order_of(self.coefficients)
        degrees = [degree for degree in range(order + 1) for _ in range(2 * degree + 1)]
        attenuation = ggx.lobe_attenuation(roughness)[..., degrees]
        values = harmonics.basis(axis, order)
        if roughness.shape[-2] == 1:
            return values @ (attenuation.mT * self.coefficients)
        return (values * attenuation) @ self.coefficients

    def radiance(
        self, directions: Float[Tensor, "#b d 3"], roughness: float = 0.0
    ) -> Float[Tensor, "#b d 3"]:
        """Radiance from world directions, a panorama smoothed as by a lobe of this roughness."""
        if self.panoramas is None:
            return harmonics.evaluate(self.coefficients, directions)
        batch = max(len(directions), len(self.panoramas))
        directions = directions.expand(batch, -1, -1)
        return self.reflected(directions, directions.new_full((1, 1, 1), roughness))


@singledispatch
def prepare(light: Light, camera_from_world: Float[Tensor, "#b 4 4"]) -> "Surroundings | Lamp":
    """A light as shading meets it.

    Args:
        light: one whose tensors have one batch axis or none.
        camera_from_world: for light that moves with the camera.

    Gradients:
        Reach every tensor of the light, and the camera's where the light moves with it.
    """
    raise TypeError(f"{type(light).__name__} is no light that can be rendered.")


@prepare.register
def _(light: HarmonicLight, camera_from_world: Tensor) -> Surroundings:
    coefficients = light.coefficients
    coefficients = coefficients[None] if coefficients.ndim == 2 else coefficients
    if light.frame == "camera":
        coefficients = harmonics.rotate(coefficients, camera_from_world[:, :3, :3])
    return Surroundings(coefficients)


@prepare.register
def _(light: EnvironmentMap, camera_from_world: Tensor) -> Surroundings:
    radiance = light.radiance if light.radiance.ndim == 4 else light.radiance[None]
    coefficients = torch.stack([environment.harmonic_coefficients(item) for item in radiance])
    blurred = torch.stack([environment.blur(item) for item in radiance])
    rotation = None
    if light.frame == "camera":
        rotation = camera_from_world[:, :3, :3]
        coefficients = harmonics.rotate(coefficients, rotation)
    return Surroundings(coefficients, radiance, blurred, rotation)


@prepare.register
def _(light: DirectionalLight, camera_from_world: Tensor) -> Sun:
    direction = light.direction.reshape(-1, 1, 3)
    if light.frame == "camera":
        direction = transforms.rotate(transforms.invert(camera_from_world), direction)
    return Sun(functional.normalize(-direction, dim=-1), light.irradiance.reshape(-1, 1, 3))


@prepare.register
def _(light: PointLight, camera_from_world: Tensor) -> Bulb:
    place = light.position.reshape(-1, 1, 3)
    if light.frame == "camera":
        place = transforms.apply(transforms.invert(camera_from_world), place)
    return Bulb(place, light.intensity.reshape(-1, 1, 3))


def sort_lights(
    lights: tuple[Light, ...], camera_from_world: Float[Tensor, "#b 4 4"]
) -> tuple[tuple[Surroundings, ...], tuple[Lamp, ...]]:
    """Prepared lights: those from all around, and those from one place each."""
    around: list[Surroundings] = []
    lamps: list[Lamp] = []
    for light in lights:
        ready = prepare(light, camera_from_world)
        around.append(ready) if isinstance(ready, Surroundings) else lamps.append(ready)
    return tuple(around), tuple(lamps)
