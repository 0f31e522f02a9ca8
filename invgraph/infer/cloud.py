"""A coloured point cloud that grows with a video and stays small enough to hold."""

import numpy as np
import torch

from invgraph.data.point_files import encode_colored_points
from invgraph.geometry.camera import Camera

MOST = 2_000_000
PER_FRAME = 4_000


class Cloud:
    """Some points of every frame; when there are too many, half of every frame's are dropped.

    Args:
        most: points to hold.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._stride = 1
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = 0
        self._random = np.random.default_rng(0)

    def __len__(self) -> int:
        return self._count

    def add(
        self, camera: Camera, photo: np.ndarray, depth: np.ndarray, sigma: np.ndarray | None
    ) -> None:
        """Add points of a frame: where its uncertainty is known, of the surer half of the pixels.

        Args:
            camera: of the photo, with its pose.
            photo: ``h w 3`` bytes, sRGB.
            depth: of any size.
            sigma: of the same size.
        """
        height, width = depth.shape
        good = np.arange(depth.size)
        if sigma is not None:
            good = np.flatnonzero(sigma <= np.median(sigma))
        # In random order, so that every second point is a fair half of them.
        chosen = self._random.permutation(good)[:PER_FRAME][:: self._stride]
        rows, columns = np.divmod(chosen, width)
        at = np.stack([columns + 0.5, rows + 0.5], 1)
        small = camera.to(torch.float64).resize(height, width)
        depths = torch.from_numpy(depth.astype(np.float64).ravel()[chosen])
        points = small.unproject_pixels(torch.from_numpy(at), depths).numpy().astype(np.float32)
        scale = np.array([camera.width / width, camera.height / height])
        u, v = (at * scale).astype(int).T
        self._parts.append((points, photo[v, u]))
        self._count += len(points)
        if self._count > self._most:
            self._stride *= 2
            self._parts = [(places[::2], colors[::2]) for places, colors in self._parts]
            self._count = sum(len(places) for places, _ in self._parts)

    def encode(self) -> bytes:
        """The bytes of a PLY file."""
        points, colors = zip(*self._parts, strict=True)
        return encode_colored_points(np.concatenate(points), np.concatenate(colors))
