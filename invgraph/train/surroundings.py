"""What may be about an object in a dream: a table under it, bodies beside it and before it."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, normalize

from invgraph.geometry import transforms
from invgraph.geometry.primitives import icosphere, plane
from invgraph.rendering import harmonics
from invgraph.scene import Material, Object, Scene, SphericalHarmonicLight
from invgraph.train.lamp import Lamp
from invgraph.train.randomness import log_uniform, uniform

TABLE = 0.75  # share of the images with a table
REACH = (1.5, 10.0)  # half its side, in radii of the object
BESIDE, STANDS = 3, 0.6  # bodies on the table, and the share of the images that has each
BEFORE = 0.7  # share of the images with a body between camera and object
SIZES = (0.3, 1.2)  # of bodies, in radii of the object
TEXELS = 64  # along a table's side
_CELLS = 32  # of its shadows
_SHADOWS, _LOWEST = 16, 0.3  # directions all around, and the least height of those that cast them
_EVERY = 2  # vertices, of which one casts them


def surrounded(
    scene: Scene,
    lamp: Lamp,
    up: Float[Tensor, "b 3"],
    textures: Float[Tensor, "b s s 3"],
    generator: torch.Generator,
) -> Scene:
    """A scene with things about its one object, which stays the first.

    The object stands on the table and keeps light from it. Bodies are between ball and box, of any
    proportions, in two colours; some stand on the table, beside or behind the object, and one may
    be between it and the camera. They answer to the light but keep none from one another.

    Args:
        scene: one object in light of spherical harmonics; the world is the camera's frame.
        lamp: more light.
        up: unit vectors, camera frame.
        textures: of the tables, linear RGB.
        generator: of all that is random.
    """
    [item], [light] = scene.objects, scene.lights
    assert isinstance(light, SphericalHarmonicLight)
    count = len(up)
    radius = float(item.mesh.vertices.norm(dim=-1).max())
    origin = item.world_from_object[:, :3, 3]
    points = transforms.rotate(item.world_from_object, item.mesh.vertices)
    height = -(points @ up[..., None]).amin((1, 2))
    across = torch.linalg.cross(up, torch.randn(count, 3, generator=generator))
    across = normalize(across, dim=-1)
    axes = torch.stack([across, torch.linalg.cross(up, across), up], -1)
    camera_from_table = transforms.pose(axes, origin - height[:, None] * up)
    reach = radius * log_uniform(generator, count, *REACH)
    standing = (points + height[:, None, None] * up[:, None]) @ axes
    lit = harmonics.rotate(light.coefficients, axes.mT)
    shining = (lamp.toward[:, None] @ axes)[:, 0], lamp.irradiance.mean(-1)
    shadow = _shadow(standing, reach, lit, *shining)
    if item.present is not None:
        shadow = shadow * item.present[:, None, None]
    dark = 1 - shadow[..., None]
    square = plane()
    table = Object(
        replace(square, vertices=square.vertices * reach[..., None]),
        camera_from_table,
        Material(textures * dark, uniform(generator, count, 0.4, 0.9), torch.zeros(1), "texture"),
        present=torch.rand(count, generator=generator) < TABLE,
    )
    bodies = []
    toward = normalize((-origin[:, None] @ axes)[:, 0, :2], dim=-1)
    for _ in range(BESIDE):
        angle = uniform(generator, count, math.radians(70), math.radians(290))
        turned = torch.stack([-toward[:, 1], toward[:, 0]], -1)
        away = angle.cos() * toward + angle.sin() * turned
        size = radius * uniform(generator, count, *SIZES)
        shape = body(count, size, generator)
        far = radius + size + 2 * radius * uniform(generator, count, 0.0, 1.0).square()
        low = -shape.mesh.vertices[..., 2].amin(-1, keepdim=True)
        place = torch.cat([far * away, low], -1)
        turn = transforms.exp_so3(
            uniform(generator, count, 0.0, 2 * math.pi) * torch.tensor([0, 0, 1.0])
        )
        pose = camera_from_table @ transforms.pose(turn, place)
        present = torch.rand(count, generator=generator) < STANDS
        bodies.append(replace(shape, world_from_object=pose, present=present))
    return replace(scene, objects=(item, table, *bodies, _before(origin, radius, generator)))


def _before(origin: Float[Tensor, "b 3"], radius: float, generator: torch.Generator) -> Object:
    """A body on the way to the object that hides some of it from one side."""
    count = len(origin)
    near = uniform(generator, count, 0.4, 0.8)
    size = near * radius * uniform(generator, count, *SIZES)
    shape = body(count, size, generator)
    angle = uniform(generator, count, 0.0, 2 * math.pi)
    aside = torch.cat([angle.cos(), angle.sin(), torch.zeros(count, 1)], -1)
    offset = near * radius * uniform(generator, count, 0.2, 0.8) + 0.7 * size
    turn = transforms.matrix_from_quat_wxyz(torch.randn(count, 4, generator=generator))
    pose = transforms.pose(turn, near * origin + offset * aside)
    present = torch.rand(count, generator=generator) < BEFORE
    return replace(shape, world_from_object=pose, present=present)


def body(count: int, size: Float[Tensor, "b 1"], generator: torch.Generator) -> Object:
    """Bodies about the origin, between ball and box, striped in two colours.

    Args:
        count: of them.
        size: largest half side, metres.
        generator: of all that is random.

    Source:
        Superquadrics of equal exponents: Barr, Superquadrics and angle-preserving transformations
        (1981).
    """
    ball = icosphere(2)
    edgy = 2 + 8 * uniform(generator, count, 0.0, 1.0)[..., None].square()
    outward = ball.vertices / (ball.vertices.abs() ** edgy).sum(-1, keepdim=True) ** (1 / edgy)
    stretch = uniform(generator, count, 0.25, 1.0, 3)
    stretch = stretch / stretch.amax(-1, keepdim=True)
    colors = log_uniform(generator, count, 0.03, 0.85, 6)[:, None]
    along = ball.vertices @ (4 * torch.randn(count, 3, 1, generator=generator))
    base, other = colors.chunk(2, -1)
    albedo = torch.where(along > 1, other, base)
    mesh = replace(ball, vertices=outward * (stretch * size)[:, None])
    rough = uniform(generator, count, 0.3, 0.9)
    return Object(mesh, torch.eye(4), Material(albedo, rough, torch.zeros(1), "vertex"))


def _shadow(
    points: Float[Tensor, "b v 3"],
    reach: Float[Tensor, "b 1"],
    light: Float[Tensor, "b k 3"],
    toward: Float[Tensor, "b 3"],
    lamp: Float[Tensor, " b"],
) -> Float[Tensor, "b t t"]:
    """How much of the light that falls on a table a thing on it keeps away, table frame (z up)."""
    ways = harmonics.fibonacci_sphere(_SHADOWS).to(points)
    ways = ways[ways[:, 2] > _LOWEST].expand(len(points), -1, 3)
    smooth = harmonics.evaluate(light, ways).mean(-1).clamp_min(0) * ways[..., 2]
    smooth = smooth * (4 * math.pi / _SHADOWS)
    sharp = lamp * toward[:, 2].clamp_min(0)
    total = (smooth.sum(-1) + sharp).clamp_min(1e-6)[:, None]
    covered = _covered(points[:, ::_EVERY], ways, reach, _CELLS)
    dark = (covered * (smooth / total)[..., None, None]).sum(1, keepdim=True)
    dark = interpolate(avg_pool2d(dark, 3, 1, 1), TEXELS, mode="bilinear", align_corners=False)
    covered = _covered(points, toward[:, None], reach, TEXELS)
    return (dark + covered * (sharp[:, None] / total)[..., None, None])[:, 0]


def _covered(
    points: Float[Tensor, "b v 3"],
    ways: Float[Tensor, "b d 3"],
    reach: Float[Tensor, "b 1"],
    cells: int,
) -> Float[Tensor, "b d c c"]:
    """The cells of a table that lie in the shadow of what is on it, for light from each side."""
    slope = ways[..., :2] / ways[..., 2:].clamp_min(_LOWEST / 3)
    cast = points[:, None, :, :2] - points[:, None, :, 2:] * slope[:, :, None]
    row = 0.5 - 0.5 * cast[..., 1] / reach[..., None]
    column = 0.5 + 0.5 * cast[..., 0] / reach[..., None]
    cell = (torch.stack([row, column]) * cells).long().clamp(0, cells - 1)
    covered = points.new_zeros(len(points), ways.shape[1], cells * cells)
    covered.scatter_(-1, cell[0] * cells + cell[1], 1.0)
    return max_pool2d(covered.unflatten(-1, (cells, cells)), 3, 1, 1)
