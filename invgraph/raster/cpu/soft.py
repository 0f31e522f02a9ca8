"""Soft silhouettes: compiled kernels for a product over every face near a pixel.

``draw`` multiplies tile by tile over the polygons within reach (``polygons_cpu``), and ``backward``
visits the same pairs of tile and polygon again. A tile adds up what a face gets there in
a place of its own; faces then add up their tiles and vertices their faces, each in a fixed order.
"""

from typing import Any

import numpy as np
from numba import njit

from invgraph.kernels.lanes import as_float_bits
from invgraph.kernels.threads import finish_and_take, take, wait
from invgraph.raster.cpu.polygons import CHUNK, HIGH, WIDE, image_of, tile_of

REACH = 4.0  # in units of sigma: beyond, a face covers less than float32 can tell from nothing

_FASTMATH = {"contract", "nsz", "arcp", "reassoc"}
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": _FASTMATH,
}
_jit = njit(**_OPTIONS)
_INNER_OPTIONS: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True}
_inner = njit(**_INNER_OPTIONS)
_ZERO = np.float32(0)
_ONE = np.float32(1)
_NOTHING = np.float32(2**-26)  # coverage is rounded to 1 when less than this is left of a pixel


@_inner
def _edges(points, n, left, top, edges):
    """Lines through a polygon's edges, seen from a tile: its origin is the tile's corner.

    Rows of ``edges``: normal (inwards) and offset, direction and offset, length.
    """
    area = 0.0
    for k in range(2, n):
        ax, ay = points[k - 1, 0] - points[0, 0], points[k - 1, 1] - points[0, 1]
        bx, by = points[k, 0] - points[0, 0], points[k, 1] - points[0, 1]
        area += ax * by - ay * bx
    sign = 1.0 if area >= 0 else -1.0
    for k in range(n):
        j = k + 1 if k + 1 < n else 0
        x, y = points[k, 0] - left, points[k, 1] - top
        dx, dy = points[j, 0] - points[k, 0], points[j, 1] - points[k, 1]
        length = np.sqrt(dx * dx + dy * dy)
        ex, ey = (dx / length, dy / length) if length > 0 else (1.0, 0.0)
        nx, ny = -ey * sign, ex * sign
        edges[k, 0], edges[k, 1], edges[k, 2] = nx, ny, -(nx * x + ny * y)
        edges[k, 3], edges[k, 4], edges[k, 5] = ex, ey, -(ex * x + ey * y)
        edges[k, 6] = length


@_inner
def _exp(x):
    """e**x for |x| <= 80, to 2e-7 of its value; vectorises, unlike the library's."""
    y = x * np.float32(1.4426950408889634)
    whole = np.floor(y + np.float32(0.5))
    f = (y - whole) * np.float32(0.6931471805599453)
    p = np.float32(1 / 720)
    p = p * f + np.float32(1 / 120)
    p = p * f + np.float32(1 / 24)
    p = p * f + np.float32(1 / 6)
    p = p * f + np.float32(0.5)
    p = p * f + _ONE
    p = p * f + _ONE
    bits = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
    return p * as_float_bits(bits)  # pyright: ignore[reportCallIssue]


@_inner
def _near_edge(nx, ny, nc, ex, ey, ec, length, x, y):
    """Distance from the line (positive inside), excess beyond the edge's ends, place along it."""
    across = nx * x + ny * y + nc
    along = ex * x + ey * y + ec
    clamped = along if along > _ZERO else _ZERO
    clamped = clamped if clamped < length else length
    return across, along - clamped, clamped


@_inner
def _exponent(inside, squared, scale):
    s = squared * scale
    s = s if s < np.float32(60) else np.float32(60)
    return s if inside else -s


@_inner
def _rows_of(points, n, top, high, reach):
    """Rows of a tile that a polygon reaches."""
    v0, v1 = points[0, 1], points[0, 1]
    for k in range(1, n):
        v0, v1 = min(v0, points[k, 1]), max(v1, points[k, 1])
    first = max(np.int64(np.ceil(v0 - reach - 0.5)) - top, 0)
    return first, min(np.int64(np.floor(v1 + reach - 0.5)) - top, high - 1)


