"""Similarity transforms by hand."""

import math

import pytest
import torch

from invgraph.evaluate.similarity import align_similarity, camera_centre_pct


def test_a_similarity_is_found_by_hand():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    # Twice the size, a quarter turn about z, moved by (1, 2, 3).
    moved = torch.tensor([[1.0, 2, 3], [1, 4, 3], [-1, 2, 3], [1, 2, 5]])
    scale, rotation, translation = align_similarity(points, moved)
    assert scale == pytest.approx(2.0)
    assert torch.allclose(rotation, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).double())
    assert translation.tolist() == pytest.approx([1.0, 2.0, 3.0])
    # A mirror image is no rotation of the points.
    assert torch.linalg.det(align_similarity(points, -moved)[1]) == pytest.approx(1.0)


def test_camera_centre_error_by_hand():
    reference = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert camera_centre_pct(5 * reference + 7, reference) == pytest.approx(0.0, abs=1e-5)
    # Out of the plane by turns, by h: rotation and scale of the least squares stay
    # (the scale is 4 / (4 + 4 h^2)), so each centre is off by |(1 - s, s h)|.
    height = 0.1
    bent = reference.clone()
    bent[:, 2] = torch.tensor([1.0, 1, -1, -1]) * height
    scale = 1 / (1 + height**2)
    expected = math.hypot(1 - scale, scale * height) / math.sqrt(8) * 100
    assert camera_centre_pct(bent, reference) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("points", "reference", "words"),
    [
        (torch.zeros(3, 3), torch.eye(3), "all points are in one place"),
        (torch.eye(3), torch.ones(3, 3), "all reference cameras are in one place"),
        (torch.eye(3)[:2], torch.eye(3)[:2], "2 points do not fix a similarity"),
        (torch.eye(3)[:2], torch.eye(3), "points has shape"),
    ],
)
def test_what_cannot_be_aligned_is_refused(points, reference, words):
    with pytest.raises(ValueError, match=words):
        camera_centre_pct(points, reference)
