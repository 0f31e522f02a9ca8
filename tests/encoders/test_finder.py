"""The finder: one distribution over a photo's places and absence, whatever the photo's size."""

import itertools
import math

import pytest
import torch

from invgraph.encoders.finder import SEEN, STEP, Finder, pyramid


@pytest.fixture(scope="module")
def finder() -> Finder:
    torch.manual_seed(0)
    return Finder()


@pytest.mark.parametrize("size", [(480, 640), (64, 64), (333, 201), (40, 400), (3, 3)])
def test_any_size_gives_one_distribution(finder, size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        heat = finder(image)
    total = torch.cat([heat.log_weights, heat.log_absent[:, None]], 1).logsumexp(1)
    torch.testing.assert_close(total, torch.zeros(2), rtol=0, atol=1e-4)
    assert (heat.scales > 0).all() and heat.means.isfinite().all()


def test_levels_leave_no_size_out():
    # From objects of twice the least diameter up to such as fill the photo.
    scales = pyramid(480, 640)
    covered = [(SEEN[0] / scale, SEEN[1] / scale) for scale in scales]
    assert covered[0][0] == pytest.approx(2 * SEEN[0]) and covered[-1][1] > 480
    for (_, high), (low, _) in itertools.pairwise(covered):
        assert low <= high * 1.001
    assert max(pyramid(3000, 4000)) * 4000 == pytest.approx(320)
    assert SEEN[1] / SEEN[0] >= STEP


def test_cells_are_where_they_look(finder):
    # Means begin at the middles of cells of the image, at the size that belongs to the level.
    with torch.no_grad():
        heat = finder(torch.full((1, 3, 96, 96), 0.5), (1.0, 1 / STEP))
    fine, coarse = heat.means[0, : 12 * 12], heat.means[0, 12 * 12 :]
    assert len(coarse) == 8 * 8
    grid = fine.reshape(12, 12, 3)
    assert grid[3, 7, :2].tolist() == pytest.approx([60, 28], abs=3)
    assert coarse.reshape(8, 8, 3)[0, 0, :2].tolist() == pytest.approx([6, 6], abs=4)
    middle = 0.5 * math.log(SEEN[0] * SEEN[1])
    assert float(grid[..., 2].mean()) == pytest.approx(middle, abs=0.1)
    assert float(coarse[:, 2].mean()) == pytest.approx(middle + math.log(STEP), abs=0.1)


def test_the_loss_follows_its_gradient(finder):
    image = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    places = torch.tensor([[40.0, 52.0, 3.4], [70.0, 20.0, 3.8]])

    def loss() -> torch.Tensor:
        heat = network(image.double(), (1.0, 1 / STEP))
        return -(heat.log_prob(places.double()) + heat.log_absent).sum()

    network = Finder().double()
    for parameter in (network.last.bias, network.mixed.bias):
        assert parameter is not None
        [slope] = torch.autograd.grad(loss(), parameter)
        for index in (0, 3, 6):
            with torch.no_grad():
                parameter[index] += 1e-5
                above = loss()
                parameter[index] -= 2e-5
                below = loss()
                parameter[index] += 1e-5
            numeric = float(above - below) / 2e-5
            assert float(slope[index]) == pytest.approx(numeric, rel=1e-4, abs=1e-6)
