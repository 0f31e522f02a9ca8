"""Batch axes of scenes and cameras, made one."""

import math

import torch
from torch import Tensor

from invgraph.camera import Camera
from invgraph.scene import DirectionalLight, PointLight, Scene
from invgraph.scene import SphericalHarmonicLight as HarmonicLight
from invgraph.tree import map_tensors


def _batched(scene: Scene) -> list[tuple[Tensor, int]]:
    """Every tensor that may have batch axes, with the number of its other axes."""
    found = []
    for item in scene.objects:
        found += [(item.mesh.vertices, 2), (item.world_from_object, 2)]
    for light in scene.lights:
        if isinstance(light, HarmonicLight):
            found.append((light.coefficients, 2))
        elif isinstance(light, DirectionalLight):
            found += [(light.direction, 1), (light.irradiance, 1)]
        elif isinstance(light, PointLight):
            found += [(light.position, 1), (light.intensity, 1)]
    return found


def batch_shape(scene: Scene, camera: Camera) -> tuple[int, ...]:
    """The batch axes of a scene in front of a camera.

    Raises:
        ValueError: they do not broadcast.
    """
    shapes = [tuple(tensor.shape[: tensor.ndim - own]) for tensor, own in _batched(scene)]
    shapes.append(tuple(camera.batch_shape))
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

    flattened = {id(tensor): flat(tensor, own) for tensor, own in _batched(scene)}
    scene = map_tensors(lambda tensor: flattened.get(id(tensor), tensor), scene)
    size = len(camera.batch_shape)
    camera = map_tensors(
        lambda t: t.expand(*batch, *t.shape[size:]).reshape(-1, *t.shape[size:]), camera
    )
    return scene, camera
