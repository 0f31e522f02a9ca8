"""Light times material: the radiance that leaves a surface towards the eye."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from invgraph.rendering import ggx
from invgraph.rendering.illumination import Lamp, Surroundings


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


def shade(
    surface: Surface,
    around: tuple[Surroundings, ...],
    lamps: tuple[Lamp, ...],
    eye: Float[Tensor, "#b 3"],
) -> Float[Tensor, "b n 3"]:
    """Radiance towards the eye: Lambert and GGX under every light.

    The surface reflects ``E = f0 * scale + bias`` of even light specularly (see
    :func:`ggx.environment_reflectance`) and the diffuse part gets what that leaves, so a white
    surface in a white room never gets brighter than the room, and every kind of light agrees with
    every other in the limit.

    Args:
        surface: what is shaded.
        around: light from everywhere.
        lamps: light from one place each.
        eye: where from the surface is seen, world frame.

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
    position = eye[:, None] - geometry[..., 3:6]
    for lamp in lamps:
        direction, irradiance = lamp.arriving(position)
        cosine = (normal * direction).sum(-1, keepdim=True).clamp_min(0)
        received = received + irradiance * cosine
        specular = specular + irradiance * ggx.specular(normal, view, direction, roughness, f0)
    diffuse = surface.albedo * (1 - surface.metallic) * (1 - mirrored) * (1 / math.pi)
    return diffuse * received + specular


def _is_simple(surface: Surface, around: tuple[Surroundings, ...]) -> bool:
    """Whether one compiled pass over the pixels can do all of the shading."""
    tensors = (surface.geometry, surface.albedo, surface.roughness, surface.metallic)
    return all(light.panoramas is None for light in around) and all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors
    )


def _sum_coefficients(coefficient_sets: list[Tensor]) -> Tensor:
    count = max(coefficients.shape[-2] for coefficients in coefficient_sets)
    padded = [functional.pad(c, (0, 0, 0, count - c.shape[-2])) for c in coefficient_sets]
    return padded[0] if len(padded) == 1 else sum(padded[1:], padded[0])
