"""Every raster operation again in plain torch: slow, obvious, in any dtype, with autograd's
gradients.

The oracle of the tests. Definitions are those of the compiled operations' docstrings; here they are
spelled out one face, one pixel pair or one mip level at a time, without tiles, bins or walks in
bulk.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Layers:
    """``Fragments`` in any dtype; the fields mean the same."""

    face: Int[Tensor, "*batch h w"]
    bary: Float[Tensor, "*batch h w 2"]
    depth: Float[Tensor, "*batch h w"]
    bary_pixel: Float[Tensor, "*batch h w 4"]


def _rays(height: int, width: int, like: Tensor) -> Tensor:
    """(u, v, 1) at pixel centres."""
    v = torch.arange(height, dtype=like.dtype) + 0.5
    u = torch.arange(width, dtype=like.dtype) + 0.5
    v, u = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], -1)


def _planes(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Planes of the edges opposite corners 0, 1, 2 of triangles (f 3 3), and their determinants."""
    p0, p1, p2 = corners.unbind(-2)
    planes = torch.stack([p1.cross(p2, -1), p2.cross(p0, -1), p0.cross(p1, -1)], -2)
    return planes, (p0 * planes[:, 0]).sum(-1)


def peel(
    screen: Float[Tensor, "v 3"],
    faces: Int[Tensor, "f 3"],
    height: int,
    width: int,
    layers: int,
    near: float = 1e-3,
    cull_back: bool = False,
) -> Layers:
    """The nearest surfaces of every pixel of one image, ``layers h w``."""
    corners = screen[faces.long()]
    planes, determinant = _planes(corners)
    usable = corners.isfinite().flatten(1).all(1) & (determinant != 0)
    usable &= determinant < 0 if cull_back else torch.ones_like(usable)
    safe = torch.where(usable, determinant, torch.ones_like(determinant))
    planes = torch.where(usable[:, None, None], planes, torch.zeros_like(planes))
    rays = _rays(height, width, screen)
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
    screen: Float[Tensor, "v 3"],
    faces: Int[Tensor, "f 3"],
    height: int,
    width: int,
    near: float = 1e-3,
    cull_back: bool = False,
) -> Layers:
    """The nearest surface of every pixel of one image, ``h w``."""
    found = peel(screen, faces, height, width, 1, near, cull_back)
    return Layers(*(getattr(found, name)[0] for name in Layers.__dataclass_fields__))


def interpolate(
    attributes: Float[Tensor, "v c"], faces: Int[Tensor, "f 3"], found: Layers
) -> Float[Tensor, "h w c"]:
    """Values at pixels from values at vertices, of one image."""
    corners = attributes[faces.long()[found.face.clamp(min=0)]]
    weights = torch.cat([found.bary, 1 - found.bary.sum(-1, keepdim=True)], -1)
    return (weights[..., None] * corners).sum(-2) * (found.face >= 0)[..., None]


def _fold(s: Tensor, wrap: str) -> Tensor:
    if wrap == "repeat":
        return s - s.floor()
    if wrap == "clamp":
        return s.clamp(0, 1)
    s = s - 2 * (s / 2).floor()
    return torch.where(s > 1, 2 - s, s)


def _bilinear(tex: Tensor, uv: Tensor, wrap: str) -> Tensor:
    height, width = tex.shape[:2]

    def around(s: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        x = _fold(s, wrap) * size - 0.5
        low = x.detach().floor()
        first, second = low.long(), low.long() + 1
        if wrap == "repeat":
            return first % size, second % size, (x - low)[..., None]
        return first.clamp(0, size - 1), second.clamp(0, size - 1), (x - low)[..., None]

    x0, x1, fx = around(uv[..., 0], width)
    y0, y1, fy = around(uv[..., 1], height)
    top = tex[y0, x0] * (1 - fx) + tex[y0, x1] * fx
    bottom = tex[y1, x0] * (1 - fx) + tex[y1, x1] * fx
    return top * (1 - fy) + bottom * fy


def _halve(tex: Tensor) -> Tensor:
    """Area-average along the first axis to half as many rows, rounded down."""
    size = tex.shape[0]
    half = max(size // 2, 1)
    edges = torch.arange(half + 1, dtype=tex.dtype) * size / half
    texel = torch.arange(size, dtype=tex.dtype)
    right = torch.minimum(edges[1:, None], texel + 1)
    overlap = (right - torch.maximum(edges[:-1, None], texel)).clamp(min=0)
    return torch.einsum("ij,j...->i...", overlap * half / size, tex)


def mip_levels(tex: Float[Tensor, "h w c"]) -> list[Tensor]:
    """The texture and its ever coarser averages down to one texel."""
    levels = [tex]
    while levels[-1].shape[:2] != (1, 1):
        levels.append(_halve(_halve(levels[-1]).transpose(0, 1)).transpose(0, 1))
    return levels


def texture(
    tex: Float[Tensor, "th tw c"],
    uv: Float[Tensor, "h w 2"],
    uv_pixel: Float[Tensor, "h w 4"] | None = None,
    wrap: str = "repeat",
) -> Float[Tensor, "h w c"]:
    """Bilinear or trilinear reads of one image."""
    if uv_pixel is None:
        return _bilinear(tex, uv, wrap)
    levels = mip_levels(tex)
    size = torch.tensor([tex.shape[1], tex.shape[0]], dtype=tex.dtype)
    steps = uv_pixel.unflatten(-1, (2, 2)) * size[:, None]
    longer = (steps**2).sum(-2).amax(-1)
    level = (torch.log2(longer.clamp(min=1e-30)) / 2).clamp(0, len(levels) - 1)
    finer = level.detach().floor().long()
    blend = (level - finer)[..., None]
    reads = torch.stack([_bilinear(each, uv, wrap) for each in levels])
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in finer.shape), indexing="ij")
    coarser = (finer + 1).clamp(max=len(levels) - 1)
    return reads[finer, rows, columns] * (1 - blend) + reads[coarser, rows, columns] * blend


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
    screen: Float[Tensor, "v 3"],
    faces: Int[Tensor, "f 3"],
    height: int,
    width: int,
    sigma: float,
    near: float = 1e-3,
) -> Float[Tensor, "h w"]:
    """One minus the product over all faces of what each leaves uncovered, of one image."""
    pixels = _rays(height, width, screen)[..., :2]
    rest = screen.new_ones(height, width)
    for corners in screen[faces.long()]:
        points = _clip(corners, near) if corners.isfinite().all() else []
        if points:
            rest = rest * torch.sigmoid(-_signed_square(points, pixels) / sigma**2)
    return 1 - rest


