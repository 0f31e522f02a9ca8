"""``soft_silhouette``: a coverage that feels triangles from afar."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from invgraph.geometry.topology import Topology
from invgraph.kernels import buffers
from invgraph.raster import arguments
from invgraph.raster.polygons import find


def soft_silhouette(
    screen: Float[Tensor, "*batch v 3"],
    faces: Int[Tensor, "f 3"] | Topology,
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
        ctx: Any, screen: Tensor, plan: arguments.BatchLayout, sigma: float, near: float
    ) -> Tensor:
        from invgraph.kernels.threads import launch
        from invgraph.raster.cpu.soft import REACH, draw

        reach = REACH * sigma
        found = find(screen, plan, near, reach)
        shape = (plan.images, plan.height, plan.width)
        alpha = buffers.empty(shape, np.float32)
        scale = np.float32(1 / sigma**2)
        launch(
            draw,
            *shape,
            scale,
            reach,
            found.points,
            found.corners,
            found.starts,
            found.entries,
            alpha,
        )
        out = torch.from_numpy(alpha if plan.batched else alpha[0])
        ctx.save_for_backward(screen, out)
        ctx.found, ctx.softness = found, (near, reach, scale)
        ctx.plan = plan
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        from invgraph.kernels.threads import launch
        from invgraph.raster.cpu.soft import backward

        screen, alpha = ctx.saved_tensors
        plan, found = ctx.plan, ctx.found
        rows = arguments.flat(screen, 3)
        shape = (plan.images, plan.height, plan.width)
        gradient = buffers.empty(rows.shape, np.float32)
        launch(
            backward, rows, plan.topology.faces, plan.vertex_start, plan.ranges, found.chunk_start,
            *ctx.softness, *shape[1:], found.points, found.corners, found.boxes, found.slots,
            found.starts, found.entries, arguments.grid(alpha, shape), arguments.grid(grad, shape),
            buffers.empty((len(found.entries), 8), np.float32),
            buffers.empty((len(found.slots), 3, 3), np.float32),
            2 * torch.get_num_threads(), gradient,
        )  # fmt: skip
        return torch.from_numpy(gradient).view(screen.shape), None, None, None
