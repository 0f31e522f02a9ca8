"""What a camera sees of a scene."""

from dataclasses import dataclass

from jaxtyping import Float, Int32
from torch import Tensor


@dataclass(frozen=True)
class Render:
    """What a camera sees of a scene; fields that were not asked for are None.

    Attributes:
        color: linear RGB radiance, not clamped, over the background.
        alpha: how much of each pixel is covered by objects, 0 to 1.
        depth: along the optical axis, of the surface at the pixel's centre; 0 where there is none.
        normal: unit, world frame, towards the camera, of the surface at the pixel's centre; 0
            where there is none.
        albedo: base colour, antialiased against black.
        object_id: index into ``scene.objects`` at the pixel's centre; -1 where there is none.
    """

    color: Float[Tensor, "*batch h w 3"] | None = None
    alpha: Float[Tensor, "*batch h w"] | None = None
    depth: Float[Tensor, "*batch h w"] | None = None
    normal: Float[Tensor, "*batch h w 3"] | None = None
    albedo: Float[Tensor, "*batch h w 3"] | None = None
    object_id: Int32[Tensor, "*batch h w"] | None = None
