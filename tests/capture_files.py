"""Small hand-made captures, and a check of cameras against real photos."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invgraph.data import Capture, Frame, read_capture
from invgraph.geometry.camera import Camera

SIDE = (12, 16)  # height, width


def write_image(path: Path, value: int | tuple = 128, mode="RGB", size=SIDE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size[1], size[0]), value).save(path)


def write_text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def expect_error(folder: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_capture(folder)
    assert "\n" not in str(caught.value)


def pixel(camera: Camera, point: list[float]) -> list[float]:
    """u, v, depth of one world point."""
    pixels, depth = camera.project(torch.tensor([point], dtype=torch.float32))
    return [*pixels[0].tolist(), depth[0].item()]


def matches(first: Frame, second: Frame) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (corner origin, float64) of the same corners in two photos, a few of them wrong."""
    from skimage.feature import ORB, match_descriptors

    found = []
    for frame in (first, second):
        with Image.open(frame.image_path) as image:
            grey = np.asarray(image.convert("L"), np.float64) / 255
        corners = ORB(n_keypoints=300, n_scales=3)
        corners.detect_and_extract(grey)
        places = corners.keypoints
        assert places is not None
        found.append((places[:, ::-1] + 0.5, corners.descriptors))
    pairs = match_descriptors(found[0][1], found[1][1], cross_check=True, max_ratio=0.75)
    assert len(pairs) > 20
    first_points, second_points = (
        torch.from_numpy(np.ascontiguousarray(found[side][0][pairs[:, side]])) for side in (0, 1)
    )
    return first_points, second_points


def epipolar_px(pairs: tuple[torch.Tensor, torch.Tensor], cameras: tuple[Camera, ...]) -> float:
    """Median distance of matches from their epipolar lines, pixels of the second photo."""
    a, b = (camera.to(torch.float64) for camera in cameras)
    motion = b.camera_from_world @ torch.linalg.inv(a.camera_from_world)
    x, y, z = motion[:3, 3].tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    essential = cross @ motion[:3, :3]
    fundamental = torch.linalg.inv(b.K).T @ essential @ torch.linalg.inv(a.K)
    ones = torch.ones(len(pairs[0]), 1, dtype=torch.float64)
    lines = torch.cat([pairs[0], ones], 1) @ fundamental.T
    off = (torch.cat([pairs[1], ones], 1) * lines).sum(1).abs() / lines[:, :2].norm(dim=1)
    return off.median().item()


def known_cameras(capture: Capture, *indices: int) -> tuple[Camera, ...]:
    return tuple(capture.frames[index].known_camera for index in indices)
