"""From a scene and a camera to an image: ``render(scene, camera)``."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from invgraph.geometry.camera import Camera
from invgraph.geometry.gaussians import Gaussians
from invgraph.geometry.mesh import Mesh
from invgraph.geometry.tensor_tree import flatten as named_tensors
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.geometry.topology import Topology
from invgraph.raster import Fragments, antialias, rasterize
from invgraph.raster.pixels import Pixels
from invgraph.rendering.background import behind, check_background
from invgraph.rendering.illumination import sort_lights
from invgraph.rendering.placed_object import Placed
from invgraph.rendering.result import Render
from invgraph.rendering.translucent import blend_over, check_translucent
from invgraph.scene import Scene
from invgraph.scene.batching import batch_shape, flatten

Output = Literal["color", "alpha", "depth", "normal", "albedo", "object_id"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
BACKENDS = ("raster", "mitsuba", "pytorch3d")


def render(
    scene: Scene,
    camera: Camera,
    *,
    outputs: Sequence[str] = OUTPUTS,
    backend: str = "raster",
) -> Render:
    """Render a scene.

    Batch axes of the camera and of every tensor of the scene broadcast with each other: many
    cameras of one scene, many poses for one camera, or one of each per item.

    Meshes are opaque and drawn first. Gaussians are blended over them where no mesh is before them;
    ``depth``, ``normal`` and ``object_id`` are those of the meshes.

    Args:
        scene: what is seen.
        camera: what sees it.
        outputs: names of the fields to compute; the others cost nothing.
        backend: "raster", our differentiable rasterizer; "mitsuba", path tracing without gradients;
            "pytorch3d", its rasterizer with our shading.

    Returns:
        The fields that were asked for.

    Raises:
        ValueError: unknown output or backend, tensors of another precision than float32, batch axes
            that do not broadcast, or a background image of another size than the camera's.
        ImportError: the backend's package is not installed.

    Gradients:
        Reach the floating-point tensors of scene and camera, but for ``Object.visibility``, from
        ``color`` and ``alpha``, through silhouettes as well; from ``depth`` and ``normal`` inside
        silhouettes only.

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
    _check_dtypes(scene, camera)
    check_background(scene, camera)
    batch = batch_shape(scene, camera)
    scene, camera = flatten(scene, camera, batch)
    if backend == "mitsuba":
        from invgraph.rendering.backends import mitsuba

        result = mitsuba.render(scene, camera, wanted)
    elif backend == "pytorch3d":
        from invgraph.rendering.backends import pytorch3d

        result = draw(scene, camera, wanted, pytorch3d.rasterize)
    else:
        result = draw(scene, camera, wanted, rasterize)
    return map_tensors(lambda tensor: tensor.reshape(*batch, *tensor.shape[1:]), result)


def _check_dtypes(scene: Scene, camera: Camera) -> None:
    for path, tensor in named_tensors({"scene": scene, "camera": camera}).items():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ValueError(
                f"{path} is {tensor.dtype}, expected torch.float32; call .float() on it."
            )


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
    opaque = [(i, item) for i, item in enumerate(scene.objects) if isinstance(item.geometry, Mesh)]
    clouds = [item for item in scene.objects if isinstance(item.geometry, Gaussians)]
    for item in clouds:
        check_translucent(item)
    placed = [Placed.of(item, camera) for _, item in opaque]
    screen, faces, starts = _join(placed, camera)
    shaded = not wanted.isdisjoint(("color", "normal", "albedo"))
    fragments = rasterizer(
        screen,
        faces,
        camera.height,
        camera.width,
        near=camera.near,
        derivatives=shaded and any(item.object.material.textured for item in placed),
    )
    owner = None
    if "object_id" in wanted:
        bounds = torch.tensor(starts, dtype=torch.int32, device=screen.device)
        owner = torch.bucketize(fragments.face, bounds, out_int32=True, right=True) - 1
        if clouds:  # object ids count all objects
            numbers = [*(i for i, _ in opaque), -1]
            owner = torch.tensor(numbers, dtype=torch.int32, device=owner.device)[owner.long()]

    blended = [name for name in ("color", "alpha", "albedo") if name in wanted]
    layer = behind(scene, camera, blended) if blended else None
    normal = None
    if "normal" in wanted:
        normal = screen.new_zeros(len(screen), camera.height, camera.width, 3)
    if shaded or "alpha" in wanted:
        lights = scene.lights if "color" in wanted else ()
        prepared = sort_lights(lights, camera.camera_from_world)
        for index, item in enumerate(placed):
            here = Pixels.showing(fragments, starts[index], len(item.object.mesh.faces))
            if here.face.shape[1] == 0:
                continue
            found = item.shade(here, fragments, prepared, camera, wanted)
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
        if clouds:
            fields = blend_over(fields, clouds, camera, fragments.depth.detach())
    if "alpha" in fields:
        fields["alpha"] = fields["alpha"].squeeze(-1)
    if "depth" in wanted:
        fields["depth"] = fragments.depth
    if owner is not None:
        fields["object_id"] = owner
    return Render(normal=normal, **fields)


def _join(placed: list[Placed], camera: Camera) -> tuple[Tensor, Topology, list[int]]:
    """All objects as one mesh on the screen, and the first face of each."""
    meshes = [item.object.mesh for item in placed]
    faces = Topology.join([m.topology for m in meshes], [m.vertices.shape[-2] for m in meshes])
    starts = np.cumsum([0, *(len(m.faces) for m in meshes)])[:-1].tolist()
    if len(placed) == 1:
        return placed[0].screen, faces, starts
    pose = camera.camera_from_world
    screens = [item.screen for item in placed]
    return torch.cat([pose.new_zeros(len(pose), 0, 3), *screens], 1), faces, starts
