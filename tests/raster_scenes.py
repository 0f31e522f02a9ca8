"""Small scenes on the screen that several tests of the rasterizer share."""

from collections.abc import Sequence

import torch

from invgraph.geometry.primitives import icosphere


def homogeneous(points: Sequence[tuple[float, float, float]], dtype=torch.float64) -> torch.Tensor:
    """(u, v, z) to (u z, v z, z)."""
    p = torch.tensor(points, dtype=dtype)
    return torch.cat([p[:, :2] * p[:, 2:], p[:, 2:]], -1)


def ball(level: int, size: float, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """A sphere that fills most of an image of ``size`` pixels, a little off its centre."""
    mesh = icosphere(level)
    turn = torch.linalg.qr(torch.tensor([[1.0, 2, 3], [0, 1, 4], [5, 6, 0]]))[0]
    x, y, z = (mesh.vertices @ turn.T).unbind(-1)
    z = z + 4
    screen = torch.stack(
        [1.6 * size * x + 0.51 * size * z, 1.6 * size * y + 0.48 * size * z, z], -1
    )
    return screen.to(dtype), mesh.faces.int()


def soup(seed: int, count: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """Random triangles, some behind the camera."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.rand(3 * count, 1, generator=rng) * 2 - 0.3
    place = torch.rand(3 * count, 2, generator=rng) * 40 - 4
    return torch.cat([place * z.abs(), z], -1), torch.arange(3 * count, dtype=torch.int32).view(
        -1, 3
    )
