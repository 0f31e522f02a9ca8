"""From gradients of weights and depth to gradients of vertices: the kernel behind ``rasterize``.

With M = [p0 p1 p2], the ray r of a pixel and c = M^-1 r: depth z = 1 / sum c, weights b = z c.
Since dc = -M^-1 dM c, a pixel adds -(M^-T g_c) c^T to the gradient of M. As c = b / z and
g_c = z h with h_i = g_i - sum_j g_j b_j - g_z z, depth cancels, and a triangle needs only
K_ik = sum over its pixels of h_i b_k: its gradient is -M^-T K. Screen derivatives
z (m_iu - b_i sum_j m_ju), with m the rows of M^-1, add to g, to g_z, and to a sum of their own.
"""

import numpy as np

from invgraph.kernels.lanes import apart, pull, pull_deep
from invgraph.kernels.threads import finish_and_take, inner, kernel, take, wait
from invgraph.raster.cpu.records import HIGH, SLOTS, WIDE, collect, publish, run_end, slot_of

SUMS = 18  # of a triangle: K, rows of four, then the sums of the gradients of m_iu, m_iv


@inner
def _inverse(screen, rows, slot, m):
    """The rows of M^-1 of the triangle with these three vertex rows; zeros if it is degenerate."""
    i0, i1, i2 = 3 * rows[slot, 0], 3 * rows[slot, 1], 3 * rows[slot, 2]
    x0, y0, z0 = np.float64(screen[i0]), np.float64(screen[i0 + 1]), np.float64(screen[i0 + 2])
    x1, y1, z1 = np.float64(screen[i1]), np.float64(screen[i1 + 1]), np.float64(screen[i1 + 2])
    x2, y2, z2 = np.float64(screen[i2]), np.float64(screen[i2 + 1]), np.float64(screen[i2 + 2])
    a, b, c = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    det = x0 * a + y0 * b + z0 * c
    s = 1.0 / det if det != 0 else 0.0
    m[0], m[1], m[2] = a * s, b * s, c * s
    m[3], m[4], m[5] = (y2 * z0 - z2 * y0) * s, (z2 * x0 - x2 * z0) * s, (x2 * y0 - y2 * x0) * s
    m[6], m[7], m[8] = (y0 * z1 - z0 * y1) * s, (z0 * x1 - x0 * z1) * s, (x0 * y1 - y0 * x1) * s


@inner
def _pull_slopes(m, bary, depth, grad_slope, pixel, end, sums, place):
    """Add what the gradients of screen derivatives of a run of pixels pull."""
    apart()
    for p in range(pixel, end):
        w0, w1, z = np.float64(bary[2 * p]), np.float64(bary[2 * p + 1]), np.float64(depth[p])
        g0, g1, gz = 0.0, 0.0, 0.0
        for axis in range(2):
            s0, s1 = np.float64(grad_slope[4 * p + axis]), np.float64(grad_slope[4 * p + 2 + axis])
            total = m[axis] + m[3 + axis] + m[6 + axis]
            shared = z * (s0 * w0 + s1 * w1)
            sums[place + 12 + axis] += z * s0 - shared
            sums[place + 14 + axis] += z * s1 - shared
            sums[place + 16 + axis] -= shared
            gz += s0 * (m[axis] - w0 * total) + s1 * (m[3 + axis] - w1 * total)
            g0 -= z * s0 * total
            g1 -= z * s1 * total
        w2 = 1.0 - w0 - w1
        common = g0 * w0 + g1 * w1 + gz * z
        for i in range(3):
            h = (g0 if i == 0 else (g1 if i == 1 else 0.0)) - common
            sums[place + 4 * i] += h * w0
            sums[place + 4 * i + 1] += h * w1
            sums[place + 4 * i + 2] += h * w2


@inner
def _to_corners(m, sums, place, has_slope, k):
    """Turn the sums of a triangle into the gradient -M^-T K of its corners, in their place.

    ``k`` is nine numbers of scratch.
    """
    apart()
    for i in range(3):
        for j in range(3):
            total = sums[place + 4 * i + j]
            if has_slope:
                total += sums[place + 12 + 2 * i] * m[3 * j]
                total += sums[place + 13 + 2 * i] * m[3 * j + 1]
            k[3 * i + j] = total
    for j in range(3):
        for axis in range(3):
            total = m[axis] * k[j] + m[3 + axis] * k[3 + j] + m[6 + axis] * k[6 + j]
            sums[place + 3 * j + axis] = -total


@kernel
def backward(
    team, screen, faces, vertex_start, shape, face, bary, depth, grad_bary, grad_depth, grad_slope,
    has_depth, has_slope, counter, spans, record_rows, record_values, groups, owners, gradient,
):  # fmt: skip
    """The records of every tile, and their sums.

    All maps are flat; those whose ``has`` is false are not read.
    """
    images, height, width = shape
    tiles_x = (width + WIDE - 1) // WIDE
    tiles = tiles_x * ((height + HIGH - 1) // HIGH)
    keys = np.empty(SLOTS, np.int32)
    places = np.empty(SLOTS, np.int16)
    rows = np.empty((WIDE * HIGH, 3), np.int32)
    sums = np.empty(WIDE * HIGH * SUMS, np.float64)
    m, k = np.empty(9, np.float64), np.empty(9, np.float64)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        image, tile = unit // tiles, unit % tiles
        left, top = (tile % tiles_x) * WIDE, (tile // tiles_x) * HIGH
        offset = vertex_start[image]
        size = np.int64(0)
        for i in range(SLOTS):
            places[i] = -1
        for y in range(top, min(top + HIGH, height)):
            start = (image * height + y) * width
            pixel, last = start + left, start + min(left + WIDE, width)
            while pixel < last:
                f = np.int64(face[pixel])
                end = run_end(face, pixel, last)
                if f >= 0:
                    slot = slot_of(f, keys, places, size)
                    place = slot * SUMS
                    if slot == size:
                        for corner in range(3):
                            rows[slot, corner] = faces[f, corner] + offset
                        for i in range(SUMS):
                            sums[place + i] = 0
                        size += 1
                    if has_depth:
                        pull_deep(
                            sums, place, bary, grad_bary, depth, grad_depth, pixel, end - pixel
                        )
                    else:
                        pull(sums, place, bary, grad_bary, depth, grad_depth, pixel, end - pixel)
                    if has_slope:
                        _inverse(screen, rows, slot, m)
                        _pull_slopes(m, bary, depth, grad_slope, pixel, end, sums, place)
                pixel = end
        for slot in range(size):
            _inverse(screen, rows, slot, m)
            _to_corners(m, sums, slot * SUMS, has_slope, k)
        publish(rows, sums, SUMS, size, counter, spans, unit, record_rows, record_values)
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)
    collect(team, 1, counter, spans, record_rows, record_values, groups, owners, gradient, 0, 3)
