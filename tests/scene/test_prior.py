"""A prior dreams scenes, tells how likely they are, and refuses what it does not know."""

import pytest
import torch
from scenes import ball

from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.rendering.render import render
from invgraph.scene import Material, Scene, SphericalHarmonicLight
from invgraph.scene.distributions import Bernoulli, Gaussian, PoseInView, Upright
from invgraph.scene.domains import Positive
from invgraph.scene.prior import Prior

LENS = Lens(torch.full((2,), 60.0), torch.full((2,), 16.0), 32, 32)
POSE, LIGHT, TINT = "objects.0.world_from_object", "lights.0.coefficients", "objects.0.tint"


def template() -> Scene:
    thing = ball(Material(torch.full((3,), 0.5), torch.tensor([0.5]), torch.zeros(1)), 12)
    thing = type(thing)(
        thing.geometry, torch.eye(4), thing.material, tint=torch.ones(3), present=torch.tensor(True)
    )
    return Scene((thing,), (SphericalHarmonicLight(torch.zeros(9, 3)),))


def prior() -> Prior:
    light = torch.zeros(9, 3)
    light[0] = 3.0
    return Prior(
        template(),
        {
            POSE: PoseInView(Upright(), 1.0),
            LIGHT: Gaussian(light, torch.full((9, 3), 0.3)),
            TINT: Gaussian(torch.ones(3), torch.full((3,), 0.2), Positive()),
            "objects.0.present": Bernoulli(0.5),
        },
    ).given(LENS)


def test_dreams_are_scenes_that_render():
    values = prior().sample(16, torch.Generator().manual_seed(0))
    scene = prior().scene(values)
    image = render(scene, Camera(LENS, torch.eye(4)), outputs=("alpha",)).alpha
    assert image is not None and image.shape == (16, 32, 32)
    there = image.amax((1, 2)) > 0.9
    assert torch.equal(there, values["objects.0.present"]) and 0 < int(there.sum()) < 16
    # The ball takes 0.55 to 0.85 of the side, and lies within the picture.
    area = image[there].sum((1, 2)) / 32**2
    assert ((area > 0.2) & (area < 0.7)).all()


def test_the_same_seed_dreams_the_same():
    first, again = (prior().sample(3, torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(first[path], again[path]) for path in first)


def test_the_density_is_the_product_of_the_parts():
    values = prior().sample(4, torch.Generator().manual_seed(1))
    parts = [d.log_prob(values[path]) for path, d in prior().distributions.items()]
    torch.testing.assert_close(prior().log_prob(values), torch.stack(parts).sum(0))


def test_what_has_coordinates_is_an_unknown():
    assert [unknown.path for unknown in prior().unknowns] == [POSE, LIGHT, TINT]
    assert prior().unknowns.size == 6 + 27 + 3


def test_gradients_reach_the_values():
    values = prior().sample(2, torch.Generator().manual_seed(2))
    values[TINT] = values[TINT].requires_grad_()
    values["objects.0.present"] = torch.ones(2, dtype=torch.bool)
    color = render(prior().scene(values), Camera(LENS, torch.eye(4)), outputs=("color",)).color
    assert color is not None
    [slope] = torch.autograd.grad(color.sum(), values[TINT])
    assert (slope > 0).all()


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: Prior(template(), {}), "at least one"),
        (lambda: Prior(template(), {"objects.3.tint": Bernoulli(0.5)}), "objects"),
        (lambda: Prior(template(), {TINT: Bernoulli(0.5)}), "shape"),
        (lambda: prior().scene({"objects.0.material.albedo": torch.ones(3)}), "not free"),
        (lambda: prior().log_prob({}), "missing"),
    ],
)
def test_what_it_does_not_know_is_refused(work, message):
    with pytest.raises(ValueError, match=message):
        work()
