"""How well a pose explains an image, pixel by pixel."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from invgraph import transforms
from invgraph.raster import interpolate
from invgraph.tracking import surface
from invgraph.tracking.colors import CELLS, Palette, density
from invgraph.tracking.model import Model
from invgraph.tracking.pose import LEAST_POINTS, Target, Window, compared, lit
from invgraph.tracking.surface import Paint

USUAL = 0.08  # error of a known colour, root of linear
ERRORS = 0.03, 0.06, 0.12  # those that are equally usual where poses are compared
NEARBY = 0.7  # share of the colours around the object in what else may be seen there
# How much likelier a pixel is, at worst and at best, with the object there: it may show something
# in front of the object, which looks like anything else.
HIDDEN, SEEN = 0.02, 20.0
LEVEL, ODD = 0.6, 50.0  # light, log of its root over the image's, from which it costs, and how much
RING = 5  # px around the outline that should not look like the object
PATCH = 60.0  # px that tell one thing, since neighbours err together, on an object
PATCH_PX = 120.0  # whose diameter takes as many; more px on a larger one


@dataclass(frozen=True, eq=False)
class Assessment:
    """What the image says about a pose.

    Attributes:
        score: share of the object's pixels that show it, times that of the pixels around it that
            do not look like it, 0 to 1.
        likelihood: logarithm of how much likelier the image is with the object there than without.
        hidden: pixels of the window where something else is in front of the object.
        light: that explains the colours best, spherical harmonics of order 2, camera frame.
    """

    score: float
    likelihood: float
    hidden: Bool[Tensor, "h w"]
    light: Float[Tensor, "9 3"]


def assess(
    model: Model,
    target: Target,
    palette: Palette,
    paint: Paint,
    pose: Float[Tensor, "4 4"],
    window: Window,
) -> Assessment | None:
    """Compare the render of a pose with the image.

    Args:
        window: ``look(model, target.camera, pose, margin)`` with a margin of at least 8 px.

    Returns:
        None if too little of the object is in the image to say anything.
    """
    normals = transforms.rotate(pose, model.normals)
    shown = compared(model, window, normals)
    if len(shown) < LEAST_POINTS:
        return None
    image = window.cut(target.root)
    light, wanted = lit(window, normals, target, paint, shown)
    drawn = torch.cat([wanted, (paint.seen > 0).float()[:, None]], -1)
    at = interpolate(drawn[None], model.mesh.faces, window.fragments)[0]
    covered = window.covered
    cell = window.cut(target.cell[None])[0]
    inside, everywhere = palette.inside.mean(0)[cell], target.everywhere[cell]
    around = torch.bincount(cell[~covered], minlength=CELLS).float()
    outside = torch.lerp(everywhere, density(around[None])[0, cell], NEARBY)
    away = (image.permute(1, 2, 0) - at[..., :3]).abs().sum(-1)
    known = at[..., 3] > 0.5
    own = torch.where(known, likely_error(away, (USUAL,)), inside)
    likely = own / (own + everywhere)
    own = torch.where(known, likely_error(away, ERRORS), inside)
    gain = (own / outside).clamp(HIDDEN, SEEN).log()
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
    rim = (1 - leak[ring]).clamp_min(0.05).log().sum() if bool(ring.any()) else 0.0
    # Objects in utter darkness or glare explain anything: light like the rest's is likelier.
    level = surface.shading(light, normals[shown]).mean().sqrt() / target.bright
    odd = (level.log().abs() - LEVEL).clamp_min(0).square() * ODD
    size = float(target.camera.focal.mean()) * model.diameter / float(pose[2, 3])
    patch = PATCH * max(1.0, size / PATCH_PX) ** 2
    likelihood = (gain[covered].sum() + rim) / patch - odd
    return Assessment(score, float(likelihood), hidden, light)


def likely_error(
    away: Float[Tensor, "*shape"], usual: tuple[float, ...]
) -> Float[Tensor, "*shape"]:
    """Density of a colour that is known but for an error.

    Args:
        away: sum of the differences of the three roots of colours.
        usual: mean differences of one channel, equally likely.
    """
    parts = [torch.exp(-away / error) / (2 * error) ** 3 for error in usual]
    return torch.stack(parts).mean(0)
