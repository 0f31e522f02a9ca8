"""The light of a batch of images in closed form: what a matt surface shows is linear in it."""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.rendering import harmonics

ORDER = 2
RIDGE = 1e-3


@torch.no_grad()
def solve_light(
    image: Float[Tensor, "b h w 3"],
    albedo: Float[Tensor, "b h w 3"],
    normal: Float[Tensor, "b h w 3"],
    weight: Float[Tensor, "b h w"],
    ridge: float = RIDGE,
) -> Float[Tensor, "b 9 3"]:
    """The light under which matt surfaces look most like their images, one for each.

    Minimises, per channel, ``sum_p w_p (image_p - albedo_p E(normal_p) / pi)**2`` over the
    coefficients of the radiance whose irradiance is ``E``, with a ridge that keeps the light as
    even as the images allow. Products of two harmonics of order 2 are sums of harmonics of order 4,
    so 25 sums per channel over the pixels hold the whole normal equations.

    Args:
        image: linear RGB.
        albedo: linear RGB, as rendered.
        normal: unit vectors, in the frame in which the light is wanted; anything where the weight
            is 0.
        weight: 0 or more per pixel; pixels with 0 are not looked at.
        ridge: of all but the constant coefficient, relative to the sum of the squared albedo.

    Returns:
        Spherical harmonics of the radiance, order 2; zero for an image in which no pixel counts.

    Gradients:
        None. Where the light is a minimum, the loss changes with it only in second order, so that
        the gradient of the other unknowns is right with the light held fixed (variable projection).

    Source:
        Ramamoorthi & Hanrahan, An efficient representation for irradiance environment maps (2001);
        Golub & Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems
        whose variables separate (1973).
    """
    from invgraph.kernels.threads import launch
    from invgraph.photometric.light_cpu import COUNT, MOMENTS, accumulate

    tensors = (image, albedo, normal, weight[..., None])
    packed = [t.flatten(1, 2).cpu().float().numpy() for t in tensors]
    moments = np.zeros((len(image), 3, MOMENTS), np.float32)
    sums = np.zeros((len(image), 3, COUNT), np.float32)
    launch(accumulate, *packed, moments, sums)
    matrix = torch.from_numpy(moments).double() @ _products()
    matrix = matrix.unflatten(-1, (COUNT, COUNT))
    factors = matrix.new_tensor(harmonics.COSINE_FACTORS[: ORDER + 1]) / math.pi
    factors = factors.repeat_interleave(torch.tensor([1, 3, 5]))
    matrix = factors[:, None] * matrix * factors
    # A pixel's squared albedo is its moment of order 0 over the constant harmonic.
    total = torch.from_numpy(moments[..., :1]).double() * math.sqrt(4 * math.pi)
    held = torch.ones(COUNT, dtype=torch.float64)
    held[0] = 1e-6
    matrix = matrix + torch.diag_embed(ridge * total * held + 1e-12)
    found = torch.linalg.solve(matrix, factors * torch.from_numpy(sums).double())
    return found.mT.to(image)


@lru_cache(maxsize=1)
def _products() -> Float[Tensor, "m kk"]:
    """``Y_i Y_j`` of order 2 as sums of harmonics of order 4, ``m`` by ``k * k``."""
    directions = harmonics.fibonacci_sphere(200).double()
    values = harmonics.basis(directions, ORDER)
    products = (values[:, :, None] * values[:, None]).flatten(1)
    return torch.linalg.lstsq(harmonics.basis(directions, 2 * ORDER), products).solution
