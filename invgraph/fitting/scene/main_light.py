"""Where light comes from mostly, and how sure that is."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from invgraph.fitting.scene.object_prior import LIGHT
from invgraph.scene.scene_belief import SceneBelief

_LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])
_DRAWS = 400


def main_direction(coefficients: Float[Tensor, "*batch 9 3"]) -> Float[Tensor, "*batch 3"]:
    """Unit vectors towards the mean of the light, of its luminance: its harmonics of order 1.

    Args:
        coefficients: of radiance in spherical harmonics, in any frame.

    Gradients:
        Reach the coefficients; none is defined where the light is even.
    """
    return normalize(_mean(coefficients), dim=-1)


def unevenness(coefficients: Float[Tensor, "*batch 9 3"]) -> Float[Tensor, "*batch"]:
    """By what share of the mean light that from the main direction exceeds it, in order 1.

    Gradients:
        Reach the coefficients; none is defined where the light is even.
    """
    level = coefficients[..., 0, :] @ _LUMINANCE.to(coefficients)
    # Order 1 is y, z, x times sqrt(3 / 4 pi), order 0 is sqrt(1 / 4 pi).
    return math.sqrt(3) * _mean(coefficients).norm(dim=-1) / level.clamp_min(1e-6)


def _mean(coefficients: Tensor) -> Tensor:
    """The direction of the mean light's luminance, of any length."""
    return (coefficients[..., 1:4, :] @ _LUMINANCE.to(coefficients))[..., [2, 0, 1]]


def mean_light(belief: SceneBelief) -> Float[Tensor, "b 9 3"]:
    """The mean of the light that is believed in, as coefficients."""
    middles = belief.marginal([LIGHT]).middles()[LIGHT]
    return torch.einsum("bk,kbic->bic", belief.log_weights.exp(), middles)


def believed_direction(
    belief: SceneBelief, share: float = 0.9, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "b 3"], Float[Tensor, " b"]]:
    """The main direction of the light that is believed in, on average, and a cone about it.

    Args:
        belief: about scenes whose light is unknown.
        share: how often the cone should hold the direction of the true main light.
        generator: of the samples from which the cone comes.

    Returns:
        Unit vectors, in the frame of the light; the cones' half-angles, radians.
    """
    drawn = main_direction(belief.marginal([LIGHT]).sample(_DRAWS, generator)[LIGHT])
    middle = main_direction(mean_light(belief))
    away = (drawn * middle).sum(-1).clamp(-1, 1).acos()
    return middle, away.quantile(share, 0)
