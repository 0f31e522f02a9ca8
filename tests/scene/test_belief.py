"""Distributions over poses, against answers known by hand."""

import math

import pytest
import torch

from invgraph.geometry import transforms
from invgraph.geometry.transforms import difference, perturb
from invgraph.scene.belief import PoseBelief

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
