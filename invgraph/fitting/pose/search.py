"""Where to start when little is known: many poses rendered at once, compared everywhere."""

import math
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d, normalize, pad

from invgraph.fitting.pose.colors import Palette
from invgraph.fitting.pose.hypotheses import CLOSE, FEW, narrow, shifted
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.pose.surface import VertexColors
from invgraph.fitting.pose.window import Target
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.raster import interpolate as spread
from invgraph.raster import rasterize

SIDE, ACROSS = 20, 14.0  # px: of a small render, and of the object's diameter in it
VIEWS, TURNS = 150, 12  # directions from which the object is seen, turns about each
FAR = 6.0  # diameters between camera and object in the small renders
SIZES = 9  # of the object in the image that are tried
STEP = 1.3  # between sizes
LARGEST = 0.8  # size relative to the image's height
FAINT = 0.05  # differences of colour that mean nothing, root of linear
FIRST = 120  # renders that are compared everywhere
SPOTS, PER_SPOT = 6, 64  # places per size at which all renders are compared; poses kept of each
AROUND = 2  # px around such a place in which each render may fit best
SCATTERED = 600  # poses about a given one that are tried, and how far they are from it:
SCATTER = 0.3, 0.3, 0.12, 0.25, 0.25, 0.25  # across in diameters, in the distance, in rad
NEAR = math.radians(75)  # from a given rotation,
REACH = 2.0  # and diameters from a given place, across, that are looked at


