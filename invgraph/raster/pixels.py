"""The pixels that are worth shading: packed together, worked on, put back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor
from torch.autograd.function import once_differentiable

from invgraph.geometry.topology import Topology
from invgraph.kernels import buffers
from invgraph.raster import Fragments

# Packed pixels form a strip this wide. Its squares hold neighbours in the image, which is what
# interpolation's backward pass likes.
_TILE = 32


@dataclass(frozen=True)
class Pixels:
    """The pixels of each image of a batch that show certain faces, as a strip of packed pixels.

    Attributes:
        place: in the flattened image; -1 in the padding at the end of a strip.
        face: counted from the first of these faces; -1 in the padding.
        size: height and width of the images.
    """

    place: Int32[Tensor, "b n"]
    face: Int32[Tensor, "b n"]
    size: tuple[int, int]

    @staticmethod
    def showing(fragments: Fragments, first: int, count: int) -> "Pixels":
        """The pixels that show one of ``count`` faces from ``first`` on."""
        face = fragments.face.numpy()
        batch, height, width = face.shape
        tiles = -(-height // _TILE) * -(-width // _TILE)
        counts = np.empty((batch, tiles), np.int64)
        _run("count", face, first, first + count, counts)
        starts = np.zeros((batch, tiles + 1), np.int64)
        np.cumsum(counts, 1, out=starts[:, 1:])
        longest = -(-int(starts[:, -1].max(initial=0)) // _TILE) * _TILE
        place = buffers.empty((batch, longest), np.int32)
        packed = buffers.empty((batch, longest), np.int32)
        _run("fill", face, first, first + count, starts, place, packed)
        return Pixels(torch.from_numpy(place), torch.from_numpy(packed), (height, width))

    def pack(self, values: Float[Tensor, "b h w c"]) -> Float[Tensor, "b n c"]:
        """Values at these pixels; zero in the padding.

        Gradients:
            Reach ``values``.
        """
        return _Pack.apply(values.flatten(1, 2), self.place)

    def unpack(
        self, strips: Sequence[Float[Tensor, "b n c"] | float], base: Float[Tensor, "b h w d"]
    ) -> Float[Tensor, "b h w d"]:
        """``base`` with these pixels overwritten, in place where no gradient forbids it.

        Args:
            strips: values of consecutive channels; a number fills one channel.
            base: contiguous; taken over, so do not use it afterwards.

        Gradients:
            Reach ``strips``, and what is left of ``base``.
        """
        tensors = [strip for strip in strips if isinstance(strip, Tensor)]
        plan = [strip if isinstance(strip, float) else None for strip in strips]
        return _Unpack.apply(base, self.place, plan, *tensors)

    def fragments(self, fragments: Fragments) -> Fragments:
        """The fragments at these pixels, in rows of the strip, without their derivatives."""
        shape = (len(self.face), -1, _TILE)
        bary = self.pack(fragments.bary).reshape(*shape, 2)
        face = self.face.reshape(shape)
        return Fragments(face, bary, torch.zeros_like(face, dtype=torch.float32))

    def footprint(
        self, uv: Float[Tensor, "t 2"], uv_topology: Topology, fragments: Fragments
    ) -> Float[Tensor, "b n 4"]:
        """How uv changes from pixel to pixel: u by x, u by y, v by x, v by y.

        Gradients:
            None: which mip level is read counts as a constant.
        """
        assert fragments.bary_pixel is not None
        slope = fragments.bary_pixel.detach().flatten(1, 2).numpy()
        out = buffers.empty((*self.face.shape, 4), np.float32)
        _run("footprint", _plain(uv), uv_topology.faces, self.face.numpy(),
            self.place.numpy(), slope, out,
        )  # fmt: skip
        return torch.from_numpy(out)

    def facing(self, screen: Float[Tensor, "b v 3"], topology: Topology) -> Bool[Tensor, "b n"]:
        """Whether the outside of each pixel's face is seen; true in the padding."""
        out = buffers.empty(tuple(self.face.shape), np.bool_)
        _run("facing", _plain(screen), topology.faces, self.face.numpy(), out)
        return torch.from_numpy(out)


def _run(kernel: str, *args: Any) -> None:
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu import pixels as pixels_cpu

    launch(getattr(pixels_cpu, kernel), *args)


def _plain(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _gather(values: Tensor, offset: int, channels: int, place: Tensor) -> Tensor:
    strip = buffers.empty((*place.shape, channels), np.float32)
    _run("gather", _plain(values), offset, place.numpy(), strip)
    return torch.from_numpy(strip)


class _Pack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, place: Tensor) -> Tensor:
        ctx.place, ctx.shape = place, values.shape
        return _gather(values, 0, values.shape[-1], place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        out = buffers.empty(tuple(ctx.shape), np.float32)
        out[:] = 0
        _run("scatter", _plain(grad), ctx.place.numpy(), 0, out)
        return torch.from_numpy(out), None


class _Unpack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, base: Tensor, place: Tensor, plan: list[float | None], *strips: Tensor
    ) -> Tensor:
        ctx.place, ctx.plan = place, plan
        ctx.widths = [strip.shape[-1] for strip in strips]
        out = base.clone() if base.requires_grad else base
        values = out.detach().numpy().reshape(len(place), -1, base.shape[-1])
        offset, rest = 0, list(strips)
        for number in plan:
            if number is None:
                strip = rest.pop(0)
                _run("scatter", _plain(strip), place.numpy(), offset, values)
                offset += strip.shape[-1]
            else:
                _run("assign", np.float32(number), place.numpy(), offset, offset + 1, values)
                offset += 1
        if out is base:
            ctx.mark_dirty(base)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad, widths, offset = grad.contiguous(), list(ctx.widths), 0
        flat = grad.flatten(1, 2)
        found: list[Tensor | None] = []
        for number in ctx.plan:
            width = widths.pop(0) if number is None else 1
            if number is None:
                needed = ctx.needs_input_grad[3 + len(found)]
                found.append(_gather(flat, offset, width, ctx.place) if needed else None)
            offset += width
        grad_base = None
        if ctx.needs_input_grad[0]:
            grad_base = grad.clone()
            values = grad_base.numpy().reshape(flat.shape)
            _run("assign", np.float32(0), ctx.place.numpy(), 0, offset, values)
        return grad_base, None, None, *found
