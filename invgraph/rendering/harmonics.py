"""Real spherical harmonics up to order 4, as lighting."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

MAX_ORDER = 4

# Zonal coefficients of the clamped cosine, one per order: convolving radiance with it gives
# irradiance (Ramamoorthi & Hanrahan 2001, eq. 8).
COSINE_FACTORS = (math.pi, 2 * math.pi / 3, math.pi / 4, 0.0, -math.pi / 24)


def order_of(coefficients: Float[Tensor, "*batch k c"]) -> int:
    """The highest order among ``(order + 1)**2`` coefficients.

    Raises:
        ValueError: the number of coefficients belongs to no order up to 4.
    """
    count = coefficients.shape[-2]
    order = math.isqrt(count) - 1
    if not (0 <= order <= MAX_ORDER and (order + 1) ** 2 == count):
        raise ValueError(
            f"expected 1, 4, 9, 16 or 25 spherical harmonic coefficients but got {count}; "
            "pad with zeros or truncate."
        )
    return order


def basis(directions: Float[Tensor, "*batch 3"], order: int) -> Float[Tensor, "*batch k"]:
    """Orthonormal real spherical harmonics, ``Y_lm`` at index ``l * l + l + m``.

    Without the Condon-Shortley phase: orders 1 are positive multiples of y, z, x.

    Args:
        directions: unit vectors.
        order: 0 to 4.

    Returns:
        ``(order + 1)**2`` values for each direction.

    Gradients:
        Reach ``directions``, as if the polynomials were extended off the unit sphere.

    Source:
        Sloan, Stupid Spherical Harmonics Tricks (2008), appendix A2.
    """
    if not 0 <= order <= MAX_ORDER:
        raise ValueError(f"order should be 0 to {MAX_ORDER} but is {order}.")
    x, y, z = directions.unbind(-1)
    columns = [torch.full_like(x, 0.28209479177387814)]
    if order >= 1:
        columns += [0.4886025119029199 * y, 0.4886025119029199 * z, 0.4886025119029199 * x]
    if order >= 2:
        xx, yy, zz, xy, yz, xz = x * x, y * y, z * z, x * y, y * z, x * z
        difference = xx - yy
        columns += [
            1.0925484305920792 * xy,
            1.0925484305920792 * yz,
            0.9461746957575601 * zz - 0.31539156525252005,
            1.0925484305920792 * xz,
            0.5462742152960396 * difference,
        ]
        if order >= 3:
            columns += [
                0.5900435899266435 * y * (3 * xx - yy),
                2.890611442640554 * xy * z,
                0.4570457994644658 * y * (5 * zz - 1),
                0.3731763325901154 * z * (5 * zz - 3),
                0.4570457994644658 * x * (5 * zz - 1),
                1.445305721320277 * z * difference,
                0.5900435899266435 * x * (xx - 3 * yy),
            ]
        if order >= 4:
            columns += [
                2.5033429417967046 * xy * difference,
                1.7701307697799304 * yz * (3 * xx - yy),
                0.9461746957575601 * xy * (7 * zz - 1),
                0.6690465435572892 * yz * (7 * zz - 3),
                0.10578554691520431 * (zz * (35 * zz - 30) + 3),
                0.6690465435572892 * xz * (7 * zz - 3),
                0.47308734787878004 * difference * (7 * zz - 1),
                1.7701307697799304 * xz * (xx - 3 * yy),
                0.6258357354491761 * (xx * (xx - 3 * yy) - yy * (3 * xx - yy)),
            ]
    return torch.stack(columns, -1)


def evaluate(
    coefficients: Float[Tensor, "*#batch k c"], directions: Float[Tensor, "*#batch n 3"]
) -> Float[Tensor, "*#batch n c"]:
    """The function with these coefficients, at unit directions; may be negative.

    Gradients:
        Reach ``coefficients`` and ``directions``.
    """
    return basis(directions, order_of(coefficients)) @ coefficients


def scale_orders(
    coefficients: Float[Tensor, "*batch k c"], factors: tuple[float, ...]
) -> Float[Tensor, "*batch k c"]:
    """Multiply the coefficients of each order by a factor: convolution with a zonal kernel."""
    order = order_of(coefficients)
    repeated = [factors[degree] for degree in range(order + 1) for _ in range(2 * degree + 1)]
    return coefficients * coefficients.new_tensor(repeated)[:, None]


def irradiance_coefficients(
    coefficients: Float[Tensor, "*batch k c"],
) -> Float[Tensor, "*batch k c"]:
    """Coefficients of the irradiance on a surface as a function of its normal.

    Args:
        coefficients: of the radiance that arrives from each direction.

    Source:
        Ramamoorthi & Hanrahan, An efficient representation for irradiance environment maps (2001).
    """
    return scale_orders(coefficients, COSINE_FACTORS)


def project(
    values: Float[Tensor, "*batch n c"],
    directions: Float[Tensor, "n 3"],
    weights: Float[Tensor, " n"],
    order: int = MAX_ORDER,
) -> Float[Tensor, "*batch k c"]:
    """Coefficients of a function known at weighted directions.

    Args:
        values: the function at each direction.
        directions: unit vectors that cover the sphere.
        weights: solid angle of each direction, steradian; they sum to 4 pi.
        order: highest order of the result.

    Gradients:
        Reach ``values``.
    """
    return (basis(directions, order) * weights[:, None]).mT @ values


def fibonacci_sphere(count: int) -> Float[Tensor, "n 3"]:
    """Unit vectors spread evenly over the sphere, the same ones every time.

    Source:
        Keinert et al., Spherical Fibonacci mapping (2015).
    """
    if count < 1:
        raise ValueError(f"the number of directions should be positive but is {count}.")
    index = torch.arange(count, dtype=torch.float64)
    z = 1 - (2 * index + 1) / count
    angle = index * (math.pi * (3 - math.sqrt(5)))
    radius = (1 - z * z).sqrt()
    return torch.stack((radius * angle.cos(), radius * angle.sin(), z), -1).float()


@lru_cache
def _rotation_samples(order: int) -> tuple[Tensor, Tensor]:
    """Directions that determine a function of this order, and the matrix that does it."""
    directions = fibonacci_sphere(4 * (order + 1) ** 2).double()
    return directions, torch.linalg.pinv(basis(directions, order))


def rotate(
    coefficients: Float[Tensor, "*#batch k c"], a_from_b: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*#batch k c"]:
    """Coefficients in frame b of a function given in frame a.

    Args:
        coefficients: of a function of directions in frame a.
        a_from_b: rotation.

    Gradients:
        Reach both inputs.
    """
    order = order_of(coefficients)
    directions, solve = (tensor.to(coefficients) for tensor in _rotation_samples(order))
    return solve @ (basis(directions @ a_from_b.mT, order) @ coefficients)
