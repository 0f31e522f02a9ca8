"""Which faces may hold a pixel centre of which tile: the first steps of ``rasterize_cpu``.

Fine meshes have more triangles than pixels, most of which hold no pixel centre. So vertices know
which pixel centres lie beyond them, as four int16, and three such rows make a triangle's box. A
triangle with a single centre in its box is drawn at once, as a *spot*; the others go to the tiles.
"""

import numpy as np

from invgraph.kernels.lanes import LANES, apart, lowest_bit
from invgraph.kernels.threads import inner
from invgraph.raster.cpu.edge_lanes import DETERMINANT, find_boxes, plan, points

WIDE, HIGH = 64, 16  # of a tile, px: long rows, because that is how images lie in memory
_WIDE_BITS, _HIGH_BITS = 6, 4
_REACH = np.float32(0.5 + 1 / 256)  # px; screen positions err by less than the 1 / 256
_FAR = 1e9  # px; positions beyond mean the same
_LARGEST = np.float32(32767)
_EMPTY = 1  # a box that holds nothing


@inner
def _ahead(x, last):
    """The first pixel whose centre is not below ``x`` and the last whose is not above."""
    low, high = np.ceil(x - _REACH), np.floor(x + _REACH - np.float32(1))
    low = low if low > np.float32(0) else np.float32(0)
    low = low if low < _LARGEST else _LARGEST
    high = high if high > np.float32(-1) else np.float32(-1)
    high = high if high < last else last
    return np.int16(np.int32(low)), np.int16(-np.int32(high))


@inner
def place_vertices(screen, near, right, bottom, boxes, start, stop):
    """First pixels right of and below a vertex, and minus the last left of and above it.

    A vertex is unknown if it lies before the near plane, or is not finite.
    """
    apart()
    three, four = np.uint64(3), np.uint64(4)  # signed places would be tested for their sign
    for i in range(np.uint64(start), np.uint64(stop)):
        x, y = screen[three * i], screen[three * i + np.uint64(1)]
        z = screen[three * i + np.uint64(2)]
        known = (z >= near) & (abs(x) < np.inf) & (abs(y) < np.inf) & (z < np.inf)
        inverse = z if known else np.float32(1)
        x0, x1 = _ahead(x / inverse, right)
        y0, y1 = _ahead(y / inverse, bottom)
        # With unknown vertices, a box has x0 = -1 and is not empty.
        boxes[four * i] = x0 if known else np.int16(-1)
        boxes[four * i + np.uint64(1)] = y0 if known else np.int16(-1)
        boxes[four * i + np.uint64(2)] = x1 if known else np.int16(-32767)
        boxes[four * i + np.uint64(3)] = y1 if known else np.int16(-32767)


@inner
def bounds(box):
    """x0, y0, x1, y1 of a box, all inclusive."""
    return (box << 48) >> 48, (box << 32) >> 48, -((box << 16) >> 48), -(box >> 48)


@inner
def _clipped_box(screen, i0, i1, i2, near, right, bottom):
    """The box of the part of a triangle beyond the near plane; empty if there is none."""
    apart()
    u0, v0, u1, v1 = _FAR, _FAR, -_FAR, -_FAR
    for k in range(3):
        i = i0 if k == 0 else (i1 if k == 1 else i2)
        j = i1 if k == 0 else (i2 if k == 1 else i0)
        x, y, z = (
            np.float64(screen[3 * i]),
            np.float64(screen[3 * i + 1]),
            np.float64(screen[3 * i + 2]),
        )
        dx, dy, dz = screen[3 * j] - x, screen[3 * j + 1] - y, screen[3 * j + 2] - z
        if not (abs(x) < np.inf and abs(y) < np.inf and abs(z) < np.inf):
            return np.int64(_EMPTY)
        if z >= near:
            u, v = x / z, y / z
            u0, v0, u1, v1 = min(u0, u), min(v0, v), max(u1, u), max(v1, v)
        if (z >= near) != (z + dz >= near):
            t = (near - z) / dz
            u, v = (x + t * dx) / near, (y + t * dy) / near
            # The crossing is rounded, and far off screen the rounding may exceed the margin.
            slack = 1e-6 * (abs(u) + abs(v)) + 1.0
            u0, v0 = min(u0, u - slack), min(v0, v - slack)
            u1, v1 = max(u1, u + slack), max(v1, v + slack)
    x0 = np.int64(np.ceil(max(min(u0, _FAR) - _REACH, 0.0)))
    y0 = np.int64(np.ceil(max(min(v0, _FAR) - _REACH, 0.0)))
    x1 = np.int64(np.floor(min(max(u1, -_FAR) + _REACH - 1, right)))
    y1 = np.int64(np.floor(min(max(v1, -_FAR) + _REACH - 1, bottom)))
    if x0 > x1 or y0 > y1:
        return np.int64(_EMPTY)
    return x0 | (y0 << 16) | ((-x1 & 0xFFFF) << 32) | (-y1 << 48)


