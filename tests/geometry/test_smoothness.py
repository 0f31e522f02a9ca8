"""Penalties on rough meshes, by hand."""

import math

import pytest
from known_meshes import CLOSED, FOLD

from invgraph.geometry import primitives
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.smoothness import edge_length_spread, laplacian_roughness, normal_consistency


def test_regularisers_by_hand():
    # The cube: 12 right angles, 6 flat diagonals.
    assert float(normal_consistency(CLOSED["cube"])) == pytest.approx(12 / 18)
    assert float(normal_consistency(primitives.plane(3, 3))) == pytest.approx(0, abs=1e-6)
    assert float(normal_consistency(Mesh(FOLD.vertices, FOLD.faces[:1]))) == 0
    assert float(edge_length_spread(primitives.icosphere(0))) == pytest.approx(0, abs=1e-10)
    # Edges 1, 1, sqrt(2).
    triangle = Mesh(FOLD.vertices[:3], FOLD.faces[:1])
    mean = (2 + math.sqrt(2)) / 3
    expected = (4 / 3 - mean**2) / mean**2
    assert float(edge_length_spread(triangle)) == pytest.approx(expected, rel=1e-5)
    # Offsets (-1/2, -1/2), (1, -1/2), (-1/2, 1) of the three vertices.
    assert float(laplacian_roughness(triangle)) == pytest.approx((0.5 + 1.25 + 1.25) / 3)


def test_a_spread_of_no_edges_is_refused():
    with pytest.raises(ValueError, match="needs a mesh with faces"):
        edge_length_spread(Mesh(FOLD.vertices, FOLD.faces[:0]))
