"""Shading under spherical harmonics in one pass over the pixels: the compiled kernels.

The formulas are those of ``shading.shade``; one pass in place of about a hundred
tensor operations saves writing and reading that many temporary images. Sixteen pixels are worked
on together, each quantity a row of a table behind that of ``harmonics_cpu``, whose 32
directions are the sixteen axes of the lobes and the sixteen normals.
"""

import numpy as np
from numba import njit

from invgraph.kernels.threads import finish_and_take, take, wait
from invgraph.rendering.ggx import LOBE_POLYNOMIALS
from invgraph.rendering.harmonics_cpu import (
    COEFFICIENT,
    COUNT,
    DIRECTION,
    FAST,
    G_DIRECTION,
    PART,
    SIZE,
    SUM,
    UP,
    F,
    W,
    basis,
    basis_gradient,
    gather,
    spread,
)

L = 16  # pixels
UNIT = 2048  # pixels handed out together
PI = F(np.pi)
_P = tuple(F(value) for polynomial in LOBE_POLYNOMIALS for value in polynomial)

# Offsets of rows. Geometry, then its gradient, in the order of their columns.
NORMAL = SIZE
VIEW, RECEIVED, OPEN = NORMAL + 3 * L, NORMAL + 6 * L, NORMAL + 9 * L
G_NORMAL = OPEN + L
G_VIEW, G_RECEIVED, G_OPEN = G_NORMAL + 3 * L, G_NORMAL + 6 * L, G_NORMAL + 9 * L
ALBEDO = G_OPEN + L
ROUGHNESS, METALLIC, FACING = ALBEDO + 3 * L, ALBEDO + 4 * L, ALBEDO + 5 * L
G_ALBEDO = FACING + L
G_ROUGHNESS, G_METALLIC = G_ALBEDO + 3 * L, G_ALBEDO + 4 * L
GATHERED = G_METALLIC + L
G_GATHERED, MIRRORED, COLOR, G_COLOR = (
    GATHERED + 3 * L,
    GATHERED + 6 * L,
    GATHERED + 9 * L,
    GATHERED + 12 * L,
)
COSINE = G_COLOR + 3 * L
RAW_COSINE, PULL, WHITE, BIAS = COSINE + L, COSINE + 2 * L, COSINE + 3 * L, COSINE + 4 * L
G_WHITE, G_BIAS = COSINE + 5 * L, COSINE + 6 * L
LENGTH_N, LENGTH_V, LENGTH_Q = COSINE + 7 * L, COSINE + 8 * L, COSINE + 9 * L  # inverse
LOBE = COSINE + 10 * L  # attenuation of each order
G_LOBE = LOBE + 5 * L
TABLE = G_LOBE + 5 * L


@njit(nogil=True, cache=True)
def _load(t, row, source, image, start, count, rest):
    """Rows from ``row`` on get the columns of some pixels; spare lanes get ``rest``."""
    columns = source.shape[2]
    item = image if source.shape[0] > 1 else 0
    if source.shape[1] == 1:
        for c in range(columns):
            for i in range(L):
                t[row + c * L + i] = source[item, 0, c]
        return
    for i in range(count):
        for c in range(columns):
            t[row + c * L + i] = source[item, start + i, c]
    for i in range(count, L):
        for c in range(columns):
            t[row + c * L + i] = rest


@njit(nogil=True, cache=True)
def _store(t, row, target, image, start, count):
    for i in range(count):
        for c in range(target.shape[2]):
            target[image, start + i, c] = t[row + c * L + i]


@njit(nogil=True, cache=True)
def _load_light(t, diffuse, gloss):
    """Coefficients, once for every lane: gloss for the axes, diffuse for the normals."""
    for k in range(gloss.shape[0]):
        for c in range(3):
            for i in range(L):
                t[COEFFICIENT + (3 * k + c) * W + i] = gloss[k, c]
                t[COEFFICIENT + (3 * k + c) * W + L + i] = diffuse[k, c]