@_inner
def _multiply(edges, n, y0, y1, scale, rest):
    """Multiply ``rest``, what earlier faces leave uncovered of a tile, by what this face leaves."""
    a0, a1, a2, a3, a4, a5, a6 = edges[0]
    b0, b1, b2, b3, b4, b5, b6 = edges[1]
    c0, c1, c2, c3, c4, c5, c6 = edges[2]
    d0, d1, d2, d3, d4, d5, d6 = edges[3]
    for row in range(y0, y1 + 1):
        y = np.float32(row) + np.float32(0.5)
        for i in range(WIDE):
            x = np.float32(i) + np.float32(0.5)
            s0, e0, _ = _near_edge(a0, a1, a2, a3, a4, a5, a6, x, y)
            s1, e1, _ = _near_edge(b0, b1, b2, b3, b4, b5, b6, x, y)
            s2, e2, _ = _near_edge(c0, c1, c2, c3, c4, c5, c6, x, y)
            squared = min(min(s0 * s0 + e0 * e0, s1 * s1 + e1 * e1), s2 * s2 + e2 * e2)
            lowest = min(min(s0, s1), s2)
            if n == 4:
                s3, e3, _ = _near_edge(d0, d1, d2, d3, d4, d5, d6, x, y)
                squared = min(squared, s3 * s3 + e3 * e3)
                lowest = min(lowest, s3)
            s = _exponent(lowest >= _ZERO, squared, scale)
            rest[np.uint64(row * WIDE) + np.uint64(i)] *= _ONE / (_ONE + _exp(s))


@_inner
def _largest(values):
    largest = _ZERO
    for i in range(values.shape[0]):
        largest = max(largest, values[i])
    return largest


@_jit
def draw(team, images, height, width, scale, reach, points, corners, starts, entries, alpha):
    """Cover tile by tile."""
    tiles_x, tiles_y = (width + WIDE - 1) // WIDE, (height + HIGH - 1) // HIGH
    tiles = tiles_x * tiles_y
    rest = np.empty(WIDE * HIGH, np.float32)
    edges = np.zeros((4, 7), np.float32)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        left, top, wide, high = tile_of(unit, tiles, tiles_x, height, width)
        rest[:] = _ONE
        for entry in range(starts[unit], starts[unit + 1]):
            item = entries[entry]
            n = corners[item]
            y0, y1 = _rows_of(points[item], n, top, high, reach)
            _edges(points[item], n, left, top, edges)
            _multiply(edges, n, y0, y1, scale, rest)
            if entry % 8 == 7 and _largest(rest) < _NOTHING:
                break
        image = unit // tiles
        for row in range(high):
            for i in range(wide):
                alpha[image, top + row, left + i] = _ONE - rest[row * WIDE + i]
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)


