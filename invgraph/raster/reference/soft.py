"""Soft silhouettes in plain torch: one face after the other."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.raster.reference.screen import Faces, Screen, pixel_rays


def _clip(corners: Tensor, near: float) -> list[Tensor]:
    """The corners on the screen of a triangle's part beyond the near plane."""
    points = []
    for k in range(3):
        here, there = corners[k], corners[(k + 1) % 3]
        if here[2] >= near:
            points.append(here[:2] / here[2])
        if (here[2] >= near) != (there[2] >= near):
            t = (near - here[2]) / (there[2] - here[2])
            points.append((here + t * (there - here))[:2] / near)
    return points


def _signed_square(points: list[Tensor], pixels: Tensor) -> Tensor:
    """Squared distance of pixels to the outline of a convex polygon, negative outside."""
    count = len(points)
    nearest, lowest = [], []
    area = pixels.new_zeros(())
    for k in range(count):
        a, b = points[k], points[(k + 1) % count]
        area = area + a[0] * b[1] - a[1] * b[0]
        edge, offset = b - a, pixels - a
        along = (offset @ edge / (edge @ edge).clamp(min=1e-30)).clamp(0, 1)
        nearest.append(((offset - along[..., None] * edge) ** 2).sum(-1))
        lowest.append(edge[0] * offset[..., 1] - edge[1] * offset[..., 0])
    squared = torch.stack(nearest).amin(0)
    inside = (torch.stack(lowest) * (1 if area >= 0 else -1)).amin(0) >= 0
    return torch.where(inside, squared, -squared)


def soft_silhouette(
    screen: Screen, faces: Faces, height: int, width: int, sigma: float, near: float = 1e-3
) -> Float[Tensor, "h w"]:
    """One minus the product over all faces of what each leaves uncovered, of one image."""
    pixels = pixel_rays(height, width, screen)[..., :2]
    rest = screen.new_ones(height, width)
    for corners in screen[faces.long()]:
        points = _clip(corners, near) if corners.isfinite().all() else []
        if points:
            rest = rest * torch.sigmoid(-_signed_square(points, pixels) / sigma**2)
    return 1 - rest
