"""Photometric residuals of points, with derivatives, in compiled code.

Points belong to a frame (their host) and have an inverse depth there. A pattern of pixels around
each is compared with where it lands in the host's targets, another frame each. ``D = 6 (m + 2)``
unknowns of a host with m targets: its own pose, those of the targets, the lens (three, padded). A
pose moves by (rho, phi) about the camera's centre: ``exp(phi) t + rho`` and ``exp(phi) R``. The
lens moves by the log of both focal lengths, k1, k2.
"""

import numpy as np

from invgraph.fitting.motion.flow_cpu import contains, sample
from invgraph.geometry.distortion_cpu import bend, straighten
from invgraph.kernels.threads import finish_and_take, inner, kernel, take, wait

# Engel et al., Direct Sparse Odometry (2018), figure 4.
PATTERN = np.array(
    [[0, -2], [-1, -1], [1, -1], [-2, 0], [0, 0], [2, 0], [-1, 1], [0, 2]], np.float64
)
_PIXELS = len(PATTERN)
_CENTRE = 4  # of the pattern
_ROW = 16  # host 6, target 6, lens 3, inverse depth
_SHRUNK = 0.7  # by what a pattern may grow or shrink: slanted surfaces are compared badly beyond


@inner
def relative(target, host, out):
    """``target_from_host`` from two camera_from_world."""
    for i in range(3):
        for j in range(3):
            value = 0.0
            for k in range(3):
                value += target[i, k] * host[j, k]
            out[i, j] = value
        value = target[i, 3]
        for k in range(3):
            value -= out[i, k] * host[k, 3]
        out[i, 3] = value


@inner
def _host_pattern(image, u, v, scale, lens, rays, by_lens, levels, bent):
    """Rays, their derivatives by the lens, and levels of a point's pattern in its host."""
    for k in range(_PIXELS):
        p, q = u + PATTERN[k, 0] * scale, v + PATTERN[k, 1] * scale
        if not contains(image, p / scale, q / scale, 0.0):
            return False
        levels[k] = sample(image, p / scale, q / scale)
        x, y = straighten(p, q, lens, bent)
        rays[k, 0], rays[k, 1] = x, y
        r = x * x + y * y
        k1 = r / bent[6]  # what x and y change by
        determinant = bent[2] * bent[5] - bent[3] * bent[4]
        for n in range(3):
            e = bent[0] if n == 0 else (x * k1 if n == 1 else x * k1 * r)
            f = bent[1] if n == 0 else (y * k1 if n == 1 else y * k1 * r)
            by_lens[k, n, 0] = -(bent[5] * e - bent[3] * f) / determinant
            by_lens[k, n, 1] = -(bent[2] * f - bent[4] * e) / determinant
    return True


