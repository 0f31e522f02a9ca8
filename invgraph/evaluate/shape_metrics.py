"""How far a shape is from the true one: its silhouette, its surface."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from invgraph.evaluate.input_checks import check_same
from invgraph.geometry.mesh import Mesh, gather_vertices
from invgraph.geometry.sampling import sample_surface

_CANDIDATES = 8  # nearest samples whose triangles may hold a point's nearest place


def mask_iou(mask: Float[Tensor, "h w"], reference: Float[Tensor, "rh rw"]) -> float:
    """Intersection over union of two masks cut at 0.5; 1 if both are empty.

    Raises:
        ValueError: the sizes differ.

    Source:
        Everingham et al., The Pascal Visual Object Classes Challenge (2010), section 4.
    """
    check_same("mask", mask, "reference", reference)
    first, second = mask >= 0.5, reference >= 0.5
    union = (first | second).sum().item()
    return (first & second).sum().item() / union if union else 1.0


def chamfer_pct(mesh: Mesh, reference: Mesh, count: int = 50_000, seed: int = 0) -> float:
    """Mean distance between two surfaces, in percent of the reference's bounding-box diagonal.

    The mean of accuracy (mesh to reference) and completeness (reference to mesh). Points are drawn
    evenly by area; each is compared with triangles, not with points, of the other surface, so that
    equal surfaces score practically zero however they are sampled.

    Args:
        mesh: the estimate, in the reference's frame.
        reference: the truth.
        count: points on each surface.
        seed: of the points.

    Raises:
        ValueError: a mesh is batched, has no area, or is not finite.

    Source:
        Accuracy and completeness: Jensen et al., Large Scale Multi-view Stereopsis (2014).
    """
    for name, each in (("mesh", mesh), ("reference", reference)):
        if not bool(torch.isfinite(each.vertices).all()):
            raise ValueError(f"{name} has vertices that are not finite; remove them first.")
    generator = torch.Generator().manual_seed(seed)
    first, first_face = sample_surface(mesh, count, generator)
    second, second_face = sample_surface(reference, count, generator)
    corners = reference.vertices[reference.faces.unique().long()]
    diagonal = (corners.amax(0) - corners.amin(0)).norm().item()
    accuracy = _distance(first, reference, second, second_face)
    completeness = _distance(second, mesh, first, first_face)
    return 100 * (accuracy + completeness) / 2 / diagonal


def _distance(
    points: Float[Tensor, "n 3"],
    mesh: Mesh,
    samples: Float[Tensor, "m 3"],
    sample_faces: Int[Tensor, " m"],
) -> float:
    """Mean distance from points to the triangles on which their nearest samples lie."""
    from scipy.spatial import KDTree

    near = KDTree(samples.detach().double().numpy()).query(
        points.detach().double().numpy(), k=_CANDIDATES
    )[1]
    faces = mesh.faces[sample_faces[torch.from_numpy(near)]]
    triangles = gather_vertices(mesh.vertices.double(), faces.reshape(-1, 3))
    spread = points.double()[:, None].expand(-1, _CANDIDATES, -1).reshape(-1, 3)
    return _triangle_distance(spread, triangles).reshape(-1, _CANDIDATES).amin(-1).mean().item()


def _triangle_distance(
    points: Float[Tensor, "n 3"], triangles: Float[Tensor, "n 3 3"]
) -> Float[Tensor, " n"]:
    """Distance from each point to its triangle: to the plane if above it, else to an edge."""
    best = torch.full_like(points[:, 0], math.inf)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        start, edge = triangles[:, first], triangles[:, second] - triangles[:, first]
        length2 = edge.square().sum(-1).clamp_min(1e-300)
        along = (((points - start) * edge).sum(-1) / length2).clamp(0, 1)
        best = torch.minimum(best, (points - start - along[:, None] * edge).norm(dim=-1))
    a, b, c = triangles.unbind(1)
    normal = torch.linalg.cross(b - a, c - a, dim=-1)
    area2 = normal.square().sum(-1).clamp_min(1e-300)
    above = torch.ones_like(best, dtype=torch.bool)
    for start, end in ((a, b), (b, c), (c, a)):
        above &= (torch.linalg.cross(end - start, points - start, dim=-1) * normal).sum(-1) >= 0
    height = ((points - a) * normal).sum(-1).abs() / area2.sqrt()
    return torch.where(above & (area2 > 1e-290), height, best)
