"""The pieces of tracking, each against an answer that is known."""

import functools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d
from tracking_scenes import box, painted_cube, pose_at, view

from invgraph.fitting.pose import KnownObject, contour, make_object, surface
from invgraph.fitting.pose.colors import BINS, CELLS, FLOOR, Palette, cells, density
from invgraph.fitting.pose.refine import _Lines, _pixel_by_twist, _Points
from invgraph.fitting.pose.surface import VertexColors
from invgraph.fitting.pose.window import Target, Window, crop_window
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.primitives import icosphere
from invgraph.geometry.transforms import perturb

RED, GREEN = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.9, 0.1])


ROLL = 0.3  # rad: edges cross the pixels' grid at all phases
HALF = 190 * 0.05 / 0.45  # px, half of the front face of the cube below


@functools.cache
def plain_box() -> KnownObject:
    return make_object(box(0.1), None, "box")


def front(roll: float) -> tuple[Window, contour.Rim]:
    """A cube seen from the front, turned about the line of sight, and its outline."""
    model = plain_box()
    window = crop_window(model, view(), pose_at((0.0, 0.0, roll), (0.0, 0.0, 0.5)), 40)
    assert window is not None
    rim = contour.outline(model, window.seen, window.pixels, window.camera, window.covered)
    return window, rim


# Colours


def test_cells_number_the_cube_of_colours():
    colors = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.07, 0.0], [0.07, 0.0, 0.0]])
    assert cells(colors).tolist() == [0, BINS - 1, BINS, BINS * BINS]
    assert cells(torch.tensor([-0.2, 1.3, 0.5])).item() == (BINS - 1) * BINS + BINS // 2


def test_density_of_one_colour():
    counts = torch.zeros(2, CELLS)
    middle = (5 * BINS + 5) * BINS + 5
    counts[0, middle] = 100.0
    found = density(counts)
    # Relative to the uniform density, so that the mean over the cube is one.
    assert found[0].mean().item() == pytest.approx(1.0, rel=1e-4)
    # 1/27 of it in each of 27 cells, and half of it again in its own.
    share = (1 / 27 + 0.5) / 1.5
    assert found[0, middle].item() == pytest.approx((1 - FLOOR) * share * CELLS + FLOOR, rel=1e-4)
    assert found[0, middle + 1].item() == pytest.approx(
        (1 - FLOOR) / 27 / 1.5 * CELLS + FLOOR, rel=1e-4
    )
    assert found[0, middle + 2].item() == pytest.approx(FLOOR)
    assert torch.allclose(found[1], torch.full((CELLS,), FLOOR))


def test_posterior_is_bayes_of_the_nearest_place():
    inside, outside = torch.full((2, CELLS), 0.5), torch.full((2, CELLS), 1.5)
    inside[1, 7] = 4.5
    palette = Palette(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), inside, outside)
    points = torch.tensor([[0.4, 0.0, 0.0], [0.6, 0.0, 0.0]])
    found = palette.posterior(points, torch.tensor([[7, 8], [7, 8]]))
    assert torch.allclose(found, torch.tensor([[0.25, 0.25], [0.75, 0.25]]))
    blended = palette.blend(Palette(palette.places, inside * 3, outside), 0.5)
    assert torch.allclose(blended.inside, inside * 2) and torch.equal(blended.outside, outside)


# Outline


def test_outline_of_a_cube_from_the_front_is_its_front_square():
    window, rim = front(0.0)
    off = rim.pixels + torch.tensor([window.left, window.top]) - torch.tensor([80.0, 60.0])
    assert len(rim.pixels) > 60
    assert torch.allclose(off.abs().amax(1), torch.tensor(HALF), atol=1e-3)
    assert ((rim.normals * off).sum(1) > 0).all()  # outwards
    assert torch.allclose(rim.normals.norm(dim=1), torch.ones(1))
    axis = off.abs().argmax(1, keepdim=True)
    assert torch.allclose(rim.normals.gather(1, axis).abs(), torch.ones(1))
    # All four sides, and the points are where the pixels are.
    sides = axis[:, 0] * 2 + (off.gather(1, axis)[:, 0] > 0)
    assert torch.bincount(sides, minlength=4).min() > 12
    seen = rim.points + torch.tensor([0.0, 0.0, 0.5])
    again = view().project(seen)[0] - torch.tensor([window.left, window.top])
    assert torch.allclose(again, rim.pixels, atol=1e-2)


