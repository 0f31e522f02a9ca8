"""What a rasterizer leaves at every pixel."""

from dataclasses import dataclass

from jaxtyping import Float32, Int32
from torch import Tensor


@dataclass(frozen=True)
class Fragments:
    """The nearest triangle of every pixel centre, and where on it the pixel's ray lands.

    Fields:
        face: index into ``faces``; -1 where there is nothing.
        bary: perspective-correct weights of corners 0 and 1 (corner 2 is one minus their sum); 0
            where there is nothing.
        depth: along the optical axis, in the unit of the vertices; 0 where there is nothing.
        bary_pixel: d(b0, b1) / d(u, v) in the order b0u, b0v, b1u, b1v, per pixel; ``None`` unless
            it was asked for.
    """

    face: Int32[Tensor, "*batch h w"]
    bary: Float32[Tensor, "*batch h w 2"]
    depth: Float32[Tensor, "*batch h w"]
    bary_pixel: Float32[Tensor, "*batch h w 4"] | None = None
