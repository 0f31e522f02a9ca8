"""Random points on a surface."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from invgraph.geometry.mesh import Mesh, face_areas, gather_vertices


def sample_surface(
    mesh: Mesh, count: int, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "n 3"], Int[Tensor, " n"]]:
    """Points spread evenly by area over a mesh, and the face of each.

    Args:
        mesh: one mesh, without batch axes.
        count: number of points.
        generator: source of randomness; torch's global one when None.

    Raises:
        ValueError: the mesh has batch axes or no area.

    Gradients:
        Reach ``mesh.vertices`` through the points; which face is drawn carries none.
    """
    if mesh.batch_shape:
        raise ValueError(f"sample_surface takes one mesh but got batch {tuple(mesh.batch_shape)}.")
    cumulative = face_areas(mesh).detach().double().cumsum(0)
    if not len(cumulative) or not float(cumulative[-1]) > 0:
        raise ValueError("sample_surface needs a mesh with area.")
    like = {"dtype": torch.float64, "device": cumulative.device, "generator": generator}
    picks = torch.rand(count, **like) * cumulative[-1]
    # right=True never picks a face without area.
    face = torch.searchsorted(cumulative, picks, right=True).clamp_max(len(cumulative) - 1)
    first, second = torch.rand(2, count, **like)
    root = first.sqrt()
    weights = torch.stack((1 - root, root * (1 - second), root * second), -1)
    corners = gather_vertices(mesh.vertices, mesh.faces[face])
    return (weights.to(corners.dtype)[..., None] * corners).sum(-2), face
