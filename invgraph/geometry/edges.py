"""Edges of a mesh: the vertices that they join, the faces that they part."""

import torch
from jaxtyping import Int
from torch import Tensor

from invgraph.geometry.mesh import Mesh


def edges(mesh: Mesh) -> Int[Tensor, "e 2"]:
    """Every undirected edge once, as a sorted pair of vertices, in lexicographic order."""
    return edges_and_corners(mesh.faces)[0].to(mesh.faces.dtype)


def edges_and_corners(faces: Tensor) -> tuple[Tensor, Tensor]:
    """Unique edges, and per face the index of the edge opposite to each of its corners."""
    pairs = torch.stack((faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]), 1).long()
    low, high = pairs.amin(-1), pairs.amax(-1)
    count = int(high.max()) + 1 if high.numel() else 1
    keys, inverse = torch.unique(low * count + high, return_inverse=True)
    return torch.stack((keys // count, keys % count), -1), inverse


def face_pairs(faces: Int[Tensor, "f 3"]) -> Int[Tensor, "p 2"]:
    """Pairs of faces that share an edge; an edge of k faces gives k - 1 pairs."""
    owner = edges_and_corners(faces)[1].reshape(-1)
    edge, order = owner.sort(stable=True)
    shared = edge[1:] == edge[:-1]
    return torch.stack((order[:-1][shared], order[1:][shared]), -1) // 3
