"""``peel``: the nearest surfaces of every pixel, not only the first."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from invgraph.geometry.topology import Topology
from invgraph.kernels import buffers
from invgraph.raster import arguments
from invgraph.raster.fragments import Fragments
from invgraph.raster.polygons import find
from invgraph.raster.rasterize import _backward

_MARGIN = 1 / 16  # px; screen positions within an image err by less, and the edges decide exactly


def peel(
    screen: Float[Tensor, "*batch v 3"],
    faces: Int[Tensor, "f 3"] | Topology,
    height: int,
    width: int,
    layers: int,
    *,
    ranges: Int[Tensor, "b 2"] | None = None,
    near: float = 1e-3,
    cull_back: bool = False,
) -> Fragments:
    """Find the triangles that the ray of each pixel centre meets, up to a number of layers.

    The layers are exact: however many triangles overlap, layer k holds the k-th nearest. Only the
    last layer can hide more; it is empty everywhere when ``layers`` sufficed for all there is. What
    is drawn, and what happens at the same depth, is as for ``rasterize``.

    Args:
        screen: as for ``rasterize``.
        faces: as for ``rasterize``.
        height, width: of the images, px.
        layers: how many to keep.
        ranges: as for ``rasterize``.
        near: nothing nearer than this depth is drawn. In the unit of the vertices.
        cull_back: keep only triangles that are counter-clockwise seen from the camera.

    Returns:
        Fragments with an axis for the layers before the image's, nearest first (``b layers h w``,
        or ``layers h w`` for one image), without ``bary_pixel``.

    Raises:
        ValueError: fewer than one layer; and as for ``rasterize``.

    Gradients:
        Reach ``screen`` through ``bary`` and ``depth`` of every layer.

    Source:
        Everitt, Interactive order-independent transparency, NVIDIA 2001; here in one pass.
    """
    plan = arguments.read_screen(screen, faces, height, width, ranges)
    if layers < 1:
        raise ValueError(f"layers is {layers}, expected at least 1.")
    if not near > 0:
        raise ValueError(f"near is {near}; it must be above 0: give the nearest depth to draw.")
    face, bary, depth = _Peel.apply(screen, plan, layers, float(near), bool(cull_back))
    return Fragments(face, bary, depth)


class _Peel(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, screen: Tensor, plan: arguments.BatchLayout, layers: int, near: float, cull: bool
    ) -> tuple[Tensor, ...]:
        from invgraph.kernels.threads import launch
        from invgraph.raster.cpu.peel import peel as kernel
        from invgraph.raster.cpu.polygons import CHUNK

        found = find(screen, plan, near, _MARGIN)
        shape = (plan.images, layers, plan.height, plan.width)
        face = buffers.empty(shape, np.int32)
        bary = buffers.empty((*shape, 2), np.float32)
        depth = buffers.empty(shape, np.float32)
        launch(
            kernel, arguments.flat(screen, 3), plan.topology.faces, plan.vertex_start, plan.ranges,
            found.chunk_start, near, cull, plan.height, plan.width, CHUNK, found.points,
            found.corners, found.starts, found.entries, face, bary, depth,
        )  # fmt: skip
        arrays = (face, bary, depth) if plan.batched else (face[0], bary[0], depth[0])
        out = tuple(torch.from_numpy(array) for array in arrays)
        # To the backward pass, layers are images that share their vertices.
        ctx.plan = replace(
            plan,
            vertex_start=np.repeat(plan.vertex_start, layers),
            ranges=np.repeat(plan.ranges, layers, axis=0),
        )
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(out[0])
        ctx.save_for_backward(screen, *out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        screen, face, bary, depth = ctx.saved_tensors
        if grads[1] is None and grads[2] is None:
            return None, None, None, None, None
        gradient = _backward(screen, ctx.plan, face, bary, depth, grads[1], grads[2], None)
        return gradient, None, None, None, None
