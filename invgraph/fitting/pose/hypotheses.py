"""Many poses at once: rendered small as one batch, each lit as fits it best, and compared."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, avg_pool3d, grid_sample, normalize, pad

from invgraph.fitting.pose import surface
from invgraph.fitting.pose.assess import (
    BROKEN,
    ERRORS,
    HIDDEN,
    LEVEL,
    NEARBY,
    ODD,
    OUTLINE,
    SEEN,
    SMOOTH,
    border_gain,
)
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.pose.surface import VertexColors
from invgraph.fitting.pose.window import NEAREST, Target
from invgraph.geometry import transforms
from invgraph.geometry.topology import Topology
from invgraph.photometric.color_density import likely_error
from invgraph.raster import interpolate, rasterize

AT_ONCE = 300  # poses that are rendered together
BINS = 8  # per channel, of the colours around the object
LEVELS = 6  # of the image, each half the size of the one before
PATCH = 0.5  # px of a small render that tell one thing, per px of the object's diameter
KEEP = 0.3  # share of the last derivatives, taken on the other side, in a step
PAIRS = 4.0  # pairs of pixels along an outline, per px of the object's diameter
OUT = -1.0  # in likelihood, of every pixel of a pose that is not in view
STEP_PX = 1.0  # by which finite differences move the rim of the object in a small render
FARTHEST = 2.5  # of these for one step of the descent
TRIED = 0.3, 3.0, 30.0  # dampings that are tried in a step, relative to the last good one
DAMPING = 0.1  # to begin with, relative to the information


@dataclass(frozen=True)
class Round:
    """A part of the way from many hypotheses to a few.

    Attributes:
        across: px that the object's diameter takes in a render.
        soft: how much larger than usual errors may be.
        most: hypotheses that enter,
        crowd: and how many of them at most may be at about one place.
        steps: of the descent.
    """

    across: float
    soft: float
    most: int
    crowd: int
    steps: int


ROUNDS = (
    Round(14.0, 2.0, 500, 60, 1),
    Round(14.0, 2.0, 250, 30, 1),
    Round(14.0, 2.0, 100, 12, 2),
    Round(28.0, 2.0, 48, 6, 3),
    Round(28.0, 1.0, 24, 3, 4),
)
# From poses about a given one, which are all at about one place.
CLOSE = (Round(28.0, 2.0, 60, 60, 3), Round(28.0, 1.0, 24, 24, 4), Round(28.0, 1.0, 12, 12, 4))
ALIKE = 0.3  # difference in the logarithm of their distances up to which poses are at one place
FEW = 12  # hypotheses that are left,
PAIR = 2  # and of them at one place


@dataclass(frozen=True, eq=False)
class Comparison:
    """An image to compare hypotheses with.

    Attributes:
        model: the object.
        target: the image.
        vertex_colors: colours of the surface.
        across: px that the object's diameter takes in a small render.
    """

    model: KnownObject
    target: Target
    vertex_colors: VertexColors
    across: float

    @property
    def side(self) -> int:
        """Of a small render, px."""
        return 2 * round(0.7 * self.across)

    @property
    def patch(self) -> float:
        """Pixels of a small render that tell one thing."""
        return PATCH * self.across

    @cached_property
    def _levels(self) -> list[Tensor]:
        """Roots of colours and logarithm of their density."""
        rare = self.target.everywhere[self.target.cell].log()
        levels = [torch.cat([self.target.root, rare[None]])]
        while len(levels) < LEVELS and min(levels[-1].shape[1:]) >= 2 * self.side:
            levels.append(avg_pool2d(levels[-1][None], 2)[0])
        return levels

    @cached_property
    def _mesh(self) -> tuple[Tensor, Topology, Tensor]:
        """Vertices, triangles, and albedo and normal per vertex, as fine as small renders need."""
        mesh, owner = self.model.coarse(1.2 * self.across)
        attributes = torch.cat([self.vertex_colors.albedo[owner], self.model.normals[owner]], -1)
        return mesh.vertices, mesh.topology, attributes

    def likelihood(self, poses: Float[Tensor, "n 4 4"], soft: float = 1.0) -> Float[Tensor, " n"]:
        """Logarithm of how much likelier the image is with the object there than without.

        As ``assess.assess`` says it, from small renders. Very low for poses
        that are not in view.

        Args:
            poses: ``camera_from_object``.
            soft: how much larger than usual errors may be.
        """
        return self.field(poses, soft).sum((1, 2, 3))

    def field(self, poses: Float[Tensor, "n 4 4"], soft: float) -> Float[Tensor, "n 3 h w"]:
        """What each pixel of the small renders adds: its colour, borders beside and below it.

        Args:
            poses: ``camera_from_object``.
            soft: how much larger than usual errors may be.
        """
        return torch.cat([self._field(chunk, soft) for chunk in poses.split(AT_ONCE)])

    def lack(self, field: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n p"]:
        """Root of what each part of a field lacks to the best that there usually is."""
        border = OUTLINE * BROKEN / (PAIRS * self.across)
        most = torch.tensor([math.log(SEEN) / self.patch, border, border])
        return (most[:, None, None] - field).clamp_min(0).sqrt().flatten(1)

    def _field(self, poses: Tensor, soft: float) -> Tensor:
        vertices, faces, attributes = self._mesh
        camera, side = self.target.camera, self.side
        middle = transforms.apply(poses, self.model.centre[None])[:, 0]
        depth = middle[:, 2]
        flat = camera.homogeneous_pixels(middle)
        centre = flat[:, :2] / flat[:, 2:].clamp_min(NEAREST)
        size = depth.new_tensor([camera.width, camera.height])
        usable = (
            (depth > 0.6 * self.model.diameter) & (centre > 0).all(-1) & (centre < size).all(-1)
        )
        result = torch.full((len(poses), 3, side, side), OUT)
        if not bool(usable.any()):
            return result
        poses, depth, centre = poses[usable], depth[usable], centre[usable]
        scale = self.across * depth / (float(camera.focal.mean()) * self.model.diameter)
        flat = camera.homogeneous_pixels(transforms.apply(poses, vertices))
        z = flat[..., 2:]
        screen = (flat[..., :2] - centre[:, None] * z) * scale[:, None, None] + side / 2 * z
        double = torch.cat([2 * screen, z], -1)  # the size, then averaged: edges matter
        fragments = rasterize(double, faces, 2 * side, 2 * side, near=NEAREST)
        drawn = interpolate(attributes[None].expand(len(poses), -1, -1), faces, fragments)
        drawn = torch.cat([drawn, (fragments.face >= 0).float()[..., None]], -1)
        quarters = [drawn[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        drawn = torch.stack(quarters).mean(0)
        share = drawn[..., 6]
        drawn = drawn[..., :6] / share[..., None].clamp_min(0.1)
        image, inside = self._cut(centre, scale)
        root, rare = image[..., :3], image[..., 3]
        share = share * inside
        covered = share > 0.5
        normals = normalize(drawn[..., 3:] @ poses[:, None, :3, :3].mT, dim=-1)
        shape = surface.columns(normals)
        light = _lights(drawn[..., :3], shape, root.square(), covered)
        shade = (shape.flatten(1, 2) @ light).unflatten(1, (side, side)).clamp_min(1e-3)
        away = ((drawn[..., :3] * shade).sqrt() - root).abs().sum(-1)
        own = likely_error(away, tuple(soft * error for error in ERRORS))
        other = NEARBY * _around(root, ~covered & inside) + (1 - NEARBY) * rare.exp()
        gain = (own / other).clamp(HIDDEN, SEEN).log()
        count = covered.sum((1, 2)).clamp_min(1)
        level = ((shade.mean(-1) * covered).sum((1, 2)) / count).sqrt() / self.target.bright
        odd = (level.log().abs() - LEVEL).clamp_min(0).square() * (ODD / side**2)
        value = gain * share / self.patch - odd[:, None, None]
        borders = _borders(root, share, inside, own / (own + other), other)
        value = torch.cat([value[:, None], OUTLINE * borders], 1)
        seen = covered.any(-1).any(-1)[:, None, None, None]
        result[usable] = torch.where(seen, value, OUT)
        return result

    def _cut(self, centre: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """The image around each centre, ``n side side 4``, and which of the pixels it has."""
        level = (-torch.log2(scale)).floor().long().clamp(0, len(self._levels) - 1)
        step = torch.arange(self.side) + 0.5 - self.side / 2
        at = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1)
        pixels = centre[:, None, None] + at / scale[:, None, None, None]
        size = pixels.new_tensor([self.target.camera.width, self.target.camera.height])
        grid = 2 * pixels / size - 1
        cut = torch.empty(len(centre), self.side, self.side, 4)
        for index in level.unique().tolist():
            mine = level == index
            image = self._levels[index][None].expand(int(mine.sum()), -1, -1, -1)
            part = grid_sample(image, grid[mine], padding_mode="border", align_corners=False)
            cut[mine] = part.movedim(1, -1)
        return cut, (grid.abs() < 1).all(-1)


def narrow(
    model: KnownObject,
    target: Target,
    vertex_colors: VertexColors,
    poses: Float[Tensor, "n 4 4"],
    rounds: tuple[Round, ...] = ROUNDS,
    crowd: int = PAIR,
) -> list[Float[Tensor, "4 4"]]:
    """From many rough poses to a few good ones, the likeliest first.

    All descend together, on renders that get larger while the poses get fewer. Those that are left
    are spread over the image, since the likeliest of small renders need not be right.

    Args:
        model: the object.
        target: the image.
        vertex_colors: colours of the surface.
        poses: ``camera_from_object``.
        rounds: of the descent.
        crowd: how many of those that are left may be at about one place.
    """
    sizes = {part.across for part in rounds}
    by_size = {size: Comparison(model, target, vertex_colors, size) for size in sizes}
    for part in rounds:
        comparison = by_size[part.across]
        value = comparison.likelihood(poses, part.soft)
        poses, value = _best(comparison, poses, value, part.most, part.crowd)
        poses = descend(comparison, poses, part.steps, part.soft)
    value = comparison.likelihood(poses)
    return list(_best(comparison, poses, value, FEW, crowd)[0])


def _best(
    comparison: Comparison, poses: Tensor, value: Tensor, most: int, crowd: int
) -> tuple[Tensor, Tensor]:
    """The likeliest, best first, and of those about one place no more than some."""
    order = value.argsort(descending=True)
    poses, value = poses[order], value[order]
    centre = transforms.apply(poses, comparison.model.centre[None])[:, 0]
    away = centre[:, 2:].clamp_min(NEAREST)
    across, depth = centre[:, :2] / away, away.log()
    radius = 0.5 * comparison.model.diameter / away
    close = torch.cdist(across, across) < torch.maximum(radius, radius.T)
    close &= (depth - depth.T).abs() < ALIKE
    kept = close.tril(-1).sum(1) < crowd
    return poses[kept][:most], value[kept][:most]


def descend(
    comparison: Comparison, poses: Float[Tensor, "n 4 4"], steps: int, soft: float = 1.0
) -> Float[Tensor, "n 4 4"]:
    """Levenberg-Marquardt steps of all poses at once, with derivatives by finite differences.

    The residual of a pixel is the root of what it lacks to the highest likelihood: the squares sum
    to what the pose lacks. The likelihood is peaked, and not smooth; so the poses by which the
    derivatives are found are candidates as well, and are taken on the other side in turn.

    Args:
        comparison: with the image.
        poses: to start from.
        steps: of the descent; a pose stays where no step makes it likelier.
        soft: as for :meth:`Comparison.likelihood`.
    """
    n, model, rows = len(poses), comparison.model, torch.arange(len(poses))
    unit = STEP_PX / comparison.across * torch.tensor([1.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    damping = torch.full((n,), DAMPING)
    here = comparison.field(poses, soft)
    last = None
    for _ in range(steps):
        near = shifted(model, poses.repeat_interleave(6, 0), torch.diag(unit).repeat(n, 1))
        beside = comparison.field(near, soft)
        lack = comparison.lack(here)
        slope = comparison.lack(beside).unflatten(0, (n, 6)) - lack[:, None]
        slope = slope * unit.sign()[:, None]
        last, slope = slope, slope if last is None else torch.lerp(slope, last, KEEP)
        information = slope @ slope.mT
        pull = (slope @ lack[..., None])[..., 0]
        scale = torch.diag_embed(information.diagonal(dim1=1, dim2=2).clamp_min(1e-4))
        choices = []
        for factor in TRIED:
            damped = information + (factor * damping)[:, None, None] * scale
            step = -torch.linalg.solve(damped, pull)
            step = step / (step.abs().amax(1, keepdim=True) / FARTHEST).clamp_min(1)
            choices.append(shifted(model, poses, step * unit.abs()))
        tried = torch.stack(choices, 1)
        found = comparison.field(tried.flatten(0, 1), soft).unflatten(0, (n, len(TRIED)))
        tried = torch.cat([tried, near.unflatten(0, (n, 6))], 1)
        found = torch.cat([found, beside.unflatten(0, (n, 6))], 1)
        best, index = found.sum((2, 3, 4)).max(1)
        better = best > here.sum((1, 2, 3))
        poses = torch.where(better[:, None, None], tried[rows, index], poses)
        here = torch.where(better[:, None, None, None], found[rows, index], here)
        good = better & (index < len(TRIED))
        change = torch.tensor(TRIED)[index.clamp_max(len(TRIED) - 1)]
        damping = (damping * torch.where(good, change, 2 * TRIED[1])).clamp(1e-3, 1e3)
        unit = -unit
    return poses


def shifted(
    model: KnownObject, poses: Float[Tensor, "n 4 4"], step: Float[Tensor, "n 6"]
) -> Float[Tensor, "n 4 4"]:
    """Move poses across, in diameters; away, by the logarithm; and turn them about the centre."""
    centre = transforms.apply(poses, model.centre[None])[:, 0]
    rotation = transforms.exp_so3(step[:, 3:]) @ poses[:, :3, :3]
    grown = centre * torch.exp(step[:, 2:3])
    grown[:, :2] += model.diameter * step[:, :2]
    return transforms.pose(rotation, grown - (rotation @ model.centre[:, None])[..., 0])


def _borders(
    root: Tensor, share: Tensor, inside: Tensor, like: Tensor, other: Tensor
) -> Float[Tensor, "n 2 h w"]:
    """Evidence between pixels and their neighbours to the right, and below, at the outline.

    It sums to the mean evidence of such pairs, as ``assess.assess`` has it.
    """
    parts = []
    for axis, missing in ((2, (1, 1, 0, 0)), (1, (0, 0, 1, 1))):
        size = root.shape[axis] - 2
        first, second = (
            [part.narrow(axis, start, size) for part in (root, share, inside, like, other)]
            for start in (0, 2)
        )
        step = (first[0] - second[0]).abs().sum(-1)
        ahead = first[1] > second[1]
        beyond = torch.where(ahead, second[4], first[4])
        within = torch.where(ahead, first[3], second[3])
        gain = torch.lerp(torch.tensor(SMOOTH), border_gain(step, beyond), within)
        pair = (first[1] - second[1]).abs() * (first[2] & second[2])
        parts.append(torch.stack([pad(gain * pair, missing), pad(pair, missing)]))
    gain, pair = torch.stack(parts, 2)
    return gain / pair.sum((1, 2, 3), keepdim=True).clamp_min(1)


def _around(root: Tensor, mark: Tensor) -> Tensor:
    """Density of the marked pixels' colours at every pixel's colour, relative to the uniform one.

    Args:
        root: ``n h w 3``, roots of colours.
        mark: ``n h w``.
    """
    index = (root * BINS).long().clamp(0, BINS - 1)
    index = ((index[..., 0] * BINS + index[..., 1]) * BINS + index[..., 2]).flatten(1)
    counts = torch.zeros(len(root), BINS**3).scatter_add(1, index, mark.flatten(1).float())
    cube = avg_pool3d(counts.unflatten(1, (1, BINS, BINS, BINS)), 3, 1, 1).flatten(1) + 0.5 * counts
    density = cube * (BINS**3 / cube.sum(1, keepdim=True).clamp_min(1)) + 0.01
    return density.gather(1, index).view(root.shape[:-1])


def _lights(albedo: Tensor, shape: Tensor, color: Tensor, covered: Tensor) -> Tensor:
    """The light under which each render has most nearly the image's colours, ``n 9 3``.

    As :func:`invgraph.fitting.pose.surface.find_light`, for a batch of renders.
    """
    every = (slice(None), slice(None, None, 2), slice(None, None, 2))  # a quarter will do
    albedo, shape, color = (part[every].flatten(1, 2) for part in (albedo, shape, color))
    mask = covered[every].flatten(1, 2).float()
    count = mask.sum(1)
    ridge = torch.full((9,), surface.RIDGE * 0.25)
    ridge[0] = 1e-6
    diagonal = torch.diag(ridge) * count[:, None, None, None] + 1e-6 * torch.eye(9)
    design = albedo.mT[..., None] * shape[:, None]  # n 3 p 9
    wanted = color.mT[..., None]
    weight = mask[:, None, :, None]
    light = torch.zeros(len(albedo), 3, 9, 1)
    for _ in range(2):
        weighted = (weight * design).mT
        light = torch.linalg.solve(weighted @ design + diagonal, weighted @ wanted)
        error = (wanted - design @ light) * mask[:, None, :, None]
        scale = (
            2.5 * error.abs().sum((1, 2), keepdim=True) / (3 * count)[:, None, None, None] + 0.02
        )
        fits = 1 / (1 + (error / scale).square().sum(1, keepdim=True))
        weight = mask[:, None, :, None] * fits
    return surface.whitened(light[..., 0].mT)
