"""Light times material: the radiance that leaves a surface towards the eye."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from invgraph import environment, ggx, harmonics, transforms
from invgraph.scene import DirectionalLight, EnvironmentMap, Light, PointLight
from invgraph.scene import SphericalHarmonicLight as HarmonicLight

Lamp = DirectionalLight | PointLight


@dataclass(frozen=True)
class Surface:
    """What is at each of n points to be shaded, world frame.

    Attributes:
        position: points.
        normal: unit vectors, on the side of the eye.
        view: unit vectors to the eye.
        albedo: linear base colour.
        roughness: perceptual; one value or one per point.
        metallic: one value or one per point.
        irradiance: what arrives from the surroundings where occlusion is known; replaces what
            ``normal`` alone would gather.
        openness: fraction of the mirrored surroundings that is not occluded.
    """

    position: Float[Tensor, "b n 3"]
    normal: Float[Tensor, "b n 3"]
    view: Float[Tensor, "b n 3"]
    albedo: Float[Tensor, "#b #n 3"]
    roughness: Float[Tensor, "#b #n 1"]
    metallic: Float[Tensor, "#b #n 1"]
    irradiance: Float[Tensor, "b n 3"] | None = None
    openness: Float[Tensor, "b n 1"] | None = None


@dataclass(frozen=True)
class Surroundings:
    """Distant light from all around, ready for shading.

    Attributes:
        coefficients: its spherical harmonics, world frame.
        panorama: the light as an image, if it came as one.
        blurred: the panorama's blurred levels.
        panorama_from_world: rotation.
    """

    coefficients: Float[Tensor, "#b k 3"]
    panorama: Float[Tensor, "h w 3"] | None = None
    blurred: Float[Tensor, "l bh bw 3"] | None = None
    panorama_from_world: Float[Tensor, "#b 3 3"] | None = None

    def irradiance(self, normal: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """What an unoccluded surface receives."""
        return harmonics.evaluate(harmonics.irradiance_coefficients(self.coefficients), normal)

    def reflected(
        self, axis: Float[Tensor, "b n 3"], roughness: Float[Tensor, "#b #n 1"]
    ) -> Float[Tensor, "b n 3"]:
        """Average radiance over the GGX lobe about an axis."""
        if self.panorama is not None and self.blurred is not None:
            if self.panorama_from_world is not None:
                axis = axis @ self.panorama_from_world.mT
            return environment.reflected(self.panorama, self.blurred, axis, roughness)
        order = harmonics.order_of(self.coefficients)
        degrees = [degree for degree in range(order + 1) for _ in range(2 * degree + 1)]
        attenuation = ggx.lobe_attenuation(roughness)[..., degrees]
        values = harmonics.basis(axis, order)
        if roughness.shape[-2] == 1:
            return values @ (attenuation.mT * self.coefficients)
        return (values * attenuation) @ self.coefficients

    def radiance(
        self, directions: Float[Tensor, "#b d 3"], roughness: float
    ) -> Float[Tensor, "#b d 3"]:
        """Radiance from world directions, smoothed like by a lobe of this roughness if a panorama."""
        if self.panorama is None:
            return harmonics.evaluate(self.coefficients, directions)
        return self.reflected(directions, directions.new_full((1, 1, 1), roughness))


def surroundings(
    light: HarmonicLight | EnvironmentMap, camera_from_world: Float[Tensor, "#b 4 4"]
) -> Surroundings:
    """Prepare light from all around.

    Args:
        light: one whose tensors have one batch axis or none.
        camera_from_world: for light that moves with the camera.
    """
    rotation = camera_from_world[:, :3, :3] if light.frame == "camera" else None
    if isinstance(light, HarmonicLight):
        coefficients = light.coefficients
        panorama = blurred = None
    else:
        panorama = light.radiance
        coefficients = environment.harmonic_coefficients(panorama)
        blurred = environment.blur(panorama)
    if coefficients.ndim == 2:
        coefficients = coefficients[None]
    if rotation is not None:
        coefficients = harmonics.rotate(coefficients, rotation)
    return Surroundings(coefficients, panorama, blurred, rotation)


def shade(
    surface: Surface,
    around: tuple[Surroundings, ...],
    lamps: tuple[Lamp, ...],
    camera_from_world: Float[Tensor, "#b 4 4"],
) -> Float[Tensor, "b n 3"]:
    """Radiance towards the eye: Lambert and GGX under every light.

    The surface reflects ``E = f0 * scale + bias`` of even light specularly (see
    :func:`ggx.environment_reflectance`) and the diffuse part gets what that leaves, so a white
    surface in a white room never gets brighter than the room, and every kind of light agrees with
    every other in the limit.

    Args:
        surface: what is shaded.
        around: light from everywhere.
        lamps: light from one place each; their tensors have one batch axis or none.
        camera_from_world: for lamps that move with the camera.

    Gradients:
        Reach every tensor. Lamps cast no shadows; ``surface.openness`` and ``surface.irradiance``
        carry occlusion of the surroundings.
    """
    normal, view, roughness = surface.normal, surface.view, surface.roughness
    nv = (normal * view).sum(-1, keepdim=True).clamp(1e-4, 1)
    scale, bias = ggx.environment_reflectance(nv, roughness)
    f0 = ggx.base_reflectance(surface.albedo, surface.metallic)
    mirrored = f0 * scale + bias
    received = surface.irradiance
    specular = None
    if around:
        axis = ggx.lobe_axis(normal, view, roughness)
        gathered = sum(light.reflected(axis, roughness) for light in around)
        if surface.openness is not None:
            gathered = gathered * surface.openness
        specular = gathered * mirrored
        if received is None:
            received = sum(light.irradiance(normal) for light in around)
    for lamp in lamps:
        direction, irradiance = _arriving(lamp, surface.position, camera_from_world)
        cosine = (normal * direction).sum(-1, keepdim=True).clamp_min(0)
        lit = irradiance * cosine
        shine = irradiance * ggx.specular(normal, view, direction, roughness, f0)
        received = lit if received is None else received + lit
        specular = shine if specular is None else specular + shine
    if received is None or specular is None:
        return torch.zeros_like(normal)
    diffuse = surface.albedo * (1 - surface.metallic) * (1 - mirrored) * (1 / math.pi)
    return diffuse * received + specular


def _arriving(lamp: Lamp, position: Tensor, camera_from_world: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vector to the lamp and irradiance on a surface that faces it, at every point."""
    world_from_camera = transforms.invert(camera_from_world)
    if isinstance(lamp, DirectionalLight):
        direction = lamp.direction.reshape(-1, 1, 3)
        if lamp.frame == "camera":
            direction = transforms.rotate(world_from_camera, direction)
        return functional.normalize(-direction, dim=-1), lamp.irradiance.reshape(-1, 1, 3)
    place = lamp.position.reshape(-1, 1, 3)
    if lamp.frame == "camera":
        place = transforms.apply(world_from_camera, place)
    offset = place - position
    # A surface point inside the lamp would be infinitely bright.
    distance2 = offset.square().sum(-1, keepdim=True).clamp_min(1e-12)
    return offset * distance2.rsqrt(), lamp.intensity.reshape(-1, 1, 3) / distance2


def split(
    lights: tuple[Light, ...], camera_from_world: Float[Tensor, "#b 4 4"]
) -> tuple[tuple[Surroundings, ...], tuple[Lamp, ...]]:
    """Sort lights into prepared surroundings and lamps."""
    around, lamps = [], []
    for light in lights:
        if isinstance(light, HarmonicLight | EnvironmentMap):
            around.append(surroundings(light, camera_from_world))
        else:
            lamps.append(light)
    return tuple(around), tuple(lamps)
