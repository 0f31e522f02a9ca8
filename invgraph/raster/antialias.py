"""``antialias``: silhouettes that move when vertices do."""

from dataclasses import dataclass
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


def antialias(
    color: Float[Tensor, "*image h w c"],
    fragments: Fragments,
    screen: Float[Tensor, "*batch v 3"],
    faces: Int[Tensor, "f 3"] | Topology,
    *,
    in_place: bool = False,
) -> Float[Tensor, "*image h w c"]:
    """Blend colours across silhouettes by how much of a pixel each side covers.

    Where neighbouring pixels see different surfaces, the silhouette edge between their centres is
    found by walking over the mesh from the nearer pixel, so meshes may be finer than pixels.
    Neighbouring triangles have to share vertices for that.

    Args:
        color: float32 colours of pixel centres, of any number of channels.
        fragments: what ``rasterize`` gave.
        screen: what ``rasterize`` took.
        faces: what ``rasterize`` took.
        in_place: overwrite ``color``, which saves reading and writing a whole image. It has to be
            contiguous, and no leaf that requires gradients.

    Returns:
        The blended colours.

    Raises:
        ValueError: images of another size than the fragments', an index without a vertex, another
            type than float32, or a device without kernels.

    Gradients:
        Reach ``color`` and, at silhouettes, ``screen``.

    Source:
        Laine et al., Modular primitives for high-performance differentiable rendering (2020),
        section 3.5, with the walk in place of the visible triangle's own edges.
    """
    arguments.check("color", color)
    if color.shape[:-1] != fragments.face.shape:
        raise ValueError(
            f"color is {tuple(color.shape)} but fragments are {tuple(fragments.face.shape)}; "
            "give one colour per pixel of the fragments."
        )
    ranges = None
    if screen.ndim == 2 and fragments.face.ndim == 3:  # packed: only the number of images matters
        ranges = torch.zeros((fragments.face.shape[0], 2), dtype=torch.int64)
    height, width = fragments.face.shape[-2:]
    plan = arguments.read_screen(screen, faces, height, width, ranges)
    images = fragments.face.shape[0] if fragments.face.ndim == 3 else 1
    if plan.images != images:
        raise ValueError(
            f"screen holds {plan.images} images but fragments {images}; "
            "give the screen that was rasterized."
        )
    arguments.check_faces_cover(plan.topology, fragments.face)
    if in_place and not color.is_contiguous():
        raise ValueError(
            f"color has strides {color.stride()}, but only contiguous tensors can be blended in "
            "place; call .contiguous() on it, or leave in_place out."
        )
    depth = fragments.depth.detach()  # it only tells which pixel is nearer
    needs = color.requires_grad or screen.requires_grad
    if torch.is_grad_enabled() and needs:
        return _Antialias.apply(color, screen, fragments.face, depth, plan, in_place)
    return _forward(color, screen, fragments.face, depth, plan, in_place)[0]


@dataclass(frozen=True)
class _Pairs:
    """Pixels to blend; see ``antialias_cpu.find``."""

    spans: np.ndarray
    pixels: np.ndarray
    rows: np.ndarray
    weight: np.ndarray
    code: np.ndarray
    differences: np.ndarray


class _Antialias(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        color: Tensor,
        screen: Tensor,
        face: Tensor,
        depth: Tensor,
        plan: arguments.BatchLayout,
        in_place: bool,
    ) -> Tensor:
        out, ctx.pairs = _forward(color, screen, face, depth, plan, in_place)
        ctx.plan = plan
        ctx.save_for_backward(screen)
        if in_place:
            ctx.mark_dirty(color)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (screen,) = ctx.saved_tensors
        want = ctx.needs_input_grad
        grads = _backward(screen, ctx.plan, ctx.pairs, grad, want[0], want[1])
        return *grads, None, None, None, None


def _forward(
    color: Tensor,
    screen: Tensor,
    face: Tensor,
    depth: Tensor,
    plan: arguments.BatchLayout,
    in_place: bool,
) -> tuple[Tensor, _Pairs]:
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu.antialias import ROWS, blend, find

    shape = (plan.images, plan.height, plan.width)
    rows = arguments.flat(screen, 3)
    maps = arguments.line(face), arguments.line(depth)
    spans = np.zeros((plan.images * -(-plan.height // ROWS), 2), np.int64)
    capacity = plan.images * (plan.height * plan.width // 16) + 1024
    known = plan.topology
    while True:
        counter = np.zeros(1, np.int64)
        pixels, edge, weight, code = buffers.empty_many(
            (2 * capacity, np.int64), (2 * capacity, np.int32), (capacity, np.float32),
            (capacity, np.int8),
        )  # fmt: skip
        pixels, edge = pixels.reshape(-1, 2), edge.reshape(-1, 2)
        launch(
            find, rows, known.faces, known.adjacent, plan.vertex_start, shape, *maps,
            counter, spans, pixels, edge, weight, code,
        )  # fmt: skip
        if counter[0] <= capacity:
            break
        capacity = int(counter[0])
    channels = color.shape[-1]
    values = arguments.line(color)
    out = values if in_place else buffers.empty(values.shape, np.float32)
    differences = buffers.empty((int(counter[0]) * channels,), np.float32)
    launch(
        blend, plan.images, spans, pixels, weight, channels, in_place, values, out, differences,
        threads=plan.images if in_place else None,
    )  # fmt: skip
    result = color if in_place else torch.from_numpy(out.reshape(color.shape))
    return result, _Pairs(spans, pixels, edge, weight, code, differences)


def _backward(
    screen: Tensor,
    plan: arguments.BatchLayout,
    pairs: _Pairs,
    grad: Tensor,
    want_color: bool,
    want_screen: bool,
) -> tuple[Tensor | None, Tensor | None]:
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu.antialias import backward

    rows = arguments.flat(screen, 3)
    grads = arguments.line(grad)
    none = np.empty((0, 3), np.float32)
    grad_color = buffers.empty(grads.shape, np.float32) if want_color else grads[:0]
    grad_screen = buffers.empty(rows.shape, np.float32) if want_screen else none
    launch(
        backward, rows, plan.images, plan.groups, plan.height, plan.width,
        pairs.spans, pairs.pixels, pairs.rows, pairs.weight, pairs.code,
        grad.shape[-1], pairs.differences, grads,
        grad_color, grad_screen, want_color, want_screen,
    )  # fmt: skip
    return (
        torch.from_numpy(grad_color.reshape(grad.shape)) if want_color else None,
        torch.from_numpy(grad_screen.reshape(screen.shape)) if want_screen else None,
    )
