"""Films of a textured room, computed ray by ray, with cameras that are known exactly."""

from pathlib import Path

import numpy as np
from PIL import Image

from invgraph.data.frame import Frame, make_frame, make_lens
from invgraph.geometry.lens import Lens

HALF = np.array([3.0, 2.0, 4.0])  # of the room, metres


def lens(height: int, width: int, focal: float) -> Lens:
    return make_lens((focal, focal), (width / 2, height / 2), (height, width))


def rotation(yaw: float, pitch: float) -> np.ndarray:
    """world_from_camera: about the camera's y axis, then about the world's x axis."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ about_y


def walk(count: int) -> np.ndarray:
    """``n 4 4`` world_from_camera of someone who walks along a bow and looks around."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    for index, t in enumerate(np.linspace(0, 1, count)):
        poses[index, :3, :3] = rotation(0.25 * np.sin(3 * t), 0.08 * np.cos(4 * t))
        poses[index, :3, 3] = [1.2 * t - 0.6, 0.25 * np.sin(4 * t), 0.6 * t * t - 1.0]
    return poses


def _noise(where: np.ndarray, salt: int) -> np.ndarray:
    """Smooth noise on the plane, ``n 2`` to ``n``, mean 0: three sizes of random lattices."""
    total = np.zeros(len(where))
    for octave, (size, strength) in enumerate(((0.5, 40.0), (0.22, 40.0), (0.1, 25.0))):
        lattice = np.random.default_rng(100 * salt + octave).uniform(-1, 1, (64, 64))
        place = where / size + 32
        low = np.floor(place).astype(int)
        part = place - low
        part = part * part * (3 - 2 * part)
        u, v = low.T % 64
        top = lattice[v, u] * (1 - part[:, 0]) + lattice[v, (u + 1) % 64] * part[:, 0]
        down = lattice[(v + 1) % 64, u] * (1 - part[:, 0])
        down = down + lattice[(v + 1) % 64, (u + 1) % 64] * part[:, 0]
        total += strength * (top * (1 - part[:, 1]) + down * part[:, 1])
    return total


def picture(lens: Lens, world_from_camera: np.ndarray) -> np.ndarray:
    """``h w`` levels, 0 to 255, the mean of four rays per pixel."""
    height, width = lens.height, lens.width
    grid = (np.arange(2 * height) + 0.5) / 2, (np.arange(2 * width) + 0.5) / 2
    v, u = np.meshgrid(*grid, indexing="ij")
    rays = np.stack((u, v, np.ones_like(u)), -1).reshape(-1, 3)
    rays[:, :2] = (rays[:, :2] - lens.principal.numpy()) / lens.focal.numpy()
    rays = rays @ world_from_camera[:3, :3].T
    origin = world_from_camera[:3, 3]
    rays = np.where(np.abs(rays) < 1e-9, 1e-9, rays)
    reach = (np.sign(rays) * HALF - origin) / rays
    wall = reach.argmin(1)
    hit = origin + rays * reach.min(1)[:, None]
    levels = np.zeros(len(rays))
    for axis in range(3):
        for side in (-1, 1):
            mine = (wall == axis) & (np.sign(rays[:, axis]) == side)
            others = [k for k in range(3) if k != axis]
            levels[mine] = 128 + _noise(hit[mine][:, others], 2 * axis + (side > 0))
    return levels.reshape(height, 2, width, 2).mean((1, 3)).clip(0, 255)


def film(folder: Path, lens: Lens, poses: np.ndarray) -> list[Frame]:
    """Frames of a film that is written to a folder."""
    frames = []
    for index, pose in enumerate(poses):
        path = folder / f"{index:04d}.png"
        Image.fromarray(picture(lens, pose).round().astype(np.uint8)).save(path)
        frames.append(make_frame(path, name=path.stem))
    return frames
