"""Small meshes on the screen, for the tests of the rasterizer."""

import math

import torch

from invgraph.geometry.primitives import uv_sphere


def homogeneous(points: list) -> torch.Tensor:
    """(u, v, z) to (u z, v z, z)."""
    p = torch.tensor(points, dtype=torch.float32)
    return torch.cat([p[..., :2] * p[..., 2:], p[..., 2:]], -1)


def faces_of(*rows: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, 3)


def sphere(rings: int, sectors: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed unit sphere, counter-clockwise seen from outside."""
    mesh = uv_sphere(rings, sectors)
    return mesh.vertices, mesh.faces


def on_screen(vertices: torch.Tensor, size: float, distance: float = 4.0) -> torch.Tensor:
    """A turned and shifted view of points near the origin; ``size`` is the image's edge in px."""
    c, s = math.cos(0.3), math.sin(0.3)
    turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ torch.tensor(
        [[1, 0, 0], [0, c, -s], [0, s, c]]
    )
    x, y, z = (vertices @ turn.T + torch.tensor([0.0, 0.0, distance])).unbind(-1)
    focal = 1.69 * size * distance / 4
    return torch.stack([x * focal + z * size / 2, y * focal + z * size / 2, z], -1)
