"""Shading under spherical harmonics in one pass over the pixels: the compiled kernels.

The formulas are those of :func:`invgraph.shading.shade`; one pass in place of about a hundred
tensor operations saves writing and reading that many temporary images. Sixteen pixels are worked
on together: every quantity is a row of one small table, so that the loops over a row vectorise.
"""

import numpy as np
from numba import njit

from invgraph.raster.threads import finish_and_take, take, wait

LANES = 16
UNIT = 2048  # pixels handed out together

F = np.float32
PI = F(np.pi)
_FAST = {"contract", "nsz", "arcp"}

# Rows of the table. Vectors take three.
# Columns of the packed geometry, and of its gradient, come first and in its order.
NORMAL, VIEW, RECEIVED, OPEN = 0, 3, 6, 9
G_NORMAL, G_VIEW, G_RECEIVED, G_OPEN = 10, 13, 16, 19
ALBEDO, ROUGHNESS, METALLIC, FACING = 20, 23, 24, 25
G_ALBEDO, G_ROUGHNESS, G_METALLIC = 26, 29, 30
AXIS, GATHERED, MIRRORED, COLOR = 31, 34, 37, 40
G_AXIS, G_GATHERED, G_COLOR = 43, 46, 49
COSINE, RAW_COSINE, PULL, WHITE, BIAS, G_WHITE, G_BIAS = 52, 53, 54, 55, 56, 57, 58
LENGTH_N, LENGTH_V, LENGTH_Q = 59, 60, 61  # inverse lengths
LOBE, SLOPE, G_LOBE = 62, 67, 72  # of each order: attenuation, and its derivative by roughness
ABOUT_NORMAL, ABOUT_AXIS, WEIGHT = 77, 102, 127  # of each harmonic
ROWS = 152
HARMONICS = 25


@njit(nogil=True, cache=True, fastmath=_FAST)
def _basis(table, source, to, order):
    """Rows ``to``.. become the spherical harmonics of the direction in rows ``source``.."""
    for i in range(LANES):
        table[to, i] = F(0.28209479177387814)
    if order >= 1:
        for i in range(LANES):
            c = F(0.4886025119029199)
            table[to + 1, i] = c * table[source + 1, i]
            table[to + 2, i] = c * table[source + 2, i]
            table[to + 3, i] = c * table[source, i]
    if order >= 2:
        for i in range(LANES):
            x, y, z = table[source, i], table[source + 1, i], table[source + 2, i]
            c = F(1.0925484305920792)
            table[to + 4, i] = c * x * y
            table[to + 5, i] = c * y * z
            table[to + 6, i] = F(0.9461746957575601) * z * z - F(0.31539156525252005)
            table[to + 7, i] = c * x * z
            table[to + 8, i] = F(0.5462742152960396) * (x * x - y * y)
    if order >= 3:
        for i in range(LANES):
            x, y, z = table[source, i], table[source + 1, i], table[source + 2, i]
            xx, yy, zz = x * x, y * y, z * z
            five = F(0.4570457994644658) * (F(5) * zz - F(1))
            table[to + 9, i] = F(0.5900435899266435) * y * (F(3) * xx - yy)
            table[to + 10, i] = F(2.890611442640554) * x * y * z
            table[to + 11, i] = y * five
            table[to + 12, i] = F(0.3731763325901154) * z * (F(5) * zz - F(3))
            table[to + 13, i] = x * five
            table[to + 14, i] = F(1.445305721320277) * z * (xx - yy)
            table[to + 15, i] = F(0.5900435899266435) * x * (xx - F(3) * yy)
    if order >= 4:
        for i in range(LANES):
            x, y, z = table[source, i], table[source + 1, i], table[source + 2, i]
            xx, yy, zz = x * x, y * y, z * z
            one = F(7) * zz - F(1)
            three = F(0.6690465435572892) * z * (F(7) * zz - F(3))
            table[to + 16, i] = F(2.5033429417967046) * x * y * (xx - yy)
            table[to + 17, i] = F(1.7701307697799304) * y * z * (F(3) * xx - yy)
            table[to + 18, i] = F(0.9461746957575601) * x * y * one
            table[to + 19, i] = y * three
            table[to + 20, i] = F(0.10578554691520431) * (zz * (F(35) * zz - F(30)) + F(3))
            table[to + 21, i] = x * three
            table[to + 22, i] = F(0.47308734787878004) * (xx - yy) * one
            table[to + 23, i] = F(1.7701307697799304) * x * z * (xx - F(3) * yy)
            table[to + 24, i] = F(0.6258357354491761) * (
                xx * (xx - F(3) * yy) - yy * (F(3) * xx - yy)
            )


