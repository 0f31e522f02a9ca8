"""Lenses of every model: hand-computed pixels, inverses, Jacobians, windows, what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from invgraph.geometry.distortion import Model
from invgraph.geometry.lens import Lens


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def make_lens(distortion=None, model: Model = "brown", focal=(100.0, 110.0)) -> Lens:
    return Lens(double(*focal), double(32, 24), 48, 64, distortion, model)


LENSES = {
    "pinhole": make_lens(),
    "brown": make_lens(double(-0.28, 0.09, 1e-3, -2e-3, -0.01)),
    "rational": make_lens(double(0.3, 0.1, 2e-3, -3e-3, 0.02, 0.5, 0.15, 0.01), "rational"),
    "fisheye": make_lens(double(-0.02, 0.004, 0.001, -0.0002), "fisheye"),
}
every_lens = pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)


def points_before(count: int = 30, spread: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sides = (torch.rand(count, 2, generator=generator, dtype=torch.float64) - 0.5) * 2 * spread
    depth = 0.5 + torch.rand(count, 1, generator=generator, dtype=torch.float64)
    points = torch.cat((sides, depth), -1)
    points[0, :2] = 0.0  # on the axis
    return points


def test_a_rational_pixel_computed_by_hand():
    lens = make_lens(double(0.1, 0.2, 0.01, 0.02, 0.3, 0.4, 0.5, 0.6), "rational")
    pixels, depth = lens.project(double(1.0, 0.5, 2.0)[None])
    # Brown's of test_camera over 1 + 0.4 * 0.3125 + 0.5 * 0.09765625 + 0.6 * 0.030517578125
    radial = 1.0599365234375 / 1.192138671875
    expected = double(100 * (0.5 * radial + 0.01875) + 32, 110 * (0.25 * radial + 0.009375) + 24)
    assert torch.allclose(pixels[0], expected, atol=1e-12) and depth.item() == 2.0


def test_fisheye_pixels_computed_by_hand():
    lens = make_lens(double(0.1, 0.0, 0.0, 0.0), "fisheye")
    quarter, straight = math.pi / 4, math.pi / 2
    points = torch.stack((double(1, 0, 1), double(0, 2, 0), double(0, 0, 3), double(0, -1, -1)))
    bent = [angle * (1 + 0.1 * angle**2) for angle in (quarter, straight, 3 * quarter)]
    pixels, depth = lens.project(points)
    expected = [
        (32 + 100 * bent[0], 24), (32, 24 + 110 * bent[1]), (32, 24), (32, 24 - 110 * bent[2])
    ]  # fmt: skip
    assert torch.allclose(pixels, torch.tensor(expected, dtype=torch.float64), atol=1e-9)
    assert depth.tolist() == [1, 0, 3, -1]


def test_rational_with_zero_denominators_is_brown():
    brown = LENSES["brown"]
    assert brown.distortion is not None
    rational = replace(
        brown, distortion=torch.cat((brown.distortion, torch.zeros(3).double())), model="rational"
    )
    points = points_before(200, 4.0)
    assert torch.allclose(rational.homogeneous(points), brown.homogeneous(points), atol=1e-9)


@every_lens
def test_homogeneous_agrees_with_project(lens):
    points = points_before(200, 3.0)
    pixels, depth = lens.project(points)
    screen = lens.homogeneous(points)
    assert torch.allclose(screen[:, :2], pixels * depth[:, None], atol=1e-9)
    assert torch.equal(screen[:, 2], depth)


@every_lens
def test_every_point_has_finite_numbers_and_gradients(lens):
    points = torch.stack(
        [double(0, 0, 0), double(0, 0, -1), double(1, 2, 0), double(1, 2, -3), double(0, 0, 1),
         double(1e3, 0, 1e-9), double(0, 1e-30, 0), double(0, 1e-30, 1)]
    ).requires_grad_()  # fmt: skip
    for seen in (lens.homogeneous(points), lens.project(points)[0]):
        [gradient] = torch.autograd.grad(seen.sum(), points)
        assert seen.isfinite().all() and gradient.isfinite().all()
    assert lens.jacobian(points.detach()).isfinite().all()


@every_lens
def test_jacobians_are_finite_differences(lens):
    points = points_before(60, 2.0)
    if lens.model == "fisheye":  # behind it as well, but for the direction straight back
        points = torch.cat((points, points[1:] * double(1, 1, -1)))
    points = torch.cat((points, double(1e-4, 0, 2)[None]))
    found = lens.jacobian(points)
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = 1e-6
        slope = (lens.project(points + step)[0] - lens.project(points - step)[0]) / 2e-6
        assert torch.allclose(found[..., axis], slope, rtol=1e-5, atol=1e-4)


@every_lens
def test_gradients_of_projection(lens):
    points = points_before(5).requires_grad_()
    inputs = [lens.focal.clone().requires_grad_(), lens.principal.clone().requires_grad_()]
    if lens.distortion is not None:
        inputs.append(lens.distortion.clone().requires_grad_())

    def project(points, focal, principal, distortion=None):
        moved = replace(lens, focal=focal, principal=principal, distortion=distortion)
        return moved.project(points)[0], moved.homogeneous(points)

    assert gradcheck(project, (points, *inputs))


@every_lens
def test_gradients_of_directions(lens):
    pixels = torch.stack((double(3, 5), double(60, 40), double(31, 24))).requires_grad_()
    inputs = [lens.focal.clone().requires_grad_(), lens.principal.clone().requires_grad_()]
    if lens.distortion is not None:
        inputs.append(lens.distortion.clone().requires_grad_())

    def unproject(pixels, focal, principal, distortion=None):
        moved = replace(lens, focal=focal, principal=principal, distortion=distortion)
        return moved.directions(pixels), moved.unproject(pixels, double(1, 2, 3))

    assert gradcheck(unproject, (pixels, *inputs))


@every_lens
def test_unprojection_is_the_inverse_of_projection(lens):
    lens = replace(lens, focal=lens.focal / 3)  # wide
    pixels = lens.pixel_centres
    depth = torch.linspace(0.5, 4, len(pixels), dtype=torch.float64)
    back, ahead = lens.project(lens.unproject(pixels, depth))
    assert torch.allclose(back, pixels, atol=1e-7) and torch.allclose(ahead, depth)
    directions = lens.directions(pixels)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(len(pixels)).double())
    assert torch.allclose(lens.project(directions)[0], pixels, atol=1e-7)


@given(st.floats(-0.05, 0.1), st.floats(-0.02, 0.02), st.floats(-0.005, 0.005))
def test_a_fisheye_sees_all_round(k1, k2, k3):
    lens = make_lens(double(k1, k2, k3, 0.0), "fisheye", focal=(8.0, 8.0))
    angle = torch.linspace(0, 3.1, 500, dtype=torch.float64)
    ring = torch.stack((angle.sin(), 0 * angle, angle.cos()), -1)
    pixels = lens.project(ring)[0]
    assert (pixels[1:, 0] > pixels[:-1, 0]).all()  # nothing folds back
    assert torch.allclose(lens.directions(pixels), ring, atol=1e-6)


@pytest.mark.parametrize(
    "distortion",
    [
        double(0.1, 0, 0, 0, 0, 0.8, 0, 0),  # grows ever more slowly
        double(0.1, 0, 0, 0, 0, -0.5, 0, 0),  # a pole at radius 1.41
        double(-0.3, 0, 0, 0, 0, 0.2, 0.1, 0.0),
    ],
)
def test_nothing_folds_back_through_a_rational_lens(distortion):
    angle = torch.linspace(0, 1.55, 2000, dtype=torch.float64)
    ring = torch.stack((angle.sin(), 0 * angle, angle.cos()), -1)
    pixels, _ = make_lens(distortion, "rational").project(ring)
    assert (pixels[1:, 0] > pixels[:-1, 0]).all()


def test_a_fisheye_is_exact_in_homogeneous_pixels_up_to_84_degrees():
    lens = LENSES["fisheye"]
    angle = double(0.1, 1.0, math.radians(84), math.radians(88))
    ring = torch.stack((angle.sin(), 0 * angle, angle.cos()), -1)
    screen = lens.homogeneous(ring)
    apart = (screen[:, 0] / screen[:, 2] - lens.project(ring)[0][:, 0]).abs()
    assert (apart[:3] < 1e-9).all() and apart[3] > 1


@every_lens
def test_windows_shift_and_scale_pixels(lens):
    points = points_before()
    pixels = lens.project(points)[0]
    assert torch.allclose(lens.crop(3, 5, 20, 30).project(points)[0] + double(5, 3), pixels)
    assert torch.allclose(lens.resize(24, 128).project(points)[0], pixels * double(2, 0.5))
    small = lens.binned(5)
    assert (small.height, small.width) == (9, 12)  # of 48x64
    assert torch.allclose(5 * small.project(points)[0], pixels)


@every_lens
def test_a_quarter_turn_by_hand(lens):
    # Counter-clockwise: (u, v) goes to (v, width - u), x and y of the frame to y and -x.
    points = points_before()
    u, v = lens.project(points)[0].unbind(-1)
    x, y, z = points.unbind(-1)
    turned = lens.quarter_turn()
    assert (turned.height, turned.width) == (64, 48)
    seen = turned.project(torch.stack((y, -x, z), -1))[0]
    assert torch.allclose(seen, torch.stack((v, 64 - u), -1))
    back = turned.quarter_turn(3)
    assert torch.allclose(back.project(points)[0], lens.project(points)[0])


@pytest.mark.parametrize(
    "model, distortion, reach",
    [
        ("brown", (0.1, 0.64, 0.0, -0.002, -0.06), 2.5),  # outwards first, then back
        ("brown", (0.85, 0.21, 0.002, -0.001, -0.012), 3.5),
        ("rational", (0.07, -0.3, 0.001, -0.001, -0.04, -0.99, -0.37, -0.08), 0.8),  # a pole
        ("brown", (0.0, 0.0, 0.0, 0.0, 1.0), 4.0),  # beyond all that distortion is applied to
    ],
)
def test_what_a_lens_throws_far_out_comes_back(model, distortion, reach):
    lens = make_lens(double(*distortion), model)
    radius = torch.linspace(0.0, reach, 100, dtype=torch.float64)
    points = torch.stack((0.8 * radius, -0.6 * radius, torch.ones_like(radius)), -1)
    found = lens.unproject(lens.project(points)[0], points[:, 2])
    assert torch.allclose(found, points, atol=1e-9)


def test_a_batch_is_its_items():
    both = replace(
        LENSES["brown"],
        focal=torch.stack((double(100, 110), double(50, 60))),
        principal=torch.stack((double(32, 24), double(30, 20))),
        distortion=torch.stack((double(-0.2, 0, 0, 0, 0), double(0.1, 0, 1e-3, 0, 0))),
    )
    points = points_before()
    for index in range(2):
        one = both[index]
        assert torch.allclose(both.project(points)[0][index], one.project(points)[0])
        assert torch.allclose(both.jacobian(points)[index], one.jacobian(points))
        assert torch.equal(both.K[index], one.K)
    assert both[:1].batch_shape == (1,) and both.to(torch.float32).focal.dtype == torch.float32
    with pytest.raises(IndexError, match="no batch axis"):
        both[0][0]


def test_only_pinholes_do_not_bend():
    assert [lens.bends for lens in LENSES.values()] == [False, True, True, True]
    assert not make_lens(torch.zeros(5).double()).bends
    assert make_lens(torch.zeros(4).double(), "fisheye").bends


@every_lens
def test_facts_say_everything(lens):
    facts = lens.facts
    given = (facts["height"], facts["width"], facts["focal"], facts["principal"], facts["model"])
    assert given == (48, 64, [100, 110], [32, 24], lens.model)
    assert facts["distortion"] == (None if lens.distortion is None else lens.distortion.tolist())
    assert lens.straight().facts == facts | {"distortion": None, "model": "brown"}


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"focal": torch.ones(2, 2).double()},
            r"principal should have shape \(2, 2\) to fit",
        ),
        ({"principal": torch.ones(3).double()}, r"principal should have shape \(2,\)"),
        ({"distortion": torch.ones(4).double()}, r"distortion should have shape \(5,\)"),
        ({"principal": torch.ones(2)}, "principal is torch.float32 on cpu but focal"),
        ({"model": "fisheye"}, "a fisheye lens has 4 distortion coefficients but got None; give"),
        ({"model": "fov"}, "model should be one of brown, rational, fisheye: 'fov'"),
        ({"height": 0}, r"image size 0x64 \(h x w\) should be positive"),
        ({"near": 0.0}, "near should be a positive distance but is 0.0"),
    ],
)
def test_bad_lenses_are_refused(change, message, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        replace(make_lens(), **change)
