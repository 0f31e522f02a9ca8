"""What a re-synthesised image is compared with: one function per loss."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.color import srgb_from_linear


def photometric(
    color: Float[Tensor, "*batch h w 3"],
    photo: Float[Tensor, "*batch h w 3"],
    weight: Float[Tensor, "*batch h w"],
) -> Float[Tensor, ""]:
    """Mean absolute difference in sRGB, which forgives highlights and other outliers.

    Args:
        color: rendered, linear, not clamped.
        photo: sRGB in [0, 1].
        weight: 0 or more per pixel; pixels with 0 do not count, whatever they hold.

    Gradients:
        Reach ``color``; 0 where it is below 0. They point towards a photo's white where ``color`` is
        above 1.
    """
    difference = (srgb_from_linear(color.clamp_min(0)) - photo).abs().mean(-1)
    return (difference * weight).sum() / weight.sum().clamp_min(1)


def silhouette(
    alpha: Float[Tensor, "*batch h w"],
    mask: Float[Tensor, "*batch h w"],
    weight: Float[Tensor, "*batch h w"],
) -> Float[Tensor, ""]:
    """Mean absolute difference between coverage and mask.

    Args:
        alpha: rendered coverage.
        mask: 1 on the object.
        weight: 0 or more per pixel.

    Gradients:
        Reach ``alpha``.
    """
    return ((alpha - mask).abs() * weight).sum() / weight.sum().clamp_min(1)
