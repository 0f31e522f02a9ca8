"""Small meshes on the screen, for the tests of the rasterizer."""

import math

import torch


def homogeneous(points: list) -> torch.Tensor:
    """(u, v, z) to (u z, v z, z)."""
    p = torch.tensor(points, dtype=torch.float32)
    return torch.cat([p[..., :2] * p[..., 2:], p[..., 2:]], -1)


def faces_of(*rows: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, 3)


def sphere(rings: int, sectors: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed unit sphere, counter-clockwise seen from outside."""
    theta = torch.arange(1, rings) * math.pi / rings
    phi = torch.arange(sectors) * 2 * math.pi / sectors
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    ring = torch.stack([t.sin() * p.cos(), t.cos(), t.sin() * p.sin()], -1).reshape(-1, 3)
    vertices = torch.cat([ring, torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])])
    index = torch.arange((rings - 1) * sectors).reshape(rings - 1, sectors)
    turned = index.roll(-1, 1)
    a, b, c, d = index[:-1], turned[:-1], index[1:], turned[1:]
    north = torch.full((sectors,), len(ring))
    parts = [
        torch.stack([a, b, c], -1).reshape(-1, 3),
        torch.stack([b, d, c], -1).reshape(-1, 3),
        torch.stack([north, turned[0], index[0]], -1),
        torch.stack([north + 1, index[-1], turned[-1]], -1),
    ]
    return vertices, torch.cat(parts).int()


def on_screen(vertices: torch.Tensor, size: float, distance: float = 4.0) -> torch.Tensor:
    """A turned and shifted view of points near the origin; ``size`` is the image's edge in px."""
    c, s = math.cos(0.3), math.sin(0.3)
    turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ torch.tensor(
        [[1, 0, 0], [0, c, -s], [0, s, c]]
    )
    x, y, z = (vertices @ turn.T + torch.tensor([0.0, 0.0, distance])).unbind(-1)
    focal = 1.69 * size * distance / 4
    return torch.stack([x * focal + z * size / 2, y * focal + z * size / 2, z], -1)
