"""Which triangle does each pixel see: the compiled kernel of ``rasterize``.

Triangles stay in homogeneous pixels p = (u z, v z, z). The ray of a pixel r = (u, v, 1) meets the
triangle where sum_i c_i p_i = r with all c_i >= 0: c_i = a_i . r / det with the edge planes
a_0 = p_1 x p_2 (and cyclic) and det = p_0 . a_0. Depth is 1 / sum c, the perspective-correct
weights are c / sum c. Nothing here is divided by a vertex's z, so a triangle that crosses the near
plane is clipped exactly, pixel by pixel (Olano & Greer, Triangle scan conversion using 2D
homogeneous coordinates, 1997).

Watertight: the products of two float32 are exact in float64, so the planes of an edge, seen from
its two sides, are exact negatives of each other, and so are their values at a pixel. A pixel on an
edge goes to the side that the top-left rule names.
"""

import numpy as np

from invgraph.kernels.lanes import LANES, apart
from invgraph.kernels.threads import finish, finish_and_take, inner, kernel, take, wait
from invgraph.raster.cpu.bins import (
    HIGH,
    WIDE,
    bounds,
    draw_spots,
    find,
    keep,
    order,
    place_vertices,
    sort,
)
from invgraph.raster.cpu.edge_lanes import (
    DETERMINANT,
    PLANES,
    SCALE,
    SIDE,
    plan,
    resolve_lanes,
    spans,
    stamp_row,
    stamp_square,
)

STRIDE = WIDE + LANES  # what is drawn to the right of a tile or below it goes nowhere
PIXELS = STRIDE * (HIGH + 1)  # of a plane of a tile: 1 / depth, c_0, c_1, the face
VERTICES = 8192  # that are placed together


