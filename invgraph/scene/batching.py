"""Batch axes of scenes and cameras, made one."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from invgraph.geometry.camera import Camera
from invgraph.geometry.tensor_tree import map_tensors
from invgraph.scene import Scene

T = TypeVar("T")
_MOST_PIXELS = 1 << 30  # of all images of a batch: fragments and colours alone take 30 GB
_SAY_SO = (
    'What is given per vertex or as a texture has to say so: Material(..., albedo_kind="vertex").'
)


def map_batched(change: Callable[[Tensor, int], Tensor], value: T) -> T:
    """A scene, or a part of one, in which every tensor with batch axes is replaced by its image.

    What has such tensors says so by ``own_axes``.

    Args:
        change: called with each such tensor and the number of its other axes.
        value: what is changed.
    """
    if isinstance(value, tuple):
        return tuple(map_batched(change, item) for item in value)  # type: ignore[return-value]
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    own: dict[str, int] = value.own_axes() if hasattr(value, "own_axes") else {}  # type: ignore
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if part is not None and field.name in own:
            changed[field.name] = change(part, own[field.name])
        elif dataclasses.is_dataclass(part) or isinstance(part, tuple):
            changed[field.name] = map_batched(change, part)
    return dataclasses.replace(value, **changed)


def batch_shape(scene: Scene, camera: Camera) -> tuple[int, ...]:
    """The batch axes of a scene in front of a camera.

    Raises:
        ValueError: they do not broadcast, or are of more images than can be meant.
    """
    shapes = [tuple(camera.batch_shape)]

    def note(tensor: Tensor, own: int) -> Tensor:
        shapes.append(tuple(tensor.shape[: tensor.ndim - own]))
        return tensor

    map_batched(note, scene)
    try:
        found = tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        listed = ", ".join(str(shape) for shape in dict.fromkeys(shapes) if shape)
        raise ValueError(
            f"the batch axes {listed} of camera, objects, materials and lights do not broadcast; "
            f"give them equal lengths, or length 1. {_SAY_SO}"
        ) from None
    if math.prod(found) * camera.height * camera.width > _MOST_PIXELS:
        raise ValueError(
            f"{math.prod(found)} images of {camera.height}x{camera.width} (h x w) at once are more "
            f"than memory holds; render fewer at a time. {_SAY_SO}"
        )
    return found


def refuse_batches(value: object, name: str) -> None:
    """Refuse a scene, or a part of one, that is a batch.

    Args:
        value: what :func:`map_batched` takes.
        name: what it is called in the message.

    Raises:
        ValueError: a tensor has batch axes.
    """

    def check(tensor: Tensor, own: int) -> Tensor:
        batch = tuple(tensor.shape[: tensor.ndim - own])
        if batch:
            raise ValueError(f"{name} has batch axes {batch}; save one scene at a time.")
        return tensor

    map_batched(check, value)


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
