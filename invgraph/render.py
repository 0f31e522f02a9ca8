"""From a scene and a camera to an image: ``render(scene, camera)``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from invgraph import environment, shading
from invgraph.appearance import Placed
from invgraph.batching import batch_shape, flatten
from invgraph.camera import Camera
from invgraph.pixels import Pixels
from invgraph.raster import Fragments, antialias, buffers, rasterize
from invgraph.scene import EnvironmentMap, Scene
from invgraph.tree import map_tensors

Output = Literal["color", "alpha", "depth", "normal", "albedo", "object_id"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
BACKENDS = ("raster", "mitsuba", "pytorch3d")


@dataclass(frozen=True)
class Render:
    """What a camera sees of a scene; fields that were not asked for are None.

    Attributes:
        color: linear RGB radiance, not clamped, over the background.
        alpha: how much of each pixel is covered by objects, 0 to 1.
        depth: along the optical axis, of the surface at the pixel's centre; 0 where there is none.
        normal: unit, world frame, towards the camera, of the surface at the pixel's centre; 0
            where there is none.
        albedo: base colour, antialiased against black.
        object_id: index into ``scene.objects`` at the pixel's centre; -1 where there is none.
    """

    color: Float[Tensor, "*batch h w 3"] | None = None
    alpha: Float[Tensor, "*batch h w"] | None = None
    depth: Float[Tensor, "*batch h w"] | None = None
    normal: Float[Tensor, "*batch h w 3"] | None = None
    albedo: Float[Tensor, "*batch h w 3"] | None = None
    object_id: Int32[Tensor, "*batch h w"] | None = None


def render(
    scene: Scene,
    camera: Camera,
    *,
    outputs: Sequence[str] = OUTPUTS,
    backend: str = "raster",
) -> Render:
    """Render a scene.

    Batch axes of the camera, of object poses and vertices, and of lights broadcast with each other:
    many cameras of one scene, many poses for one camera, or one of each per item.

    Args:
        scene: what is seen.
        camera: what sees it.
        outputs: names of the fields to compute; the others cost nothing.
        backend: "raster", our differentiable rasterizer; "mitsuba", path tracing without gradients;
            "pytorch3d", its rasterizer with our shading.

    Returns:
        The fields that were asked for.

    Raises:
        ValueError: unknown output or backend, batch axes that do not broadcast, or a background
            image of another size than the camera's.
        ImportError: the backend's package is not installed.

    Gradients:
        Reach every floating-point tensor of scene and camera from ``color`` and ``alpha``, through
        silhouettes as well; from ``depth`` and ``normal`` inside silhouettes only.

    Source:
        Laine et al., Modular primitives for high-performance differentiable rendering (2020), for
        the sequence of rasterization, interpolation, texturing and antialiasing.
    """
    wanted = frozenset(outputs)
    unknown = sorted(wanted - set(OUTPUTS))
    if unknown:
        raise ValueError(f"unknown outputs {unknown}; choose among {', '.join(OUTPUTS)}.")
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; choose among {', '.join(BACKENDS)}.")
    _check_background(scene, camera)
    batch = batch_shape(scene, camera)
    scene, camera = flatten(scene, camera, batch)
    if backend == "mitsuba":
        from invgraph.backends import mitsuba

        result = mitsuba.render(scene, camera, wanted)
    elif backend == "pytorch3d":
        from invgraph.backends import pytorch3d

        result = draw(scene, camera, wanted, pytorch3d.rasterize)
    else:
        result = draw(scene, camera, wanted, rasterize)
    return map_tensors(lambda tensor: tensor.reshape(*batch, *tensor.shape[1:]), result)


def draw(
    scene: Scene, camera: Camera, wanted: frozenset[str], rasterizer: Callable[..., Fragments]
) -> Render:
    """Render by rasterization.

    Args:
        scene: with one batch axis, or none, on every tensor that may have them.
        camera: with one batch axis.
        wanted: names of outputs.
        rasterizer: what finds the visible triangle of each pixel.
    """
    placed = [Placed.of(item, camera) for item in scene.objects]
    screen, faces, starts = _join(placed, camera)
    shaded = not wanted.isdisjoint(("color", "normal", "albedo"))
    fragments = rasterizer(
        screen,
        faces,
        camera.height,
        camera.width,
        near=camera.near,
        derivatives=shaded and any(item.textured for item in placed),
    )
    owner = None
    if "object_id" in wanted:
        bounds = torch.tensor(starts, dtype=torch.int32, device=faces.device)
        owner = torch.bucketize(fragments.face, bounds, out_int32=True, right=True) - 1

    blended = [name for name in ("color", "alpha", "albedo") if name in wanted]
    layer = behind(scene, camera, blended) if blended else None
    normal = None
    if "normal" in wanted:
        normal = screen.new_zeros(len(screen), camera.height, camera.width, 3)
    if shaded or "alpha" in wanted:
        lights = scene.lights if "color" in wanted else ()
        prepared = shading.split(lights, camera.camera_from_world)
        for index, item in enumerate(placed):
            here = Pixels.showing(fragments, starts[index], len(item.object.mesh.faces))
            if here.face.shape[1] == 0:
                continue
            found = item.look(here, fragments, prepared, camera, wanted)
            if layer is not None:
                strips = [1.0 if name == "alpha" else found[name] for name in blended]
                layer = here.unpack(strips, layer)
            if normal is not None:
                normal = here.unpack([found["normal"]], normal)
    fields = {}
    if layer is not None:
        layer = antialias(layer, fragments, screen, faces)
        widths = [1 if name == "alpha" else 3 for name in blended]
        fields = dict(zip(blended, layer.split(widths, -1), strict=True))
    if "alpha" in fields:
        fields["alpha"] = fields["alpha"].squeeze(-1)
    if "depth" in wanted:
        fields["depth"] = fragments.depth
    if owner is not None:
        fields["object_id"] = owner
    return Render(normal=normal, **fields)


def _join(placed: list[Placed], camera: Camera) -> tuple[Tensor, Tensor, list[int]]:
    """All objects as one mesh on the screen, and the first face of each."""
    if len(placed) == 1:
        return placed[0].screen, placed[0].object.mesh.faces, [0]
    pose = camera.camera_from_world
    if not placed:
        return pose.new_zeros(len(pose), 0, 3), pose.new_zeros(0, 3, dtype=torch.int32), []
    faces, starts, vertex, face = [], [], 0, 0
    for item in placed:
        faces.append(item.object.mesh.faces.int() + vertex)
        starts.append(face)
        vertex += item.screen.shape[1]
        face += len(faces[-1])
    return torch.cat([item.screen for item in placed], 1), torch.cat(faces), starts


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
        parts.append(part.expand(*size, part.shape[-1]))
    return torch.cat(parts, -1)


def _panorama(background: EnvironmentMap, camera: Camera) -> Tensor:
    """A panorama seen by a camera."""
    directions = camera.rays()[1]
    if background.frame == "camera":
        rotation = camera.camera_from_world[:, None, :3, :3]
        directions = directions @ rotation.mT
    return environment.look_up(background.radiance, directions)


def _check_background(scene: Scene, camera: Camera) -> None:
    image = scene.background
    if isinstance(image, Tensor) and image.ndim == 3:
        height, width = image.shape[:2]
        if (height, width) != (camera.height, camera.width):
            raise ValueError(
                f"background is {height}x{width} (h x w) but camera is "
                f"{camera.height}x{camera.width}; resize one of them first."
            )