def _across(faces: Tensor) -> dict[tuple[int, int], int]:
    """The face on the other side of an edge: {(face, corner opposite the edge): face}."""
    sides: dict[frozenset[int], list[tuple[int, int]]] = {}
    for f, corners in enumerate(faces.tolist()):
        for k in range(3):
            sides.setdefault(frozenset(corners) - {corners[k]}, []).append((f, k))
    found = {}
    for owners in sides.values():
        if len(owners) == 2:
            (f, k), (g, m) = owners
            found[f, k], found[g, m] = g, f
    return found


def _facing(screen: Tensor, i: int, j: int, k: int) -> float:
    return float(screen[i] @ screen[j].cross(screen[k], -1))


def _silhouette(
    screen: Tensor,
    faces: list[list[int]],
    across: dict[tuple[int, int], int],
    f: int,
    ray: Tensor,
    step: Tensor,
) -> tuple[int, int] | None:
    """Walk over the surface from ``ray`` by ``step`` to the edge where it ends or folds back."""
    entered: frozenset[int] = frozenset()
    for _ in range(10 * len(faces) + 10):
        facing = _facing(screen, *faces[f])
        leaves = []
        for k in range(3):
            i, j = faces[f][(k + 1) % 3], faces[f][(k + 2) % 3]
            plane = screen[i].cross(screen[j], -1) * (1 if facing > 0 else -1)
            change = float(plane @ step)
            if change < 0 and frozenset((i, j)) != entered:
                leaves.append((-float(plane @ ray) / change, k))
        if not leaves or min(leaves)[0] >= 1:
            return None
        k = min(leaves)[1]
        i, j = faces[f][(k + 1) % 3], faces[f][(k + 2) % 3]
        g = across.get((f, k), -1)
        if g < 0:
            return i, j
        (third,) = set(faces[g]) - {i, j}
        if _facing(screen, i, j, third) * facing >= 0:
            return i, j
        f, entered = g, frozenset((i, j))
    return None


def antialias(
    color: Float[Tensor, "h w c"],
    found: Layers,
    screen: Float[Tensor, "v 3"],
    faces: Int[Tensor, "f 3"],
) -> Float[Tensor, "h w c"]:
    """Blend pixels across silhouettes by what each side covers, of one image."""
    height, width = found.face.shape
    rays = _rays(height, width, screen)
    rows, across = faces.tolist(), _across(faces)
    steps = {(0, 1): screen.new_tensor([1, 0, 0]), (1, 0): screen.new_tensor([0, 1, 0])}
    out = color.clone()
    for y in range(height):
        for x in range(width):
            for (down, right), step in steps.items():
                near, far = (y, x), (y + down, x + right)
                if far[0] >= height or far[1] >= width or found.face[near] == found.face[far]:
                    continue
                aside = steps[right, down]
                hidden = found.face[near] < 0 or (
                    found.face[far] >= 0 and found.depth[far] < found.depth[near]
                )
                if hidden:
                    near, far, step = far, near, -step
                f = int(found.face[near])
                edge = _silhouette(screen.detach(), rows, across, f, rays[near], step)
                if edge is None:
                    continue
                plane = screen[edge[0]].cross(screen[edge[1]], -1)
                # Area moves along u for steep edges and along v for flat ones, never along both.
                here, there = (abs(float(plane.detach() @ each)) for each in (step, aside))
                if here < there or (here == there and down):
                    continue
                t = (-(plane @ rays[near]) / (plane @ step)).clamp(min=0)
                to, source = (near, far) if t < 0.5 else (far, near)
                # The nearer surface ends at t; half way is the border of the two pixels.
                weight = (t - 0.5).abs()
                blended = torch.zeros_like(out)
                blended[to] = weight * (color[source] - color[to])
                out = out + blended
    return out
