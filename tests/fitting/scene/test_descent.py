"""Descent ends at the truth from nearby, and where image and belief together are likeliest."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from tracking_scenes import painted_cube

from invgraph.encoders.scene_encoder import SceneEncoder
from invgraph.fitting.scene.descent import Descended, Objective, descend, spread_belief
from invgraph.fitting.scene.object_prior import (
    LIGHT,
    POSE,
    ROUGHNESS,
    TINT,
    ObjectPrior,
    object_prior,
)
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.photometric.response import respond
from invgraph.rendering.render import render
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.unknowns import Unknowns

LENS = Lens(torch.full((2,), 110.0), torch.full((2,), 32.0), 64, 64)


@pytest.fixture(scope="module")
def known() -> ObjectPrior:
    return object_prior(painted_cube())


@pytest.fixture(scope="module")
def photos(known: ObjectPrior) -> tuple[Tensor, Tensor]:
    """Images and poses."""
    values = known.prior.given(LENS).sample(6, torch.Generator().manual_seed(2))
    drawn = render(
        known.prior.scene(values), Camera(LENS, torch.eye(4)), outputs=("color", "alpha")
    )
    assert drawn.color is not None and drawn.alpha is not None
    behind = torch.tensor([0.2, 0.3, 0.25])
    return drawn.color.clamp_min(0) + (1 - drawn.alpha[..., None]) * behind, values[POSE]


def about(known: ObjectPrior, poses: Tensor, radians: float = 0.3) -> SceneBelief:
    """One hypothesis, at these poses; all else as a network that knows nothing believes."""
    belief = SceneEncoder(known.prior, 1).ignorance(LENS, len(poses))
    scale = torch.diag(torch.tensor([0.05, 0.05, 0.05, radians, radians, radians]))
    unknowns = [replace(u, around=poses[:, None]) if u.path == POSE else u for u in belief.unknowns]
    return SceneBelief(
        Unknowns(tuple(unknowns)),
        belief.log_weights,
        {**belief.means, POSE: torch.zeros(len(poses), 1, 6)},
        {**belief.scales, POSE: scale.expand(len(poses), 1, 6, 6)},
    )


def degrees(found: Descended, truth: Tensor, start: int = 0) -> Tensor:
    step = transforms.difference(truth, found.values[POSE][start])
    return step[:, 3:].norm(dim=-1).rad2deg()


def test_starts_ten_degrees_off_end_at_the_truth(known, photos):
    images, truth = photos
    axis = torch.nn.functional.normalize(torch.tensor([0.3, -1.0, 0.6]), dim=0)
    off = torch.cat([torch.tensor([0.002, -0.002, 0.01]), 0.175 * axis])
    belief = about(known, transforms.perturb(truth, off))
    found = descend(known.prior.given(LENS), belief, images, LENS, starts=1)
    assert found.values[POSE].shape == (1, 6, 4, 4) and found.log_posterior.shape == (1, 6)
    errors = degrees(found, truth)
    assert float(errors.median()) < 2.0 and float(errors.max()) < 6.0
    depth = found.values[POSE][0, :, 2, 3] / truth[:, 2, 3]
    assert float((depth - 1).abs().median()) < 0.03


def test_a_sure_belief_holds_against_the_image(known, photos):
    images, truth = photos
    wrong = transforms.perturb(truth, torch.tensor([0, 0, 0, 0, 0.2, 0.0]))
    ends = []
    for radians in (0.001, 0.3):
        belief = about(known, wrong, radians)
        found = descend(known.prior.given(LENS), belief, images, LENS, starts=1)
        ends.append(float(degrees(found, truth).median()))
    assert ends[0] == pytest.approx(11.5, abs=1.5) and ends[1] < 3.0


def test_ends_are_ranked_by_likelihood_times_belief(known, photos):
    images, truth = photos
    wrong = transforms.perturb(truth, torch.tensor([0, 0, 0, 0, 0.3, 0.0]))
    sure = about(known, wrong, 0.002)
    objective = Objective.of(known.prior.given(LENS), sure, images, LENS)
    values = {path: value.expand(2, *value.shape[1:]) for path, value in sure.middles().items()}
    found = objective.sorted({**values, POSE: torch.stack([truth, wrong])})
    torch.testing.assert_close(found.values[POSE], torch.stack([wrong, truth]))
    assert (found.log_likelihood[0] < found.log_likelihood[1]).all()
    told = {path: value for path, value in found.values.items() if path != LIGHT}
    believed = sure.marginal([POSE, TINT, ROUGHNESS]).log_prob(told)
    torch.testing.assert_close(found.log_posterior, found.log_likelihood + believed)


def test_what_a_camera_made_of_the_colours_does_not_count_against_a_scene(known, photos):
    images, truth = photos
    roots = images.sqrt().flatten(1, 2)
    response = torch.tensor([0.4, 0.3, -0.5, 0.04]).expand(len(images), 4)
    shown = respond(roots, response).clamp_max(1).square().unflatten(1, images.shape[1:3])
    belief = about(known, transforms.perturb(truth, torch.tensor([0, 0, 0.01, 0.05, -0.1, 0])))
    prior = known.prior.given(LENS)
    found = descend(prior, belief, shown, LENS, starts=1)
    assert float(degrees(found, truth).median()) < 3.0
    unaware = Objective.of(prior, belief, shown, LENS).sorted(found.values)
    assert float((found.log_likelihood - unaware.log_likelihood).median()) > 1.0


def test_the_best_start_comes_first(known, photos):
    images, _ = photos
    encoder = SceneEncoder(known.prior, 24)
    belief = spread_belief(encoder, images, LENS)
    found = descend(known.prior.given(LENS), belief, images, LENS, starts=3, steps=5)
    assert found.log_posterior.shape == (3, 6)
    assert (found.log_posterior.diff(dim=0) <= 0).all()


def test_hypotheses_near_the_truth_are_likelier_than_others(known, photos):
    images, truth = photos
    encoder = SceneEncoder(known.prior, 64)
    belief = spread_belief(encoder, images, LENS)
    cosine = torch.einsum("kij,bij->bk", encoder.turns, truth[:, :3, :3])
    rank = belief.log_weights.argsort(1, descending=True).argsort(1)
    best = rank.gather(1, cosine.argmax(1, keepdim=True))
    assert float(best.float().median()) < 8  # of 64
