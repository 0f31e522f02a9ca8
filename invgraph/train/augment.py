"""How frames are varied before a network learns from them."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def cut_out(planes: Tensor, window: tuple[float, float, float]) -> Tensor:
    """A window of images, enlarged to their size: zoom, then the corner's offset, in sizes."""
    zoom, top, left = window
    height, width = planes.shape[-2:]
    grid = torch.nn.functional.affine_grid(
        torch.tensor(
            [
                [1 / zoom, 0.0, (2 * left + 1) / zoom - 1],
                [0.0, 1 / zoom, (2 * top + 1) / zoom - 1],
            ]
        ).expand(len(planes), 2, 3),
        [len(planes), 1, height, width],
        align_corners=False,
    )
    return torch.nn.functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)


def recolored(
    images: Float[Tensor, "n h w 3"], rng: np.random.Generator, gain: float
) -> Float[Tensor, "n h w 3"]:
    """The same change of brightness, contrast and colour for all frames.

    Args:
        images: sRGB in [0, 1].
        rng: decides.
        gain: of each, to either side.
    """
    bright, contrast, vivid = (float(x) for x in rng.uniform(1 - gain, 1 + gain, 3))
    tint = torch.from_numpy(rng.uniform(1 - gain / 4, 1 + gain / 4, 3)).float()
    mean = images.mean()
    images = (images - mean) * contrast + mean * bright
    grey = images.mean(-1, keepdim=True)
    return (((images - grey) * vivid + grey) * tint).clamp(0, 1)
