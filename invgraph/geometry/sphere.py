"""Directions: the exponential map of the unit sphere and its inverse."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry.transforms import angle_factors, arctangent_factor


def tangent_basis(
    direction: Float[Tensor, "*batch 3"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3"]]:
    """Two unit vectors that are orthogonal to unit vectors and to each other.

    Right-handed: their cross product is the direction; for (0, 0, 1) they are x and y. They jump
    where z changes its sign, because no choice is continuous on the whole sphere.

    Source:
        Duff et al., Building an Orthonormal Basis, Revisited (2017), listing 3.
    """
    x, y, z = direction.unbind(-1)
    sign = torch.copysign(torch.ones_like(z), z.detach())
    a = -1 / (sign + z)
    b = x * y * a
    first = torch.stack((1 + sign * x * x * a, sign * b, -sign * x), -1)
    return first, torch.stack((b, sign + y * y * a, -y), -1)


def exp_s2(
    around: Float[Tensor, "*#batch 3"], tangent: Float[Tensor, "*#batch 2"]
) -> Float[Tensor, "*batch 3"]:
    """The direction reached from a unit vector along a great circle.

    Args:
        around: unit vector to start from.
        tangent: where to, and how far in radians, along :func:`tangent_basis`.

    Gradients:
        Finite everywhere, also at zero, to any order.
    """
    first, second = tangent_basis(around)
    angle2 = (tangent * tangent).sum(-1, keepdim=True)
    a, b, _ = angle_factors(angle2)
    return (1 - angle2 * b) * around + a * (tangent[..., :1] * first + tangent[..., 1:] * second)


def log_s2(
    around: Float[Tensor, "*#batch 3"], direction: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*batch 2"]:
    """The tangent, of length at most pi, that leads to a unit vector; undoes :func:`exp_s2`.

    Gradients:
        Finite everywhere; zero at the opposite direction, where every tangent of length pi
        leads and the first axis is taken.
    """
    first, second = tangent_basis(around)
    across = torch.stack(((direction * first).sum(-1), (direction * second).sum(-1)), -1)
    cosine = (direction * around).sum(-1)
    eps = torch.finfo(across.dtype).eps
    opposite = (cosine < 0) & (across.square().sum(-1) < eps**2)
    aside = torch.tensor([eps, 0.0], dtype=across.dtype, device=across.device)
    across = torch.where(opposite[..., None], aside, across)
    return arctangent_factor(across.square().sum(-1), cosine)[..., None] * across


def log_volume_s2(tangent: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Logarithm of the area on the sphere per area of tangents: sin(a)/a at angle a.

    Meant for angles below pi, where it falls to a large negative number.

    Gradients:
        Finite everywhere, also at zero.
    """
    a, _, _ = angle_factors((tangent * tangent).sum(-1))
    return a.abs().clamp_min(torch.finfo(a.dtype).tiny).log()