@inner
def find(faces, offset, boxes, first, last, kept_face, kept_box, place, scratch):
    """Sort out the faces that hold no pixel centre; see ``find_boxes``."""
    apart()
    return find_boxes(
        faces, offset, boxes, first, last, kept_face, kept_box, place, scratch[0], scratch[1]
    )


@inner
def draw_spots(
    screen, faces, offset, near, cull, tiles_x, count, scratch, place, spots, values, counts
):
    """Draw ``count`` faces of one pixel and count by tiles those that are seen; gives their number.

    ``spots`` says pixel and face, ``values`` 1 / depth, c_0 and c_1.
    """
    apart()
    tiny_face, tiny_box, plans, seen = scratch
    limit = np.float32(1.0 / near)
    spot = place
    for group in range(0, count, LANES):
        plan(screen, faces, offset, tiny_face, group, count - 1, plans)
        bits = points(plans, tiny_box, group, limit, seen)
        bits &= (1 << min(LANES, count - group)) - 1
        while bits != 0:
            lane = lowest_bit(bits)
            bits &= bits - 1
            if cull and not plans[np.uint64(DETERMINANT * LANES + lane)] < 0:
                continue
            x, y, _, _ = bounds(tiny_box[np.uint64(group + lane)])
            spots[np.uint64(2 * spot)] = (y << 16) | x
            spots[np.uint64(2 * spot + 1)] = tiny_face[np.uint64(group + lane)]
            for k in range(3):
                values[np.uint64(3 * spot + k)] = seen[np.uint64(k * LANES + lane)]
            spot += 1
            counts[np.uint64((y >> _HIGH_BITS) * tiles_x + (x >> _WIDE_BITS))] += 1
    return spot - place


@inner
def keep(
    screen, faces, offset, near, right, bottom, tiles_x, first, last, kept_face, kept_box, counts
):
    """Clip boxes at the near plane and count faces by tiles; gives how many are left."""
    apart()
    place = first
    for i in range(np.uint64(first), np.uint64(last)):
        face, box = kept_face[i], kept_box[i]
        x0, y0, x1, y1 = bounds(box)
        if x0 < 0:
            i0, i1, i2 = faces[3 * face], faces[3 * face + 1], faces[3 * face + 2]
            box = _clipped_box(screen, i0 + offset, i1 + offset, i2 + offset, near, right, bottom)
            if box == _EMPTY:
                continue
            x0, y0, x1, y1 = bounds(box)
        kept_face[np.uint64(place)] = face
        kept_box[np.uint64(place)] = box
        place += 1
        for ty in range(y0 >> _HIGH_BITS, (y1 >> _HIGH_BITS) + 1):
            for tx in range(x0 >> _WIDE_BITS, (x1 >> _WIDE_BITS) + 1):
                counts[np.uint64(ty * tiles_x + tx)] += 1
    return place - first


@inner
def order(chunk_start, counts, starts):
    """Turn ``counts`` (chunk x list) into places within lists, ``starts`` into those of lists."""
    apart()
    total, lists = 0, counts.shape[1]
    for image in range(chunk_start.size - 1):
        begin = starts[image * lists : (image + 1) * lists]
        for i in range(lists):
            begin[i] = 0
        for chunk in range(chunk_start[image], chunk_start[image + 1]):
            for i in range(lists):
                before = begin[i]
                begin[i] += counts[chunk, i]
                counts[chunk, i] = before
        for i in range(lists):
            total += begin[i]
            begin[i] = total - begin[i]
    starts[starts.size - 1] = total


@inner
def sort(
    kept_face, kept_box, spots, first, triangles, seen, tiles_x, starts, counts,
    entry_face, entry_box,
):  # fmt: skip
    """List triangles and spots by tiles; ``counts`` says how many of a list come before."""
    apart()
    for i in range(np.uint64(first), np.uint64(first + triangles)):
        x0, y0, x1, y1 = bounds(kept_box[i])
        for ty in range(y0 >> _HIGH_BITS, (y1 >> _HIGH_BITS) + 1):
            for tx in range(x0 >> _WIDE_BITS, (x1 >> _WIDE_BITS) + 1):
                tile = np.uint64(ty * tiles_x + tx)
                entry = np.uint64(starts[tile] + counts[tile])
                counts[tile] += 1
                entry_face[entry] = kept_face[i]
                entry_box[entry] = kept_box[i]
    tiles = counts.size // 2
    for i in range(first, first + seen):
        at = np.int64(spots[np.uint64(2 * i)])
        tile = (at >> 16 >> _HIGH_BITS) * tiles_x + ((at & 0xFFFF) >> _WIDE_BITS)
        place = np.uint64(tiles + tile)
        entry_face[np.uint64(starts[place] + counts[place])] = i
        counts[place] += 1
