"""The appearance of a known object: its colours and those around it, given or learnt."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from invgraph.fitting.pose import colors, contour, surface
from invgraph.fitting.pose.assess import Assessment
from invgraph.fitting.pose.colors import Palette
from invgraph.fitting.pose.known_object import KnownObject
from invgraph.fitting.pose.refine import predicted, visible
from invgraph.fitting.pose.surface import VertexColors
from invgraph.fitting.pose.window import Target, Window, crop_window
from invgraph.geometry import transforms
from invgraph.geometry.color import srgb_from_linear

MARGIN = 24  # px of surroundings whose colours are learnt
LEARN = 0.15  # share of a frame in the palette
AREA = 0.25  # radius around a place in which colours are local, relative to the diameter
CORE = 0.2  # share of the object that is not at its outline, from which that alone is learnt
OWN = 3.0  # times likelier on the object than in the image: such a colour is the object's


@dataclass(frozen=True, eq=False)
class ColorModel:
    """What is known of the object's colours and of those around it."""

    palette: Palette
    vertex_colors: VertexColors

    def learnt(
        self,
        model: KnownObject,
        target: Target,
        pose: Float[Tensor, "4 4"],
        window: Window,
        verdict: Assessment,
    ) -> "ColorModel":
        """What is known after another image, in which the object is at a pose."""
        fresh = learn_palette(model, target, pose, window, self.vertex_colors)
        settled = len(self.palette.places) == len(fresh.places)  # else it is of the model alone
        return ColorModel(
            self.palette.blend(fresh, LEARN) if settled else fresh,
            _learn_colors(model, target, pose, window, verdict, self.vertex_colors),
        )


def initial_color_model(
    model: KnownObject, target: Target, pose: Float[Tensor, "4 4"] | None
) -> ColorModel:
    """Colours of the object, from the model or else from the image at its pose."""
    vertex_colors = VertexColors.plain(len(model.normals))
    if model.albedo is not None:
        seen = torch.where(model.given, torch.inf, 0.0)
        vertex_colors = VertexColors(model.albedo, seen)
        return ColorModel(
            _palette_of_model(model, target, model.albedo[model.given]), vertex_colors
        )
    window = None if pose is None else crop_window(model, target.camera, pose, MARGIN)
    assert pose is not None and window is not None
    vertex_colors = _learn_colors(model, target, pose, window, None, vertex_colors)
    return ColorModel(learn_palette(model, target, pose, window, vertex_colors), vertex_colors)


def learn_palette(
    model: KnownObject,
    target: Target,
    pose: Float[Tensor, "4 4"],
    window: Window,
    vertex_colors: VertexColors,
    before: Palette | None = None,
    hidden: Bool[Tensor, "h w"] | None = None,
    any_camera: bool = False,
) -> Palette:
    """The palette of an image with the object at a pose.

    Args:
        before: while the pose is rough, the palette so far: colours that it gives to the object are
            not learnt as those of the surroundings.
        hidden: pixels of the window where something is in front of the object, if that is known.
        any_camera: solve what the camera made of given colours.
    """
    places = transforms.apply(pose, model.places)
    flat = window.camera.homogeneous_pixels(places)
    radius = AREA * model.diameter * float(target.camera.focal.mean()) / float(pose[2, 3])
    covered = window.covered
    # Colours at the outline are mixed, and JPEG spreads them: they are learned on neither side, as
    # those that count on one side only move the outline.
    grown, beyond = (max_pool2d(mark[None].float(), 5, 1, 2)[0] > 0 for mark in (covered, ~covered))
    core = covered & ~beyond
    inside = core if core.sum() > CORE * covered.sum() else covered
    cell = window.cut(target.cell[None])[0]
    drawn = predicted(model, window, pose, target, vertex_colors, any_camera)
    wanted = cell
    if drawn is not None:
        wanted = colors.cells(srgb_from_linear(drawn.square().clamp(0, 1)).permute(1, 2, 0))
    shown = cell if hidden is None else torch.where(hidden, wanted, cell)
    outside = ~grown
    if before is not None:
        outside &= before.inside.mean(0)[cell] < OWN * target.everywhere[cell]
    pixels = flat[:, :2] / flat[:, 2:].clamp_min(1e-6)
    return colors.palette(model.places, pixels, radius, shown, wanted, inside, outside)


def _palette_of_model(model: KnownObject, target: Target, albedo: Float[Tensor, "n 3"]) -> Palette:
    """The model's colours in weak to strong light against the colours of the whole image."""
    levels = torch.linspace(0.15, 1.2, 8)
    shades = srgb_from_linear((levels[:, None, None] * albedo).clamp(0, 1)).reshape(-1, 3)
    counts = torch.bincount(colors.cells(shades), minlength=colors.CELLS).float()
    return Palette(model.centre[None], colors.density(counts[None]), target.everywhere[None])


def _learn_colors(
    model: KnownObject,
    target: Target,
    pose: Tensor,
    window: Window,
    verdict: Assessment | None,
    vertex_colors: VertexColors,
) -> VertexColors:
    """Add the colours that an image shows to those of the surface."""
    normals = transforms.rotate(pose, model.normals)
    shown = visible(model, window, normals)
    if verdict is not None and len(shown):
        there = window.pixels[shown][:, None]
        hidden = contour.sample(verdict.hidden.float()[None], there)[0, :, 0] > 0.1
        shown = shown[~hidden]
    if not len(shown):
        return vertex_colors
    color = contour.sample(window.cut(target.root), window.pixels[shown][:, None])
    color = color[..., 0].T.square()
    grey = not bool((vertex_colors.seen > 0).any())
    wanted = color.mean(1, keepdim=True).expand(-1, 3) if grey else color
    light = surface.find_light(vertex_colors.albedo[shown], normals[shown], wanted)
    return vertex_colors.learn(shown, color, surface.shading(light, normals[shown]))
