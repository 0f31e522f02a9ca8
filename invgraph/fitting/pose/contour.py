"""The outline of the object: where it is expected, and where the image has it.

Source:
    Correspondence lines and their posteriors: Stoiber et al., SRT3D: A sparse region-based 3D
    object tracking approach for the real world (IJCV 2022), building on Prisacariu & Reid, PWP3D
    (IJCV 2012).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from invgraph.fitting.pose.colors import Palette
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.geometry.camera import Camera

LINES = 240  # along the outline, at most
SPACING = 1.5  # px between lines, at least
REACH = 12  # samples on each side of the outline
STEEPNESS = 1.0  # width of the transition from object to background, samples
AMPLITUDE = 0.43  # the probability of one sample is at most this far from a half
LEAST = 4  # samples that must lie between two outlines
LEAST_VARIANCE = 4.0  # of an offset, samples^2: palettes err by that much, along whole stretches


@dataclass(frozen=True, eq=False)
class Rim:
    """Points of the outline.

    Attributes:
        points: object frame.
        pixels: their images.
        normals: unit, outwards, in the image.
    """

    points: Float[Tensor, "n 3"]
    pixels: Float[Tensor, "n 2"]
    normals: Float[Tensor, "n 2"]


def outline(
    model: KnownObject,
    seen: Float[Tensor, "v 3"],
    pixels: Float[Tensor, "v 2"],
    camera: Camera,
    covered: Bool[Tensor, "h w"],
) -> Rim:
    """Points on edges between a triangle that faces the camera and one that does not.

    Only those with the object on one side in the image and something else on the other.

    Args:
        model: the object.
        seen: its vertices, camera frame.
        pixels: of its vertices.
        camera: of the window.
        covered: what the object covers in the window.
    """
    a, b, c = seen[model.mesh.faces.long()].unbind(1)
    front = (torch.linalg.cross(b - a, c - a) * a).sum(-1) < 0
    first, second = model.sides.unbind(1)
    candidates = model.rims[(front[first] != front[second]) | (first == second)]
    start, end = pixels[candidates].unbind(1)
    along = end - start
    length = along.norm(dim=-1)
    total = float(length.sum())
    if not total > 0 or not total < 1e7:
        return Rim(*(seen.new_zeros(0, k) for k in (3, 2, 2)))
    # More candidates than lines: most rims are inside the outline.
    count = max(int(min(4 * LINES, total / SPACING)), 1)
    place = (torch.arange(count) + 0.5) * (total / count)
    reached = length.cumsum(0)
    edge = torch.searchsorted(reached, place).clamp_max(len(length) - 1)
    share = ((place - reached[edge] + length[edge]) / length[edge].clamp_min(1e-9)).clamp(0, 1)
    at = start[edge] + share[:, None] * along[edge]
    normal = torch.stack([along[edge, 1], -along[edge, 0]], -1)
    normal = normal / length[edge, None].clamp_min(1e-9)
    ahead = _lookup(covered, at + 1.5 * normal)
    behind = _lookup(covered, at - 1.5 * normal)
    normal = torch.where(ahead[:, None], -normal, normal)
    border = torch.tensor([camera.width, camera.height])
    outer = (ahead != behind) & ((at > 2) & (at < border - 2)).all(-1)
    ends = model.mesh.vertices[candidates[edge]]
    points = ends[:, 0] + share[:, None] * (ends[:, 1] - ends[:, 0])
    rim = [tensor[outer] for tensor in (points, at, normal)]
    stride = -(-len(rim[0]) // LINES) if len(rim[0]) else 1
    return Rim(*(tensor[::stride] for tensor in rim))


def _lookup(mask: Tensor, pixels: Tensor) -> Tensor:
    inside = (pixels >= 0).all(-1) & (pixels < pixels.new_tensor(mask.shape[::-1])).all(-1)
    return nearest(mask, pixels) & inside


def nearest(image: Tensor, pixels: Tensor) -> Tensor:
    """The value of the pixel that holds each place; the border's beyond the border."""
    height, width = image.shape
    column, row = pixels.long().unbind(-1)
    return image[row.clamp(0, height - 1), column.clamp(0, width - 1)]


def sample(image: Float[Tensor, "c h w"], pixels: Float[Tensor, "n m 2"]) -> Tensor:
    """Bilinear values ``c n m`` of an image at pixels; the border's beyond the border."""
    size = pixels.new_tensor([image.shape[2], image.shape[1]])
    grid = 2 * pixels / size - 1
    return grid_sample(image[None], grid[None], align_corners=False, padding_mode="border")[0]


def offsets(
    palette: Palette,
    cell: Int[Tensor, "h w"],
    covered: Bool[Tensor, "h w"],
    rim: Rim,
    stride: int,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """How far outwards the image has the outline, from the colours along lines across it.

    Args:
        palette: colours of the object and of its surroundings.
        cell: of the colour of every pixel of the window.
        covered: what the object is expected to cover.
        rim: where the outline is expected.
        stride: px between samples.

    Returns:
        The posterior mean of the offset, px, its variance, px^2, and how much of the inner samples
        looks like the object, 0 to 1: exactly 0 where the line soon crosses the outline again.
    """
    steps = torch.arange(-REACH, REACH + 1, dtype=torch.float32)
    at = rim.pixels[:, None] + stride * steps[:, None] * rim.normals[:, None]
    between = (torch.arange(stride) - (stride - 1) / 2)[:, None] * rim.normals[:, None]
    fine = (at[:, :, None] + between[:, None]).flatten(1, 2)
    colors = palette.posterior(rim.points, nearest(cell, fine))
    inside = colors.unflatten(1, (-1, stride)).mean(-1).clamp(0.02, 0.98)
    # What lies behind the next crossing of the outline says nothing about this one.
    expected = sample(covered.float()[None], at)[0] > 0.5
    inner = (expected[:, :REACH].flip(1).cumprod(1)).sum(1)
    outer = ((~expected[:, REACH + 1 :]).cumprod(1)).sum(1)
    single = (steps >= -inner[:, None]) & (steps <= outer[:, None])
    inside = torch.where(single, inside, 0.5)
    # A sample at s is the object's with this probability if the outline is at d.
    body = 0.5 - AMPLITUDE * torch.tanh((steps - steps[:, None]) / (2 * STEEPNESS))
    chance = body * inside[:, None] + (1 - body) * (1 - inside[:, None])
    share = torch.softmax(chance.log().sum(-1).where(single, -torch.inf), -1)
    mean = (share * steps).sum(-1)
    variance = (share * (steps - mean[:, None]).square()).sum(-1) + LEAST_VARIANCE
    own = inside[:, REACH - 4 : REACH - 1].mean(-1) * ((inner >= LEAST) & (outer >= LEAST))
    return stride * mean, stride**2 * variance, own