@inner
def _draw_triangles(
    screen, faces, offset, near, cull, left, top, wide, high, entry_face, entry_box, first, last,
    plans, begins, ends, tile,
):  # fmt: skip
    """Draw a tile's triangles in the order of the faces: ties in depth go to the lower face."""
    apart()
    limit = np.float32(1.0 / near)
    for group in range(first, last, LANES):
        plan(screen, faces, offset, entry_face, group, last - 1, plans)
        for lane in range(min(LANES, last - group)):
            if not plans[np.uint64(SCALE * LANES + lane)] > 0:
                continue
            if cull and not plans[np.uint64(DETERMINANT * LANES + lane)] < 0:
                continue
            x0, y0, x1, y1 = bounds(entry_box[np.uint64(group + lane)])
            x0, y0 = max(x0 - left, 0), max(y0 - top, 0)
            x1, y1 = min(x1 - left, wide - 1), min(y1 - top, high - 1)
            face = entry_face[np.uint64(group + lane)]
            if x1 - x0 < SIDE:
                for y in range(y0, y1 + 1, LANES // SIDE):
                    stamp_square(
                        plans, lane, face, left + x0, top + y, tile, y * STRIDE + x0, STRIDE,
                        PIXELS, limit,
                    )  # fmt: skip
                continue
            if x1 - x0 < LANES:
                for y in range(y0, y1 + 1):
                    stamp_row(
                        plans, lane, face, left + x0, top + y, tile, y * STRIDE + x0, STRIDE,
                        PIXELS, limit,
                    )  # fmt: skip
                continue
            for block in range(y0, y1 + 1, LANES):
                spans(plans, lane, left, top + block, begins, ends)
                for row in range(min(LANES, y1 + 1 - block)):
                    y = block + row
                    begin = np.int64(min(max(begins[row], x0), x1 + 1))
                    end = np.int64(max(min(ends[row], x1), -1))
                    for x in range(begin, end + 1, LANES):
                        stamp_row(
                            plans, lane, face, left + x, top + y, tile, y * STRIDE + x, STRIDE,
                            PIXELS, limit,
                        )  # fmt: skip


@inner
def _add_spots(spots, values, entries, first, last, left, top, tile, tile_face):
    """Draw a tile's spots over its triangles: ties in depth go to the lower face here as well."""
    for entry in range(np.uint64(first), np.uint64(last)):
        i = np.int64(entries[entry])
        at, face = np.int64(spots[np.uint64(2 * i)]), spots[np.uint64(2 * i + 1)]
        inverse = values[np.uint64(3 * i)]
        k = np.uint64(((at >> 16) - top) * STRIDE + (at & 0xFFFF) - left)
        if inverse > tile[k] or (inverse == tile[k] and face < tile_face[k]):
            tile[k] = inverse
            tile[np.uint64(PIXELS) + k] = values[np.uint64(3 * i + 1)]
            tile[np.uint64(2 * PIXELS) + k] = values[np.uint64(3 * i + 2)]
            tile_face[k] = face


@inner
def _slopes(screen, i0, i1, i2, planes):
    """How c_0, c_1 and the sum of all three c change with u and v."""
    px0, py0, pz0 = (
        np.float64(screen[3 * i0]),
        np.float64(screen[3 * i0 + 1]),
        np.float64(screen[3 * i0 + 2]),
    )
    px1, py1, pz1 = (
        np.float64(screen[3 * i1]),
        np.float64(screen[3 * i1 + 1]),
        np.float64(screen[3 * i1 + 2]),
    )
    px2, py2, pz2 = (
        np.float64(screen[3 * i2]),
        np.float64(screen[3 * i2 + 1]),
        np.float64(screen[3 * i2 + 2]),
    )
    a0, b0, c0 = py1 * pz2 - pz1 * py2, pz1 * px2 - px1 * pz2, px1 * py2 - py1 * px2
    a1, b1 = py2 * pz0 - pz2 * py0, pz2 * px0 - px2 * pz0
    a2, b2 = py0 * pz1 - pz0 * py1, pz0 * px1 - px0 * pz1
    inverse = 1.0 / (px0 * a0 + py0 * b0 + pz0 * c0)
    planes[0], planes[1] = a0 * inverse, b0 * inverse
    planes[2], planes[3] = a1 * inverse, b1 * inverse
    planes[4], planes[5] = (a0 + a1 + a2) * inverse, (b0 + b1 + b2) * inverse


@inner
def _resolve(tile, tile_face, wide, high, first, width, out_face, out_depth, out_bary):
    """Write a tile to the images, of which its first pixel is number ``first``."""
    apart()
    whole = wide // LANES * LANES
    for y in range(high):
        pixel, start = first + y * width, y * STRIDE
        for x in range(0, whole, LANES):
            resolve_lanes(tile, PIXELS, start + x, out_face, out_depth, out_bary, pixel + x)
        for x in range(whole, wide):
            inverse = tile[start + x]
            z = np.float32(1) / inverse if inverse > 0 else np.float32(0)
            out_face[pixel + x] = tile_face[start + x]
            out_depth[pixel + x] = z
            out_bary[2 * (pixel + x)] = tile[PIXELS + start + x] * z if z > 0 else z
            out_bary[2 * (pixel + x) + 1] = tile[2 * PIXELS + start + x] * z if z > 0 else z


@inner
def _slopes_of_tile(
    screen, faces, offset, tile_face, wide, high, first, width, out_depth, out_bary, out_slope
):
    """Write how the weights of a tile's pixels change."""
    apart()
    planes = np.empty(6, np.float64)
    for y in range(high):
        last = -1
        for x in range(wide):
            f, pixel = tile_face[y * STRIDE + x], first + y * width + x
            if f < 0:
                for k in range(4):
                    out_slope[4 * pixel + k] = 0
                continue
            if f != last:
                i0, i1, i2 = faces[3 * f], faces[3 * f + 1], faces[3 * f + 2]
                _slopes(screen, i0 + offset, i1 + offset, i2 + offset, planes)
                last = f
            z = out_depth[pixel]
            w0, w1 = out_bary[2 * pixel], out_bary[2 * pixel + 1]
            out_slope[4 * pixel] = z * (planes[0] - w0 * planes[4])
            out_slope[4 * pixel + 1] = z * (planes[1] - w0 * planes[5])
            out_slope[4 * pixel + 2] = z * (planes[2] - w1 * planes[4])
            out_slope[4 * pixel + 3] = z * (planes[3] - w1 * planes[5])


@kernel
def rasterize(
    team, screen, faces, vertex_start, ranges, chunk, chunk_start, near, cull, height, width,
    boxes, kept_face, kept_box, spots, values, kept, counts, starts, entry_face, entry_box,
    derivatives, out_face, out_bary, out_depth, out_slope,
):  # fmt: skip
    """Fill the images, if there is room for ``starts[-1]`` entries; else do nothing.

    ``chunk`` faces of an image are sorted into tiles together; ``chunk_start[i]`` is the first
    chunk of image i. What a chunk keeps, begins at place ``chunk * unit``; ``kept`` says how many
    triangles and spots. There are two lists of entries per tile: the first half of ``counts`` and
    ``starts`` of an image is about triangles, the second about spots.
    """
    images = ranges.shape[0]
    chunks = chunk_start[images]
    tiles_x = (width + WIDE - 1) // WIDE
    tiles = tiles_x * ((height + HIGH - 1) // HIGH)
    vertices = screen.size // 3
    blocks = (vertices + VERTICES - 1) // VERTICES
    right, bottom = np.float32(width - 1), np.float32(height - 1)

    unit = take(team, 0, blocks)
    while unit >= 0:
        stop = min((unit + 1) * VERTICES, vertices)
        place_vertices(screen, near, right, bottom, boxes, unit * VERTICES, stop)
        unit = finish_and_take(team, 0, blocks)
    wait(team, 0, blocks)

    plans = np.empty(PLANES * LANES, np.float64)
    scratch = (
        np.empty(chunk + LANES, np.int32), np.empty(chunk + LANES, np.int64), plans,
        np.empty(3 * LANES, np.float32),
    )  # fmt: skip
    unit = take(team, 1, chunks)
    while unit >= 0:
        image = 0
        while chunk_start[image + 1] <= unit:
            image += 1
        place, offset = unit * chunk, vertex_start[image]
        first = ranges[image, 0] + (unit - chunk_start[image]) * chunk
        last = min(first + chunk, ranges[image, 0] + ranges[image, 1])
        for i in range(2 * tiles):
            counts[unit, i] = 0
        end, tiny = find(faces, offset, boxes, first, last, kept_face, kept_box, place, scratch)
        kept[unit, 0] = keep(
            screen, faces, offset, near, right, bottom, tiles_x, place, end, kept_face, kept_box,
            counts[unit],
        )  # fmt: skip
        kept[unit, 1] = draw_spots(
            screen, faces, offset, near, cull, tiles_x, tiny, scratch, place, spots, values,
            counts[unit, tiles:],
        )  # fmt: skip
        unit = finish_and_take(team, 1, chunks)
    wait(team, 1, chunks)

    if take(team, 2, 1) >= 0:
        order(chunk_start, counts, starts)
        finish(team, 2)
    wait(team, 2, 1)
    if starts[starts.size - 1] > entry_face.size:
        return

    unit = take(team, 3, chunks)
    while unit >= 0:
        image = 0
        while chunk_start[image + 1] <= unit:
            image += 1
        sort(
            kept_face, kept_box, spots, unit * chunk, kept[unit, 0], kept[unit, 1], tiles_x,
            starts[2 * image * tiles : 2 * (image + 1) * tiles], counts[unit],
            entry_face, entry_box,
        )  # fmt: skip
        unit = finish_and_take(team, 3, chunks)
    wait(team, 3, chunks)

    tile = np.empty(4 * PIXELS, np.float32)
    tile_face = tile[3 * PIXELS :].view(np.int32)
    begins, ends = np.empty(LANES, np.float64), np.empty(LANES, np.float64)
    unit = take(team, 4, images * tiles)
    while unit >= 0:
        image = unit // tiles
        left, top = (unit % tiles % tiles_x) * WIDE, (unit % tiles // tiles_x) * HIGH
        wide, high = min(WIDE, width - left), min(HIGH, height - top)
        offset, pixel = vertex_start[image], (image * height + top) * width + left
        for i in range(PIXELS):
            tile[i] = 0
            tile[PIXELS + i] = 0
            tile[2 * PIXELS + i] = 0
            tile_face[i] = -1
        entry = unit + image * tiles
        _draw_triangles(
            screen, faces, offset, near, cull, left, top, wide, high, entry_face, entry_box,
            starts[entry], starts[entry + 1], plans, begins, ends, tile,
        )  # fmt: skip
        entry += tiles
        _add_spots(
            spots, values, entry_face, starts[entry], starts[entry + 1], left, top, tile, tile_face
        )
        _resolve(tile, tile_face, wide, high, pixel, width, out_face, out_depth, out_bary)
        if derivatives:
            _slopes_of_tile(
                screen, faces, offset, tile_face, wide, high, pixel, width, out_depth, out_bary,
                out_slope,
            )  # fmt: skip
        unit = finish_and_take(team, 4, images * tiles)
    wait(team, 4, images * tiles)
