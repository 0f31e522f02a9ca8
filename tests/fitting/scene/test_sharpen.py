"""What is believed after descent, and what photos leave in memory."""

import pytest
import torch
from object_priors import in_even_light
from test_descent import LENS, about
from torch import Tensor
from tracking_scenes import painted_cube

from invgraph.fitting.scene.descent import Descended, Objective, descend, draw
from invgraph.fitting.scene.find import FoundScene, Views
from invgraph.fitting.scene.memory import DRAWS, Memory, recall, remember
from invgraph.fitting.scene.object_prior import (
    LIGHT,
    POSE,
    ROUGHNESS,
    TINT,
    ObjectPrior,
    object_prior,
)
from invgraph.fitting.scene.sharpen import repeated, sharpened
from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.rendering.render import render
from invgraph.scene.distributions import PoseInView
from invgraph.scene.heat_map import HeatMap
from invgraph.scene.scene_belief import SceneBelief


@pytest.fixture(scope="module")
def known() -> ObjectPrior:
    return in_even_light(object_prior(painted_cube()))


def photos(known: ObjectPrior, noise: float) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    values = known.prior.given(LENS).sample(12, generator)
    drawn = render(
        known.prior.scene(values), Camera(LENS, torch.eye(4)), outputs=("color", "alpha")
    )
    assert drawn.color is not None and drawn.alpha is not None
    behind = torch.tensor([0.2, 0.3, 0.25])
    images = drawn.color + (1 - drawn.alpha[..., None]) * behind
    return (images + noise * torch.randn(images.shape, generator=generator)).clamp_min(0), values


@pytest.fixture(scope="module")
def after(known: ObjectPrior) -> tuple[Tensor, dict[str, Tensor], SceneBelief, Descended]:
    images, values = photos(known, 0.02)
    off = torch.tensor([0.002, -0.002, 0.01, 0.05, -0.1, 0.06])
    guess = about(known, transforms.perturb(values[POSE], off))
    return images, values, guess, descend(known.prior.given(LENS), guess, images, LENS)


def test_the_belief_after_descent_is_narrow_and_about_the_truth(known, after):
    images, values, guess, ends = after
    belief = sharpened(known.prior.given(LENS), known.detailed, guess, ends, images, LENS)
    assert belief.batch_shape == (12,)
    generator = torch.Generator().manual_seed(0)
    pose, before = belief.marginal([POSE]), guess.marginal([POSE])
    held = pose.contains({POSE: values[POSE]}, 0.9, generator)
    assert float(held.float().mean()) >= 0.75
    narrower = before.entropy(generator) - pose.entropy(generator)
    assert float(narrower.median()) > 4
    mode = transforms.difference(pose.mode[POSE], ends.values[POSE][0])
    assert float(mode.abs().max()) < 1e-4
    # The light shows the object as it was seen, though a prior has its say: noise gives 0.015.
    told = {path: value[0] for path, value in ends.values.items()}
    told[LIGHT] = belief.marginal([LIGHT]).mode[LIGHT]
    camera = Camera(LENS, torch.eye(4))
    shown = render(known.detailed.scene(told), camera, outputs=("color", "alpha"))
    assert shown.color is not None and shown.alpha is not None
    off = (shown.color - images).abs().mean(-1)[shown.alpha == 1]
    assert float(off.median()) < 0.04
    # Of one image alone the same is believed.
    one = belief[3]
    alone = one.marginal([POSE]).log_prob({POSE: values[POSE][3:4]})
    torch.testing.assert_close(alone, pose.log_prob({POSE: values[POSE]})[3:4])


