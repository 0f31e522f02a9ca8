"""The surface of the object: its colours, the light on it, and how they compare with an image."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.fitting.pose.contour import sample
from invgraph.photometric.response import CLIPPED
from invgraph.rendering import harmonics

ROUNDS = 3  # of robust least squares
TINT = 0.6  # logarithm of a channel's share of light, from which it is cut back
RIDGE = 0.005  # of the light's coefficients beyond the constant one, per point
FAIR = 0.25  # squared albedo of which that is a share, or less where a dark texture is allowed for
BRIGHT = 0.8  # the brightest colours of most textures; darker ones may be brightened up to it
FACING = 0.2  # cosine: surfaces seen at a flatter angle are not compared
PATIENCE = 60.0  # frames that an albedo remembers

_COSINE = [harmonics.COSINE_FACTORS[order] / math.pi for order in (0, 1, 1, 1, 2, 2, 2, 2, 2)]


@dataclass(frozen=True, eq=False)
class VertexColors:
    """What is known of the colours of the surface.

    Attributes:
        albedo: linear RGB per vertex.
        seen: per vertex, the frames in which it was seen; 0 where the albedo is a guess. Infinite
            where it is given.
    """

    albedo: Float[Tensor, "v 3"]
    seen: Float[Tensor, " v"]

    @property
    def source(self) -> Literal["seen", "given"]:
        """Where the colours are from: the images or the model's file."""
        return "given" if bool(self.seen.isinf().any()) else "seen"

    @cached_property
    def lift(self) -> float:
        """How much brighter the true colours may well be: textures of a file are often too dark."""
        bright = float(self.albedo.amax(1)[:: len(self.albedo) // 2000 + 1].quantile(0.95))
        return max(1.0, BRIGHT / max(bright, 0.02)) if self.source == "given" else 1.0

    @staticmethod
    def plain(count: int) -> "VertexColors":
        """Middle grey everywhere: nothing is known."""
        return VertexColors(torch.full((count, 3), 0.5), torch.zeros(count))

    def learn(
        self, vertices: Tensor, color: Float[Tensor, "n 3"], shading: Float[Tensor, "n 3"]
    ) -> "VertexColors":
        """Add what a frame shows of some vertices; given colours stay."""
        found = (color / shading.clamp_min(1e-3)).clamp(0.005, 1.0)
        seen = self.seen[vertices]
        rate = 1 / (seen.clamp_max(PATIENCE) + 1)
        rate = torch.where(seen.isinf(), 0.0, rate)[:, None]
        albedo = self.albedo.clone()
        albedo[vertices] = torch.lerp(albedo[vertices], found, rate)
        count = self.seen.clone()
        count[vertices] += 1
        if not bool((self.seen > 0).any()):
            albedo[count == 0] = found.median(0).values
        return replace(self, albedo=albedo, seen=count)


def visible(
    seen: Float[Tensor, "v 3"],
    normals: Float[Tensor, "v 3"],
    pixels: Float[Tensor, "v 2"],
    depth: Float[Tensor, "h w"],
    tolerance: float,
) -> Bool[Tensor, " v"]:
    """Vertices that face the camera and that nothing of the object hides.

    Args:
        seen, normals: camera frame.
        pixels: of the window.
        depth: of the object in the window, 0 where it is not.
        tolerance: by how much a vertex may lie behind what is rendered there, m.
    """
    height, width = depth.shape
    column, row = pixels.nan_to_num(-1.0).clamp(-1.0, 1e5).floor().long().unbind(-1)
    inside = (column > 0) & (row > 0) & (column < width - 1) & (row < height - 1)
    there = depth[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    facing = (normals * seen).sum(-1) < -FACING * seen.norm(dim=-1)
    return inside & facing & (there > 0) & (seen[:, 2] < there + tolerance)


def columns(normals: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 9"]:
    """What each coefficient of a light adds to the radiance of a white Lambertian surface."""
    return harmonics.basis(normals, 2) * normals.new_tensor(_COSINE)


def find_light(
    albedo: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    color: Float[Tensor, "n 3"],
    overexposed: bool = False,
) -> Float[Tensor, "9 3"]:
    """The light, spherical harmonics of order 2, under which surfaces have their colours.

    A ridge keeps it as even as the colours allow; outliers count less (two rounds of Cauchy's
    robust weights).

    Args:
        albedo: linear RGB.
        normals: of the frame in which the light is wanted.
        color: as seen, linear RGB.
        overexposed: colours may be cut off at white, where more light is no error, and the albedo
            may be too dark.
    """
    return light_of(columns(normals), albedo, color, overexposed)


def light_of(
    shape: Float[Tensor, "n 9"],
    albedo: Float[Tensor, "n 3"],
    color: Float[Tensor, "n 3"],
    overexposed: bool = False,
) -> Float[Tensor, "9 3"]:
    """As :func:`find_light`, of surfaces whose :func:`columns` are known."""
    design = albedo.T[..., None] * shape  # 3 n 9
    wanted = color.T[..., None]
    fair = min(FAIR, float(albedo.square().mean())) if overexposed else FAIR
    ridge = torch.full((9,), RIDGE * len(albedo) * fair)
    ridge[0] = 1e-6
    weight = torch.ones_like(wanted)
    clipped = wanted > CLIPPED**2
    light = None
    for _ in range(ROUNDS):
        if light is not None:
            found = design @ light
            if overexposed:
                wanted = torch.where(clipped, torch.maximum(found, wanted), wanted)
            error = wanted - found
            scale = 1.48 * error.abs().median() + 0.01
            weight = 1 / (1 + (error / (2 * scale)).square().sum(0, keepdim=True))
        light = torch.linalg.solve(
            design.mT @ (weight * design) + torch.diag(ridge), design.mT @ (weight * wanted)
        )
    assert light is not None
    return whitened(light[..., 0].T)


def whitened(light: Float[Tensor, "*batch 9 3"]) -> Float[Tensor, "*batch 9 3"]:
    """The light with no channel further from their geometric mean than lamps are.

    Else a yellow object under blue light would explain a grey wall.
    """
    level = light[..., :1, :].clamp_min(1e-4).log()
    tint = level - level.mean(-1, keepdim=True)
    return light * (tint.clamp(-TINT, TINT) - tint).exp()


def shading(light: Float[Tensor, "9 3"], normals: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Radiance of a white Lambertian surface."""
    return radiance(columns(normals), light)


def radiance(shape: Float[Tensor, "n 9"], light: Float[Tensor, "9 3"]) -> Float[Tensor, "n 3"]:
    """As :func:`shading`, of surfaces whose :func:`columns` are known."""
    return (shape @ light).clamp_min(1e-3)


def slopes(
    image: Float[Tensor, "c h w"], pixels: Float[Tensor, "n 2"]
) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c 2"]]:
    """Values of an image at pixels, and how they change with the pixel (central differences)."""
    moves = torch.tensor([[0.0, 0.0], [0.7, 0.0], [-0.7, 0.0], [0.0, 0.7], [0.0, -0.7]])
    centre, right, left, below, above = sample(image, pixels[:, None] + moves).unbind(-1)
    return centre.T, torch.stack([right - left, below - above], -1).permute(1, 0, 2) / 1.4
