"""Many poses compared at once."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_scenes import backdrop, painted_cube, photo, pose_at, view

from invgraph.evaluate.pose_metrics import pose_error
from invgraph.fitting.pose import KnownObject, make_object, surface
from invgraph.fitting.pose.assess import BROKEN, SMOOTH, assess, border_gain, likely_error
from invgraph.fitting.pose.color_model import initial_color_model
from invgraph.fitting.pose.hypotheses import FEW, OUT, Comparison, descend, narrow, shifted
from invgraph.fitting.pose.search import search, search_close
from invgraph.fitting.pose.window import Target, crop_window
from invgraph.geometry import transforms
from invgraph.geometry.primitives import icosphere

TRUTH = pose_at((0.5, 0.6, 0.2), (0.02, -0.01, 0.5))
EAST = torch.tensor([[0.4, 0.0, 0.0, 0.0, 0.0, 0.0]])


@pytest.fixture(scope="module")
def cube() -> KnownObject:
    return painted_cube()


@pytest.fixture(scope="module")
def target(cube) -> Target:
    return Target(photo(cube, TRUTH, view(), backdrop()), view())


def comparison(cube: KnownObject, target: Target, across: float = 28.0) -> Comparison:
    color_model = initial_color_model(cube, target, None)
    return Comparison(cube, target, color_model.vertex_colors, across)


def steps(count: int, size: float) -> torch.Tensor:
    return size * torch.randn(count, 6, generator=torch.Generator().manual_seed(1))


def test_the_density_of_an_error_by_hand():
    # A Laplace density of mean error .1 per channel is 1 / (2 * .1) = 5 at its peak, three times;
    # an error of .3 in all lowers it by exp(-3).
    found = likely_error(torch.tensor([0.0, 0.3]), (0.1,))
    torch.testing.assert_close(found, torch.tensor([125.0, 125.0 * math.exp(-3)]))
    both = likely_error(torch.tensor([0.0]), (0.1, 0.05))
    assert both.item() == pytest.approx((125 + 1000) / 2)


def test_lamps_are_of_no_pure_colour():
    light = torch.zeros(9, 3)
    light[0] = torch.tensor([0.5, 0.5, 8.0])
    light[1] = torch.tensor([0.1, 0.2, 1.0])
    found = surface.whitened(light)
    # 16 times as blue as red is further from the mean than TINT on both sides.
    assert float(found[0, 2] / found[0, 0]) == pytest.approx(math.exp(2 * surface.TINT))
    # A channel is scaled as a whole, so light comes from where it came.
    torch.testing.assert_close(found[1] / found[0], light[1] / light[0])
    mild = torch.tensor([[1.0, 1.2, 1.5]]).expand(9, 3).contiguous()
    torch.testing.assert_close(surface.whitened(mild), mild)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=6, max_size=6))
def test_shifts_are_in_diameters_and_about_the_centre(step):
    cube = painted_cube()
    moved = shifted(cube, TRUTH[None], torch.tensor([step]))[0]
    before = transforms.apply(TRUTH, cube.centre[None])[0]
    after = transforms.apply(moved, cube.centre[None])[0]
    across = before[:2] * math.exp(step[2]) + cube.diameter * torch.tensor(step[:2])
    torch.testing.assert_close(after[:2], across, atol=1e-5, rtol=1e-5)
    assert float(after[2]) == pytest.approx(float(before[2]) * math.exp(step[2]), rel=1e-5)
    turn = transforms.log_so3(moved[:3, :3] @ TRUTH[:3, :3].T)
    torch.testing.assert_close(turn, torch.tensor(step[3:]), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("across", [14.0, 28.0])
def test_the_truth_is_likelier_than_what_is_beside_it(cube, target, across):
    judge = comparison(cube, target, across)
    poses = torch.cat([TRUTH[None], shifted(cube, TRUTH.expand(60, 4, 4), steps(60, 0.25))])
    value = judge.likelihood(poses)
    assert int(value.argmax()) == 0
    assert float(value[0]) > 0
    nothing = Target(backdrop(3), view())
    assert float(comparison(cube, nothing, across).likelihood(TRUTH[None])) < 0


def test_poses_do_not_change_what_is_said_of_others(cube, target):
    judge = comparison(cube, target)
    poses = shifted(cube, TRUTH.expand(7, 4, 4), steps(7, 0.2))
    alone = torch.cat([judge.likelihood(pose[None]) for pose in poses])
    torch.testing.assert_close(judge.likelihood(poses), alone, atol=1e-3, rtol=1e-4)


def test_poses_out_of_view_are_very_unlikely(cube, target):
    behind, beside = TRUTH.clone(), TRUTH.clone()
    behind[2, 3], beside[0, 3] = -0.5, 3.0
    judge = comparison(cube, target)
    value = judge.likelihood(torch.stack([behind, beside]))
    torch.testing.assert_close(value, torch.full((2,), 3 * OUT * judge.side**2))


def test_no_pose_gets_less_likely_on_the_way_down(cube, target):
    judge = comparison(cube, target)
    starts = shifted(cube, TRUTH.expand(40, 4, 4), steps(40, 0.07))
    ends = descend(judge, starts, 4)
    before, after = (judge.likelihood(poses) for poses in (starts, ends))
    assert (after >= before - 1e-3).all()
    begin, value, best = (judge.likelihood(x).median() for x in (starts, ends, TRUTH[None]))
    assert float(value - begin) > 0.4 * float(best - begin)
    before = sorted(pose_error(pose, TRUTH)[1] for pose in starts)
    after = sorted(pose_error(pose, TRUTH)[1] for pose in ends)
    assert after[10] < before[10] and after[20] < before[20]


@pytest.mark.slow
def test_many_poses_end_in_few_that_stand_apart(cube, target):
    color_model = initial_color_model(cube, target, None)
    starts = shifted(cube, TRUTH.expand(150, 4, 4), steps(150, 0.4))
    ends = narrow(cube, target, color_model.vertex_colors, starts)
    assert 1 <= len(ends) <= FEW
    assert pose_error(ends[0], TRUTH)[1] < min(pose_error(pose, TRUTH)[1] for pose in ends[1:])


def test_the_best_of_many_poses_is_close(cube, target):
    color_model = initial_color_model(cube, target, None)
    starts = shifted(cube, TRUTH.expand(150, 4, 4), steps(150, 0.4))
    shift, turn = pose_error(narrow(cube, target, color_model.vertex_colors, starts)[0], TRUTH)
    assert shift < 0.02 and turn < 6


def test_descents_come_near_to_the_truth(cube, target):
    judge = comparison(cube, target)
    ends = descend(judge, shifted(cube, TRUTH.expand(40, 4, 4), steps(40, 0.07)), 4)
    best = float(judge.likelihood(TRUTH[None]))
    assert float(judge.likelihood(ends).median()) > 0.7 * best


def test_a_border_is_likelier_where_colours_change():
    # Beyond is a colour of density 3. A change of nothing has density (4630 + 579) / 2 = 2604 where
    # no border is and 3 across one: log(3 / (.9 2604 + .1 3)) is below the bound. One of .9 has
    # exp(-30) and exp(-15) of these: log(3 / (.1 3)) = log 10, just above the upper bound.
    found = border_gain(torch.tensor([0.0, 0.9, 0.42]), torch.tensor([3.0, 3.0, 3.0]))
    assert found[:2].tolist() == pytest.approx([SMOOTH, BROKEN])
    # One of .42: exp(-14) 2315 + exp(-7) 289.4 = .266, so log(3 / (.9 .266 + .3)) = 1.715.
    assert float(found[2]) == pytest.approx(1.715, abs=0.01)


def test_the_outline_tells_the_object_from_a_wall_of_its_colour():
    mesh = icosphere(3)
    mesh = replace(mesh, vertices=0.05 * mesh.vertices)
    ball = make_object(mesh, torch.full_like(mesh.vertices, 0.4), "ball")
    pose = transforms.pose(torch.eye(3), torch.tensor([0.0, 0.0, 0.5]))
    wall = torch.full((120, 160, 3), 0.3)
    there = photo(ball, pose, view(), backdrop())
    borders = []
    for image in (there, wall):
        target = Target(image, view())
        color_model = initial_color_model(ball, target, None)
        window = crop_window(ball, view(), pose, 24)
        assert window is not None
        found = assess(ball, target, color_model.palette, color_model.vertex_colors, pose, window)
        assert found is not None
        borders.append(found.border)
    assert borders[0] > 1.0
    assert borders[1] < -0.5


@pytest.mark.slow
def test_what_is_far_from_a_given_pose_is_not_looked_for(cube, target):
    color_model = initial_color_model(cube, target, None)
    far = shifted(cube, TRUTH[None], torch.tensor([[1.5, 0.0, 0.0, 0.0, 0.0, 0.0]]))[0]
    found = search(cube, target, color_model.palette, color_model.vertex_colors, far)
    moved = torch.stack([pose[:2, 3] - far[:2, 3] for pose in found]).norm(dim=-1)
    assert float(moved.max()) < 3.5 * cube.diameter


@pytest.mark.slow
def test_a_search_close_by_ends_at_the_truth_and_goes_no_farther(cube, target):
    vertex_colors = initial_color_model(cube, target, None).vertex_colors
    step = torch.tensor([[0.3, -0.2, 0.08, 0.15, -0.1, 0.1], [3.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    beside, far = shifted(cube, TRUTH.expand(2, 4, 4), step)
    shift, turn = pose_error(search_close(cube, target, vertex_colors, beside)[0], TRUTH)
    assert shift < 0.02 and turn < 6
    moved = torch.stack(
        [pose[:2, 3] - far[:2, 3] for pose in search_close(cube, target, vertex_colors, far)]
    )
    assert float(moved.norm(dim=-1).max()) < 2 * cube.diameter


@pytest.mark.slow
def test_a_search_finds_what_stands_far_from_the_first_guess(cube, target):
    color_model = initial_color_model(cube, target, None)
    for near in (None, shifted(cube, TRUTH[None], EAST)[0]):
        found = search(cube, target, color_model.palette, color_model.vertex_colors, near)
        assert min(pose_error(pose, TRUTH)[1] for pose in found) < 8
