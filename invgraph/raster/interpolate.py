"""``interpolate``: values at vertices to values at pixels."""

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


def interpolate(
    attributes: Float[Tensor, "*batch v c"],
    faces: Int[Tensor, "f 3"] | Topology,
    fragments: Fragments,
) -> Float[Tensor, "*image h w c"]:
    """Blend the values at each pixel's three corners by its perspective-correct weights.

    Args:
        attributes: float32 values at vertices: ``b v c``, one set per image; ``1 v c`` or ``v c``,
            the same set for all images (or the vertices of all images of a ragged batch).
        faces: which three values a face has. They may differ from the faces that were rasterized
            (``uv_faces``) but there are as many.
        fragments: what ``rasterize`` gave.

    Returns:
        One value per pixel; 0 where there is nothing.

    Raises:
        ValueError: a batch that fits neither 1 nor the number of images, an index without a vertex,
            another type than float32, or a device without kernels.

    Gradients:
        Reach ``attributes`` and, through ``fragments.bary``, the screen.
    """
    arguments.check("attributes", attributes)
    images = fragments.face.shape[0] if fragments.face.ndim == 3 else 1
    own = attributes.ndim == 3 and attributes.shape[0] > 1
    if attributes.ndim not in (2, 3) or (own and attributes.shape[0] != images):
        raise ValueError(
            f"attributes are {tuple(attributes.shape)} for {images} images, expected "
            "(images, vertices, channels), (1, vertices, channels) or (vertices, channels)."
        )
    known = arguments.read_faces(faces, attributes.shape[-2], "attributes")
    arguments.check_faces_cover(known, fragments.face)
    needs = attributes.requires_grad or fragments.bary.requires_grad
    if torch.is_grad_enabled() and needs:
        return _Interpolate.apply(attributes, fragments.bary, fragments.face, known)
    return _forward(attributes, fragments.bary, fragments.face, known)


def attribute_slopes(
    attributes: Float[Tensor, "*batch v c"],
    faces: Int[Tensor, "f 3"] | Topology,
    fragments: Fragments,
) -> Float[Tensor, "*image h w 2*c"]:
    """How interpolated values change from pixel to pixel: for texture coordinates, their footprint.

    Args:
        attributes: as for ``interpolate``.
        faces: as for ``interpolate``.
        fragments: what ``rasterize`` gave with ``derivatives=True``.

    Returns:
        d value / d(u, v), per pixel: a0u, a0v, a1u, a1v, ... ; 0 where there is nothing.

    Raises:
        ValueError: ``fragments`` has no ``bary_pixel``; and as for ``interpolate``.

    Gradients:
        Reach ``attributes`` and, through ``fragments.bary_pixel``, the screen.
    """
    slope = fragments.bary_pixel
    if slope is None:
        raise ValueError("fragments have no bary_pixel; rasterize with derivatives=True.")
    first, second, third = (
        interpolate(attributes, faces, Fragments(fragments.face, corner, fragments.depth))
        for corner in _corners(fragments.bary)
    )
    first, second = (first - third).unsqueeze(-1), (second - third).unsqueeze(-1)
    out = first * slope[..., None, 0:2] + second * slope[..., None, 2:4]
    return out.flatten(-2)


def _corners(bary: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights that pick one corner each."""
    zero = torch.zeros_like(bary, requires_grad=False)
    first, second = zero.clone(), zero.clone()
    first[..., 0] = 1
    second[..., 1] = 1
    return first, second, zero


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, attributes: Tensor, bary: Tensor, face: Tensor, known: Topology
    ) -> Tensor:
        ctx.known = known
        ctx.save_for_backward(attributes, bary, face)
        return _forward(attributes, bary, face, known)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        attributes, bary, face = ctx.saved_tensors
        if not ctx.needs_input_grad[0]:
            return None, _backward_weights(attributes, bary, face, ctx.known, grad), None, None
        grad_attributes, grad_bary = _backward(attributes, bary, face, ctx.known, grad)
        return grad_attributes, grad_bary, None, None


def _shape(face: Tensor) -> tuple[int, int, int]:
    images = face.shape[0] if face.ndim == 3 else 1
    return images, face.shape[-2], face.shape[-1]


def _starts(attributes: Tensor, images: int) -> tuple[np.ndarray, int]:
    """Row of each image's vertex 0, and the number of images with rows of their own."""
    own = attributes.ndim == 3 and attributes.shape[0] > 1
    start = np.arange(images, dtype=np.int64) * (attributes.shape[1] if own else 0)
    return start, images if own else 1


def _forward(attributes: Tensor, bary: Tensor, face: Tensor, known: Topology) -> Tensor:
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu.interpolate import forward

    channels = attributes.shape[-1]
    shape = _shape(face)
    start, _ = _starts(attributes, shape[0])
    out = buffers.empty((*shape, channels), np.float32)
    rows = arguments.line(attributes)
    maps = arguments.line(face), arguments.line(bary)
    launch(forward, rows, known.faces, start, shape, channels, *maps, out.reshape(-1))
    return torch.from_numpy(out.reshape(*face.shape, channels))


def _backward_weights(
    attributes: Tensor, bary: Tensor, face: Tensor, known: Topology, grad: Tensor
) -> Tensor:
    """What ``_backward`` gives second, in half the time."""
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu.interpolate import backward_weights

    shape = _shape(face)
    start, _ = _starts(attributes, shape[0])
    out = buffers.empty((*shape, 2), np.float32)
    rows = arguments.line(attributes)
    maps = arguments.line(face), arguments.line(bary), arguments.line(grad)
    channels = attributes.shape[-1]
    launch(backward_weights, rows, known.faces, start, shape, channels, *maps, out.reshape(-1))
    return torch.from_numpy(out.reshape(bary.shape))


def _backward(
    attributes: Tensor, bary: Tensor, face: Tensor, known: Topology, grad: Tensor
) -> tuple[Tensor, Tensor]:
    from invgraph.raster.cpu.interpolate import CHANNELS, backward

    channels = attributes.shape[-1]
    shape = _shape(face)
    start, groups = _starts(attributes, shape[0])
    rows = arguments.line(attributes)
    maps = arguments.line(face), arguments.line(bary)
    grads = arguments.line(grad)
    grad_bary = buffers.empty((*shape, 2), np.float32)
    gradient = buffers.empty((attributes.numel() // max(channels, 1), channels), np.float32)
    weights = grad_bary.reshape(-1)
    for channel in range(0, channels, CHANNELS):
        some = min(CHANNELS, channels - channel)
        arguments.sum_records(
            backward,
            (rows, known.faces, start, shape, channels, *maps, grads, channel, some, weights),
            shape,
            groups,
            gradient,
            some,
        )
    return (
        torch.from_numpy(gradient.reshape(attributes.shape)),
        torch.from_numpy(grad_bary.reshape(bary.shape)),
    )
