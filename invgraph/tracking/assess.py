"""How well a pose explains an image, pixel by pixel."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from invgraph import transforms
from invgraph.raster import interpolate
from invgraph.tracking import surface
from invgraph.tracking.colors import Palette
from invgraph.tracking.model import Model
from invgraph.tracking.pose import LEAST_POINTS, Target, Window, compared, lit
from invgraph.tracking.surface import Paint

ERROR = 0.08  # usual error of a known colour, root of linear
CHANCE = 0.1  # that something hides a pixel of the object
LEVEL, ODD = 0.6, 50.0  # light, log of its root over the image's, from which it costs, and how much
RING = 5  # px around the outline that should not look like the object
PATCH = 60.0  # px that tell one thing: neighbours err together


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
    known = (paint.seen > 0).float()[:, None]
    drawn = torch.cat([wanted, known], -1)
    at = interpolate(drawn[None], model.mesh.faces, window.fragments)[0]
    covered = window.covered
    cell = window.cut(target.cell[None])[0]
    inside, outside = palette.inside.mean(0)[cell], target.everywhere[cell]
    away = (image.permute(1, 2, 0) - at[..., :3]).abs().sum(-1) / ERROR
    own = torch.where(at[..., 3] > 0.5, torch.exp(-away) / (2 * ERROR) ** 3, inside)
    ratio = own / outside
    likely = ratio / (1 + ratio)
    # A pixel may also show something in front of the object, which looks like anything else.
    gain = ((1 - CHANCE) * ratio + CHANCE).log()
    spread = covered.float()[None, None]
    near = max_pool2d(spread, 2 * RING + 3, 1, RING + 1) - max_pool2d(spread, 3, 1, 1)
    ring = near[0, 0] > 0
    leak = inside / (inside + outside)
    count = covered.sum().clamp_min(1)
    clear = float((1 - leak[ring]).mean()) if bool(ring.any()) else 1.0
    score = float(likely[covered].sum() / count) * clear
    smooth = avg_pool2d((likely * covered)[None, None], 7, 1, 3, count_include_pad=False)
    share = smooth / avg_pool2d(spread, 7, 1, 3, count_include_pad=False).clamp_min(1e-6)
    hidden = covered & (share[0, 0] < 0.3)
    around = (1 - leak[ring]).clamp_min(0.05).log().sum() if bool(ring.any()) else 0.0
    # Objects in utter darkness or glare explain anything: light like the rest's is likelier.
    level = surface.shading(light, normals[shown]).mean().sqrt() / target.bright
    odd = (level.log().abs() - LEVEL).clamp_min(0).square() * ODD
    likelihood = (gain[covered].sum() + around) / PATCH - odd
    return Assessment(score, float(likelihood), hidden, light)
