"""The surfaces behind every pixel, in plain torch: every face at every pixel."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from invgraph.raster.reference.screen import Faces, Screen, pixel_rays


@dataclass(frozen=True)
class Layers:
    """``Fragments`` in any dtype; the fields mean the same."""

    face: Int[Tensor, "*batch h w"]
    bary: Float[Tensor, "*batch h w 2"]
    depth: Float[Tensor, "*batch h w"]
    bary_pixel: Float[Tensor, "*batch h w 4"]


def _planes(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Planes of the edges opposite corners 0, 1, 2 of triangles (f 3 3), and their determinants."""
    p0, p1, p2 = corners.unbind(-2)
    planes = torch.stack([p1.cross(p2, -1), p2.cross(p0, -1), p0.cross(p1, -1)], -2)
    return planes, (p0 * planes[:, 0]).sum(-1)


def peel(
    screen: Screen,
    faces: Faces,
    height: int,
    width: int,
    layers: int,
    near: float = 1e-3,
    cull_back: bool = False,
) -> Layers:
    """The nearest surfaces of every pixel of one image, ``layers h w``."""
    corners = screen[faces.long()]
    planes, determinant = _planes(corners)
    # Products of rounded numbers do not cancel on every machine where corners are the same.
    same = (corners == corners.roll(1, -2)).all(-1).any(-1)
    usable = corners.isfinite().flatten(1).all(1) & (determinant != 0) & ~same
    usable &= determinant < 0 if cull_back else torch.ones_like(usable)
    safe = torch.where(usable, determinant, torch.ones_like(determinant))
    planes = torch.where(usable[:, None, None], planes, torch.zeros_like(planes))
    rays = pixel_rays(height, width, screen)
    edge = torch.einsum("fkc,hwc->fkhw", planes, rays) * safe.sign()[:, None, None, None]
    a, b, _ = (planes * safe.sign()[:, None, None]).unbind(-1)
    owns_border = (a > 0) | ((a == 0) & (b > 0))
    inside = (edge > 0) | ((edge == 0) & owns_border[:, :, None, None])
    inside = inside.all(1) & usable[:, None, None]
    share = torch.einsum("fkc,hwc->fkhw", planes / safe[:, None, None], rays)
    total = share.sum(1)
    depth = torch.where(inside, 1 / torch.where(inside, total, torch.ones_like(total)), torch.inf)
    depth = torch.where(depth >= near, depth, torch.inf)
    if len(faces) < layers:
        missing = depth.new_full((layers - len(faces), height, width), torch.inf)
        depth = torch.cat([depth, missing])
    order = torch.sort(depth.detach(), dim=0, stable=True).indices[:layers]
    found = depth.gather(0, order) < torch.inf
    face = torch.where(found, order, -1)
    if len(faces) == 0:
        zero = screen.sum() * rays.new_zeros(layers, height, width)
        two, four = (zero[..., None].expand(*zero.shape, n) for n in (2, 4))
        return Layers(face, two, zero, four)
    chosen = face.clamp(min=0)
    slope = (planes / safe[:, None, None])[chosen]  # layers h w, corner, (du, dv, 1)
    weight = (slope * rays[:, :, None]).sum(-1)
    z = 1 / torch.where(found, weight.sum(-1), torch.ones_like(weight[..., 0]))
    bary = weight * z[..., None]
    change = z[..., None, None] * (slope - bary[..., None] * slope.sum(-2, keepdim=True))
    keep = found.to(screen.dtype)
    bary_pixel = change[..., :2, :2].flatten(-2) * keep[..., None]
    return Layers(face, bary[..., :2] * keep[..., None], z * keep, bary_pixel)


def rasterize(
    screen: Screen,
    faces: Faces,
    height: int,
    width: int,
    near: float = 1e-3,
    cull_back: bool = False,
) -> Layers:
    """The nearest surface of every pixel of one image, ``h w``."""
    found = peel(screen, faces, height, width, 1, near, cull_back)
    return Layers(*(getattr(found, name)[0] for name in Layers.__dataclass_fields__))