def search(
    model: KnownObject,
    target: Target,
    palette: Palette,
    vertex_colors: VertexColors,
    near: Float[Tensor, "4 4"] | None = None,
) -> list[Tensor]:
    """Poses that may be right, the most likely first.

    The object is rendered small in evenly spread rotations under even light. A few of the renders
    are compared with the image everywhere and at all sizes, all of them where one of the few fits.
    A comparison is a correlation: of the colours inside the outline, and of what looks like the
    object with the outline itself. The thousands of poses that fit best are then rendered as they
    would look, and descend (:func:`invgraph.fitting.pose.hypotheses.narrow`).

    Args:
        model: the object.
        target: the image.
        palette: colours of object and surroundings.
        vertex_colors: colours of the surface.
        near: about where it is, ``camera_from_object``: only rotations within 75 degrees of it,
            sizes within a factor of 1.7 and places within 2 diameters.
    """
    turns, renders = _renders(model, vertex_colors)
    sizes = [LARGEST * target.camera.height / STEP**k for k in range(SIZES)]
    if near is not None:
        angle = transforms.log_so3(turns @ near[:3, :3].mT).norm(dim=-1)
        turns, renders = turns[angle < NEAR], renders[angle < NEAR]
        focal = float(target.camera.focal.mean())
        wanted = focal * model.diameter / max(float(near[2, 3]), 1e-3)
        sizes = [wanted * STEP**k for k in (-2, -1, 0, 1, 2)]
    few = renders[:: max(len(renders) // FIRST, 1)]
    image = _evidence(target, palette)
    found = []
    for size in sizes:
        small = _resized(image, ACROSS / size)
        scale = torch.tensor([image.shape[2] / small.shape[2], image.shape[1] / small.shape[1]])
        padded = _padded(small)
        score = _compare(padded, few).amax(0)
        if near is not None:
            score = score * _beside(model, target.camera, near, score, scale)
        peak = score * (score == max_pool2d(score[None, None], 5, 1, 2)[0, 0])
        best = peak.flatten().topk(min(SPOTS, peak.numel()))
        for value, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            if value > 0:
                found.append((size, scale, padded, *divmod(place, score.shape[1])))
    poses = []
    for size, scale, padded, row, column in found:
        top, left = max(row - AROUND, 0), max(column - AROUND, 0)
        part = padded[:, top : top + SIDE + 2 * AROUND, left : left + SIDE + 2 * AROUND]
        score = _compare(part, renders)
        best, place = score.flatten(1).max(1)
        chosen = best.topk(min(PER_SPOT, len(best))).indices
        down, right = place[chosen] // score.shape[2], place[chosen] % score.shape[2]
        pixels = torch.stack([left + right, top + down], -1) * scale
        poses.append(_poses(model, target.camera, turns[chosen], size, pixels))
    return narrow(model, target, vertex_colors, torch.cat(poses)) if poses else []


def search_close(
    model: KnownObject, target: Target, vertex_colors: VertexColors, pose: Float[Tensor, "4 4"]
) -> list[Tensor]:
    """Poses that may be right, the most likely first, from many about a given one."""
    draw = torch.randn(SCATTERED, 6, generator=torch.Generator().manual_seed(0))
    draw[0] = 0
    poses = shifted(model, pose.expand(SCATTERED, 4, 4), draw * torch.tensor(SCATTER))
    return narrow(model, target, vertex_colors, poses, CLOSE, FEW)


def _beside(
    model: KnownObject, camera: Camera, pose: Tensor, score: Tensor, scale: Tensor
) -> Bool[Tensor, "h w"]:
    """Places of a small image that are no farther from a pose's than REACH."""
    middle = transforms.apply(pose, model.centre[None])
    flat = camera.homogeneous_pixels(middle)[0]
    pixel = flat[:2] / flat[2]
    rows, columns = (torch.arange(size) for size in score.shape)
    at = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1) * scale
    radius = REACH * model.diameter * float(camera.focal.mean()) / float(flat[2])
    return (at - pixel).norm(dim=-1) < radius


def _evidence(target: Target, palette: Palette) -> Tensor:
    """Per pixel: three roots of colours, and how much the colour looks like the object's."""
    return torch.cat([target.root, palette.likeness(target.cell, target.everywhere)[None]])


def _resized(image: Tensor, factor: float) -> Tensor:
    height, width = (max(round(size * factor), 1) for size in image.shape[1:])
    return interpolate(image[None], (height, width), mode="area")[0]


def _padded(image: Tensor) -> Tensor:
    """So that every place of the image can be the middle of a small render."""
    half = SIDE // 2
    return pad(image[None], (half, half, half, half), mode="replicate")[0]


def _compare(image: Tensor, renders: Tensor) -> Tensor:
    """Score of every render at every place at which all of it is inside, ``n h w``.

    The correlation of the colours inside the outline plus that of what looks like the object with
    the outline itself.
    """
    colors, mask, ring = renders[:, :3], renders[:, 3:4], renders[:, 4:]
    area = mask.sum((2, 3), keepdim=True)
    kernel = colors - mask * colors.sum((2, 3), keepdim=True) / area
    wanted = (kernel.square().sum((1, 2, 3)) + 3 * area[:, 0, 0, 0] * FAINT**2)[:, None, None]
    match = conv2d(image[None, :3], kernel)[0]
    sums = conv2d(image[:3, None], mask)  # 3 n h w
    power = conv2d(image[None, :3].square().sum(1, keepdim=True), mask)[0]
    spread = power - sums.square().sum(0) / area[:, 0] + 3 * area[:, 0] * FAINT**2
    color = match / (wanted * spread.clamp_min(1e-6)).sqrt()

    support = mask + ring
    count = support.sum((2, 3), keepdim=True)
    shape = mask - support * area / count
    total, square = (conv2d(like[None, None], support)[0] for like in (image[3], image[3].square()))
    varied = square - total.square() / count[:, 0] + count[:, 0] * FAINT**2
    outline = conv2d(image[None, 3:4], shape)[0]
    outline /= (shape.square().sum((1, 2, 3))[:, None, None] * varied.clamp_min(1e-6)).sqrt()
    return color + outline


def _poses(
    model: KnownObject, camera: Camera, turns: Tensor, size: float, pixels: Tensor
) -> Float[Tensor, "n 4 4"]:
    """The poses of renders that fit with their middles at pixels of the image."""
    rays = camera.lens.unproject(pixels, torch.ones(len(pixels)))
    depth = float(camera.focal.mean()) * model.diameter / size
    axis = torch.linalg.cross(torch.tensor([[0.0, 0.0, 1.0]]), normalize(rays, dim=-1))
    sine = axis.norm(dim=-1, keepdim=True).clamp(1e-9, 1.0)
    rotation = transforms.exp_so3(axis * (torch.asin(sine) / sine)) @ turns
    return transforms.pose(rotation, depth * rays - rotation @ model.centre)


def _renders(model: KnownObject, vertex_colors: VertexColors) -> tuple[Tensor, Tensor]:
    """Rotations, and per rotation three roots of colours, the mask and the ring around it."""
    turns = _rotations()
    mesh, owner = model.coarse(1.5 * ACROSS)
    distance = FAR * model.diameter
    focal = ACROSS * FAR
    half = SIDE / 2
    seen = (mesh.vertices - model.centre) @ turns.mT + torch.tensor([0.0, 0.0, distance])
    flat = torch.cat([seen[..., :2] * focal + half * seen[..., 2:], seen[..., 2:]], -1)
    colors = vertex_colors.albedo[owner].sqrt()
    parts = []
    for chunk in flat.split(300):
        # Twice the size, then averaged: edges of small renders matter.
        double = torch.cat([2 * chunk[..., :2], chunk[..., 2:]], -1)
        fragments = rasterize(double, mesh.topology, 2 * SIDE, 2 * SIDE)
        mask = (fragments.face >= 0).float()[..., None]
        drawn = spread(colors[None].expand(len(chunk), -1, -1), mesh.faces, fragments) * mask
        parts.append(avg_pool2d(torch.cat([drawn, mask], -1).permute(0, 3, 1, 2), 2))
    drawn = torch.cat(parts)
    mask = drawn[:, 3:]
    ring = (max_pool2d(mask, 5, 1, 2) - mask).clamp_min(0)
    return turns, torch.cat([drawn, ring], 1)


@lru_cache(maxsize=1)
def _rotations() -> Tensor:
    """Directions on a Fibonacci lattice, each with turns about the line of sight, shuffled."""
    k = torch.arange(VIEWS) + 0.5
    polar, azimuth = torch.acos(1 - 2 * k / VIEWS), math.pi * (1 + math.sqrt(5)) * k
    zero = torch.zeros_like(polar)
    view = transforms.exp_so3(torch.stack([polar, zero, zero], -1)) @ transforms.exp_so3(
        torch.stack([zero, zero, azimuth], -1)
    )
    spin = torch.arange(TURNS) * (2 * math.pi / TURNS)
    flat = torch.zeros(TURNS)
    turn = transforms.exp_so3(torch.stack([flat, flat, spin], -1))
    every = (turn[:, None] @ view).reshape(-1, 3, 3)
    return every[torch.randperm(len(every), generator=torch.Generator().manual_seed(0))]
