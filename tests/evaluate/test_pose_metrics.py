"""Distances between poses by hand."""

import math

import pytest
import torch

from invgraph.evaluate.pose_metrics import add_distance, adds_distance, pose_error

# The corners of a square of side 2 around the origin.
SQUARE = torch.tensor([[1.0, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]])


def _placed(shift, turn_deg):
    """A turn about z, then a shift."""
    angle = math.radians(turn_deg)
    pose = torch.eye(4)
    pose[:2, :2] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    pose[:3, 3] = torch.tensor(shift)
    return pose


def test_add_by_hand():
    reference = _placed((0.0, 0, 5), 0)
    # A shift moves every point alike; half a turn moves each corner across the diagonal 2 sqrt(2).
    assert add_distance(SQUARE, _placed((0.3, 0, 5.4), 0), reference) == pytest.approx(0.5)
    assert add_distance(SQUARE, _placed((0.0, 0, 5), 180), reference) == pytest.approx(8**0.5)
    # A quarter turn moves each corner along a side.
    assert add_distance(SQUARE, _placed((0.0, 0, 5), 90), reference) == pytest.approx(2.0)
    assert add_distance(SQUARE, reference, reference) == 0


def test_adds_by_hand():
    reference = _placed((0.0, 0, 5), 0)
    # The square turned by a quarter is itself.
    assert adds_distance(SQUARE, _placed((0.0, 0, 5), 90), reference) == pytest.approx(0, abs=1e-6)
    assert adds_distance(SQUARE, _placed((0.0, 0, 5.5), 90), reference) == pytest.approx(0.5)
    # Shifted by 2 along x, two corners land on others; of the true ones the two on the left are 2
    # away from the nearest estimated one, the two on the right 0.
    assert adds_distance(SQUARE, _placed((2.0, 0, 5), 0), reference) == pytest.approx(1.0)
    # From the truth 0, 1, 9 on a line to the estimate 10, 11, 19; the other way it is 13 / 3.
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [9, 0, 0]])
    assert adds_distance(line, _placed((10.0, 0, 0), 0), torch.eye(4)) == pytest.approx(20 / 3)


def test_pose_error_by_hand():
    shift, turn = pose_error(_placed((0.0, 3, 9), 30), _placed((0.0, 0, 5), -15))
    assert shift == pytest.approx(5) and turn == pytest.approx(45, abs=1e-4)
    assert pose_error(_placed((0.0, 0, 5), 180), _placed((0.0, 0, 5), 0))[1] == pytest.approx(180)


def test_distances_need_points():
    for distance in (add_distance, adds_distance):
        with pytest.raises(ValueError, match="points are empty"):
            distance(torch.zeros(0, 3), torch.eye(4), torch.eye(4))
