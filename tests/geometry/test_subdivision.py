"""Subdivision: the same surface from more triangles."""

import pytest
import torch
from known_meshes import CLOSED

from invgraph.geometry import mesh as meshes
from invgraph.geometry import primitives
from invgraph.geometry.edges import edges, edges_and_corners
from invgraph.geometry.mesh import Mesh, face_areas
from invgraph.geometry.subdivision import split_long_edges, subdivide


@pytest.mark.parametrize("mesh", [*CLOSED.values(), primitives.plane(2, 3)])
def test_subdivision_keeps_the_surface_and_the_texture(mesh):
    fine = subdivide(mesh)
    assert len(fine.faces) == 4 * len(mesh.faces)
    assert len(fine.vertices) == len(mesh.vertices) + len(edges(mesh))
    assert torch.equal(fine.vertices[: len(mesh.vertices)], mesh.vertices)
    assert torch.allclose(meshes.volume(fine), meshes.volume(mesh), atol=1e-5)
    parents = meshes.face_normals(mesh).repeat_interleave(4, 0)
    assert torch.allclose(meshes.face_normals(fine), parents, atol=1e-4)
    assert (fine.uv is None) == (mesh.uv is None)
    if mesh.uv is not None and fine.uv is not None:
        # The mean corner of the middle child is the parent's, in space and in the texture.
        middle = slice(3, None, 4)
        for values, faces, new, new_faces in (
            (mesh.vertices, mesh.faces, fine.vertices, fine.faces),
            (mesh.uv, mesh.texture_faces, fine.uv, fine.texture_faces),
        ):
            parent = values[faces.long()].mean(1)
            assert torch.allclose(new[new_faces[middle].long()].mean(1), parent, atol=1e-6)


def test_long_edges_are_split_where_they_are():
    # Small triangles beside one that is large; the height is carried.
    mesh = primitives.icosphere(2)
    large = (len(mesh.vertices) + torch.arange(3, dtype=torch.int32))[None]
    far = Mesh(torch.cat([mesh.vertices, 20 * torch.eye(3)]), torch.cat([mesh.faces, large]))
    height = far.vertices[:, 2:].double()
    split, carried = split_long_edges(far, height, 1.0, 100_000)
    corners = split.vertices[split.faces.long()]
    assert float((corners - corners.roll(1, 1)).norm(dim=-1).max()) <= 1
    assert torch.allclose(carried[:, 0].float(), split.vertices[:, 2], atol=1e-4)
    areas, before = face_areas(split), face_areas(far)
    assert float(areas.sum()) == pytest.approx(float(before.sum()), rel=1e-4)
    assert float(areas.min()) > 0
    # The short ones are as they were, and neighbours meet at the same vertices.
    small = (corners.norm(dim=-1) < 1.1).all(1)
    assert int(small.sum()) == len(mesh.faces)
    of_large = split.faces[~small]
    _, times = edges_and_corners(of_large)[1].unique(return_counts=True)
    border = int((times == 1).sum())
    assert set(times.tolist()) == {1, 2} and border == 3 * 32
    normal = torch.linalg.cross(*(corners[~small][:, 1:] - corners[~small][:, :1]).unbind(1))
    assert (normal.sum(1) > 0).all()


def test_long_edges_are_split_as_far_as_faces_allow():
    square = Mesh(
        torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]),
        torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32),
    )
    split, _ = split_long_edges(square, torch.zeros(4, 1), 1e-6, 1000)
    assert 500 <= len(split.faces) <= 1000
    assert float(face_areas(split).sum()) == pytest.approx(1)
    same, _ = split_long_edges(square, torch.zeros(4, 1), 1e-6, 2)
    assert len(same.faces) == 2
