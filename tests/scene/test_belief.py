"""Distributions over poses, against answers known by hand."""

import math

import pytest
import torch

from invgraph.geometry import transforms
from invgraph.geometry.transforms import difference, perturb
from invgraph.scene.belief import DepthBelief, PoseBelief

DEVIATIONS = torch.tensor([0.01, 0.02, 0.03, 0.1, 0.2, 0.3])


def somewhere() -> torch.Tensor:
    turn = transforms.exp_so3(torch.tensor([0.5, -0.8, 0.3]))
    return transforms.pose(turn, torch.tensor([0.1, -0.2, 0.7]))


def belief(poses: torch.Tensor | None = None, weights: tuple[float, ...] = (1.0,)) -> PoseBelief:
    poses = somewhere()[None] if poses is None else poses
    covariance = torch.diag(DEVIATIONS.square()).expand(len(poses), 6, 6).clone()
    return PoseBelief(poses, torch.tensor(weights), covariance, 0.8, True)


def test_best_hypothesis_comes_first():
    poses = torch.stack([somewhere(), torch.eye(4)])
    two = belief(poses, (0.7, 0.3))
    assert torch.equal(two.pose, poses[0])
    assert torch.equal(two.covariance, two.covariances[0])


def test_samples_have_the_covariance():
    one = belief()
    mixed = DEVIATIONS.square().diag()
    mixed[0, 4] = mixed[4, 0] = 0.7 * DEVIATIONS[0] * DEVIATIONS[4]
    one = PoseBelief(one.poses, one.weights, mixed[None], one.score, one.found)
    drawn = one.sample(20_000, torch.Generator().manual_seed(0))
    twist = difference(one.pose, drawn)
    scale = DEVIATIONS[:, None] * DEVIATIONS
    assert float((twist.mean(0) / DEVIATIONS).abs().max()) < 0.03
    assert float(((twist.T.cov() - mixed) / scale).abs().max()) < 0.04


def test_samples_share_out_the_hypotheses():
    far = torch.eye(4)
    far[0, 3] = 50.0
    drawn = belief(torch.stack([far, somewhere()]), (0.75, 0.25)).sample(
        4000, torch.Generator().manual_seed(1)
    )
    assert abs(float((drawn[:, 0, 3] > 25).float().mean()) - 0.75) < 0.03


def test_samples_repeat_with_the_generator():
    two = belief(torch.stack([torch.eye(4), somewhere()]), (0.5, 0.5))
    draws = [two.sample(20, torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*draws)


@pytest.mark.parametrize("axis", range(6))
@pytest.mark.parametrize(
    "share, quantile", [(0.5, 5.3481), (0.9, 10.6446), (0.95, 12.5916), (0.99, 16.8119)]
)
def test_region_ends_at_the_quantile_of_chi_squared(axis: int, share: float, quantile: float):
    reach = torch.zeros(6)
    reach[axis] = math.sqrt(quantile) * DEVIATIONS[axis]
    inside, outside = perturb(somewhere(), 0.999 * reach), perturb(somewhere(), 1.001 * reach)
    assert belief().contains(inside, share)
    assert not belief().contains(outside, share)


def test_region_holds_its_share_of_samples():
    one = belief()
    drawn = one.sample(800, torch.Generator().manual_seed(2))
    for share in (0.5, 0.9):
        held = sum(one.contains(pose, share) for pose in drawn) / len(drawn)
        assert abs(held - share) < 0.05


def test_region_is_around_every_hypothesis():
    poses = torch.stack([torch.eye(4), somewhere()])
    assert belief(poses, (0.9, 0.1)).contains(somewhere())
    assert not belief(poses[:1]).contains(somewhere())


def test_unknown_share_is_refused():
    with pytest.raises(ValueError, match=r"share should be one of \[0.5, 0.9, .*but is 0.8"):
        belief().contains(somewhere(), 0.8)


def test_spread_is_the_root_of_the_summed_variances():
    translation, rotation = belief().spread()
    assert translation == pytest.approx(math.sqrt(0.01**2 + 0.02**2 + 0.03**2), rel=1e-5)
    assert rotation == pytest.approx(math.sqrt(0.1**2 + 0.2**2 + 0.3**2), rel=1e-5)


def test_the_density_is_that_of_a_normal_distribution():
    one = belief()
    at_peak = -float(DEVIATIONS.log().sum()) - 3 * math.log(2 * math.pi)
    assert float(one.log_prob(one.poses)) == pytest.approx(at_peak, abs=1e-4)
    step = torch.zeros(6)
    step[1] = 2 * DEVIATIONS[1]
    assert float(one.log_prob(perturb(one.poses, step))) == pytest.approx(at_peak - 2, abs=1e-3)
    # Of two hypotheses far apart each holds its share.
    far = torch.eye(4)
    far[0, 3] = 50.0
    two = belief(torch.stack([somewhere(), far]), (0.7, 0.3))
    shares = (two.log_prob(two.poses) - at_peak).exp()
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.3]), rtol=1e-3, atol=1e-4)
    assert torch.equal(two.mode, two.poses[0])


def test_the_density_of_poses_integrates_to_one():
    # Importance sampling from a belief that is twice as wide.
    one = belief()
    wide = PoseBelief(one.poses, one.weights, 2.25 * one.covariances, 1.0, True)
    drawn = wide.sample(20_000, torch.Generator().manual_seed(3))
    mass = float((one.log_prob(drawn) - wide.log_prob(drawn)).exp().mean())
    assert mass == pytest.approx(1, abs=0.05)


def test_entropy_of_poses_is_known():
    expected = float(DEVIATIONS.log().sum()) + 3 * math.log(2 * math.pi * math.e)
    found = float(belief().entropy(torch.Generator().manual_seed(4)))
    assert found == pytest.approx(expected, abs=0.3)


def test_depth_is_a_density_and_its_interval_holds_its_share():
    one = DepthBelief(torch.tensor([[math.log(2.0)]]), torch.tensor([[0.2]]))
    depth = torch.linspace(0.01, 30, 60_001)[:, None, None]
    density = one.log_prob(depth).exp()[:, 0, 0]
    width = float(depth[1] - depth[0])
    assert float(density.sum()) * width == pytest.approx(1, abs=1e-3)
    inside = one.contains(depth, 0.9)[:, 0, 0]
    assert float(density[inside].sum()) * width == pytest.approx(0.9, abs=2e-3)
    entropy = -float((density * density.clamp_min(1e-30).log()).sum()) * width
    assert float(one.entropy()) == pytest.approx(entropy, abs=2e-3)
    assert float(one.mode) == pytest.approx(float(depth[density.argmax()]), abs=2 * width)
    drawn = one.sample(4000, torch.Generator().manual_seed(0))
    assert drawn.shape == (4000, 1, 1)
    assert float(one.contains(drawn, 0.5).float().mean()) == pytest.approx(0.5, abs=0.03)