@njit(nogil=True, cache=True, fastmath=_FAST)
def _basis_gradient(table, source, weight, to, order):
    """Rows ``to``.. gain sum_k weight_k grad Y_k of the direction in rows ``source``.."""
    if order >= 1:
        for i in range(LANES):
            c = F(0.4886025119029199)
            table[to, i] += c * table[weight + 3, i]
            table[to + 1, i] += c * table[weight + 1, i]
            table[to + 2, i] += c * table[weight + 2, i]
    if order >= 2:
        for i in range(LANES):
            x, y, z = table[source, i], table[source + 1, i], table[source + 2, i]
            c = F(1.0925484305920792)
            d = F(1.0925484305920792) * table[weight + 8, i]
            xy, yz, xz = (
                c * table[weight + 4, i],
                c * table[weight + 5, i],
                c * table[weight + 7, i],
            )
            table[to, i] += xy * y + xz * z + d * x
            table[to + 1, i] += xy * x + yz * z - d * y
            table[to + 2, i] += yz * y + xz * x + F(1.8923493915151202) * table[weight + 6, i] * z
    if order >= 3:
        for i in range(LANES):
            x, y, z = table[source, i], table[source + 1, i], table[source + 2, i]
            xx, yy, zz = x * x, y * y, z * z
            a = F(0.5900435899266435)
            a9, a15 = a * table[weight + 9, i], a * table[weight + 15, i]
            b = F(2.890611442640554) * table[weight + 10, i]
            c = F(0.4570457994644658)
            c11, c13 = c * table[weight + 11, i], c * table[weight + 13, i]
            e = F(0.3731763325901154) * table[weight + 12, i]
            f = F(1.445305721320277) * table[weight + 14, i]
            five, difference = F(5) * zz - F(1), F(3) * (xx - yy)
            six = F(6) * x * y
            table[to, i] += a9 * six + b * y * z + c13 * five + f * F(2) * x * z + a15 * difference
            table[to + 1, i] += (
                a9 * difference + b * x * z + c11 * five - f * F(2) * y * z - a15 * six
            )
            table[to + 2, i] += (
                b * x * y
                + F(10) * z * (c11 * y + c13 * x)
                + e * (F(15) * zz - F(3))
                + f * (xx - yy)
            )
    if order >= 4:
        for i in range(LANES):
            x, y, z = table[source, i], table[source + 1, i], table[source + 2, i]
            xx, yy, zz = x * x, y * y, z * z
            g = F(2.5033429417967046) * table[weight + 16, i]
            h17 = F(1.7701307697799304) * table[weight + 17, i]
            h23 = F(1.7701307697799304) * table[weight + 23, i]
            p = F(0.9461746957575601) * table[weight + 18, i]
            j19 = F(0.6690465435572892) * table[weight + 19, i]
            j21 = F(0.6690465435572892) * table[weight + 21, i]
            k = F(0.10578554691520431) * table[weight + 20, i]
            q = F(0.47308734787878004) * table[weight + 22, i]
            m = F(0.6258357354491761) * table[weight + 24, i]
            one, three = F(7) * zz - F(1), z * (F(7) * zz - F(3))
            threes = F(21) * zz - F(3)
            left, right, difference = F(3) * xx - yy, xx - F(3) * yy, F(3) * (xx - yy)
            six = F(6) * x * y * z
            table[to, i] += (
                g * y * left + h17 * six + p * y * one + j21 * three
                + q * F(2) * x * one + h23 * z * difference
                + m * F(4) * x * right
            )  # fmt: skip
            table[to + 1, i] += (
                g * x * right + h17 * z * difference + p * x * one + j19 * three
                - q * F(2) * y * one - h23 * six
                - m * F(4) * y * left
            )  # fmt: skip
            table[to + 2, i] += (
                h17 * y * left + p * F(14) * x * y * z + (j19 * y + j21 * x) * threes
                + k * z * (F(140) * zz - F(60)) + q * F(14) * z * (xx - yy) + h23 * x * right
            )  # fmt: skip


