"""Values at pixels from values at vertices, in plain torch."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.raster.reference.rasterize import Layers
from invgraph.raster.reference.screen import Faces


def interpolate(
    attributes: Float[Tensor, "v c"], faces: Faces, found: Layers
) -> Float[Tensor, "h w c"]:
    """Values at pixels from values at vertices, of one image."""
    corners = attributes[faces.long()[found.face.clamp(min=0)]]
    weights = torch.cat([found.bary, 1 - found.bary.sum(-1, keepdim=True)], -1)
    return (weights[..., None] * corners).sum(-2) * (found.face >= 0)[..., None]
