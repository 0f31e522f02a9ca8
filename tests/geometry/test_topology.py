"""Triangles as kernels read them: checked and copied once, kept with their mesh, joined."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from invgraph.geometry.mesh import Mesh, vertex_normals
from invgraph.geometry.primitives import icosphere
from invgraph.geometry.topology import Topology

# Two triangles that share the edge 1-2.
FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])


def test_the_face_across_each_edge():
    known = Topology(FACES)
    assert (known.low, known.high) == (0, 3)
    assert known.faces.dtype == np.int32
    # Opposite vertex 0 of the first and vertex 3 of the second lies the other one.
    assert known.adjacent.tolist() == [[1, -1, -1], [-1, -1, 0]]


def test_an_edge_of_three_faces_belongs_to_none():
    known = Topology(torch.cat((FACES, torch.tensor([[1, 2, 4]]))))
    assert (known.adjacent == -1).all()


def test_no_faces_have_no_vertices():
    known = Topology(torch.zeros(0, 3, dtype=torch.int64))
    assert (known.low, known.high, known.adjacent.shape) == (0, -1, (0, 3))


@pytest.mark.parametrize(
    "faces", [FACES.float(), FACES.flatten(), FACES[:, :2], FACES.bool()], ids=str
)
def test_what_is_no_triangle_is_refused(faces):
    with pytest.raises(ValueError, match=r"expected integers of shape \(faces, 3\)"):
        Topology(faces)


def test_an_index_beyond_32_bits_is_refused():
    with pytest.raises(ValueError, match="at most 2"):
        Topology(FACES + 2**31)


def test_later_changes_of_the_tensor_are_not_seen():
    faces = FACES.int()
    known = Topology(faces)
    faces.zero_()
    assert known.faces.tolist() == FACES.tolist()


def test_a_mesh_keeps_it_while_its_vertices_move():
    mesh = icosphere(1)
    moved = replace(mesh, vertices=2 * mesh.vertices)
    assert moved.topology is mesh.topology
    other = replace(mesh, faces=mesh.faces.flip(1))
    assert other.topology is not mesh.topology
    assert torch.allclose(vertex_normals(other), -vertex_normals(mesh))


def test_uv_faces_have_their_own():
    uv = torch.rand(6, 2)
    corners = torch.arange(6).reshape(2, 3)
    mesh = Mesh(torch.rand(4, 3), FACES, uv, corners)
    assert mesh.uv_topology is not None and mesh.texture_topology.high == 5
    plain = replace(mesh, uv=torch.rand(4, 2), uv_faces=None)
    assert plain.uv_topology is None and plain.texture_topology is plain.topology


def test_joined_ones_are_those_of_the_joined_faces():
    parts, counts = [Topology(FACES), Topology(icosphere(1).faces)], [4, 42]
    joined = Topology.join(parts, counts)
    whole = Topology(torch.cat((FACES, icosphere(1).faces + 4)))
    assert np.array_equal(joined.faces, whole.faces)
    assert np.array_equal(joined.adjacent, whole.adjacent)
    assert (joined.low, joined.high) == (whole.low, whole.high)
    assert Topology.join(parts[:1], counts[:1]) is parts[0]
    assert len(Topology.join([], []).faces) == 0