@inner
def _compare(
    image, motion, inverse, slant, scale, lens, gain, offset, rays, by_lens, levels, bent, rows
):
    """Residuals and their derivatives for one point in one target.

    Args:
        slant: how inverse depth grows with x and y around the point.
        rows: ``8 18``: derivatives by the 16 unknowns, residual, level in the target.

    Returns:
        Mean square of the residuals; negative if the point is not seen.
    """
    energy = 0.0
    for k in range(_PIXELS):
        x, y = rays[k, 0], rays[k, 1]
        # The plane through the point; its slant is not an unknown, so moving rays do not count.
        near = inverse + slant[0] * (x - rays[_CENTRE, 0]) + slant[1] * (y - rays[_CENTRE, 1])
        qx = motion[0, 0] * x + motion[0, 1] * y + motion[0, 2] + near * motion[0, 3]
        qy = motion[1, 0] * x + motion[1, 1] * y + motion[1, 2] + near * motion[1, 3]
        qz = motion[2, 0] * x + motion[2, 1] * y + motion[2, 2] + near * motion[2, 3]
        if qz < _SHRUNK or qz > 1 / _SHRUNK:
            return -1.0
        a, b = qx / qz, qy / qz
        bend(a, b, lens, bent)
        u, v = (lens[0] * bent[0] + lens[2]) / scale, (lens[1] * bent[1] + lens[3]) / scale
        if not contains(image, u, v, 1.0):
            return -1.0
        column, row = int(u - 0.5), int(v - 0.5)
        s, t = u - 0.5 - column, v - 0.5 - row
        i00, i01 = image[row, column], image[row, column + 1]
        i10, i11 = image[row + 1, column], image[row + 1, column + 1]
        top, low = i00 + s * (i01 - i00), i10 + s * (i11 - i10)
        level = top + t * (low - top)
        by_u = ((i01 - i00) + t * ((i11 - i10) - (i01 - i00))) / scale * lens[0]
        by_v = (low - top) / scale * lens[1]
        by_a, by_b = by_u * bent[2] + by_v * bent[4], by_u * bent[3] + by_v * bent[5]
        jx, jy = by_a / qz, by_b / qz
        jz = -(a * jx + b * jy)
        # Through the host's rotation: derivatives by the point in the host's frame.
        hx = motion[0, 0] * jx + motion[1, 0] * jy + motion[2, 0] * jz
        hy = motion[0, 1] * jx + motion[1, 1] * jy + motion[2, 1] * jz
        hz = motion[0, 2] * jx + motion[1, 2] * jy + motion[2, 2] * jz
        rows[k, 0], rows[k, 1], rows[k, 2] = -near * hx, -near * hy, -near * hz
        rows[k, 3] = -(y * hz - hy)
        rows[k, 4] = -(hx - x * hz)
        rows[k, 5] = -(x * hy - y * hx)
        rows[k, 6], rows[k, 7], rows[k, 8] = near * jx, near * jy, near * jz
        rows[k, 9] = qy * jz - qz * jy
        rows[k, 10] = qz * jx - qx * jz
        rows[k, 11] = qx * jy - qy * jx
        r = a * a + b * b
        rows[k, 12] = by_u * bent[0] + by_v * bent[1]
        rows[k, 13] = (by_u * a + by_v * b) * r / bent[6]
        rows[k, 14] = rows[k, 13] * r
        for n in range(3):
            rows[k, 12 + n] += hx * by_lens[k, n, 0] + hy * by_lens[k, n, 1]
        rows[k, 15] = jx * motion[0, 3] + jy * motion[1, 3] + jz * motion[2, 3]
        error = level - gain * levels[k] - offset
        rows[k, 16] = error
        rows[k, 17] = level
        energy += error * error
    return energy / _PIXELS