def test_what_the_light_may_explain_stays_as_unsure_as_it_was(known, after):
    """Twice the tint under half the light looks the same."""
    images, _, guess, ends = after
    belief = sharpened(known.prior.given(LENS), known.detailed, guess, ends, images, LENS)
    together = torch.full((3,), 3**-0.5)
    widths = [
        (scales[:, 0].mT @ together).norm(dim=-1)
        for scales in (guess.scales[TINT].expand(12, 1, 3, 3), belief.scales[TINT])
    ]
    assert bool((widths[1] <= 1.001 * widths[0]).all())
    assert float((widths[1] / widths[0]).median()) > 0.9


def test_descents_that_ended_at_the_same_pose_count_once(known, after):
    images, _, guess, ends = after
    prior = known.prior.given(LENS)
    order = [0, 0, *range(1, len(ends.log_likelihood))]
    values = {path: value[order].clone() for path, value in ends.values.items()}
    values[POSE][1] = transforms.perturb(values[POSE][0], torch.tensor([0.0, 0, 0, 0.01, 0, 0]))
    twice = Descended(values, ends.log_likelihood[order], ends.log_posterior[order])
    once, again = (sharpened(prior, known.detailed, guess, e, images, LENS) for e in (ends, twice))
    assert float(again.log_weights[:, 1].max()) < -40
    rest = [index for index in range(len(order)) if index != 1]
    torch.testing.assert_close(again.log_weights[:, rest], once.log_weights)


def test_poses_repeat_those_before_them():
    turns = torch.tensor([0.0, 0.05, 0.12, 1.0, 0.97])
    turned = transforms.exp_so3(turns[:, None] * torch.tensor([1.0, 0.0, 0.0]))
    poses = transforms.pose(turned, torch.zeros(5, 3))
    poses[:, 2, 3] = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.05])
    # The third is near the second, but that is a repetition itself; the last is farther away.
    assert repeated(poses).tolist() == [False, True, False, False, False]


def test_noise_widens_it(known):
    spreads = []
    for noise in (0.0, 0.15):
        images, values = photos(known, noise)
        guess = about(known, values[POSE], 0.5)
        prior = known.prior.given(LENS)
        ends = descend(prior, guess, images, LENS, starts=1, kept=1, steps=5)
        belief = sharpened(prior, known.detailed, guess, ends, images, LENS)
        spreads.append(belief.scales[LIGHT].diagonal(dim1=-2, dim2=-1)[:, 0, :12].mean())
    # A cube shows three normals at most, so much of its light is unknown in either case.
    assert float(spreads[1]) > 1.2 * float(spreads[0])


def reweighted(known: ObjectPrior, found: FoundScene) -> Tensor:
    """Weights of waking by hand: likelihood times what was guessed, over what was drawn from."""
    view, prior = found.view, known.prior.given(found.view.lens)
    moving = found.belief.marginal([POSE, TINT, ROUGHNESS])
    told = moving.sample(DRAWS, torch.Generator().manual_seed(0))
    objective = Objective.of(prior, found.guess, view.images, view.lens)
    seen = objective.of_any_camera({p: v[None, None] for p, v in found.values.items()}).likelihood
    light = found.values[LIGHT].expand(DRAWS, 1, 9, 3)
    for _ in range(2):
        light = seen.light(draw(prior, {**told, LIGHT: light}, view.lens), light)
    likely = seen.log_prob(draw(prior, {**told, LIGHT: light}, view.lens))
    ratio = (likely + objective.believed.log_prob(told) - moving.log_prob(told))[:, 0]
    weights = (ratio - ratio.max()).exp()
    return weights / weights.sum()


