"""The screen of the plain operations: its meshes, the rays through its pixels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Screen = Float[Tensor, "v 3"]  # homogeneous pixels (u z, v z, z)
Faces = Int[Tensor, "f 3"]


def pixel_rays(height: int, width: int, like: Tensor) -> Tensor:
    """(u, v, 1) at pixel centres."""
    v = torch.arange(height, dtype=like.dtype) + 0.5
    u = torch.arange(width, dtype=like.dtype) + 0.5
    v, u = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], -1)
