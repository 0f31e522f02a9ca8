"""What is behind everything: colours, images, panoramas."""

import numpy as np
import torch
from torch import Tensor

from invgraph.geometry.camera import Camera
from invgraph.kernels import buffers
from invgraph.rendering import environment
from invgraph.scene import BackgroundImage, EnvironmentMap, Scene


def behind(scene: Scene, camera: Camera, blended: list[str]) -> Tensor:
    """The layer that shows where there is no object: the background, nothing in other channels."""
    size = (len(camera.camera_from_world), camera.height, camera.width)
    if scene.background is None:
        channels = sum(1 if name == "alpha" else 3 for name in blended)
        return torch.from_numpy(buffers.empty((*size, channels), np.float32)).zero_()
    empty = camera.focal.new_zeros(1, 1, 1, 1)
    parts = []
    for name in blended:
        part = empty.expand(*size, 1 if name == "alpha" else 3)
        if name == "color":
            part = scene.background
            if isinstance(part, EnvironmentMap):
                part = _panorama(part, camera)
            elif isinstance(part, BackgroundImage):
                part = part.pixels
            else:
                part = part.reshape(-1, 1, 1, 3)
        parts.append(part.expand(*size, part.shape[-1]))
    return torch.cat(parts, -1)


def _panorama(background: EnvironmentMap, camera: Camera) -> Tensor:
    """A panorama seen by a camera."""
    directions = camera.rays()[1]
    if background.frame == "camera":
        rotation = camera.camera_from_world[:, None, :3, :3]
        directions = directions @ rotation.mT
    if background.radiance.ndim == 3:
        return environment.look_up(background.radiance, directions)
    items = zip(background.radiance, directions, strict=True)
    return torch.stack([environment.look_up(*item) for item in items])


def check_background(scene: Scene, camera: Camera) -> None:
    image = scene.background
    if isinstance(image, BackgroundImage):
        height, width = image.pixels.shape[-3:-1]
        if (height, width) != (camera.height, camera.width):
            raise ValueError(
                f"background is {height}x{width} (h x w) but camera is "
                f"{camera.height}x{camera.width}; resize one of them first."
            )
