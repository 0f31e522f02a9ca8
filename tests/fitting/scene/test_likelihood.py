"""What an image says of a scene: by hand, its gradients, and the light that fits best."""

import math

import pytest
import torch
from object_priors import in_even_light
from torch import Tensor
from tracking_scenes import painted_cube

from invgraph.fitting.scene import likelihood as module
from invgraph.fitting.scene.likelihood import Likelihood
from invgraph.fitting.scene.object_prior import LIGHT, POSE, ROUGHNESS, TINT, object_prior
from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import perturb
from invgraph.photometric.response import respond
from invgraph.rendering.render import render
from invgraph.rendering.result import Render
from invgraph.scene.scene import Scene

LENS = Lens(torch.full((2,), 110.0), torch.full((2,), 32.0), 64, 64)


def density(away: float, error: float) -> float:
    return math.exp(-away / error) / (2 * error) ** 3


def test_one_pixel_by_hand():
    """Behind is grey of 0.25; a pixel of 0.36 is explained by a render of 0.64."""
    image = torch.full((1, 3, 3, 3), 0.25)
    image[0, 1, 1] = 0.36
    found = Likelihood.of(image)
    color, alpha = torch.zeros(1, 1, 3, 3, 3), torch.zeros(1, 1, 3, 3)
    color[0, 0, 1, 1], alpha[0, 0, 1, 1] = 0.5 * 0.64, 0.5
    behind = 0.9 * density(3 * 0.1, module.BEHIND) + 0.1
    shown = 0.9 * density(3 * 0.2, module.ERROR) + 0.1
    expected = math.log((0.5 * shown + 0.5 * behind) / behind) / module.TOGETHER
    found_log = found.log_prob(Render(color=color, alpha=alpha))
    assert float(found_log) == pytest.approx(expected, rel=1e-4)


def test_gradients_match_finite_differences():
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    found = Likelihood.of(some(2, 4, 5, 3))
    alpha = 0.1 + 0.8 * some(3, 2, 4, 5)
    color = alpha[..., None] * (0.1 + some(3, 2, 4, 5, 3))

    def log_prob(color: Tensor, alpha: Tensor) -> Tensor:
        return found.log_prob(Render(color=color, alpha=alpha))

    assert torch.autograd.gradcheck(log_prob, (color.requires_grad_(), alpha.requires_grad_()))


def cube() -> tuple[Scene, Render, dict[str, Tensor]]:
    """A painted cube in uneven light before grey, and its causes."""
    known = in_even_light(object_prior(painted_cube()))
    values = known.prior.given(LENS).sample(1, torch.Generator().manual_seed(3))
    values[TINT], values[ROUGHNESS] = torch.ones(1, 3), torch.full((1, 1), 0.9)
    scene = known.prior.scene(values)
    outputs = ("color", "alpha", "albedo", "normal")
    return scene, render(scene, Camera(LENS, torch.eye(4)), outputs=outputs), values


def photo(drawn: Render) -> Tensor:
    assert drawn.color is not None and drawn.alpha is not None
    return drawn.color.clamp_min(0) + (1 - drawn.alpha[..., None]) * torch.tensor([0.2, 0.3, 0.25])


def test_the_truth_is_likelier_than_what_is_near_and_than_nothing():
    known = object_prior(painted_cube())
    _, drawn, values = cube()
    found = Likelihood.of(photo(drawn))
    logs = []
    for size in (0.0, 0.05, 0.1, 0.2):
        turned = perturb(values[POSE], torch.tensor([0, 0, 0, size, -size, size]))
        scene = known.prior.scene({**values, POSE: turned})
        image = render(scene, Camera(LENS, torch.eye(4)), outputs=("color", "alpha"))
        logs.append(float(found.log_prob(_one(image))))
    assert logs[0] > logs[1] > logs[2] > logs[3] > 0


def _one(drawn: Render) -> Render:
    parts = {name: getattr(drawn, name) for name in ("color", "alpha", "albedo", "normal")}
    return Render(**{k: v[None] for k, v in parts.items() if v is not None})


