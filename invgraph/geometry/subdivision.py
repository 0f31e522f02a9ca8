"""Subdivision: smaller triangles on the same surface."""

import torch
from jaxtyping import Float
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


def split_long_edges(
    mesh: Mesh, attributes: Float[Tensor, "v c"], longest: float, most_faces: int
) -> tuple[Mesh, Float[Tensor, "w c"]]:
    """Split edges at their middle, where they are long, with the triangles on both sides.

    Args:
        mesh: without batch axes; its texture coordinates are not carried.
        attributes: of the vertices; those of a new one are the mean of its edge's ends.
        longest: edges are split until none is longer than this,
        most_faces: or than what is possible with this many faces.
    """
    vertices, faces = mesh.vertices, mesh.faces
    while True:
        ends, opposite = edges_and_corners(faces)
        length = (vertices[ends[:, 0]] - vertices[ends[:, 1]]).norm(dim=-1)
        while len(faces) + int((long := length > longest)[opposite].sum()) > most_faces:
            if not bool(long.any()):
                break
            longest *= 1.25
        if not bool(long.any()):
            return Mesh(vertices, faces), attributes
        middle = torch.where(long, long.cumsum(0) - 1 + len(vertices), -1)
        vertices = torch.cat((vertices, vertices[ends[long]].mean(1)))
        attributes = torch.cat((attributes, attributes[ends[long]].mean(1)))
        faces = _split_where(faces, middle[opposite])


def _split_where(faces: Tensor, middle: Tensor) -> Tensor:
    """One to four faces per face; ``middle[:, k]`` is the new vertex opposite corner k, or -1."""
    count = (middle >= 0).sum(1)
    # Turned so that the one new vertex, or the one missing, is opposite the first corner.
    odd = torch.where(count[:, None] == 1, middle >= 0, middle < 0).int().argmax(1)
    turn = (odd[:, None] + torch.arange(3)) % 3
    (a, b, c), (x, y, z) = faces.long().gather(1, turn).T, middle.gather(1, turn).T
    one, two = count == 1, count == 2
    parts = [
        faces[count == 0],
        *(torch.stack(face, -1)[one] for face in ((a, b, x), (a, x, c))),
        *(torch.stack(face, -1)[two] for face in ((a, z, y), (z, b, c), (z, c, y))),
        _split(faces[count == 3], middle[count == 3]),
    ]
    return torch.cat([part.to(faces.dtype) for part in parts])


def _split(faces: Tensor, middle: Tensor) -> Tensor:
    """Four faces per face; ``middle[:, k]`` is the new vertex opposite corner k."""
    a, b, c = faces.long().unbind(-1)
    x, y, z = middle.unbind(-1)
    new = [(a, z, y), (b, x, z), (c, y, x), (x, y, z)]
    return torch.stack([torch.stack(face, -1) for face in new], 1).reshape(-1, 3).to(faces.dtype)
