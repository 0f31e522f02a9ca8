"""How far a mesh is from smooth: penalties for a descent."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry.edges import edges, edges_and_corners, face_pairs
from invgraph.geometry.mesh import Mesh, face_normals, gather_vertices


def laplacian_roughness(mesh: Mesh) -> Float[Tensor, "*batch"]:
    """Mean squared distance of a vertex from the mean of its neighbours.

    Gradients:
        Reach ``mesh.vertices``.
    """
    i, j = edges_and_corners(mesh.faces)[0].unbind(-1)
    v = mesh.vertices
    total = torch.zeros_like(v).index_add(-2, i, v[..., j, :]).index_add(-2, j, v[..., i, :])
    degree = torch.bincount(torch.cat((i, j)), minlength=v.shape[-2])[:, None]
    offset = torch.where(degree > 0, v - total / degree.clamp_min(1), 0.0)
    return offset.square().sum(-1).mean(-1)


def normal_consistency(mesh: Mesh) -> Float[Tensor, "*batch"]:
    """Mean of 1 - cos(angle) between the normals of faces that share an edge; zero when flat.

    Gradients:
        Reach ``mesh.vertices``; they vanish at flat and at completely folded edges.
    """
    normals = gather_vertices(face_normals(mesh), face_pairs(mesh.faces))
    if not normals.shape[-3]:
        return mesh.vertices.sum((-1, -2)) * 0
    return (1 - (normals[..., 0, :] * normals[..., 1, :]).sum(-1)).mean(-1)


def edge_length_spread(mesh: Mesh) -> Float[Tensor, "*batch"]:
    """Variance of the edge lengths over their squared mean: zero when all are equal.

    Raises:
        ValueError: the mesh has no faces.
    """
    if not len(mesh.faces):
        raise ValueError("edge_length_spread needs a mesh with faces.")
    a, b = gather_vertices(mesh.vertices, edges(mesh)).unbind(-2)
    squared = (a - b).square().sum(-1)
    length = torch.where(squared > 0, torch.where(squared > 0, squared, 1.0).sqrt(), 0.0)
    return length.var(-1, correction=0) / length.mean(-1).square()
