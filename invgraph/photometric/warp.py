"""View synthesis from depth and motion."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from invgraph.geometry.camera import Camera


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A view synthesised from another camera's image.

    Attributes:
        image: what the camera would see.
        known: whether the pixel's surface is in front of the other camera and inside its image.
            Elsewhere ``image`` shows the nearest border.
        depth: of the pixel's surface, along the other camera's optical axis.
    """

    image: Float[Tensor, "*batch h w c"]
    known: Bool[Tensor, "*batch h w"]
    depth: Float[Tensor, "*batch h w"]


def warp(
    image: Float[Tensor, "*batch hs ws c"],
    source: Camera,
    depth: Float[Tensor, "*batch h w"],
    camera: Camera,
) -> Synthesis:
    """What a camera would see, synthesised from another camera's image and its own depth.

    Sampling is bilinear. Surfaces hidden from ``source`` show what hides them.

    Args:
        image: what ``source`` saw; any channels.
        source: camera of ``image``.
        depth: along the optical axis of ``camera``.
        camera: the camera whose view is synthesised.

    Raises:
        ValueError: an image or depth of another size than its camera.

    Gradients:
        Reach ``image``, ``depth`` and the tensors of both cameras; none where nothing is known.

    Source:
        Zhou et al., Unsupervised learning of depth and ego-motion from video (2017).
    """
    if tuple(image.shape[-3:-1]) != (source.height, source.width):
        raise ValueError(
            f"image is {image.shape[-3]}x{image.shape[-2]} (h x w) but its camera is "
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
        image.movedim(-1, -3).reshape(-1, image.shape[-1], *image.shape[-3:-1]),
        grid.reshape(-1, *grid.shape[-3:]),
        padding_mode="border",
        align_corners=False,
    )
    sampled = sampled.movedim(-3, -1).reshape(*depth.shape, image.shape[-1])
    return Synthesis(sampled, inside, ahead)


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
    straight = camera.straight()
    if not camera.lens.bends:
        return image, straight
    # From the same place the view does not depend on depth.
    depth = torch.ones(camera.height, camera.width, dtype=image.dtype)
    return warp(image, camera, depth, straight).image, straight