@kernel
def linearise(
    team,
    images,
    hosts,
    starts,
    places,
    inverses,
    slants,
    targets,
    poses,
    lens,
    scale,
    gains,
    limit,
    derive,
    cameras,
    slopes,
    schur,
    schur_slopes,
    cross,
    depth_parts,
    costs,
    light,
    energies,
):
    """Robust photometric residuals and their normal equations, by host.

    The cost of a point in a target is ``limit e / (limit + e)`` of the mean square e of its
    pattern's residuals (Geman and McClure), and ``limit`` where it is not seen.

    Args:
        images: ``frames h w`` of one level of the pyramids.
        hosts: ``k``, frames whose points are compared; outputs ``k ...`` follow this order.
        starts: per host its first point, and one more: the end of the last.
        places: ``n 2``, pixels of the finest level.
        inverses: ``n``, inverse depth.
        slants: ``n 2``, how it grows with x and y on the plane z = 1 around a point.
        targets: ``k m``, frames; -1 for none.
        poses: ``frames 4 4``, camera_from_world.
        lens: fx, fy, cx, cy of the finest level, k1, k2, p1, p2, k3, k4, k5, k6.
        scale: pixels of the finest level per pixel of ``images``.
        gains: ``k m 2``: levels in the target are gain times those in the host plus offset.
        limit: squared levels.
        derive: whether the outputs up to ``depth_parts`` are wanted.
        cameras: ``k D D``; Gauss-Newton's matrix of a host's unknowns, depths left out.
        slopes: ``k D``; its right-hand side.
        schur: ``k D D``; what eliminating the depths takes from ``cameras``.
        schur_slopes: ``k D``; and from ``slopes``.
        cross: ``n D``; the matrix' entries between depths and the other unknowns.
        depth_parts: ``n 2``; its entry of a depth itself, and the depth's slope.
        costs: ``k``.
        light: ``k m 5``; weighted sums of 1, host, target, host squared, host times target.
        energies: ``n m``, mean squares, -1 where not seen.
    """
    count, most = targets.shape
    size = 6 * (most + 2)
    last = 6 * (most + 1)
    motion = np.empty((most, 3, 4))
    rays, by_lens = np.empty((_PIXELS, 2)), np.empty((_PIXELS, 3, 2))
    levels, bent = np.empty(_PIXELS), np.empty(7)
    rows = np.empty((_PIXELS, _ROW + 2))
    small = np.empty((_ROW, _ROW + 1))
    at = np.empty(_ROW - 1, np.int64)
    edge = np.empty(size)
    for j in range(6):
        at[j] = j
    for j in range(3):
        at[12 + j] = last + j
    unit = take(team, 0, count)
    while unit >= 0:
        host = hosts[unit]
        light[unit] = 0
        costs[unit] = 0
        if derive:
            cameras[unit] = 0
            slopes[unit] = 0
            schur[unit] = 0
            schur_slopes[unit] = 0
        for m in range(most):
            if targets[unit, m] >= 0:
                relative(poses[targets[unit, m]], poses[host], motion[m])
        for n in range(starts[unit], starts[unit + 1]):
            good = _host_pattern(
                images[host], places[n, 0], places[n, 1], scale, lens, rays, by_lens, levels, bent
            )
            edge[:] = 0
            curvature, slope = 1e-3, 0.0
            for m in range(most):
                energies[n, m] = -1
                if targets[unit, m] < 0:
                    continue
                energy = -1.0
                if good:
                    energy = _compare(
                        images[targets[unit, m]],
                        motion[m],
                        inverses[n],
                        slants[n],
                        scale,
                        lens,
                        gains[unit, m, 0],
                        gains[unit, m, 1],
                        rays,
                        by_lens,
                        levels,
                        bent,
                        rows,
                    )
                if energy < 0:
                    costs[unit] += limit
                    continue
                energies[n, m] = energy
                costs[unit] += limit * energy / (limit + energy)
                weight = (limit / (limit + energy)) ** 2 / _PIXELS
                for k in range(_PIXELS):
                    light[unit, m, 0] += weight
                    light[unit, m, 1] += weight * levels[k]
                    light[unit, m, 2] += weight * rows[k, 17]
                    light[unit, m, 3] += weight * levels[k] * levels[k]
                    light[unit, m, 4] += weight * levels[k] * rows[k, 17]
                if not derive:
                    continue
                small[:] = 0
                for k in range(_PIXELS):
                    for i in range(_ROW):
                        factor = weight * rows[k, i]
                        for j in range(_ROW + 1):
                            small[i, j] += factor * rows[k, j]
                for j in range(6):
                    at[6 + j] = 6 * (m + 1) + j
                for i in range(_ROW - 1):
                    for j in range(_ROW - 1):
                        cameras[unit, at[i], at[j]] += small[i, j]
                    slopes[unit, at[i]] += small[i, _ROW]
                    edge[at[i]] += small[i, _ROW - 1]
                curvature += small[_ROW - 1, _ROW - 1]
                slope += small[_ROW - 1, _ROW]
            if derive:
                depth_parts[n, 0], depth_parts[n, 1] = curvature, slope
                for i in range(size):
                    cross[n, i] = edge[i]
                    factor = edge[i] / curvature
                    if factor != 0:
                        schur_slopes[unit, i] += factor * slope
                        for j in range(size):
                            schur[unit, i, j] += factor * edge[j]
        unit = finish_and_take(team, 0, count)
    wait(team, 0, count)
