"""Which triangle does each pixel see: the compiled kernels of ``rasterize``.

Triangles stay in homogeneous pixels p = (u z, v z, z). The ray of a pixel r = (u, v, 1) meets the
triangle where sum_i c_i p_i = r with all c_i >= 0: c_i = a_i . r / det with the edge planes
a_0 = p_1 x p_2 (and cyclic) and det = p_0 . a_0. Depth is 1 / sum c, the perspective-correct
weights are c / sum c. Nothing here is divided by a vertex's z, so a triangle that crosses the near
plane is clipped exactly, pixel by pixel (Olano & Greer, Triangle scan conversion using 2D
homogeneous coordinates, 1997).

Watertight: the products of two float32 are exact in float64, so the planes of an edge, seen from
its two sides, are exact negatives of each other, and so are their values at a pixel. Float32
decides only where its rounding cannot change the answer. A pixel on an edge goes to the side that
the top-left rule names.
"""

import numpy as np
from numba import njit

from .lanes import LANES, as_float_bits, draw_lanes, lowest_bit, resolve_lanes
from .threads import finish_and_take, take, wait

WIDE, HIGH = 64, 16  # of a tile, px: long rows, because that is how images lie in memory
PIXELS = WIDE * HIGH  # of a plane of a tile: 1 / depth, c_0, c_1, the bits of the face
SMALL = 3  # boxes up to so many pixels wide are cheaper one pixel at a time
CHUNK = 2048  # faces that are binned together
_DOUBT = 2.0**-17  # px; in float32, LANES pixels from where they are exact, edges err by less
_MARGIN = 1 / 256  # px; screen positions err by less, and the edges decide exactly
_FAR = 1e9  # px; positions beyond mean the same
_BAD, _BEHIND = np.float32(np.nan), np.float32(np.inf)


@njit(nogil=True, cache=True)
def _positions(screen, near, positions, start, stop):
    """Screen positions; inf marks a vertex before the near plane, NaN one that is not finite."""
    for i in range(start, stop):
        x, y, z = screen[i, 0], screen[i, 1], screen[i, 2]
        if not np.isfinite(x + y + z) and not (
            np.isfinite(x) and np.isfinite(y) and np.isfinite(z)
        ):
            positions[i, 0] = _BAD
        elif z < near:
            positions[i, 0] = _BEHIND
        else:
            positions[i, 0] = min(max(x / z, -_FAR), _FAR)
            positions[i, 1] = min(max(y / z, -_FAR), _FAR)


@njit(nogil=True, cache=True)
def _clipped_box(screen, i0, i1, i2, near):
    """Bounds of the part of a triangle beyond the near plane; empty if there is none."""
    u0, v0, u1, v1 = _FAR, _FAR, -_FAR, -_FAR
    for k in range(3):
        i = i0 if k == 0 else (i1 if k == 1 else i2)
        j = i1 if k == 0 else (i2 if k == 1 else i0)
        x, y, z = np.float64(screen[i, 0]), np.float64(screen[i, 1]), np.float64(screen[i, 2])
        dx, dy, dz = screen[j, 0] - x, screen[j, 1] - y, screen[j, 2] - z
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
    return u0, v0, u1, v1


@njit(nogil=True, cache=True)
def _determinant(screen, i0, i1, i2):
    x0, y0, z0 = np.float64(screen[i0, 0]), np.float64(screen[i0, 1]), np.float64(screen[i0, 2])
    x1, y1, z1 = np.float64(screen[i1, 0]), np.float64(screen[i1, 1]), np.float64(screen[i1, 2])
    x2, y2, z2 = np.float64(screen[i2, 0]), np.float64(screen[i2, 1]), np.float64(screen[i2, 2])
    return x0 * (y1 * z2 - z1 * y2) + y0 * (z1 * x2 - x1 * z2) + z0 * (x1 * y2 - y1 * x2)


