"""View synthesis from depth and motion."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.camera import Camera


def warp(
    image: Float[Tensor, "hs ws c"],
    source: Camera,
    depth: Float[Tensor, "h w"],
    camera: Camera,
) -> tuple[Float[Tensor, "h w c"], Bool[Tensor, "h w"]]:
    """What a camera would see, synthesised from another camera's image and its own depth.

    Args:
        image: what ``source`` saw.
        source: camera of ``image``.
        depth: along the optical axis of ``camera``.
        camera: the camera whose view is synthesised.

    Returns:
        The image, sampled bilinearly, and where it is known: in front of ``source`` and inside
        ``image``. Elsewhere the nearest border shows. Surfaces hidden from ``source`` show what
        hides them.

    Raises:
        ValueError: an image or depth of another size than its camera.

    Gradients:
        Reach ``image``, ``depth`` and the tensors of both cameras; none where nothing is known.

    Source:
        Zhou et al., Unsupervised learning of depth and ego-motion from video (2017).
    """
    if tuple(image.shape[:2]) != (source.height, source.width):
        raise ValueError(
            f"image is {image.shape[0]}x{image.shape[1]} (h x w) but its camera is "
            f"{source.height}x{source.width}; resize one of them first."
        )
    points = camera.unproject(depth)
    pixels, ahead = source.project(points.flatten(-3, -2))
    pixels = pixels.unflatten(-2, tuple(depth.shape[-2:]))
    ahead = ahead.unflatten(-1, tuple(depth.shape[-2:]))
    size = pixels.new_tensor([source.width, source.height])
    inside = (ahead > source.near) & ((pixels >= 0) & (pixels <= size)).all(-1)
    grid = torch.where(inside[..., None], 2 * pixels / size - 1, -2.0)
    sampled = torch.nn.functional.grid_sample(
        image.movedim(-1, 0)[None],
        grid[None],
        padding_mode="border",
        align_corners=False,
    )
    return sampled[0].movedim(0, -1), inside


def undistort(
    image: Float[Tensor, "h w c"], camera: Camera
) -> tuple[Float[Tensor, "h w c"], Camera]:
    """The photo that the same camera without lens distortion would have taken.

    Args:
        image: what ``camera`` saw.
        camera: without batch axes.

    Returns:
        The image, and its camera; both are those given where there is no distortion. What the
        photo does not show takes the colour of the nearest border.
    """
    straight = replace(camera, distortion=None)
    if camera.distortion is None or not bool((camera.distortion != 0).any()):
        return image, straight
    # From the same place the view does not depend on depth.
    depth = torch.ones(camera.height, camera.width, dtype=image.dtype)
    return warp(image, camera, depth, straight)[0], straight
