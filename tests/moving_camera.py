"""A camera that moves in front of a painted wall: images, depth and poses are exact."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from invgraph.geometry.camera import Camera
from invgraph.geometry.lens import Lens
from invgraph.geometry.transforms import exp_se3

HEIGHT, WIDTH = 64, 96
NORMAL, OFFSET = (0.25, -0.1, 1.0), 4.0  # of the wall: NORMAL . x = OFFSET


def camera(pose: Tensor, height: int = HEIGHT, width: int = WIDTH) -> Camera:
    """A camera as wide as its image is far."""
    focal = torch.full((2,), float(width), dtype=pose.dtype)
    principal = torch.tensor([width / 2, height / 2], dtype=pose.dtype)
    return Camera(Lens(focal, principal, height, width), pose)


def walk(count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """camera_from_world of a walk along the wall: sideways, a little forwards and turning."""
    steps = torch.arange(count, dtype=dtype)[:, None]
    way = torch.tensor([-0.08, 0.03, -0.05, 0.004, 0.006, -0.005], dtype=dtype)
    return exp_se3(steps * way)


def look(seen: Camera) -> tuple[Tensor, Tensor]:
    """What a camera sees of the wall: sRGB ``h w 3`` and depth ``h w``."""
    origin, direction = seen.rays()
    normal = torch.tensor(NORMAL, dtype=origin.dtype)
    distance = (OFFSET - origin @ normal) / (direction @ normal)
    points = origin + distance[..., None] * direction
    x, y = points[..., 0], points[..., 1]
    waves = [
        torch.sin(3.1 * x + 1.7 * y) + torch.sin(5.3 * y - 2.0 * x + 1),
        torch.sin(4.7 * x - 1.3 * y + 2) + torch.cos(2.9 * y),
        torch.cos(3.7 * x + 3.3 * y) + torch.sin(6.1 * x),
    ]
    image = 0.5 + 0.2 * torch.stack(waves, -1)
    depth = (points @ seen.camera_from_world[:3, :3].mT + seen.camera_from_world[:3, 3])[..., 2]
    return image, depth


def film(folder: Path, count: int = 24, shift: float = 0.0) -> Tensor:
    """Write the frames of a walk as a folder of photos, all cameras ``shift`` further right;
    returns the poses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    poses = walk(count)
    poses[:, 0, 3] -= shift
    for index, pose in enumerate(poses):
        image, _ = look(camera(pose))
        pixels = (image.clamp(0, 1) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(folder / f"frame_{index:03d}.png")
    return poses


def film_pairs(folder: Path, count: int, baseline: float) -> None:
    """Write a walk with two cameras side by side, in the layout of KITTI's odometry benchmark."""
    for camera_number, shift in ((2, 0.0), (3, baseline)):
        film(folder / f"image_{camera_number}", count, shift)
    rows = []
    for number, shift in enumerate((0.0, 0.0, 0.0, baseline)):
        centre = f"{WIDTH / 2 - 0.5} 0 0 {WIDTH} {HEIGHT / 2 - 0.5} 0 0 0 1 0"
        rows.append(f"P{number}: {WIDTH} 0 {centre.replace(' 0 0 ', f' {-WIDTH * shift} 0 ', 1)}")
    (folder / "calib.txt").write_text("\n".join(rows) + "\n")
