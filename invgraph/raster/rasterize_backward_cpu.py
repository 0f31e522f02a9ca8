"""From gradients of weights and depth to gradients of vertices: the kernel behind ``rasterize``.

With M = [p0 p1 p2], the ray r of a pixel and c = M^-1 r: depth z = 1 / sum c, weights b = z c.
Since dc = -M^-1 dM c, a pixel adds -(M^-T g_c) c^T to the gradient of M. As c = b / z and
g_c = z h with h_i = g_i - sum_j g_j b_j - g_z z, depth cancels, and a triangle needs only
K_ik = sum over its pixels of h_i b_k: its gradient is -M^-T K. Screen derivatives
z (m_iu - b_i sum_j m_ju), with m the rows of M^-1, add to g, to g_z, and to a sum of their own.
"""

import numpy as np
from numba import njit

from .records_cpu import HIGH, SLOTS, WIDE, publish, slot_of
from .threads import finish_and_take, take, wait


@njit(nogil=True, cache=True)
def _inverse(screen, rows, slot, m):
    """The rows of M^-1 of the triangle with these three vertex rows; zeros if it is degenerate."""
    i0, i1, i2 = rows[slot, 0], rows[slot, 1], rows[slot, 2]
    x0, y0, z0 = np.float64(screen[i0, 0]), np.float64(screen[i0, 1]), np.float64(screen[i0, 2])
    x1, y1, z1 = np.float64(screen[i1, 0]), np.float64(screen[i1, 1]), np.float64(screen[i1, 2])
    x2, y2, z2 = np.float64(screen[i2, 0]), np.float64(screen[i2, 1]), np.float64(screen[i2, 2])
    a, b, c = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    det = x0 * a + y0 * b + z0 * c
    s = 1.0 / det if det != 0 else 0.0
    m[0, 0], m[0, 1], m[0, 2] = a * s, b * s, c * s
    m[1, 0], m[1, 1] = (y2 * z0 - z2 * y0) * s, (z2 * x0 - x2 * z0) * s
    m[1, 2] = (x2 * y0 - y2 * x0) * s
    m[2, 0], m[2, 1] = (y0 * z1 - z0 * y1) * s, (z0 * x1 - x0 * z1) * s
    m[2, 2] = (x0 * y1 - y0 * x1) * s


@njit(nogil=True, cache=True)
def _add(sums, slot, k00, k01, k02, k10, k11, k12, k20, k21, k22):
    """Add what a run of pixels summed in registers."""
    sums[slot, 0] += k00
    sums[slot, 1] += k01
    sums[slot, 2] += k02
    sums[slot, 3] += k10
    sums[slot, 4] += k11
    sums[slot, 5] += k12
    sums[slot, 6] += k20
    sums[slot, 7] += k21
    sums[slot, 8] += k22


@njit(nogil=True, cache=True)
def backward(
    team, screen, faces, vertex_start, shape, face, bary, depth, grad_bary, grad_depth, grad_slope,
    has_bary, has_depth, has_slope, counter, spans, record_rows, record_values,
):  # fmt: skip
    """The records of every tile. All maps are flat; those whose ``has`` is false are not read."""
    images, height, width = shape
    tiles_x = (width + WIDE - 1) // WIDE
    tiles = tiles_x * ((height + HIGH - 1) // HIGH)
    keys = np.empty(SLOTS, np.int32)
    places = np.empty(SLOTS, np.int16)
    rows = np.empty((WIDE * HIGH, 3), np.int32)
    sums = np.empty((WIDE * HIGH, 15), np.float64)  # K, then the sums of (m_iu, m_iv) gradients
    m = np.empty((3, 3), np.float64)
    k = np.empty((3, 3), np.float64)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        image, tile = unit // tiles, unit % tiles
        left, top = (tile % tiles_x) * WIDE, (tile // tiles_x) * HIGH
        offset = vertex_start[image]
        size, last, slot = 0, -1, 0
        places[:] = -1
        k00, k01, k02, k10, k11, k12, k20, k21, k22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for y in range(top, min(top + HIGH, height)):
            start = (image * height + y) * width
            for pixel in range(start + left, start + min(left + WIDE, width)):
                f = face[pixel]
                if f < 0:
                    continue
                if f != last:
                    if last >= 0:
                        _add(sums, slot, k00, k01, k02, k10, k11, k12, k20, k21, k22)
                    k00, k01, k02, k10, k11, k12 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
                    k20, k21, k22 = 0.0, 0.0, 0.0
                    last = f
                    slot = slot_of(f, keys, places, size)
                    if slot == size:
                        for corner in range(3):
                            rows[slot, corner] = faces[f, corner] + offset
                        sums[slot, :] = 0
                        size += 1
                    if has_slope:
                        _inverse(screen, rows, slot, m)
                w0, w1 = np.float64(bary[2 * pixel]), np.float64(bary[2 * pixel + 1])
                w2 = 1.0 - w0 - w1
                z = np.float64(depth[pixel])
                g0, g1, gz = 0.0, 0.0, 0.0
                if has_bary:
                    g0 = np.float64(grad_bary[2 * pixel])
                    g1 = np.float64(grad_bary[2 * pixel + 1])
                if has_depth:
                    gz = np.float64(grad_depth[pixel])
                if has_slope:
                    for axis in range(2):
                        s0 = np.float64(grad_slope[4 * pixel + axis])
                        s1 = np.float64(grad_slope[4 * pixel + 2 + axis])
                        total = m[0, axis] + m[1, axis] + m[2, axis]
                        shared = z * (s0 * w0 + s1 * w1)
                        sums[slot, 9 + axis] += z * s0 - shared
                        sums[slot, 11 + axis] += z * s1 - shared
                        sums[slot, 13 + axis] -= shared
                        gz += s0 * (m[0, axis] - w0 * total) + s1 * (m[1, axis] - w1 * total)
                        g0 -= z * s0 * total
                        g1 -= z * s1 * total
                common = g0 * w0 + g1 * w1 + gz * z
                h0, h1, h2 = g0 - common, g1 - common, -common
                k00, k01, k02 = k00 + h0 * w0, k01 + h0 * w1, k02 + h0 * w2
                k10, k11, k12 = k10 + h1 * w0, k11 + h1 * w1, k12 + h1 * w2
                k20, k21, k22 = k20 + h2 * w0, k21 + h2 * w1, k22 + h2 * w2
        if last >= 0:
            _add(sums, slot, k00, k01, k02, k10, k11, k12, k20, k21, k22)
        for slot in range(size):
            _inverse(screen, rows, slot, m)
            for i in range(3):
                for j in range(3):
                    k[i, j] = sums[slot, 3 * i + j]
                    if has_slope:
                        k[i, j] += sums[slot, 9 + 2 * i] * m[j, 0]
                        k[i, j] += sums[slot, 10 + 2 * i] * m[j, 1]
            for j in range(3):
                for axis in range(3):
                    total = m[0, axis] * k[0, j] + m[1, axis] * k[1, j] + m[2, axis] * k[2, j]
                    sums[slot, 3 * j + axis] = -total
        publish(rows, sums, size, counter, spans, unit, record_rows, record_values)
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)
