"""Panoramas: light from all around as an image, looked up, projected and blurred."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from invgraph.rendering import harmonics

# Blurred panoramas have at most this many rows, and one level per eighth of roughness.
_BLUR_ROWS = 64
_LEVELS = 8


def panorama_uv(directions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
    """Place in a panorama, as fractions of its width and height, of unit directions.

    The layout is that of :class:`invgraph.scene.EnvironmentMap`.

    Gradients:
        Finite everywhere; zero at the poles, where the layout has no derivative.
    """
    x, y, z = directions.unbind(-1)
    radius2 = x * x + z * z
    pole = radius2 < 1e-12
    safe = torch.where(pole, torch.ones_like(x), x)
    u = torch.atan2(safe, torch.where(pole, torch.zeros_like(z), -z)) / (2 * math.pi)
    v = torch.atan2(torch.where(pole, torch.full_like(x, 1e-12), radius2).sqrt(), y) / math.pi
    return torch.stack((u - u.floor(), v), -1)


def panorama_directions(
    height: int, width: int
) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"]]:
    """Unit direction and solid angle (steradian, summing to 4 pi) of every panorama pixel."""
    edges = torch.linspace(0, math.pi, height + 1, dtype=torch.float64)
    polar = (edges[1:] + edges[:-1])[:, None] / 2
    azimuth = (torch.arange(width, dtype=torch.float64) + 0.5)[None] * (2 * math.pi / width)
    directions = torch.stack(
        (
            polar.sin() * azimuth.sin(),
            polar.cos().expand(height, width),
            -polar.sin() * azimuth.cos(),
        ),
        -1,
    )
    band = (edges[:-1].cos() - edges[1:].cos()) * (2 * math.pi / width)
    return directions.float(), band[:, None].expand(height, width).float()


def look_up(
    radiance: Float[Tensor, "h w c"], directions: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch c"]:
    """Bilinear samples of a panorama.

    Gradients:
        Reach ``radiance`` and ``directions``.
    """
    levels = torch.zeros_like(directions[..., :1])
    return _look_up_levels(radiance[None], directions, levels)


def _look_up_levels(levels: Tensor, directions: Tensor, level: Tensor) -> Tensor:
    """Trilinear samples of equal-sized panoramas ``l h w c``; clamps the level, wraps around."""
    count, _, width, channels = levels.shape
    wrapped = torch.cat((levels[:, :, -1:], levels, levels[:, :, :1]), 2)
    uv = panorama_uv(directions)
    # From fractions of the unpadded panorama to grid_sample's [-1, 1] over the padded one.
    u = (uv[..., :1] * width + 1) * (2 / (width + 2)) - 1
    v = uv[..., 1:] * 2 - 1
    if count == 1:
        source = wrapped[0].movedim(-1, 0)[None]
        grid = torch.cat((u, v), -1).reshape(1, 1, -1, 2)
    else:
        source = wrapped.movedim(-1, 0)[None]
        grid = torch.cat((u, v, (level + 0.5) * (2 / count) - 1), -1).reshape(1, 1, 1, -1, 3)
    samples = functional.grid_sample(source, grid, padding_mode="border", align_corners=False)
    return samples.reshape(channels, -1).T.reshape(*directions.shape[:-1], channels)


def harmonic_coefficients(radiance: Float[Tensor, "h w c"]) -> Float[Tensor, "25 c"]:
    """A panorama's spherical harmonics to order 4.

    Gradients:
        Reach ``radiance``.
    """
    directions, solid_angle = panorama_directions(*radiance.shape[:2])
    return harmonics.project(
        radiance.reshape(-1, radiance.shape[-1]),
        directions.reshape(-1, 3).to(radiance),
        solid_angle.reshape(-1).to(radiance),
    )


@lru_cache(maxsize=4)
def _lobe_spectra(height: int, width: int) -> Tensor:
    """Fourier series along the azimuth of each level's blur, ``level frequency row row``.

    Blurring with a lobe that is round about its axis is a circular convolution along every pair
    of rows of a panorama.
    """
    polar = (torch.arange(height, dtype=torch.float64) + 0.5) * (math.pi / height)
    azimuth = torch.arange(width, dtype=torch.float64) * (2 * math.pi / width)
    cosine = (
        polar.cos()[:, None, None] * polar.cos()[:, None]
        + polar.sin()[:, None, None] * polar.sin()[:, None] * azimuth.cos()
    )
    spectra = []
    for level in range(1, _LEVELS + 1):
        a2 = (level / _LEVELS) ** 4
        half2 = (1 + cosine) / 2  # squared cosine between the axis and the half vector
        lobe = cosine.clamp_min(0) * (a2 / (half2 * (a2 - 1) + 1).clamp_min(1e-9)) ** 2
        lobe = lobe * polar.sin()[:, None]
        lobe = lobe / lobe.sum((1, 2), keepdim=True)
        # The lobe is even in the azimuth, so its spectrum is real.
        spectra.append(torch.fft.rfft(lobe, dim=-1).real.permute(2, 0, 1))
    return torch.stack(spectra).float()


def blur(radiance: Float[Tensor, "h w c"]) -> Float[Tensor, "8 bh bw c"]:
    """A panorama as rough surfaces reflect it: one level for each eighth of roughness.

    Each level is the convolution with the GGX lobe of a surface seen and lit from above.

    Gradients:
        Reach ``radiance``.

    Source:
        Karis, Real shading in Unreal Engine 4 (2013), for the lobe.
    """
    height = min(radiance.shape[0], _BLUR_ROWS)
    width = min(radiance.shape[1], 2 * _BLUR_ROWS)
    small = functional.adaptive_avg_pool2d(radiance.movedim(-1, 0), (height, width))
    spectrum = torch.fft.rfft(small, dim=-1).permute(2, 1, 0)  # frequency row channel
    lobes = _lobe_spectra(height, width).to(radiance)
    blurred = torch.complex(lobes @ spectrum.real, lobes @ spectrum.imag)
    return torch.fft.irfft(blurred.permute(0, 2, 1, 3), n=width, dim=2)


def reflected(
    radiance: Float[Tensor, "h w c"],
    blurred: Float[Tensor, "8 bh bw c"],
    axis: Float[Tensor, "*#batch 3"],
    roughness: Float[Tensor, "*#batch 1"],
) -> Float[Tensor, "*#batch c"]:
    """A panorama seen in surfaces of any roughness.

    Args:
        radiance: the panorama.
        blurred: its levels, from :func:`blur`.
        axis: unit directions about which the surface gathers light.
        roughness: perceptual, [0, 1].

    Gradients:
        Reach every input.
    """
    roughness = roughness.expand(*axis.shape[:-1], 1)
    level = roughness * _LEVELS
    rough = _look_up_levels(blurred, axis, (level - 1).clamp_min(0))
    if bool((level >= 1).all()):
        return rough
    sharp = look_up(radiance, axis)
    return torch.lerp(sharp, rough, level.clamp(0, 1))