@_inner
def _pull(edges, n, y0, y1, scale, weight, sums):
    """Sum over a tile what moves each corner: ``sums`` (corner, axis).

    The signed squared distance s of a pixel p to its closest point q = (1 - t) a + t b of edge ab
    has ds/da = -2 (1 - t) (p - q) and ds/db = -2 t (p - q) times its sign, inside or outside.
    """
    a0, a1, a2, a3, a4, a5, a6 = edges[0]
    b0, b1, b2, b3, b4, b5, b6 = edges[1]
    c0, c1, c2, c3, c4, c5, c6 = edges[2]
    d0, d1, d2, d3, d4, d5, d6 = edges[3]
    ax = ay = bx = by = cx = cy = dx = dy = _ZERO
    ra = _ONE / a6 if a6 > _ZERO else _ZERO
    rb = _ONE / b6 if b6 > _ZERO else _ZERO
    rc = _ONE / c6 if c6 > _ZERO else _ZERO
    rd = _ONE / d6 if d6 > _ZERO else _ZERO
    for row in range(y0, y1 + 1):
        y = np.float32(row) + np.float32(0.5)
        for i in range(WIDE):
            x = np.float32(i) + np.float32(0.5)
            s0, e0, t0 = _near_edge(a0, a1, a2, a3, a4, a5, a6, x, y)
            s1, e1, t1 = _near_edge(b0, b1, b2, b3, b4, b5, b6, x, y)
            s2, e2, t2 = _near_edge(c0, c1, c2, c3, c4, c5, c6, x, y)
            q0, q1, q2 = s0 * s0 + e0 * e0, s1 * s1 + e1 * e1, s2 * s2 + e2 * e2
            lowest = min(min(s0, s1), s2)
            squared = min(min(q0, q1), q2)
            q3 = np.float32(np.inf)
            s3 = e3 = t3 = _ZERO
            if n == 4:
                s3, e3, t3 = _near_edge(d0, d1, d2, d3, d4, d5, d6, x, y)
                q3 = s3 * s3 + e3 * e3
                lowest = min(lowest, s3)
                squared = min(squared, q3)
            inside = lowest >= _ZERO
            s = _exponent(inside, squared, scale)
            growth = _exp(s)
            g = weight[np.uint64(row * WIDE) + np.uint64(i)] * (growth / (_ONE + growth))
            g = g if inside else -g
            g = g if squared * scale < np.float32(60) else _ZERO
            g0 = g if q0 <= squared else _ZERO
            g1 = g if q1 <= squared and g0 == _ZERO else _ZERO
            g2 = g if q2 <= squared and g0 == _ZERO and g1 == _ZERO else _ZERO
            g3 = g if n == 4 and g0 == _ZERO and g1 == _ZERO and g2 == _ZERO else _ZERO
            h0, h1, h2, h3 = t0 * ra, t1 * rb, t2 * rc, t3 * rd
            x0, y0_ = g0 * (s0 * a0 + e0 * a3), g0 * (s0 * a1 + e0 * a4)
            x1, y1_ = g1 * (s1 * b0 + e1 * b3), g1 * (s1 * b1 + e1 * b4)
            x2, y2_ = g2 * (s2 * c0 + e2 * c3), g2 * (s2 * c1 + e2 * c4)
            x3, y3_ = g3 * (s3 * d0 + e3 * d3), g3 * (s3 * d1 + e3 * d4)
            ax += x0 * (_ONE - h0)
            ay += y0_ * (_ONE - h0)
            bx += x0 * h0 + x1 * (_ONE - h1)
            by += y0_ * h0 + y1_ * (_ONE - h1)
            cx += x1 * h1 + x2 * (_ONE - h2)
            cy += y1_ * h1 + y2_ * (_ONE - h2)
            if n == 4:
                dx += x2 * h2 + x3 * (_ONE - h3)
                dy += y2_ * h2 + y3_ * (_ONE - h3)
                ax += x3 * h3
                ay += y3_ * h3
            else:
                ax += x2 * h2
                ay += y2_ * h2
    sums[0], sums[1], sums[2], sums[3] = ax, ay, bx, by
    sums[4], sums[5], sums[6], sums[7] = cx, cy, dx, dy


@_inner
def _to_vertices(screen, corners, near, gradient, out):
    """Chain the gradient of a polygon's corners to the face's homogeneous vertices."""
    out[:, :] = 0
    place = 0
    for k in range(3):
        m = (k + 1) % 3
        i, j = corners[k], corners[m]
        x, y, z = float(screen[i, 0]), float(screen[i, 1]), float(screen[i, 2])
        x2, y2, z2 = float(screen[j, 0]), float(screen[j, 1]), float(screen[j, 2])
        if z >= near:
            gu, gv = gradient[2 * place] / z, gradient[2 * place + 1] / z
            out[k, 0] += gu
            out[k, 1] += gv
            out[k, 2] -= (gu * x + gv * y) / z
            place += 1
        if (z >= near) != (z2 >= near):
            gu, gv = gradient[2 * place] / near, gradient[2 * place + 1] / near
            t = (near - z) / (z2 - z)
            gt = gu * (x2 - x) + gv * (y2 - y)
            out[k, 0] += gu * (1 - t)
            out[k, 1] += gv * (1 - t)
            out[m, 0] += gu * t
            out[m, 1] += gv * t
            out[k, 2] += gt * (near - z2) / ((z2 - z) * (z2 - z))
            out[m, 2] -= gt * (near - z) / ((z2 - z) * (z2 - z))
            place += 1


