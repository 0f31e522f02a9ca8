"""Edges of known meshes."""

from known_meshes import CLOSED, FOLD

from invgraph.geometry.edges import edges, face_pairs


def test_edges_are_sorted_and_unique():
    expected = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3]]
    assert edges(FOLD).tolist() == expected
    assert face_pairs(FOLD.faces).tolist() == [[0, 1]]


def test_face_pairs_of_a_closed_mesh_are_its_edges():
    mesh = CLOSED["torus"]
    assert len(face_pairs(mesh.faces)) == len(edges(mesh))
