"""``rasterize``: the nearest triangle of every pixel."""

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

_NONE = np.zeros(0, np.float32)
_CHUNK = 1024  # faces that are sorted into tiles together, at least
_CHUNKS = 128  # that all faces are cut into, at most, unless there are more images


def rasterize(
    screen: Float[Tensor, "*batch v 3"],
    faces: Int[Tensor, "f 3"] | Topology,
    height: int,
    width: int,
    *,
    ranges: Int[Tensor, "b 2"] | None = None,
    near: float = 1e-3,
    cull_back: bool = False,
    derivatives: bool = False,
) -> Fragments:
    """Find the triangle that each pixel centre sees first.

    A pixel exactly on the edge of two triangles belongs to one of them (top-left rule), so meshes
    have neither holes nor double hits. Of triangles with the same corners the one with the lower
    index wins; of others that are equally deep, to rounding, either may. Triangles that cross the
    near plane are clipped; degenerate ones, and those with a vertex that is not finite, are not
    drawn.

    Args:
        screen: homogeneous pixels (u z, v z, z), float32. ``b v 3`` for a batch, ``v 3`` for one
            image, or, with ``ranges``, ``v 3`` for the vertices of all images together.
        faces: indices into the vertices (of each image, or of all together); a ``Topology`` where
            the same are used more than once.
        height, width: of the images, px.
        ranges: for each image, its first face and its number of faces.
        near: nothing nearer than this depth is drawn. In the unit of the vertices.
        cull_back: draw only triangles that are counter-clockwise seen from the camera.
        derivatives: also find ``bary_pixel``.

    Returns:
        Fragments with one image per item of the batch (``b h w``, or ``h w`` for one image). Face
        indices count from the start of ``faces``.

    Raises:
        ValueError: shapes that do not belong together, an index without a vertex, a size below 1,
            another type than float32, or a device without kernels.

    Gradients:
        Reach ``screen`` through ``bary``, ``depth`` and ``bary_pixel``. Which triangle is seen has
        no gradient: silhouettes get theirs from ``antialias``.

    Source:
        Olano & Greer, Triangle scan conversion using 2D homogeneous coordinates (1997).
    """
    plan = arguments.read_screen(screen, faces, height, width, ranges)
    if not near > 0:
        raise ValueError(f"near is {near}; it must be above 0: give the nearest depth to draw.")
    options = (float(near), bool(cull_back), bool(derivatives))
    if torch.is_grad_enabled() and screen.requires_grad:
        face, bary, depth, *slope = _Rasterize.apply(screen, plan, options)
    else:
        face, bary, depth, *slope = _forward(screen, plan, options)
    face._drawn_faces = len(plan.topology.faces)  # pyright: ignore[reportAttributeAccessIssue]
    return Fragments(face, bary, depth, slope[0] if derivatives else None)


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, screen: Tensor, plan: arguments.BatchLayout, options: tuple) -> tuple:
        out = _forward(screen, plan, options)
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(out[0])
        ctx.save_for_backward(screen, *out[:3])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        screen, face, bary, depth = ctx.saved_tensors
        _, grad_bary, grad_depth, *grad_slope = grads
        slope = grad_slope[0] if grad_slope else None
        if grad_bary is None and grad_depth is None and slope is None:
            return None, None, None
        return (
            _backward(screen, ctx.plan, face, bary, depth, grad_bary, grad_depth, slope),
            None,
            None,
        )


def _forward(screen: Tensor, plan: arguments.BatchLayout, options: tuple) -> tuple[Tensor, ...]:
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu.rasterize import HIGH, WIDE, rasterize

    near, cull, derivatives = options
    height, width = plan.height, plan.width
    images = plan.images
    rows = arguments.line(screen)
    faces = plan.topology.faces.reshape(-1)
    ranges = plan.ranges
    count = int(ranges[:, 1].sum())
    chunk = max(_CHUNK, -(-count // _CHUNKS))
    chunk_start = np.zeros(images + 1, np.int64)
    np.cumsum(-(-ranges[:, 1] // chunk), out=chunk_start[1:])
    chunks = int(chunk_start[-1])
    tiles = -(-width // WIDE) * -(-height // HIGH)
    places = chunks * chunk
    boxes, kept_face, kept_box, spots, values, counts, kept = buffers.empty_many(
        (4 * len(rows) // 3, np.int16), (places, np.int32), (places, np.int64),
        (2 * places, np.int32), (3 * places, np.float32), (2 * chunks * tiles, np.int32),
        (2 * chunks, np.int64),
    )  # fmt: skip
    counts, kept = counts.reshape(chunks, 2 * tiles), kept.reshape(chunks, 2)
    shape = (images, height, width)
    face = buffers.empty(shape, np.int32)
    bary = buffers.empty((*shape, 2), np.float32)
    depth = buffers.empty(shape, np.float32)
    slope = buffers.empty((*shape, 4), np.float32) if derivatives else _NONE
    capacity = 2 * count + 8 * images * tiles
    while True:
        starts = np.empty(2 * images * tiles + 1, np.int64)
        entry_face, entry_box = buffers.empty_many((capacity, np.int32), (capacity, np.int64))
        launch(
            rasterize, rows, faces, plan.vertex_start, ranges, chunk, chunk_start, near, cull,
            height, width, boxes, kept_face, kept_box, spots, values, kept, counts, starts,
            entry_face, entry_box, derivatives,
            face.reshape(-1), bary.reshape(-1), depth.reshape(-1), slope.reshape(-1),
        )  # fmt: skip
        if starts[-1] <= capacity:
            break
        # A helper that is late reads the old ``starts``, finds them too many, and leaves.
        capacity = int(starts[-1])
    arrays = (face, bary, depth, slope) if derivatives else (face, bary, depth)
    if plan.batched:
        return tuple(torch.from_numpy(array) for array in arrays)
    return tuple(torch.from_numpy(array[0]) for array in arrays)


def _backward(
    screen: Tensor,
    plan: arguments.BatchLayout,
    face: Tensor,
    bary: Tensor,
    depth: Tensor,
    grad_bary: Tensor | None,
    grad_depth: Tensor | None,
    grad_slope: Tensor | None,
) -> Tensor:
    from invgraph.raster.cpu.rasterize_backward import backward

    shape = (plan.images, plan.height, plan.width)
    rows = arguments.line(screen)
    gradient = buffers.empty((len(rows) // 3, 3), np.float32)
    if grad_bary is None:
        grad_bary = torch.zeros_like(bary)
    grads = (grad_bary, grad_depth, grad_slope)
    values = [_NONE if grad is None else arguments.line(grad) for grad in grads]
    maps = [arguments.line(part) for part in (face, bary, depth)]
    has = (grad_depth is not None, grad_slope is not None)
    arguments.sum_records(
        backward,
        (rows, plan.topology.faces, plan.vertex_start, shape, *maps, *values, *has),
        shape,
        plan.groups,
        gradient,
        3,
    )
    return torch.from_numpy(gradient.reshape(screen.shape))
