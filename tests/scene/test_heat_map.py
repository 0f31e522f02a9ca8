"""Where an object is believed to be: a density with absence, its places and its picture."""

import math

import pytest
import torch

from invgraph.scene.heat_map import HeatMap


def heat(weights: list[float], means: list[list[float]], scale: float = 2.0) -> HeatMap:
    shares = torch.tensor([weights])
    scales = torch.full((1, len(weights), 3), scale)
    scales[..., 2] = 0.1
    absent = (1 - shares.sum(-1)).clamp_min(1e-6).log()
    return HeatMap(shares.log(), absent, torch.tensor([means]), scales)


def test_density_and_absence_integrate_to_one():
    belief = heat([0.5, 0.3], [[20.0, 12.0, 3.0], [30.0, 16.0, 3.2]])
    u, v, size = torch.meshgrid(
        torch.arange(5.0, 45.0, 0.5), torch.arange(0.0, 30.0, 0.5),
        torch.arange(2.5, 3.8, 0.05), indexing="ij",
    )  # fmt: skip
    places = torch.stack([u, v, size], -1).reshape(-1, 1, 3)
    many = HeatMap(
        belief.log_weights.expand(len(places), -1),
        belief.log_absent.expand(len(places)),
        belief.means.expand(len(places), -1, -1),
        belief.scales.expand(len(places), -1, -1),
    )
    inside = float(many.log_prob(places[:, 0]).exp().sum()) * 0.5 * 0.5 * 0.05
    assert inside + float(belief.log_absent.exp()) == pytest.approx(1, abs=2e-3)
    assert float(belief.present) == pytest.approx(0.8)


def test_places_that_are_one_are_told_once():
    size = math.log(20.0)
    belief = heat([0.4, 0.2, 0.3], [[20.0, 12.0, size], [24.0, 12.0, size], [80.0, 40.0, size]])
    places, held = belief.top(3)
    torch.testing.assert_close(held[0], torch.tensor([0.6, 0.3, 0.0]))
    torch.testing.assert_close(places[0, 0, 0], torch.tensor((0.4 * 20 + 0.2 * 24) / 0.6))
    torch.testing.assert_close(places[0, 1, :2], torch.tensor([80.0, 40.0]))
    # Of quite another size, it is another object.
    belief = heat([0.4, 0.3], [[20.0, 12.0, size], [20.0, 12.0, size + 1]])
    assert belief.top(2)[1][0].tolist() == pytest.approx([0.4, 0.3])


def test_the_picture_holds_what_is_believed():
    belief = heat([0.5, 0.3], [[40.0, 24.0, 3.0], [90.0, 60.0, 3.2]], scale=4.0)
    picture = belief.picture(96, 128, stride=2)
    assert picture.shape == (1, 48, 64)
    assert float(picture.sum()) * 4 == pytest.approx(0.8, abs=1e-3)
    row, column = divmod(int(picture[0].argmax()), 64)
    assert (2 * column + 1, 2 * row + 1) == (pytest.approx(40, abs=2), pytest.approx(24, abs=2))


def test_a_strip_that_is_thinner_than_the_stride_has_a_picture():
    belief = heat([0.5], [[400.0, 6.0, 3.0]], scale=40.0)
    picture = belief.picture(12, 4000, stride=125)
    assert picture.shape == (1, 1, 32) and int(picture[0, 0].argmax()) == 3