@given(st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(-0.05, 0.05)] * 2))
def test_outline_of_a_turned_cube_is_where_the_mask_ends(turn, place):
    model = plain_box()
    window = crop_window(model, view(), pose_at(turn, (*place, 0.5)), 10)
    assert window is not None
    rim = contour.outline(model, window.seen, window.pixels, window.camera, window.covered)
    # Every point of the mask is on the inner side of none of the lines: a cube is convex.
    rows, columns = window.covered.nonzero().unbind(1)
    covered = torch.stack([columns, rows], -1) + 0.5
    beyond = ((covered - rim.pixels[:, None]) * rim.normals[:, None]).sum(-1)
    assert len(rim.pixels) > 20
    assert float(beyond.amax()) < 0.01


def test_image_border_is_no_outline():
    model = plain_box()
    camera = view()
    window = crop_window(model, camera, pose_at((0.0, 0.0, 0.0), (-0.19, 0.0, 0.5)), 40)
    assert window is not None and bool(window.covered[:, 0].any())
    rim = contour.outline(model, window.seen, window.pixels, window.camera, window.covered)
    left = rim.pixels[:, 0] + window.left
    assert len(rim.pixels) > 10 and float(left.min()) > 2


def edge_image(window: Window, shift: float, blur: float = 0.5) -> torch.Tensor:
    """The cube's square, larger by ``shift`` px on every side; edges ``2 blur`` px wide."""
    y = (torch.arange(window.camera.height) + 0.5 + window.top - 60)[:, None]
    x = torch.arange(window.camera.width) + 0.5 + window.left - 80
    c, s = math.cos(ROLL), math.sin(ROLL)
    away = torch.maximum((c * x + s * y).abs(), (c * y - s * x).abs())
    share = ((HALF + shift - away) / (2 * blur) + 0.5).clamp(0, 1)[..., None]
    return share * RED + (1 - share) * GREEN


def two_colors(window: Window) -> Palette:
    """Shades between red and green are the object's by as much as they are red."""
    ramp = torch.linspace(0, 1, 4000)[:, None]
    index = cells(ramp * RED + (1 - ramp) * GREEN)
    inside = torch.bincount(index, ramp[:, 0], minlength=CELLS)[None]
    outside = torch.bincount(index, 1 - ramp[:, 0], minlength=CELLS)[None]
    return Palette(torch.zeros(1, 3), inside + 0.1, outside + 0.1)


def find_edges(window: Window, rim: contour.Rim, image: torch.Tensor, stride: int = 1) -> tuple:
    return contour.offsets(two_colors(window), cells(image), window.covered, rim, stride)


@pytest.mark.parametrize("shift", [-4.0, -2.0, 0.0, 1.0, 3.0, 5.0])
def test_offsets_find_a_shifted_edge(shift: float):
    window, rim = front(ROLL)
    mean, _variance, body = find_edges(window, rim, edge_image(window, shift))
    inner = rim.points.abs()[:, :2].amin(1) < 0.025  # away from the corners
    assert float((mean[inner].mean() - shift).abs()) < 0.25
    assert float((mean[inner] - shift).abs().max()) < 0.8
    if shift >= 0:
        assert float(body[inner].min()) > 0.8


def test_offsets_scale_with_the_stride():
    window, rim = front(ROLL)
    inner = rim.points.abs()[:, :2].amin(1) < 0.02
    mean, variance, _ = find_edges(window, rim, edge_image(window, 8.0), 2)
    _fine, narrow, _ = find_edges(window, rim, edge_image(window, 4.0), 1)
    assert abs(float(mean[inner].mean()) - 8.0) < 0.6
    assert float(variance[inner].mean()) > 3 * float(narrow[inner].mean())


