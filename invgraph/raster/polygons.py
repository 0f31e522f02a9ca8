"""Which faces come near which tile of an image."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from invgraph.kernels import buffers
from invgraph.raster import arguments


@dataclass(frozen=True)
class Polygons:
    """Faces as polygons on the screen, and the tiles they reach; see ``polygons_cpu.count``."""

    chunk_start: np.ndarray
    points: np.ndarray
    corners: np.ndarray
    boxes: np.ndarray
    slots: np.ndarray
    starts: np.ndarray
    entries: np.ndarray


def find(screen: Tensor, plan: arguments.BatchLayout, near: float, reach: float) -> Polygons:
    """Clip the faces of all images at ``near`` and list them by the tiles within ``reach`` px."""
    from invgraph.kernels.threads import launch
    from invgraph.raster.cpu.polygons import CHUNK, HIGH, WIDE, count, sort

    rows = arguments.flat(screen, 3)
    chunk_start = np.zeros(plan.images + 1, np.int64)
    np.cumsum(-(-plan.ranges[:, 1] // CHUNK), out=chunk_start[1:])
    chunks = int(chunk_start[-1])
    tiles = -(-plan.width // WIDE) * -(-plan.height // HIGH)
    points = buffers.empty((chunks * CHUNK, 4, 2), np.float32)
    corners = buffers.empty((chunks * CHUNK,), np.int8)
    boxes = buffers.empty((chunks * CHUNK, 4), np.int16)
    slots = buffers.empty((chunks * CHUNK,), np.int64)
    counts = buffers.empty((chunks, tiles), np.int64)
    starts = np.zeros(plan.images * tiles + 1, np.int64)
    launch(
        count, rows, plan.topology.faces, plan.vertex_start, plan.ranges, chunk_start, near, reach,
        plan.height, plan.width, points, corners, boxes, slots, counts, starts,
    )  # fmt: skip
    entries = buffers.empty((int(starts[-1]),), np.int64)
    launch(sort, plan.width, chunk_start, corners, boxes, counts, entries)
    return Polygons(chunk_start, points, corners, boxes, slots, starts, entries)
