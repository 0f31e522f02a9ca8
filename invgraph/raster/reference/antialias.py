"""Antialiasing in plain torch: one pair of pixels after the other."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.raster.reference.rasterize import Layers
from invgraph.raster.reference.screen import Faces, Screen, pixel_rays


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
    screen: Screen,
    faces: Faces,
) -> Float[Tensor, "h w c"]:
    """Blend pixels across silhouettes by what each side covers, of one image."""
    height, width = found.face.shape
    rays = pixel_rays(height, width, screen)
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