@njit(nogil=True, cache=True)
def _load(table, row, source, image, start, count, rest):
    """Rows ``row``.. get the columns of some pixels; spare lanes get ``rest``."""
    columns = source.shape[2]
    item = image if source.shape[0] > 1 else 0
    if source.shape[1] == 1:
        for c in range(columns):
            for i in range(LANES):
                table[row + c, i] = source[item, 0, c]
        return
    for i in range(count):
        for c in range(columns):
            table[row + c, i] = source[item, start + i, c]
    for i in range(count, LANES):
        for c in range(columns):
            table[row + c, i] = rest


@njit(nogil=True, cache=True)
def _store(table, row, target, image, start, count):
    for i in range(count):
        for c in range(target.shape[2]):
            target[image, start + i, c] = table[row + c, i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _directions(table, lobe, with_slope):
    """Unit vectors, reflectance, and the axis and shape of the lobe."""
    for i in range(LANES):
        nx, ny, nz = table[NORMAL, i], table[NORMAL + 1, i], table[NORMAL + 2, i]
        vx, vy, vz = table[VIEW, i], table[VIEW + 1, i], table[VIEW + 2, i]
        # The floor keeps padding, whose vectors are zero, finite.
        n = F(1) / np.sqrt(nx * nx + ny * ny + nz * nz + F(1e-30))
        v = F(1) / np.sqrt(vx * vx + vy * vy + vz * vz + F(1e-30))
        table[LENGTH_N, i], table[LENGTH_V, i] = n, v
        n = n * table[FACING, i]
        nx, ny, nz, vx, vy, vz = nx * n, ny * n, nz * n, vx * v, vy * v, vz * v
        table[NORMAL, i], table[NORMAL + 1, i], table[NORMAL + 2, i] = nx, ny, nz
        table[VIEW, i], table[VIEW + 1, i], table[VIEW + 2, i] = vx, vy, vz
        d = nx * vx + ny * vy + nz * vz
        r = table[ROUGHNESS, i]
        alpha = r * r
        smooth = max(F(1) - alpha, F(1e-6))
        pull = smooth * (np.sqrt(smooth) + alpha)
        keep = F(1) - pull + F(2) * pull * d
        qx, qy, qz = keep * nx - pull * vx, keep * ny - pull * vy, keep * nz - pull * vz
        q = F(1) / np.sqrt(qx * qx + qy * qy + qz * qz + F(1e-30))
        table[AXIS, i], table[AXIS + 1, i], table[AXIS + 2, i] = qx * q, qy * q, qz * q
        table[PULL, i], table[LENGTH_Q, i], table[RAW_COSINE, i] = pull, q, d
    for i in range(LANES):
        r = table[ROUGHNESS, i]
        x = min(max(table[RAW_COSINE, i], F(1e-4)), F(1))
        c0 = r * (F(0.8773) + r * (F(-1.9992) + r * (F(1.7503) + r * F(-0.2193))))
        c1 = r * (F(-6.3418) + r * (F(25.8963) + r * (F(-30.6985) + r * F(11.6504))))
        c2 = r * (F(11.1839) + r * (F(-53.9851) + r * (F(75.5075) + r * F(-33.0748))))
        c3 = r * (F(-5.5382) + r * (F(28.2831) + r * (F(-41.6632) + r * F(19.0664))))
        table[COSINE, i] = x
        table[WHITE, i] = F(1) - max(c0 + x * (c1 + x * (c2 + x * c3)), F(0))
        top = F(1.0215) + r * (F(-1.2084) + r * F(0.3706))
        d0 = F(1) + r * (F(0.3474) + r * F(8.7504))
        d1 = F(1.7391) + r * (F(-27.6228) + r * F(36.4579))
        d2 = F(20.7539) + r * F(-8.1509)
        table[BIAS, i] = (F(1) - x) * (F(1) - x) * top / (d0 + x * (d1 + x * d2))
        table[LOBE, i] = F(1)
        table[SLOPE, i] = F(0)
    for order in range(1, 5):
        a, b, c, d, e = (
            lobe[order - 1, 0], lobe[order - 1, 1], lobe[order - 1, 2], lobe[order - 1, 3],
            lobe[order - 1, 4],
        )  # fmt: skip
        for i in range(LANES):
            r = table[ROUGHNESS, i]
            table[LOBE + order, i] = F(1) + r * r * (a + r * (b + r * (c + r * (d + r * e))))
        if with_slope:
            for i in range(LANES):
                r = table[ROUGHNESS, i]
                table[SLOPE + order, i] = r * (
                    F(2) * a + r * (F(3) * b + r * (F(4) * c + r * (F(5) * d + r * F(6) * e)))
                )
    for c in range(3):
        for i in range(LANES):
            f0 = F(0.04) + (table[ALBEDO + c, i] - F(0.04)) * table[METALLIC, i]
            table[MIRRORED + c, i] = f0 * table[WHITE, i] + (F(1) - f0) * table[BIAS, i]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _light(table, diffuse, gloss, order, known):
    """What the surface receives, and gathers about the lobe's axis."""
    _basis(table, AXIS, ABOUT_AXIS, order)
    for c in range(3):
        for i in range(LANES):
            table[GATHERED + c, i] = F(0)
    for degree in range(order + 1):
        for c in range(3):
            for k in range(degree * degree, (degree + 1) * (degree + 1)):
                value = gloss[k, c]
                for i in range(LANES):
                    table[GATHERED + c, i] += (
                        value * table[LOBE + degree, i] * table[ABOUT_AXIS + k, i]
                    )
    if known:
        return
    _basis(table, NORMAL, ABOUT_NORMAL, order)
    for c in range(3):
        for i in range(LANES):
            table[RECEIVED + c, i] = F(0)
        for k in range((order + 1) * (order + 1)):
            value = diffuse[k, c]
            for i in range(LANES):
                table[RECEIVED + c, i] += value * table[ABOUT_NORMAL + k, i]


@njit(nogil=True, cache=True)
def _load_all(table, geometry, facing, albedo, roughness, metallic, image, start, count):
    """Normal, view and, where occlusion is known, openness and irradiance; then the material."""
    _load(table, NORMAL, geometry, image, start, count, F(0))
    for i in range(count):
        table[FACING, i] = F(1) if facing[image, start + i] else F(-1)
    _load(table, ALBEDO, albedo, image, start, count, F(0))
    _load(table, ROUGHNESS, roughness, image, start, count, F(0.5))
    _load(table, METALLIC, metallic, image, start, count, F(0))
    if geometry.shape[2] == 6:
        for i in range(LANES):
            table[OPEN, i] = F(1)


@njit(nogil=True, cache=True, fastmath=_FAST)
def forward(
    team, geometry, facing, albedo, roughness, metallic, diffuse, gloss, lobe, order, out
):  # fmt: skip
    """Colours of packed pixels."""
    images, size = out.shape[0], out.shape[1]
    parts = (size + UNIT - 1) // UNIT
    known = geometry.shape[2] > 6
    table = np.zeros((ROWS, LANES), np.float32)
    unit = take(team, 0, images * parts)
    while unit >= 0:
        image, part = unit // parts, unit % parts
        light = image if gloss.shape[0] > 1 else 0
        stop = min((part + 1) * UNIT, size)
        for start in range(part * UNIT, stop, LANES):
            count = min(LANES, stop - start)
            _load_all(table, geometry, facing, albedo, roughness, metallic, image, start, count)
            _directions(table, lobe, False)
            _light(table, diffuse[light], gloss[light], order, known)
            for c in range(3):
                for i in range(LANES):
                    matt = table[ALBEDO + c, i] * (F(1) - table[METALLIC, i]) * (F(1) / PI)
                    mirrored = table[MIRRORED + c, i]
                    table[COLOR + c, i] = (
                        matt * (F(1) - mirrored) * table[RECEIVED + c, i]
                        + mirrored * table[OPEN, i] * table[GATHERED + c, i]
                    )
            _store(table, COLOR, out, image, start, count)
        unit = finish_and_take(team, 0, images * parts)
    wait(team, 0, images * parts)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _back_material(table):
    """Gradients of reflectances, lights and the material from that of the colour."""
    for i in range(LANES):
        table[G_ROUGHNESS, i] = F(0)
        table[G_METALLIC, i] = F(0)
        table[G_OPEN, i] = F(0)
        table[G_WHITE, i] = F(0)
        table[G_BIAS, i] = F(0)
    for c in range(3):
        for i in range(LANES):
            g, a, m = table[G_COLOR + c, i], table[ALBEDO + c, i], table[METALLIC, i]
            mirrored, received = table[MIRRORED + c, i], table[RECEIVED + c, i]
            gathered = table[GATHERED + c, i] * table[OPEN, i]
            matt = a * (F(1) - m) * (F(1) / PI)
            g_mirrored = g * (gathered - matt * received)
            g_matt = g * (F(1) - mirrored) * received * (F(1) / PI)
            g_f0 = g_mirrored * (table[WHITE, i] - table[BIAS, i])
            f0 = F(0.04) + (a - F(0.04)) * m
            table[G_RECEIVED + c, i] = g * matt * (F(1) - mirrored)
            table[G_GATHERED + c, i] = g * table[OPEN, i] * mirrored
            table[G_OPEN, i] += g * table[GATHERED + c, i] * mirrored
            table[G_ALBEDO + c, i] = g_matt * (F(1) - m) + g_f0 * m
            table[G_METALLIC, i] += g_f0 * (a - F(0.04)) - g_matt * a
            table[G_WHITE, i] += g_mirrored * f0
            table[G_BIAS, i] += g_mirrored * (F(1) - f0)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _back_directions(table):
    """Gradients of normal, view and roughness from those of axis, normal, lobe and reflectance."""
    for i in range(LANES):
        r, x = table[ROUGHNESS, i], table[COSINE, i]
        c1 = r * (F(-6.3418) + r * (F(25.8963) + r * (F(-30.6985) + r * F(11.6504))))
        c2 = r * (F(11.1839) + r * (F(-53.9851) + r * (F(75.5075) + r * F(-33.0748))))
        c3 = r * (F(-5.5382) + r * (F(28.2831) + r * (F(-41.6632) + r * F(19.0664))))
        s0 = F(0.8773) + r * (F(-3.9984) + r * (F(5.2509) + r * F(-0.8772)))
        s1 = F(-6.3418) + r * (F(51.7926) + r * (F(-92.0955) + r * F(46.6016)))
        s2 = F(11.1839) + r * (F(-107.9702) + r * (F(226.5225) + r * F(-132.2992)))
        s3 = F(-5.5382) + r * (F(56.5662) + r * (F(-124.9896) + r * F(76.2656)))
        g_white = -table[G_WHITE, i] if table[WHITE, i] < F(1) else F(0)
        g_x = g_white * (c1 + x * (F(2) * c2 + x * F(3) * c3))
        g_r = g_white * (s0 + x * (s1 + x * (s2 + x * s3)))
        top = F(1.0215) + r * (F(-1.2084) + r * F(0.3706))
        d0 = F(1) + r * (F(0.3474) + r * F(8.7504))
        d1 = F(1.7391) + r * (F(-27.6228) + r * F(36.4579))
        d2 = F(20.7539) + r * F(-8.1509)
        inverse = F(1) / (d0 + x * (d1 + x * d2))
        below_x = d1 + F(2) * x * d2
        below_r = F(0.3474) + F(17.5008) * r + x * (F(-27.6228) + F(72.9158) * r - x * F(8.1509))
        y = F(1) - x
        g_bias = table[G_BIAS, i] * inverse
        bias = table[BIAS, i]
        g_x += g_bias * (F(-2) * y * top - bias * below_x)
        g_r += g_bias * (y * y * (F(-1.2084) + F(0.7412) * r) - bias * below_r)
        g_r += (
            table[G_LOBE + 1, i] * table[SLOPE + 1, i]
            + table[G_LOBE + 2, i] * table[SLOPE + 2, i]
            + table[G_LOBE + 3, i] * table[SLOPE + 3, i]
            + table[G_LOBE + 4, i] * table[SLOPE + 4, i]
        )
        raw = table[RAW_COSINE, i]
        table[COSINE, i] = g_x if (raw >= F(1e-4)) & (raw <= F(1)) else F(0)
        table[G_ROUGHNESS, i] = g_r
    for i in range(LANES):
        r, d, pull = table[ROUGHNESS, i], table[RAW_COSINE, i], table[PULL, i]
        nx, ny, nz = table[NORMAL, i], table[NORMAL + 1, i], table[NORMAL + 2, i]
        vx, vy, vz = table[VIEW, i], table[VIEW + 1, i], table[VIEW + 2, i]
        wx, wy, wz = table[AXIS, i], table[AXIS + 1, i], table[AXIS + 2, i]
        gx, gy, gz = table[G_AXIS, i], table[G_AXIS + 1, i], table[G_AXIS + 2, i]
        along = wx * gx + wy * gy + wz * gz
        q = table[LENGTH_Q, i]
        gx, gy, gz = (gx - wx * along) * q, (gy - wy * along) * q, (gz - wz * along) * q
        # q = keep n - pull v with keep = 1 - pull + 2 pull d
        g_keep = gx * nx + gy * ny + gz * nz
        g_pull = g_keep * (F(2) * d - F(1)) - (gx * vx + gy * vy + gz * vz)
        g_d = table[COSINE, i] + F(2) * pull * g_keep
        keep = F(1) - pull + F(2) * pull * d
        hx = table[G_NORMAL, i] + keep * gx + g_d * vx
        hy = table[G_NORMAL + 1, i] + keep * gy + g_d * vy
        hz = table[G_NORMAL + 2, i] + keep * gz + g_d * vz
        ux, uy, uz = g_d * nx - pull * gx, g_d * ny - pull * gy, g_d * nz - pull * gz
        along = hx * nx + hy * ny + hz * nz
        n = table[LENGTH_N, i] * table[FACING, i]
        table[G_NORMAL, i] = (hx - nx * along) * n
        table[G_NORMAL + 1, i] = (hy - ny * along) * n
        table[G_NORMAL + 2, i] = (hz - nz * along) * n
        along = ux * vx + uy * vy + uz * vz
        v = table[LENGTH_V, i]
        table[G_VIEW, i] = (ux - vx * along) * v
        table[G_VIEW + 1, i] = (uy - vy * along) * v
        table[G_VIEW + 2, i] = (uz - vz * along) * v
        alpha = r * r
        smooth = F(1) - alpha
        floored = max(smooth, F(1e-6))
        slope = smooth - alpha - F(1.5) * np.sqrt(floored)
        slope = slope if smooth > F(1e-6) else floored
        table[G_ROUGHNESS, i] += g_pull * slope * F(2) * r


@njit(nogil=True, cache=True, fastmath=_FAST)
def _back_light(table, sums, diffuse, gloss, order, known):
    """Gradients of the coefficients (added to ``sums``), of the axis and the normal."""
    for c in range(3):
        for i in range(LANES):
            table[G_AXIS + c, i] = F(0)
            table[G_NORMAL + c, i] = F(0)
    for degree in range(5):
        for i in range(LANES):
            table[G_LOBE + degree, i] = F(0)
    count = (order + 1) * (order + 1)
    for degree in range(order + 1):
        for k in range(degree * degree, (degree + 1) * (degree + 1)):
            a, b, c = gloss[k, 0], gloss[k, 1], gloss[k, 2]
            for i in range(LANES):
                g0, g1, g2 = (
                    table[G_GATHERED, i],
                    table[G_GATHERED + 1, i],
                    table[G_GATHERED + 2, i],
                )
                total = a * g0 + b * g1 + c * g2
                table[WEIGHT + k, i] = total * table[LOBE + degree, i]
                table[G_LOBE + degree, i] += total * table[ABOUT_AXIS + k, i]
            for j in range(3):
                for i in range(LANES):
                    sums[3 * k + j, i] += (
                        table[G_GATHERED + j, i]
                        * table[LOBE + degree, i]
                        * table[ABOUT_AXIS + k, i]
                    )
    _basis_gradient(table, AXIS, WEIGHT, G_AXIS, order)
    if known:
        return
    for k in range(count):
        a, b, c = diffuse[k, 0], diffuse[k, 1], diffuse[k, 2]
        for i in range(LANES):
            table[WEIGHT + k, i] = (
                a * table[G_RECEIVED, i]
                + b * table[G_RECEIVED + 1, i]
                + c * table[G_RECEIVED + 2, i]
            )
        for j in range(3):
            for i in range(LANES):
                sums[3 * (HARMONICS + k) + j, i] += (
                    table[G_RECEIVED + j, i] * table[ABOUT_NORMAL + k, i]
                )
    _basis_gradient(table, NORMAL, WEIGHT, G_NORMAL, order)


@njit(nogil=True, cache=True, fastmath=_FAST)
def backward(
    team, geometry, facing, albedo, roughness, metallic, diffuse, gloss, lobe, order, grad,
    grad_geometry, grad_albedo, grad_roughness, grad_metallic, partial,
):  # fmt: skip
    """Gradients of each pixel's inputs; ``partial`` gets the coefficients', one set per unit."""
    images, size = grad.shape[0], grad.shape[1]
    parts = (size + UNIT - 1) // UNIT
    known = geometry.shape[2] > 6
    table = np.zeros((ROWS, LANES), np.float32)
    sums = np.zeros((6 * HARMONICS, LANES), np.float32)
    unit = take(team, 0, images * parts)
    while unit >= 0:
        image, part = unit // parts, unit % parts
        light = image if gloss.shape[0] > 1 else 0
        stop = min((part + 1) * UNIT, size)
        sums[:] = F(0)
        for start in range(part * UNIT, stop, LANES):
            count = min(LANES, stop - start)
            _load_all(table, geometry, facing, albedo, roughness, metallic, image, start, count)
            _load(table, G_COLOR, grad, image, start, count, F(0))
            _directions(table, lobe, True)
            _light(table, diffuse[light], gloss[light], order, known)
            _back_material(table)
            _back_light(table, sums, diffuse[light], gloss[light], order, known)
            _back_directions(table)
            _store(table, G_NORMAL, grad_geometry, image, start, count)
            if grad_albedo.shape[0] > 0:
                _store(table, G_ALBEDO, grad_albedo, image, start, count)
            if grad_roughness.shape[0] > 0:
                _store(table, G_ROUGHNESS, grad_roughness, image, start, count)
            if grad_metallic.shape[0] > 0:
                _store(table, G_METALLIC, grad_metallic, image, start, count)
        for row in range(6 * HARMONICS):
            total = np.float64(0)
            for i in range(LANES):
                total += sums[row, i]
            partial[image, part, row] = total
        unit = finish_and_take(team, 0, images * parts)
    wait(team, 0, images * parts)
