"""Densities integrate to one, samples follow them, and what cannot be is refused."""

import math

import pytest
import torch
from torch import Tensor

from invgraph.geometry import transforms
from invgraph.geometry.lens import Lens
from invgraph.scene.distributions import AnyRotation, Bernoulli, Gaussian, PoseInView, Upright
from invgraph.scene.domains import Free, Positive

LENS = Lens(torch.tensor([150.0, 140.0]), torch.tensor([30.0, 35.0]), 60, 70)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_log_normal_by_hand():
    ours = Gaussian(torch.tensor([2.0]), torch.tensor([0.5]), Positive())
    theirs = torch.distributions.LogNormal(math.log(2.0), 0.5)
    x = torch.tensor([0.3, 1.0, 2.0, 7.0])
    torch.testing.assert_close(ours.log_prob(x[:, None]), theirs.log_prob(x))
    drawn = ours.sample(20_000, draw()).log()
    assert float(drawn.mean()) == pytest.approx(math.log(2.0), abs=0.02)
    assert float(drawn.std()) == pytest.approx(0.5, abs=0.02)


def test_a_gaussian_over_several_numbers_is_a_product():
    mean, scale = torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([[0.1, 1.0], [2.0, 0.5]])
    value = mean + scale * torch.tensor([[1.0, -2.0], [0.0, 0.5]])
    expected = torch.distributions.Normal(mean, scale).log_prob(value).sum()
    torch.testing.assert_close(Gaussian(mean, scale, Free()).log_prob(value), expected)


def test_numbers_that_go_together_by_hand():
    mean, scale = torch.tensor([0.5, 1.0, -2.0]), torch.tensor([0.3, 1.0, 2.0])
    ours = Gaussian(mean, scale, Free(), 0.8)
    covariance = (0.8 + 0.2 * torch.eye(3)) * scale * scale[:, None]
    theirs = torch.distributions.MultivariateNormal(mean, covariance)
    value = torch.randn(7, 3, generator=draw())
    torch.testing.assert_close(ours.log_prob(value), theirs.log_prob(value))
    drawn = ours.sample(40_000, draw())
    torch.testing.assert_close(drawn.T.cov(), covariance, atol=0.08, rtol=0.03)


@pytest.mark.parametrize(
    "rotation", [AnyRotation(), Upright((-0.1, 0.9), 0.3), Upright((0.2, 1.5), 0.6)]
)
def test_densities_of_rotations_integrate_to_one(rotation):
    everywhere = AnyRotation()
    turns = everywhere.sample(400_000, draw())
    ratio = (rotation.log_prob(turns) - everywhere.log_prob(turns)).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / 400_000**0.5 + 1e-4)
    assert float(ratio.std()) < 15  # so that five deviations say something


def test_any_rotation_has_no_preferred_axis():
    turns = AnyRotation().sample(50_000, draw())
    assert float(turns.mean(0).abs().max()) < 0.02
    assert torch.allclose(turns.square().mean(0), torch.full((3, 3), 1 / 3), atol=0.01)


def test_upright_objects_are_seen_from_where_it_is_said():
    rotation = Upright((0.2, 0.8), 0.1)
    turns = rotation.sample(20_000, draw())
    up, eye = turns[:, :, 1], -turns[:, 2]  # y of the object; towards the camera, object frame
    elevation = torch.asin(eye[:, 1])
    assert float(elevation.min()) >= 0.2 - 1e-4 and float(elevation.max()) <= 0.8 + 1e-4
    assert (up[:, 1] < 0).all()  # up in the picture: the camera's y goes down
    low, high = math.sin(0.2), math.sin(0.8)
    assert float(eye[:, 1].mean()) == pytest.approx((low + high) / 2, abs=0.005)  # by area
    azimuth = torch.atan2(eye[:, 0], eye[:, 2])
    assert float(azimuth.cos().mean()) == pytest.approx(0, abs=0.02)
    front = rotation.sample(1, draw())[0]
    assert rotation.log_prob(front[None]).isfinite().all()


def view(lens: Lens | None = LENS) -> PoseInView:
    return PoseInView(AnyRotation(), 0.1, (0.5, 0.8), 0.1, lens)


def test_poses_are_in_view_and_of_the_size_that_was_asked_for():
    poses = view().sample(5000, draw())
    origin = poses[:, :3, 3]
    pixel = LENS.principal + LENS.focal * origin[:, :2] / origin[:, 2:]
    offset = (pixel - torch.tensor([35.0, 30.0])) / 60
    size = 2 * 0.1 * 145 / origin[:, 2] / 60
    assert float(offset.abs().max()) <= 0.1 + 1e-5 and float(offset.std()) > 0.05
    assert float(size.min()) >= 0.5 - 1e-4 and float(size.max()) <= 0.8 + 1e-4
    assert view().log_prob(poses).isfinite().float().mean() > 0.99  # all but rounding at the rim


def test_the_density_of_poses_in_view_integrates_to_one():
    count = 400_000
    places = torch.rand(count, 3, generator=draw())
    low, high = torch.tensor([-0.05, -0.12, 0.5]), torch.tensor([0.15, 0.04, 1.1])
    poses = transforms.pose(AnyRotation().sample(count, draw(1)), low + (high - low) * places)
    ratio = (view().log_prob(poses) + math.log(8 * math.pi**2)).exp() * (high - low).prod()
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / count**0.5)
    assert float(ratio.std()) < 5


def test_every_pose_may_have_a_lens_of_its_own():
    focal = torch.tensor([[100.0, 100.0], [200.0, 200.0], [300.0, 300.0]])
    lenses = Lens(focal, torch.tensor([35.0, 30.0]).expand(3, 2), 60, 70)
    poses = view(None).given(lenses).sample(3, draw())
    together = view(None).given(lenses).log_prob(poses)
    for item in range(3):
        alone = view(None).given(lenses[item]).log_prob(poses[item])
        torch.testing.assert_close(together[item], alone)


def test_poses_out_of_view_have_no_density():
    pose = view().sample(1, draw())[0]
    for change in (torch.tensor([0.0, 0, 5]), torch.tensor([0.5, 0, 0]), torch.tensor([0, 0, -9])):
        moved = pose.clone()
        moved[:3, 3] += change
        assert float(view().log_prob(moved)) == -math.inf


def test_whether_something_is_there():
    there = Bernoulli(0.3)
    drawn = there.sample(20_000, draw())
    assert drawn.dtype == torch.bool and float(drawn.float().mean()) == pytest.approx(0.3, abs=0.01)
    log = there.log_prob(torch.tensor([True, False]))
    torch.testing.assert_close(log, torch.tensor([0.3, 0.7]).log())
    assert there.domain is None and there.given(LENS) is there


def wrong_scale() -> object:
    return Gaussian(torch.zeros(3), torch.tensor([1.0, 0.0, 1.0]))


def bent() -> object:
    lens = Lens(torch.full((2,), 50.0), torch.full((2,), 5.0), 10, 10, 0.1 * torch.ones(5))
    return view().given(lens)


def blind() -> Tensor:
    return view(None).sample(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (wrong_scale, "above zero"),
        (bent, "distorted"),
        (blind, "given"),
        (lambda: Bernoulli(1.5), "0 to 1"),
        (lambda: Upright((0.5, 0.2)), "rise"),
        (lambda: PoseInView(AnyRotation(), 0.1, (0.8, 0.5)), "rise"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