def test_blurred_and_hidden_edges_are_less_certain():
    window, rim = front(ROLL)
    sharp, wide = (edge_image(window, 0.0, blur) for blur in (0.5, 6.0))
    hidden = sharp.clone()
    hidden[:] = (RED + GREEN) / 2
    inner = rim.points.abs()[:, :2].amin(1) < 0.025
    variances = [
        float(find_edges(window, rim, image)[1][inner].mean()) for image in (sharp, wide, hidden)
    ]
    assert variances[0] * 1.1 < variances[1] < variances[2] / 2


def test_no_object_behind_the_outline_is_told():
    window, rim = front(ROLL)
    inner = rim.points.abs()[:, :2].amin(1) < 0.025
    body = find_edges(window, rim, GREEN.expand(*window.covered.shape, 3))[2]
    assert float(body[inner].max()) < 0.2


# Surface


def ball() -> torch.Tensor:
    return torch.nn.functional.normalize(icosphere(3).vertices, dim=1)


def test_columns_are_the_radiance_of_a_white_surface():
    # Even light of radiance 1 is sqrt(4 pi) of the constant harmonic and leaves a white surface
    # with radiance 1; a light from +z of harmonic (1, 0) shades with 2/3 cos / pi * pi.
    shape = surface.columns(ball())
    assert torch.allclose(shape[:, 0] * math.sqrt(4 * math.pi), torch.ones(1), atol=1e-5)
    first = math.sqrt(3 / (4 * math.pi)) * 2 / 3
    assert torch.allclose(shape[:, 2], first * ball()[:, 2], atol=1e-5)


def test_find_light_recovers_a_light_from_painted_points():
    generator = torch.Generator().manual_seed(0)
    light = torch.randn(9, 3, generator=generator) * 0.2
    light[0] = torch.tensor([3.0, 2.5, 2.0])
    albedo = 0.2 + 0.7 * torch.rand(len(ball()), 3, generator=generator)
    color = albedo * surface.shading(light, ball())
    spoiled = color.clone()
    spoiled[::12] = 3.0  # outliers
    for seen, tolerance in ((color, 0.04), (spoiled, 0.12)):
        found = surface.shading(surface.find_light(albedo, ball(), seen), ball())
        truth = surface.shading(light, ball())
        assert float(((found - truth) / truth).abs().mean()) < tolerance


def test_paint_is_the_mean_of_what_frames_showed():
    vertex_colors = VertexColors.plain(4)
    shading = torch.full((2, 3), 0.5)
    shown = torch.tensor([0, 2])
    vertex_colors = vertex_colors.learn(shown, torch.full((2, 3), 0.10), shading)
    assert vertex_colors.seen.tolist() == [1, 0, 1, 0]
    assert torch.allclose(vertex_colors.albedo, torch.tensor(0.2))  # the others guess the median
    vertex_colors = vertex_colors.learn(shown, torch.full((2, 3), 0.25), shading)
    vertex_colors = vertex_colors.learn(shown, torch.full((2, 3), 0.25), shading)
    assert torch.allclose(vertex_colors.albedo[shown], torch.tensor((0.2 + 0.5 + 0.5) / 3))
    assert torch.allclose(
        vertex_colors.albedo[1], torch.tensor(0.2)
    ) and vertex_colors.seen.tolist() == [
        3,
        0,
        3,
        0,
    ]


def test_given_colours_stay():
    vertex_colors = VertexColors(torch.full((2, 3), 0.3), torch.tensor([torch.inf, 0.0]))
    vertex_colors = vertex_colors.learn(
        torch.tensor([0, 1]), torch.full((2, 3), 0.8), torch.ones(2, 3)
    )
    assert torch.allclose(vertex_colors.albedo, torch.tensor([[0.3], [0.8]]).expand(2, 3))


def test_slopes_of_a_plane_of_colours():
    rows, columns = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(9) + 0.5, indexing="ij")
    value, slope = surface.slopes((2 * rows - 3 * columns)[None], torch.tensor([[4.2, 3.7]]))
    assert value.item() == pytest.approx(2 * 3.7 - 3 * 4.2, abs=1e-4)
    assert torch.allclose(slope[0, 0], torch.tensor([-3.0, 2.0]), atol=1e-4)