@njit(nogil=True, cache=True)
def _load_all(t, geometry, facing, albedo, roughness, metallic, image, start, count):
    """Normal, view and, where occlusion is known, openness and irradiance; then the material."""
    _load(t, NORMAL, geometry, image, start, count, F(0))
    for i in range(count):
        t[FACING + i] = F(1) if facing[image, start + i] else F(-1)
    _load(t, ALBEDO, albedo, image, start, count, F(0))
    _load(t, ROUGHNESS, roughness, image, start, count, F(0.5))
    _load(t, METALLIC, metallic, image, start, count, F(0))
    if geometry.shape[2] == 6:
        for i in range(L):
            t[OPEN + i] = F(1)


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _directions(t):
    """Unit vectors, reflectance, and the axis and shape of the lobe."""
    for i in range(L):
        nx, ny, nz = t[NORMAL + i], t[NORMAL + L + i], t[NORMAL + 2 * L + i]
        vx, vy, vz = t[VIEW + i], t[VIEW + L + i], t[VIEW + 2 * L + i]
        # The floor keeps padding, whose vectors are zero, finite.
        n = F(1) / np.sqrt(nx * nx + ny * ny + nz * nz + F(1e-30))
        v = F(1) / np.sqrt(vx * vx + vy * vy + vz * vz + F(1e-30))
        t[LENGTH_N + i], t[LENGTH_V + i] = n, v
        n = n * t[FACING + i]
        nx, ny, nz, vx, vy, vz = nx * n, ny * n, nz * n, vx * v, vy * v, vz * v
        t[NORMAL + i], t[NORMAL + L + i], t[NORMAL + 2 * L + i] = nx, ny, nz
        t[VIEW + i], t[VIEW + L + i], t[VIEW + 2 * L + i] = vx, vy, vz
        d = nx * vx + ny * vy + nz * vz
        r = t[ROUGHNESS + i]
        alpha = r * r
        smooth = max(F(1) - alpha, F(1e-6))
        pull = smooth * (np.sqrt(smooth) + alpha)
        keep = F(1) - pull + F(2) * pull * d
        qx, qy, qz = keep * nx - pull * vx, keep * ny - pull * vy, keep * nz - pull * vz
        q = F(1) / np.sqrt(qx * qx + qy * qy + qz * qz + F(1e-30))
        # The harmonics' directions: sixteen axes, then sixteen normals.
        t[DIRECTION + i], t[DIRECTION + L + i] = qx * q, nx
        t[DIRECTION + W + i], t[DIRECTION + W + L + i] = qy * q, ny
        t[DIRECTION + 2 * W + i], t[DIRECTION + 2 * W + L + i] = qz * q, nz
        t[PULL + i], t[LENGTH_Q + i], t[RAW_COSINE + i] = pull, q, d
    for i in range(L):
        r = t[ROUGHNESS + i]
        x = min(max(t[RAW_COSINE + i], F(1e-4)), F(1))
        c0 = r * (F(0.8773) + r * (F(-1.9992) + r * (F(1.7503) + r * F(-0.2193))))
        c1 = r * (F(-6.3418) + r * (F(25.8963) + r * (F(-30.6985) + r * F(11.6504))))
        c2 = r * (F(11.1839) + r * (F(-53.9851) + r * (F(75.5075) + r * F(-33.0748))))
        c3 = r * (F(-5.5382) + r * (F(28.2831) + r * (F(-41.6632) + r * F(19.0664))))
        t[COSINE + i] = x
        t[WHITE + i] = F(1) - max(c0 + x * (c1 + x * (c2 + x * c3)), F(0))
        top = F(1.0215) + r * (F(-1.2084) + r * F(0.3706))
        d0 = F(1) + r * (F(0.3474) + r * F(8.7504))
        d1 = F(1.7391) + r * (F(-27.6228) + r * F(36.4579))
        d2 = F(20.7539) + r * F(-8.1509)
        t[BIAS + i] = (F(1) - x) * (F(1) - x) * top / (d0 + x * (d1 + x * d2))
    for i in range(L):
        r = t[ROUGHNESS + i]
        r2 = r * r
        t[LOBE + i] = F(1)
        for o in range(4):
            a, b, c, d, e = _P[5 * o], _P[5 * o + 1], _P[5 * o + 2], _P[5 * o + 3], _P[5 * o + 4]
            t[LOBE + (o + 1) * L + i] = F(1) + r2 * (a + r * (b + r * (c + r * (d + r * e))))
    for i in range(L):
        for c in range(3):
            f0 = F(0.04) + (t[ALBEDO + c * L + i] - F(0.04)) * t[METALLIC + i]
            t[MIRRORED + c * L + i] = f0 * t[WHITE + i] + (F(1) - f0) * t[BIAS + i]


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _light(t, order, known):
    """What the surface receives, and what it gathers about the lobe's axis."""
    basis(t, order)
    gather(t, order)
    for i in range(L):
        for c in range(3):
            total = F(0)
            for o in range(5):
                total += t[LOBE + o * L + i] * t[PART + (3 * o + c) * W + i]
            t[GATHERED + c * L + i] = total
    if known:
        return
    for i in range(L):
        for c in range(3):
            total = F(0)
            for o in range(5):
                total += t[PART + (3 * o + c) * W + L + i]
            t[RECEIVED + c * L + i] = total


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _reflect(t):
    """The colour."""
    for i in range(L):
        rest = (F(1) - t[METALLIC + i]) * (F(1) / PI)
        for c in range(3):
            mirrored = t[MIRRORED + c * L + i]
            matt = t[ALBEDO + c * L + i] * rest * (F(1) - mirrored)
            shine = mirrored * t[OPEN + i] * t[GATHERED + c * L + i]
            t[COLOR + c * L + i] = matt * t[RECEIVED + c * L + i] + shine


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def forward(
    team, geometry, facing, albedo, roughness, metallic, diffuse, gloss, order, out
):  # fmt: skip
    """Colours of packed pixels."""
    images, size = out.shape[0], out.shape[1]
    parts = (size + UNIT - 1) // UNIT
    known = geometry.shape[2] > 6
    t = np.zeros(TABLE, np.float32)
    unit = take(team, 0, images * parts)
    while unit >= 0:
        image, part = unit // parts, unit % parts
        light = image if gloss.shape[0] > 1 else 0
        _load_light(t, diffuse[light], gloss[light])
        stop = min((part + 1) * UNIT, size)
        for start in range(part * UNIT, stop, L):
            count = min(L, stop - start)
            _load_all(t, geometry, facing, albedo, roughness, metallic, image, start, count)
            _directions(t)
            _light(t, order, known)
            _reflect(t)
            _store(t, COLOR, out, image, start, count)
        unit = finish_and_take(team, 0, images * parts)
    wait(team, 0, images * parts)


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _back_material(t):
    """Gradients of reflectances, lights and the material from that of the colour."""
    for i in range(L):
        a_m = F(1) - t[METALLIC + i]
        white, bias, opened = t[WHITE + i], t[BIAS + i], t[OPEN + i]
        g_metallic, g_open, g_white, g_bias = F(0), F(0), F(0), F(0)
        for c in range(3):
            g, a = t[G_COLOR + c * L + i], t[ALBEDO + c * L + i]
            mirrored, received = t[MIRRORED + c * L + i], t[RECEIVED + c * L + i]
            gathered = t[GATHERED + c * L + i]
            matt = a * a_m * (F(1) / PI)
            g_mirrored = g * (gathered * opened - matt * received)
            g_matt = g * (F(1) - mirrored) * received * (F(1) / PI)
            g_f0 = g_mirrored * (white - bias)
            f0 = F(0.04) + (a - F(0.04)) * (F(1) - a_m)
            t[G_RECEIVED + c * L + i] = g * matt * (F(1) - mirrored)
            t[G_GATHERED + c * L + i] = g * opened * mirrored
            t[G_ALBEDO + c * L + i] = g_matt * a_m + g_f0 * (F(1) - a_m)
            g_open += g * gathered * mirrored
            g_metallic += g_f0 * (a - F(0.04)) - g_matt * a
            g_white += g_mirrored * f0
            g_bias += g_mirrored * (F(1) - f0)
        t[G_METALLIC + i], t[G_OPEN + i] = g_metallic, g_open
        t[G_WHITE + i], t[G_BIAS + i] = g_white, g_bias


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _back_directions(t):
    """Gradients of normal, view and roughness from those of axis, normal, lobe and reflectance."""
    for i in range(L):
        r, x = t[ROUGHNESS + i], t[COSINE + i]
        c1 = r * (F(-6.3418) + r * (F(25.8963) + r * (F(-30.6985) + r * F(11.6504))))
        c2 = r * (F(11.1839) + r * (F(-53.9851) + r * (F(75.5075) + r * F(-33.0748))))
        c3 = r * (F(-5.5382) + r * (F(28.2831) + r * (F(-41.6632) + r * F(19.0664))))
        s0 = F(0.8773) + r * (F(-3.9984) + r * (F(5.2509) + r * F(-0.8772)))
        s1 = F(-6.3418) + r * (F(51.7926) + r * (F(-92.0955) + r * F(46.6016)))
        s2 = F(11.1839) + r * (F(-107.9702) + r * (F(226.5225) + r * F(-132.2992)))
        s3 = F(-5.5382) + r * (F(56.5662) + r * (F(-124.9896) + r * F(76.2656)))
        g_white = -t[G_WHITE + i] if t[WHITE + i] < F(1) else F(0)
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
        g_bias = t[G_BIAS + i] * inverse
        bias = t[BIAS + i]
        g_x += g_bias * (F(-2) * y * top - bias * below_x)
        g_r += g_bias * (y * y * (F(-1.2084) + F(0.7412) * r) - bias * below_r)
        for o in range(4):
            slope = F(2) * _P[5 * o] + r * (
                F(3) * _P[5 * o + 1]
                + r * (F(4) * _P[5 * o + 2] + r * (F(5) * _P[5 * o + 3] + r * F(6) * _P[5 * o + 4]))
            )
            g_r += t[G_LOBE + (o + 1) * L + i] * r * slope
        raw = t[RAW_COSINE + i]
        t[COSINE + i] = g_x if (raw >= F(1e-4)) & (raw <= F(1)) else F(0)
        t[G_ROUGHNESS + i] = g_r
    for i in range(L):
        r, d, pull = t[ROUGHNESS + i], t[RAW_COSINE + i], t[PULL + i]
        nx, ny, nz = t[NORMAL + i], t[NORMAL + L + i], t[NORMAL + 2 * L + i]
        vx, vy, vz = t[VIEW + i], t[VIEW + L + i], t[VIEW + 2 * L + i]
        wx, wy, wz = t[DIRECTION + i], t[DIRECTION + W + i], t[DIRECTION + 2 * W + i]
        gx, gy, gz = t[G_DIRECTION + i], t[G_DIRECTION + W + i], t[G_DIRECTION + 2 * W + i]
        along = wx * gx + wy * gy + wz * gz
        q = t[LENGTH_Q + i]
        gx, gy, gz = (gx - wx * along) * q, (gy - wy * along) * q, (gz - wz * along) * q
        # q = keep n - pull v with keep = 1 - pull + 2 pull d
        g_keep = gx * nx + gy * ny + gz * nz
        g_pull = g_keep * (F(2) * d - F(1)) - (gx * vx + gy * vy + gz * vz)
        g_d = t[COSINE + i] + F(2) * pull * g_keep
        keep = F(1) - pull + F(2) * pull * d
        hx = t[G_DIRECTION + L + i] + keep * gx + g_d * vx
        hy = t[G_DIRECTION + W + L + i] + keep * gy + g_d * vy
        hz = t[G_DIRECTION + 2 * W + L + i] + keep * gz + g_d * vz
        ux, uy, uz = g_d * nx - pull * gx, g_d * ny - pull * gy, g_d * nz - pull * gz
        along = hx * nx + hy * ny + hz * nz
        n = t[LENGTH_N + i] * t[FACING + i]
        t[G_NORMAL + i] = (hx - nx * along) * n
        t[G_NORMAL + L + i] = (hy - ny * along) * n
        t[G_NORMAL + 2 * L + i] = (hz - nz * along) * n
        along = ux * vx + uy * vy + uz * vz
        v = t[LENGTH_V + i]
        t[G_VIEW + i] = (ux - vx * along) * v
        t[G_VIEW + L + i] = (uy - vy * along) * v
        t[G_VIEW + 2 * L + i] = (uz - vz * along) * v
        alpha = r * r
        smooth = F(1) - alpha
        floored = max(smooth, F(1e-6))
        slope = smooth - alpha - F(1.5) * np.sqrt(floored)
        slope = slope if smooth > F(1e-6) else floored
        t[G_ROUGHNESS + i] += g_pull * slope * F(2) * r


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _back_light(t, order, known):
    """Gradients of the coefficients, of axis, normal and the lobe's shape."""
    keep = F(0) if known else F(1)
    for i in range(L):
        for o in range(5):
            total = F(0)
            for c in range(3):
                g = t[G_GATHERED + c * L + i]
                total += g * t[PART + (3 * o + c) * W + i]
                t[UP + (3 * o + c) * W + i] = g * t[LOBE + o * L + i]
            t[G_LOBE + o * L + i] = total
    for i in range(L):
        for o in range(5):
            for c in range(3):
                t[UP + (3 * o + c) * W + L + i] = keep * t[G_RECEIVED + c * L + i]
    spread(t, order)
    basis_gradient(t, order)


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def backward(
    team, geometry, facing, albedo, roughness, metallic, diffuse, gloss, order, grad,
    grad_geometry, grad_albedo, grad_roughness, grad_metallic, partial,
):  # fmt: skip
    """Gradients of each pixel's inputs; ``partial`` gets the coefficients', one set per unit."""
    images, size = grad.shape[0], grad.shape[1]
    parts = (size + UNIT - 1) // UNIT
    known = geometry.shape[2] > 6
    t = np.zeros(TABLE, np.float32)
    unit = take(team, 0, images * parts)
    while unit >= 0:
        image, part = unit // parts, unit % parts
        light = image if gloss.shape[0] > 1 else 0
        _load_light(t, diffuse[light], gloss[light])
        t[SUM : SUM + 3 * COUNT * W] = F(0)
        stop = min((part + 1) * UNIT, size)
        for start in range(part * UNIT, stop, L):
            count = min(L, stop - start)
            _load_all(t, geometry, facing, albedo, roughness, metallic, image, start, count)
            _load(t, G_COLOR, grad, image, start, count, F(0))
            _directions(t)
            _light(t, order, known)
            _back_material(t)
            _back_light(t, order, known)
            _back_directions(t)
            _store(t, G_NORMAL, grad_geometry, image, start, count)
            if grad_albedo.shape[0] > 0:
                _store(t, G_ALBEDO, grad_albedo, image, start, count)
            if grad_roughness.shape[0] > 0:
                _store(t, G_ROUGHNESS, grad_roughness, image, start, count)
            if grad_metallic.shape[0] > 0:
                _store(t, G_METALLIC, grad_metallic, image, start, count)
        for row in range(3 * COUNT):
            axes, normals = np.float64(0), np.float64(0)
            for i in range(L):
                axes += t[SUM + row * W + i]
                normals += t[SUM + row * W + L + i]
            partial[image, part, 0, row], partial[image, part, 1, row] = axes, normals
        unit = finish_and_take(team, 0, images * parts)
    wait(team, 0, images * parts)
