"""From the tensors that a user gives to the arrays that kernels take, checked on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invgraph.geometry.topology import Topology
from invgraph.kernels import buffers

_LARGEST = 32767  # px; boxes are kept in int16


@dataclass(frozen=True)
class BatchLayout:
    """How the images of a batch find their vertices and faces.

    Fields:
        batched: whether the images have a batch axis.
        vertex_start: row of each image's vertex 0 among all vertices.
        ranges: first face and number of faces of each image.
        groups: number of images if each has rows of its own, else 1.
    """

    topology: Topology
    height: int
    width: int
    batched: bool
    vertex_start: np.ndarray
    ranges: np.ndarray
    groups: int

    @property
    def images(self) -> int:
        return len(self.ranges)


def check(name: str, tensor: Tensor) -> None:
    """Refuse tensors that the kernels cannot read."""
    if tensor.device.type != "cpu":
        raise ValueError(
            f"{name} is on {tensor.device}, but only the CPU has kernels so far; "
            "move the tensors with .cpu() first."
        )
    if tensor.dtype != torch.float32:
        raise ValueError(f"{name} is {tensor.dtype}, expected torch.float32; call .float() on it.")


def read_screen(
    screen: Tensor, faces: Tensor | Topology, height: int, width: int, ranges: Tensor | None
) -> BatchLayout:
    """Check what ``rasterize`` was given."""
    check("screen", screen)
    if not (1 <= height <= _LARGEST and 1 <= width <= _LARGEST):
        raise ValueError(
            f"the image is {height}x{width} (h x w), expected 1 to {_LARGEST} pixels each way; "
            "render large images in parts (Camera.crop)."
        )
    if screen.ndim not in (2, 3) or screen.shape[-1] != 3:
        raise ValueError(
            f"screen is {tuple(screen.shape)}, expected (batch, vertices, 3) or (vertices, 3)."
        )
    known = read_faces(faces, screen.shape[-2], "screen")
    count = len(known.faces)
    if ranges is None:
        images = screen.shape[0] if screen.ndim == 3 else 1
        spans = np.zeros((images, 2), np.int64)
        spans[:, 1] = count
    else:
        spans = np.ascontiguousarray(ranges.detach().cpu().numpy().astype(np.int64))
        images = len(spans)
        if screen.ndim == 3 and screen.shape[0] != images:
            raise ValueError(
                f"ranges are for {images} images but screen holds {screen.shape[0]}; "
                "give one range per image, or vertices of all images together as (vertices, 3)."
            )
        if images and (spans.min() < 0 or (spans[:, 0] + spans[:, 1]).max() > count):
            raise ValueError(
                f"ranges reach outside of the {count} faces; "
                "each row is the first face of an image and its number of faces."
            )
    own = screen.ndim == 3
    start = np.arange(images, dtype=np.int64) * (screen.shape[1] if own else 0)
    batched = own or ranges is not None
    return BatchLayout(known, height, width, batched, start, spans, images if own else 1)


def read_faces(faces: Tensor | Topology, vertices: int, name: str) -> Topology:
    """Check faces against the number of vertices that they may point to."""
    if isinstance(faces, Tensor) and faces.device.type != "cpu":
        raise ValueError(
            f"faces are on {faces.device}, but only the CPU has kernels so far; "
            "move the tensors with .cpu() first."
        )
    known = faces if isinstance(faces, Topology) else Topology(faces)
    if known.low < 0 or known.high >= vertices:
        raise ValueError(
            f"faces hold indices from {known.low} to {known.high}, "
            f"but {name} has {vertices} vertices; "
            "check that faces and vertices belong to the same mesh."
        )
    return known


def check_faces_cover(known: Topology, face: Tensor) -> None:
    """Refuse faces that are fewer than those that were rasterized."""
    drawn = getattr(face, "_drawn_faces", None)  # left by rasterize: saves a look at every pixel
    if drawn is None:
        drawn = int(face.max()) + 1 if face.numel() else 0
    if drawn > len(known.faces):
        raise ValueError(
            f"fragments need {drawn} faces, but there are {len(known.faces)}; "
            "give the faces that were rasterized, or as many others."
        )


def flat(tensor: Tensor, channels: int) -> np.ndarray:
    """All rows one below another."""
    return tensor.detach().contiguous().numpy().reshape(-1, channels)


def line(tensor: Tensor) -> np.ndarray:
    """All numbers one after the other."""
    return tensor.detach().contiguous().numpy().reshape(-1)


def grid(tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """A map with exactly these axes."""
    return tensor.detach().contiguous().numpy().reshape(shape)


def sum_records(
    kernel: Callable[..., Any],
    args: tuple,
    shape: tuple[int, int, int],
    groups: int,
    gradient: np.ndarray,
    channels: int,
) -> None:
    """Run a backward kernel with room for its records; it sets ``channels`` of ``gradient``."""
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu.records import HIGH, WIDE

    images, height, width = shape
    tiles = images * -(-width // WIDE) * -(-height // HIGH)
    spans = np.zeros((tiles, 2), np.int64)
    capacity = images * (height * width // 4) + 1024
    owners = 2 * torch.get_num_threads()
    while True:
        counter = np.zeros(1, np.int64)
        rows, values = buffers.empty_many(
            (3 * capacity, np.int32), (3 * channels * capacity, np.float32)
        )
        rows, values = rows.reshape(-1, 3), values.reshape(capacity, 3 * channels)
        launch(kernel, *args, counter, spans, rows, values, groups, owners, gradient)
        if counter[0] <= capacity:
            break
        capacity = int(counter[0])
