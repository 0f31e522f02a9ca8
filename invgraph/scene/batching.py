"""Batch axes of scenes and cameras, made one."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from invgraph.geometry.camera import Camera
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.scene import DirectionalLight, Light, Object, PointLight, Scene
from invgraph.scene import SphericalHarmonicLight as HarmonicLight


def map_batched(change: Callable[[Tensor, int], Tensor], scene: Scene) -> Scene:
    """A scene in which every tensor that may have batch axes is replaced by its image.

    Args:
        change: called with each such tensor and the number of its other axes.
        scene: what is changed.
    """

    def thing(item: Object) -> Object:
        mesh = replace(item.mesh, vertices=change(item.mesh.vertices, 2))
        return replace(item, mesh=mesh, world_from_object=change(item.world_from_object, 2))

    def lit(light: Light) -> Light:
        if isinstance(light, HarmonicLight):
            return replace(light, coefficients=change(light.coefficients, 2))
        if isinstance(light, DirectionalLight):
            direction, irradiance = change(light.direction, 1), change(light.irradiance, 1)
            return replace(light, direction=direction, irradiance=irradiance)
        if isinstance(light, PointLight):
            position, intensity = change(light.position, 1), change(light.intensity, 1)
            return replace(light, position=position, intensity=intensity)
        return light

    objects, lights = map(thing, scene.objects), map(lit, scene.lights)
    return replace(scene, objects=tuple(objects), lights=tuple(lights))


def batch_shape(scene: Scene, camera: Camera) -> tuple[int, ...]:
    """The batch axes of a scene in front of a camera.

    Raises:
        ValueError: they do not broadcast.
    """
    shapes = [tuple(camera.batch_shape)]

    def note(tensor: Tensor, own: int) -> Tensor:
        shapes.append(tuple(tensor.shape[: tensor.ndim - own]))
        return tensor

    map_batched(note, scene)
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        listed = ", ".join(str(shape) for shape in dict.fromkeys(shapes) if shape)
        raise ValueError(
            f"the batch axes {listed} of camera, objects and lights do not broadcast; "
            "give them equal lengths, or length 1."
        ) from None


def flatten(scene: Scene, camera: Camera, batch: tuple[int, ...]) -> tuple[Scene, Camera]:
    """One batch axis on the camera, and one or none on everything else that may have some."""

    def flat(tensor: Tensor, own: int) -> Tensor:
        shape = tensor.shape[tensor.ndim - own :]
        if tensor.ndim == own:
            return tensor
        if math.prod(tensor.shape[: tensor.ndim - own]) == 1:
            return tensor.reshape(shape)
        return tensor.expand(*batch, *shape).reshape(-1, *shape)

    whole = camera.expanded(batch)
    # A lens that all poses share stays one.
    shared = not camera.lens.batch_shape
    lens = map_tensors(lambda t: t.reshape(-1, t.shape[-1]), whole.lens)
    poses = whole.camera_from_world.reshape(-1, 4, 4)
    return map_batched(flat, scene), Camera(camera.lens if shared else lens, poses)