def test_the_light_is_found_though_something_is_in_front():
    known = object_prior(painted_cube())
    _, drawn, values = cube()
    image = photo(drawn)
    image[:, :, :28] = torch.tensor([0.0, 0.0, 0.9])
    found = Likelihood.of(image)
    light = known.prior.distributions[LIGHT].mean.expand(1, 1, 9, 3)  # type: ignore[attr-defined]
    for _ in range(4):
        scene = known.prior.scene({**values, LIGHT: light[0]})
        outputs = ("color", "alpha", "albedo", "normal")
        now = _one(render(scene, Camera(LENS, torch.eye(4)), outputs=outputs))
        light = found.light(now, light)
    # Coefficients that nobody sees are free; what is seen must look as it does.
    scene = known.prior.scene({**values, LIGHT: light[0]})
    again = render(scene, Camera(LENS, torch.eye(4)), outputs=("color",)).color
    assert again is not None and drawn.color is not None and drawn.alpha is not None
    seen = (drawn.alpha == 1)[0] & (torch.arange(64) >= 30)
    error = (again - drawn.color)[0][seen].abs().mean() / drawn.color[0][seen].mean()
    assert float(error) < 0.05


def test_what_a_camera_made_of_the_colours_is_taken_off():
    known = object_prior(painted_cube())
    _, drawn, values = cube()
    turned = perturb(values[POSE], torch.tensor([[0.0] * 6, [0, 0, 0, 0.3, -0.3, 0.3]]))
    many = {path: value.expand(2, *value.shape[1:]) for path, value in values.items()}
    scenes = known.prior.scene({**many, POSE: turned})
    seen = render(scenes, Camera(LENS, torch.eye(4).expand(2, 4, 4)), outputs=("color", "alpha"))
    assert seen.color is not None and seen.alpha is not None
    both = Render(color=seen.color[:, None], alpha=seen.alpha[:, None])
    roots = photo(drawn).sqrt()
    response = torch.tensor([[0.3, 0.2, -0.3, 0.03]])
    shown = respond(roots.flatten(1, 2), response).unflatten(1, roots.shape[1:3]).clamp_max(1)
    whole = drawn.alpha == 1
    plain = Likelihood.of(torch.where(whole[..., None], shown, roots).square())
    found = plain.of_any_camera(both)
    # What is cut off is as bright as it is drawn.
    gaps = [(each - roots)[whole].abs().mean() for each in (plain.roots, found.roots[0])]
    assert float(gaps[1]) < 0.2 * float(gaps[0])
    # Each scene has its own; behind the object nothing changes; the truth is likelier than before.
    assert torch.equal(found.roots[0][drawn.alpha == 0], plain.roots[drawn.alpha == 0])
    logs = [each.log_prob(both)[:, 0] for each in (plain, found)]
    assert float(logs[1][0]) > float(logs[0][0])
    assert float(logs[1][0]) > float(logs[1][1])


def test_agreement_is_of_patterns():
    known = object_prior(painted_cube())
    _, drawn, values = cube()
    image = photo(drawn)
    assert float(Likelihood.of(image).agreement(_one(drawn))) == pytest.approx(1, abs=1e-3)
    # Of one brightness or another, and half behind a board.
    assert float(Likelihood.of(1.3 * image).agreement(_one(drawn))) > 0.97
    hidden = image.clone()
    hidden[:, :, :28] = torch.tensor([0.9, 0.8, 0.1])
    assert float(Likelihood.of(hidden).agreement(_one(drawn))) > 0.9
    # An even grey of the same size is no cube.
    even = (
        torch.where(drawn.alpha[..., None] == 1, 0.3, image) if drawn.alpha is not None else image
    )
    assert float(Likelihood.of(even).agreement(_one(drawn))) < 0.3
    turned = perturb(values[POSE], torch.tensor([0, 0, 0, 0.0, 1.2, 0]))
    other = render(
        known.prior.scene({**values, POSE: turned}),
        Camera(LENS, torch.eye(4)),
        outputs=("color", "alpha"),
    )
    assert float(Likelihood.of(image).agreement(_one(other))) < 0.7
