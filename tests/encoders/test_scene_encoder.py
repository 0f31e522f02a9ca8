"""An encoder's beliefs: their hypotheses, what the lens changes, and what is refused."""

import pytest
import torch
from tracking_scenes import painted_cube

from invgraph.encoders.scene_encoder import SceneEncoder, spread_rotations
from invgraph.fitting.scene.object_prior import LIGHT, POSE, TINT, object_prior
from invgraph.geometry.lens import Lens
from invgraph.scene.distributions import AnyRotation, PoseInView, Upright
from invgraph.scene.prior import Prior

LENS = Lens(torch.full((2,), 110.0), torch.full((2,), 32.0), 64, 64)


@pytest.fixture(scope="module")
def prior() -> Prior:
    return object_prior(painted_cube()).prior


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def angles(turns: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    cosine = (torch.einsum("aij,bij->ab", turns, others) - 1) / 2
    return cosine.clamp(-1, 1).acos().rad2deg()


@pytest.mark.parametrize(("rotation", "farthest"), [(Upright(), 25), (AnyRotation(), 62)])
def test_hypotheses_leave_no_gap(rotation, farthest):
    pose = PoseInView(rotation, 0.1)
    turns = spread_rotations(pose, 128)
    drawn = rotation.sample(2000, torch.Generator().manual_seed(9))
    gap = angles(drawn, turns).amin(1)
    at_random = angles(drawn, rotation.sample(128, torch.Generator().manual_seed(8))).amin(1)
    assert float(gap.quantile(0.98)) < farthest and float(gap.max()) < float(at_random.max())
    apart = angles(turns, turns) + 999 * torch.eye(128)
    assert float(apart.min()) > 5
    assert torch.equal(turns, spread_rotations(pose, 128))


def test_a_belief_is_a_density_over_all_unknowns(prior):
    torch.manual_seed(0)
    belief, present = SceneEncoder(prior, 32)(images(3), LENS)
    assert belief.batch_shape == (3,) and present.shape == (3,)
    torch.testing.assert_close(belief.log_weights.logsumexp(-1), torch.zeros(3))
    values = prior.given(LENS).sample(3, torch.Generator().manual_seed(0))
    assert belief.log_prob(values).isfinite().all()
    drawn = belief.sample(4, torch.Generator().manual_seed(0))
    assert drawn[POSE].shape == (4, 3, 4, 4) and drawn[LIGHT].shape == (4, 3, 9, 3)
    assert (drawn[TINT] > 0).all()


def test_a_longer_lens_sees_the_same_farther_away(prior):
    torch.manual_seed(0)
    encoder = SceneEncoder(prior, 32)
    focal = torch.tensor([[110.0, 110.0], [220.0, 220.0]])
    lens = Lens(focal, torch.full((2, 2), 32.0), 64, 64)
    places = encoder.ignorance(lens, 2).mode[POSE][:, :3, 3]
    torch.testing.assert_close(places[1], 2 * places[0])
    alone = encoder(images(2)[:1], lens[0])[0].mode[POSE]
    torch.testing.assert_close(encoder(images(2), lens)[0].mode[POSE][:1], alone)


def test_who_knows_nothing_finds_dreams_about_as_likely_as_the_prior(prior):
    """Within a few nats: the hypotheses are wide and cover the prior."""
    belief = SceneEncoder(prior, 128).ignorance(LENS, 500)
    values = prior.given(LENS).sample(500, torch.Generator().manual_seed(0))
    missing = prior.given(LENS).log_prob(values) - belief.log_prob(values)
    # The light's channels go together in the prior and apart in the belief.
    of_light = prior.distributions[LIGHT].log_prob(values[LIGHT])
    apart = belief.marginal([LIGHT]).log_prob({LIGHT: values[LIGHT]})
    missing = missing - (of_light - apart)
    assert 0 < float(missing.mean()) < 5


def test_other_priors_are_refused(prior):
    flat = Prior(prior.template, {TINT: prior.distributions[TINT]})
    with pytest.raises(ValueError, match="one pose in view"):
        SceneEncoder(flat)


def test_one_matrix_turns_and_weighs_all_hypotheses(prior):
    """If it is a rotation, the hypotheses nearby turn to it, and the nearest is the likeliest."""
    torch.manual_seed(0)
    encoder = SceneEncoder(prior, 64)
    truth = prior.given(LENS).sample(1, torch.Generator().manual_seed(4))[POSE][0, :3, :3]
    with torch.no_grad():
        for head in encoder._heads:
            head.weight.zero_()
        encoder.common.bias.copy_(torch.cat([truth.flatten(), 5 * truth.flatten()]))
        belief, _ = encoder(images(1), LENS)
    before = angles(encoder.turns, truth[None])[:, 0]
    after = angles(belief.middles()[POSE][:, 0, :3, :3], truth[None])[:, 0]
    near = before < 45
    # The sine is less than the angle: at 45 degrees by 4.5 degrees, at 20 by 0.4.
    assert bool((after[near] < 4.6).all()) and bool((after[before < 20] < 0.5).all())
    assert int(belief.log_weights.argmax()) == int(before.argmin())
