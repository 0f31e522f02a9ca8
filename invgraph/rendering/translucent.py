"""Translucent geometry over what is opaque."""

import torch
from jaxtyping import Float
from torch import Tensor

from invgraph.geometry import transforms
from invgraph.geometry.camera import Camera
from invgraph.geometry.gaussians import Gaussians
from invgraph.raster.splat import splat
from invgraph.scene import Object

# Squared pixels that are added to every Gaussian in the image, about a pixel's own size, so that
# none falls between pixels (Kerbl et al. 2023).
_PIXEL = 0.3


def check_translucent(item: Object) -> None:
    """Refuse a cloud of Gaussians that is made of something that only surfaces can have.

    Raises:
        ValueError: its material answers to light, or is no colour per Gaussian or for all.
    """
    if not item.material.unlit or item.material.albedo_kind not in ("constant", "vertex"):
        raise ValueError(
            "Gaussians hold their light: their material should be unlit, with one colour or one "
            'per Gaussian, as unlit(colors, "vertex") gives it.'
        )


def blend_over(
    layers: dict[str, Float[Tensor, "b h w c"]],
    items: list[Object],
    camera: Camera,
    limit: Float[Tensor, "b h w"],
) -> dict[str, Float[Tensor, "b h w c"]]:
    """Layers with the Gaussians of some objects over them, where nothing opaque is before those.

    Args:
        layers: images by the name of the output: colour, albedo, alpha.
        items: objects whose geometry are Gaussians, with one batch axis or none on each tensor.
        camera: with one batch axis.
        limit: depth of the opaque surface; 0 where there is none.

    Gradients:
        Reach layers, Gaussians, their poses and colours, and the camera's pose and focal length;
        as :func:`splat` says.
    """
    parts = [_flattened(item, camera) for item in items]
    centres, covariances, depth, opacity, colors = (
        torch.cat(values, 1) for values in zip(*parts, strict=True)
    )
    channels = [torch.ones_like(colors[..., :1]) if name == "alpha" else colors for name in layers]
    blended, through = splat(
        centres, covariances, depth, opacity, torch.cat(channels, -1), limit, camera.near
    )
    widths = [part.shape[-1] for part in channels]
    over = blended.split(widths, -1)
    return {
        name: new + through[..., None] * old
        for (name, old), new in zip(layers.items(), over, strict=True)
    }


def _flattened(item: Object, camera: Camera) -> tuple[Tensor, ...]:
    """Centres, covariances, depths, opacities and colours in the images."""
    cloud = item.geometry
    assert isinstance(cloud, Gaussians)
    count, batch = cloud.opacity.shape[-1], len(camera.camera_from_world)
    world = transforms.apply(item.world_from_object, cloud.means)
    world = world if world.ndim == 3 else world[None]
    local = transforms.apply(camera.camera_from_world, world)
    pixels, depth = camera.project(world)
    rotation = camera.camera_from_world[:, :3, :3] @ item.world_from_object[..., :3, :3]
    spread = rotation[:, None] @ cloud.covariances @ rotation[:, None].mT
    slope = camera.lens.jacobian(local)
    flat = slope @ spread @ slope.mT + _PIXEL * torch.eye(2).to(slope)
    opacity = cloud.opacity.expand(batch, count)
    if item.present is not None:
        opacity = torch.where(item.present.reshape(-1, 1), opacity, 0.0)
    colors = item.material.albedo
    colors = colors if item.material.albedo_kind == "vertex" else colors[..., None, :]
    if item.tint is not None:
        colors = colors * item.tint[..., None, :]
    return pixels, flat, depth, opacity, colors.expand(batch, count, 3)
