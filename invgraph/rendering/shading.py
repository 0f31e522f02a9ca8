"""Light times material: the radiance that leaves a surface towards the eye."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from invgraph.geometry import transforms
from invgraph.rendering import environment, ggx, harmonics
from invgraph.scene import DirectionalLight, EnvironmentMap, Light, PointLight
from invgraph.scene import SphericalHarmonicLight as HarmonicLight

Lamp = DirectionalLight | PointLight


@dataclass(frozen=True)
class Surface:
    """What is at each of n points to be shaded, world frame.

    Attributes:
        geometry: the normal (any length) and the offset from the point to the eye; where occlusion
            is known, also the irradiance that arrives from the surroundings and the fraction of
            the mirrored surroundings that is open.
        facing: whether the normal is on the side of the eye; where it is not, the surface is seen
            from its back and its normal is turned.
        albedo: linear base colour.
        roughness: perceptual; one value or one per point.
        metallic: one value or one per point.
    """

    geometry: Float[Tensor, "b n 6"] | Float[Tensor, "b n 10"]
    facing: Bool[Tensor, "b n"]
    albedo: Float[Tensor, "#b #n 3"]
    roughness: Float[Tensor, "#b #n 1"]
    metallic: Float[Tensor, "#b #n 1"]


def unit_normal(
    geometry: Float[Tensor, "b n g"], facing: Bool[Tensor, "b n"]
) -> Float[Tensor, "b n 3"]:
    """The unit normal on the side of the eye; arguments as in :class:`Surface`."""
    normal = functional.normalize(geometry[..., :3], dim=-1)
    return torch.where(facing[..., None], normal, -normal)


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
        """Radiance from world directions, a panorama smoothed as by a lobe of this roughness."""
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
        camera_from_world: of the eye; lamps may move with it.

    Gradients:
        Reach every tensor. Lamps cast no shadows; occlusion of the surroundings is in
        ``surface.geometry``.
    """
    geometry, roughness = surface.geometry, surface.roughness
    if not lamps and around and _is_simple(surface, around):
        from invgraph.rendering import harmonic_shading

        material = (surface.albedo, roughness, surface.metallic)
        coefficients = _sum_coefficients([light.coefficients for light in around])
        return harmonic_shading.shade(geometry, surface.facing, material, coefficients)
    normal = unit_normal(geometry, surface.facing)
    view = functional.normalize(geometry[..., 3:6], dim=-1)
    nv = (normal * view).sum(-1, keepdim=True).clamp(1e-4, 1)
    scale, bias = ggx.environment_reflectance(nv, roughness)
    f0 = ggx.base_reflectance(surface.albedo, surface.metallic)
    mirrored = f0 * scale + bias
    received = specular = torch.zeros_like(normal)
    if around:
        axis = ggx.lobe_axis(normal, view, roughness)
        specular = sum(light.reflected(axis, roughness) for light in around) * mirrored
        if geometry.shape[-1] == 6:
            received = sum(light.irradiance(normal) for light in around)
        else:
            received = geometry[..., 6:9]
            specular = specular * geometry[..., 9:]
    eye = transforms.invert(camera_from_world)[:, None, :3, 3]
    for lamp in lamps:
        direction, irradiance = _arriving(lamp, eye - geometry[..., 3:6], camera_from_world)
        cosine = (normal * direction).sum(-1, keepdim=True).clamp_min(0)
        received = received + irradiance * cosine
        specular = specular + irradiance * ggx.specular(normal, view, direction, roughness, f0)
    diffuse = surface.albedo * (1 - surface.metallic) * (1 - mirrored) * (1 / math.pi)
    return diffuse * received + specular


def _is_simple(surface: Surface, around: tuple[Surroundings, ...]) -> bool:
    """Whether one compiled pass over the pixels can do all of the shading."""
    tensors = (surface.geometry, surface.albedo, surface.roughness, surface.metallic)
    return all(light.panorama is None for light in around) and all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors
    )


def _sum_coefficients(coefficient_sets: list[Tensor]) -> Tensor:
    count = max(coefficients.shape[-2] for coefficients in coefficient_sets)
    padded = [functional.pad(c, (0, 0, 0, count - c.shape[-2])) for c in coefficient_sets]
    return padded[0] if len(padded) == 1 else sum(padded[1:], padded[0])


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