@njit(nogil=True, cache=True)
def count(
    team, screen, faces, vertex_start, ranges, chunk_start, near, cull, height, width,
    positions, kept_face, kept_box, kept, counts, totals,
):  # fmt: skip
    """Find the faces whose box holds a pixel centre, and count them per tile.

    ``chunk_start[i]`` is the first chunk of image i. A chunk keeps its survivors, in order, from
    place ``CHUNK * chunk`` on: ``kept_face``, ``kept_box`` (x0, y0, x1, y1, inclusive), ``kept`` of
    them. ``counts[chunk, tile]`` becomes the place of the chunk's first entry for that tile among
    the tile's, ``totals[image, tile]`` the number of entries of a tile.
    """
    images = ranges.shape[0]
    chunks = chunk_start[images]
    tiles_x = (width + WIDE - 1) // WIDE
    tiles = tiles_x * ((height + HIGH - 1) // HIGH)
    blocks = (screen.shape[0] + 8191) // 8192

    unit = take(team, 0, blocks)
    while unit >= 0:
        _positions(screen, near, positions, unit * 8192, min((unit + 1) * 8192, screen.shape[0]))
        unit = finish_and_take(team, 0, blocks)
    wait(team, 0, blocks)

    unit = take(team, 1, chunks)
    while unit >= 0:
        image = 0
        while chunk_start[image + 1] <= unit:
            image += 1
        offset = vertex_start[image]
        first = ranges[image, 0] + (unit - chunk_start[image]) * CHUNK
        last = min(first + CHUNK, ranges[image, 0] + ranges[image, 1])
        counts[unit, :] = 0
        place = unit * CHUNK
        for f in range(first, last):
            i0, i1, i2 = faces[f, 0] + offset, faces[f, 1] + offset, faces[f, 2] + offset
            u0, v0 = positions[i0, 0], positions[i0, 1]
            u1, v1 = positions[i1, 0], positions[i1, 1]
            u2, v2 = positions[i2, 0], positions[i2, 1]
            reach = u0 + u1 + u2
            if np.isfinite(reach):
                left, right = min(min(u0, u1), u2), max(max(u0, u1), u2)
                top, bottom = min(min(v0, v1), v2), max(max(v0, v1), v2)
            elif np.isnan(reach):
                continue
            else:
                left, top, right, bottom = _clipped_box(screen, i0, i1, i2, near)
            x0 = max(np.int64(np.ceil(left - 0.5 - _MARGIN)), 0)
            x1 = min(np.int64(np.floor(right - 0.5 + _MARGIN)), width - 1)
            y0 = max(np.int64(np.ceil(top - 0.5 - _MARGIN)), 0)
            y1 = min(np.int64(np.floor(bottom - 0.5 + _MARGIN)), height - 1)
            if x0 > x1 or y0 > y1:
                continue
            if cull and not _determinant(screen, i0, i1, i2) < 0:
                continue
            kept_face[place] = f
            kept_box[place, 0] = x0
            kept_box[place, 1] = y0
            kept_box[place, 2] = x1
            kept_box[place, 3] = y1
            place += 1
            for ty in range(y0 // HIGH, y1 // HIGH + 1):
                for tx in range(x0 // WIDE, x1 // WIDE + 1):
                    counts[unit, ty * tiles_x + tx] += 1
        kept[unit] = place - unit * CHUNK
        unit = finish_and_take(team, 1, chunks)
    wait(team, 1, chunks)

    unit = take(team, 2, images)
    while unit >= 0:
        totals[unit, :] = 0
        for chunk in range(chunk_start[unit], chunk_start[unit + 1]):
            for tile in range(tiles):
                before = totals[unit, tile]
                totals[unit, tile] = before + counts[chunk, tile]
                counts[chunk, tile] = before
        unit = finish_and_take(team, 2, images)
    wait(team, 2, images)


@njit(nogil=True, cache=True)
def _owns(a, b):
    """Does a pixel exactly on the edge with this plane belong to the triangle (top-left rule)?"""
    return a > 0 or (a == 0 and b > 0)


@njit(nogil=True, cache=True)
def _draw(
    screen, i0, i1, i2, face, near, left, top, x0, y0, x1, y1,
    tile,
):  # fmt: skip
    """Draw pixels x0..x1, y0..y1 (inclusive, within the tile at left, top) of one triangle."""
    px0, py0, pz0 = np.float64(screen[i0, 0]), np.float64(screen[i0, 1]), np.float64(screen[i0, 2])
    px1, py1, pz1 = np.float64(screen[i1, 0]), np.float64(screen[i1, 1]), np.float64(screen[i1, 2])
    px2, py2, pz2 = np.float64(screen[i2, 0]), np.float64(screen[i2, 1]), np.float64(screen[i2, 2])
    a0, b0, c0 = py1 * pz2 - pz1 * py2, pz1 * px2 - px1 * pz2, px1 * py2 - py1 * px2
    a1, b1, c1 = py2 * pz0 - pz2 * py0, pz2 * px0 - px2 * pz0, px2 * py0 - py2 * px0
    a2, b2, c2 = py0 * pz1 - pz0 * py1, pz0 * px1 - px0 * pz1, px0 * py1 - py0 * px1
    det = px0 * a0 + py0 * b0 + pz0 * c0
    if det < 0:
        det = -det
        a0, b0, c0 = -a0, -b0, -c0
        a1, b1, c1 = -a1, -b1, -c1
        a2, b2, c2 = -a2, -b2, -c2
    # A power of two keeps float32 away from its limits and changes no digit.
    size = max(max(abs(a0) + abs(b0), abs(a1) + abs(b1)), abs(a2) + abs(b2))
    if not (size > 0 and det > 0 and np.isfinite(det)):
        return
    if size < 1e-12 or size > 1e12:
        scale = 2.0 ** (-np.floor(np.log2(size)))
        a0, b0, c0 = a0 * scale, b0 * scale, c0 * scale
        a1, b1, c1 = a1 * scale, b1 * scale, c1 * scale
        a2, b2, c2 = a2 * scale, b2 * scale, c2 * scale
        det *= scale
    inverse_det = 1.0 / det
    scale32 = np.float32(inverse_det)
    if not np.isfinite(scale32):
        return
    limit = np.float32(1.0 / near)
    face32 = np.int32(face)
    small = x1 - x0 < SMALL
    steps = (np.float32(a0), np.float32(a1), np.float32(a2))
    doubt = np.float32(_DOUBT * max(max(abs(a0), abs(a1)), abs(a2)))
    for y in range(y0, y1 + 1):
        v = top + y + 0.5
        r0, r1, r2 = b0 * v + c0, b1 * v + c1, b2 * v + c2
        for block in range(x0 // LANES, x1 // LANES + 1):
            low = block * LANES
            if small:
                first, last = max(x0, low), min(x1, low + LANES - 1)
                bits = ((1 << (last - first + 1)) - 1) << (first - low)
            else:
                u = left + low + 0.5
                edges = (np.float32(a0 * u + r0), np.float32(a1 * u + r1), np.float32(a2 * u + r2))
                start = y * WIDE + low
                bits = draw_lanes(tile, PIXELS, start, face32, edges, steps, doubt, scale32, limit)
            while bits != 0:
                x = low + lowest_bit(bits)
                bits &= bits - 1
                u = left + x + 0.5
                e0, e1, e2 = a0 * u + r0, a1 * u + r1, a2 * u + r2
                if e0 < 0 or e1 < 0 or e2 < 0:
                    continue
                if (
                    (e0 == 0 and not _owns(a0, b0))
                    or (e1 == 0 and not _owns(a1, b1))
                    or (e2 == 0 and not _owns(a2, b2))
                ):
                    continue
                inverse = np.float32((e0 + e1 + e2) * inverse_det)
                i = y * WIDE + x
                if inverse > tile[i] and inverse <= limit:
                    tile[i] = inverse
                    tile[PIXELS + i] = e0 * inverse_det
                    tile[2 * PIXELS + i] = e1 * inverse_det
                    tile[3 * PIXELS + i] = as_float_bits(face32)


@njit(nogil=True, cache=True)
def _slopes(screen, i0, i1, i2, planes):
    """How c_0, c_1 and the sum of all three c change with u and v."""
    px0, py0, pz0 = np.float64(screen[i0, 0]), np.float64(screen[i0, 1]), np.float64(screen[i0, 2])
    px1, py1, pz1 = np.float64(screen[i1, 0]), np.float64(screen[i1, 1]), np.float64(screen[i1, 2])
    px2, py2, pz2 = np.float64(screen[i2, 0]), np.float64(screen[i2, 1]), np.float64(screen[i2, 2])
    a0, b0, c0 = py1 * pz2 - pz1 * py2, pz1 * px2 - px1 * pz2, px1 * py2 - py1 * px2
    a1, b1 = py2 * pz0 - pz2 * py0, pz2 * px0 - px2 * pz0
    a2, b2 = py0 * pz1 - pz0 * py1, pz0 * px1 - px0 * pz1
    inverse = 1.0 / (px0 * a0 + py0 * b0 + pz0 * c0)
    planes[0], planes[1] = a0 * inverse, b0 * inverse
    planes[2], planes[3] = a1 * inverse, b1 * inverse
    planes[4], planes[5] = (a0 + a1 + a2) * inverse, (b0 + b1 + b2) * inverse


@njit(nogil=True, cache=True)
def draw(
    team, screen, faces, vertex_start, ranges, chunk_start, near, height, width,
    kept_face, kept_box, kept, counts, starts, entries, derivatives,
    out_face, out_bary, out_depth, out_slope,
):  # fmt: skip
    """Sort the survivors of ``count`` into tiles and draw each tile.

    ``starts`` (image x tile, and one more) says where a tile's entries begin. A tile's entries are
    in the order of the faces, and only a strictly nearer one replaces an earlier: so ties go to the
    lower face, whatever the threads do.
    """
    images = ranges.shape[0]
    chunks = chunk_start[images]
    tiles_x = (width + WIDE - 1) // WIDE
    tiles = tiles_x * ((height + HIGH - 1) // HIGH)

    unit = take(team, 0, chunks)
    while unit >= 0:
        image = 0
        while chunk_start[image + 1] <= unit:
            image += 1
        for place in range(unit * CHUNK, unit * CHUNK + kept[unit]):
            for ty in range(kept_box[place, 1] // HIGH, kept_box[place, 3] // HIGH + 1):
                for tx in range(kept_box[place, 0] // WIDE, kept_box[place, 2] // WIDE + 1):
                    tile = ty * tiles_x + tx
                    entry = counts[unit, tile]
                    counts[unit, tile] = entry + 1
                    entries[starts[image * tiles + tile] + entry] = place
        unit = finish_and_take(team, 0, chunks)
    wait(team, 0, chunks)

    canvas = np.empty(4 * PIXELS, np.float32)
    canvas_face = canvas[3 * PIXELS :].view(np.int32)
    planes = np.empty(6, np.float64)
    unit = take(team, 1, images * tiles)
    while unit >= 0:
        image, tile = unit // tiles, unit % tiles
        left, top = (tile % tiles_x) * WIDE, (tile // tiles_x) * HIGH
        wide, high = min(WIDE, width - left), min(HIGH, height - top)
        offset = vertex_start[image]
        if starts[unit] == starts[unit + 1]:
            for y in range(top, top + high):
                pixel = (image * height + y) * width + left
                out_face[pixel : pixel + wide] = -1
                out_depth[pixel : pixel + wide] = 0
                out_bary[2 * pixel : 2 * (pixel + wide)] = 0
                if derivatives:
                    out_slope[4 * pixel : 4 * (pixel + wide)] = 0
            unit = finish_and_take(team, 1, images * tiles)
            continue
        canvas[:PIXELS] = 0
        canvas_face[:] = -1
        for entry in range(starts[unit], starts[unit + 1]):
            place = entries[entry]
            f = kept_face[place]
            _draw(
                screen, faces[f, 0] + offset, faces[f, 1] + offset, faces[f, 2] + offset, f, near,
                left, top,
                max(kept_box[place, 0] - left, 0), max(kept_box[place, 1] - top, 0),
                min(kept_box[place, 2] - left, wide - 1), min(kept_box[place, 3] - top, high - 1),
                canvas,
            )  # fmt: skip
        for y in range(high):
            pixel = (image * height + top + y) * width + left
            start = y * WIDE
            whole = wide // LANES * LANES
            for x in range(0, whole, LANES):
                resolve_lanes(
                    canvas, PIXELS, start + x, out_face, out_depth, out_bary, pixel + x
                )  # fmt: skip
            for x in range(whole, wide):
                inverse = canvas[start + x]
                z = np.float32(1) / inverse if inverse > 0 else np.float32(0)
                out_face[pixel + x] = canvas_face[start + x]
                out_depth[pixel + x] = z
                w0, w1 = canvas[PIXELS + start + x], canvas[2 * PIXELS + start + x]
                out_bary[2 * (pixel + x)] = w0 * z if inverse > 0 else np.float32(0)
                out_bary[2 * (pixel + x) + 1] = w1 * z if inverse > 0 else np.float32(0)
            if derivatives:
                last = -1
                for x in range(wide):
                    f = canvas_face[start + x]
                    slope = out_slope[4 * (pixel + x) : 4 * (pixel + x) + 4]
                    if f < 0:
                        slope[:] = 0
                        continue
                    if f != last:
                        _slopes(
                            screen, faces[f, 0] + offset, faces[f, 1] + offset,
                            faces[f, 2] + offset, planes,
                        )  # fmt: skip
                        last = f
                    z = out_depth[pixel + x]
                    w0, w1 = out_bary[2 * (pixel + x)], out_bary[2 * (pixel + x) + 1]
                    slope[0] = z * (planes[0] - w0 * planes[4])
                    slope[1] = z * (planes[1] - w0 * planes[5])
                    slope[2] = z * (planes[2] - w1 * planes[4])
                    slope[3] = z * (planes[3] - w1 * planes[5])
        unit = finish_and_take(team, 1, images * tiles)
    wait(team, 1, images * tiles)
