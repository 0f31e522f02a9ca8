"""The microfacet reflection of rough surfaces, for single lights or for whole surroundings."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# Normal reflectance of a dielectric with refractive index 1.5, as in glTF.
DIELECTRIC_F0 = 0.04
# Below this perceptual roughness a lamp's highlight is narrower than float32 can hold.
MIN_ROUGHNESS = 0.04


def base_reflectance(
    albedo: Float[Tensor, "*#batch 3"], metallic: Float[Tensor, "*#batch 1"]
) -> Float[Tensor, "*#batch 3"]:
    """Reflectance at normal incidence: 4 % for dielectrics, the albedo for metals."""
    return DIELECTRIC_F0 + (albedo - DIELECTRIC_F0) * metallic


def specular(
    normal: Float[Tensor, "*#batch 3"],
    view: Float[Tensor, "*#batch 3"],
    light: Float[Tensor, "*#batch 3"],
    roughness: Float[Tensor, "*#batch 1"],
    f0: Float[Tensor, "*#batch 3"],
) -> Float[Tensor, "*#batch 3"]:
    """GGX reflection of one direction of light, times the cosine of incidence.

    Args:
        normal: unit vectors.
        view: unit vectors to the eye.
        light: unit vectors to the light.
        roughness: perceptual; the GGX width is its square. Clamped from below, see MIN_ROUGHNESS.
        f0: reflectance at normal incidence.

    Returns:
        Radiance per unit of irradiance on a surface turned to the light; zero where the light or
        the eye is behind the surface.

    Gradients:
        Reach every input; zero where the result is, and to ``roughness`` where it is clamped.

    Source:
        Walter et al., Microfacet models for refraction (2007), eqs. 33, 34 and the separable Smith
        masking; Schlick (1994) for Fresnel.
    """
    alpha = roughness.clamp_min(MIN_ROUGHNESS) ** 2
    a2 = alpha * alpha
    half = torch.nn.functional.normalize(view + light, dim=-1)
    nl = (normal * light).sum(-1, keepdim=True)
    nv = (normal * view).sum(-1, keepdim=True)
    nh = (normal * half).sum(-1, keepdim=True)
    vh = (view * half).sum(-1, keepdim=True).clamp(0, 1)
    lit = (nl > 0) & (nv > 0)
    # sin^2 from the cross product: 1 - nh^2 would cancel exactly where smooth surfaces shine.
    sine2 = (
        torch.linalg.cross(*torch.broadcast_tensors(normal, half)).square().sum(-1, keepdim=True)
    )
    # Points without a normal, such as padding, have no lobe; they must not give NaN either.
    distribution = a2 / (math.pi * (a2 * nh * nh + sine2).clamp_min(1e-12) ** 2)
    nl, nv = nl.clamp_min(1e-6), nv.clamp_min(1e-6)
    masking_l = 2 / (nl + (a2 + (1 - a2) * nl * nl).sqrt())
    masking_v = 2 / (nv + (a2 + (1 - a2) * nv * nv).sqrt())
    fresnel = f0 + (1 - f0) * (1 - vh) ** 5
    result = fresnel * (distribution * masking_l * masking_v * nl / 4)
    return torch.where(lit, result, torch.zeros_like(result))


def environment_reflectance(
    nv: Float[Tensor, "*#batch 1"], roughness: Float[Tensor, "*#batch 1"]
) -> tuple[Float[Tensor, "*#batch 1"], Float[Tensor, "*#batch 1"]]:
    """Part of even light from all around that GGX reflects to the eye: ``f0 * scale + bias``.

    Polynomials fitted to the integral; the error is about 0.01, and up to 0.05 at grazing views.

    Args:
        nv: cosine between normal and view, [0, 1].
        roughness: perceptual, [0, 1].

    Returns:
        ``scale`` and ``bias``, whose sum is at most 1.

    Source:
        Karis, Real shading in Unreal Engine 4 (2013), for the split.
    """
    return reflectance_polynomials(nv, roughness, lambda a, b: a.clamp_min(b))


def reflectance_polynomials(nv: Any, roughness: Any, maximum: Callable[[Any, float], Any]) -> Any:
    """:func:`environment_reflectance` for any array library; ``maximum`` is that library's."""
    x, r = nv, roughness
    # White reflectance (f0 = 1) is 1 minus what single scattering loses.
    c0 = r * (0.8773 + r * (-1.9992 + r * (1.7503 + r * -0.2193)))
    c1 = r * (-6.3418 + r * (25.8963 + r * (-30.6985 + r * 11.6504)))
    c2 = r * (11.1839 + r * (-53.9851 + r * (75.5075 + r * -33.0748)))
    c3 = r * (-5.5382 + r * (28.2831 + r * (-41.6632 + r * 19.0664)))
    white = 1 - maximum(c0 + x * (c1 + x * (c2 + x * c3)), 0)
    numerator = 1.0215 + r * (-1.2084 + r * 0.3706)
    d0 = 1 + r * (0.3474 + r * 8.7504)
    d1 = 1.7391 + r * (-27.6228 + r * 36.4579)
    d2 = 20.7539 + r * -8.1509
    bias = (1 - x) ** 2 * numerator / (d0 + x * (d1 + x * d2))
    return white - bias, bias


def lobe_attenuation(roughness: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 5"]:
    """How much of each spherical harmonic order (0 to 4) survives reflection by a GGX lobe.

    The lobe is that of a surface seen and lit from above, weighted by the cosine; polynomials
    fitted to its Legendre moments, within 0.005.

    Args:
        roughness: perceptual, [0, 1].

    Source:
        Ramamoorthi & Hanrahan, A signal-processing framework for inverse rendering (2001), for
        reflection as convolution; Karis (2013) for the choice of lobe.
    """
    r = roughness
    r2 = r * r
    columns = [torch.ones_like(r)]
    for c2, c3, c4, c5, c6 in LOBE_POLYNOMIALS:
        columns.append(1 + r2 * (c2 + r * (c3 + r * (c4 + r * (c5 + r * c6)))))
    return torch.cat(columns, -1)


# Coefficients of roughness^2 to roughness^6 for orders 1 to 4.
LOBE_POLYNOMIALS = (
    (0.2607, -4.0699, 7.0403, -4.6832, 1.1187),
    (0.7324, -11.9922, 23.1967, -17.4577, 4.7709),
    (1.2474, -22.5469, 48.7414, -40.6129, 12.1724),
    (1.5057, -33.1359, 79.0383, -71.1735, 22.7286),
)


def lobe_axis(
    normal: Float[Tensor, "*#batch 3"],
    view: Float[Tensor, "*#batch 3"],
    roughness: Float[Tensor, "*#batch 1"],
) -> Float[Tensor, "*#batch 3"]:
    """Direction about which the GGX lobe gathers light: the mirror direction, pulled to the normal.

    Args:
        normal: unit vectors.
        view: unit vectors to the eye.
        roughness: perceptual, [0, 1].

    Returns:
        Unit vectors.

    Source:
        Lagarde & de Rousiers, Moving Frostbite to physically based rendering (2014), section 4.9.
    """
    alpha = roughness * roughness
    smooth = (1 - alpha).clamp_min(1e-6)
    pull = smooth * (smooth.sqrt() + alpha)
    mirror = 2 * (normal * view).sum(-1, keepdim=True) * normal - view
    return torch.nn.functional.normalize(normal + pull * (mirror - normal), dim=-1)
