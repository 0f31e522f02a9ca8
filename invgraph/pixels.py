"""The pixels that are worth shading: packed together, worked on, put back."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from invgraph.raster import Fragments

# Packed pixels form a strip this wide. Its squares hold neighbours in the image, which is what
# interpolation's backward pass likes.
_TILE = 32


@lru_cache(maxsize=8)
def _tile_order(height: int, width: int) -> Tensor:
    """Positions of an image, tile by tile."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    tile = (rows // _TILE) * width + (columns // _TILE)
    return torch.argsort(tile.flatten(), stable=True)


class _Move(torch.autograd.Function):
    """``base`` with the rows ``target`` replaced by the rows ``source`` of ``values``."""

    @staticmethod
    def forward(base: Tensor, values: Tensor, source: Tensor, target: Tensor) -> Tensor:
        out = base.clone(memory_format=torch.contiguous_format)
        out[target] = values[source]
        return out

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, values, source, target = inputs
        ctx.save_for_backward(source, target)
        ctx.shape = values.shape

    @staticmethod
    def backward(ctx, grad):
        source, target = ctx.saved_tensors
        grad_base = grad_values = None
        if ctx.needs_input_grad[0]:
            grad_base = grad.index_fill(0, target, 0)
        if ctx.needs_input_grad[1]:
            grad_values = grad.new_zeros(ctx.shape)
            grad_values[source] = grad[target]
        return grad_base, grad_values, None, None


@dataclass(frozen=True)
class Pixels:
    """Some pixels of each image of a batch, and their places in a packed strip.

    Attributes:
        place: in the flattened images.
        slot: in the flattened strips; those of each image start at a multiple of ``size``.
        batch: number of images.
        size: room in each strip, a multiple of its width; what is left over is padding.
    """

    place: Int[Tensor, " p"]
    slot: Int[Tensor, " p"]
    batch: int
    size: int

    @staticmethod
    def where(mask: Bool[Tensor, "b h w"]) -> "Pixels":
        """The pixels where a mask is true."""
        batch, height, width = mask.shape
        order = _tile_order(height, width).to(mask.device)
        image, index = mask.flatten(1)[:, order].nonzero().unbind(-1)
        counts = mask.flatten(1).sum(1)
        size = -(-int(counts.max()) // _TILE) * _TILE if batch else 0
        before = counts.cumsum(0) - counts
        slot = torch.arange(len(image), device=mask.device) + (image * size - before[image])
        return Pixels(order[index] + image * (height * width), slot, batch, size)

    def pack(self, values: Float[Tensor, "b h w c"]) -> Float[Tensor, "b rows 32 c"]:
        """Values at these pixels, as a strip; zero in the padding.

        Gradients:
            Reach ``values``.
        """
        flat = values.flatten(0, 2)
        base = flat.new_zeros(self.batch * self.size, flat.shape[-1])
        return _Move.apply(base, flat, self.place, self.slot).reshape(
            self.batch, -1, _TILE, flat.shape[-1]
        )

    def unpack(
        self, strip: Float[Tensor, "b n c"], base: Float[Tensor, "b h w c"]
    ) -> Float[Tensor, "b h w c"]:
        """``base`` with these pixels replaced by a strip's values.

        Gradients:
            Reach ``strip`` and the rest of ``base``.
        """
        out = _Move.apply(base.flatten(0, 2), strip.flatten(0, 1), self.slot, self.place)
        return out.reshape(base.shape)

    def fragments(self, fragments: Fragments, first_face: int) -> Fragments:
        """The fragments at these pixels, as a strip, with faces counted from ``first_face``."""
        face = fragments.face.new_full((self.batch * self.size,), -1)
        face[self.slot] = fragments.face.flatten()[self.place] - first_face
        bary = self.pack(fragments.bary)
        slopes = fragments.bary_pixel
        return Fragments(
            face=face.reshape(bary.shape[:-1]),
            bary=bary,
            depth=torch.zeros_like(bary[..., 0]),
            bary_pixel=None if slopes is None else self.pack(slopes),
        )
