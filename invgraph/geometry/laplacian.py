"""Laplacians of meshes, as sparse matrices."""

import torch
from jaxtyping import Int
from torch import Tensor

from invgraph.geometry.edges import edges_and_corners
from invgraph.geometry.mesh import Mesh, gather_vertices


def uniform_laplacian(faces: Int[Tensor, "f 3"], count: int) -> Tensor:
    """Graph Laplacian D - A of a mesh: v^T L v is the sum of squared edge lengths.

    Args:
        faces: vertex indices.
        count: number of vertices.

    Returns:
        Sparse COO, coalesced, (count, count), float32, positive semidefinite, rows sum to zero.
    """
    ends = edges_and_corners(faces)[0]
    return _laplacian(ends, torch.ones(len(ends), device=faces.device), count)


def cotangent_laplacian(mesh: Mesh) -> Tensor:
    """Laplacian with weights (cot a + cot b) / 2 for the angles opposite to an edge.

    Applied to vertices it gives mean curvature times twice the vertex's area as a vector along
    the outward normal of convex parts; flat regions give zero whatever their triangles.

    Args:
        mesh: one mesh, without batch axes. Faces without area count as if they were not there.

    Returns:
        Sparse COO, coalesced, in the vertices' precision; no gradient reaches the vertices.

    Raises:
        ValueError: the mesh has batch axes.

    Source:
        Meyer et al., Discrete differential-geometry operators (2003), eq. 8.
    """
    if mesh.batch_shape:
        raise ValueError(
            f"cotangent_laplacian takes one mesh but got batch {tuple(mesh.batch_shape)}."
        )
    corners = gather_vertices(mesh.vertices.detach(), mesh.faces)
    to_next, to_last = corners.roll(-1, 1) - corners, corners.roll(1, 1) - corners
    area2 = torch.linalg.cross(to_next[:, :1], to_last[:, :1]).norm(dim=-1)
    cotangent = (to_next * to_last).sum(-1) / torch.where(area2 > 0, area2, 1.0)
    cotangent = torch.where(area2 > 0, cotangent, 0.0)
    ends, opposite = edges_and_corners(mesh.faces)
    weights = cotangent.new_zeros(len(ends))
    weights = weights.index_add(0, opposite.reshape(-1), cotangent.reshape(-1) / 2)
    return _laplacian(ends, weights, len(mesh.vertices))


def _laplacian(ends: Tensor, weights: Tensor, count: int) -> Tensor:
    i, j = ends.unbind(-1)
    indices = torch.stack((torch.cat((i, j, i, j)), torch.cat((j, i, i, j))))
    values = torch.cat((-weights, -weights, weights, weights))
    return torch.sparse_coo_tensor(
        indices, values, (count, count), check_invariants=False
    ).coalesce()
