"""PyTorch3D's rasterizer in place of ours; shading, texturing and antialiasing stay ours."""

from typing import Any

import torch
from torch import Tensor

from invgraph.geometry.topology import Topology
from invgraph.raster import Fragments


def rasterize(
    screen: Tensor,
    topology: Topology,
    height: int,
    width: int,
    *,
    near: float = 1e-3,
    derivatives: bool = False,
) -> Fragments:
    """:func:`invgraph.raster.rasterize` by PyTorch3D.

    Triangles that cross the near plane are clipped at it. Textures are read without mip-mapping:
    PyTorch3D does not give the derivatives that choose a level, so ``bary_pixel`` is zero.

    Args:
        screen: homogeneous pixels (u z, v z, z), ``b v 3``.
        topology: indices into the vertices.
        height: rows, px.
        width: columns, px.
        near: nothing nearer than this depth is drawn.
        derivatives: give ``bary_pixel``.

    Raises:
        ImportError: PyTorch3D is not installed.

    Gradients:
        Reach ``screen`` through ``bary`` and ``depth``.
    """
    try:
        from pytorch3d.renderer.mesh.rasterize_meshes import (  # pyright: ignore[reportMissingImports]
            rasterize_meshes,
        )
        from pytorch3d.structures import Meshes  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(
            "backend 'pytorch3d' needs PyTorch3D; install it as its INSTALL.md says, or use the "
            "raster backend."
        ) from None
    depth = screen[..., 2:]
    safe = torch.where(depth.abs() < near, torch.full_like(depth, near), depth)
    # PyTorch3D: x to the left and y up, the shorter side of the image spans [-1, 1].
    size = screen.new_tensor([width, height])
    vertices = torch.cat(((size - 2 * screen[..., :2] / safe) / min(height, width), depth), -1)
    faces = torch.from_numpy(topology.faces).to(screen.device).long()
    meshes: Any = Meshes(verts=list(vertices), faces=[faces] * len(vertices))
    found, zbuf, bary, _ = rasterize_meshes(
        meshes,
        image_size=(height, width),
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=True,
        cull_backfaces=False,
        z_clip_value=near,
    )
    found = found[..., 0]
    seen = found >= 0
    # PyTorch3D numbers the faces of a whole batch.
    first = torch.arange(len(vertices), device=faces.device)[:, None, None] * len(faces)
    weights = torch.where(seen[..., None], bary[..., 0, :2], torch.zeros_like(bary[..., 0, :2]))
    slopes = weights.new_zeros(*weights.shape[:-1], 4) if derivatives else None
    return Fragments(
        torch.where(seen, found - first, -1).int(),
        weights,
        torch.where(seen, zbuf[..., 0], torch.zeros_like(zbuf[..., 0])),
        slopes,
    )
