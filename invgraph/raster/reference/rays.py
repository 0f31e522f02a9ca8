"""The rays through the centres of pixels."""

import torch
from torch import Tensor


def pixel_rays(height: int, width: int, like: Tensor) -> Tensor:
    """(u, v, 1) at pixel centres."""
    v = torch.arange(height, dtype=like.dtype) + 0.5
    u = torch.arange(width, dtype=like.dtype) + 0.5
    v, u = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], -1)
