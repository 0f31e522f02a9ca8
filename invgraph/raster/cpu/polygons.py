"""Which faces come near which tile: polygons on the screen, sorted into tiles.

A face is seen as a convex polygon with three corners, or four where the near plane cuts one off.
"""

from typing import Any

import numpy as np
from numba import njit

from invgraph.kernels.threads import finish, finish_and_take, take, wait

WIDE, HIGH = 16, 16  # pixels of a tile
CHUNK = 1024  # faces per unit of work
_FAR = 1e7  # px; positions beyond mean the same

_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_jit = njit(**_OPTIONS)
_INNER_OPTIONS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
_inner = njit(**_INNER_OPTIONS)


@_inner
def _polygon(screen, corners, near, points):
    """Clip a face at the near plane. Returns the number of corners on the screen, 0 if none."""
    count = 0
    for k in range(3):
        i, j = corners[k], corners[(k + 1) % 3]
        x, y, z = float(screen[i, 0]), float(screen[i, 1]), float(screen[i, 2])
        x2, y2, z2 = float(screen[j, 0]), float(screen[j, 1]), float(screen[j, 2])
        if not np.isfinite(x + y + z):
            return 0
        if z >= near:
            points[count, 0], points[count, 1] = x / z, y / z
            count += 1
        if (z >= near) != (z2 >= near):
            t = (near - z) / (z2 - z)
            points[count, 0] = (x + t * (x2 - x)) / near
            points[count, 1] = (y + t * (y2 - y)) / near
            count += 1
    for k in range(count):
        for axis in range(2):
            points[k, axis] = min(max(points[k, axis], -_FAR), _FAR)
    return count


@_inner
def image_of(unit, chunk_start):
    image = 0
    while chunk_start[image + 1] <= unit:
        image += 1
    return image


@_jit
def count(
    team, screen, faces, vertex_start, ranges, chunk_start, near, reach, height, width,
    points, corners, boxes, slots, counts, starts,
):  # fmt: skip
    """Find polygons (``points``, ``corners`` of them), the tiles they reach and where these are
    kept.

    Items are the faces of all images, chunk by chunk: item ``CHUNK * chunk + i``. ``boxes`` are
    tiles (x0, y0, x1, y1, inclusive), ``slots`` the place of an item's first tile among all pairs
    of tile and item. ``counts[chunk, tile]`` becomes the place of the chunk's first entry for that
    tile, ``starts`` (image x tile, and one more) the first entry of each tile.
    """
    chunks = chunk_start[-1]
    tiles_x, tiles_y = (width + WIDE - 1) // WIDE, (height + HIGH - 1) // HIGH
    tiles = tiles_x * tiles_y
    unit = take(team, 0, chunks)
    while unit >= 0:
        image = image_of(unit, chunk_start)
        first = ranges[image, 0] + (unit - chunk_start[image]) * CHUNK
        last = min(first + CHUNK, ranges[image, 0] + ranges[image, 1])
        index = np.empty(3, np.int64)
        counts[unit, :] = 0
        for item in range(unit * CHUNK, (unit + 1) * CHUNK):
            corners[item] = 0
            slots[item] = 0
            face = first + item - unit * CHUNK
            if face >= last:
                continue
            for k in range(3):
                index[k] = faces[face, k] + vertex_start[image]
            n = _polygon(screen, index, near, points[item])
            if n == 0:
                continue
            u0, v0, u1, v1 = _FAR, _FAR, -_FAR, -_FAR
            for k in range(n):
                u0, v0 = min(u0, points[item, k, 0]), min(v0, points[item, k, 1])
                u1, v1 = max(u1, points[item, k, 0]), max(v1, points[item, k, 1])
            x0 = max(np.int64(np.ceil(u0 - reach - 0.5)), 0)
            y0 = max(np.int64(np.ceil(v0 - reach - 0.5)), 0)
            x1 = min(np.int64(np.floor(u1 + reach - 0.5)), width - 1)
            y1 = min(np.int64(np.floor(v1 + reach - 0.5)), height - 1)
            if x0 > x1 or y0 > y1:
                continue
            corners[item] = n
            boxes[item, 0], boxes[item, 1] = x0 // WIDE, y0 // HIGH
            boxes[item, 2], boxes[item, 3] = x1 // WIDE, y1 // HIGH
            slots[item] = (x1 // WIDE - x0 // WIDE + 1) * (y1 // HIGH - y0 // HIGH + 1)
            for ty in range(y0 // HIGH, y1 // HIGH + 1):
                for tx in range(x0 // WIDE, x1 // WIDE + 1):
                    counts[unit, ty * tiles_x + tx] += 1
        unit = finish_and_take(team, 0, chunks)
    wait(team, 0, chunks)
    if take(team, 1, 1) >= 0:
        total = 0
        for item in range(chunks * CHUNK):
            before = total
            total += slots[item]
            slots[item] = before
        total = 0
        for image in range(ranges.shape[0]):
            for tile in range(tiles):
                starts[image * tiles + tile] = total
                for chunk in range(chunk_start[image], chunk_start[image + 1]):
                    before = total
                    total += counts[chunk, tile]
                    counts[chunk, tile] = before
        starts[ranges.shape[0] * tiles] = total
        finish(team, 1)
    wait(team, 1, 1)


@_inner
def tile_of(unit, tiles, tiles_x, height, width):
    tile = unit % tiles
    left, top = (tile % tiles_x) * WIDE, (tile // tiles_x) * HIGH
    return left, top, min(WIDE, width - left), min(HIGH, height - top)


@_jit
def sort(team, width, chunk_start, corners, boxes, counts, entries):
    """List the items of each tile, in the order of the faces; ``counts`` is used up."""
    chunks = chunk_start[-1]
    tiles_x = (width + WIDE - 1) // WIDE
    unit = take(team, 0, chunks)
    while unit >= 0:
        for item in range(unit * CHUNK, (unit + 1) * CHUNK):
            if corners[item] == 0:
                continue
            for ty in range(boxes[item, 1], boxes[item, 3] + 1):
                for tx in range(boxes[item, 0], boxes[item, 2] + 1):
                    tile = ty * tiles_x + tx
                    entries[counts[unit, tile]] = item
                    counts[unit, tile] += 1
        unit = finish_and_take(team, 0, chunks)
    wait(team, 0, chunks)
