"""Subdivision: smaller triangles on the same surface."""

import torch
from torch import Tensor

from invgraph.geometry.edges import edges_and_corners
from invgraph.geometry.mesh import Mesh, gather_vertices


def subdivide(mesh: Mesh) -> Mesh:
    """Split every triangle into four at the midpoints of its edges, the texture likewise.

    The first vertices, and texture coordinates, are the old ones in the old order.

    Gradients:
        Reach ``mesh.vertices`` and ``mesh.uv``.
    """
    ends, opposite = edges_and_corners(mesh.faces)
    vertices = torch.cat((mesh.vertices, gather_vertices(mesh.vertices, ends).mean(-2)), -2)
    faces = _split(mesh.faces, opposite + mesh.vertices.shape[-2])
    if mesh.uv is None:
        return Mesh(vertices, faces)
    ends, opposite = edges_and_corners(mesh.texture_faces)
    uv = torch.cat((mesh.uv, mesh.uv[ends].mean(-2)))
    if mesh.uv_faces is None:
        return Mesh(vertices, faces, uv)
    return Mesh(vertices, faces, uv, _split(mesh.uv_faces, opposite + mesh.uv.shape[0]))


def split_finely(mesh: Mesh, longest: float, most_faces: int) -> Mesh:
    """Subdivide until no edge is longer than this, or there would be more than so many faces."""
    while 4 * len(mesh.faces) <= most_faces:
        corners = gather_vertices(mesh.vertices, mesh.faces)
        if float((corners - corners.roll(1, -2)).norm(dim=-1).max()) <= longest:
            break
        mesh = subdivide(mesh)
    return mesh


def _split(faces: Tensor, middle: Tensor) -> Tensor:
    """Four faces per face; ``middle[:, k]`` is the new vertex opposite corner k."""
    a, b, c = faces.long().unbind(-1)
    x, y, z = middle.unbind(-1)
    new = [(a, z, y), (b, x, z), (c, y, x), (x, y, z)]
    return torch.stack([torch.stack(face, -1) for face in new], 1).reshape(-1, 3).to(faces.dtype)