@_jit
def backward(
    team, screen, faces, vertex_start, ranges, chunk_start, near, reach, scale, height, width,
    points, corners, boxes, slots, starts, entries, alpha, grad, pulls, by_face, owners,
    grad_screen,
):  # fmt: skip
    """Gradient towards ``screen``. Scratch: ``pulls`` (entries, 8), ``by_face`` (items, 3, 3).

    ``owners`` splits the rows of ``grad_screen`` evenly; each owner adds up its rows alone.
    """
    chunks = chunk_start[-1]
    images = ranges.shape[0]
    tiles_x, tiles_y = (width + WIDE - 1) // WIDE, (height + HIGH - 1) // HIGH
    tiles = tiles_x * tiles_y
    weight = np.empty(WIDE * HIGH, np.float32)
    edges = np.zeros((4, 7), np.float32)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        left, top, wide, high = tile_of(unit, tiles, tiles_x, height, width)
        image = unit // tiles
        weight[:] = _ZERO
        for row in range(high):
            for i in range(wide):
                rest = _ONE - alpha[image, top + row, left + i]
                g = grad[image, top + row, left + i]
                weight[row * WIDE + i] = np.float32(-2) * scale * rest * g
        tx, ty = left // WIDE, top // HIGH
        idle = True
        for i in range(WIDE * HIGH):
            idle &= weight[i] == _ZERO
        for entry in range(starts[unit], starts[unit + 1]):
            item = entries[entry]
            slot = slots[item] + tx - boxes[item, 0]
            slot += (ty - boxes[item, 1]) * (boxes[item, 2] - boxes[item, 0] + 1)
            if idle:
                pulls[slot] = _ZERO
                continue
            n = corners[item]
            y0, y1 = _rows_of(points[item], n, top, high, reach)
            _edges(points[item], n, left, top, edges)
            _pull(edges, n, y0, y1, scale, weight, pulls[slot])
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)

    unit = take(team, 1, chunks)
    while unit >= 0:
        image = image_of(unit, chunk_start)
        first = ranges[image, 0] + (unit - chunk_start[image]) * CHUNK
        index = np.empty(3, np.int64)
        total = np.empty(8, np.float64)
        for item in range(unit * CHUNK, (unit + 1) * CHUNK):
            if corners[item] == 0:
                continue
            tall = boxes[item, 3] - boxes[item, 1] + 1
            last = slots[item] + tall * (boxes[item, 2] - boxes[item, 0] + 1)
            total[:] = 0
            for slot in range(slots[item], last):
                for k in range(8):
                    total[k] += pulls[slot, k]
            for k in range(3):
                index[k] = faces[first + item - unit * CHUNK, k] + vertex_start[image]
            _to_vertices(screen, index, near, total, by_face[item])
        unit = finish_and_take(team, 1, chunks)
    wait(team, 1, chunks)

    unit = take(team, 2, owners)
    while unit >= 0:
        low = grad_screen.shape[0] * unit // owners
        high = grad_screen.shape[0] * (unit + 1) // owners
        grad_screen[low:high] = 0
        for chunk in range(chunks):
            image = image_of(chunk, chunk_start)
            first = ranges[image, 0] + (chunk - chunk_start[image]) * CHUNK
            for item in range(chunk * CHUNK, (chunk + 1) * CHUNK):
                if corners[item] == 0:
                    continue
                for k in range(3):
                    row = faces[first + item - chunk * CHUNK, k] + vertex_start[image]
                    if low <= row and row < high:
                        for axis in range(3):
                            grad_screen[row, axis] += by_face[item, k, axis]
        unit = finish_and_take(team, 2, owners)
    wait(team, 2, owners)
