"""Photographs by other cameras: their colours are pushed, and the verdict is the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import max_pool2d
from tracking_scenes import backdrop, painted_cube, photo, pose_at, view

from invgraph.evaluate.pose_metrics import pose_error
from invgraph.fitting.pose import KnownObject, Tracker, estimate_pose
from invgraph.fitting.pose.assess import FREEDOM, Assessment, assess, oddity
from invgraph.fitting.pose.color_model import MARGIN, initial_color_model, learn_palette
from invgraph.fitting.pose.colors import cells
from invgraph.fitting.pose.mixture import is_there
from invgraph.fitting.pose.track import ENOUGH
from invgraph.fitting.pose.window import Target, crop_window
from invgraph.geometry.color import linear_from_srgb, srgb_from_linear
from invgraph.geometry.transforms import perturb

TRUE = pose_at((0.5, 0.6, 0.2), (0.01, -0.01, 0.45))
WRONG = perturb(TRUE, torch.tensor([0.0, 0.0, 0.0, 1.2, 0.9, 0.0]))
# Exposure, saturation, gamma, contrast, brightness of the texture that is told.
CAMERAS = [(1.5, 1.7, 0.8, 0.6, 0.35), (0.4, 0.7, 1.3, 0.0, 1.0)]


def shown(
    linear: torch.Tensor, exposure: float, saturation: float, gamma: float, contrast: float
) -> torch.Tensor:
    """What another camera makes of a picture, decoded to linear values."""
    light = (exposure * linear * torch.tensor([1.3, 1.0, 1.15])).clamp(0, 1)
    grey = light.mean(-1, keepdim=True)
    light = (grey + saturation * (light - grey)).clamp(0, 1)
    curve = srgb_from_linear(light) ** gamma
    curve = curve + contrast * (curve.square() * (3 - 2 * curve) - curve)
    return linear_from_srgb((curve * 255).round() / 255)


def told(model: KnownObject, texture: float) -> KnownObject:
    assert model.albedo is not None
    return model.painted(texture * model.albedo)


def judged(
    model: KnownObject, image: torch.Tensor, pose: torch.Tensor, seen: bool = False
) -> Assessment:
    target = Target(image, view())
    known = initial_color_model(model, target, pose)
    colors = known.vertex_colors
    if seen:
        colors = replace(colors, seen=torch.ones_like(colors.seen))
    window = crop_window(model, target.camera, pose, MARGIN)
    assert window is not None
    verdict = assess(model, target, known.palette, colors, pose, window)
    assert verdict is not None
    return verdict


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_verdict_does_not_depend_on_the_camera(camera):
    model, (*response, texture) = painted_cube(), camera
    image = photo(model, TRUE, view(), backdrop())
    plain = judged(model, image, TRUE)
    other, dark = shown(image, *response), told(model, texture)
    verdict, by_this_camera = (judged(dark, other, TRUE, seen) for seen in (False, True))
    assert is_there(plain) and is_there(verdict)
    assert verdict.score > by_this_camera.score and verdict.score > 0.6 * plain.score
    assert not is_there(judged(dark, other, WRONG))


def test_without_another_camera_the_verdict_is_about_the_same():
    model = painted_cube()
    image = photo(model, TRUE, view(), backdrop())
    one, other = (judged(model, image, TRUE, seen) for seen in (False, True))
    assert abs(one.score - other.score) < 0.1 and is_there(one)
    # Not much is explained by a camera that changes nothing, and that much is taken off.
    assert other.likelihood - FREEDOM < one.likelihood < other.likelihood


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_pose_does_not_depend_on_the_camera(camera):
    model, (*response, texture) = painted_cube(), camera
    other = shown(photo(model, TRUE, view(), backdrop()), *response)
    near = perturb(TRUE, torch.tensor([0.01, -0.01, 0.02, 0.06, -0.05, 0.05]))
    belief = estimate_pose(other, view().lens, told(model, texture), near)
    millimetres, degrees = pose_error(belief.pose, TRUE)
    assert belief.found and millimetres < 0.002 and degrees < 1.0


def test_what_is_clear_is_not_looked_for_elsewhere(monkeypatch):
    model, (*response, texture) = painted_cube(), CAMERAS[0]
    dark = told(model, texture)
    image = shown(photo(model, TRUE, view(), backdrop()), *response)
    near = perturb(TRUE, torch.tensor([0.003, -0.002, 0.004, 0.03, -0.02, 0.02]))
    searched = []

    def searches(*_: object) -> Iterator[tuple[Callable[[], list[torch.Tensor]], float]]:
        yield (lambda: searched.append(True) or []), ENOUGH

    monkeypatch.setattr(Tracker, "_searches", searches)
    assert Tracker(dark, view().lens, near).step(image)[0].found and not searched
    Tracker(dark, view().lens, near).step(shown(backdrop(), *response))
    assert searched


def test_colours_at_the_outline_are_nobodys():
    """What runs over the outline, as colours of compressed photos do, is on neither side learnt."""
    model = painted_cube()
    image = photo(model, TRUE, view(), backdrop())
    window = crop_window(model, view(), TRUE, MARGIN)
    assert window is not None
    covered = window.covered[None].float()
    grown = max_pool2d(covered, 3, 1, 1)[0] > 0
    band = grown & (max_pool2d(1 - covered, 3, 1, 1)[0] > 0)  # a pixel to either side
    magenta = torch.tensor([0.8, 0.0, 0.8])
    height, width = band.shape
    image[window.top : window.top + height, window.left : window.left + width][band] = magenta
    target = Target(image, view())
    known = initial_color_model(model, target, TRUE)
    palette = learn_palette(model, target, TRUE, window, known.vertex_colors)
    [there] = cells(srgb_from_linear(magenta)[None])
    usual = palette.inside.max()
    assert float(palette.inside[:, there].max()) < 0.01 * float(usual)
    assert float(palette.outside[:, there].max()) < 0.01 * float(palette.outside.max())


def test_light_may_be_as_much_too_bright_as_a_texture_may_be_too_dark():
    level = torch.tensor([0.5, 0.55, 1.0, 1.8, 3.0])
    plain, lifted = oddity(level, 1.0), oddity(level, 4.0)
    assert plain[1:4].tolist() == [0, 0, 0] and plain[0] > 0 and plain[4] > 0
    assert lifted[0] == plain[0] and lifted[4] == 0  # a factor of 4, so 2 in roots
