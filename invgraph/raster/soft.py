"""``soft_silhouette``: a coverage that feels triangles from afar."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import arguments, buffers


def soft_silhouette(
    screen: Float[Tensor, "*batch v 3"],
    faces: Int[Tensor, "f 3"],
    height: int,
    width: int,
    sigma: float,
    *,
    ranges: Int[Tensor, "b 2"] | None = None,
    near: float = 1e-3,
) -> Float[Tensor, "*image h w"]:
    """How likely each pixel centre is covered when every face's outline is blurred.

    Coverage is 1 - prod_f (1 - sigmoid(s_f / sigma**2)), where s_f is the squared distance in
    pixels from the pixel centre to the outline of face f, negative outside of it. The product is
    over all faces: nothing is truncated, except faces beyond four sigma, which cover less than
    float32 can tell from nothing. Near and far sides of a solid count twice, and many small faces
    cover more than one large face does: the outline lies where the product says, up to about two
    sigma outside of the hard one on dense meshes. Use it to pull shapes and poses that are far from
    the answer, then ``antialias``.

    Args:
        screen: as for ``rasterize``.
        faces: as for ``rasterize``. Both sides count.
        height, width: of the images, px.
        sigma: softness, px. ``sigma`` of Liu et al. and PyTorch3D, whose images are 2 wide, is
            (2 sigma / size)**2.
        ranges: as for ``rasterize``.
        near: faces are clipped at this depth; in the unit of the vertices.

    Returns:
        Coverage in [0, 1].

    Raises:
        ValueError: ``sigma`` or ``near`` that is not above 0; and as for ``rasterize``.

    Gradients:
        Reach ``screen``, also where a face is hidden by others. They vanish deep inside, where
        coverage rounds to 1, beyond four sigma outside, and exactly on an outline.

    Source:
        Liu et al., Soft Rasterizer, ICCV 2019, equations 1 and 3.
    """
    plan = arguments.read_screen(screen, faces, height, width, ranges)
    for name, value in (("sigma", sigma), ("near", near)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} is {value}, expected a finite number above 0.")
    return _SoftSilhouette.apply(screen, plan, float(sigma), float(near))


class _SoftSilhouette(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, screen: Tensor, plan: arguments.Plan, sigma: float, near: float
    ) -> Tensor:
        from .soft_cpu import CHUNK, HIGH, REACH, WIDE, count, draw
        from .threads import run

        rows = arguments.flat(screen, 3)
        size = (plan.height, plan.width)
        chunk_start = np.zeros(plan.images + 1, np.int64)
        np.cumsum(-(-plan.ranges[:, 1] // CHUNK), out=chunk_start[1:])
        chunks = int(chunk_start[-1])
        tiles = -(-plan.width // WIDE) * -(-plan.height // HIGH)
        points = buffers.empty((chunks * CHUNK, 4, 2), np.float32)
        corners = buffers.empty((chunks * CHUNK,), np.int8)
        boxes = buffers.empty((chunks * CHUNK, 4), np.int16)
        slots = buffers.empty((chunks * CHUNK,), np.int64)
        counts = buffers.empty((chunks, tiles), np.int64)
        starts = np.zeros(plan.images * tiles + 1, np.int64)
        reach = REACH * sigma
        mesh = (rows, plan.topology.faces, plan.vertex_start, plan.ranges, chunk_start)
        found = (points, corners, boxes)
        run(count, *mesh, near, reach, *size, *found, slots, counts, starts)
        entries = buffers.empty((int(starts[-1]),), np.int64)
        alpha = buffers.empty((plan.images, *size), np.float32)
        scale = np.float32(1 / sigma**2)
        run(
            draw, plan.images, *size, chunk_start, scale, reach, *found, counts, starts,
            entries, alpha,
        )  # fmt: skip
        out = torch.from_numpy(alpha if plan.batched else alpha[0])
        ctx.save_for_backward(screen, out)
        ctx.arguments = (*mesh[1:], near, reach, scale, *size, *found, slots, starts, entries)
        ctx.plan = plan
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        from .soft_cpu import backward
        from .threads import run

        screen, alpha = ctx.saved_tensors
        plan, slots, entries = ctx.plan, ctx.arguments[-3], ctx.arguments[-1]
        rows = arguments.flat(screen, 3)
        shape = (plan.images, plan.height, plan.width)
        gradient = buffers.empty(rows.shape, np.float32)
        run(
            backward, rows, *ctx.arguments, arguments.grid(alpha, shape),
            arguments.grid(grad, shape), buffers.empty((len(entries), 8), np.float32),
            buffers.empty((len(slots), 3, 3), np.float32), 2 * torch.get_num_threads(), gradient,
        )  # fmt: skip
        return torch.from_numpy(gradient).view(screen.shape), None, None, None
