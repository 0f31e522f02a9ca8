"""Meshes whose answers are known, for the tests of the geometry."""

from dataclasses import replace

import torch

from invgraph.geometry import mesh as meshes
from invgraph.geometry import primitives
from invgraph.geometry.mesh import Mesh

CLOSED = {
    "icosphere": primitives.icosphere(2),
    "uv_sphere": primitives.uv_sphere(12, 24),
    "torus": primitives.torus(1.0, 0.4, 24, 48),
    "cube": primitives.cube(),
}


TEXTURED = {name: mesh for name, mesh in CLOSED.items() if mesh.uv is not None}
TEXTURED["plane"] = primitives.plane(2, 3)


# Two triangles that share the edge (0, 1), at a right angle.
FOLD = Mesh(
    torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    torch.tensor([[0, 1, 2], [1, 0, 3]], dtype=torch.int32),
)


def bumpy(mesh: Mesh, seed: int = 0) -> Mesh:
    generator = torch.Generator().manual_seed(seed)
    vertices = mesh.vertices.double()
    noise = torch.rand(vertices.shape, generator=generator, dtype=torch.float64)
    return replace(mesh, vertices=vertices + 0.1 * noise)


def total_area(mesh: Mesh) -> float:
    return float(meshes.face_areas(mesh).sum())
