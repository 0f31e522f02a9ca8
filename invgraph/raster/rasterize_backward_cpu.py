"""From gradients of weights and depth to gradients of vertices: the kernel behind ``rasterize``.

With M = [p0 p1 p2], the ray r of a pixel and c = M^-1 r: depth z = 1 / sum c, weights b = z c.
Since dc = -M^-1 dM c, a pixel adds -(M^-T g_c) c^T to the gradient of M. As c = b / z and
g_c = z h with h_i = g_i - sum_j g_j b_j - g_z z, depth cancels, and a triangle needs only
K_ik = sum over its pixels of h_i b_k: its gradient is -M^-T K. Screen derivatives
z (m_iu - b_i sum_j m_ju), with m the rows of M^-1, add to g, to g_z, and to a sum of their own.
"""

import numpy as np

from .lanes import LANES, apart, fetch
from .pull_lanes import pull_run, pull_run_deep
from .records_cpu import HIGH, SLOTS, WIDE, collect, copy, find_runs, publish
from .threads import finish_and_take, inner, kernel, take, wait

# Of a triangle: the nine sums of ``pull_run_deep``, of which K is made, then those of the gradients
# of m_iu, m_iv.
SUMS, _SLOPES = 15, 9


@inner
def _inverse(screen, rows, slot, m):
    """The rows of M^-1 of the triangle with these three vertex rows; zeros if it is degenerate."""
    i0, i1, i2 = 3 * rows[3 * slot], 3 * rows[3 * slot + 1], 3 * rows[3 * slot + 2]
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
            sums[place + _SLOPES + axis] += z * s0 - shared
            sums[place + _SLOPES + 2 + axis] += z * s1 - shared
            sums[place + _SLOPES + 4 + axis] -= shared
            gz += s0 * (m[axis] - w0 * total) + s1 * (m[3 + axis] - w1 * total)
            g0 -= z * s0 * total
            g1 -= z * s1 * total
        shared = g0 * w0 + g1 * w1 + gz * z
        sums[place] += g0 * w0
        sums[place + 1] += g0 * w1
        sums[place + 2] += g0
        sums[place + 3] += g1 * w0
        sums[place + 4] += g1 * w1
        sums[place + 5] += g1
        sums[place + 6] += shared * w0
        sums[place + 7] += shared * w1
        sums[place + 8] += gz * z


@inner
def _to_corners(m, sums, place, has_slope, k):
    """Turn the sums of a triangle into the gradient -M^-T K of its corners, in their place.

    ``k`` is nine numbers of scratch.
    """
    apart()
    shared = sums[place] + sums[place + 4] + sums[place + 8]
    for i in range(3):
        g = 3 * i
        first, second, every = -sums[place + 6], -sums[place + 7], -shared
        if i < 2:
            first += sums[place + g]
            second += sums[place + g + 1]
            every += sums[place + g + 2]
        k[g], k[g + 1], k[g + 2] = first, second, every - first - second
        if has_slope:
            for j in range(3):
                k[g + j] += sums[place + _SLOPES + 2 * i] * m[3 * j]
                k[g + j] += sums[place + _SLOPES + 2 * i + 1] * m[3 * j + 1]
    for j in range(3):
        for axis in range(3):
            total = m[axis] * k[j] + m[3 + axis] * k[3 + j] + m[6 + axis] * k[6 + j]
            sums[place + 3 * j + axis] = -total


@inner
def _pull_row(
    runs, number, start, bary, grad_bary, depth, grad_depth, has_depth, sums
):  # fmt: skip
    """Add what a row of a tile gives to the records' ``sums``."""
    apart()
    for run in range(np.uint64(number)):
        at = np.uint64(3) * run
        begin, end = runs[at], runs[at + np.uint64(1)]
        place = runs[at + np.uint64(2)] * SUMS
        pixel, count = start + begin, end - begin
        if has_depth:
            pull_run_deep(sums, place, bary, grad_bary, depth, grad_depth, pixel, count)
        else:
            pull_run(sums, place, bary, grad_bary, depth, grad_depth, pixel, count)


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
    table = np.empty(SLOTS, np.int32), np.empty(SLOTS, np.int16)
    rows = np.empty(3 * WIDE * HIGH, np.int32)
    sums = np.empty(WIDE * HIGH * SUMS, np.float64)
    runs = np.empty(3 * WIDE, np.int64)
    m, k = np.empty(9, np.float64), np.empty(9, np.float64)
    # Copies of the last rows, with room behind: vectors read beyond a run.
    spare_bary = np.empty(2 * (WIDE + LANES), np.float32)
    spare_grad = np.empty(2 * (WIDE + LANES), np.float32)
    spare_depth = np.empty(WIDE + LANES, np.float32)
    spare_grad_depth = np.empty(WIDE + LANES, np.float32)
    unit = take(team, 0, images * tiles)
    while unit >= 0:
        image, tile = unit // tiles, unit % tiles
        left, top = (tile % tiles_x) * WIDE, (tile // tiles_x) * HIGH
        count = min(WIDE, width - left)
        offset = vertex_start[image]
        size = np.int64(0)
        for i in range(SLOTS):
            table[1][i] = -1
        for y in range(top, min(top + HIGH, height)):
            start = (image * height + y) * width + left
            stop = start + count
            if y + 1 < height:
                after = start + width
                fetch(face, after, after + count)
                fetch(bary, 2 * after, 2 * (after + count))
                fetch(grad_bary, 2 * after, 2 * (after + count))
            number, end = find_runs(face, start, count, faces, offset, table, rows, size, runs)
            for i in range(np.uint64(size * SUMS), np.uint64(end * SUMS)):
                sums[i] = 0
            size = end
            pixel, weights, grads = start, bary, grad_bary
            depths, grad_depths = depth, grad_depth
            if stop + LANES > face.size:
                copy(bary, 2 * start, 2 * stop, spare_bary)
                copy(grad_bary, 2 * start, 2 * stop, spare_grad)
                pixel, weights, grads = 0, spare_bary, spare_grad
                if has_depth:
                    copy(depth, start, stop, spare_depth)
                    copy(grad_depth, start, stop, spare_grad_depth)
                    depths, grad_depths = spare_depth, spare_grad_depth
            _pull_row(runs, number, pixel, weights, grads, depths, grad_depths, has_depth, sums)
            if has_slope:
                for run in range(number):
                    begin, end, slot = runs[3 * run], runs[3 * run + 1], runs[3 * run + 2]
                    _inverse(screen, rows, slot, m)
                    _pull_slopes(
                        m, bary, depth, grad_slope, start + begin, start + end, sums, slot * SUMS
                    )
        for slot in range(size):
            _inverse(screen, rows, slot, m)
            _to_corners(m, sums, slot * SUMS, has_slope, k)
        publish(rows, sums, SUMS, size, counter, spans, unit, record_rows, record_values)
        unit = finish_and_take(team, 0, images * tiles)
    wait(team, 0, images * tiles)
    collect(team, 1, counter, spans, record_rows, record_values, groups, owners, gradient, 0, 3)