# Derivatives


POSE = pose_at((0.4, -0.5, 0.2), (0.02, -0.01, 0.5))


def by_differences(function, step: float = 2e-3) -> torch.Tensor:
    twists = step * torch.eye(6)
    each = [function(perturb(POSE, t)) - function(perturb(POSE, -t)) for t in twists]
    return torch.stack(each, -1) / (2 * step)


def assert_near(found: torch.Tensor, wanted: torch.Tensor, share: float) -> None:
    error = (found - wanted).flatten(0, -2).norm(dim=0) / wanted.flatten(0, -2).norm(dim=0)
    assert float(error.max()) < share


def test_pixel_by_twist():
    points = box(0.1).vertices
    camera = Camera(
        Lens(torch.tensor([190.0, 170.0]), torch.tensor([70.0, 61.0]), 120, 160), torch.eye(4)
    )
    turned = transforms.rotate(POSE, points)
    found = _pixel_by_twist(camera, turned, turned + POSE[:3, 3])
    wanted = by_differences(lambda pose: camera.project(transforms.apply(pose, points))[0])
    assert_near(found, wanted, 1e-3)


def test_jacobian_of_the_lines():
    model = plain_box()
    window = crop_window(model, view(), POSE, 20)
    assert window is not None
    rim = contour.outline(model, window.seen, window.pixels, window.camera, window.covered)
    ones = torch.ones(len(rim.points))
    lines = _Lines(rim, window, (2 * ones, 4 * ones, ones))
    # Measured 2 px further out with a deviation of 2 px.
    assert torch.allclose(lines.error(POSE), -ones, atol=1e-3)
    assert_near(lines.jacobian(POSE), by_differences(lines.error), 2e-3)


def test_jacobian_of_the_points():
    rows, columns = torch.meshgrid(torch.arange(120.0), torch.arange(160.0), indexing="ij")
    image = torch.stack([rows / 60 + columns.square() / 9000, columns / 70, rows * columns / 6000])
    model = painted_cube()
    points = _Points(model.mesh.vertices[::50], torch.zeros(3), image, view(), 3.0)
    points.scale = 3.0
    assert_near(points.jacobian(POSE), by_differences(points.error), 5e-3)


def test_points_that_do_not_fit_count_less():
    image = torch.full((3, 120, 160), 0.5)
    wanted = torch.full((60, 3), 0.5) + 0.04 * torch.randn(60, 3, generator=torch.manual_seed(0))
    wanted[:10] = 1.0
    points = _Points(painted_cube().mesh.vertices[:60], wanted, image, view(), 3.0)
    points.settle(POSE)
    assert 1 / points.scale == pytest.approx(0.05, rel=0.5)
    assert float(points.weight[:10].max()) < 0.05 * float(points.weight[10:].mean())


@pytest.mark.parametrize(("blur", "wanted"), [(0, 1.5), (7, 2.5), (15, 4.0)])
def test_blur_is_half_the_width_of_the_sharpest_borders(blur, wanted):
    # A step that is blurred by a box of n px rises by 3/n of its height over 3 px, by 5/n over 5.
    image = torch.zeros(120, 160, 3)
    image[30:90, 40:120] = 1.0
    root = image.permute(2, 0, 1)[None]
    if blur:
        root = avg_pool2d(root, blur, 1, blur // 2, count_include_pad=False)
    target = Target(root[0].square().permute(1, 2, 0), view())
    assert target.blur == wanted


def test_a_mask_of_a_window_lands_where_the_window_is():
    camera = view()
    pose = pose_at((0.0, 0.0, 0.0), (0.03, 0.01, 0.5))
    window = crop_window(painted_cube(), camera, pose, 8)
    assert window is not None
    whole = window.paste(window.covered)
    assert whole.shape == (camera.height, camera.width)
    assert torch.equal(window.cut(whole[None])[0], window.covered)
    assert int(whole.sum()) == int(window.covered.sum())
