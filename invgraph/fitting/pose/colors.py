"""Which colours the object has and which its surroundings, near each part of it.

Source:
    Histograms attached to places of the model: Tjaden et al., Real-time monocular pose estimation
    of 3D objects using temporally consistent local color histograms (ICCV 2017).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool3d

BINS = 16  # per channel
CELLS = BINS**3
FLOOR = 1e-2  # of the uniform density mixed into all: no colour is impossible
SHARED = 0.3  # share of the whole object's density in that of a place


@dataclass(frozen=True, eq=False)
class Palette:
    """Densities of the colours of an object and of what surrounds it.

    Attributes:
        places: around which the densities hold, object frame.
        inside, outside: per place and cell of the sRGB cube, relative to the uniform density.
    """

    places: Float[Tensor, "k 3"]
    inside: Float[Tensor, "k cells"]
    outside: Float[Tensor, "k cells"]

    def blend(self, other: "Palette", share: float) -> "Palette":
        """Move towards another palette of the same places by a share."""
        return Palette(
            self.places,
            torch.lerp(self.inside, other.inside, share),
            torch.lerp(self.outside, other.outside, share),
        )

    def posterior(
        self, points: Float[Tensor, "n 3"], cell: Int[Tensor, "n m"]
    ) -> Float[Tensor, "n m"]:
        """Probability that colours are the object's, taking both as equally likely beforehand.

        Args:
            points: near which the colours were seen, object frame.
            cell: of the colours.
        """
        nearest = torch.cdist(points, self.places).argmin(1)[:, None]
        inside = self.inside[nearest, cell]
        return inside / (inside + self.outside[nearest, cell])

    def likeness(
        self, cell: Int[Tensor, "*shape"], everywhere: Float[Tensor, " cells"]
    ) -> Float[Tensor, "*shape"]:
        """Probability that colours are the object's and not just any of the image's.

        Args:
            cell: of the colours.
            everywhere: density of the image's colours.
        """
        inside = self.inside.mean(0)[cell]
        return inside / (inside + everywhere[cell])


def cells(srgb: Float[Tensor, "*shape 3"]) -> Int[Tensor, "*shape"]:
    """The cell of the sRGB cube of every colour."""
    index = (srgb * BINS).long().clamp_(0, BINS - 1)
    return (index[..., 0] * BINS + index[..., 1]) * BINS + index[..., 2]


def density(counts: Float[Tensor, "k cells"]) -> Float[Tensor, "k cells"]:
    """Densities from counts: smoothed by a cell, mixed with the uniform one."""
    cube = counts.reshape(-1, 1, BINS, BINS, BINS)
    smooth = avg_pool3d(cube, 3, 1, 1, count_include_pad=False).flatten(1) + 0.5 * counts
    total = smooth.sum(1, keepdim=True)
    return (1 - FLOOR) * smooth * (CELLS / total.clamp_min(1)) + FLOOR


def palette(
    places: Float[Tensor, "k 3"],
    pixels: Float[Tensor, "k 2"],
    radius: float,
    cell: Int[Tensor, "h w"],
    drawn: Int[Tensor, "h w"],
    inside: Bool[Tensor, "h w"],
    outside: Bool[Tensor, "h w"],
) -> Palette:
    """The palette of a window in which the object is marked.

    Args:
        places: object frame.
        pixels: where they are in the window.
        radius: px around a place that count as near.
        cell: of every pixel's colour.
        drawn: of the colour that the object should have there; ``cell`` itself if unknown.
        inside, outside: marks; a pixel may be neither.
    """
    height, width = cell.shape
    stride = 2 if height * width > 10_000 else 1
    row, column = torch.meshgrid(
        torch.arange(0, height, stride), torch.arange(0, width, stride), indexing="ij"
    )
    at = torch.stack([column, row], -1).reshape(-1, 2) + 0.5
    near = torch.cdist(pixels, at) < radius
    densities = []
    for mark, images in ((inside, (cell, drawn)), (outside, (cell,))):
        chosen = mark[::stride, ::stride].reshape(-1)
        place, index = (near & chosen).nonzero().unbind(-1)
        counts = torch.zeros(len(places), CELLS)
        for image in images:
            image = image[::stride, ::stride].reshape(-1)
            whole = torch.bincount(image[chosen], minlength=CELLS).float()
            local = torch.bincount(place * CELLS + image[index], minlength=len(places) * CELLS)
            local = local.reshape(-1, CELLS).float()
            amount = local.sum(1, keepdim=True)
            counts += local + whole * ((SHARED * amount + 20) / whole.sum().clamp_min(1))
        densities.append(density(counts))
    return Palette(places, *densities)
