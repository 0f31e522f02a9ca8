"""Silhouettes, surfaces: distances by hand."""

import math

import pytest
import torch

from invgraph.evaluate.shape_metrics import chamfer_pct, mask_iou
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.primitives import cube, icosphere
from invgraph.geometry.subdivision import subdivide


def test_mask_iou_by_hand():
    first = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.4, 0.0]])
    second = torch.tensor([[1.0, 0.0, 0.6], [0.0, 0.0, 0.0]])
    assert mask_iou(first, second) == pytest.approx(1 / 3)
    assert mask_iou(torch.zeros(2, 2), torch.zeros(2, 2)) == 1.0


def test_chamfer_of_equal_surfaces_is_zero_whatever_the_triangles():
    box = cube()
    # Distances between the 2000 samples themselves would come to about 1.5 %.
    assert chamfer_pct(box, subdivide(subdivide(box)), count=2000) < 0.02


def test_chamfer_of_concentric_spheres():
    sphere = icosphere(4)
    larger = Mesh(sphere.vertices * 1.1, sphere.faces)
    # Every point is 0.1 away; the diagonal of the unit sphere's box is 2 sqrt(3).
    expected = 100 * 0.1 / (2 * math.sqrt(3))
    assert chamfer_pct(larger, sphere, count=4000) == pytest.approx(expected, rel=0.01)


def test_chamfer_sees_a_missing_part():
    sphere = icosphere(3)
    centres = sphere.vertices[sphere.faces.long()].mean(1)
    half = Mesh(sphere.vertices, sphere.faces[centres[:, 2] > 0])
    # A point at angle t below the rim is 2 sin(t / 2) away; over the missing half that is 0.5523 on
    # average. Half of the true points are there, and accuracy is perfect.
    expected = 100 * 0.5523 / 2 / 2 / (2 * math.sqrt(3))
    assert chamfer_pct(half, sphere, count=4000) == pytest.approx(expected, rel=0.05)
    # The bounding box is that of the reference's faces, so a loose vertex changes nothing.
    loose = Mesh(torch.cat([sphere.vertices, torch.full((1, 3), 50.0)]), sphere.faces)
    assert chamfer_pct(half, loose, count=4000) == pytest.approx(expected, rel=0.05)


def test_bad_shapes_say_what_to_do():
    with pytest.raises(ValueError, match="mask has shape"):
        mask_iou(torch.zeros(12, 12), torch.zeros(3, 12))
    broken = Mesh(torch.full((3, 3), math.nan), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match="mesh has vertices that are not finite"):
        chamfer_pct(broken, cube())