def test_an_end_is_as_probable_as_its_peak_is_high_and_wide(known, after):
    images, _, guess, ends = after
    prior = known.prior.given(LENS)
    # Beside each end another pose, in which the image tells less of where the object is.
    aside = transforms.perturb(ends.values[POSE], torch.tensor([0, 0, 0, 0.3, -0.5, 0.3]))
    values = {path: torch.cat([value, value]) for path, value in ends.values.items()}
    values[POSE] = torch.cat([ends.values[POSE], aside])
    both = Objective.of(prior, guess, images, LENS).sorted(values)
    belief = sharpened(prior, known.detailed, guess, both, images, LENS)
    # By how much more an end is believed than its height says, and how much wider its peak is.
    more = (belief.log_weights - both.log_posterior.mT).diff(dim=1)[:, 0]
    volumes = [torch.linalg.slogdet(belief.scales[path])[1] for path in (POSE, TINT, ROUGHNESS)]
    wider = torch.stack(volumes).sum(0).diff(dim=1)[:, 0]
    assert float(more.std()) > 0.1
    assert float(torch.corrcoef(torch.stack([more, wider]))[0, 1]) > 0.8


def test_a_photo_is_remembered_and_recalled(known, after):
    images, values, guess, ends = after
    prior = known.prior.given(LENS)
    belief = sharpened(prior, known.detailed, guess, ends, images, LENS)
    # The photo is larger than the view, and its camera looks elsewhere.
    camera_from_view = transforms.pose(
        transforms.exp_so3(torch.tensor([0.1, -0.15, 0.05])), torch.zeros(3)
    )
    photo_lens = Lens(torch.full((2,), 220.0), torch.tensor([100.0, 80.0]), 160, 200)
    scene = known.prior.scene({path: value[0] for path, value in values.items()})
    drawn = render(scene, Camera(photo_lens, camera_from_view), outputs=("color", "alpha"))
    assert drawn.color is not None and drawn.alpha is not None
    behind = torch.tensor([0.2, 0.3, 0.25])
    photo = (drawn.color + (1 - drawn.alpha[..., None]) * behind).clamp_min(0)
    view = Views(images[:1], lens_of_one(), camera_from_view[None])
    found = FoundScene(
        HeatMap(torch.zeros(1, 1), torch.full((1,), -9.0), *2 * [torch.ones(1, 1, 3)]),
        view, guess[0], belief[0], {p: v[0, 0] for p, v in ends.values.items()}, 50.0, 0.9,
        known.camera_from_object(camera_from_view @ ends.values[POSE][0, 0]),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    memory = remember(known.prior, found, photo, photo_lens, generator)
    assert isinstance(memory, Memory)
    expected = reweighted(known, found)
    torch.testing.assert_close(memory.weights, expected, rtol=1e-3, atol=1e-5)
    assert float(expected.max()) > 2 / len(expected)  # they are not all alike
    assert memory.effective == pytest.approx(1 / float(expected.square().sum()), rel=1e-2)
    best = int(memory.weights.argmax())
    again = render(
        known.prior.scene({path: value[best] for path, value in memory.values.items()}),
        Camera(memory.lens, torch.eye(4)),
        outputs=("color", "alpha"),
    )
    assert again.color is not None and again.alpha is not None
    inside = again.alpha == 1
    assert float(inside.float().mean()) > 0.05
    off = (again.color - memory.image).abs().mean(-1)[inside]
    assert float(off.median()) < 0.05
    # Windows are as the prior has them, and their scenes are in them.
    seen, lens, told, scores = recall([memory], known.prior, 20, generator)
    assert seen.shape == (20, 64, 64, 3) and scores.tolist() == pytest.approx([0.9] * 20)
    pose = known.prior.distributions[POSE]
    assert isinstance(pose, PoseInView)
    likely = pose.given(lens).log_prob(told[POSE])
    assert float(likely.isfinite().float().mean()) > 0.8
    shown = render(
        known.prior.scene(told), Camera(lens, torch.eye(4).expand(20, 4, 4)),
        outputs=("color", "alpha"),
    )  # fmt: skip
    assert shown.color is not None and shown.alpha is not None
    differ = (shown.color - seen).abs().mean(-1)[shown.alpha == 1]
    assert float(differ.median()) < 0.06


def lens_of_one() -> Lens:
    return Lens(LENS.focal[None], LENS.principal[None], LENS.height, LENS.width)
