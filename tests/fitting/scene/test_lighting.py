"""The light of a scene whose object is found: in shadow, under cut-off whites, and how sure."""

import math

import pytest
import torch
from test_descent import LENS
from torch import Tensor
from tracking_scenes import painted_cube

from invgraph.fitting.scene.descent import draw
from invgraph.fitting.scene.lighting import WHITE, _transfer, believed_light
from invgraph.fitting.scene.likelihood import Likelihood
from invgraph.fitting.scene.main_light import main_direction
from invgraph.fitting.scene.object_prior import LIGHT, POSE, ObjectPrior, object_prior
from invgraph.rendering import harmonics
from invgraph.scene.distributions import Gaussian
from invgraph.scene.prior import Prior

COUNT = 20


@pytest.fixture(scope="module")
def known() -> ObjectPrior:
    return object_prior(painted_cube())


@pytest.fixture(scope="module")
def seen(known: ObjectPrior) -> tuple[Tensor, dict[str, Tensor]]:
    """Images before a grey wall, of which none is too bright for white, and what is in them."""
    prior = known.detailed.given(LENS)
    values = prior.sample(COUNT, torch.Generator().manual_seed(4))
    values = {path: value[None] for path, value in values.items()}
    level = drawn_color(prior, values).amax((2, 3, 4))
    values[LIGHT] = values[LIGHT] * (0.9 / level)[..., None, None]
    return drawn_color(prior, values)[0], values


def drawn_color(prior: Prior, values: dict[str, Tensor]) -> Tensor:
    drawn = draw(prior, values, LENS)
    assert drawn.color is not None and drawn.alpha is not None
    return drawn.color + 0.2 * (1 - drawn.alpha[..., None])


def guessed(known: ObjectPrior, values: dict[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """The same with the light that descent ends with, which has no shadows and no prior."""
    light = torch.zeros_like(values[LIGHT])
    light[:, :, 0] = math.sqrt(4 * math.pi)
    values = {**values, LIGHT: light}
    for _ in range(4):
        drawn = draw(known.prior, values, LENS)
        values[LIGHT] = Likelihood.of(images).light(drawn, values[LIGHT])
    return values


def expected(prior: Prior) -> Tensor:
    """The prior's mean light."""
    light = prior.distributions[LIGHT]
    assert isinstance(light, Gaussian)
    return light.mean.expand(COUNT, 9, 3)


def off_by(light: Tensor, truth: Tensor) -> Tensor:
    cosine = (main_direction(light) * main_direction(truth)).sum(-1)
    return cosine.clamp(-1, 1).acos().rad2deg()


def test_transfer_is_what_the_renderer_makes_of_each_harmonic(known, seen):
    """The shares of all harmonics add up to what is rendered of a matt object."""
    _, values = seen
    prior = known.detailed.given(LENS)
    drawn = draw(prior, {**values, "objects.0.material.roughness": torch.ones(1, COUNT, 1)}, LENS)
    assert drawn.color is not None and drawn.albedo is not None and drawn.alpha is not None
    shares = _transfer(prior, values[POSE], LENS)
    matt = drawn.albedo * torch.einsum("nbhwi,nbic->nbhwc", shares, values[LIGHT])
    inside = drawn.alpha == 1
    # The rest is the sheen of a surface that is rough, at most some percent of white.
    gloss = (drawn.color - matt)[inside]
    assert float(gloss.abs().max()) < 0.12 and float(gloss.median()) < 0.06


def test_the_light_comes_from_where_it_does(known, seen):
    """A cube shows three normals at most: the prior and the light of descent are 35 degrees off.

    What the cube does not show is as it was expected.
    """
    images, values = seen
    prior, guess = known.detailed.given(LENS), guessed(known, values, images)
    light, scale = believed_light(prior, guess, expected(prior), images, LENS)
    off, before = (float(off_by(each, values[LIGHT]).median()) for each in (light, guess[LIGHT]))
    assert off < 20 < 30 < before
    told, _ = believed_light(prior, guess, 3 * values[LIGHT][0], images, LENS)  # of any brightness
    assert float(off_by(told, values[LIGHT]).median()) < 0.6 * off
    assert scale.shape == (1, COUNT, 27, 27)
    assert float(scale.diagonal(dim1=-2, dim2=-1).min()) > 0


def test_whites_that_are_cut_off_are_taken_as_such(known, seen, monkeypatch):
    """In photos that are exposed twice as long; the light is then twice as bright."""
    images, values = seen
    prior, truth = known.detailed.given(LENS), 2 * values[LIGHT]
    off = []
    for white in (WHITE, math.inf):
        monkeypatch.setattr("invgraph.fitting.scene.lighting.WHITE", white)
        cut = (2 * images).clamp_max(1)
        light, _ = believed_light(prior, {**values, LIGHT: truth}, expected(prior), cut, LENS)
        away = (light - truth).norm(dim=(-1, -2)) / truth.norm(dim=(-1, -2))
        off.append(float(away.median()))
    assert off[0] < 0.8 * off[1]


def test_light_is_told_in_the_frame_of_the_camera():
    """The order of coefficients: y, z, x."""
    toward = torch.tensor([[0.6, 0.0, 0.8]])
    lamp = harmonics.basis(toward, 2)[..., None].expand(1, 9, 3)
    torch.testing.assert_close(main_direction(lamp), toward)
