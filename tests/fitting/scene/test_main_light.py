"""The main light: by hand for one lamp, and a cone that widens with what is unknown."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from invgraph.fitting.scene.main_light import believed_direction, main_direction, unevenness
from invgraph.fitting.scene.object_prior import LIGHT
from invgraph.rendering import harmonics
from invgraph.scene.domains import Free
from invgraph.scene.scene_belief import SceneBelief
from invgraph.scene.unknowns import Unknown, Unknowns


def lamp(direction: torch.Tensor, ambient: float = 2.0) -> torch.Tensor:
    """A grey lamp and light from all around."""
    coefficients = harmonics.basis(normalize(direction, dim=0), 2)[:, None].repeat(1, 3)
    coefficients[0] += ambient
    return coefficients


@pytest.mark.parametrize("direction", [(1.0, 0, 0), (0, -1.0, 0), (0.3, -0.5, 0.8)])
def test_one_lamp_is_where_it_is(direction):
    toward = torch.tensor(direction)
    found = main_direction(lamp(toward))
    torch.testing.assert_close(found, normalize(toward, dim=0), rtol=0, atol=1e-5)
    # As bright again in green, it is the same; turned, it turns.
    found = main_direction(lamp(toward) * torch.tensor([1.0, 2.0, 0.5]))
    torch.testing.assert_close(found, normalize(toward, dim=0), rtol=0, atol=1e-5)


def test_light_comes_from_where_it_shines_most():
    """Light that is half as strong again from one side, and half as weak from the other."""
    towards = normalize(torch.tensor([0.3, -0.8, 0.4]), dim=0)
    ways = harmonics.fibonacci_sphere(4000)
    values = (1 + 0.5 * ways @ towards)[:, None].expand(-1, 3)
    weights = torch.full((4000,), 4 * math.pi / 4000)
    light = harmonics.project(values, ways, weights, 2)
    torch.testing.assert_close(main_direction(light), towards, rtol=0, atol=1e-3)
    assert float(unevenness(light)) == pytest.approx(0.5, abs=1e-3)
    assert float(unevenness(3 * light)) == pytest.approx(0.5, abs=1e-3)


def test_the_cone_is_as_wide_as_what_is_unknown():
    light = lamp(torch.tensor([0.0, -1.0, 0.0]))
    cones = []
    for scale in (0.01, 0.1):
        factor = scale * torch.eye(27)
        belief = SceneBelief(
            Unknowns((Unknown(LIGHT, Free(), (9, 3)),)),
            torch.zeros(1, 1),
            {LIGHT: light[None, None]},
            {LIGHT: factor[None, None]},
        )
        middle, cone = believed_direction(belief, 0.9, torch.Generator().manual_seed(0))
        assert float((middle[0] * torch.tensor([0.0, -1.0, 0.0])).sum()) > math.cos(0.05)
        cones.append(float(cone))
    # Luminance of three channels, each off by the scale, against the length of its order 1.
    weights = torch.tensor([0.2126, 0.7152, 0.0722])
    off = 0.01 * float(weights.norm()) / math.sqrt(3 / (4 * math.pi))
    assert cones[0] == pytest.approx(off * math.sqrt(-2 * math.log(0.1)), rel=0.15)
    assert cones[1] > 5 * cones[0]
