"""Meshes of primitive shapes."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from invgraph.geometry.mesh import Mesh
from invgraph.geometry.subdivision import subdivide


def icosphere(level: int = 2) -> Mesh:
    """Unit sphere of 20 * 4**level nearly equal triangles.

    Raises:
        ValueError: ``level`` is negative.
    """
    if level < 0:
        raise ValueError(f"icosphere level should be at least 0 but is {level}.")
    g = (1 + math.sqrt(5)) / 2
    points = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g)]
    points += [(0, -1, -g), (0, 1, -g), (g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]
    fan = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11)]
    belt = [(1, 5, 9), (5, 11, 4), (11, 10, 2), (10, 7, 6), (7, 1, 8)]
    belt += [(4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)]
    base = [(3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9)]
    vertices = torch.nn.functional.normalize(torch.tensor(points, dtype=torch.float64), dim=-1)
    mesh = Mesh(vertices, torch.tensor(fan + belt + base, dtype=torch.int32))
    for _ in range(level):
        mesh = subdivide(mesh)
        mesh = replace(mesh, vertices=torch.nn.functional.normalize(mesh.vertices, dim=-1))
    return replace(mesh, vertices=mesh.vertices.float())


def _grid_faces(rows: int, columns: int) -> Tensor:
    """Two triangles per cell of a (rows + 1) x (columns + 1) grid, seen with rows going down."""
    top = torch.arange(rows)[:, None] * (columns + 1) + torch.arange(columns)
    a, b = top, top + 1
    c, d = top + columns + 1, top + columns + 2
    triangles = torch.stack((torch.stack((a, c, d), -1), torch.stack((a, d, b), -1)), 2)
    return triangles.reshape(-1, 3).int()


def _grid_uv(rows: int, columns: int) -> Tensor:
    v, u = torch.meshgrid(
        torch.linspace(0, 1, rows + 1), torch.linspace(0, 1, columns + 1), indexing="ij"
    )
    return torch.stack((u, v), -1).reshape(-1, 2)


def uv_sphere(rows: int = 32, columns: int = 64) -> Mesh:
    """Unit sphere in latitudes and longitudes, unwrapped like a world map.

    The poles are at y = +1 (top row of the texture) and y = -1; u = 0 is towards -z, a quarter is
    -x, the middle is +z. Vertices are shared across the seam, texture coordinates are not.

    Raises:
        ValueError: fewer than 2 rows or 3 columns.
    """
    if rows < 2 or columns < 3:
        raise ValueError(f"uv_sphere needs 2 rows and 3 columns but got {rows} and {columns}.")
    theta = torch.arange(1, rows, dtype=torch.float64)[:, None] * (math.pi / rows)
    phi = torch.arange(columns, dtype=torch.float64)[None] * (2 * math.pi / columns)
    ring = torch.stack(
        (-theta.sin() * phi.sin(), theta.cos().expand(-1, columns), -theta.sin() * phi.cos()), -1
    )
    poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    vertices = torch.cat((poles[:1], ring.reshape(-1, 3), poles[1:])).float()
    uv_faces = _grid_faces(rows, columns)
    row, column = uv_faces // (columns + 1), uv_faces % (columns + 1)
    faces = 1 + (row - 1) * columns + column % columns
    faces = torch.where(row == 0, 0, torch.where(row == rows, len(vertices) - 1, faces))
    # The two triangles of a cell at a pole: one of them has no area.
    whole = (
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    )
    return Mesh(vertices, faces[whole].int(), _grid_uv(rows, columns), uv_faces[whole])


def torus(major: float = 1.0, minor: float = 0.4, rows: int = 32, columns: int = 64) -> Mesh:
    """Torus around the y axis, unwrapped with u around the axis and v around the tube.

    Raises:
        ValueError: fewer than 3 rows or columns, or radii that make it cross itself.
    """
    if rows < 3 or columns < 3:
        raise ValueError(f"torus needs 3 rows and 3 columns but got {rows} and {columns}.")
    if not 0 < minor < major:
        raise ValueError(f"torus needs 0 < minor < major but got {minor} and {major}.")
    theta = torch.arange(rows, dtype=torch.float64)[:, None] * (2 * math.pi / rows)
    phi = torch.arange(columns, dtype=torch.float64)[None] * (2 * math.pi / columns)
    radius = major + minor * theta.sin()
    height = (minor * theta.cos()).expand(-1, columns)
    vertices = torch.stack((-radius * phi.sin(), height, -radius * phi.cos()), -1)
    uv_faces = _grid_faces(rows, columns)
    row, column = uv_faces // (columns + 1), uv_faces % (columns + 1)
    faces = (row % rows) * columns + column % columns
    return Mesh(vertices.reshape(-1, 3).float(), faces.int(), _grid_uv(rows, columns), uv_faces)


def plane(rows: int = 1, columns: int = 1) -> Mesh:
    """Square from -1 to 1 in x and y at z = 0 with normal +z; the texture's top is at y = 1."""
    uv = _grid_uv(rows, columns)
    vertices = torch.stack((2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1], torch.zeros(len(uv))), -1)
    return Mesh(vertices, _grid_faces(rows, columns), uv)


def cube() -> Mesh:
    """Cube from -1 to 1 with 8 shared vertices; every side shows the whole texture upright."""
    corners = [(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]
    # Per side, seen from outside: top left, bottom left, bottom right, top right.
    sides = [(7, 5, 4, 6), (2, 0, 1, 3), (3, 1, 5, 7), (6, 4, 0, 2), (2, 3, 7, 6), (1, 0, 4, 5)]
    faces = [(q[i], q[j], q[k]) for q in sides for i, j, k in ((0, 1, 2), (0, 2, 3))]
    uv = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    uv_faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32).repeat(6, 1)
    return Mesh(torch.tensor(corners), torch.tensor(faces, dtype=torch.int32), uv, uv_faces)
