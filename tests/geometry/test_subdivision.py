"""Subdivision: the same surface from more triangles."""

import pytest
import torch
from known_meshes import CLOSED

from invgraph.geometry import mesh as meshes
from invgraph.geometry import primitives
from invgraph.geometry.edges import edges
from invgraph.geometry.subdivision import subdivide


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
