"""How well a pose explains an image, pixel by pixel."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from invgraph.fitting.pose import contour, surface
from invgraph.fitting.pose.colors import CELLS, Palette, density
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.pose.refine import LEAST_POINTS, compared, lit
from invgraph.fitting.pose.surface import VertexColors
from invgraph.fitting.pose.window import Target, Window
from invgraph.geometry import transforms
from invgraph.photometric.color_density import color_density, likely_error
from invgraph.photometric.response import CLIPPED
from invgraph.raster import interpolate

USUAL = 0.08  # error of a known colour, root of linear
ERRORS = 0.03, 0.06, 0.12  # those that are equally usual where poses are compared
NEARBY = 0.7  # share of the colours around the object in what else may be seen there
# How much likelier a pixel is, at worst and at best, with the object there: it may show something
# in front of the object, which looks like anything else.
HIDDEN, SEEN = 0.2, 20.0
LEVEL, ODD = 0.6, 50.0  # light, log of its root over the image's, from which it costs, and how much
RING = 5  # px around the outline that should not look like the object
PATCH = 120.0  # px that tell one thing, since neighbours err together, on an object
PATCH_PX = 120.0  # whose diameter takes as many; more px on a larger one
OUTLINE = 60.0  # places of the outline that tell one thing each, on such an object
SAME = 0.03, 0.06  # differences of colour on one side of a border
FREEDOM = 20.0  # log-likelihood that any pose gains where the camera's response is solved
BREAK = 0.1  # share of all places of an image at which a border may be
SMOOTH, BROKEN = -1.5, 2.3  # evidence of a place of the outline, at worst and at best


@dataclass(frozen=True, eq=False)
class Assessment:
    """What the image says about a pose.

    Attributes:
        score: share of the object's pixels that show it, times that of the pixels around it that
            do not look like it, 0 to 1.
        likelihood: logarithm of how much likelier the image is with the object there than without.
        border: the part of it that comes from a place of the outline, on average: -1.5 where
            nothing ends there, 2.3 where something does.
        hidden: pixels of the window where something else is in front of the object.
        light: that explains the colours best, spherical harmonics of order 2, camera frame.
    """

    score: float
    likelihood: float
    border: float
    hidden: Bool[Tensor, "h w"]
    light: Float[Tensor, "9 3"]


def assess(
    model: KnownObject,
    target: Target,
    palette: Palette,
    vertex_colors: VertexColors,
    pose: Float[Tensor, "4 4"],
    window: Window,
) -> Assessment | None:
    """Compare the render of a pose with the image.

    Given colours are not this camera's: what it made of them is solved, overexposed ones are taken
    as such, and a texture may be too dark.

    Args:
        window: ``crop_window(model, target.camera, pose, margin)`` with a margin of at least 8 px.

    Returns:
        None if too little of the object is in the image to say anything.
    """
    any_camera = vertex_colors.source == "given"
    normals = transforms.rotate(pose, model.normals)
    shown = compared(model, window, normals)
    if len(shown) < LEAST_POINTS:
        return None
    image = window.cut(target.root)
    light, wanted = lit(window, normals, target, vertex_colors, shown, True)
    drawn = torch.cat([wanted, (vertex_colors.seen > 0).float()[:, None]], -1)
    at = interpolate(drawn[None], model.mesh.topology, window.fragments)[0]
    covered = window.covered
    cell = window.cut(target.cell[None])[0]
    inside, everywhere = palette.inside.mean(0)[cell], target.everywhere[cell]
    around = torch.bincount(cell[~covered], minlength=CELLS).float()
    outside = torch.lerp(everywhere, density(around[None])[0, cell], NEARBY)
    likeness = color_density if any_camera else _uncut_density
    colors = image.permute(1, 2, 0)
    known = at[..., 3] > 0.5
    own = torch.where(known, likeness(at[..., :3], colors, (USUAL,)), inside)
    likely = own / (own + everywhere)
    own = torch.where(known, likeness(at[..., :3], colors, ERRORS), inside)
    gain = (own / outside).clamp(HIDDEN, SEEN).log()
    border = _border(model, target, window, own / (own + outside), outside, any_camera)
    spread = covered.float()[None, None]
    near = max_pool2d(spread, 2 * RING + 3, 1, RING + 1) - max_pool2d(spread, 3, 1, 1)
    ring = near[0, 0] > 0
    leak = palette.likeness(cell, target.everywhere)
    count = covered.sum().clamp_min(1)
    clear = float((1 - leak[ring]).mean()) if bool(ring.any()) else 1.0
    score = float(likely[covered].sum() / count) * clear
    smooth = avg_pool2d((likely * covered)[None, None], 7, 1, 3, count_include_pad=False)
    share = smooth / avg_pool2d(spread, 7, 1, 3, count_include_pad=False).clamp_min(1e-6)
    hidden = covered & (share[0, 0] < 0.3)
    # Objects in utter darkness or glare explain anything: light like the rest's is likelier.
    level = surface.shading(light, normals[shown]).mean().sqrt() / target.bright
    odd = oddity(level, vertex_colors.lift if any_camera else 1.0) * ODD
    size = float(target.camera.focal.mean()) * model.diameter / float(pose[2, 3])
    patch = PATCH * max(1.0, size / PATCH_PX) ** 2
    places = OUTLINE * min(1.0, size / PATCH_PX)
    likelihood = gain[covered].sum() / patch + places * border - odd - FREEDOM * any_camera
    return Assessment(score, float(likelihood), border, hidden, light)


def _border(
    model: KnownObject,
    target: Target,
    window: Window,
    like: Tensor,
    outside: Tensor,
    any_camera: bool,
) -> float:
    """How much likelier the colours across the outline are if a border is there: mean logarithm.

    Args:
        like: per pixel of the window, the probability that its colour is the object's there.
        outside: density of its colour anywhere else.
        any_camera: no border shows between parts that are both overexposed.
    """
    rim = contour.outline(model, window.seen, window.pixels, window.camera, window.covered)
    sides = [rim.pixels + way * target.blur * rim.normals for way in (-1, 1)]
    covered = window.covered.float()[None]
    within, beyond = (contour.sample(covered, side[:, None])[0, :, 0] for side in sides)
    usable = (within > 0.5) & (beyond < 0.5)
    if not bool(usable.any()):
        return 0.0
    image = window.cut(target.root)
    inner, outer = (side[usable] for side in sides)
    step = [contour.sample(image, side[:, None])[..., 0] for side in (inner, outer)]
    gain = border_gain((step[1] - step[0]).abs().sum(0), contour.nearest(outside, outer))
    gain = torch.lerp(torch.tensor(SMOOTH), gain, contour.nearest(like, inner))
    if any_camera:
        gain = gain.where(~(torch.minimum(*step) > CLIPPED).all(0), 0.0)
    return float(gain.mean())


def oddity(level: Float[Tensor, "*shape"], lift: float) -> Float[Tensor, "*shape"]:
    """How far light is from any that is usual, squared logarithm.

    Args:
        level: root of the light, relative to that of the image's bright parts.
        lift: how much darker than the object its given colours may be, linear.
    """
    away = level.log()
    return ((away - 0.5 * math.log(lift) - LEVEL).clamp_min(0) + (-away - LEVEL).clamp_min(0)) ** 2


def border_gain(
    step: Float[Tensor, "*shape"], outside: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """How much likelier a change of colour is across a border than within a thing, logarithm.

    Args:
        step: sum of the differences of the three roots of colours.
        outside: density of the colour beyond.
    """
    anywhere = (1 - BREAK) * likely_error(step, SAME) + BREAK * outside
    return (outside / anywhere).log().clamp(SMOOTH, BROKEN)


def _uncut_density(drawn: Tensor, seen: Tensor, usual: tuple[float, ...]) -> Tensor:
    """As :func:`color_density` where nothing is overexposed."""
    return likely_error((drawn - seen).abs().sum(-1), usual)
